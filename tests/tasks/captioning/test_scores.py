"""BLEU, ROUGE-L and CIDEr-D against pycocoevalcap's scorers, which need no Java on words."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from real_captions import caption_groups

from yolor_mtl.tasks.captioning.ptb import ptb_words
from yolor_mtl.tasks.captioning.scores import bleu, cider_d, ngrams, rouge_l

Words = list[str]


def ours(candidates: list[Words], references: list[list[Words]]) -> list[float]:
    return [*bleu(candidates, references), rouge_l(candidates, references), cider_d(candidates, references)]


def theirs(candidates: list[Words], references: list[list[Words]]) -> list[float]:
    truth = {n: [" ".join(words) for words in group] for n, group in enumerate(references)}
    found = {n: [" ".join(words)] for n, words in enumerate(candidates)}
    scores, _ = Bleu(4).compute_score(truth, found, verbose=0)
    return [*scores, Rouge().compute_score(truth, found)[0], Cider().compute_score(truth, found)[0]]


def held_out(groups: list[list[str]]) -> tuple[list[Words], list[list[Words]]]:
    """Each image's first caption against its others; every seventh image gets a wrong, cut or empty one."""
    words = [[ptb_words(text) for text in group] for group in groups]
    candidates = [group[0] for group in words]
    for place in range(0, len(candidates), 7):
        candidates[place] = [candidates[place - 1], candidates[place][:5], candidates[place] * 2, []][place // 7 % 4]
    return candidates, [group[1:] for group in words]


@pytest.mark.parametrize(("folder", "images"), [("coco_sample", None), ("coco_real", 500)])
def test_case_12_real_captions_score_as_pycocoevalcap_does(shared: Path, folder: str, images: int | None) -> None:
    candidates, references = held_out(caption_groups(shared, folder, images))
    numbers = ours(candidates, references)
    assert numbers == pytest.approx(theirs(candidates, references), abs=1e-9)
    assert all(0.05 < number < 1.5 for number in numbers)


captions = st.lists(st.sampled_from(["a", "cat", "dog", "on", "the", "mat"]), max_size=7)
groups = st.lists(captions, min_size=1, max_size=3)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(captions, groups.filter(any)), min_size=1, max_size=4))
def test_odd_captions_score_as_pycocoevalcap_scores_them(images: list[tuple[Words, list[Words]]]) -> None:
    """Empty candidates, empty references, repeated words, one image."""
    candidates, references = [c for c, _ in images], [r for _, r in images]
    assert ours(candidates, references) == pytest.approx(theirs(candidates, references), abs=1e-9)


def test_the_reference_itself_is_perfect() -> None:
    references = [[["a", "red", "cat", "on", "the", "mat"]], [["two", "dogs", "run", "in", "a", "park"]]]
    assert ours([group[0] for group in references], references) == pytest.approx([1, 1, 1, 1, 1, 10], abs=1e-6)


def test_nothing_at_all() -> None:
    assert rouge_l([], []) == cider_d([], []) == 0
    assert np.isfinite(bleu([], [])).all()


def test_a_single_image_has_no_rare_words() -> None:
    assert cider_d([["a", "cat"]], [[["a", "cat"]]]) == 0


def test_ngrams_count_repeats() -> None:
    one, two, three, four = ngrams(["a", "b", "a", "b"])
    assert one == {("a",): 2, ("b",): 2}
    assert two == {("a", "b"): 2, ("b", "a"): 1}
    assert (three.total(), four.total()) == (2, 1)


def test_lists_of_different_lengths_are_refused() -> None:
    for score in (bleu, rouge_l, cider_d):
        with pytest.raises(ValueError, match=r"shorter|longer"):
            score([["a"], ["b"]], [[["a"]]])
