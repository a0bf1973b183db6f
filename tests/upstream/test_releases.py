"""Which network a checkpoint is, and what becomes of each of its tensors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from checkpoints import TABLES, published_state, untrained
from torch import Tensor

from yolor_mtl.data.coco_stuff_classes import released_space
from yolor_mtl.records import UserError
from yolor_mtl.tasks.captioning.tokenizer import LIST_SPECIALS
from yolor_mtl.upstream.keys import CAPTION_LAYER
from yolor_mtl.upstream.releases import RELEASES, Release, recognise, space_of, translate

BY_NAME = {release.name: release for release in RELEASES}
GELAN, GYOLO = BY_NAME["gelan-c-pan"], BY_NAME["gyolo"]


def halves(key: str) -> str | None:
    """A release of four tensors, two of which are auxiliary, and a buffer that means nothing."""
    known = {"m.0.w": "trunk.w", "m.0.b": "trunk.b", "m.1.w": "heads.aux.w", "m.1.b": "heads.aux.b"}
    return known.get(key)


TOY = Release("toy", halves, frozenset({"m.2.search"}))
WANTED = {"trunk.w": (2, 3), "trunk.b": (2,)}
ALL = ("trunk.w", "trunk.b", "heads.aux.w", "heads.aux.b")


def toy() -> dict[str, Tensor]:
    return {"m.0.w": torch.ones(2, 3), "m.0.b": torch.ones(2), "m.1.w": torch.ones(5), "m.2.search": torch.ones(1)}


@pytest.mark.parametrize("name", TABLES)
def test_every_tensor_has_one_place(name: str) -> None:
    release, own = BY_NAME[name], untrained(name).network.state_dict()
    state = published_state(name)
    assert recognise(state, "x.pt") is release
    found = translate(state, release, {key: tensor.shape for key, tensor in own.items()}, own)
    assert found.complete
    assert not found.dropped
    assert not found.added
    assert all(found.state[key].data_ptr() == tensor.data_ptr() for key, tensor in own.items())


def test_the_released_keys_are_recognised(shared: Path) -> None:
    for release in RELEASES:
        keys = [row[0] for row in json.loads((shared / f"upstream/{release.name}.keys.json").read_text())]
        assert recognise(keys, "x.pt") is release
        assert recognise(keys[: int(0.6 * len(keys))], "x.pt") is release
        unknown = [key for key in keys if release.rename(key) is None]
        assert set(unknown) == release.passing


def test_strangers_are_refused() -> None:
    known = list(published_state("gelan-c-pan"))
    strangers = [f"backbone.{number}.weight" for number in range(1500)]
    told = "2505 tensors (backbone.0.weight, backbone.1.weight, ...) are those of no release that can be imported: "
    with pytest.raises(UserError, match=re.escape(f"x.pt: its {told}gelan-c-pan, yolov7-af-pan, gyolo")):
        recognise([*strangers, *known], "x.pt")
    with pytest.raises(UserError, match="0 tensors"):
        recognise([], "x.pt")


def test_what_is_there_and_dropped() -> None:
    found = translate(toy(), TOY, WANTED, ALL)
    assert found.complete
    assert set(found.state) == set(WANTED)
    assert found.dropped == ("m.1.w", "m.2.search")
    assert found.summary() == ""


def test_every_kind_of_misfit_is_listed() -> None:
    state = {**toy(), "m.0.b": torch.ones(3), "m.9.w": torch.ones(1), "x": torch.ones(1)}
    found = translate(state, TOY, {**WANTED, "trunk.more": (1,)}, ALL)
    assert not found.complete
    assert found.unused == ("m.9.w", "x")
    assert found.missing == ("trunk.b", "trunk.more")
    assert found.misfits == ("m.0.b: (3,) where (2,) is needed",)
    told = "2 unused (m.9.w, ...), 2 missing (trunk.b, ...), 1 of another shape (m.0.b: (3,) where (2,) is needed, ...)"
    assert found.summary() == told


def test_a_place_is_filled_once() -> None:
    twice = Release("twice", lambda key: "trunk.w")
    found = translate({"a": torch.ones(1), "b": torch.zeros(1)}, twice, {"trunk.w": (1,)}, ("trunk.w",))
    assert found.state["trunk.w"].item() == 1
    assert found.unused == ("b",)


def test_counters_of_frozen_norms() -> None:
    state = published_state("gelan-c-pan")
    own = untrained("gelan-c-pan").network.state_dict()
    frozen = {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
    found = translate(frozen, GELAN, {key: tensor.shape for key, tensor in own.items()}, own)
    assert found.complete
    assert len(found.added) == len(state) - len(frozen) > 100
    assert all(found.state[name].item() == 0 and found.state[name].dtype == torch.int64 for name in found.added)
    del frozen["model.0.bn.running_var"]  # a norm that is not whole has no excuse
    found = translate(frozen, GELAN, {key: tensor.shape for key, tensor in own.items()}, own)
    norm = "trunk.backbone.stem.0.norm"
    assert found.missing == (f"{norm}.running_var", f"{norm}.num_batches_tracked")


# Classes and words.

WORDS = (*LIST_SPECIALS, *(f"word{number}" for number in range(10202 - len(LIST_SPECIALS))))


def test_class_names() -> None:
    space = released_space()
    assert space_of(GELAN, (), None, "x.pt") == space
    assert space_of(GELAN, space.names, None, "x.pt") == space
    assert space_of(GELAN, [str(number) for number in range(80)], None, "x.pt") == space
    changed = space_of(GELAN, ["human", *space.names[1:]], None, "x.pt")
    assert changed.names == ("human", *space.names[1:])
    assert changed.semantic_names == ("human", *space.semantic_names[1:])
    assert changed.things[0].id == space.things[0].id


def test_class_names_that_do_not_fit() -> None:
    names = released_space().names
    with pytest.raises(UserError, match=r"x\.pt: it names 3 classes; gelan-c-pan has COCO's 80"):
        space_of(GELAN, ("a", "b", "c"), None, "x.pt")
    with pytest.raises(UserError, match=r"x\.pt: two classes have the name bicycle"):
        space_of(GELAN, ("bicycle", *names[1:]), None, "x.pt")
    with pytest.raises(UserError, match=r"x\.pt: two classes have the name banner"):
        space_of(GELAN, ("banner", *names[1:]), None, "x.pt")


def test_words() -> None:
    space = space_of(GYOLO, (), WORDS, "x.pt")
    assert space.vocabulary is not None
    assert json.loads(space.vocabulary) == {"word_list": list(WORDS)}
    with pytest.raises(UserError, match="vocab=: 10201 lines, but gyolo has 10202 words"):
        space_of(GYOLO, (), WORDS[:-1], "x.pt")
    with pytest.raises(UserError, match="which writes no captions; leave vocab= out"):
        space_of(GELAN, (), WORDS, "x.pt")
    with pytest.raises(UserError, match="a word list begins with the lines"):
        space_of(GYOLO, (), (*WORDS[1:], "more"), "x.pt")


def test_the_search_s_buffers_belong_to_the_caption_part() -> None:
    assert GYOLO.passing
    assert all(key.startswith(CAPTION_LAYER) for key in GYOLO.passing)
