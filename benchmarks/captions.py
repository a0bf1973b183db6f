"""What captions are worth: beside the best that a sentence can have, and beside one that is always the same.

    yolor-mtl val model=scenes-nano data=scenes/ out=runs/scenes-val
    .venv/bin/python benchmarks/captions.py data=scenes/ predictions=runs/scenes-val

- ceiling: CIDEr-D of the pictures' own captions, each in turn scored against the other four; their mean.
- constant: CIDEr-D of the one caption of the training pictures that does best for all pictures, among those whose words
  are the most frequent.
- first-named thing, for scenes: whether kind, colour and number of what a caption names first are true of the labels.
  "several" and the like stand for three or more; where no colour is named, the things must not be of one colour that
  captions name.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from yolor_mtl.config import fill, parse_assignments
from yolor_mtl.data.scenes.grammar import COUNTS
from yolor_mtl.data.scenes.things import THINGS, Kind
from yolor_mtl.tasks.captioning.ptb import ptb_words
from yolor_mtl.tasks.captioning.scores import cider_d

CONSTANTS = 40
"""How many captions are tried as the constant one; each takes a scoring."""

SEVERAL = 3


@dataclass
class BenchConfig:
    """Keys of this benchmark."""

    data: str = "scenes"
    split: str = "val"
    train: str = "train"
    predictions: str = ""


@dataclass(frozen=True)
class Named:
    """What a caption names first; ``number`` 0 means several, ``color`` is empty where none is named."""

    kind: Kind
    color: str
    number: int


def first_named(caption: str, colors: set[str]) -> Named | None:
    """The first thing with a noun that scenes have."""
    nouns = {noun: kind for kind in THINGS for noun in (kind.noun, kind.plural)}
    pattern = "|".join(sorted(map(re.escape, nouns), key=len, reverse=True))
    found = re.search(rf"\b({pattern})\b(?! (?:{pattern})\b)", caption)  # an orange dog is no fruit
    if found is None:
        return None
    noun = found[1]
    before, after = caption[: found.start()].split(), caption[found.end() :].replace(",", "").split()
    color = before.pop() if before and before[-1] in colors else ""
    if not color and after[:1] == ["in"] and after[1:2] and after[1] in colors:
        color = after[1]
    word = before[-1] if before else ""
    kind = nouns[noun]
    number = COUNTS.index(word) if word in COUNTS[2:] else 1 if noun == kind.noun and word in ("a", "an", "one") else 0
    return Named(kind, color, number)


def judge(named: Named | None, things: list[dict[str, str]]) -> tuple[bool, bool, bool]:
    """Whether kind, colour and number are right; ``things`` have ``kind`` and ``color``."""
    if named is None:
        return False, False, False
    same = [thing for thing in things if thing["kind"] == named.kind.name]
    colors = {thing["color"] for thing in same}
    if named.color:
        right, meant = named.color in colors, [thing for thing in same if thing["color"] == named.color]
    else:
        right, meant = not (named.kind.colored and len(colors) == 1), same
    number = len(meant) == named.number if named.number else len(meant) >= SEVERAL
    return bool(same), bool(same) and right, bool(same) and number


def read(path: Path) -> dict[str, list[str]]:
    """Image id -> captions."""
    captions: dict[str, list[str]] = defaultdict(list)
    content = json.loads(path.read_text())
    for row in content["annotations"] if isinstance(content, dict) else content:
        captions[str(row["image_id"])].append(row["caption"])
    return captions


def best_constant(train: dict[str, list[str]], references: list[list[list[str]]]) -> tuple[float, str]:
    """The caption whose words are the most frequent wins only by its score: a number of them are tried."""
    texts = [text for group in train.values() for text in group]
    words = {text: ptb_words(text) for text in set(texts)}
    pairs = Counter(pair for text in texts for pair in set(zip(words[text], words[text][1:], strict=False)))

    def common(text: str) -> float:
        own = set(zip(words[text], words[text][1:], strict=False))
        return float(np.mean([pairs[pair] for pair in own])) if own else 0.0

    tried = sorted(words, key=common, reverse=True)[:CONSTANTS]
    return max((cider_d([words[text]] * len(references), references), text) for text in tried)


def first_named_right(instances: dict[str, Any], said: dict[str, str], images: list[str]) -> dict[str, float]:
    """Share of the captions of which kind, colour, number, and all three are true."""
    names = {row["id"]: row["name"] for row in instances["categories"]}
    things: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in instances["annotations"]:
        things[str(row["image_id"])].append({"kind": names[row["category_id"]], "color": str(row["color"])})
    colors = {row["color"] for row in instances["annotations"] if row["color"]}
    judged = np.array([judge(first_named(said[image], colors), things[image]) for image in images])
    shares = dict(zip(("kind", "colour", "number"), judged.mean(0).tolist(), strict=True))
    return {**shares, "all three": float(judged.all(1).mean())}


def main() -> None:
    config = fill(BenchConfig, parse_assignments(sys.argv[1:]))
    root = Path(config.data)
    instances = json.loads((root / "annotations" / f"instances_{config.split}.json").read_text())
    truth = read(root / "annotations" / f"captions_{config.split}.json")
    said = {image: texts[0] for image, texts in read(Path(config.predictions) / "captions.json").items()}
    images = [image for image in truth if image in said]
    references = [[ptb_words(text) for text in truth[image]] for image in images]
    score = cider_d([ptb_words(said[image]) for image in images], references)
    turns = range(min(len(group) for group in references))
    ceiling = float(
        np.mean(
            [cider_d([g[turn] for g in references], [g[:turn] + g[turn + 1 :] for g in references]) for turn in turns]
        )
    )
    constant, text = best_constant(read(root / "annotations" / f"captions_{config.train}.json"), references)
    table = Table("", "value", title=f"captions of {len(images)} pictures")
    table.add_row("CIDEr-D", f"{score:.3f}")
    table.add_row("over the ceiling", f"{score / ceiling:.3f} (of {ceiling:.3f})")
    table.add_row(f"over a constant: {text!r}", f"{score / constant:.1f} (of {constant:.3f})")
    # The scenes' own files say what colour a thing has.
    if all("color" in row for row in instances["annotations"]):
        for name, share in first_named_right(instances, said, images).items():
            table.add_row(f"first-named thing: {name}", f"{share:.3f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
