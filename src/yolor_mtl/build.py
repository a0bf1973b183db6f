"""The one place where layers meet: configuration and classes to tasks, and tasks to one network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yolor_mtl.config import check_keys, fill, nearest, packaged
from yolor_mtl.data.class_translation import check_names, translation
from yolor_mtl.data.coco import CocoDataset
from yolor_mtl.models.fuse import fuse
from yolor_mtl.models.network import Network
from yolor_mtl.models.trunks import build_trunk
from yolor_mtl.models.weights import load_state, read_weights, save_weights
from yolor_mtl.records import LabelSpace, UserError
from yolor_mtl.tasks import TASKS
from yolor_mtl.tasks.base import Task, ordered

IMPLICIT = ("off", "heads", "heads+neck")
"""Where a network has implicit knowledge."""


@dataclass
class ModelConfig:
    """A network as one row of configuration.

    Attributes:
        imgsz: side of the square frame it is meant for, pixels.
        trunk: ``kind`` and that trunk's own keys.
        tasks: task -> its block.
        implicit: where there is implicit knowledge: ``off``, in the ``heads``, or in ``heads+neck``, which also aligns
            p3, p4, p5 for all who read them. A task's own key ``implicit`` has the last word on its head.

    Raises:
        UserError: there is no such place.
    """

    imgsz: int = 640
    trunk: dict[str, Any] = field(default_factory=dict)
    tasks: dict[str, Any] = field(default_factory=dict)
    implicit: str = "heads"

    def __post_init__(self) -> None:
        if str(self.implicit) == "False":  # how YAML reads an ``off`` without quotation marks
            self.implicit = "off"
        if self.implicit not in IMPLICIT:
            near = nearest(str(self.implicit), IMPLICIT)
            raise UserError(f"unknown implicit={self.implicit!r}{near}; there are: {', '.join(IMPLICIT)}")


@dataclass(frozen=True)
class Model:
    """A network with the tasks that train, decode and score its outputs.

    Attributes:
        config: the row it was built from.
        space: the classes and the vocabulary.
        tasks: in the order in which they run.
        network: the network.
    """

    config: ModelConfig
    space: LabelSpace
    tasks: tuple[Task, ...]
    network: Network

    def inference(self) -> Model:
        """Turns the network into its inference form, in place: evaluation mode, training branches gone, fused."""
        self.network.inference()
        fuse(self.network)
        return self

    @property
    def multiple(self) -> int:
        """Sides of the frame must be multiples of this."""
        return self.network.trunk.multiple

    def parameters_by_part(self) -> dict[str, int]:
        """Learnable values of the trunk and of each head."""
        parts = {"trunk": self.network.trunk, **self.network.heads}
        return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}


def model_config(name: str, overrides: Mapping[str, Any] | None = None) -> ModelConfig:
    """The row of a shipped network or of a YAML file, with changes such as ``{"semantic": {"loss": "multilabel"}}``.

    Args:
        name: a shipped name such as ``nano``, or a path that ends in ``.yaml``.
        overrides: ``trunk`` or a task's name -> keys to change; ``implicit`` -> where it is.

    Raises:
        UserError: unknown name, part or key.
    """
    row = packaged("models", name)
    config = fill(ModelConfig, row, where=f"model {name}")
    _check_blocks(config, f"model {name}")
    for part, changes in (overrides or {}).items():
        if part == "implicit":
            config = replace(config, implicit=changes)
            continue
        if not isinstance(changes, Mapping):
            raise UserError(f"{part}={changes!r}: name a key of it, such as {part}.{_a_key(part)}=...")
        if part == "trunk":
            config.trunk = {**config.trunk, **changes}
        elif part in config.tasks:
            config.tasks[part] = {**(config.tasks[part] or {}), **changes}
        else:
            raise UserError(f"model {name} has no part {part!r}{nearest(part, ['trunk', 'implicit', *config.tasks])}")
    for task, block in config.tasks.items():
        check_keys(TASKS[task].config, block or {}, task)
    return config


def answering_config(config: ModelConfig) -> ModelConfig:
    """The row without what only training needs, such as auxiliary branches: weights may be stripped to it."""
    blocks = {name: TASKS[name].answering(_block(name, config)) for name in config.tasks}
    return replace(config, tasks={name: asdict(block) for name, block in blocks.items()})


def _block(name: str, config: ModelConfig) -> Any:
    """A task's block as its dataclass; what it does not say of implicit knowledge, the row says."""
    kind, own = TASKS[name], config.tasks[name] or {}
    block = fill(kind.config, own, where=name)
    if "implicit" not in own and kind.implicit(block):
        block = replace(block, implicit=config.implicit != "off")
    return block


def _check_blocks(config: ModelConfig, where: str) -> None:
    """Refuses tasks that do not exist, and blocks that are no keys and values."""
    for task, block in config.tasks.items():
        if task not in TASKS:
            raise UserError(f"{where}: no task {task!r}{nearest(task, TASKS)}; there are: {', '.join(TASKS)}")
        if not isinstance(block or {}, Mapping):
            raise UserError(f"{where}: tasks.{task} holds keys of its own, not {block!r}")


def _a_key(part: str) -> str:
    keys = getattr(TASKS[part].config, "__dataclass_fields__", {}) if part in TASKS else {"width": None}
    return next(iter(keys), "key")


def possible_tasks(config: ModelConfig, space: LabelSpace) -> list[str]:
    """Tasks of a row that the classes allow: a data set without captions trains the others."""
    return [name for name in config.tasks if all(getattr(space, need) for need in TASKS[name].needs)]


def build_model(config: ModelConfig, space: LabelSpace, only: Sequence[str] = (), *, helped: bool = False) -> Model:
    """Assembles tasks and the network.

    Args:
        config: the row.
        space: classes and vocabulary.
        only: tasks to build; all that the row names by default.
        helped: heads that these tasks' heads read are built as well where their tasks are not asked for, as weights
            need them that were trained so. Otherwise a head does without what it can do without.

    Raises:
        UserError: a task is unknown, needs another that is not asked for, or needs classes that do not exist.
    """
    names = list(only) or list(config.tasks)
    for name in names:
        if name not in config.tasks:
            known = ", ".join(config.tasks)
            raise UserError(f"tasks: this model has no task {name!r}{nearest(name, config.tasks)}; it has: {known}")
    blocks = {name: _block(name, config) for name in names}
    if helped:
        read = {name for task, block in blocks.items() for name in TASKS[task].reads(block, space)}
        blocks |= {name: _block(name, config) for name in config.tasks if name in read - set(names)}
    else:
        blocks = {name: TASKS[name].among(block, names) for name, block in blocks.items()}
    features = {name: TASKS[name].features(block) for name, block in blocks.items()}
    trunk = build_trunk(config.trunk, {feature for needed in features.values() for feature in needed})
    if config.implicit == "heads+neck":
        trunk.align()
    built = ordered(TASKS[name].build(block, space, trunk.feature_info) for name, block in blocks.items())
    network = Network(
        trunk,
        {task.name: task.head for task in built if task.head is not None},
        {task.name: task.features for task in built if task.head is not None},
        {task.name: task.reads for task in built},
    )
    tasks = tuple(task for task in built if task.name in names)
    whole = {name: asdict(block) for name, block in blocks.items()}
    kept = replace(config, trunk=dict(config.trunk), tasks=whole)
    return Model(kept, space, tasks, network.to(memory_format=torch.channels_last))


def save_model(
    model: Model,
    path: Path,
    state: Mapping[str, Tensor] | None = None,
    extra: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Writes weights that carry all that is needed to use them: network, classes, vocabulary, input size.

    Args:
        model: the model.
        path: the ``.safetensors`` file.
        state: the weights; the network's own by default.
        extra: further metadata.
        dtype: floating-point weights are stored as this.
    """
    metadata = {"config": json.dumps(asdict(model.config)), "label_space": model.space.to_json(), **(extra or {})}
    save_weights(path, model.network.state_dict() if state is None else state, metadata, dtype)


def stored_row(metadata: Mapping[str, str], path: Path) -> tuple[ModelConfig, LabelSpace]:
    """The network and the classes of weights that :func:`save_model` wrote.

    Args:
        metadata: theirs.
        path: where they are, for messages.

    Raises:
        UserError: the metadata does not say, or knows other tasks and keys.
    """
    try:
        row = dict(json.loads(metadata["config"]))
        space = LabelSpace.from_json(metadata["label_space"])
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path}: its metadata is incomplete ({error}); write it anew with train") from error
    config = fill(ModelConfig, row, where=str(path))
    _check_blocks(config, str(path))
    return config, space


def load_model(path: Path, only: Sequence[str] = ()) -> Model:
    """A model from weights that :func:`save_model` wrote, in evaluation mode.

    Args:
        path: the file.
        only: tasks to build; all that were trained by default.

    Raises:
        UserError: the file is missing, cut off, foreign, or does not fit its own configuration.
    """
    state, metadata = read_weights(path)
    config, space = stored_row(metadata, path)
    model = build_model(config, space, only, helped=True)
    if only:
        # The other heads are left, and the parts of the trunk that nobody but they read.
        own = model.network.state_dict()
        wanted = tuple(f"heads.{name}." for name in model.network.heads)
        state = {name: value for name, value in state.items() if name in own or name.startswith(wanted)}
    load_state(model.network, state, str(path))
    model.network.eval()
    return model


def learn_space(dataset: CocoDataset, config: ModelConfig) -> LabelSpace:
    """The data set's classes, and a vocabulary learnt from its captions where there are some.

    Raises:
        UserError: a task asks for a vocabulary too small for the captions.
    """
    space = dataset.space
    for name in config.tasks:
        learn = TASKS[name].learn
        if learn is not None and dataset.counts["texts"]:
            space = learn(_block(name, config), space, dataset.captions())
    return space


def check_space(model: LabelSpace, data: LabelSpace, *, scored: bool = False) -> None:
    """Refuses data whose classes are other ones.

    Args:
        model: the model's classes.
        data: the data's.
        scored: the data only judges answers: semantic classes may differ where there is a :func:`translation`.

    Raises:
        UserError: names the first difference.
    """
    check_names("object", model.names, data.names)
    if scored:
        translation(model, data)
    else:
        check_names("semantic", model.semantic_names, data.semantic_names)
