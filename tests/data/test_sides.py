"""Left and right in texts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolor_mtl.data.sides import mirrored


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a bench to the left of a person", "a bench to the right of a person"),
        ("A dog is left of the cat", "A dog is right of the cat"),
        ("the leftmost car", "the rightmost car"),
        ("a left-handed batter holds it in his right hand", "a right-handed batter holds it in his left hand"),
        ("Left: a cup. RIGHT: a spoon", "Right: a cup. LEFT: a spoon"),
        ("a man on the right in a suit", "a man on the left in a suit"),
        ("a bus turning left", "a bus turning right"),
        ("two signs, one left and one right", "two signs, one right and one left"),
        # No sides.
        ("a cat right next to a dog", "a cat right next to a dog"),
        ("a plane right after take-off", "a plane right after take-off"),
        ("a bag was left behind", "a bag was left behind"),
        ("there is one slice left over", "there is one slice left over"),
        (
            "bright lights and a copyright sign, all right angles",
            "bright lights and a copyright sign, all right angles",
        ),
        ("a bike left on a street on the left", "a bike left on a street on the right"),
        ("", ""),
    ],
)
def test_sides_change_places(text: str, wanted: str) -> None:
    assert mirrored(text) == wanted


SIDES = st.lists(
    st.sampled_from(["to the left of", "to the right of", "a dog", "on the right", "the leftmost", "a cup"])
)


@settings(max_examples=50, deadline=None)
@given(SIDES)
def test_twice_is_the_picture_itself(parts: list[str]) -> None:
    text = " ".join(parts)
    assert mirrored(mirrored(text)) == text


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_other_texts_stay(text: str) -> None:
    if "left" not in text.lower() and "right" not in text.lower():
        assert mirrored(text) == text
