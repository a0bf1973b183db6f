"""The page in a real browser: a picture dropped, layers switched, words pointed at, by mouse and by keyboard."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import servers
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, expect, sync_playwright
from pycocotools import mask as coco_mask

from yolor_mtl import YOLORMTL
from yolor_mtl.inference.model import load_weights
from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.ops import draw
from yolor_mtl.serve.examples import draw_examples

CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]


@pytest.fixture(scope="module")
def shown(quick: None) -> Iterator[servers.Running]:
    """The weights that the package has, and two examples."""
    predictor = Predictor(load_weights("scenes-nano", []), "cpu", "false")
    with servers.serving(predictor, tuple(draw_examples()[:2]), max_bytes=400_000, timeout=120) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture(params=[1240, 390], ids=["desktop", "phone"])
def page(browser: Browser, shown: servers.Running, request: Any) -> Iterator[Page]:
    """The page at its beginning; at its end nothing was complained of, nothing was asked of others, and it fits."""
    width = getattr(request, "param", 1240)
    scheme = "dark" if width == 390 else "light"
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    found = context.new_page()
    found.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    told: list[str] = []
    here = f"http://127.0.0.1:{shown.port}/"
    known = (here, "data:", "blob:")
    found.on("pageerror", lambda error: told.append(str(error)))
    found.on("console", lambda said: told.append(said.text) if complaint(said) else None)
    found.on("request", lambda asked: told.append(asked.url) if not asked.url.startswith(known) else None)
    found.goto(here)
    found.wait_for_selector("#examples button")
    yield found
    assert told == []
    assert found.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def complaint(said: ConsoleMessage) -> bool:
    """Errors, but for those of answers that tests make on purpose."""
    return said.type == "error" and "Failed to load resource" not in said.text


def drop(page: Page, file: bytes, name: str = "photo.jpg", kind: str = "image/jpeg") -> None:
    """Drops a file on the page, as a hand would."""
    data = page.evaluate_handle(
        """([text, name, type]) => {
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], name, { type }));
            return data;
        }""",
        [base64.b64encode(file).decode(), name, kind],
    )
    page.dispatch_event("main", "dragenter", {"dataTransfer": data})
    assert page.is_visible("#veil")
    page.dispatch_event("main", "drop", {"dataTransfer": data})
    assert page.is_hidden("#veil")


def answered(page: Page) -> None:
    page.wait_for_selector("#right:not([hidden])")
    page.wait_for_selector("#working", state="hidden")


def layer(page: Page) -> np.ndarray:
    """(H, W, 4) of what lies over the picture, as it is on the screen's own dots."""
    width, height, text = page.evaluate(
        """() => {
            const canvas = document.getElementById("over");
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let text = "";
            for (let at = 0; at < data.length; at += 8192) text += String.fromCharCode(...data.subarray(at, at + 8192));
            return [canvas.width, canvas.height, btoa(text)];
        }"""
    )
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)


def switch(page: Page, *names: str) -> None:
    """Switches on these layers and no other."""
    for name in ("boxes", "masks", "semantic", "panoptic"):
        page.set_checked(f"#layer-{name}", name in names, force=True)


@pytest.fixture(scope="module")
def photograph() -> bytes:
    """A real photograph where there is one beside the checkout, else a drawn scene."""
    found = sorted((Path(__file__).resolve().parents[2].parent / "shared" / "coco_sample" / "images").rglob("*.jpg"))
    small = [path for path in found if path.stat().st_size < 400_000]
    return small[0].read_bytes() if small else draw_examples()[0].jpeg


def test_drop_a_photograph_and_switch_layers(page: Page, shown: servers.Running, photograph: bytes) -> None:
    drop(page, photograph)
    answered(page)
    said = shown.predict(photograph, conf=0.25).json()
    assert page.inner_text("#caption") == said["caption"]["text"]
    assert page.inner_text("#count-boxes") == str(len(said["detections"]))
    assert page.locator("#objects li").count() == len(said["detections"])
    assert said["caption"]["text"] in page.inner_text("#said")
    assert f"{said['width']} \u00d7 {said['height']}" in page.inner_text("#facts")
    shape = page.evaluate(
        "(() => { const { width, height } = over.getBoundingClientRect(); return width / height; })()"
    )
    assert shape == pytest.approx(said["width"] / said["height"], rel=0.02)
    switch(page)
    assert not layer(page).any()
    switch(page, "semantic")
    assert (layer(page)[..., 3] > 0).all()
    switch(page, "panoptic")
    covered = sum(segment["area"] for segment in said["panoptic"]["segments"]) / (said["width"] * said["height"])
    assert (layer(page)[..., 3] > 0).mean() == pytest.approx(covered, abs=0.03)
    # A network that knows drawn scenes is sure of little in a photograph.
    page.click("text=Options")
    page.fill("#conf", "0.05")
    answered(page)
    number = len(shown.predict(photograph, conf=0.05).json()["detections"])
    assert number > 0
    expect(page.locator("#objects li")).to_have_count(number)
    for name in ("masks", "boxes"):
        switch(page, name)
        assert layer(page).any()
        switch(page)
        assert not layer(page).any()
    words = page.locator("#caption button")
    assert words.count() == len(said["caption"]["text"].split())
    words.last.hover()
    assert layer(page)[..., 3].any()


def test_an_example_looks_as_its_answer_says(page: Page, shown: servers.Running) -> None:
    """Colours of the semantic map and places of masks and boxes, pixel by pixel against the answer."""
    page.click("#examples li:nth-child(1) button")
    answered(page)
    said = shown.predict(shown.client.get("/examples/0.jpg").content, conf=0.25).json()
    detections = said["detections"]
    assert len(detections) >= 2
    switch(page, "masks")
    seen = layer(page)[..., 3] > 0
    union = np.any([coco_mask.decode(entry["mask"]) for entry in detections], axis=0)
    rows = (np.arange(seen.shape[0]) + 0.5) * union.shape[0] / seen.shape[0]
    columns = (np.arange(seen.shape[1]) + 0.5) * union.shape[1] / seen.shape[1]
    expected = union[rows.astype(int)][:, columns.astype(int)]
    assert (seen & expected).sum() / (seen | expected).sum() > 0.93
    page.click("text=Options")
    page.fill("#strength", "1")
    switch(page, "semantic")
    shares = said["semantic"]["classes"]
    largest = max(shares, key=lambda index: shares[index])
    tinted = (np.abs(layer(page)[..., :3].astype(int) - draw.colour(int(largest))).max(axis=-1) < 3).mean()
    assert tinted == pytest.approx(shares[largest], abs=0.03)
    switch(page, "boxes")
    left, _, right, bottom = detections[0]["xyxy"]
    drawn = layer(page)
    down, across = drawn.shape[0] / said["height"], drawn.shape[1] / said["width"]
    middle = round((left + right) / 2 * across)
    assert tuple(drawn[min(drawn.shape[0] - 2, round(bottom * down) - 2), middle, :3]) in {
        draw.colour(index) for index in range(len(detections))
    }
    assert page.locator("#parts li").count() == len(shares)


def with_words(route: Route) -> None:
    """The real answer, whose words say that the first is about the upper left and the last about the first object."""
    response = route.fetch(timeout=120_000)
    answer = response.json()
    words = answer["caption"]["text"].split()
    grid = [[1.0 if row < 2 and column < 2 else 0.0 for column in range(8)] for row in range(6)]
    answer["caption"]["words"] = [
        {"word": word, "heat": grid, "box": 0 if number == len(words) - 1 else None}
        for number, word in enumerate(words)
    ]
    route.fulfill(response=response, json=answer)


def test_words_of_the_model(page: Page) -> None:
    """What the model itself says of its words darkens the picture, and differs from word to word."""
    page.click("#examples li:nth-child(1) button")
    answered(page)
    words = page.locator("#caption button")
    assert words.count() > 1
    switch(page)
    seen = []
    for number in (0, words.count() - 1):
        words.nth(number).hover()
        seen.append(layer(page)[..., 3])
        assert seen[-1].any()
    assert not np.array_equal(*seen)


def test_point_at_a_word(page: Page) -> None:
    page.route("**/predict?*", with_words)
    page.click("#examples li:nth-child(1) button")
    answered(page)
    words = page.locator("#caption button")
    assert words.count() == len(page.inner_text("#caption").split())
    assert page.is_visible("#hint")
    switch(page)
    words.first.hover()
    dark = layer(page)[..., 3]
    height, width = dark.shape
    assert dark[height // 8, width // 16] < 40
    assert dark[height * 3 // 4, width * 3 // 4] > 150
    page.mouse.move(1, 1)
    assert not layer(page).any()
    words.last.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == words.last.inner_text()
    assert draw.colour(0) in {tuple(pixel) for pixel in layer(page)[..., :3].reshape(-1, 3)}
    page.keyboard.press("Enter")
    assert words.last.get_attribute("aria-pressed") == "true"
    page.evaluate("document.activeElement.blur()")
    assert layer(page).any()
    page.keyboard.press("Escape")
    assert not layer(page).any()


def test_everything_by_keyboard(page: Page) -> None:
    """Each control is reached in the order of the page, has a name, and does its work without a mouse."""
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    names = []
    while (name := tabbed(page)) and "Example" not in name:
        names.append(name)
    assert names == ["Choose a picture"]
    page.keyboard.press("Enter")
    answered(page)
    page.evaluate("document.getElementById('layer-boxes').focus()")
    before = layer(page)
    page.keyboard.press("Space")
    assert (layer(page) != before).any()
    names = ["Boxes", *(tabbed(page) for _ in range(4))]
    assert [name.split("\n")[0].split(" ")[0] for name in names] == [
        "Boxes",
        "Masks",
        "Semantic",
        "Panoptic",
        "Another",
    ]
    # The words of the caption come between the layers and the list of objects.
    for _ in range(page.locator("#caption button").count()):
        tabbed(page)
        assert page.evaluate("document.activeElement.closest('#caption') !== null")
    tabbed(page)
    assert page.evaluate("document.activeElement.closest('#objects') !== null")
    assert (layer(page)[..., 3] > 150).any()
    unnamed = page.evaluate(
        """[...document.querySelectorAll("button, input:not([aria-hidden]), select, summary, a")].filter((control) =>
            control.checkVisibility() && !(control.innerText || control.labels?.[0]?.innerText || control.ariaLabel ||
            control.querySelector("img")?.alt)).map((control) => control.outerHTML)"""
    )
    assert unnamed == []


def tabbed(page: Page) -> str:
    page.keyboard.press("Tab")
    return page.evaluate(
        """(() => { const at = document.activeElement;
            return (at.innerText || at.labels?.[0]?.innerText || at.querySelector?.("img")?.alt || "").trim(); })()"""
    )


def problem(page: Page, title: str, text: str = "") -> None:
    """Waits for what the page says to be this; the words stay where they are when they are hidden again."""
    expect(page.locator("#problem-title")).to_contain_text(title)
    expect(page.locator("#problem-text")).to_contain_text(text)


def test_errors_in_words(page: Page, photograph: bytes) -> None:
    drop(page, b"no picture at all", "notes.txt", "text/plain")
    problem(page, "no picture that can be read", "not a picture in a known format")
    assert page.is_visible("#problem")
    drop(page, bytes(500_000), "large.jpg")
    problem(page, "too large", "limit is 400 kB")
    assert page.is_visible("#problem")
    tries = []

    def full(route: Route) -> None:
        tries.append(1)
        if len(tries) > 1:
            route.continue_()
        else:
            body = json.dumps({"error": "busy", "message": "too many <b>pictures</b>"})
            route.fulfill(status=429, headers={"retry-after": "1"}, content_type="application/json", body=body)

    page.route("**/predict?*", full)
    drop(page, photograph)
    problem(page, "Many are asking", "Too many <b>pictures</b>. Trying again by itself in 1 s.")
    answered(page)
    assert page.is_hidden("#problem")
    assert len(tries) == 2
    page.unroute("**/predict?*")
    page.route("**/predict?*", lambda route: route.abort())
    drop(page, photograph)
    problem(page, "cannot be reached")
    assert page.is_visible("#problem")


def test_a_problem_goes_with_its_picture(page: Page, photograph: bytes) -> None:
    """What was wrong with one file is not said of the next one, not even while that one is opened."""
    drop(page, bytes(500_000), "large.jpg")
    problem(page, "too large")
    page.evaluate("void (HTMLImageElement.prototype.decode = () => new Promise(() => {}))")
    drop(page, photograph)
    assert page.is_hidden("#problem")


def test_names_are_text(page: Page) -> None:
    """Whatever stands in an answer, none of it becomes markup."""
    evil = "<img src=x onerror=alert(1)>"

    def hostile(route: Route) -> None:
        response = route.fetch(timeout=120_000)
        answer = response.json()
        for entry in answer["detections"]:
            entry["class"] = evil
        answer["caption"] = {"text": f"{evil} word", "score": 1, "words": [{"word": evil, "heat": [[1]], "box": 99}]}
        answer["semantic"]["names"] = dict.fromkeys(answer["semantic"]["names"], evil)
        route.fulfill(response=response, json=answer)

    page.route("**/predict?*", hostile)
    before = page.locator("img").count()
    page.click("#examples li:nth-child(2) button")
    answered(page)
    page.locator("#caption button").first.hover()
    assert page.inner_text("#caption") == f"{evil} word"
    assert page.locator("img").count() == before


@pytest.mark.parametrize("page", [1240], indirect=True)
def test_own_arithmetic_equals_the_packages(page: Page, shown: servers.Running) -> None:
    """Run lengths against pycocotools', colours against the report's."""
    rng = np.random.default_rng(0)
    masks = [np.asfortranarray(rng.random((h, w)) < share, np.uint8) for h, w, share in SHAPES]
    masks += [np.asfortranarray(np.add.outer(np.arange(700), np.arange(900)) % 1400 < 650, np.uint8)]
    coded = [coco_mask.encode(mask) for mask in masks]
    told = page.evaluate(
        """async (masks) => {
            const { paintMask } = await import("/static/rle.js");
            const { colour } = await import("/static/colours.js");
            const sums = masks.map((mask) => {
                const labels = new Uint16Array(mask.size[0] * mask.size[1]);
                paintMask(labels, mask.size[1], mask.size[0], mask, 1);
                const rows = [];
                const [height, width] = mask.size;
                for (let y = 0; y < height; y++) rows.push(labels.subarray(y * width, (y + 1) * width).join(""));
                return rows;
            });
            return [sums, Array.from({ length: 300 }, (_, index) => colour(index))];
        }""",
        [{"size": entry["size"], "counts": entry["counts"].decode()} for entry in coded],
    )
    for mask, rows in zip(masks, told[0], strict=True):
        assert np.array_equal(mask, [[int(digit) for digit in row] for row in rows])
    assert [tuple(entry) for entry in told[1]] == [draw.colour(index) for index in range(300)]


SHAPES = ((1, 1, 1.0), (1, 9, 0.5), (9, 1, 0.5), (40, 30, 0.5), (33, 47, 0.02), (50, 50, 0.0), (50, 50, 1.0))


def test_it_is_the_same_model(shown: servers.Running) -> None:
    """The page's server answers as the package does."""
    file = shown.client.get("/examples/0.jpg").content
    result = YOLORMTL("scenes-nano", device="cpu", half=False).predict(file)[0]
    assert shown.predict(file).json()["caption"]["text"] == result.caption
