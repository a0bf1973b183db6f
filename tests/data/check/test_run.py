"""Every fault that is put into a sound data set is found and named, and a sound one has none."""

from __future__ import annotations

import tempfile
from pathlib import Path

import broken
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolor_mtl.data.check.result import Checked
from yolor_mtl.data.check.run import check_data
from yolor_mtl.data.check.table import CHECKS
from yolor_mtl.data.coco import open_coco
from yolor_mtl.data.image import UnreadableImageError
from yolor_mtl.data.labels import trainable
from yolor_mtl.data.loader import EvaluationSet, load_sample
from yolor_mtl.data.locate import find_file, find_layout
from yolor_mtl.data.semantic_maps import semantic_map
from yolor_mtl.records import UserError

FAULTS = {**{f"picture: {k}": v for k, v in broken.PICTURES.items()}, **broken.LABELS}


def checked(root: Path, how: str = "whole") -> Checked:
    return check_data(find_layout(root), how, workers=1)  # type: ignore[arg-type]


def serious(said: Checked) -> dict[str, int]:
    return {name: count for name, count in said.findings.counts().items() if CHECKS[name].severity != "note"}


def test_a_sound_set_has_no_findings_but_notes(tmp_path: Path) -> None:
    said = checked(broken.clean(tmp_path))
    assert serious(said) == {}
    counts = open_coco(tmp_path, ["train"], cache=False).counts
    facts = said.splits["train"]
    assert facts.labelled == {key: counts[key] for key in ("boxes", "masks", "panoptic", "stuff", "captions")}
    assert (facts.images, facts.objects, facts.segments, facts.captions) == tuple(
        counts[key] for key in ("images", "objects", "segments", "texts")
    )
    assert said.classes == {"cat": {"train": 4, "val": 2}, "dog": {"train": 4, "val": 2}}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_named(tmp_path: Path, name: str) -> None:
    fault = FAULTS[name]
    fault.inject(broken.clean(tmp_path))
    found = [finding for finding in checked(tmp_path).findings if finding.check == fault.check]
    assert len(found) >= 1, serious(checked(tmp_path))
    for finding in found:
        assert finding.message
        assert finding.file.startswith(str(tmp_path))
        assert CHECKS[finding.check].remedy


TRAINING = {name: fault for name, fault in FAULTS.items() if fault.then != "skipped"}


@pytest.mark.parametrize("name", TRAINING)
def test_what_the_reader_of_trainings_does_with_it(tmp_path: Path, name: str) -> None:
    fault = FAULTS[name]
    sound = broken.clean(tmp_path / "sound")
    fault.inject(broken.clean(tmp_path / "broken"))
    if fault.then == "refused":
        with pytest.raises(UserError) as caught:
            open_coco(tmp_path / "broken", ["train"], cache=False)
        assert ".json" in str(caught.value)
        assert fault.about in str(caught.value)
        return
    data = open_coco(tmp_path / "broken", ["train"], cache=False)
    if fault.then == "refused later":
        with pytest.raises(UserError, match=r"000001\.png"):
            semantic_map(data.annotations(0), data.space)
        return
    labels = [
        [len(trainable(each).objects or ()), len(each.captions or ())]
        for source in (open_coco(sound, ["train"], cache=False), data)
        for each in [source.annotations(0)]
    ]
    lost = sum(labels[0]) - sum(labels[1])
    assert lost == (1 if fault.then == "left out" else -1 if name == "object twice" else 0)


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.then == "skipped"])
def test_trainings_skip_and_list_the_picture(tmp_path: Path, name: str) -> None:
    FAULTS[name].inject(broken.clean(tmp_path))
    data = open_coco(tmp_path, ["train"], cache=False)
    failed = []
    for place in range(len(data)):
        sample, failures = EvaluationSet(data, (64, 64))[place]
        if sample is None:
            failed += failures
    assert len(failed) == 1
    named = next(finding for finding in checked(tmp_path).findings if finding.check == FAULTS[name].check)
    assert failed[0][0] == named.file
    broken_one = next(each for each in map(data.annotations, range(4)) if str(each.path) == named.file)
    with pytest.raises(UnreadableImageError):
        load_sample(broken_one, {}, "vision")  # What a training does with each picture.


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(4, 6), st.integers(2, 3), st.sampled_from(sorted(FAULTS)))
def test_any_set_and_any_one_fault(seed: int, train: int, val: int, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = broken.clean(Path(folder), seed, train, val)
        assert serious(checked(root)) == {}
        FAULTS[name].inject(root)
        assert FAULTS[name].check in serious(checked(root))
        if FAULTS[name].then in ("refused", "refused later", "skipped"):
            assert CHECKS[FAULTS[name].check].severity == "error"


@pytest.mark.parametrize("kind", ["instances", "captions", "panoptic"])
def test_one_annotation_file(tmp_path: Path, kind: str) -> None:
    path = broken.clean(tmp_path) / "annotations" / f"{kind}_train.json"
    said = check_data(find_file(path), workers=1)
    assert serious(said) == {}
    assert said.splits["train"].images == 4
    path.rename(tmp_path / "annotations" / "mine.json")
    renamed = check_data(find_file(tmp_path / "annotations" / "mine.json"), "none")
    told = {key for key, count in renamed.splits["mine"].labelled.items() if count}
    assert told == {"instances": {"boxes", "masks"}, "captions": {"captions"}, "panoptic": {"panoptic"}}[kind]


def test_nothing_readable(tmp_path: Path) -> None:
    broken.clean(tmp_path)
    for path in (tmp_path / "annotations").glob("*.json"):
        path.write_text("{")
    with pytest.raises(UserError, match="in the middle"):
        checked(tmp_path)


def test_heads_alone_tell_sizes(tmp_path: Path) -> None:
    broken.clean(tmp_path)
    for name in ("JPEG cut off", "turned by EXIF"):
        fault = broken.PICTURES[name]
        fault.inject(tmp_path)
        assert (fault.check in serious(checked(tmp_path, "head"))) == (name == "turned by EXIF")
    assert serious(checked(tmp_path, "none")) == {}
