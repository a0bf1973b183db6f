"""PTB words against the Java tokenizer of COCO's caption evaluation."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
from real_captions import captions

from yolor_mtl.tasks.captioning.ptb import DROPPED, ptb_words

Reference = Callable[[list[str]], list[list[str]]]

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="java is absent: the reference tokenizer needs it")


@pytest.fixture
def java(monkeypatch: pytest.MonkeyPatch) -> Reference:
    """Texts to words by the reference tokenizer; it takes its encoding from the machine if nobody names one."""
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Dfile.encoding=UTF-8")

    def words(texts: list[str]) -> list[list[str]]:
        answer = PTBTokenizer().tokenize({n: [{"caption": text}] for n, text in enumerate(texts)})
        assert len(answer) == len(texts)
        return [answer[n][0].split() for n in range(len(texts))]

    return words


def differing(texts: list[str], expected: list[list[str]]) -> list[tuple]:
    return [(t, ptb_words(t), words) for t, words in zip(texts, expected, strict=True) if ptb_words(t) != words]


@needs_java
@pytest.mark.parametrize("folder", ["coco_sample", "coco_real"])
def test_real_captions(shared: Path, java: Reference, folder: str) -> None:
    texts = captions(shared, folder)
    assert len(texts) > 700
    assert differing(texts, java(texts)) == []


HARD = """\
can't cannot won't isn't it's he'd they're we've i'll gonna gotta wanna lemme gimme
It\u2019s a cat\u2019s \u201ctoy\u201d don\u2019t
'tis 'twas 'em 'til the '90s 1980's 1980s rock 'n' roll rock'n'roll
o'clock ma'am y'all c'mon d'oh o'neil's
Mr. Smith and Dr. Jones on St. Mark's Ave. today
in the U.S. of A. by the U.S.A., e.g. a T.V. set etc. and
plan B. A dog
plan b. the dog
no. 5 is not no. the man
river.the end..
wait... what?! ok!! huh?? a
a -- b --- c - d a--b , ; : . end
a man/woman with and/or black-and-white t-shirts
x (left) [right] {mid} y
1,000 -5 +5 .5 3/4 1/2/2012 3:30pm 6:45 50% $5.00 US$5 \u00a35 \u20ac5
a 2x4 4x4s 5ft. 3-d 20-year-old 2nd-floor
AT&T a&b h&m c++ R&B &amp; more
#1 #tag @user a@b.com http://www.x.com/a?b www.google.com, google.com
smile :) ;-) :( :D
* ** _ __ a_b ~ = + ^ | \\ / & \u00b0 \u00a9 \u00ae
caf\u00e9 na\u00efve e\u0301clair \u00fcber
\u00bd cup, \u00bc mile, 5\u00a2
em\u2014dash en\u2013dash ellipsis\u2026 end
emoji \U0001f600 here \u2615
\u65e5\u672c and \u043f\u0440
<b>bold</b> a<b a < b""".splitlines()


@needs_java
def test_hard_texts(java: Reference) -> None:
    assert differing(HARD, java(HARD)) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A man isn't riding a horse.", "a man is n't riding a horse"),
        ("The cat's toy, (red)!", "the cat 's toy -lrb- red -rrb-"),
        ("Two\nlines\tand  spaces ", "two lines and spaces"),
        ("", ""),
        (" \n ", ""),
        ("...", ""),
        ("\U0001f600", ""),
    ],
)
def test_words_known_without_java(text: str, words: str) -> None:
    assert ptb_words(text) == words.split()


@given(st.text())
def test_any_text_gives_words(text: str) -> None:
    for word in ptb_words(text):
        assert word not in DROPPED
        assert word
        assert not any(mark in word for mark in " \n\t") or word.startswith("<")


@given(st.text(alphabet="AbC .,'-/\"!1:$&#@_()nT", max_size=30))
def test_words_are_in_lower_case_and_space_around_a_text_does_not_matter(text: str) -> None:
    words = ptb_words(text)
    assert words == [word.lower() for word in words] == ptb_words(f"  {text}\n")
