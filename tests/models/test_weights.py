"""Weights on disk: whole, ours, and fitting, or a message that says what is wrong."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from yolor_mtl.models import weights as module
from yolor_mtl.models.weights import FORMAT, WITHOUT_DIGEST, found_weights, load_state, read_weights, save_weights
from yolor_mtl.records import UserError


class Tied(nn.Module):
    """Two names for one tensor, a counter, and a kernel in channels_last."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.out = nn.Linear(4, 7)
        self.out.weight = self.embedding.weight
        self.conv = nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)
        self.norm = nn.BatchNorm2d(5)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "a.safetensors"
    save_weights(path, Tied().state_dict(), {"config": "{}"})
    return path


def test_what_a_name_means(tmp_path: Path) -> None:
    for name in ("run/best.safetensors", "other.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name, file in (("run", "run/best.safetensors"), ("other.safetensors",) * 2):
        with found_weights("weights", str(tmp_path / name)) as path:
            assert path == tmp_path / file
    with found_weights("weights", "scenes-nano") as path:
        assert read_weights(path)[1]["format"]
    with pytest.raises(UserError, match=r"weights=scenes-nanno: .*runs/NAME/best.safetensors.*did you mean"):
        found_weights("weights", "scenes-nanno").__enter__()


def test_round_trip(tmp_path: Path) -> None:
    first, second = Tied(), Tied()
    path = tmp_path / "new" / "a.safetensors"
    save_weights(path, first.state_dict(), {"config": '{"ä": 1}', "empty": ""})
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    state, metadata = read_weights(path)
    assert metadata == {"format": FORMAT, "config": '{"ä": 1}', "empty": ""}
    assert set(first.state_dict()) - set(state) == {"out.weight"}  # written once
    load_state(second, state, "here")
    assert second.out.weight is second.embedding.weight
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor)
        assert second.state_dict()[name].dtype == tensor.dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_storage_in_half(tmp_path: Path, dtype: torch.dtype) -> None:
    first, second = Tied(), Tied()
    save_weights(tmp_path / "a.safetensors", first.state_dict(), {}, dtype)
    state, _ = read_weights(tmp_path / "a.safetensors")
    counter = state.pop("norm.num_batches_tracked")
    assert counter.dtype == torch.int64
    assert {tensor.dtype for tensor in state.values()} == {dtype}
    load_state(second, {**state, "norm.num_batches_tracked": counter}, "here")
    assert {tensor.dtype for tensor in second.state_dict().values()} == {torch.float32, torch.int64}
    for name, tensor in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], tensor, rtol=1e-2, atol=1e-6)


def _flip(content: bytes) -> bytes:
    """Another letter in the header's JSON: a brace."""
    return content[:8] + b"[" + content[9:]


@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"",
        lambda content: content[:5],
        lambda content: content[:100],
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: struct.pack("<Q", 2**60) + content[8:],
        lambda content: _flip(content),
        lambda content: content.replace(b'"F32"', b'"F99"', 1),
        lambda content: b"PK\x03\x04 a pickle in a zip, as torch.save writes it" * 9,
    ],
    ids=["empty", "5 bytes", "cut header", "half", "one short", "one more", "length", "brace", "dtype", "zip"],
)
def test_broken_files(saved: Path, change: Callable[[bytes], bytes]) -> None:
    saved.write_bytes(change(saved.read_bytes()))
    with pytest.raises(UserError, match=rf"^{saved} is not a whole safetensors file: \S+"):
        read_weights(saved)


def test_foreign_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(UserError, match=f"no weights file {path}"):
        read_weights(path)
    with pytest.raises(UserError, match="no weights file"):
        read_weights(tmp_path)
    for metadata in (None, {"format": "pt"}, {"format": "yolor-mtl/0"}):
        save_file({"a": torch.zeros(3)}, path, metadata)
        with pytest.raises(UserError, match="was not written by yolor-mtl"):
            read_weights(path)


def test_a_failed_write_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def fail(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        path.write_bytes(before[:50])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", fail)
    with pytest.raises(OSError, match="No space left"):
        save_weights(saved, Tied().state_dict(), {})
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_what_does_not_fit_is_named() -> None:
    state = dict(Tied().state_dict())
    del state["conv.bias"], state["norm.weight"]
    state["more"] = torch.zeros(1)
    state["out.bias"] = torch.zeros(8)
    net = Tied()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    told = r"2 missing \(conv\.bias, \.\.\.\), 1 unknown \(more, \.\.\.\), 1 of another shape \(out\.bias, \.\.\.\)"
    with pytest.raises(UserError, match=rf"^here does not fit the network: tensors {told}$"):
        load_state(net, state, "here")
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in before.items())
    del state["embedding.weight"], state["out.weight"]
    with pytest.raises(UserError, match=r"4 missing \(embedding\.weight"):
        load_state(net, state, "here")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_any_bit_that_is_altered_is_seen(saved: Path, tmp_path: Path, share: float, bit: int) -> None:
    content = bytearray(saved.read_bytes())
    content[int(share * len(content))] ^= 1 << bit
    (tmp_path / "b.safetensors").write_bytes(content)
    # A blank more or less between the header and the values changes nothing that is read.
    try:
        state, metadata = read_weights(tmp_path / "b.safetensors")
    except UserError:
        return
    wanted, told = read_weights(saved)
    assert metadata == told
    assert all(torch.equal(state[name], wanted[name]) for name in wanted)


def test_altered_values_and_words_are_named(saved: Path) -> None:
    content = saved.read_bytes()
    for altered in (content[:-1] + bytes([content[-1] ^ 1]), content.replace(b'"config":"{}"', b'"config":"[]"')):
        assert altered != content
        saved.write_bytes(altered)
        with pytest.raises(UserError, match="was altered after it was written"):
            read_weights(saved)


def test_weights_of_earlier_versions_have_no_digest(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors", {"format": WITHOUT_DIGEST})
    assert torch.equal(read_weights(tmp_path / "a.safetensors")[0]["a"], torch.ones(2))
    for metadata in ({"format": FORMAT}, {"format": FORMAT, "digdst": "a4966d5e"}):
        save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors", metadata)
        with pytest.raises(UserError, match="was altered"):
            read_weights(tmp_path / "a.safetensors")
