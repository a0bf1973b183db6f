"""The report: everything in it, nothing executed, nothing loaded from elsewhere."""

import warnings
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yolor_mtl.ops.details import Details, Matrix
from yolor_mtl.report.curves import curve, smoothed
from yolor_mtl.report.page import Answer, Example, Gallery, Report, write_report

HOSTILE = '<script>alert("1")</script>'
SCORES = {"box/AP": 0.1234, "box/AP50": -1.0, "panoptic/PQ": 0.25, "fitness": 0.5}


class Page(HTMLParser):
    """Tags, addresses and words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href", "xlink:href", "data")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture
def page(tmp_path: Path) -> Page:
    picture = Image.new("RGB", (8, 6), "red")
    report = Report(
        title=f"run {HOSTILE}",
        facts=[("data", HOSTILE)],
        scores=SCORES,
        shown=["box/AP", "absent/key"],
        headlines=["box/AP"],
        protocol={"box": HOSTILE},
        losses=[{"step": step, "seconds": step, "lr": 0.1, f"loss{HOSTILE}": 1.0 / step} for step in (1, 2, 3)],
        metrics=[{"epoch": 1, "step": 1, "box/AP": 0.1}, {"epoch": 2, "step": 2, "box/AP": 0.2}],
        galleries=[
            Gallery(
                f"Pictures {HOSTILE}",
                [
                    Example(
                        f"{HOSTILE}.jpg",
                        [Answer(f"me {HOSTILE}", picture, f"a dog {HOSTILE}"), Answer("other", picture)],
                        picture,
                        [f"a cat {HOSTILE}"],
                        note=HOSTILE,
                    ),
                    Example("plain.jpg", [Answer("me", picture)]),
                ],
            )
        ],
        failures={f"{HOSTILE}.jpg": f"broken {HOSTILE}"},
    )
    write_report(report, tmp_path / "report.html")
    return Page((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_nothing_hostile_becomes_a_tag(page: Page) -> None:
    assert "script" not in page.tags
    assert page.words.count(HOSTILE) >= 7
    assert page.open == []


def test_all_scores_and_pictures(page: Page) -> None:
    for text in (
        "0.1234",
        "\N{EN DASH}",
        "0.2500",
        "0.5000",
        "0.123",
        "AP50",
        "PQ",
        "fitness",
        "a dog",
        "a cat",
        "plain.jpg",
    ):
        assert text in page.words
    assert page.tags.count("img") == 4
    assert page.tags.count("svg") == 3


def test_it_needs_no_other_file(page: Page) -> None:
    assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in page.addresses)
    assert not {"link", "iframe", "object", "script"} & set(page.tags)


def test_an_empty_report(tmp_path: Path) -> None:
    write_report(Report("nothing"), tmp_path / "new" / "report.html")
    assert "nothing" in Page((tmp_path / "new" / "report.html").read_text()).words


def test_smoothed_forgets_its_start() -> None:
    assert smoothed([2.0, 2.0, 2.0]) == pytest.approx([2, 2, 2])
    assert smoothed([1.0, 3.0], share=0.5) == pytest.approx([1, (0.25 * 1 + 0.5 * 3) / 0.75])
    assert smoothed([]) == []


def test_curves_leave_gaps_and_repeat() -> None:
    rows = [{"step": 1.0, "a": 1.0}, {"step": 2.0, "a": float("nan")}, {"step": 3.0, "b": 2.0}]
    svg = curve(rows, ["a", "b", "absent"], "losses & more", smooth=True)
    assert svg.startswith("<svg")
    assert svg.rstrip().endswith("</svg>")
    assert "&amp;" in svg
    assert curve([], ["a"], "empty").startswith("<svg")


def test_a_matrix_without_classes_is_left_out(tmp_path: Path) -> None:
    nothing = Matrix("nothing", [], ["no class"], np.zeros((0, 1)))
    some = Matrix("some", ["a", "background"], ["a", "missed"], np.eye(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        write_report(Report("r", details={"x": Details(matrices=[nothing, some])}), tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.tags.count("svg") == 1


def test_who_answers(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 6))
    answers = [Answer("the answers", picture), Answer("scenes-nano", picture)]
    report = Report(
        "r",
        galleries=[Gallery("g", [Example("a.jpg", answers)])],
        scores={"box/AP": 0.25},
        shown=["box/AP"],
        beside={"scenes-nano": {"box/AP": 0.5625}},
    )
    write_report(report, tmp_path / "report.html")
    words = Page((tmp_path / "report.html").read_text(encoding="utf-8")).words
    assert all(said in words for said in ("the answers", "scenes-nano: 0.562"))
    assert "the model" not in words
