"""Published checkpoints (``.pt``) as models of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from yolor_mtl.build import Model, ModelConfig, answering_config, build_model, model_config, possible_tasks
from yolor_mtl.models.weights import load_state
from yolor_mtl.records import LabelSpace, UserError
from yolor_mtl.tasks.captioning.tokenizer import LIST_SPECIALS, CaptionTokenizer
from yolor_mtl.upstream.reader import read_checkpoint
from yolor_mtl.upstream.releases import Release, Translation, recognise, space_of, translate
from yolor_mtl.upstream.vocabulary import read_words

SUFFIXES = (".pt", ".pth")
"""Endings of published checkpoints."""


@dataclass(frozen=True)
class Imported:
    """A published checkpoint as a model, and what became of its tensors.

    Attributes:
        path: the file.
        release: the network that it holds.
        part: the entry that the weights are from, such as ``ema``; empty for a plain state dict.
        tensors: how many tensors the file has there.
        translation: which of them have a place; places without a tensor keep what the network started with.
        wordless: tasks that were left out because their words are missing (no ``vocab=``).
        model: the network with the weights, in evaluation mode.
    """

    path: Path
    release: Release
    part: str
    tensors: int
    translation: Translation
    wordless: tuple[str, ...]
    model: Model

    @property
    def used(self) -> int:
        """How many tensors of the file found their place."""
        return len(self.translation.state) - len(self.translation.added)

    @property
    def dropped(self) -> dict[str, int]:
        """Part of the network -> how many tensors of it were left out on purpose."""
        names = (self.release.rename(key) or "state of a search" for key in self.translation.dropped)
        return dict(Counter(".".join(name.split(".")[:2]) for name in names))

    def notes(self) -> list[str]:
        """What somebody who uses the model should know, in sentences; usually nothing."""
        told = [f"{self.path}: {name} is left out; {_wanting(self.release)}" for name in self.wordless]
        if not self.translation.complete:
            kept = "; what is missing keeps untrained values" if self.translation.missing else ""
            told.append(f"{self.path} is used as {self.release.name} although {self.translation.summary()}{kept}")
        return told

    def check(self) -> None:
        """Refuses a file that does not fit its release.

        Raises:
            UserError: tensors have no place, or places no tensor; with the number and the first of each.
        """
        if not self.translation.complete:
            raise UserError(
                f"{self.path} was taken for {self.release.name}, but tensors do not fit: {self.translation.summary()}; "
                "yolor-mtl convert lists all of them, strict=false uses the file all the same"
            )


def import_model(path: Path, tasks: Sequence[str] = (), vocab: str = "", branches: bool = False) -> Imported:
    """Reads a published checkpoint, renames its tensors and puts them into the network they belong to.

    Args:
        path: the ``.pt`` file; nothing in it is executed.
        tasks: tasks to build; by default all of the release, without those that need words if ``vocab`` is empty.
        vocab: the word list published with a network that writes captions.
        branches: keep auxiliary branches, which only training needs.

    Raises:
        UserError: it cannot be read, is no release that is known, or a task cannot be built; but see
            :meth:`Imported.check` for tensors that do not fit.
    """
    checkpoint = read_checkpoint(path)
    release = recognise(checkpoint.state, str(path))
    words = read_words(Path(vocab)) if vocab else None
    space = space_of(release, checkpoint.names, words, str(path))
    row = model_config(release.name)
    possible = possible_tasks(row, space)
    wordless = tuple(name for name in row.tasks if name not in possible)
    if asked := [name for name in tasks if name in wordless]:
        others = f"leave {', '.join(asked)} out with tasks=[{','.join(possible)}]"
        raise UserError(f"{path} is {release.name}: {_wanting(release)}, or {others}")
    model = build_model(row if branches else answering_config(row), space, tasks or possible)
    own = model.network.state_dict()
    wanted = {name: tensor.shape for name, tensor in own.items()}
    translation = translate(checkpoint.state, release, wanted, _all_places(row, space))
    load_state(model.network, {**own, **translation.state}, str(path))
    model.network.eval()
    return Imported(
        path, release, checkpoint.part, len(checkpoint.state), translation, () if tasks else wordless, model
    )


def load_published(path: Path, tasks: Sequence[str], vocab: str, strict: bool, say: Callable[[str], object]) -> Model:
    """The model that a published checkpoint holds, without its auxiliary branches.

    Args:
        path: the ``.pt`` file.
        tasks: tasks to build; by default all that are possible.
        vocab: the word list published with it, or empty.
        strict: refuse tensors without a place and places without a tensor.
        say: gets sentences for the user; see :meth:`Imported.notes`.

    Raises:
        UserError: as :func:`import_model`; and with ``strict`` as :meth:`Imported.check`.
    """
    imported = import_model(path, tasks, vocab)
    if strict:
        imported.check()
    for note in imported.notes():
        say(note)
    return imported.model


def _wanting(release: Release) -> str:
    return f"its words are needed: give vocab=vocab.txt, the list of {release.words} words published with it"


def _all_places(row: ModelConfig, space: LabelSpace) -> Collection[str]:
    """Names of all tensors of a release, whatever is built of it; takes no memory for weights."""
    if space.vocabulary is None:  # how many words there are changes no name
        space = space.with_vocabulary(CaptionTokenizer.from_words([*LIST_SPECIALS, "a"]).to_json())
    with torch.device("meta"):
        return build_model(row, space).network.state_dict().keys()
