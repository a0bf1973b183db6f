"""Penn Treebank words of a caption, as COCO's caption evaluation takes them, without Java.

COCO's evaluation sends captions through Stanford's PTBTokenizer (lower case) and drops punctuation. This module
does the same by rules of its own, found by watching what that tokenizer answers. Words are the longest match at
each place; what the evaluation drops is not told apart (a quotation mark is a quotation mark, left or right).

Equal on all 12,692 different captions of our COCO samples. Known to differ: telephone numbers with spaces or
brackets, one letter glued to an abbreviation (``co.a``), a back-quote for an apostrophe, paths of web addresses
without ``http``, rare scripts' vowel signs and punctuation, and what Unicode took in after version 6.
``tests/tasks/captioning/test_ptb.py`` holds the comparison.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

DROPPED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
"""Tokens that COCO's evaluation leaves out. Brackets stay (as ``-lrb-``): its list has them in capitals, where its
tokens are lower case."""

_QUOTES = dict.fromkeys("\u2018\u2019\u201b\u2039\u203a\x91\x92", "'") | dict.fromkeys(
    "\u201c\u201d\u00ab\u00bb\x93\x94", '"'
)
_SIGNS = {
    **dict.fromkeys("\u2013\u2014\u2015\x96\x97", " -- "),
    **dict.fromkeys("\u2010\u2011\u058a", "-"),
    **dict.fromkeys("\u20ac\u00a4\u20a0\x80", " $ "),
    "\u2026": " ... ",
    "\u00a3": " \ufffc ",  # a pound is written # and must not become a hashtag: see _WRITTEN
    "\u00a2": " cents ",
    "\u00bc": " 1/4 ",
    "\u00bd": " 1/2 ",
    "\u00be": " 3/4 ",
    "\u2153": " 1/3 ",
    "\u2154": " 2/3 ",
    "\u00ad": "",
}
_WRITTEN = {
    "(": "-lrb-",
    ")": "-rrb-",
    "[": "-lsb-",
    "]": "-rsb-",
    "{": "-lcb-",
    "}": "-rcb-",
    '"': "''",
    "\ufffc": "#",
}

# Abbreviations that keep their period before whatever comes.
_TITLES = (
    "mr mrs ms drs? profs? sens? reps? atty lt col gen messrs govs? adm rev maj sgt cpl pvt capt ste? ave pres lieut "
    "hon brig cmdr pfc spc supt det mt ft adj adv asst assoc ens insp mlle mme msgr sfc dept mfg ph vs cf"
)
# Those that keep it but give way to a longer word with a period in it, such as `co.op`.
_ENDS = (
    "jr sr bros blvd rd esq ct sq bldg inc cos? corp ltd plc assn univ intl bancorp tel est ext "
    "jan feb mar apr jun jul aug sept? oct nov dec mon tues? wed thu thurs fri "
    "ala ariz calif colo conn dak fla ga ind kans? ky md mich minn mo mont neb nev okla penn tenn va vt wisc? wyo "
    "etc al seq ph\\.d"
)
# Abbreviations that are common words when they are written small.
_NAMES = ("miss", "ark", "del", "ill", "la", "mass", "ore", "pa", "tex", "wash")
# Those that keep it before a number only.
_NUMBERED = "nos? prop figs? pp art ca"
# Words that begin a sentence: before them a letter's period ends one (`plan B. The`).
_OPENERS = (
    "A About After An As At But He Her Here If In It Many More Now One Other Our She So Some Such That The THE Their "
    "Then There These They This We What When While Yet You"
)

_MARKS = "".join(chr(code) for code in range(0x300, 0xE00) if unicodedata.category(chr(code)) in ("Mn", "Mc"))
_L = rf"(?:[^\W\d_]|[{_MARKS}])"  # a letter; accents of their own belong to the letter before
_A = rf"(?:[^\W_]|[{_MARKS}])"  # a letter or digit
_PART = rf"{_A}+(?:-{_L}+){{0,2}}"
_ACRONYM = rf"{_L}(?:\.{_L})+\."


def _words(text: str) -> str:
    return "|".join(text.split())


def _names() -> str:
    return "|".join(f"{name.capitalize()}|{name.upper()}" for name in _NAMES)


_APOSTROPHES = (
    r"'n'|'(?:em|til|cause|n)(?!\w)|'\d\ds?(?![\w\"])",  # 'n' 'em '90s
    rf"[dlo]'{_L}{_L}+|[cC]'(?:mon|est)|n'sync|(?:o'clock|ma'am|ne'er|e'er|o'er|you'all|ol'|d'y(?:e|a|ou))(?!\w)",
    rf"[dj]'(?={_L})|y'(?={_L})",  # French elision, y' all
    rf"'(?:[smd]|re|ve|ll)(?!{_L})|n't(?!{_L})",
)

_TOKENS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_L}{_A}*(?:[.!?]{_L}{_A}*)*",  # words; river.the without a space is one
        rf"\d{_A}*",
        r"[+-]?(?:\d*(?:[.:,]\d+)+|\d+)",  # 5 -5 .5 1,000 3:30
        rf"{_ACRONYM}|{_L}\.(?!\s+(?-i:{_words(_OPENERS)})(?:\s|$))",  # u.s. and plan b.
        rf"(?:{_words(_TITLES)})\.",
        rf"(?:{_words(_ENDS)})\.(?!{_L}{_L})",
        rf"(?-i:{_names()})\.(?!{_L}{_L})",
        rf"(?:{_words(_NUMBERED)})\.(?=\s?\d)",
        rf"{_A}+\.(?=\s*,)",
        rf"{_A}(?:{_A}|[.,])*(?:-(?:{_ACRONYM}|{_A}+))+",  # snow-covered
        rf"{_PART}(?:/{_PART}){{1,2}}",  # and/or 3/4
        rf"{_A}+(?:_{_A}+)+",
        r"(?-i:[A-Z]+(?:[+&][A-Z]+)+|[cC](?:\+\+|#)|[A-Z]*\$)",  # AT&T US$
        rf"#{_L}+(?:_{_L}+)*|##+|@(?:{_L}|_)(?:{_A}|_)*",
        rf"{_A}(?:{_A}|[._-])*@(?:{_A}|[.-])*{_A}",
        r"(?:https?://|www\.)[^\s\"<>|()]*[^\s\"<>|(){}.,;:!?'-]",
        r"</?[a-z][^<>]*>|<<|>>",
        r"[:;=][-'o]{0,2}(?:[()]|[dp](?!\w))|:[][{|]|-_-|\^_\^",  # smileys
        r"\.{3,}|-{2,}|\*+|_+|[!?]+|''|``|\S",
        *_APOSTROPHES,
    )
)
_BEFORE_NOT = re.compile(rf"{_L}{_A}*?(?=n't(?!{_L}))", re.IGNORECASE)  # ca n't
_BEFORE_IS = re.compile(rf"'t(?=(?:is|was)(?!{_A}))", re.IGNORECASE)  # 't is
_TWO_WORDS = {
    "cannot": ("can", "not"),
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "wanna": ("wan", "na"),
    "gimme": ("gim", "me"),
    "lemme": ("lem", "me"),
}
_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'"}
_PLAIN_WORD = re.compile(r"[A-Za-z]+(?!\S)")


def ptb_words(text: str) -> list[str]:
    """Words of a caption, in lower case and without punctuation. Any text will do; an empty one has no words."""
    for entity, mark in _ENTITIES.items():
        text = text.replace(entity, mark)
    if not text.isascii() or not text.isprintable():
        text = "".join(map(_plain, text))
    words: list[str] = []
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        token = _token(text, place)
        place += len(token)
        words += _written(token)
    return [word for word in words if word not in DROPPED]


def _token(text: str, place: int) -> str:
    """The longest token that begins at ``place``, save where a contraction cuts a word short."""
    # Most of a caption are words between spaces: no rule makes more of them.
    match = _PLAIN_WORD.match(text, place) or _BEFORE_NOT.match(text, place) or _BEFORE_IS.match(text, place)
    if match:
        return match[0]
    return max((match[0] for rule in _TOKENS if (match := rule.match(text, place))), key=len)


def _written(token: str) -> tuple[str, ...]:
    """A token as the evaluation writes it."""
    word = token.lower()
    if word in _TWO_WORDS:
        return _TWO_WORDS[word]
    if re.fullmatch(r"-{2,4}|\.{3,}", word):
        return ("--" if "-" in word else "...",)
    return (_WRITTEN.get(word) or word.replace("(", _WRITTEN["("]).replace(")", _WRITTEN[")"]),)


@lru_cache(maxsize=4096)
def _plain(mark: str) -> str:
    """The character as the rules know it: quotation marks made plain, what the evaluation cannot read a space."""
    if mark in _QUOTES or mark in _SIGNS:
        return (_QUOTES | _SIGNS)[mark]
    kind = unicodedata.category(mark)
    if mark > "\uffff" or kind in ("Nl", "Me") or kind.startswith(("C", "Z")):
        return " "
    if kind == "No":
        return f" {mark} "  # Python's regular expressions would take it for a letter
    foreign = mark > "\u00ff" and not "\u2100" <= mark <= "\u2bff"
    return " " if foreign and kind[0] in "PS" else mark
