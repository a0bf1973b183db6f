"""From weights to another network's start: other classes, other words, other sizes, further tasks.

Two label spaces are compared by name. Where a tensor has a row a class, or a word, the rows of those that both know are
taken over; what has no equal in the weights begins anew, and is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from yolor_mtl.build import (
    Model,
    ModelConfig,
    build_model,
    learn_space,
    model_config,
    possible_tasks,
    stored_row,
)
from yolor_mtl.data.coco import CocoDataset
from yolor_mtl.models.weights import read_weights
from yolor_mtl.records import Category, LabelSpace
from yolor_mtl.tasks.captioning.tokenizer import CaptionTokenizer
from yolor_mtl.training.config import TrainConfig


@dataclass
class Carried:
    """What became of a network's tensors.

    Attributes:
        whole: part of the network -> tensors taken over as they are.
        rows: the same, of tensors of which the rows of common classes or words were taken over.
        fresh: the same, of tensors that begin anew.
    """

    whole: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    fresh: dict[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """What to say of it: the parts that begin anew, and those that do in places."""
        parts = dict.fromkeys([*self.whole, *self.rows, *self.fresh])
        said = []
        for part in parts:
            whole, rows, fresh = (found.get(part, 0) for found in (self.whole, self.rows, self.fresh))
            if not whole + rows:
                said.append(f"{part} begins anew")
            elif fresh or rows:
                kept = f"{whole} tensors taken over"
                some = f", {rows} for the common classes or words" if rows else ""
                anew = f", {fresh} of other sizes or absent begin anew" if fresh else ""
                said.append(f"{part}: {kept}{some}{anew}")
        same = [part for part in parts if part in self.whole and part not in self.rows and part not in self.fresh]
        return [f"{', '.join(same)} taken over whole", *said] if same else said


@dataclass(frozen=True)
class Listing:
    """One of the lists of names for which tensors have rows.

    Attributes:
        what: its name, for messages.
        names: a label space to the names, by row.
        other: a label space to one with another number of names.
    """

    what: str
    names: Callable[[LabelSpace], Sequence[str]]
    other: Callable[[LabelSpace], LabelSpace]


def _words(space: LabelSpace) -> Sequence[str]:
    if space.vocabulary is None:
        return ()
    tokenizer = CaptionTokenizer.from_json(space.vocabulary)
    return [tokenizer.pieces.get(number, "") for number in range(tokenizer.size)]


def _other_words(space: LabelSpace) -> LabelSpace:
    few = (CaptionTokenizer.train([text], 1000) for text in ("a bb", "a bb ccc"))
    count = len(_words(space))
    return space.with_vocabulary(next(tokenizer for tokenizer in few if tokenizer.size != count).to_json())


_ONE_MORE = (Category(-1, ""),)

WORDS = Listing("words", _words, _other_words)

LISTINGS: tuple[Listing, ...] = (
    Listing("object classes", lambda space: space.names, lambda space: replace(space, things=space.things + _ONE_MORE)),
    Listing(
        "semantic classes",
        lambda space: space.semantic_names,
        lambda space: replace(space, semantic=space.semantic + _ONE_MORE),
    ),
    WORDS,
)
"""The lists that differ between data sets."""


def fine_tuned(weights: Path, data: CocoDataset, config: TrainConfig) -> tuple[Model, list[str]]:
    """A network for the data that starts from weights.

    The weights bring the network; ``config.network`` changes it, and tasks that it lacks come from ``config.model``.
    Classes are the data's where it has some, else the weights'; so are words, unless the weights know all of them.

    Args:
        weights: the ``.safetensors`` file.
        data: what it is going to be trained on.
        config: of the training.

    Returns:
        The network, and what to say about it.

    Raises:
        UserError: the file is no weights of ours, or network and data do not fit.
    """
    state, metadata = read_weights(weights)
    stored, known = stored_row(metadata, weights)
    row = changed_row(stored, config)
    space = common_space(row, known, data)
    wanted = config.tasks or possible_tasks(row, space)
    # Heads that are read are built though nobody asked for their tasks, as the weights have them.
    model = build_model(row, space, wanted, helped=True)
    other_words = known.vocabulary and space.vocabulary != known.vocabulary
    if other_words and not any(rows.listing is WORDS for rows in listed_rows(model).values()):
        # A fixed number of slots: what each of them means is only known as long as the words stay.
        space = space.with_vocabulary(known.vocabulary)
        model = build_model(row, space, wanted, helped=True)
    carried = carry(model, state, known)
    said = [*compared(known, space), *carried.lines()]
    return model, [f"{weights.name}: {line}" for line in said]


def changed_row(row: ModelConfig, config: TrainConfig) -> ModelConfig:
    """A stored row with ``config.network``'s changes, and from ``config.model`` the asked tasks that it lacks."""
    asked = model_config(config.model, config.network)
    tasks = {name: {**block, **config.network.get(name, {})} for name, block in row.tasks.items()}
    further = {name: asked.tasks[name] for name in config.tasks if name not in tasks and name in asked.tasks}
    return replace(row, trunk={**row.trunk, **config.network.get("trunk", {})}, tasks=tasks | further)


def common_space(row: ModelConfig, known: LabelSpace, data: CocoDataset) -> LabelSpace:
    """The data's classes and words, and where it has none, those of the weights."""
    space = known
    if data.space.things:
        space = replace(space, things=data.space.things)
    if data.space.semantic:
        space = replace(space, semantic=data.space.semantic, semantic_protocol=data.space.semantic_protocol)
    learnt = space.with_vocabulary(learn_space(data, row).vocabulary)
    if learnt.vocabulary is None or (known.vocabulary is not None and set(_words(learnt)) <= set(_words(known))):
        return space
    return learnt


def compared(known: LabelSpace, space: LabelSpace) -> list[str]:
    """What two spaces have in common, a line a list in which they differ."""
    lines = []
    for listing in LISTINGS:
        before, now = dict.fromkeys(listing.names(known)), dict.fromkeys(listing.names(space))
        if before and list(before) != list(now):
            new = [name for name in now if name not in before]
            examples = f", new ones begin anew ({', '.join(new[:5])}{', ...' if len(new) > 5 else ''})" if new else ""
            lines.append(f"knows {len(now) - len(new)} of the {len(now)} {listing.what}{examples}")
    return lines


def carry(model: Model, state: Mapping[str, Tensor], known: LabelSpace) -> Carried:
    """Puts into a fresh network what weights have for it.

    Args:
        model: the network, for its own classes and words.
        state: the weights' tensors.
        known: the weights' classes and words.
    """
    own = model.network.state_dict()
    listed = listed_rows(model)
    values: dict[str, Tensor] = {}
    fate: dict[int, str] = {}  # by place in memory: tied tensors are stored once
    for name, tensor in own.items():
        if name not in state:
            continue
        if name in listed and (names := _changed(listed[name], known, model.space)) is not None:
            value, how = _with_rows(tensor, state[name], listed[name].axis, *names), "rows"
        else:
            value, how = state[name] if state[name].shape == tensor.shape else None, "whole"
        if value is not None:
            values[name], fate[tensor.data_ptr()] = value, how
    found = Carried()
    for name, tensor in own.items():
        table: dict[str, int] = getattr(found, fate.get(tensor.data_ptr(), "fresh"))
        part = ".".join(name.split(".")[:2]).removeprefix("heads.") if name.startswith("heads.") else name.split(".")[0]
        table[part] = table.get(part, 0) + 1
    model.network.load_state_dict(values, strict=False)
    return found


@dataclass(frozen=True)
class Rows:
    """That a tensor has a row for each name of a list.

    Attributes:
        listing: the list.
        axis: along which.
    """

    listing: Listing
    axis: int


def listed_rows(model: Model) -> dict[str, Rows]:
    """The tensors of a network that grow with its classes or words: those whose shape differs where one list does."""
    base = _shapes(model, model.space)
    found = {}
    for listing in LISTINGS:
        count, other = len(listing.names(model.space)), listing.other(model.space)
        if not count:
            continue
        more = len(listing.names(other))
        for name, shape in _shapes(model, other).items():
            differing = [axis for axis, (one, two) in enumerate(zip(base[name], shape, strict=True)) if one != two]
            if len(differing) == 1 and (base[name][differing[0]], shape[differing[0]]) == (count, more):
                found[name] = Rows(listing, differing[0])
    return found


def _shapes(model: Model, space: LabelSpace) -> dict[str, torch.Size]:
    with torch.device("meta"):
        built = build_model(model.config, space, [task.name for task in model.tasks], helped=True)
    return {name: tensor.shape for name, tensor in built.network.state_dict().items()}


def _changed(rows: Rows, known: LabelSpace, space: LabelSpace) -> tuple[Sequence[str], Sequence[str]] | None:
    """The names before and now, ``None`` where they are the same."""
    before, now = rows.listing.names(known), rows.listing.names(space)
    return None if list(before) == list(now) else (before, now)


def _with_rows(fresh: Tensor, stored: Tensor, axis: int, before: Sequence[str], now: Sequence[str]) -> Tensor | None:
    """A fresh tensor with the stored rows of names that both lists have; ``None`` where the sizes say otherwise."""
    place = {name: row for row, name in enumerate(before)}
    pairs = [(place[name], row) for row, name in enumerate(now) if name in place]
    sizes = [(a, b) for number, (a, b) in enumerate(zip(fresh.shape, stored.shape, strict=False)) if number != axis]
    if not pairs or fresh.dim() != stored.dim() or any(a != b for a, b in sizes) or stored.shape[axis] != len(before):
        return None
    source, target = (torch.tensor(column) for column in zip(*pairs, strict=True))
    return fresh.clone().index_copy_(axis, target, stored.index_select(axis, source).to(fresh.dtype))
