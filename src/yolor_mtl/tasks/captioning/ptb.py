"""Penn Treebank words of a caption, as COCO's caption evaluation takes them, without Java.

COCO's evaluation sends captions through Stanford's PTBTokenizer (lower case) and drops punctuation. This module
does the same by rules of its own, found by watching what that tokenizer answers. Words are the longest match at
each place; what the evaluation drops is not told apart (a quotation mark is a quotation mark, left or right).

Known to differ: telephone numbers with spaces stay separate numbers; letters that Unicode took in after version 6
stay letters (Java's tokenizer drops them). ``tests/tasks/captioning/test_ptb.py`` holds the comparison.
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

_L = r"[^\W\d_]"  # a letter
_A = r"[^\W_]"  # a letter or digit
_PART = rf"{_A}+(?:-{_L}{_A}*){{0,2}}"
_ACRONYM = rf"{_L}(?:\.{_L})*\."


def _words(text: str) -> str:
    return "|".join(text.split())


def _names() -> str:
    return "|".join(f"{name.capitalize()}|{name.upper()}" for name in _NAMES)


_APOSTROPHES = (
    r"'n'|'?n'(?=\s)|'(?:em|til|cause|n)(?!\w)|'\d\ds?(?!\w)",  # 'n' 'em '90s
    rf"[dlo]'{_L}{_L}+|[cC]'(?:mon|est)|(?:o'clock|ma'am|ne'er|e'er|o'er|you'all|ol'|d'y(?:e|a|ou))(?!\w)",
    rf"[dj]'(?={_L})|y'(?={_L})",  # French elision, y' all
    rf"'(?:[smd]|re|ve|ll)(?!{_L})|n't(?!{_L})",
)

_TOKENS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_L}{_A}*(?:[.!?]{_L}{_A}*)*",  # words; river.the without a space is one
        rf"\d{_A}*",
        r"[+-]?(?:\d+|\d*(?:[.:,]\d+)+)",  # 5 -5 .5 1,000 3:30
        rf"{_L}(?:\.{_L})*\.",  # u.s.
        rf"(?:{_words(_TITLES)})\.",
        rf"(?:{_words(_ENDS)})\.(?!{_L}{_L})",
        rf"(?:{_words(_NUMBERED)})\.(?=\s?\d)",
        rf"{_A}+\.(?=\s*,)",
        rf"{_A}[{_A[1:-1]}]*",
        *_APOSTROPHES,
    )
)
