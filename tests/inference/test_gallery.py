"""Pictures of answers that were given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from yolor_mtl.data.coco import CocoDataset, open_coco
from yolor_mtl.data.scenes import write_scenes
from yolor_mtl.inference.evaluator import judges_of
from yolor_mtl.inference.gallery import answer_drawer, examples, labelled_first
from yolor_mtl.ops.masks import CroppedMasks
from yolor_mtl.records import Annotations, Prediction
from yolor_mtl.tasks import TASKS
from yolor_mtl.tasks.base import DecodeOptions, Judge


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    out = tmp_path_factory.mktemp("gallery") / "scenes"
    write_scenes(out, train=0, val=3, seed=5, workers=1)
    return open_coco(out, ["val"], cache=False)


class Seen:
    """Stands for a task's drawing and keeps what it was asked to draw."""

    def __init__(self) -> None:
        self.predictions: list[Prediction] = []

    def draw(self, canvas: object, prediction: Prediction) -> None:
        self.predictions.append(prediction)

    def to_json(self, prediction: Prediction, record: dict[str, object]) -> None:
        raise AssertionError

    def images(self, prediction: Prediction) -> dict[str, object]:
        raise AssertionError


def test_only_sure_answers_are_drawn_best_first(data: CocoDataset) -> None:
    masks = [np.full((data.annotations(0).height, data.annotations(0).width), n % 2 == 0) for n in range(3)]

    def answer(annotations: Annotations) -> Prediction:
        return {
            "boxes": torch.arange(12.0).reshape(3, 4),
            "scores": torch.tensor([0.3, 0.2, 0.9]),
            "classes": torch.tensor([0, 1, 2]),
            "masks": CroppedMasks.from_dense((annotations.height, annotations.width), masks),
        }

    show = Seen()
    judges = [Judge("detection", TASKS["detection"].scoring(data.space), show)]  # type: ignore[arg-type]
    drawer = answer_drawer(judges, {"detection": answer}, DecodeOptions(conf=0.25))
    annotations = data.annotations(0)
    drawer(torch.zeros(3, annotations.height, annotations.width, dtype=torch.uint8), annotations)
    (drawn,) = show.predictions
    assert drawn["classes"].tolist() == [2, 0]
    assert drawn["boxes"][0].tolist() == [8, 9, 10, 11]
    assert [int(drawn["masks"].dense(i).sum() > 0) for i in range(2)] == [1, 1]


def test_answers_beside_labels(data: CocoDataset) -> None:
    judges = judges_of(TASKS, data.space)
    assert [judge.name for judge in judges] == list(TASKS)
    drawer = answer_drawer(judges, {judge.name: judge.scoring.truth for judge in judges}, DecodeOptions())
    drawn = list(examples(data, labelled_first(data, judges, 2), judges, {"the answers": drawer}))
    assert len(drawn) == 2
    for example in drawn:
        assert example.truth is not None
        assert example.answers[0].picture.tobytes() == example.truth.tobytes()
        assert example.answers[0].caption == example.references[0]


def test_pictures_that_are_not_there_are_left_out(data: CocoDataset, tmp_path: Path) -> None:
    images = data.annotations(0).path.parent
    moved = images.rename(images.with_name("elsewhere"))
    try:
        judges = judges_of(["captioning"], data.space)
        drawer = answer_drawer(judges, {"captioning": judges[0].scoring.truth}, DecodeOptions())
        assert list(examples(data, [0, 1], judges, {"the answers": drawer})) == []
    finally:
        moved.rename(images)


def test_segments_of_a_result_file_are_drawn_as_those_of_the_labels(data: CocoDataset) -> None:
    """A result file says neither what is a thing nor how large a segment is."""
    (judge,) = judges_of(["panoptic"], data.space)

    def answer(annotations: Annotations) -> Prediction:
        truth = judge.scoring.truth(annotations)
        return {**truth, "segments": [{key: row[key] for key in ("id", "category")} for row in truth["segments"]]}

    (example,) = examples(data, [0], [judge], {"me": answer_drawer([judge], {"panoptic": answer}, DecodeOptions())})
    assert example.truth is not None
    assert example.answers[0].picture.tobytes() == example.truth.tobytes()
