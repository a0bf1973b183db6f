"""Result files that are none, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from yolor_mtl.records import Annotations, Category, UserError
from yolor_mtl.tasks.results import Entry, FileAnswers, ResultFile, Score, class_places, predicted_map, read_results


class Guess(Entry):
    category_id: int
    score: Score


GOOD = {"image_id": 3, "category_id": 7, "score": 0.5}


def read(path: Path, content: str | bytes, inside: str | None = None) -> ResultFile[Guess]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    found = read_results(path, list[Guess], inside)
    assert found is not None
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "guesses.json"


def test_no_file(path: Path) -> None:
    assert read_results(path, list[Guess]) is None


def test_entries_by_image(path: Path) -> None:
    rows = [GOOD, GOOD | {"image_id": 4}, GOOD | {"score": 1, "more": [1]}]
    for mark in (b"", b"\xef\xbb\xbf"):  # a UTF-8 BOM, as some editors write
        found = read(path, mark + json.dumps(rows).encode())
        assert [list(found.of(image)) for image in (3, 4, 5)] == [[0, 2], [1], []]
        assert [entry.score for entry in found.entries] == [0.5, 0.5, 1]
    assert len(read(path, "[]").entries) == 0


@pytest.mark.parametrize("content", [{"annotations": [GOOD], "info": {}}, [GOOD]])
def test_a_list_in_an_object(path: Path, content: object) -> None:
    assert read(path, json.dumps(content), "annotations").entries[0].image_id == 3


CASES: dict[str, tuple[str | bytes, list[str]]] = {
    "nothing": ("", ["is not JSON", "line 1"]),
    "cut off": (json.dumps([GOOD])[:-2], ["is not JSON", "line 1"]),
    "two": (json.dumps([GOOD]) + "\n[]", ["is not JSON", "line 2"]),
    "no text": (b"\xff\xfe[\0]\0", ["is not JSON", "utf-8"]),
    "an object": (json.dumps({"a": [GOOD]}), ["a list of results is needed"]),
    "a number": ("3", ["a list of results is needed"]),
    "deep": ("[" * 200_000, ["guesses.json"]),
    "deep inside": ('[{"x": ' + "[" * 200_000 + "]" * 200_000 + "}]", ["nested too deeply"]),
    "no object": (json.dumps([GOOD, 3]), ["entry 1 has no 'image_id'"]),
    "no score": (json.dumps([GOOD, {"image_id": 3, "category_id": 7}]), ["entry 1 has no 'score'"]),
    "id as text": (json.dumps([GOOD, GOOD | {"image_id": "abc"}]), ["entry 1", "image_id", "`int`, got `str`"]),
    "id null": (json.dumps([GOOD | {"image_id": None}]), ["entry 0", "image_id", "`int`, got `null`"]),
    "id too long": (json.dumps([GOOD | {"image_id": 10**400}]), ["entry 0", "image_id"]),
    "score as text": (json.dumps([GOOD, GOOD | {"score": "high"}]), ["entry 1", "score", "`float`, got `str`"]),
    "score null": (json.dumps([GOOD | {"score": None}]), ["entry 0", "score"]),
    "score NaN": (json.dumps([GOOD, GOOD, GOOD | {"score": float("nan")}]), ["entry 2", "NaN"]),
    "score infinite": (json.dumps([GOOD, GOOD | {"score": float("inf")}]), ["entry 1", "Infinity"]),
    "score beyond floats": ('[{"image_id": 3, "category_id": 7, "score": 1e999}]', ["entry 0", "score"]),
}


@pytest.mark.parametrize(("content", "parts"), CASES.values(), ids=list(CASES))
def test_refused(path: Path, content: str | bytes, parts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        read(path, content)
    assert all(part in str(caught.value) for part in ["guesses.json", "again", *parts])


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{}", "a list of results is needed under 'annotations'"),
        ('{"annotations": 3}', "a list of results is needed under 'annotations'"),
        ('{"annotations": [{}]}', "entry 0 has no 'image_id'"),
        ('{"annotations": [{"image_id": 1, "category_id": 7, "score": NaN}]}', "entry 0: NaN"),
        ('{"annotations": [', "is not JSON"),
    ],
)
def test_refused_in_an_object(path: Path, content: str, part: str) -> None:
    with pytest.raises(UserError, match=part):
        read(path, content, "annotations")


def test_categories(path: Path) -> None:
    found, places = read(path, json.dumps([GOOD])), class_places([Category(9, "cat"), Category(7, "dog")])
    assert found.class_index(0, 7, places) == 1
    with pytest.raises(UserError, match=r"guesses\.json: entry 0: category_id 8 is not one of the data's \(9, 7"):
        found.class_index(0, 8, places)


def test_one_answer_an_image(path: Path) -> None:
    read(path, json.dumps([GOOD, GOOD | {"image_id": 4}])).check_single()
    with pytest.raises(UserError, match=r"guesses\.json: entry 2: image_id 4 has an answer already, entry 1"):
        read(path, json.dumps([GOOD, GOOD | {"image_id": 4}, GOOD | {"image_id": 4}])).check_single()


def test_images_that_the_data_has_not(path: Path) -> None:
    found = read(path, json.dumps([GOOD | {"image_id": number} for number in (3, 5, 4, 6, 5)]))
    answers = FileAnswers(found, lambda annotations: {"text": "", "of": annotations.image_id})
    answers.check_images({3, 4, 5, 6, 7})
    with pytest.raises(UserError) as caught:
        answers.check_images([3, 4])
    assert all(part in str(caught.value) for part in ("guesses.json", "entry 1", "image_id 5", "3 of 5", "split="))
    assert answers(Annotations(3, Path("a.jpg"), 2, 2)) == {"text": "", "of": 3}


def test_a_missing_picture_is_no_label(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing, the predicted map of image 8") as caught:
        predicted_map(tmp_path / "a.png", Annotations(8, Path("a.jpg"), 2, 2), ("L",))
    assert "label" not in str(caught.value)
    assert "a.png" in str(caught.value)
