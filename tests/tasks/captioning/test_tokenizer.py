"""The vocabulary: what survives a round trip, and that it is learned the same way every time."""

import json
import random
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from real_captions import captions

from yolor_mtl.records import UserError
from yolor_mtl.tasks.captioning.tokenizer import (
    END,
    LIST_SPECIALS,
    PAD,
    SPECIALS,
    START,
    UNK,
    CaptionTokenizer,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
MARKS = ".,!?;:%)]}([{#$'-/\"&*+=@_~"
CAPTIONS = [
    "A cat sits on the mat.",
    "The cat's toy, a red ball!",
    "Two dogs (one black-and-white) run.",
    f"{LETTERS} {MARKS}",
]
LONG = 10**6


@pytest.fixture(scope="module")
def small() -> CaptionTokenizer:
    return CaptionTokenizer.train(CAPTIONS, 400)


@pytest.fixture(scope="module")
def real(shared: Path) -> list[str]:
    return captions(shared)


@pytest.mark.parametrize("size", [120, 600, 5000])
def test_real_captions_survive(real: list[str], size: int) -> None:
    tokenizer = CaptionTokenizer.train(real, size)
    assert tokenizer.size <= size
    for text in real:
        ids = tokenizer.encode(text, LONG)
        assert UNK not in ids
        assert (ids[0], ids[-1]) == (START, END)
        assert tokenizer.decode(ids) == tokenizer.normalise(text)


def test_captions_never_seen_survive(shared: Path, real: list[str]) -> None:
    """Every character that captions had may stand anywhere in a word, first or later."""
    tokenizer = CaptionTokenizer.train(real, 1000)
    known = set("".join(map(tokenizer.normalise, real)))
    others = [text for text in captions(shared, "coco_real", 400) if set(tokenizer.normalise(text)) <= known]
    assert len(others) > 1000
    for text in others:
        assert tokenizer.decode(tokenizer.encode(text, LONG)) == tokenizer.normalise(text)


@settings(deadline=None)
@given(st.text(alphabet=LETTERS + LETTERS.upper() + MARKS + " \n\té\u2003", max_size=60))
def test_any_text_of_known_characters_survives(text: str) -> None:
    tokenizer = CaptionTokenizer.train(CAPTIONS, 400)
    normal = tokenizer.normalise(text)
    assert tokenizer.decode(tokenizer.encode(text, LONG)) == normal
    assert tokenizer.normalise(normal) == normal


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_at_all_is_encoded(text: str) -> None:
    tokenizer = CaptionTokenizer.train(CAPTIONS, 400)
    ids = tokenizer.encode(text, 20)
    assert len(ids) <= 20
    assert (ids[0], ids[-1]) == (START, END)
    assert not {PAD, START, END} & set(ids[1:-1])
    tokenizer.decode(ids)


@pytest.mark.parametrize("size", [120, 900])
def test_the_order_of_captions_does_not_matter(real: list[str], size: int) -> None:
    first = CaptionTokenizer.train(real, size)
    for seed in range(3):
        shuffled = random.Random(seed).sample(real, len(real))
        assert CaptionTokenizer.train(iter(shuffled), size).to_json() == first.to_json()


def test_json_round_trip_and_hash(small: CaptionTokenizer) -> None:
    again = CaptionTokenizer.from_json(small.to_json())
    assert again.to_json() == small.to_json()
    assert again.hash == small.hash
    assert len(small.hash) == 32
    assert CaptionTokenizer.train(CAPTIONS, 104).hash != small.hash
    assert CaptionTokenizer.train([*CAPTIONS, "a zebra"], 400).hash != small.hash


def test_frequent_words_come_whole(real: list[str]) -> None:
    tokenizer = CaptionTokenizer.train(real, 300)
    assert len(tokenizer.encode("a man with a", LONG)) == 6


def test_a_word_with_an_unknown_character_is_left_out(small: CaptionTokenizer) -> None:
    ids = small.encode("a жук sits", LONG)
    assert ids[2] == UNK
    assert small.decode(ids) == "a sits"


def test_special_tokens_that_somebody_types_are_text(small: CaptionTokenizer) -> None:
    for special in SPECIALS:
        text = f"a cat {special} a dog"
        ids = small.encode(text, LONG)
        assert not {PAD, UNK, START, END} & set(ids[1:-1])
        assert small.decode(ids) == small.normalise(text) == f"a cat {special.lower()} a dog"


def test_pieces_that_somebody_types_are_text(small: CaptionTokenizer) -> None:
    assert small.decode(small.encode("##at ## a", LONG)) == small.normalise("##at ## a")


def test_a_long_caption_keeps_its_end(small: CaptionTokenizer) -> None:
    whole = small.encode("a cat sits on the mat", LONG)
    assert small.encode("a cat sits on the mat", 5) == [*whole[:4], END]
    assert small.encode("a cat", 2) == [START, END]
    for tokens in (1, 0, -3):
        with pytest.raises(ValueError, match="a caption needs two"):
            small.encode("a cat", tokens)


def test_batches_are_padded(small: CaptionTokenizer) -> None:
    texts = ["a cat", "a cat sits on the mat", ""]
    batch = small.encode_batch(texts, 6)
    assert batch.dtype == torch.int64
    assert batch.shape == (3, 6)
    for row, text in zip(batch.tolist(), texts, strict=True):
        ids = small.encode(text, 6)
        assert row == ids + [PAD] * (6 - len(ids))
    assert small.encode_batch([], 6).shape == (0, 0)


def test_decoding_leaves_out_what_is_no_piece(small: CaptionTokenizer) -> None:
    cat = small.encode("cat", LONG)[1]
    assert small.decode([START, cat, PAD, 10**9, -1, UNK, END]) == "cat"
    assert small.decode(torch.tensor([START, cat, END])) == "cat"
    assert small.decode([]) == ""
    (tail,) = [n for n, piece in enumerate(pieces(small)) if piece == "##s"]
    assert small.decode([tail, cat, tail]) == "s cats"


def pieces(tokenizer: CaptionTokenizer) -> list[str]:
    vocabulary = json.loads(tokenizer.to_json())["model"]["vocab"]
    return sorted(vocabulary, key=vocabulary.__getitem__)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("A Café\u0301, naïve!", "a cafe, naive!"),
        ("the  cat 's\ttoy .", "the cat's toy."),
        ("( a ) b", "(a) b"),
        ("black - and - white", "black-and-white"),
        ("", ""),
    ],
)
def test_normal_form(small: CaptionTokenizer, text: str, normal: str) -> None:
    assert small.normalise(text) == normal


def test_a_size_without_room_for_the_characters_is_refused() -> None:
    with pytest.raises(UserError, match="a vocabulary of 20 is too small for these captions"):
        CaptionTokenizer.train(CAPTIONS, 20)


@pytest.mark.parametrize("text", ["", "{}", "not json", "[1]"])
def test_what_is_no_tokenizer_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="not a tokenizer"):
        CaptionTokenizer(text)


def test_other_special_tokens_are_refused(small: CaptionTokenizer) -> None:
    with pytest.raises(UserError, match="must have the ids 0 to 3"):
        CaptionTokenizer(small.to_json().replace("[START]", "[BEGIN]"))


# Ids from 5: "a", "man", "rides", nothing, backslash-n, 10 "bike", 11 "man" again, "'s", "n't", 14 "ca".
LINES = [*LIST_SPECIALS, "a", "man", "rides", "", "\\n", "bike", "man", "'s", "n't", "ca"]


@pytest.fixture
def listed() -> CaptionTokenizer:
    return CaptionTokenizer.from_words([line + "\n" for line in LINES])


def test_a_list_is_read_line_by_line(listed: CaptionTokenizer) -> None:
    assert listed.size == len(LINES)
    # Of equal lines the last one is the word; punctuation and what is not listed is unknown; nothing is spelled.
    assert listed.encode("A man rides, a bike.", LONG) == [START, 5, 11, 7, UNK, 5, 10, UNK, END]
    assert listed.encode("mans \\n [SEP] riders", LONG) == [START, UNK, UNK, UNK, UNK, UNK, UNK, UNK, END]
    assert listed.encode("a man rides", 4) == [START, 5, 11, END]
    assert listed.encode_batch(["a", "a man"], LONG).tolist() == [[START, 5, END, PAD], [START, 5, 11, END]]


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([START, 5, 11, 7, UNK, 5, 10, UNK, END, PAD], "A man rides a bike"),
        ([5, 11, 12, 10], "A man's bike"),
        ([5, 11, 14, 13], "A man can't"),
        ([4, 6, 8, 99, -1, 10], "Bike"),
        ([9], "\\n"),
        ([], ""),
    ],
)
def test_a_list_makes_sentences(listed: CaptionTokenizer, ids: list[int], text: str) -> None:
    assert listed.decode(ids) == text
    assert listed.decode(torch.tensor(ids)) == text


def test_what_a_list_has_no_word_for(listed: CaptionTokenizer) -> None:
    assert listed.wordless == (PAD, UNK, START, 4, 6, 8)
    assert all(not listed.decode([number]) for number in listed.wordless)
    assert all(listed.decode([number]) for number in set(range(len(LINES))) - {END, *listed.wordless})


def test_a_normal_sentence_survives(listed: CaptionTokenizer) -> None:
    assert listed.normalise("a MAN rides the big bike!") == "A man rides bike"
    assert listed.normalise(listed.normalise("a MAN rides the big bike!")) == "A man rides bike"


def test_both_kinds_come_back_from_json(small: CaptionTokenizer, listed: CaptionTokenizer) -> None:
    for tokenizer in (small, listed):
        again = CaptionTokenizer.from_json(tokenizer.to_json())
        assert type(again) is type(tokenizer)
        assert again.to_json() == tokenizer.to_json()
        assert again.hash == tokenizer.hash
        assert again.encode("a man", LONG) == tokenizer.encode("a man", LONG)
    assert small.wordless == (PAD, UNK, START)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_at_all_is_encoded_by_a_list(text: str) -> None:
    tokenizer = CaptionTokenizer.from_words(LINES)
    ids = tokenizer.encode(text, 20)
    assert (ids[0], ids[-1]) == (START, END)
    assert not {PAD, START, END} & set(ids[1:-1])
    assert tokenizer.encode(tokenizer.decode(ids), 20) == [number for number in ids if number != UNK]


@pytest.mark.parametrize("lines", [[], LINES[1:], ["[PAD]", "[UNK]", "[START]", "[END]", "a"], LINES[:4]])
def test_a_list_without_its_special_tokens_is_refused(lines: list[str]) -> None:
    with pytest.raises(UserError, match="a word list begins with the lines"):
        CaptionTokenizer.from_words(lines)


@pytest.mark.parametrize("text", ['{"word_list": 3}', '{"word_list": [1, 2]}'])
def test_what_is_no_word_list_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="not a word list"):
        CaptionTokenizer.from_json(text)
