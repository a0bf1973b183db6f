"""The report in a real browser: whole, quiet, and no wider than the window."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from yolor_mtl.ops.details import Details as What
from yolor_mtl.ops.details import Lines
from yolor_mtl.report.page import Answer, Example, Gallery, Report, write_report

CHROMIUM = shutil.which("chromium")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width", [1240, 390])
def test_report(tmp_path: Path, width: int) -> None:
    picture = Image.new("RGB", (640, 480), "teal")
    example = Example("a.jpg", [Answer("the model", picture, "a dog")], picture, ["a dog on the grass"])
    report = Report(
        "nano on scenes",
        scores={"box/AP": 0.5},
        shown=["box/AP"],
        losses=[{"step": step, "seconds": step, "lr": 0.1, "detection": 9 - step} for step in range(5)],
        details={"detection": What(lines=[Lines("boxes", ("recall", "precision"), {"IoU 0.50": [(0, 1), (1, 0)]})])},
        galleries=[Gallery("Pictures", [example])],
    )
    write_report(report, tmp_path / "report.html")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": 800})
        told: list[str] = []
        page.on("console", lambda message: told.append(message.text))
        page.on("request", lambda request: told.append(request.url) if request.url.startswith("http") else None)
        page.goto((tmp_path / "report.html").as_uri())
        page.mouse.wheel(0, 5000)
        sizes = page.evaluate("[...document.images].map(image => image.naturalWidth)")
        wide = page.evaluate("document.documentElement.scrollWidth")
        text = page.inner_text("body")
        browser.close()
    assert told == []
    assert sizes == [640, 640]
    assert wide <= width
    assert "0.500" in text
    assert "a dog on the grass" in text
