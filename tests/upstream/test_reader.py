"""Legitimate checkpoints, as ``torch.save`` writes them, give tensors and names; forged tensors are refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import (
    Call,
    dumps,
    foreign_classes,
    network,
    publish,
    storage_of,
    tensor_of,
    top,
    write_archive,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from yolor_mtl.data.coco_stuff_classes import released_space
from yolor_mtl.records import UserError
from yolor_mtl.upstream import reader
from yolor_mtl.upstream.reader import Checkpoint, read_checkpoint


def state() -> dict[str, Tensor]:
    """A few tensors of every kind that the releases have."""
    return {
        "model.0.conv.weight": torch.randn(4, 3, 3, 3).half().float().to(memory_format=torch.channels_last),
        "model.0.bn.weight": torch.arange(4.0),
        "model.0.bn.bias": torch.zeros(4),
        "model.0.bn.running_mean": torch.ones(4),
        "model.0.bn.running_var": torch.full((4,), 0.5),
        "model.0.bn.num_batches_tracked": torch.tensor(2**40 + 1),
        "model.2.cv2.0.2.weight": torch.randn(5, 4, 1, 1).half().float(),
        "model.2.cv2.0.2.bias": torch.randn(5).half().float(),
        "model.2.dfl.conv.weight": torch.arange(16.0).reshape(1, 16, 1, 1),
    }


def assert_same(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    assert list(found) == list(wanted)
    for key, tensor in wanted.items():
        assert found[key].dtype == (torch.float32 if tensor.is_floating_point() else tensor.dtype), key
        assert torch.equal(found[key], tensor.to(found[key].dtype)), key


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("head", ["Panoptic", "DualDPanoptic"])
def test_a_stripped_file(tmp_path: Path, half: bool, head: str) -> None:
    wanted = state()
    found = read_checkpoint(publish(tmp_path / "a.pt", wanted, half=half, head=head))
    assert_same(found.state, wanted)
    assert found.part == "model"
    assert found.names == released_space().names
    assert found.meta["date"] == "2024-01-02T03:04:05"
    assert found.meta["epoch"] == -1


def test_averaged_weights_are_preferred(tmp_path: Path) -> None:
    wanted = state()
    other = {key: tensor + 1 for key, tensor in wanted.items()}
    path = tmp_path / "a.pt"
    with foreign_classes() as make:
        model, ema = network(other, make).half(), network(wanted, make).half()
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))], 0.1, momentum=0.9).state_dict()
        fitness = {"best_fitness": np.array([0.5]), "updates": np.float64(7), "optimizer": optimizer}
        torch.save(top(model=model, ema=ema, **fitness), path)
    found = read_checkpoint(path)
    assert found.part == "ema"
    assert_same(found.state, wanted)


def test_frozen_norms(tmp_path: Path) -> None:
    wanted = state()
    found = read_checkpoint(publish(tmp_path / "a.pt", wanted, frozen=True))
    del wanted["model.0.bn.num_batches_tracked"]
    assert_same(found.state, wanted)


@pytest.mark.parametrize("entry", ["", "state_dict", "model", "ema"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_plain_states(tmp_path: Path, entry: str, protocol: int) -> None:
    wanted = state()
    names = {"names": ["cat", "dog"]}
    content: dict[str, Any] = {entry: wanted, **names} if entry else {**wanted, **names}
    torch.save(content, tmp_path / "a.pt", pickle_protocol=protocol)
    found = read_checkpoint(tmp_path / "a.pt")
    assert_same(found.state, wanted)
    assert (found.part, found.names) == (entry, ("cat", "dog"))


def test_tensors_of_every_layout_and_type(tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    wanted = {
        "turned": whole.T,
        "part": whole[1:3, ::2],
        "repeated": torch.ones(1).expand(1),
        "empty": torch.empty(0, 20, dtype=torch.uint8),
        "number": torch.tensor(3),
        "double": torch.tensor([1.5], dtype=torch.float64),
        "brain": torch.tensor([1.5], dtype=torch.bfloat16),
        "truth": torch.tensor([True, False]),
        "small": torch.tensor([-3], dtype=torch.int8),
    }
    torch.save(wanted, tmp_path / "a.pt")
    found = read_checkpoint(tmp_path / "a.pt").state
    assert_same(found, wanted)
    assert found["turned"].untyped_storage().data_ptr() == found["part"].untyped_storage().data_ptr()


@pytest.mark.parametrize("names", [["a", "b"], ("a", "b"), {0: "a", 1: "b"}])
def test_class_names(tmp_path: Path, names: Any) -> None:
    torch.save({"model": state(), "names": names}, tmp_path / "a.pt")
    assert read_checkpoint(tmp_path / "a.pt").names == ("a", "b")


@pytest.mark.parametrize("names", ["ab", {1: "a", 2: "b"}, ["a", ""], ["a\x1b[31m"], ["a", 3], ["a" * 201]])
def test_what_is_no_class_names(tmp_path: Path, names: Any) -> None:
    torch.save({"model": state(), "names": names}, tmp_path / "a.pt")
    with pytest.raises(UserError, match="class names are no list of texts"):
        read_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (3, "holds a int, not a checkpoint"),
        ({"epoch": 3}, "has no entry 'ema', 'model', 'state_dict' with weights"),
        ({"model": {"a": 1}}, "has no entry"),
        ([torch.zeros(3)], "holds a list"),
    ],
)
def test_what_holds_no_weights(tmp_path: Path, content: Any, told: str) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(UserError, match=re.escape(told)):
        read_checkpoint(tmp_path / "a.pt")


def test_a_module_without_tensors(tmp_path: Path) -> None:
    torch.save({"model": torch.nn.Sequential(torch.nn.SiLU())}, tmp_path / "a.pt")
    with pytest.raises(UserError, match="its modules have no tensors"):
        read_checkpoint(tmp_path / "a.pt")


FOUR = torch.arange(4.0).numpy().tobytes()
PLACE = storage_of(4)
FORGED: dict[str, tuple[Any, str]] = {
    "more than there is": (tensor_of(PLACE, (5,), (1,)), "beyond its storage"),
    "offset": (tensor_of(PLACE, (2,), (1,), 3), "beyond its storage"),
    "stride": (tensor_of(PLACE, (2,), (4,)), "beyond its storage"),
    "stride 0": (tensor_of(PLACE, (2**40, 2**20), (0, 0)), "beyond its storage"),
    "product above 64 bits": (tensor_of(PLACE, (2**40, 2**40), (0, 0)), "beyond its storage"),
    "negative size": (tensor_of(PLACE, (-1,), (1,)), "negative size"),
    "negative stride": (tensor_of(PLACE, (2,), (-1,), 3), "negative size"),
    "empty but huge": (tensor_of(PLACE, (0, 2**62, 2**62), (1, 1, 1)), "has the size"),
    "17 sides": (tensor_of(PLACE, (1,) * 17, (1,) * 17), "with arguments that no network"),
    "sides and strides": (tensor_of(PLACE, (2, 2), (1,)), "with arguments that no network"),
    "size is no number": (tensor_of(PLACE, ("2",), (1,)), "with arguments that no network"),
    "integer above 64 bits": (tensor_of(PLACE, (2**70,), (1,)), "more than 64 bits"),
    "huge storage": (tensor_of(storage_of(2**60), (4,), (1,)), "is no release"),
    "more than the archive has": (tensor_of(storage_of(5), (5,), (1,)), "16 bytes where its pickle says 20"),
    "less than the archive has": (tensor_of(storage_of(3), (3,), (1,)), "16 bytes where its pickle says 12"),
    "absent storage": (tensor_of(storage_of(4, "7"), (4,), (1,)), "storage 7 that its pickle names is not in it"),
    "storage's name": (tensor_of(storage_of(4, "../data.pkl"), (4,), (1,)), "refused"),
    "storage's kind": (tensor_of(storage_of(4, kind=torch.nn.Linear), (4,), (1,)), "refused"),
    "no storage": (tensor_of(4, (4,), (1,)), "with arguments that no network"),  # type: ignore[arg-type]
    "hooks": (Call(torch._utils._rebuild_parameter, tensor_of(PLACE, (4,), (1,)), True, {"a": 1}), "with arguments"),
}


@pytest.mark.parametrize(("forged", "told"), FORGED.values(), ids=list(FORGED))
def test_forged_tensors(tmp_path: Path, forged: Any, told: str) -> None:
    path = write_archive(tmp_path / "a.pt", dumps({"model": {"a": forged}}), {"0": FOUR})
    with pytest.raises(UserError, match=re.escape(told)) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)


def test_a_storage_of_two_types(tmp_path: Path) -> None:
    content = {"a": tensor_of(PLACE, (4,), (1,)), "b": tensor_of(storage_of(8, kind=torch.HalfStorage), (8,), (1,))}
    with pytest.raises(UserError, match="two types or sizes"):
        read_checkpoint(write_archive(tmp_path / "a.pt", dumps(content), {"0": FOUR}))


def test_a_byte_that_is_no_truth_value(tmp_path: Path) -> None:
    content = {"a": tensor_of(storage_of(4, kind=torch.BoolStorage), (4,), (1,))}
    path = write_archive(tmp_path / "a.pt", dumps(content), {"0": bytes([0, 1, 2, 255])})
    assert read_checkpoint(path).state["a"].tolist() == [False, True, True, True]


class Loop(torch.nn.Module):
    """A module that holds itself."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self._modules["inner"] = self


class Doubling(torch.nn.Module):
    """A tree of 2^depth leaves in depth + 1 modules."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        if depth:
            self.left = self.right = Doubling(depth - 1)
        else:
            self.weight = torch.nn.Parameter(torch.ones(1))


class Odd(torch.nn.Module):
    """A module with something else among its parameters."""

    def __init__(self) -> None:
        super().__init__()
        self._parameters["weight"] = "x"  # type: ignore[assignment]


class Doubled(torch.nn.Module):
    """A module with a key twice."""

    def __init__(self) -> None:
        super().__init__()
        self._parameters["a"] = self._buffers["a"] = torch.ones(1)  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (Loop, "without end"),
        (lambda: Doubling(40), "without end|more than"),
        (Odd, "weight is a str, not a tensor"),
        (Doubled, "two tensors have the key a"),
    ],
)
def test_forged_modules(tmp_path: Path, make: Callable[[], torch.nn.Module], told: str) -> None:
    torch.save({"model": make()}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=told):
        read_checkpoint(tmp_path / "a.pt")


def test_too_many_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MOST_TENSORS", 8)
    with pytest.raises(UserError, match="more than 8 tensors"):
        read_checkpoint(publish(tmp_path / "a.pt", state()))


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(tmp_path_factory.mktemp("fuzz") / "whole.pt", state(), half=True)


def read_or_refuse(content: bytes, path: Path) -> None:
    """Whatever the bytes are: tensors and names, or a message for the user."""
    path.write_bytes(content)
    found: Checkpoint | UserError
    try:
        found = read_checkpoint(path)
    except UserError as error:
        found = error
    if isinstance(found, Checkpoint):
        assert all(isinstance(tensor.sum().item(), float | int) for tensor in found.state.values())
    else:
        assert str(path) in str(found)
        assert str(found).isprintable()


QUICK = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8)


def changed(content: bytes, changes: list[tuple[float, int]]) -> bytes:
    found = bytearray(content)
    for place, value in changes:
        found[int(place * len(found))] = value
    return bytes(found)


@QUICK
@given(changes=CHANGES, end=st.floats(0.5, 1))
def test_damaged_files(healthy: Path, changes: list[tuple[float, int]], end: float) -> None:
    content = changed(healthy.read_bytes(), changes)
    read_or_refuse(content[: round(end * len(content))] if end < 0.8 else content, healthy.with_name("damaged.pt"))


@QUICK
@given(changes=CHANGES)
def test_damaged_pickles(healthy: Path, changes: list[tuple[float, int]]) -> None:
    """Sums of the zip are made anew, so that the damage reaches the reader of pickles."""
    with reader.Archive(healthy) as archive:
        content = changed(archive.pickle, changes)
    path = write_archive(healthy.with_name("pickle.pt"), content)
    read_or_refuse(path.read_bytes(), path)


@QUICK
@given(content=st.binary(max_size=200))
def test_any_bytes_as_a_pickle(healthy: Path, content: bytes) -> None:
    path = write_archive(healthy.with_name("any.pt"), b"\x80\x02" + content)
    read_or_refuse(path.read_bytes(), path)
