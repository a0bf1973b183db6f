"""METEOR against pycocoevalcap's own wrapper; what happens where Java, its programs or their answers are missing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from coco_reference import labelled
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from real_captions import caption_groups

from yolor_mtl.records import UserError
from yolor_mtl.tasks.base import JavaScored
from yolor_mtl.tasks.captioning import java
from yolor_mtl.tasks.captioning.java import JavaError, java_programs, meteor, spice
from yolor_mtl.tasks.captioning.metric import CaptionMetric
from yolor_mtl.tasks.captioning.ptb import ptb_words

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="java is absent: METEOR is a Java program")

Stub = Callable[[str], None]


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stub:
    """Puts a Python program in the place of ``java``; it is called with Java's arguments."""

    def put(code: str) -> None:
        path = tmp_path / "java"
        path.write_text(f"#!{sys.executable}\n{code}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return put


@pytest.fixture
def parser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package whose SPICE has its parser."""
    library = tmp_path / "programs" / "spice" / "lib"
    library.mkdir(parents=True)
    for name in java._PARSER:
        (library / name).touch()
    monkeypatch.setattr(java, "java_programs", lambda: tmp_path / "programs")


@needs_java
def test_meteor_is_pycocoevalcap_s(shared: Path) -> None:
    from pycocoevalcap.meteor.meteor import Meteor

    groups = [[" ".join(ptb_words(text)) for text in group] for group in caption_groups(shared)]
    candidates, references = [group[0] for group in groups], [group[1:] for group in groups]
    candidates[3], candidates[5] = "", candidates[6]
    theirs = Meteor()
    try:
        expected, _ = theirs.compute_score(dict(enumerate(references)), {n: [c] for n, c in enumerate(candidates)})
    finally:
        for stream in (theirs.meteor_p.stdout, theirs.meteor_p.stderr):
            stream.close()
    assert meteor(candidates, references) == pytest.approx(expected, abs=1e-12)
    assert 0.1 < expected < 0.5


@needs_java
def test_the_metric_s_own_words(tmp_path: Path) -> None:
    """Punctuation and case are gone before METEOR sees them; an empty answer is one that is wrong."""
    metric = CaptionMetric()
    assert isinstance(metric, JavaScored)
    metric.check_java()
    assert metric.java_scores() == ({}, {})
    metric.update({"text": "A cat sits on the mat!"}, labelled(1, captions=("a cat sits on the mat", "a red cat")))
    scores, notes = metric.java_scores()
    assert scores == {"caption/METEOR": pytest.approx(1.0)}
    assert notes["caption/METEOR"].startswith("METEOR 1.5")
    assert notes["caption/SPICE"].startswith("left out: stanford-corenlp") or "caption/SPICE" in scores
    metric.update({"text": ""}, labelled(2, captions=("a dog",)))
    assert 0 < metric.java_scores()[0]["caption/METEOR"] < 1


def test_case_12_no_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"java=true: no java on the PATH; install one"):
        CaptionMetric().check_java()


SCORED = [
    ("A cat sits on the mat.", ["The cat sits on a red mat!", "A cat is sitting on the mat."]),
    ("Two dogs, running", ["Two dogs run in the park.", "Dogs running; in a park"]),
    ("a man rides a man rides", ["A man rides a horse.", "The man (in red) rides"]),
    ("", ["An empty street."]),
]
WORDS = [
    ("a cat sits on the mat", ["the cat sits on a red mat", "a cat is sitting on the mat"]),
    ("two dogs running", ["two dogs run in the park", "dogs running in a park"]),
    ("a man rides a man rides", ["a man rides a horse", "the man -lrb- in red -rrb- rides"]),
    ("", ["an empty street"]),
]
"""The same as Stanford's tokenizer gives it."""


def test_case_12_scores_without_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From texts to numbers, with no java on the PATH and no process started: the numbers of pycocoevalcap's scorers
    on words that were split by hand."""

    def refuse(*given: object, **more: object) -> None:
        raise AssertionError(f"a process is started: {given}")

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert shutil.which("java") is None
    metric = CaptionMetric()
    for number, (text, references) in enumerate(SCORED):
        metric.update({"text": text}, labelled(number, captions=tuple(references)))
    numbers = metric.compute()
    truth = {number: references for number, (_, references) in enumerate(WORDS)}
    answers = {number: [text] for number, (text, _) in enumerate(WORDS)}
    bleu, _ = Bleu(4).compute_score(truth, answers, verbose=0)
    expected = {f"caption/BLEU-{n}": score for n, score in enumerate(bleu, 1)}
    expected["caption/ROUGE-L"] = Rouge().compute_score(truth, answers)[0]
    expected["caption/CIDEr"] = Cider().compute_score(truth, answers)[0]
    assert numbers == pytest.approx(expected, abs=1e-6)
    assert all(0.1 < score < 5 for score in numbers.values())


def test_no_package(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    stub("")
    monkeypatch.setattr(java, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pycocoevalcap, which is not installed; pip install 'yolor-mtl\[java\]'"):
        java_programs()


def test_spice_without_its_parser_is_left_out_and_nothing_is_run(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub("raise SystemExit('run')")
    monkeypatch.setattr(java, "java_programs", lambda: tmp_path)
    with pytest.raises(JavaError, match=r"stanford-corenlp-3\.6\.0\.jar is not in .* fetches it once"):
        spice(["a cat"], [["a cat"]])


SPICE = """
import json, sys
entries = json.load(open(sys.argv[sys.argv.index("-out") - 1]))
scores = [len(entry["refs"]) / 10 for entry in entries]
json.dump(
    [{"image_id": e["image_id"], "scores": {"All": {"f": s}}} for e, s in zip(entries, scores)],
    open(sys.argv[sys.argv.index("-out") + 1], "w"),
)
"""


def test_spice_is_the_mean_f_of_its_result_file(stub: Stub, parser: None) -> None:
    stub(SPICE)
    assert spice(["a cat", "two dogs"], [["a cat", "the cat"], ["dogs", "a dog", "two dogs", "d"]]) == pytest.approx(
        0.3
    )


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("", "gave no number"),
        ("import sys; print('no model', file=sys.stderr); sys.exit(3)", "exit code 3: no model"),
        (SPICE.replace("len(entry", "float('nan') * len(entry"), "gave no number for some"),
        (SPICE.replace("for entry in entries", "for entry in entries[1:]"), "gave no number for some"),
        (SPICE.replace('"All"', '"Some"'), "gave no number: 'All'"),
    ],
)
def test_a_program_without_an_answer(stub: Stub, parser: None, code: str, reason: str) -> None:
    stub(code)
    with pytest.raises(JavaError, match=reason):
        spice(["a cat", "b"], [["a cat"], ["b"]])


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("print('1 2')", "answered 1 of 2"),
        ("import sys\nif 'EVAL' not in sys.stdin.read(): print('1\\n2')", "no number"),
        ("print('one\\ntwo')", "no number"),
    ],
)
def test_meteor_without_an_answer(stub: Stub, parser: None, tmp_path: Path, code: str, reason: str) -> None:
    (tmp_path / "programs" / "meteor").mkdir()
    stub(code)
    with pytest.raises(JavaError, match=reason):
        meteor(["a", "b"], [["a"], ["b"]])


def test_a_program_that_never_ends_is_ended(
    stub: Stub, parser: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    monkeypatch.setattr(java, "PATIENCE", 3.0)
    with pytest.raises(JavaError, match="not ended after"):
        spice(["a"], [["a"]])
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()


def test_what_fails_is_said_and_the_rest_is_scored(
    stub: Stub, parser: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(SPICE)
    metric = CaptionMetric()
    metric.update({"text": "a cat"}, labelled(1, captions=("a cat", "the cat")))
    scores, notes = metric.java_scores()
    assert scores == {"caption/SPICE": pytest.approx(0.2)}
    assert notes["caption/METEOR"].startswith("left out: ")
    json.dumps([scores, notes])
