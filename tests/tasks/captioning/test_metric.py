"""The caption metric from texts to numbers and files."""

import json
from pathlib import Path

import pytest
from coco_reference import labelled
from pycocoevalcap.cider.cider import Cider
from real_captions import caption_groups

from yolor_mtl.records import Annotations
from yolor_mtl.tasks.captioning.metric import CaptionMetric
from yolor_mtl.tasks.captioning.ptb import ptb_words

NAMES = ["caption/BLEU-1", "caption/BLEU-2", "caption/BLEU-3", "caption/BLEU-4", "caption/ROUGE-L", "caption/CIDEr"]
PAIRS = [
    ("a cat sits on a mat", ("A cat is sitting on the mat.", "The cat sits on a red mat!")),
    ("a dog", ("Two dogs run.", "Dogs running in the park", "A dog runs")),
    ("", ("An empty street.",)),
    ("naïve café \U0001f600", ("A café…",)),
]


def label(image_id: int, captions: tuple[str, ...] | None) -> Annotations:
    return labelled(image_id, objects=None, captions=captions)


def scored(pairs: list[tuple[int, str, tuple[str, ...]]]) -> CaptionMetric:
    metric = CaptionMetric()
    for image_id, text, captions in pairs:
        assert metric.evaluates(label(image_id, captions))
        metric.update({"text": text}, label(image_id, captions))
    return metric


def numbered() -> list[tuple[int, str, tuple[str, ...]]]:
    return [(number, *pair) for number, pair in enumerate(PAIRS)]


def test_real_captions_end_to_end(shared: Path, tmp_path: Path) -> None:
    groups = caption_groups(shared)
    metric = scored([(n, group[0], tuple(group[1:])) for n, group in enumerate(groups)])
    numbers = metric.compute()
    assert list(numbers) == NAMES
    assert metric.headline in numbers

    (path,) = metric.write(tmp_path)
    found = {row["image_id"]: [" ".join(ptb_words(row["caption"]))] for row in json.loads(path.read_text("utf-8"))}
    truth = {n: [" ".join(ptb_words(text)) for text in group[1:]] for n, group in enumerate(groups)}
    assert numbers["caption/CIDEr"] == pytest.approx(Cider().compute_score(truth, found)[0], abs=1e-9)


def test_a_reference_as_prediction_is_perfect(shared: Path) -> None:
    numbers = scored([(n, group[0], tuple(group)) for n, group in enumerate(caption_groups(shared))]).compute()
    assert [numbers[name] for name in NAMES[:5]] == pytest.approx([1] * 5, abs=1e-6)


def test_case_12_empty_and_odd_captions_do_not_fail() -> None:
    numbers = scored(numbered()).compute()
    assert 0 < numbers["caption/BLEU-1"] < 1
    empty = scored([(1, "", ("A cat.",)), (2, "...", ("A dog.",))]).compute()
    assert empty == pytest.approx(dict.fromkeys(NAMES, 0), abs=1e-6)


def test_halves_merge_and_an_image_counts_once() -> None:
    whole, first, second = (scored(part) for part in (numbered(), numbered()[2:] + numbered()[2:], numbered()[:3]))
    first.merge(second)
    assert first.compute() == whole.compute()


def test_images_without_references_are_not_evaluated() -> None:
    metric = CaptionMetric()
    assert not metric.evaluates(label(1, None))
    assert not metric.evaluates(label(1, ()))
    assert metric.compute() == {}


def test_results_are_cocos_list(tmp_path: Path) -> None:
    (path,) = scored(numbered()).write(tmp_path)
    assert path.name == "captions.json"
    rows = json.loads(path.read_text("utf-8"))
    assert rows == [{"image_id": number, "caption": text} for number, (text, _) in enumerate(PAIRS)]
