"""The vocabulary of captions: WordPiece over the ``tokenizers`` library, learned the same way every time; or a list."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor

from yolor_mtl.records import UserError

PAD, UNK, START, END = range(4)
"""Ids of the special tokens, in every kind of vocabulary."""

SPECIALS = ("[PAD]", "[UNK]", "[START]", "[END]")

LIST_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""First lines of a word list; BERT's names, the same ids."""

_CONTINUES = "##"
_CLOSE = frozenset(".,!?;:%)]}")  # no space before
_OPEN = frozenset("([{#$")  # no space after
_TIGHT = frozenset("'\u2019-/")  # no space on either side
_LONGEST_WORD = 100
_LIST_KEY = "word_list"
# BERT's clean-up: no blank before these marks and contractions.
_CLINGS = re.compile(r" ([.?!,]|n't|'m|'s|'ve|'re)")


class CaptionTokenizer:
    """Text to ids and back.

    Text is lower-cased, accents are dropped and words are split at spaces and punctuation (BERT's rules). A word
    outside the vocabulary is spelled by pieces; a word with a character that no training caption had becomes
    ``[UNK]``, which :meth:`decode` leaves out.

    Args:
        text: JSON of the ``tokenizers`` library, as :meth:`to_json` gives it.

    Raises:
        UserError: it is not such a JSON, or its special tokens are not 0 to 3.
    """

    def __init__(self, text: str) -> None:
        try:
            self._tokenizer = Tokenizer.from_str(text)
        except Exception as error:  # the library raises plain Exception
            raise UserError(f"not a tokenizer: {error}") from error
        found = [self._tokenizer.token_to_id(token) for token in SPECIALS]
        if found != [PAD, UNK, START, END]:
            raise UserError(f"special tokens {SPECIALS} must have the ids 0 to 3, not {found}")
        # The library would find out at the first word that it does not know.
        if (unknown := getattr(self._tokenizer.model, "unk_token", None)) != SPECIALS[UNK]:
            raise UserError(f"an unknown word must become {SPECIALS[UNK]}, not {unknown!r}")
        self._text = text
        # Ids to pieces once: a lookup through the library for every token of every caption is slow.
        self._pieces = {number: piece for piece, number in self._tokenizer.get_vocab().items()}

    @classmethod
    def train(cls, captions: Iterable[str], size: int) -> CaptionTokenizer:
        """Learns a vocabulary of at most ``size`` pieces, special tokens included.

        The special tokens and every character come first, so that nothing seen is unknown; then whole words, the
        most frequent first; where not all fit, a tenth of the places goes to frequent ends of the words left out.
        Ties go by spelling: the same captions give the same JSON on every machine, which the library's own trainer
        does not promise.

        Raises:
            UserError: ``size`` has no room for the characters.
        """
        rules = _rules({token: number for number, token in enumerate(SPECIALS)}, _LONGEST_WORD)
        words = Counter(word for caption in captions for word in _split(rules, caption))
        pieces = [*SPECIALS, *_characters(rules, words)]
        if len(pieces) > size:
            raise UserError(f"a vocabulary of {size} is too small for these captions: {len(pieces)} is the least")
        ranked = [word for word, _ in sorted(words.items(), key=lambda item: (-item[1], item[0])) if len(word) > 1]
        room = size - len(pieces)
        if len(ranked) > room:
            kept = room - room // 10
            pieces += ranked[:kept] + _ends({word: words[word] for word in ranked[kept:]}, room // 10)
        else:
            pieces += ranked
        longest = max([_LONGEST_WORD, *map(len, words)])
        return cls(_rules({piece: number for number, piece in enumerate(pieces)}, longest).to_str())

    @classmethod
    def from_json(cls, text: str) -> CaptionTokenizer:
        """Inverse of :meth:`to_json`, whichever kind wrote it."""
        return WordListTokenizer(text) if _is_word_list(text) else CaptionTokenizer(text)

    @classmethod
    def from_words(cls, lines: Sequence[str]) -> CaptionTokenizer:
        """The tokenizer of a word list, one word a line, whose ids are the lines' numbers from 0.

        Raises:
            UserError: the first five lines are not BERT's special tokens.
        """
        words = [line.rstrip("\r\n") for line in lines]
        return WordListTokenizer(json.dumps({_LIST_KEY: words}, ensure_ascii=False))

    def to_json(self) -> str:
        """The text it was made from, byte for byte (``LabelSpace.vocabulary``)."""
        return self._text

    @property
    def size(self) -> int:
        """Number of pieces, special tokens included."""
        return len(self._pieces)

    @property
    def pieces(self) -> Mapping[int, str]:
        """Id -> piece, of those that stand for something."""
        return self._pieces

    @property
    def wordless(self) -> tuple[int, ...]:
        """Ids that :meth:`decode` makes nothing of, the end apart."""
        return (PAD, UNK, START)

    @property
    def hash(self) -> str:
        """blake2b of the JSON in hexadecimal: travels with the weights, so that another vocabulary is refused."""
        return hashlib.blake2b(self._text.encode(), digest_size=16).hexdigest()

    def normalise(self, text: str) -> str:
        """The form that survives: lower case, no accents, one space between words, none where punctuation joins."""
        return _join(_split(self._tokenizer, text))

    def encode(self, text: str, max_tokens: int) -> list[int]:
        """``[START] ... [END]``, at most ``max_tokens`` ids (2 or more); what is cut keeps its ``[END]``."""
        return self._frame(self._tokenizer.encode(text, add_special_tokens=False).ids, max_tokens)

    def encode_batch(self, texts: Sequence[str], max_tokens: int) -> Tensor:
        """(N, T) int64, T the longest of the N captions, padded with 0."""
        encoded = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        rows = [self._frame(encoding.ids, max_tokens) for encoding in encoded]
        batch = torch.full((len(rows), max(map(len, rows), default=0)), PAD, dtype=torch.int64)
        for row, ids in enumerate(rows):
            batch[row, : len(ids)] = torch.tensor(ids)
        return batch

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the ids; special tokens and ids beyond the vocabulary are left out."""
        return _join([word for word, _ in self.words(ids)])

    def words(self, ids: Iterable[int]) -> list[tuple[str, list[int]]]:
        """Each word and punctuation mark of the ids, and the positions in ``ids`` that spell it."""
        words: list[tuple[str, list[int]]] = []
        for position, number in enumerate(ids):
            piece = self._pieces.get(int(number))
            if piece is None or number < len(SPECIALS):
                continue
            if piece.startswith(_CONTINUES) and words:
                text, positions = words[-1]
                words[-1] = (text + piece.removeprefix(_CONTINUES), [*positions, position])
            else:
                words.append((piece.removeprefix(_CONTINUES), [position]))
        return words

    @staticmethod
    def _frame(ids: list[int], max_tokens: int) -> list[int]:
        if max_tokens < 2:
            raise ValueError(f"max_tokens={max_tokens}: a caption needs two, its start and its end")
        return [START, *ids[: max_tokens - 2], END]


class WordListTokenizer(CaptionTokenizer):
    """Whole words of a given list; what is not in it becomes ``[UNK]``, punctuation among it if it is not listed.

    Text is split as in the other kind. Of equal lines the last one is the word and the others are unknown. Decoding
    leaves out what stands for no word, joins with blanks, draws marks and contractions to the word before them, and
    makes a sentence of it: first letter upper case, the rest lower (the release's rules).

    Args:
        text: JSON ``{"word_list": [...]}``, as :meth:`CaptionTokenizer.from_words` makes it.

    Raises:
        UserError: it is not such a JSON, or its first words are not BERT's special tokens.
    """

    def __init__(self, text: str) -> None:
        words = json.loads(text)[_LIST_KEY]
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise UserError("not a word list: one text a line is needed")
        if tuple(words[: len(LIST_SPECIALS)]) != LIST_SPECIALS:
            raise UserError(f"a word list begins with the lines {LIST_SPECIALS}, not {words[: len(LIST_SPECIALS)]}")
        self._text = text
        self._size = len(words)
        ids = {word: number for number, word in enumerate(words)}
        self._tokenizer = _bert(models.WordLevel(vocab=ids, unk_token=LIST_SPECIALS[UNK]))
        self._pieces = {number: word for word, number in ids.items() if word and number >= len(LIST_SPECIALS)}
        self._wordless = tuple(number for number in range(len(words)) if number not in {END, *self._pieces})

    @property
    def size(self) -> int:
        """Number of lines."""
        return self._size

    @property
    def wordless(self) -> tuple[int, ...]:
        """Special tokens but the end, empty lines, and lines that occur again."""
        return self._wordless

    def normalise(self, text: str) -> str:
        """The form that survives: a sentence of the words that are listed."""
        return self.decode(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Iterable[int]) -> str:
        """A sentence; ids that stand for no word are left out."""
        return _CLINGS.sub(r"\1", " ".join(word for word, _ in self.words(ids))).capitalize()

    def words(self, ids: Iterable[int]) -> list[tuple[str, list[int]]]:
        """Each word of the ids, and its position in ``ids``."""
        found = ((self._pieces.get(int(number)), position) for position, number in enumerate(ids))
        return [(word, [position]) for word, position in found if word]


def _is_word_list(text: str) -> bool:
    """Whether a vocabulary is of that kind; what cannot be read is left to the other kind to refuse."""
    try:
        content = json.loads(text)
    except ValueError:
        return False
    return isinstance(content, dict) and _LIST_KEY in content


def _rules(vocabulary: dict[str, int], longest: int) -> Tokenizer:
    """BERT's text rules over a vocabulary.

    The special tokens are entries of the vocabulary only: registered as the library's special tokens they would be
    found in a caption's own text, and ``[END]`` typed by a person would end it.
    """
    return _bert(
        models.WordPiece(
            vocab=vocabulary,
            unk_token=SPECIALS[UNK],
            continuing_subword_prefix=_CONTINUES,
            max_input_chars_per_word=longest,
        )
    )


def _bert(model: models.Model) -> Tokenizer:
    """BERT's way of splitting text before a vocabulary."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _split(tokenizer: Tokenizer, text: str) -> list[str]:
    """Words and punctuation marks of the normalised text."""
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))]


def _characters(rules: Tokenizer, words: Iterable[str]) -> list[str]:
    """Each character as the start of a word, and as the rest of one unless it always stands alone."""
    marks = sorted({mark for word in words for mark in word})
    return marks + [_CONTINUES + mark for mark in marks if len(_split(rules, f"a{mark}")) == 1]


def _ends(words: dict[str, int], room: int) -> list[str]:
    """The ``room`` most frequent ends of two to five letters, as continuing pieces."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for length in range(2, min(6, len(word))):
            counts[_CONTINUES + word[-length:]] += count
    return sorted(counts, key=lambda piece: (-counts[piece], piece))[:room]


def _join(words: Sequence[str]) -> str:
    """One space between words, none where a punctuation mark clings to its neighbour."""
    text, glue = "", True
    for word in words:
        text += word if glue or word in _CLOSE or word in _TIGHT else f" {word}"
        glue = word in _OPEN or word in _TIGHT
    return text
