"""From memory to a sentence: text, score and limits."""

from __future__ import annotations

import math

import pytest
import torch
from tiny import build, images, tokenizer

from yolor_mtl.ops.frame import letterbox_frame
from yolor_mtl.tasks.base import DecodeOptions
from yolor_mtl.tasks.captioning.decode import CaptionDecode
from yolor_mtl.tasks.captioning.generate import Search, generate
from yolor_mtl.tasks.captioning.head import CaptionHead
from yolor_mtl.tasks.captioning.tokenizer import END


def _decode() -> tuple[CaptionDecode, dict[str, torch.Tensor], CaptionHead]:
    torch.manual_seed(0)
    tasks, network = build({"captioning": {}})
    with torch.inference_mode():
        out = network.eval()(images())["captioning"]
    decode, head = tasks[0].decode, network.heads["captioning"]
    assert isinstance(decode, CaptionDecode)
    assert isinstance(head, CaptionHead)
    return decode, out, head


def test_writes_with_the_live_head() -> None:
    decode, _, head = _decode()
    assert decode.writer is head
    assert decode.limit == 11


@pytest.mark.parametrize(("beam", "limit"), [(1, 40), (3, 4), (0, 0), (2, -3)])
def test_answers(beam: int, limit: int) -> None:
    decode, out, head = _decode()
    found = decode(out, {}, DecodeOptions(beam=beam, max_tokens=limit))
    wanted = generate(head, out, words=tokenizer().size, beam=max(1, beam), max_tokens=max(1, min(11, limit)))
    for row, answer in enumerate(found):
        assert answer["tokens"] == wanted.tokens[row]
        assert answer["text"] == tokenizer().decode(wanted.tokens[row])
        assert answer["score"] == pytest.approx(math.exp(wanted.scores[row]))
        assert decode.restore(answer, letterbox_frame((7, 7), (64, 96)), {}) is answer


def test_training_mode_and_half_precision_write_the_same() -> None:
    decode, out, head = _decode()
    wanted = decode(out, {}, DecodeOptions())
    head.train()
    assert decode(out, {}, DecodeOptions()) == wanted
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert decode(out, {}, DecodeOptions()) == wanted


@torch.inference_mode()
def test_a_caption_has_a_word_whatever_the_search_allows() -> None:
    decode, out, head = _decode()
    wanted = decode(out, {}, DecodeOptions())
    decode.search = Search(length_penalty=0.0, any_token=True, after_end=-999.0)
    assert head.out.bias is not None
    head.out.bias[END] += 1e4
    silent = generate(head, out, words=tokenizer().size, beam=1, max_tokens=5, search=decode.search)
    assert silent.tokens == [[], []]
    for answer, other in zip(decode(out, {}, DecodeOptions()), wanted, strict=True):
        assert answer["text"]
        assert answer["tokens"] == other["tokens"][:1]
