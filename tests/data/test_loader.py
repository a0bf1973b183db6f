"""From a data set on disk to batches: the same for any number of workers, and whole whatever is missing."""

from __future__ import annotations

import multiprocessing
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import coco_builder as coco
import numpy as np
import pytest
import tiny
import torch
from drawn import BOX, HEIGHT, WIDTH, write_set
from PIL import Image
from torch import Tensor

from yolor_mtl.data.augment import AugmentConfig, weak
from yolor_mtl.data.coco import CocoDataset, open_coco
from yolor_mtl.data.image import UnreadableImageError, read_image
from yolor_mtl.data.labels import Labels
from yolor_mtl.data.loader import (
    ATTEMPTS,
    Collate,
    EvaluationSet,
    TrainingSet,
    collate_evaluation,
    evaluation_loader,
    load_sample,
    training_loader,
    view_pools,
)
from yolor_mtl.data.schedule import Draw, Schedule, StepSampler
from yolor_mtl.ops.frame import GREY, boxes_to_original, letterbox
from yolor_mtl.records import IGNORE, Batch
from yolor_mtl.tasks.base import task_losses

SIZE = (64, 96)
STILL = AugmentConfig(mosaic=0, mixup=0, scale=0, flip=0, hue=0, saturation=0, brightness=0)
MIXED = ["bmpc", "bc", "ep", "bm", "bmc", "e", "p", "c", "", "p"]
"""Pictures labelled for some tasks each; see :func:`drawn.write_set`."""


def _labels(*names: str) -> dict[str, Labels]:
    tasks, _ = tiny.build({name: {} for name in names} if names else None)
    return {task.name: task.labels for task in tasks if task.labels is not None}


def _data(root: Path, pictures: Iterable[str]) -> CocoDataset:
    return open_coco(write_set(root, pictures), ["train"], cache=False)


def _training_set(data: CocoDataset, augment: AugmentConfig = STILL, labels: dict[str, Labels] | None = None) -> Any:
    labels = _labels() if labels is None else labels
    return TrainingSet(data, labels, view_pools(data, labels), SIZE, {"vision": augment, "language": weak()})


def _draws(indices: Sequence[int], view: Any = "vision") -> list[Draw]:
    return [Draw(index, view, (0, place)) for place, index in enumerate(indices)]


def _tensors(batch: Batch) -> dict[str, Tensor]:
    found = {"images": batch.images, **{f"rows/{name}": rows for name, rows in batch.rows.items()}}
    for task, targets in batch.targets.items():
        found |= {f"{task}/{name}": value for name, value in targets.items()}
    return found


def _check_equal(first: Batch, second: Batch) -> None:
    one, two = _tensors(first), _tensors(second)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) and one[name].dtype == two[name].dtype for name in one)
    assert first.failures == second.failures


def test_the_data_set_is_tiny_s(tmp_path: Path) -> None:
    data = _data(tmp_path, MIXED)
    assert data.space.things == tiny.space().things
    assert data.space.semantic == tiny.space().semantic


def test_pools(tmp_path: Path) -> None:
    data = _data(tmp_path, MIXED)
    everything = view_pools(data, _labels())
    assert everything["vision"].tolist() == [0, 1, 2, 3, 4, 5, 6, 9]
    assert everything["language"].tolist() == [0, 1, 4, 7]
    assert view_pools(data, _labels("semantic"))["vision"].tolist() == [0, 2, 6, 9]
    assert view_pools(data, _labels("semantic"))["language"].tolist() == []


def test_a_sample_has_the_labels_of_its_view(tmp_path: Path) -> None:
    data, labels = _data(tmp_path, ["bmpc", "bc", "ep"]), _labels()
    both = load_sample(data.annotations(0), labels, "vision")
    assert both.objects is not None
    assert set(both.objects) == {"boxes", "classes", "crowd", "masks", "has_mask"}
    assert both.objects["boxes"].tolist() == [list(BOX)]
    assert both.maps["semantic"].shape == (1, HEIGHT, WIDTH)
    assert both.texts == {}
    language = load_sample(data.annotations(0), labels, "language")
    assert language.objects is None
    assert language.maps == {}
    assert language.texts == {"captions": tiny.CAPTIONS[:2]}
    boxes = load_sample(data.annotations(1), labels, "vision")
    assert set(boxes.objects or {}) == {"boxes", "classes", "crowd"}
    assert boxes.maps == {}
    empty = load_sample(data.annotations(2), labels, "vision")
    assert empty.objects is not None
    assert [len(column) for column in empty.objects.values()] == [0] * 5


def test_language_pictures_are_only_letterboxed(tmp_path: Path) -> None:
    data = _data(tmp_path, ["bmpc"])
    strong = AugmentConfig(mosaic=1, mixup=1, flip=1)
    found, failures = _training_set(data, strong)[Draw(0, "language", (0,))]
    assert failures == ()
    assert torch.equal(found.image, letterbox(read_image(data.annotations(0).path), SIZE)[0])
    assert found.texts == {"captions": tiny.CAPTIONS[:2]}


def test_calm_pictures_are_not_mixed(tmp_path: Path) -> None:
    found = _training_set(_data(tmp_path, ["bm"] * 6), AugmentConfig(mosaic=1, mixup=1))
    counts = {}
    for calm in (True, False):
        samples = [found[Draw(index, "vision", (1, index), calm)][0] for index in range(6)]
        counts[calm] = max(len(sample.objects["boxes"]) for sample in samples)
    assert counts[True] == 1
    assert counts[False] >= 4


def test_a_sample_is_a_function_of_its_draw(tmp_path: Path) -> None:
    data = _training_set(_data(tmp_path, MIXED), AugmentConfig(mosaic=0.5, mixup=0.5))
    for index in (0, 6):
        one, again, other = (data[Draw(index, "vision", (seed, 4))][0] for seed in (1, 1, 2))
        assert torch.equal(one.image, again.image)
        assert not torch.equal(one.image, other.image)


@pytest.mark.parametrize("tasks", [(), ("semantic",), ("detection",)])
def test_unknown_objects_never_stand_beside_known_ones(tmp_path: Path, tasks: tuple[str, ...]) -> None:
    """Pictures without boxes are blue, the others black and red: no frame has both."""
    data = _data(tmp_path, ["bmp", "ep", "bp", "bm", "p", "p", "p"])
    strong = AugmentConfig(mosaic=1, mixup=1, hue=0, saturation=0, brightness=0)
    found = _training_set(data, strong, _labels(*tasks))
    for index in view_pools(data, found.labels)["vision"].tolist():
        known = data.annotations(index).objects is not None
        for seed in range(8):
            sample, _ = found[Draw(index, "vision", (seed, index))]
            assert sample.objects is None or known
            image = sample.image.as_subclass(Tensor).int()
            # Mixed pixels of grey have three equal channels.
            blue = (image[2] > image[0] + 9) & (image[2] > image[1] + 9)
            assert bool(blue.any()) == (not known)


def test_case_04_every_picture_without_objects_is_seen(tmp_path: Path) -> None:
    data = _data(tmp_path, ["bm", "e", "bm", "e", "bm", "bm", "e", "bm", "bm", "bm"])
    labels = _labels("detection", "instance")
    schedule = Schedule(view_pools(data, labels), 4)
    for epoch in range(4):
        seen = [draw.index for step in range(schedule.steps) for draw in schedule.step(epoch, step)]
        assert set(seen) == set(range(10))
    found = _training_set(data, AugmentConfig(mosaic=0), labels)
    batch = Collate(labels)([found[draw] for draw in _draws([1, 3, 6])])
    assert batch.rows["detection"].tolist() == [0, 1, 2]
    assert batch.targets["detection"]["boxes"].shape == (3, 0, 4)
    assert batch.targets["instance"]["mask_index"].shape == (3, 0)


def test_rows_and_targets(tmp_path: Path) -> None:
    data = _training_set(_data(tmp_path, MIXED))
    draws = [*_draws([0, 1, 6, 2]), *_draws([0, 7], "language")]
    batch = Collate(data.labels)([data[draw] for draw in draws])
    assert batch.images.shape == (6, 3, *SIZE)
    assert batch.images.dtype == torch.uint8
    assert type(batch.images) is Tensor
    assert {name: rows.tolist() for name, rows in batch.rows.items()} == {
        "detection": [0, 1, 3],
        "instance": [0, 1, 3],
        "semantic": [0, 2, 3],
        "captioning": [4, 5],
    }
    assert all(rows.dtype == torch.int64 for rows in batch.rows.values())
    assert batch.targets["detection"]["valid"].tolist() == [[True], [True], [False]]
    assert batch.targets["instance"]["mask_index"].tolist() == [[0], [-1], [-1]]
    assert batch.targets["semantic"]["maps"].shape == (3, 1, 16, 24)
    assert batch.targets["captioning"]["image"].tolist() == [0, 0, 1, 1]
    assert batch.failures == ()
    # 40 x 30 in 96 x 64, placed at random but not cut: everything is there, at one scale.
    left, top, right, bottom = batch.targets["detection"]["boxes"][0, 0].tolist()
    scale = 64 / 30
    assert right - left == pytest.approx((BOX[2] - BOX[0]) * scale, abs=0.1)
    assert bottom - top == pytest.approx((BOX[3] - BOX[1]) * scale, abs=0.1)
    covered = batch.targets["semantic"]["maps"] != IGNORE
    assert covered.float().mean().item() == pytest.approx(64 * 85 / (64 * 96), abs=0.03)


def test_a_task_without_rows_has_no_targets(tmp_path: Path) -> None:
    data = _training_set(_data(tmp_path, MIXED))
    batch = Collate(data.labels)([data[draw] for draw in _draws([6, 9])])
    assert {name: rows.tolist() for name, rows in batch.rows.items() if len(rows)} == {"semantic": [0, 1]}
    assert {name: targets for name, targets in batch.targets.items() if targets}.keys() == {"semantic"}
    assert all(rows.dtype == torch.int64 for rows in batch.rows.values())


def _terms(network: torch.nn.Module, tasks: Sequence[Any], batch: Batch) -> dict[str, tuple[float, float]]:
    """(sum, count) of every loss term of a batch."""
    with torch.no_grad():
        outputs = network(batch.images, rows=batch.rows, inputs=batch.targets)
    losses = task_losses(tasks, outputs, batch.targets)
    return {
        f"{task}/{name}": (value.item(), count.item())
        for task, loss in losses.items()
        for name, (value, count) in loss.terms.items()
    }


@pytest.mark.parametrize(
    ("index", "view", "task"),
    [(6, "vision", "detection"), (6, "vision", "instance"), (3, "vision", "semantic"), (6, "vision", "captioning")],
)
def test_an_image_without_labels_adds_nothing_to_that_loss(tmp_path: Path, index: int, view: str, task: str) -> None:
    torch.manual_seed(0)
    tasks, network = tiny.build()
    network.eval()  # batch statistics would tie the rows together
    data = _training_set(_data(tmp_path, MIXED))
    entries = [data[draw] for draw in (*_draws([0, 1, 2]), *_draws([0], "language"))]
    without = _terms(network, tasks, Collate(data.labels)(entries))
    unlabelled = data[Draw(index, view, (9,))]  # type: ignore[arg-type]
    with_it = _terms(network, tasks, Collate(data.labels)([unlabelled, *entries]))
    terms = [name for name in without if name.startswith(f"{task}/")]
    assert terms
    for name in terms:
        assert with_it[name] == pytest.approx(without[name], rel=1e-5)
    assert with_it != without


def test_boxes_without_masks_add_nothing_to_the_mask_loss(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tasks, network = tiny.build({"detection": {}, "instance": {}})
    network.eval()
    data = _training_set(_data(tmp_path, ["bm", "b"]), labels=_labels("detection", "instance"))
    entries = [data[draw] for draw in _draws([0, 1])]
    both, alone = (_terms(network, tasks, Collate(data.labels)(part)) for part in (entries, entries[:1]))
    assert both["instance/mask"] == pytest.approx(alone["instance/mask"], rel=1e-5)
    assert both["detection/class"][0] > alone["detection/class"][0] * 1.5


def test_workers_change_nothing(tmp_path: Path) -> None:
    data = _training_set(_data(tmp_path, ["xbm", *MIXED]), AugmentConfig(mosaic=0.5, mixup=0.3))
    sampler = StepSampler(Schedule(view_pools(data.dataset, data.labels), 4, seed=3))
    sampler.start = 1
    batches = {workers: list(training_loader(data, sampler, workers=workers)) for workers in (0, 2)}
    assert len(batches[0]) == len(batches[2]) == len(sampler) - 1 == 2
    for one, two in zip(batches[0], batches[2], strict=True):
        _check_equal(one, two)


def test_unreadable_pictures_are_replaced_by_their_like(tmp_path: Path) -> None:
    data = _training_set(_data(tmp_path, ["xbmc", "bmc", "p", "xp", "c", ""]))
    for seed in range(6):
        draws = [Draw(0, "vision", (seed,)), Draw(3, "vision", (seed,)), Draw(0, "language", (seed,))]
        batch = Collate(data.labels)([data[draw] for draw in draws])
        assert len(batch.images) == 3
        assert batch.rows["detection"].tolist() == [0]
        assert batch.rows["semantic"].tolist() == [1]
        assert batch.rows["captioning"].tolist() == [2]
        paths = [str(data.dataset.annotations(index).path) for index in (0, 3)]
        assert set(batch.failures) == {(path, "not a picture in a known format") for path in paths}


def test_unreadable_tiles_are_replaced(tmp_path: Path) -> None:
    data = _training_set(_data(tmp_path, ["bm", "xbm", "xbm"]), AugmentConfig(mosaic=1, mixup=1))
    batch = Collate(data.labels)([data[draw] for draw in _draws([0, 1, 2])])
    assert len(batch.images) == 3
    assert 1 <= len(batch.failures) <= 2


def test_the_one_readable_picture_is_found(tmp_path: Path) -> None:
    data = _training_set(_data(tmp_path, [*["xbm"] * ATTEMPTS, "bm"]))
    sample, failures = data[Draw(0, "vision", (0,))]
    assert sample is not None
    assert len(set(failures)) == len(failures) <= ATTEMPTS


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_can_be_read(tmp_path: Path, workers: int) -> None:
    data = _training_set(_data(tmp_path, ["xbmpc"] * 4), AugmentConfig(mosaic=1, mixup=1))
    assert len(data[Draw(0, "vision", (0,))][1]) == 4
    sampler = StepSampler(Schedule(view_pools(data.dataset, data.labels), 4))
    batches = list(training_loader(data, sampler, workers=workers))
    assert len(batches) == 2
    for batch in batches:
        assert batch.images.shape == (0, 3, 0, 0)
        assert batch.rows == {}
        assert 1 <= len(batch.failures) <= 4
    none = collate_evaluation([EvaluationSet(data.dataset, SIZE)[0]])
    assert (len(none.images), none.frames, none.annotations, len(none.failures)) == (0, (), (), 1)


def test_a_picture_of_another_size_than_annotated(tmp_path: Path) -> None:
    data = _data(tmp_path, ["bm", "bm"])
    coco.png(data.annotations(0).path, np.zeros((WIDTH, HEIGHT, 3)))
    reason = f"the upright picture is {HEIGHT} x {WIDTH}, annotated as {WIDTH} x {HEIGHT}"
    with pytest.raises(UnreadableImageError, match=reason):
        load_sample(data.annotations(0), _labels(), "vision")
    sample, failures = EvaluationSet(data, SIZE)[0]
    assert sample is None
    assert failures == ((str(data.annotations(0).path), reason),)
    _, failures = _training_set(data)[Draw(0, "vision", (0,))]
    assert failures[0] == (str(data.annotations(0).path), reason)


def test_evaluation(tmp_path: Path) -> None:
    data = _data(tmp_path, ["bm", "xbm", "bmpc", ""])
    batch = next(iter(evaluation_loader(EvaluationSet(data, SIZE), batch=4, workers=0)))
    assert batch.images.shape == (3, 3, *SIZE)
    assert [labels.image_id for labels in batch.annotations] == [1, 3, 4]
    assert [path for path, _ in batch.failures] == [str(data.annotations(1).path)]
    assert (batch.rows, batch.targets) == ({}, {})
    frame = batch.frames[0]
    assert (frame.original, frame.size) == ((HEIGHT, WIDTH), SIZE)
    # The red object lies where the frame says.
    red = (batch.images[0, 0] > 127) & (batch.images[0, 2] < 60)
    ys, xs = red.nonzero(as_tuple=True)
    box = torch.tensor([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]]).float()
    assert (boxes_to_original(box, frame) - torch.tensor(BOX)).abs().max() <= 1
    assert (batch.images[:, :, :, : frame.pad[0]] == GREY).all()


@pytest.mark.parametrize(("world", "workers"), [(1, 0), (2, 0), (3, 2)])
def test_case_10_evaluation_is_shared_without_padding(tmp_path: Path, world: int, workers: int) -> None:
    data = EvaluationSet(_data(tmp_path, ["bm"] * 7), SIZE)
    ids = []
    for rank in range(world):
        loader = evaluation_loader(data, batch=2, workers=workers if rank == 0 else 0, rank=rank, world=world)
        mine = [labels.image_id for batch in loader for labels in batch.annotations]
        assert mine == list(range(1 + rank, 8, world))
        ids += mine
    assert sorted(ids) == list(range(1, 8))


@pytest.mark.parametrize(("batches", "wanted"), [(0, [2, 2, 1]), (1, [2]), (2, [2, 2]), (9, [2, 2, 1])])
def test_evaluation_of_some_batches(tmp_path: Path, batches: int, wanted: list[int]) -> None:
    data = EvaluationSet(_data(tmp_path, ["bm"] * 9), SIZE)
    loader = evaluation_loader(data, batch=2, workers=0, rank=1, world=2, batches=batches)
    # Ranks have pictures 0, 2, 4, 6, 8 and 1, 3, 5, 7.
    assert [len(batch.images) for batch in loader] == wanted[:2]
    assert len(loader) == len(wanted[:2])
    loader = evaluation_loader(data, batch=2, workers=0, world=2, batches=batches)
    assert [len(batch.images) for batch in loader] == wanted
    assert len(loader) == len(wanted)


def test_no_process_outlives_the_last_batch(tmp_path: Path) -> None:
    """Who counts batches, as Lightning does, never asks for one more."""
    others = set(multiprocessing.active_children())
    loader = evaluation_loader(EvaluationSet(_data(tmp_path, ["bm"] * 6), SIZE), batch=2, workers=2)
    for _ in range(2):
        batches, ids, working = iter(loader), [], []
        for _ in range(len(loader)):
            ids += [labels.image_id for labels in next(batches).annotations if labels]
            working.append(len(set(multiprocessing.active_children()) - others))
        assert ids == [1, 2, 3, 4, 5, 6]
        assert working == [2, 2, 0]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_keeps_no_batch(tmp_path: Path, workers: int) -> None:
    batches = iter(evaluation_loader(EvaluationSet(_data(tmp_path, ["bm"] * 4), SIZE), batch=2, workers=workers))
    for _ in range(2):
        pixels = weakref.ref(next(batches).images)
        assert pixels() is None


def test_evaluation_of_some(tmp_path: Path) -> None:
    data = EvaluationSet(_data(tmp_path, ["bm"] * 5), SIZE, [4, 1])
    assert len(data) == 2
    samples = [data[place][0] for place in range(2)]
    assert [sample.annotations.image_id for sample in samples if sample and sample.annotations] == [5, 2]


def test_samples_have_the_objects_that_can_be_learnt(tmp_path: Path) -> None:
    images = [coco.image(1, width=WIDTH, height=HEIGHT)]
    objects = [
        coco.thing(1, 1, bbox=[WIDTH - 5, 3, 40, 8]),
        coco.thing(2, 1, bbox=[2, 3, 10, 0]),
        coco.thing(3, 1, bbox=[WIDTH, 3, 10, 8]),
    ]
    root = write_set(tmp_path, "")
    coco.split(root, "train", instances=coco.instances(images, objects))
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / "images/train/000001.jpg")
    data = open_coco(root, ["train"], cache=False)
    sample = load_sample(data.annotations(0), _labels("detection", "instance"), "vision")
    assert sample.objects is not None
    assert sample.objects["boxes"].tolist() == [[WIDTH - 5, 3, WIDTH, 11]]
    assert len(sample.objects["masks"]) == 1
    assert len(data.annotations(0).objects or ()) == 3
