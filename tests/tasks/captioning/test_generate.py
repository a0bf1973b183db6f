"""Writing: greedy and beam search against loops without a cache; a caption always has words, and only real ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tiny import HEIGHT, WIDTH, build, images, tokenizer
from torch import Tensor

from yolor_mtl.models.trunks import FeatureInfo
from yolor_mtl.ops.frame import letterbox_frame
from yolor_mtl.tasks.base import DecodeOptions, decode_all
from yolor_mtl.tasks.captioning.generate import Search, generate
from yolor_mtl.tasks.captioning.head import Cache, CaptionHead
from yolor_mtl.tasks.captioning.pre_norm import Groups
from yolor_mtl.tasks.captioning.tokenizer import END, PAD, START, UNK

WORDS, SLOTS = 17, 20
NOTHING = {"memory": torch.zeros(1, 1, 1)}


def _head(seed: int = 0) -> CaptionHead:
    torch.manual_seed(seed)
    head = CaptionHead(
        ["p5"],
        {"p5": FeatureInfo(6, 32)},
        SLOTS,
        width=16,
        layers=2,
        heads=2,
        feed_forward=24,
        dropout=0.1,
        max_tokens=14,
        output=(),
        tied=False,
        implicit=True,
    )
    head.out.weight.data.mul_(6)  # sharper choices than untrained weights make
    return head.eval()


def _memory(head: CaptionHead, pictures: int) -> Tensor:
    with torch.inference_mode():
        return head.remember({"p5": torch.randn(pictures, 6, 2, 3)})


def _next(head: CaptionHead, memory: Tensor, written: list[int]) -> Tensor:
    """Log-probabilities of the next word by the full forward, without a cache; rules as the docstring states them."""
    x = head.embedding(torch.tensor([[START, *written]])) + head.positions[: len(written) + 1]
    for layer in head.layers:
        x = layer(x, *layer.cross_attention.project(memory[None]), Groups(torch.tensor([0]), 1))  # type: ignore[union-attr, operator]
    return _allowed(head.words(x)[0, -1], written)


def _allowed(logits: Tensor, written: list[int]) -> Tensor:
    """Log-probabilities of the words that may come next, -inf for the others."""
    logits = logits.clone()
    logits[[PAD, UNK, START]] = -math.inf
    logits[WORDS:] = -math.inf
    if not written:
        logits[END] = -math.inf
    return logits.log_softmax(-1)


@torch.inference_mode()
@pytest.mark.parametrize("seed", range(4))
def test_case_18_greedy_as_a_loop_without_a_cache(seed: int) -> None:
    head = _head(seed)
    memory = _memory(head, 3)
    found = generate(head, {"memory": memory}, words=WORDS, beam=1, max_tokens=8)
    for picture in range(3):
        tokens: list[int] = []
        sums: list[float] = []
        while len(sums) < 8:
            chances = _next(head, memory[picture], tokens)
            best = int(chances.argmax())
            sums.append(float(chances[best]))
            if best == END:
                break
            tokens.append(best)
        assert found.tokens[picture] == tokens
        assert found.scores[picture] == pytest.approx(sum(sums) / len(sums), abs=1e-4)


def _beam_search(following: Callable[[list[int]], Tensor], width: int, limit: int) -> tuple[list[int], float]:
    beams: list[tuple[list[int], float, bool]] = [([], 0.0, False)]

    def rank(beam: tuple[list[int], float, bool]) -> float:
        return beam[1] / len(beam[0])

    for _ in range(limit):
        options = [beam for beam in beams if beam[2]]
        for tokens, total, done in beams:
            if not done:
                for word, chance in enumerate(following(tokens).tolist()):
                    options.append(([*tokens, word], total + chance, word == END))
        beams = sorted(options, key=rank, reverse=True)[:width]
        if all(done for _, _, done in beams):
            break
    best = max(beams, key=rank)
    return [token for token in best[0] if token != END], rank(best)


@torch.inference_mode()
@pytest.mark.parametrize("width", [2, 3])
def test_beam_search_as_a_loop(width: int) -> None:
    for seed in range(3):
        head = _head(seed)
        memory = _memory(head, 2)
        found = generate(head, {"memory": memory}, words=WORDS, beam=width, max_tokens=6)
        for picture in range(2):
            tokens, score = _beam_search(partial(_next, head, memory[picture]), width, 6)
            assert found.tokens[picture] == tokens
            assert found.scores[picture] == pytest.approx(score, abs=1e-4)


class _Chain:
    """A writer whose next word depends on the last one alone; its cache counts steps."""

    memories = ("memory",)

    def __init__(self, chances: dict[int, dict[int, float]], slots: int) -> None:
        self.table = torch.full((slots, slots), -30.0)
        for last, row in chances.items():
            for word, chance in row.items():
                self.table[last, word] = math.log(chance)

    def start(self, memory: Mapping[str, Tensor]) -> Cache:
        return {"keys": torch.zeros(1, len(memory["memory"]))}

    def step(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache, Tensor]:
        return self.table[tokens], cache, torch.ones(len(tokens), 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 4))
def test_beam_search_over_chains(seed: int, width: int) -> None:
    """Captions of many lengths compete here: some beams are finished long before others."""
    writer = _Chain({}, WORDS)
    writer.table = torch.randn(WORDS, WORDS, generator=torch.Generator().manual_seed(seed)) * 2
    writer.table[:, END] += 2
    found = generate(writer, NOTHING, words=WORDS, beam=width, max_tokens=6)

    def following(tokens: list[int]) -> Tensor:
        return _allowed(writer.table[[START, *tokens][-1]], tokens)

    tokens, score = _beam_search(following, width, 6)
    assert found.scores[0] == pytest.approx(score, abs=1e-4)
    # The same steps in another order have the same sum: either may win.
    steps = [sorted(zip([START, *each], each, strict=False)) for each in (found.tokens[0], tokens)]
    assert steps[0] == steps[1]


def _released_search(
    following: Callable[[list[int]], list[float]], width: int, steps: int
) -> tuple[list[int], list[float]]:
    """The released network's search (shared/upstream/SPEC.md, 4.5): tokens and log-probabilities of the best beam."""
    beams: list[tuple[list[int], list[float], float]] = [([], [], 0.0)]
    for _ in range(steps):
        candidates = []
        for tokens, chances, score in beams:
            if END in tokens:
                candidates += [
                    ([*tokens, token], [*chances, 0.0], score if token == PAD else -999.0) for token in range(WORDS)
                ]
            else:
                candidates += [
                    ([*tokens, token], [*chances, chance], score + chance)
                    for token, chance in enumerate(following(tokens))
                ]
        beams = sorted(candidates, key=lambda candidate: candidate[2], reverse=True)[:width]
    return max(beams, key=lambda beam: beam[2])[:2]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5), st.floats(-2, 6), st.floats(-2, 4))
def test_the_released_search(seed: int, width: int, end: float, padding: float) -> None:
    """Beams that end at once, late or never, and beams that write padding and special tokens by themselves."""
    writer = _Chain({}, WORDS)
    writer.table = torch.randn(WORDS, WORDS, generator=torch.Generator().manual_seed(seed)) * 3
    writer.table[:, END] += end
    writer.table[:, PAD] += padding
    search = Search(length_penalty=0.0, any_token=True, after_end=-999.0)
    found = generate(writer, NOTHING, words=WORDS, beam=width, max_tokens=7, search=search)
    tokens, chances = _released_search(
        lambda tokens: writer.table[[START, *tokens][-1]].log_softmax(-1).tolist(), width, 7
    )
    # Two orders of the same pairs of words have one sum; which of them wins is rounding.
    tie = sum(found.log_probabilities[0].tolist()) == pytest.approx(sum(chances), abs=1e-4)
    assume(found.emitted[0].tolist() == tokens or not tie)
    assert found.emitted[0].tolist() == tokens
    assert found.log_probabilities[0].tolist() == pytest.approx(chances, abs=1e-4)
    written = tokens.index(END) + 1 if END in tokens else 7
    assert found.scores[0] == pytest.approx(sum(chances) / written, abs=1e-4)
    assert found.tokens[0] == [token for token in tokens if token not in (PAD, END)]


def test_sums_prefer_short_captions_and_means_do_not() -> None:
    # Through 4 a chance of .2 for two tokens, through 5 of .18 for four.
    writer = _Chain({START: {4: 0.5, 5: 0.5}, 4: {END: 0.4, 9: 0.6}, 5: {6: 1}, 6: {7: 0.36, 8: 0.64}, 7: {END: 1}}, 10)
    by_sums = generate(writer, NOTHING, words=10, beam=4, max_tokens=6, search=Search(length_penalty=0.0))
    by_means = generate(writer, NOTHING, words=10, beam=4, max_tokens=6)
    assert by_sums.tokens == [[4]]
    assert by_means.tokens == [[5, 6, 7]]
    # Emitted tokens are padded to the steps asked for, whenever the search ended.
    assert by_sums.emitted.tolist() == [[4, END, PAD, PAD, PAD, PAD]]
    assert by_sums.log_probabilities[0, 2:].tolist() == [0, 0, 0, 0]
    assert by_sums.scores[0] == pytest.approx(by_sums.log_probabilities.sum().item() / 2)


@pytest.mark.parametrize("number", [0, 3])
def test_shapes_of_what_is_emitted(number: int) -> None:
    written = generate(_head(), {"memory": torch.zeros(number, 6, 16)}, words=WORDS, beam=2, max_tokens=5)
    assert written.emitted.shape == written.log_probabilities.shape == (number, 5)
    assert written.emitted.dtype == torch.int64


def test_a_beam_finds_what_greed_misses() -> None:
    # Greedy: 4 (.6), then 6 (.5 - the best of bad words), end. Mean of ln .6, ln .4, ln 1.
    # Through 5 (.4): 7 (1), end (1): a mean of ln .4 / 3, better than (ln .6 + ln .4) / 3.
    writer = _Chain(
        {START: {4: 0.6, 5: 0.4}, 4: {6: 0.4, 8: 0.3, 9: 0.3}, 5: {7: 1.0}, 6: {END: 1.0}, 7: {END: 1.0}}, 10
    )
    greedy = generate(writer, NOTHING, words=10, beam=1, max_tokens=5)
    wide = generate(writer, NOTHING, words=10, beam=2, max_tokens=5)
    assert greedy.tokens == [[4, 6]]
    assert greedy.scores[0] == pytest.approx((math.log(0.6) + math.log(0.4)) / 3, abs=1e-5)
    assert wide.tokens == [[5, 7]]
    assert wide.scores[0] == pytest.approx(math.log(0.4) / 3, abs=1e-5)


@pytest.mark.parametrize("beam", [1, 3, 5, 30])
@pytest.mark.parametrize("favourite", [PAD, UNK, START, END, WORDS, SLOTS - 1])
@torch.inference_mode()
def test_what_may_not_be_written_is_not(favourite: int, beam: int) -> None:
    head = _head()
    assert head.out.bias is not None
    head.out.bias.data[favourite] = 1e4
    found = generate(head, {"memory": _memory(head, 2)}, words=WORDS, beam=beam, max_tokens=7)
    for tokens, score in zip(found.tokens, found.scores, strict=True):
        assert 1 <= len(tokens) <= 7
        assert all(END < token < WORDS for token in tokens)
        assert math.isfinite(score)
        assert score <= 0


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([1, 3, 5]), st.integers(1, 40))
def test_case_18_untrained_networks_always_write_a_word(seed: int, beam: int, limit: int) -> None:
    torch.manual_seed(seed)
    tasks, network = build({"captioning": {"slots": 300}})
    frame = letterbox_frame((HEIGHT, WIDTH), (HEIGHT, WIDTH))
    with torch.inference_mode():
        out = network.eval()(images())
        found = decode_all(tasks, out, [frame] * 2, DecodeOptions(beam=beam, max_tokens=limit))
    for answer in found:
        caption = answer["captioning"]
        assert 1 <= len(caption["text"].split()) <= limit
        assert 1 <= len(caption["tokens"]) <= min(limit, 11)
        assert all(END < token < tokenizer().size for token in caption["tokens"])
        assert 0 < caption["score"] <= 1


def test_no_pictures() -> None:
    assert generate(_head(), {"memory": torch.zeros(0, 6, 16)}, words=WORDS, beam=3, max_tokens=5).tokens == []


@torch.inference_mode()
def test_pictures_do_not_disturb_each_other() -> None:
    head = _head(2)
    memory = _memory(head, 4)
    together = generate(head, {"memory": memory}, words=WORDS, beam=3, max_tokens=9)
    for picture in range(4):
        alone = generate(head, {"memory": memory[picture : picture + 1]}, words=WORDS, beam=3, max_tokens=9)
        assert alone.tokens[0] == together.tokens[picture]


@torch.inference_mode()
@pytest.mark.parametrize("width", [1, 3])
def test_attention_is_that_of_the_words_that_were_kept(width: int) -> None:
    head = _head(2)
    memory = _memory(head, 2)
    found = generate(head, {"memory": memory}, words=WORDS, beam=width, max_tokens=7, attend=True)
    assert found.attention.shape == (2, 7, 6)
    for picture in range(2):
        cache = head.start({"memory": memory[picture : picture + 1]})
        last = START
        for place, token in enumerate(found.emitted[picture].tolist()):
            if token == PAD:
                break
            _, cache, attention = head.step(torch.tensor([last]), cache)
            torch.testing.assert_close(found.attention[picture, place], attention[0], atol=1e-5, rtol=0)
            last = token
    silent = generate(head, {"memory": memory}, words=WORDS, beam=width, max_tokens=7)
    assert silent.emitted.tolist() == found.emitted.tolist()
    assert silent.attention.shape == (2, 7, 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 4))
def test_no_run_of_words_is_written_twice(seed: int, width: int, run: int) -> None:
    writer = _Chain({}, WORDS)
    writer.table = torch.randn(WORDS, WORDS, generator=torch.Generator().manual_seed(seed)) * 3
    writer.table[:, END] -= 8
    found = generate(writer, NOTHING, words=WORDS, beam=width, max_tokens=12, search=Search(no_repeat=run))
    (tokens,) = found.tokens
    runs = [tuple(tokens[i : i + run]) for i in range(len(tokens) - run + 1)]
    assert len(set(runs)) == len(runs)
    assert tokens


def test_greedy_takes_the_next_best_word_instead_of_a_repetition() -> None:
    # 4 and 5 call each other for ever; 6 is the second best after 4.
    writer = _Chain({START: {4: 1}, 4: {5: 0.7, 6: 0.3}, 5: {4: 1}, 6: {END: 1}}, 10)
    loop = generate(writer, NOTHING, words=10, beam=1, max_tokens=8)
    assert loop.tokens == [[4, 5, 4, 5, 4, 5, 4, 5]]
    found = generate(writer, NOTHING, words=10, beam=1, max_tokens=8, search=Search(no_repeat=2))
    assert found.tokens == [[4, 5, 4, 6]]
