"""The released networks: which one a checkpoint is, and its tensors under our names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from yolor_mtl.data.coco_stuff_classes import released_space
from yolor_mtl.records import LabelSpace, UserError
from yolor_mtl.tasks.captioning.tokenizer import CaptionTokenizer
from yolor_mtl.upstream import keys
from yolor_mtl.upstream.archive import shown
from yolor_mtl.upstream.caption_keys import CAPTION_DROPPED

LEAST_FIT = 0.5
"""Share of a checkpoint's keys that a release must know to be taken for it."""


@dataclass(frozen=True)
class Release:
    """A network that its authors published.

    Attributes:
        name: the row of configuration that builds it.
        rename: its key to our name; ``None`` for a key that it does not have, or that means nothing to us.
        passing: keys of the latter kind, such as buffers of a search.
        words: lines of the vocabulary file that belongs to it; 0 where it writes no captions.
    """

    name: str
    rename: Callable[[str], str | None]
    passing: frozenset[str] = frozenset()
    words: int = 0


RELEASES: tuple[Release, ...] = (
    Release("gelan-c-pan", keys.gelan_c_pan),
    Release("yolov7-af-pan", keys.yolov7_af_pan),
    Release("gyolo", keys.gyolo, frozenset(keys.CAPTION_LAYER + key for key in CAPTION_DROPPED), 10202),
)
"""All that can be imported."""


@dataclass(frozen=True)
class Translation:
    """A checkpoint's tensors under our names, and what became of the rest.

    Attributes:
        state: our name -> tensor.
        unused: keys of the checkpoint that are in no place of the release.
        missing: our names that no tensor was found for.
        dropped: keys left out on purpose: auxiliary branches, buffers of a search, tasks that were not asked for.
        misfits: keys whose tensor has another shape than its place, with both shapes; their places are ``missing``.
        added: our names of counters that are 0, because the checkpoint's norms were frozen and have none.
    """

    state: dict[str, Tensor]
    unused: tuple[str, ...]
    missing: tuple[str, ...]
    dropped: tuple[str, ...]
    misfits: tuple[str, ...]
    added: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every tensor found its place and every place its tensor."""
        return not (self.unused or self.missing or self.misfits)

    def summary(self) -> str:
        """Counts of what does not fit, each with its first name."""
        groups = ((self.unused, "unused"), (self.missing, "missing"), (self.misfits, "of another shape"))
        return ", ".join(f"{len(names)} {what} ({names[0]}, ...)" for names, what in groups if names)


def recognise(found: Collection[str], where: str, releases: Iterable[Release] = RELEASES) -> Release:
    """The release whose keys fit best.

    Args:
        found: the checkpoint's keys.
        where: the file, for messages.
        releases: the ones to choose from.

    Raises:
        UserError: none fits; lists the known ones.
    """
    known = tuple(releases)
    counts = [
        sum(key in release.passing or release.rename(key) is not None for key in found) / max(len(found), 1)
        for release in known
    ]
    best = max(range(len(known)), key=counts.__getitem__)
    if counts[best] < LEAST_FIT:
        first = ", ".join(map(shown, list(found)[:2]))
        raise UserError(
            f"{where}: its {len(found)} tensors ({first}, ...) are those of no release that can be imported: "
            f"{', '.join(release.name for release in known)}"
        )
    return known[best]


def translate(
    state: Mapping[str, Tensor], release: Release, wanted: Mapping[str, Sequence[int]], known: Collection[str] = ()
) -> Translation:
    """Renames a checkpoint's tensors.

    Norms that were frozen have lost their counter of batches, which only training reads: it becomes 0.

    Args:
        state: key -> tensor.
        release: which network they are of.
        wanted: our name -> shape, of the network to fill.
        known: our names of the whole release; what is in it and not ``wanted`` is dropped on purpose.
    """
    found: dict[str, Tensor] = {}
    unused: list[str] = []
    dropped: list[str] = []
    misfits: list[str] = []
    whole = frozenset(known)
    for key, tensor in state.items():
        name = None if key in release.passing else release.rename(key)
        if name is not None and name in wanted and name not in found:
            if tuple(tensor.shape) == tuple(wanted[name]):
                found[name] = tensor
            else:
                misfits.append(f"{key}: {tuple(tensor.shape)} where {tuple(wanted[name])} is needed")
        elif key in release.passing or (name in whole and name not in found):
            dropped.append(key)
        else:
            unused.append(key)
    added = [name for name in wanted if name not in found and _is_counter_of(name, found)]
    found |= {name: torch.zeros((), dtype=torch.int64) for name in added}
    missing = tuple(name for name in wanted if name not in found)
    return Translation(found, tuple(unused), missing, tuple(dropped), tuple(misfits), tuple(added))


def _is_counter_of(name: str, found: Collection[str]) -> bool:
    """Whether it is the counter of a norm whose other values are there."""
    norm, _, leaf = name.rpartition(".")
    return leaf == "num_batches_tracked" and f"{norm}.running_var" in found


def space_of(release: Release, names: Sequence[str], words: Sequence[str] | None, where: str) -> LabelSpace:
    """Classes and vocabulary of a released network.

    Args:
        release: the network.
        names: names of the thing classes as the checkpoint has them; COCO's where it has none.
        words: lines of its vocabulary file, or ``None``.
        where: the file, for messages.

    Raises:
        UserError: another number of names or words than the network has, or a name twice.
    """
    space = _named(released_space(), names, release, where)
    if words is None:
        return space
    if not release.words:
        raise UserError(f"{where} is {release.name}, which writes no captions; leave vocab= out")
    if len(words) != release.words:
        raise UserError(f"vocab=: {len(words)} lines, but {release.name} has {release.words} words, one a line")
    return space.with_vocabulary(CaptionTokenizer.from_words(words).to_json())


def _named(space: LabelSpace, names: Sequence[str], release: Release, where: str) -> LabelSpace:
    """The space with these names of its things; plain numbers, which stand where nobody gave names, change nothing."""
    number = len(space.things)
    if not names or list(names) == [str(index) for index in range(number)]:
        return space
    if len(names) != number:
        raise UserError(f"{where}: it names {len(names)} classes; {release.name} has COCO's {number}")
    things = tuple(replace(thing, name=name) for thing, name in zip(space.things, names, strict=True))
    semantic = (*things, *space.semantic[number:])
    counts = Counter(entry.name for entry in semantic)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise UserError(f"{where}: two classes have the name {shown(twice[0])}; names must differ")
    return replace(space, things=things, semantic=semantic)
