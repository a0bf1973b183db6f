"""Tables of numbers that survive a resumed training."""

from pathlib import Path

import pytest

from yolor_mtl.training.history import Table, read_rows, to_csv

ROWS = [{"step": 5, "lr": 0.00123456789}, {"step": 1234567, "box": -1.0, "lr": 1e-12}]


def test_round_trip(tmp_path: Path) -> None:
    table = Table(tmp_path / "run" / "losses.csv")
    for row in ROWS:
        table.add(row)
    table.write()
    found = read_rows(table.path)
    assert [set(row) for row in found] == [{"step", "lr"}, {"step", "lr", "box"}]
    assert found[0]["lr"] == pytest.approx(0.00123456789, rel=1e-5)
    assert found[1] == pytest.approx(ROWS[1])


def test_text() -> None:
    assert to_csv(ROWS) == "step,lr,box\n5,0.00123457,\n1234567,1e-12,-1\n"
    assert to_csv([]) == "\n"


def test_what_is_no_number(tmp_path: Path) -> None:
    text = to_csv([{"a": float("nan"), "b": float("inf")}])
    (tmp_path / "a.csv").write_text(text)
    assert text == "a,b\nnan,inf\n"
    assert read_rows(tmp_path / "a.csv")[0]["b"] == float("inf")


def test_a_resumed_table_goes_on_and_keeps_whole_numbers(tmp_path: Path) -> None:
    first = Table(tmp_path / "t.csv")
    first.add(ROWS[1])
    first.write()
    before = first.path.read_text()
    again = Table(tmp_path / "t.csv", resume=True)
    again.write()
    assert again.path.read_text() == before
    again.add(ROWS[0])
    again.write()
    assert [row["step"] for row in read_rows(again.path)] == [1234567, 5]
    assert Table(tmp_path / "t.csv").rows == []
    assert Table(tmp_path / "absent.csv", resume=True).rows == []
