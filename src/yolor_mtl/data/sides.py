"""Left and right in English texts."""

from __future__ import annotations

import re

_SIDES = re.compile(r"\b(?:left|right)(?=\b|most\b)", re.IGNORECASE)
_PLACE_BEFORE = re.compile(r"\b(?:the|to|on|at|its|his|her|their|far|upper|lower|top|bottom|facing)\s+$", re.IGNORECASE)
_PLACE_AFTER = re.compile(r"-|most\b|\s+(?:of|side|hand|corner|lane|edge|half|end|turn)\b", re.IGNORECASE)
_EXACTLY = re.compile(
    r"\s+(?:above|after|against|along|angles?|at|away|before|behind|below|beneath|beside|between|by|down|here|in|inside|"
    r"into|near|next|now|off|on|out|outside|over|past|there|through|under|underneath|up)\b",
    re.IGNORECASE,
)
_PARTED = re.compile(r"\b(?:has|have|had|having|is|are|was|were|be|been|being|just|got|get|gets)\s+$", re.IGNORECASE)
_REMAINING = re.compile(r"\s+(?:alone|behind|by|in|on|open|out|over|overs|to|unattended)\b", re.IGNORECASE)


def mirrored(text: str) -> str:
    """The text of a picture for its mirror image: "left" and "right" change places where they are sides.

    They are none in "right next to a dog" and in "a bag was left behind". English only: in other languages, and in what
    is written in the picture itself, nothing is found.
    """

    def other(found: re.Match[str]) -> str:
        word, before, after = found[0], text[: found.start()], text[found.end() :]
        if not (_PLACE_BEFORE.search(before) or _PLACE_AFTER.match(after)):
            exactly = word.lower() == "right" and _EXACTLY.match(after)
            if exactly or (word.lower() == "left" and (_PARTED.search(before) or _REMAINING.match(after))):
                return word
        swapped = "right" if word.lower() == "left" else "left"
        return swapped.upper() if word.isupper() else swapped.capitalize() if word[0].isupper() else swapped

    return _SIDES.sub(other, text)
