"""What a training is told: one dataclass, filled from YAML and ``key=value``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolor_mtl.config import fill, nearest, packaged, read_yaml
from yolor_mtl.data.augment import AugmentConfig, check_strengths, weak
from yolor_mtl.ops.device import HALVES
from yolor_mtl.records import UserError

CHOICES: Mapping[str, tuple[str, ...]] = {
    "half": HALVES,
    "optimizer": ("adamw", "sgd"),
    "schedule": ("cosine", "flat-cosine"),
    "balance": ("fixed", "uncertainty"),
    "surgery": ("none", "pcgrad", "cagrad", "upgrad", "mgda", "aligned-mtl", "imtl-g"),
}
"""Keys that hold one of a few words."""

STATE_KEYS = ("optimizer", "accumulate", "balance")
"""Keys that a resumed run keeps: they say what the state in its ``last.ckpt`` is, or what a step counts."""


@dataclass
class TrainConfig:
    """Trains a network, scores its best weights and writes a report.

    Parts of the network are keys too: ``trunk.width=0.5``, ``captioning.layers=3``. ``config=`` names a recipe.

    Attributes:
        model: a shipped network's name or a YAML file.
        data: a folder in COCO's layout, a YAML file, or the word ``scenes``.
        train: split or splits to train on.
        val: split or splits to evaluate on.
        maps: where semantic classes come from if the data has both: ``panoptic``, ``stuff``, or ``auto`` (panoptic
            first).
        tasks: tasks to train; all that the network has and the data allows by default.
        network: changes to the network's row, ``{"semantic": {"loss": "multilabel"}}``; on the command line
            ``semantic.loss=multilabel``.
        name: name of the run, a folder under ``runs``.
        out: the run's folder itself, instead of ``name``.
        epochs: passes over the training pictures.
        minutes: time budget; 0 for none. The schedule is cut to fit it.
        imgsz: side of the square frame, pixels; 0 takes the network's.
        batch: pictures that one process takes at once.
        accumulate: batches whose gradients make one step, as their mean; the last step of an epoch has what is left.
            ``warmup``, ``ema_ramp`` and the schedule count steps.
        workers: processes that load pictures; -1 chooses by the machine.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``, or a GPU's number.
        half: ``auto``, ``true`` (bfloat16 autocast), ``false`` (fp32), or ``fp16`` (float16 autocast with scaled
            gradients, on NVIDIA GPUs only).
        seed: of weights, order and augmentation.
        resume: a run's folder (or its ``last.ckpt``) to go on with; its own configuration holds where none is given.
        weights: a ``.safetensors``, a run's folder or a shipped name such as ``scenes-nano`` to start from. It brings
            its network; changes to it are made, classes and words are the data's, tasks it lacks come from ``model``,
            and what has no equal in it begins anew.
        freeze: parts that keep their weights: ``trunk`` or tasks; the others' losses alone are computed.
        freeze_epochs: epochs for which they do, from the start; 0 for all.
        keep_features: where a text decoder learns alone on pictures without augmentation, what the frozen part makes
            of each is worked out once and kept on disk while the training runs.
        optimizer: ``adamw``, or ``sgd`` with Nesterov's momentum, for which a learning rate of 0.01 is usual.
        momentum: of ``sgd``.
        lr: learning rate after warm-up, for a batch of any size.
        text_lr: learning rate of the heads of tasks with a vocabulary, whichever view trains them, as a factor of
            ``lr`` (paper: equal).
        schedule: of the learning rate after warm-up: ``cosine``, or ``flat-cosine``, which begins to fall later.
        flat: part of the training before the cosine of ``flat-cosine``.
        final_lr: learning rate at the end, as a factor.
        weight_decay: the optimiser's, on matrices and kernels only.
        balance: ``fixed``, the tasks' losses as the network's row weights them, or ``uncertainty``, with further
            weights that are learnt (Kendall et al., arXiv 1705.07115).
        surgery: what becomes of tasks' gradients that contradict each other in the trunk: ``none`` adds them up;
            ``pcgrad``, ``cagrad``, ``upgrad``, ``mgda``, ``aligned-mtl`` and ``imtl-g`` need
            ``pip install 'yolor-mtl[surgery]'``, a single process, and time for a backward pass a task.
        warmup: steps of linear warm-up, at most a tenth of the steps of all epochs.
        clip: greatest norm of a step's gradient; 0 for no clipping.
        ema: decay of the averaged weights; 0 for no averaging.
        ema_ramp: steps over which the decay is reached.
        language_share: the language view's part of a batch.
        augment: augmentation of the vision view, strong by default.
        weak: augmentation of the language view: by default none.
        val_batches: greatest number of validation batches an epoch; 0 for all.
        val_every: epochs between two validations.
        unreadable: greatest share of the pictures that may prove unreadable before the training stops, with its state
            kept; ten always may.
        save_every: minutes between two saved states inside an epoch; 0 for states at the ends of epochs only.
        keep_every: epochs between two weights that are kept as ``epoch-0010.safetensors`` and so on, where the epoch
            is validated; 0 keeps the best ones alone.
        samples: validation pictures that are drawn with the answers after every validation; 0 for none.
        plots: pictures in the report.
        beside: other weights to score and show beside the trained ones in the report, such as ``scenes-nano``.
    """

    model: str = "nano"
    data: str = "scenes"
    train: Any = "train"
    val: Any = "val"
    maps: str = "auto"
    tasks: list[str] = field(default_factory=list)
    network: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    out: str = ""
    epochs: int = 50
    minutes: float = 0.0
    imgsz: int = 0
    batch: int = 16
    accumulate: int = 1
    workers: int = -1
    device: str = "auto"
    half: str = "auto"
    seed: int = 0
    resume: str = ""
    weights: str = ""
    freeze: list[str] = field(default_factory=list)
    freeze_epochs: int = 0
    keep_features: bool = True
    optimizer: str = "adamw"
    momentum: float = 0.937
    lr: float = 2e-3
    text_lr: float = 1.0
    schedule: str = "cosine"
    flat: float = 0.5
    final_lr: float = 0.02
    weight_decay: float = 0.02
    balance: str = "fixed"
    surgery: str = "none"
    warmup: int = 300
    clip: float = 10.0
    ema: float = 0.9995
    ema_ramp: int = 500
    language_share: float = 0.25
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    weak: AugmentConfig = field(default_factory=weak)
    val_batches: int = 0
    val_every: int = 1
    unreadable: float = 0.1
    save_every: float = 10.0
    keep_every: int = 0
    samples: int = 4
    plots: int = 12
    beside: str = ""


def train_config(
    assigned: Mapping[str, Any], parts: Mapping[str, Any] | None = None, recipe: str = "default"
) -> TrainConfig:
    """A complete configuration.

    Args:
        assigned: keys given by the user; ``config`` names a YAML file with more of them, or a shipped recipe such as
            ``scenes-nano``, which they overrule. With ``resume``, the run's own ``config.yaml`` lies under both.
        parts: changes to the network's row.
        recipe: a shipped file of ``configs/train`` underneath.

    Raises:
        UserError: an unknown key or a value that cannot be.
    """
    given = dict(assigned)
    file = given.pop("config", None)
    earlier = resumed_folder(str(given["resume"])) / "config.yaml" if given.get("resume") else None
    layers = [
        packaged("train", recipe),
        read_yaml(earlier) if earlier and earlier.is_file() else {},
        packaged("train", str(file)) if file else {},
        given,
    ]
    config = fill(TrainConfig, *layers)
    config.network = {**config.network, **(parts or {})}
    _check(config)
    if earlier and earlier.is_file():
        _check_resumed(config, fill(TrainConfig, packaged("train", recipe), read_yaml(earlier)))
    return config


def _check(config: TrainConfig) -> None:
    _check_choices(config)
    least = {
        "epochs": 1,
        "batch": 1,
        "accumulate": 1,
        "imgsz": 0,
        "workers": -1,
        "val_every": 1,
        "val_batches": 0,
        "minutes": 0,
    }
    least |= dict.fromkeys(("seed", "plots", "weight_decay", "text_lr", "final_lr", "warmup", "clip", "ema_ramp"), 0)
    least |= dict.fromkeys(("save_every", "keep_every", "samples", "unreadable"), 0)
    for key, value in least.items():
        if getattr(config, key) < value:
            raise UserError(f"{key}={getattr(config, key)} is below the least, {value}")
    check_strengths(config.augment, "augment")
    check_strengths(config.weak, "weak")
    if not 0 < config.language_share < 1:
        raise UserError(f"language_share={config.language_share} must lie between 0 and 1")
    if config.lr <= 0:
        raise UserError(f"lr={config.lr} must be above 0")
    for key in ("ema", "momentum", "flat"):
        if not 0 <= getattr(config, key) < 1:
            raise UserError(f"{key}={getattr(config, key)} must lie in 0..1, 1 excluded")


def _check_choices(config: TrainConfig) -> None:
    for key, known in CHOICES.items():
        value = str(getattr(config, key)).lower()
        if value not in known:
            raise UserError(f"{key}={getattr(config, key)}{nearest(value, known)}; known: {', '.join(known)}")
        setattr(config, key, value)
    if config.surgery != "none" and config.half == "fp16":
        # The aggregators would meet the infinite gradients that float16 has now and then, before they are dropped.
        raise UserError(
            f"surgery={config.surgery} does not work with half=fp16; take half=true (bfloat16) or half=false"
        )


def _check_resumed(config: TrainConfig, earlier: TrainConfig) -> None:
    for key in STATE_KEYS:
        if (now := getattr(config, key)) != (before := getattr(earlier, key)):
            remedy = f"leave {key}= out, or start anew with weights={resumed_folder(config.resume)}/best.safetensors"
            raise UserError(f"resume={config.resume} goes on with {key}={before}, not {key}={now}; {remedy}")


def resumed_folder(resume: str) -> Path:
    """The run's folder that ``resume=`` means, by its own name or by that of its checkpoint."""
    path = Path(resume)
    return path.parent if path.suffix == ".ckpt" else path
