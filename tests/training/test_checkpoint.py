"""States on disk: what is altered is noticed, and whenever a process is killed one whole state is left."""

import io
import itertools
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from yolor_mtl.data.schedule import Schedule, StepSampler
from yolor_mtl.records import UserError
from yolor_mtl.training.checkpoint import (
    LAST,
    NEXT,
    PREVIOUS,
    States,
    clear_leftovers,
    find_state,
    flaw,
    set_place,
)


def write(path: Path, step: int = 0, epochs: int = 0, batches: int = 0, inside: bool = False) -> Path:
    """A state as Lightning keeps it, as far as it is read here."""
    progress = {
        "epoch_progress": {"current": {"ready": epochs + inside, "processed": epochs}},
        "epoch_loop.batch_progress": {"current": {"processed": batches}},
    }
    weights = torch.randn(20, 10, generator=torch.Generator().manual_seed(step))
    torch.save({"global_step": step, "loops": {"fit_loop": progress}, "state_dict": {"w": weights}}, path)
    return path


def step_of(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["global_step"])


def trainer(step: int, **more: object) -> SimpleNamespace:
    alone = {"world_size": 1, "is_global_zero": True, "save_checkpoint": lambda path: write(path, step)}
    return SimpleNamespace(**{**alone, **more})


def found(folder: Path) -> tuple[int, str]:
    """Step of the state to go on from, and what was said."""
    said = io.StringIO()
    path = find_state(str(folder), Console(file=said, width=300))
    return step_of(path), said.getvalue()


def test_a_whole_state_and_what_is_none(tmp_path: Path) -> None:
    assert flaw(write(tmp_path / "a.ckpt")) is None
    assert flaw(tmp_path / "absent.ckpt") == "there is no such file"
    torch.save({"state_dict": {}}, tmp_path / "b.ckpt")
    assert flaw(tmp_path / "b.ckpt") == "not a whole checkpoint of a training (KeyError: 'loops')"
    (tmp_path / "c.ckpt").touch()
    assert "not a whole checkpoint" in str(flaw(tmp_path / "c.ckpt"))


def test_a_want_of_memory_is_no_flaw_of_a_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Going on from the state before it would lose steps for nothing."""

    def refuse(*given: object, **more: object) -> None:
        raise MemoryError

    path = write(tmp_path / "a.ckpt")
    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(MemoryError):
        flaw(path)


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    whole = write(tmp_path / LAST).read_bytes()
    for length in random.Random(0).sample(range(len(whole)), 40):
        (tmp_path / LAST).write_bytes(whole[:length])
        assert flaw(tmp_path / LAST), length


def test_every_altered_byte_is_noticed_or_means_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / LAST)
    whole, expected = path.read_bytes(), torch.load(path, weights_only=True)
    noticed = 0
    places = random.Random(0).sample(range(len(whole)), 200)
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        if flaw(path) is not None:
            noticed += 1
            continue
        # Padding, dates and the like.
        read = torch.load(path, weights_only=True)
        assert torch.equal(read["state_dict"]["w"], expected["state_dict"]["w"]), place
        assert {**read, "state_dict": 0} == {**expected, "state_dict": 0}, place
    start = whole.index(expected["state_dict"]["w"].numpy().tobytes())
    path.write_bytes(whole[: start + 7] + bytes([whole[start + 7] ^ 1]) + whole[start + 8 :])
    assert "checksum" in str(flaw(path))
    assert noticed > 20


def test_the_last_two_states_are_kept(tmp_path: Path) -> None:
    states = States(tmp_path)
    for step in (1, 2, 3):
        states.save(trainer(step))
    assert {path.name: step_of(path) for path in tmp_path.iterdir()} == {LAST: 3, PREVIOUS: 2}


class KilledError(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("moment", [0, 1, 2], ids=["half written", "before the last is moved", "after it is moved"])
def test_a_kill_between_any_two_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    states = States(tmp_path)
    states.save(trainer(1))
    states.save(trainer(2))
    replace, calls = Path.replace, itertools.count()

    def killed(self: Path, target: Path) -> Path:
        if next(calls) == moment:
            raise KilledError
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KilledError):
        states.save(trainer(3))
    monkeypatch.undo()
    step, said = found(tmp_path)
    assert step == 2
    assert ("there is no such file; going on from" in said) == (moment == 2)
    clear_leftovers(tmp_path)
    resumed = find_state(str(tmp_path), Console(quiet=True))
    States(tmp_path, resumed).save(trainer(3))
    assert {path.name: step_of(path) for path in tmp_path.iterdir()} == {LAST: 3, PREVIOUS: 2}


def test_the_previous_state_where_the_last_one_is_not_whole(tmp_path: Path) -> None:
    write(tmp_path / PREVIOUS, 1)
    assert found(tmp_path)[0] == 1
    last = write(tmp_path / LAST, 2)
    assert found(tmp_path) == (2, "")
    assert found(last) == (2, "")
    last.write_bytes(last.read_bytes()[:-40])
    step, said = found(tmp_path)
    assert step == 1
    assert f"{last}: not a whole checkpoint (File is not a zip file); going on from {tmp_path / PREVIOUS}" in said
    assert said.count("\n") == 1


def test_a_broken_last_state_does_not_push_out_the_one_before(tmp_path: Path) -> None:
    write(tmp_path / PREVIOUS, 1)
    (tmp_path / LAST).write_bytes(b"broken")
    states = States(tmp_path, find_state(str(tmp_path), Console(quiet=True)))
    states.save(trainer(2))
    assert (step_of(tmp_path / LAST), step_of(tmp_path / PREVIOUS)) == (2, 1)
    states.save(trainer(3))
    assert (step_of(tmp_path / LAST), step_of(tmp_path / PREVIOUS)) == (3, 2)


def test_nothing_whole_is_refused(tmp_path: Path) -> None:
    (tmp_path / LAST).write_bytes(b"broken")
    (tmp_path / PREVIOUS).write_bytes(b"")
    (tmp_path / "best.safetensors").touch()
    with pytest.raises(UserError) as caught:
        found(tmp_path)
    for part in (tmp_path / LAST, tmp_path / PREVIOUS, f"weights={tmp_path / 'best.safetensors'}", "out="):
        assert str(part) in str(caught.value)
    with pytest.raises(UserError, match=r"no such file.*no such file.*save_every="):
        found(tmp_path / "nothing")
    write(tmp_path / PREVIOUS)
    with pytest.raises(UserError, match=r"mine\.ckpt: there is no such file") as caught:
        found(tmp_path / "mine.ckpt")  # another file than the run's last has none before it
    assert PREVIOUS not in str(caught.value)


def test_several_processes_write_once(tmp_path: Path) -> None:
    asked: list[Path] = []
    States(tmp_path).save(trainer(1, world_size=2))
    States(tmp_path).save(trainer(2, world_size=2, is_global_zero=False, save_checkpoint=asked.append))
    assert asked == [tmp_path / NEXT]
    assert step_of(tmp_path / LAST) == 1


def test_leftovers_of_a_kill(tmp_path: Path) -> None:
    names = [
        ".next-ab12_3xz.ckpt",
        ".best-ab12_3xz.safetensors",
        ".metrics-ab12_3xz.csv",
        ".features-ab12_3xz.bin",
        NEXT,
    ]
    kept = [LAST, PREVIOUS, "metrics.csv", "best.safetensors", ".nextcloud", "mine-12345678.ckpt"]
    for name in (*names, *kept):
        (tmp_path / name).touch()
    clear_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    clear_leftovers(tmp_path / "absent")


@pytest.mark.parametrize(
    ("epochs", "batches", "inside", "expected"),
    [(0, 0, True, (0, 0)), (1, 3, True, (1, 3)), (2, 5, False, (2, 0)), (1, 5, True, (2, 0))],
)
def test_the_place_of_a_state(
    tmp_path: Path, epochs: int, batches: int, inside: bool, expected: tuple[int, int]
) -> None:
    sampler = StepSampler(Schedule({"vision": np.arange(10)}, 2))
    set_place(write(tmp_path / LAST, epochs=epochs, batches=batches, inside=inside), sampler)
    assert (sampler.epoch, sampler.start) == expected
