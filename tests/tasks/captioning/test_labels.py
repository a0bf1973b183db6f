"""Captions as tokens, all of a picture's on its one row; and what the block of configuration refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import CAPTIONS, annotations, build, sample, tokenizer

from yolor_mtl.config import fill
from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.records import LabelSpace, UserError
from yolor_mtl.tasks.captioning import KIND, CaptioningConfig
from yolor_mtl.tasks.captioning.labels import CaptionLabels
from yolor_mtl.tasks.captioning.tokenizer import END, PAD, START, CaptionTokenizer


def _labels() -> CaptionLabels:
    return CaptionLabels(tokenizer(), 7)


def test_labelled() -> None:
    assert not _labels().labelled(annotations())
    assert not _labels().labelled(annotations(captions=()))
    assert _labels().labelled(annotations(captions=CAPTIONS))
    assert _labels().columns(annotations(captions=CAPTIONS)).texts == {"captions": CAPTIONS}


def test_targets() -> None:
    samples = [
        sample("language", texts={"captions": CAPTIONS[:2]}),
        sample("language", texts={"captions": CAPTIONS[2:]}),
    ]
    found = _labels().targets(samples)
    assert found["image"].tolist() == [0, 0, 1]
    tokens = found["tokens"]
    assert tokens.shape == (3, 7)
    assert (tokens[:, 0] == START).all()
    assert (tokens == END).sum(1).tolist() == [1, 1, 1]
    assert tokens[2, -1] == PAD
    assert tokenizer().decode(tokens[2].tolist()) == CAPTIONS[2]
    assert tokenizer().decode(tokens[0].tolist()) == "a dog runs on the"


def test_usable() -> None:
    assert _labels().usable(sample("language", texts={"captions": CAPTIONS}))
    assert not _labels().usable(sample("vision", texts={"captions": CAPTIONS}))
    assert not _labels().usable(sample("language", texts={"captions": ()}))
    assert not _labels().usable(sample("language"))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"slots": 5}, "slots=5"),
        ({"width": 30}, "width=30"),
        ({"width": 36, "heads": 8}, "heads=8"),
        ({"max_tokens": 2}, "max_tokens=2"),
        ({"view": "langauge"}, "did you mean 'language'"),
    ],
)
def test_refused(block: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build({"captioning": block})


@pytest.mark.parametrize("vocabulary", [None, CaptionTokenizer.train([""], 10).to_json()])
def test_data_without_words_is_refused(vocabulary: str | None) -> None:
    with pytest.raises(UserError, match="leave captioning out"):
        KIND.build(fill(CaptioningConfig), LabelSpace(vocabulary=vocabulary), {"p5": FeatureInfo(8, 32)})


@pytest.mark.parametrize("rows", [[0, 2], [1], [0, 1, 2]])
def test_part_is_what_the_samples_alone_give(rows: list[int]) -> None:
    texts = [CAPTIONS[:2], CAPTIONS[2:], CAPTIONS[:1]]
    samples = [sample("language", texts={"captions": each}) for each in texts]
    found = _labels().part(_labels().targets(samples), torch.tensor(rows))
    wanted = _labels().targets([samples[row] for row in rows])
    length = wanted["tokens"].shape[1]
    assert found["image"].tolist() == wanted["image"].tolist()
    assert found["tokens"][:, :length].tolist() == wanted["tokens"].tolist()
    assert (found["tokens"][:, length:] == PAD).all()
