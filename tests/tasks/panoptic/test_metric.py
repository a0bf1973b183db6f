"""Panoptic quality against the published definition, written out segment by segment."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from coco_builder import panoptic_png
from coco_reference import Labels, labelled, real_labels
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from yolor_mtl.data.class_translation import translation
from yolor_mtl.data.coco import panoptic_map
from yolor_mtl.data.coco_stuff_classes import PANOPTIC_MERGES, released_space
from yolor_mtl.records import Annotations, Category, LabelSpace, PanopticLabel, Prediction, SegmentLabel
from yolor_mtl.tasks.panoptic.metric import PanopticMetric, match_segments, translated

SPACE = LabelSpace(
    semantic=(Category(4, "cat"), Category(6, "dog"), Category(90, "sky", isthing=False)), semantic_protocol="own"
)
Counts = dict[int, dict]


class BruteForce:
    """Kirillov et al. 2019, equations 1 and 2, and section 4.2 for void and groups; one mask at a time.

    A pair matches with IoU over 0.5, where void pixels of the label do not count for the prediction. Unmatched
    predictions that lie to more than half on void, or on a crowd of their own class, are no false positives.
    """

    def __init__(self, classes: int) -> None:
        self.counts: Counts = {c: {"ious": [], "TP": 0, "FP": 0, "FN": 0} for c in range(classes)}

    def add(self, truth: np.ndarray, segments: tuple[SegmentLabel, ...], answer: np.ndarray, told: dict[int, int]):
        void = ~np.isin(truth, [segment.id for segment in segments])
        matched = set()
        for segment in segments:
            mask = truth == segment.id
            if segment.crowd or not mask.any():
                continue
            partners = []
            for number, category in told.items():
                guess = answer == number
                union = (mask | (guess & ~void)).sum()
                if category == segment.category and (mask & guess).sum() / union > 0.5:
                    partners.append((number, (mask & guess).sum() / union))
            assert len(partners) <= 1  # the paper's theorem
            if partners:
                matched.add(partners[0][0])
                self.counts[segment.category]["TP"] += 1
                self.counts[segment.category]["ious"].append(partners[0][1])
            else:
                self.counts[segment.category]["FN"] += 1
        for number, category in told.items():
            guess = answer == number
            if number in matched or not guess.any():
                continue
            crowd = np.isin(truth, [s.id for s in segments if s.crowd and s.category == category])
            if (guess & (void | crowd)).sum() / guess.sum() <= 0.5:
                self.counts[category]["FP"] += 1

    def numbers(self, categories: list[int]) -> dict[str, float]:
        rows = [row for c, row in self.counts.items() if c in categories and row["TP"] + row["FP"] + row["FN"]]
        if not rows:
            return {}
        weights = [row["TP"] + row["FP"] / 2 + row["FN"] / 2 for row in rows]
        pairs = list(zip(rows, weights, strict=True))
        return {
            "PQ": float(np.mean([sum(row["ious"]) / weight for row, weight in pairs])),
            "SQ": float(np.mean([np.mean(row["ious"]) if row["ious"] else 0.0 for row in rows])),
            "RQ": float(np.mean([row["TP"] / weight for row, weight in pairs])),
        }


def answer_of(ids: np.ndarray, told: dict[int, int]) -> Prediction:
    return {
        "map": torch.from_numpy(ids.astype(np.int32)),
        "segments": [{"id": i, "category": c} for i, c in told.items()],
    }


def compare(metric: PanopticMetric, reference: BruteForce, space: LabelSpace) -> dict[str, float]:
    """The metric's numbers, after checking each against the reference."""
    every = range(len(space.semantic))
    groups = {
        "": [*every],
        "-things": [c for c in every if space.semantic[c].isthing],
        "-stuff": [c for c in every if not space.semantic[c].isthing],
    }
    numbers = metric.compute()
    expected = {f"panoptic/{key}{group}": v for group, cs in groups.items() for key, v in reference.numbers(cs).items()}
    assert numbers == pytest.approx(expected, abs=1e-12)
    return numbers


def told_by(label: Annotations) -> dict[int, int]:
    assert label.panoptic is not None
    return {segment.id: segment.category for segment in label.panoptic.segments}


def distorted(ids: np.ndarray, told: dict[int, int], rng: np.random.Generator) -> tuple[np.ndarray, dict[int, int]]:
    """The label moved, some segments dropped, split, joined or of another class."""
    ids, told = np.roll(ids, tuple(rng.integers(-6, 7, 2)), axis=(0, 1)), dict(told)
    for number in list(told):
        fate = rng.random()
        if fate < 0.1:
            ids[ids == number] = 0
        elif fate < 0.25:
            half = (ids == number) & (np.arange(ids.shape[1]) < np.median(np.nonzero(ids == number)[1]))
            ids[half] = max(told) + 1
            told[max(told) + 1] = told[number]
        elif fate < 0.35:
            told[number] = int(rng.choice(list(told.values())))
        elif fate < 0.45:
            ids[ids == number] = int(rng.choice(list(told)))
    return ids, told


def scored(images: list[tuple[Annotations, Prediction]], space: LabelSpace) -> PanopticMetric:
    metric = PanopticMetric(space)
    for label, answer in images:
        assert metric.evaluates(label)
        metric.update(answer, label)
    return metric


@pytest.fixture(scope="module")
def real(shared: Path) -> Labels:
    return real_labels(shared, "val2017")


@pytest.fixture(scope="module")
def guessed(real: Labels) -> list[tuple[Annotations, np.ndarray, dict[int, int]]]:
    rng = np.random.default_rng(4)
    return [(label, *distorted(panoptic_map(label), told_by(label), rng)) for label in real.images[:40]]


def test_real_maps_score_as_the_definition_says(real: Labels, guessed: list) -> None:
    reference, metric = BruteForce(len(real.space.semantic)), PanopticMetric(real.space)
    for label, ids, told in guessed:
        truth, segments = panoptic_map(label), label.panoptic.segments
        reference.add(truth, segments, ids, told)
        metric.update(answer_of(ids, told), label)
    numbers = compare(metric, reference, real.space)
    assert len(numbers) == 9
    assert 0.2 < numbers["panoptic/PQ"] < 0.9
    assert any(segment.crowd for label, *_ in guessed for segment in label.panoptic.segments)


def test_the_labels_as_predictions_are_perfect(real: Labels) -> None:
    images = [(label, answer_of(panoptic_map(label), told_by(label))) for label in real.images]
    numbers = scored(images, real.space).compute()
    assert numbers == {
        f"panoptic/{key}{group}": 1.0 for group in ("", "-things", "-stuff") for key in ("PQ", "SQ", "RQ")
    }


def test_written_results_score_the_same(real: Labels, guessed: list, tmp_path: Path) -> None:
    images = [(label, answer_of(ids, told)) for label, ids, told in guessed[:20]]
    metric = scored(images, real.space)
    paths = metric.write(tmp_path)
    assert paths[0] == tmp_path / "panoptic.json"
    assert all(path.is_file() for path in paths)
    places = {category.id: place for place, category in enumerate(real.space.semantic)}
    reference = BruteForce(len(places))
    labels = {label.image_id: label for label, _ in images}
    for record in json.loads(paths[0].read_text())["annotations"]:
        colours = np.asarray(Image.open(tmp_path / "panoptic" / record["file_name"])).astype(np.int64)
        label = labels.pop(record["image_id"])
        told = {segment["id"]: places[segment["category_id"]] for segment in record["segments_info"]}
        assert set(np.unique(colours @ [1, 256, 65536])) - {0} == set(told)
        reference.add(panoptic_map(label), label.panoptic.segments, colours @ [1, 256, 65536], told)
    assert not labels
    compare(metric, reference, real.space)


def test_equal_stems_get_a_number(tmp_path: Path) -> None:
    folders = ("a", "b", "c")
    labels = [
        drawn(tmp_path / f"{name}.png", np.full((2, 2), 1), (SegmentLabel(1, 0, False, 4),), n, Path(name) / "x.jpg")
        for n, name in enumerate(folders)
    ]
    paths = scored([(label, answer_of(np.full((2, 2), 9), {9: 0})) for label in labels], SPACE).write(tmp_path)
    assert [path.name for path in paths[1:]] == ["x.png", "x-2.png", "x-3.png"]


def drawn(
    png: Path, ids: np.ndarray, segments: tuple[SegmentLabel, ...], number: int = 1, image: Path = Path("1.jpg")
) -> Annotations:
    panoptic_png(png, ids)
    label = labelled(number, panoptic=PanopticLabel(png, segments), height=ids.shape[0], width=ids.shape[1])
    return Annotations(number, image, label.height, label.width, panoptic=label.panoptic)


ids = arrays.arrays(np.int64, (4, 6), elements=st.integers(0, 4))
classes = st.integers(0, 2)


@settings(max_examples=120, deadline=None)
@given(
    ids,
    st.lists(st.tuples(classes, st.booleans()), min_size=4, max_size=4),
    ids,
    st.lists(classes, min_size=4, max_size=4),
)
def test_counts_are_those_of_the_definition(truth: np.ndarray, kinds: list, answer: np.ndarray, told: list) -> None:
    """Void in label and prediction, crowds, ids that the label does not list, listed ids without a pixel."""
    segments = tuple(SegmentLabel(n, category, crowd, 0) for n, (category, crowd) in enumerate(kinds[:3], start=1))
    categories = dict(enumerate(told, start=1))
    matches = match_segments(truth, PanopticLabel(Path("x.png"), segments), answer, categories)
    reference = BruteForce(3)
    reference.add(truth, segments, answer, categories)
    for category, row in reference.counts.items():
        assert sorted(iou for c, iou in matches.hits if c == category) == pytest.approx(sorted(row["ious"]), abs=1e-12)
        assert matches.false.count(category) == row["FP"]
        assert matches.missed.count(category) == row["FN"]


def rows_of(*runs: tuple[int, int]) -> np.ndarray:
    """One row of pixels from (id, length) runs."""
    return np.concatenate([np.full(length, number) for number, length in runs])[None]


def matches_of(truth: np.ndarray, segments: list[SegmentLabel], answer: np.ndarray, told: dict[int, int]):
    return match_segments(truth, PanopticLabel(Path("x.png"), tuple(segments)), answer, told)


def test_half_is_not_enough() -> None:
    truth, segments = rows_of((1, 6)), [SegmentLabel(1, 0, False, 6)]
    matches = matches_of(truth, segments, rows_of((5, 3), (0, 3)), {5: 0})
    assert (matches.hits, matches.false, matches.missed) == ((), (0,), (0,))
    matches = matches_of(truth, segments, rows_of((5, 4), (0, 2)), {5: 0})
    assert matches.hits == ((0, pytest.approx(4 / 6)),)


def test_pixels_without_label_do_not_count_against_a_prediction() -> None:
    truth, segments = rows_of((1, 3), (0, 9)), [SegmentLabel(1, 0, False, 3)]
    assert matches_of(truth, segments, rows_of((5, 12)), {5: 0}).hits == ((0, 1.0),)


@pytest.mark.parametrize(("category", "on_crowd", "false"), [(0, 4, 0), (0, 3, 1), (1, 6, 1)])
def test_predictions_on_a_crowd_of_their_class_are_not_wrong(category: int, on_crowd: int, false: int) -> None:
    segments = [SegmentLabel(1, 0, True, 6), SegmentLabel(2, 2, False, 9)]
    answer = rows_of((0, 6 - on_crowd), (5, 6), (0, 9 - (6 - on_crowd)))
    matches = matches_of(rows_of((1, 6), (2, 9)), segments, answer, {5: category})
    assert len(matches.false) == false
    assert matches.missed == (2,)  # the crowd is no segment to find


def test_wrong_answers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"panoptic map of \(1, 4\) for labels of \(1, 3\)"):
        matches_of(rows_of((0, 3)), [], rows_of((0, 4)), {})
    with pytest.raises(ValueError, match=r"segment ids \[7\] stand in the map"):
        matches_of(rows_of((0, 3)), [], rows_of((7, 3)), {5: 0})


def test_groups_without_a_class_are_left_out(tmp_path: Path) -> None:
    label = drawn(tmp_path / "1.png", np.full((2, 3), 1), (SegmentLabel(1, 2, False, 6),))
    numbers = scored([(label, answer_of(np.full((2, 3), 70000), {70000: 2, 8: 0}))], SPACE).compute()
    assert numbers == {f"panoptic/{key}{group}": 1 for group in ("", "-stuff") for key in ("PQ", "SQ", "RQ")}
    assert PanopticMetric(SPACE).compute() == {}
    assert not PanopticMetric(SPACE).evaluates(labelled(1))


def test_halves_merge_and_an_image_counts_once(real: Labels, guessed: list) -> None:
    images = [(label, answer_of(ids, told)) for label, ids, told in guessed[:12]]
    whole, first, second = (scored(part, real.space) for part in (images, images[6:] + images[6:], images[:8]))
    first.merge(second)
    assert first.compute() == whole.compute()


def test_segments_in_other_words() -> None:
    """Two cats stay two, hill and mountain become one, wood has no place; an unlisted id stays for the refusal."""
    names = ("cat", "hill", "wood", "mountain", "river")
    model = LabelSpace(semantic=tuple(Category(n, name, name == "cat") for n, name in enumerate(names)))
    names = ("river", "cat", "mountain-merged")
    data = LabelSpace(semantic=tuple(Category(n, name, name == "cat") for n, name in enumerate(names)))
    words = translation(model, data)
    assert words is not None
    ids = np.array([[1, 1, 2, 3, 4], [5, 6, 0, 99, 3]])
    told, categories = translated(ids, {1: 0, 2: 0, 3: 1, 4: 2, 5: 3, 6: 4}, words, stuff={0, 2})
    assert told.tolist() == [[1, 1, 2, 3, 0], [3, 6, 0, 99, 3]]
    assert categories == {1: 1, 2: 1, 3: 2, 6: 0}
    assert translated(ids[:, :0], {}, words, ())[0].shape == (2, 0)


def test_released_classes_on_real_labels(real: Labels, tmp_path: Path) -> None:
    """Every merged segment said in two of its parts, left and right, and void filled with what has no place."""
    told = released_space()
    places = {name: place for place, name in enumerate(told.semantic_names)}
    names = real.space.semantic_names
    metric, reference, plain = PanopticMetric(real.space, told), BruteForce(133), PanopticMetric(real.space)
    rng = np.random.default_rng(5)
    for label in real.images[:30]:
        truth, segments = panoptic_map(label), told_by(label)
        guess, said = distorted(truth, segments, rng)
        if label is real.images[0]:
            guess, said = truth, segments
        # Stuff of one class is one segment after the translation, so it must be one for the reference too.
        first: dict[int, int] = {}
        for number, category in list(said.items()):
            if not real.space.semantic[category].isthing and first.setdefault(category, number) != number:
                guess = np.where(guess == number, first[category], guess)
                del said[number]
        reference.add(truth, label.panoptic.segments, guess, said)
        plain.update(answer_of(guess, said), label)
        ids, mine = guess.copy(), {}
        for number, category in said.items():
            parts = PANOPTIC_MERGES.get(names[category], (names[category],))
            mine[number] = places[parts[0]]
            if len(parts) > 1:
                other = number + 2**23
                ids[(guess == number) & (np.arange(guess.shape[1]) % 7 < 3)] = other
                mine[other] = places[parts[-1]]
        ids[guess == 0] = 2**23 + 1
        mine[2**23 + 1] = places["wood"]
        metric.update(answer_of(ids, mine), label)
    numbers = compare(metric, reference, real.space)
    assert numbers == plain.compute()
    assert metric.protocol["semantic/answers"].startswith("coco-stuff-173")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    metric.write(tmp_path / "a")
    plain.write(tmp_path / "b")
    rows, others = (json.loads((tmp_path / name / "panoptic.json").read_text())["annotations"] for name in ("a", "b"))
    for row, other in zip(rows, others, strict=True):
        assert sorted(segment["category_id"] for segment in row["segments_info"]) == sorted(
            segment["category_id"] for segment in other["segments_info"]
        )
