from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from yolor_mtl.data.coco import open_coco, panoptic_map, semantic_map
from yolor_mtl.data.coco_stuff_classes import coco_stuff_classes
from yolor_mtl.data.scenes import write_scenes
from yolor_mtl.records import IGNORE, UserError

TRAIN, VAL = 150, 10
Json = dict[str, Any]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scenes") / "out"
    write_scenes(out, train=TRAIN, val=VAL, seed=0)
    return out


def load(root: Path, kind: str, split: str = "train") -> Json:
    content: Json = json.loads((root / "annotations" / f"{kind}_{split}.json").read_text())
    return content


def by_image(entries: list[Json]) -> dict[int, list[Json]]:
    grouped: dict[int, list[Json]] = defaultdict(list)
    for entry in entries:
        grouped[entry["image_id"]].append(entry)
    return grouped


def digests(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_gives_the_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    calls: list[int] = []
    write_scenes(tmp_path / "one", train=17, val=2, seed=3, workers=1)
    write_scenes(tmp_path / "two", train=17, val=2, seed=3, workers=2, progress=calls.append)
    write_scenes(tmp_path / "other", train=2, val=0, seed=4, workers=1)
    one = digests(tmp_path / "one")
    assert one == digests(tmp_path / "two")
    assert sum(calls) == 19
    other = digests(tmp_path / "other")
    assert "annotations/instances_val.json" not in other
    assert all(other[name] != one[name] for name in other)


def test_more_pictures_leave_the_earlier_ones_as_they_are(tmp_path: Path) -> None:
    write_scenes(tmp_path / "few", train=2, val=1, workers=1)
    write_scenes(tmp_path / "more", train=3, val=2, workers=1)
    few, more = digests(tmp_path / "few"), digests(tmp_path / "more")
    pictures = [name for name in few if not name.endswith(".json")]
    assert len(pictures) == 6
    assert all(few[name] == more[name] for name in pictures)


def test_the_reader_takes_it(scenes: Path) -> None:
    data = open_coco(scenes, ["train"], cache=False)
    assert len(data) == TRAIN
    assert data.counts["boxes"] == data.counts["masks"] == data.counts["panoptic"] == data.counts["captions"] == TRAIN
    assert data.counts["dropped_boxes"] == data.counts["empty"] == 0
    assert len(data.space.things) >= 12
    assert sum(not category.isthing for category in data.space.semantic) >= 8
    first = data.annotations(0)
    assert first.objects
    assert first.captions is not None
    assert len(set(first.captions)) == 5
    values = semantic_map(first, data.space)
    assert values[values != IGNORE].max() < len(data.space.semantic)
    assert open_coco(scenes, ["val"], cache=False).space == data.space


def test_classes_are_cocos_and_the_same_for_all_scenes(scenes: Path) -> None:
    panoptic, instances = load(scenes, "panoptic"), load(scenes, "instances")
    things = {category.id: category.name for category in coco_stuff_classes() if category.isthing}
    assert all(things[entry["id"]] == entry["name"] for entry in instances["categories"])
    assert [entry["id"] for entry in panoptic["categories"] if entry["isthing"]] == [
        entry["id"] for entry in instances["categories"]
    ]
    isthing = [entry["isthing"] for entry in panoptic["categories"]]
    assert isthing == sorted(isthing, reverse=True)
    everything = [load(scenes, "panoptic", split) for split in ("train", "val")]
    assert everything[0]["categories"] == everything[1]["categories"]
    used = {s["category_id"] for file in everything for entry in file["annotations"] for s in entry["segments_info"]}
    assert used <= {entry["id"] for entry in panoptic["categories"]}
    assert (len(instances["categories"]), len(panoptic["categories"])) == (26, 53)


def test_masks_boxes_and_panoptic_maps_agree(scenes: Path) -> None:
    instances, panoptic = load(scenes, "instances"), load(scenes, "panoptic")
    things = {entry["id"] for entry in instances["categories"]}
    objects = by_image(instances["annotations"])
    data = open_coco(scenes, ["train"], cache=False)
    for index, (image, entry) in enumerate(zip(panoptic["images"][:40], panoptic["annotations"], strict=False)):
        ids = panoptic_map(data.annotations(index))
        assert ids.shape == (image["height"], image["width"])
        with Image.open(scenes / "train" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"])
        areas = dict(zip(*(values.tolist() for values in np.unique(ids, return_counts=True)), strict=True))
        assert areas.pop(0, 0) < 60
        assert areas == {segment["id"]: segment["area"] for segment in entry["segments_info"]}
        segments = [s for s in entry["segments_info"] if s["category_id"] in things]
        stuff = [s["category_id"] for s in entry["segments_info"] if s["category_id"] not in things]
        assert len(stuff) == len(set(stuff))
        assert len(segments) == len(objects[image["id"]])
        for segment, thing in zip(segments, objects[image["id"]], strict=True):
            mask = coco_mask.decode(thing["segmentation"]).astype(bool)
            assert np.array_equal(mask, ids == segment["id"])
            assert (segment["category_id"], segment["area"]) == (thing["category_id"], thing["area"])
            assert thing["bbox"] == segment["bbox"] == coco_mask.toBbox(thing["segmentation"]).tolist()


def test_many_small_and_hidden_things_of_many_looks(scenes: Path) -> None:
    instances = load(scenes, "instances")
    sizes = {image["id"]: (image["height"], image["width"]) for image in instances["images"]}
    objects = instances["annotations"]
    assert len(objects) >= 5 * TRAIN
    small = [thing["area"] * (480 / max(sizes[thing["image_id"]])) ** 2 < 1024 for thing in objects]
    assert 0.25 <= np.mean(small) <= 0.65
    assert np.mean([thing["occluded"] >= 0.25 for thing in objects]) >= 0.2
    assert min(thing["area"] for thing in objects) >= 20
    assert max(thing["occluded"] for thing in objects) <= 0.85
    assert len(set(sizes.values())) >= 6
    assert len({thing["color"] for thing in objects}) >= 10
    assert len({image["setting"] for image in instances["images"]}) >= 10


WORDS = {
    "person": ("person", "people"),
    "sports ball": ("ball", "balls"),
    "bus": ("bus", "buses"),
    "bench": ("bench", "benches"),
    "sheep": ("sheep", "sheep"),
}
NUMBERS = {"a": 1, "an": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
VAGUE = ("several", "some", "many", "a group of", "a flock of", "a herd of")
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "black", "gray", "brown")


def phrases(kinds: set[str]) -> re.Pattern[str]:
    nouns = {noun for kind in kinds for noun in WORDS.get(kind, (kind, f"{kind}s"))}
    longest = "|".join(sorted(nouns, key=len, reverse=True))
    number = "|".join((*VAGUE, *sorted(NUMBERS, key=len, reverse=True)))
    color = "|".join(COLORS)
    return re.compile(rf"\b({number}) (?:({color}) )?({longest})\b(?! evening)(?: in ({color})\b)?")


def test_captions_count_and_colour_what_is_there(scenes: Path) -> None:
    instances, captions = load(scenes, "instances"), load(scenes, "captions")
    names = {entry["id"]: entry["name"] for entry in instances["categories"]}
    kind_of = {noun: kind for kind in names.values() for noun in WORDS.get(kind, (kind, f"{kind}s"))}
    pattern = phrases(set(names.values()))
    objects, texts = by_image(instances["annotations"]), by_image(captions["annotations"])
    for image in captions["images"]:
        things = [(names[thing["category_id"]], thing["color"]) for thing in objects[image["id"]]]
        for entry in texts[image["id"]]:
            found = pattern.findall(entry["caption"])
            assert found, entry["caption"]
            for number, color, noun, clothes in found:
                kind, shade = kind_of[noun], color or clothes
                there = sum(thing[0] == kind and (not shade or thing[1] == shade) for thing in things)
                expected = there >= 3 if number in VAGUE else there == NUMBERS[number]
                assert expected, (entry["caption"], number, shade, kind, there)
        number, color, noun, clothes = pattern.findall(texts[image["id"]][0]["caption"])[0]
        subject = {"kind": kind_of[noun], "color": color or clothes or None, "count": NUMBERS[number]}
        assert image["subject"] == subject


def test_captions_say_left_and_right_as_it_is(scenes: Path) -> None:
    instances, captions = load(scenes, "instances"), load(scenes, "captions")
    names = {entry["id"]: entry["name"] for entry in instances["categories"]}
    kind_of = {noun: kind for kind in names.values() for noun in WORDS.get(kind, (kind, f"{kind}s"))}
    noun = phrases(set(names.values())).pattern
    relation = re.compile(rf"(?:{noun})[a-z ]*? to the (left|right) of (?:{noun})")
    objects = by_image(instances["annotations"])
    checked = 0
    for entry in captions["annotations"]:
        for _, color, first, clothes, side, _, color2, second, clothes2 in relation.findall(entry["caption"]):
            centers = []
            for name, shade in ((first, color or clothes), (second, color2 or clothes2)):
                centers.append(
                    [
                        thing["bbox"][0] + thing["bbox"][2] / 2
                        for thing in objects[entry["image_id"]]
                        if names[thing["category_id"]] == kind_of[name] and (not shade or thing["color"] == shade)
                    ]
                )
            left, right = centers if side == "left" else centers[::-1]
            assert max(left) < min(right), entry["caption"]
            checked += 1
    assert checked >= 20


def test_captions_are_varied_and_of_few_words(scenes: Path) -> None:
    captions = load(scenes, "captions")
    grouped = by_image(captions["annotations"])
    assert all(len({entry["caption"] for entry in entries}) == 5 for entries in grouped.values())
    firsts = Counter(entries[0]["caption"] for entries in grouped.values())
    assert sum(count == 1 for count in firsts.values()) >= 0.8 * TRAIN
    words = {word for entry in captions["annotations"] for word in re.findall(r"[a-z]+", entry["caption"])}
    assert 100 <= len(words) <= 400
    assert all(re.fullmatch(r"[a-z ,]+", entry["caption"]) for entry in captions["annotations"])
    assert not any(re.search(r"\b(\w+) \1\b| ,|  ", entry["caption"]) for entry in captions["annotations"])


def test_skies_and_places_are_named_truly(scenes: Path) -> None:
    panoptic, captions = load(scenes, "panoptic"), load(scenes, "captions")
    names = {entry["id"]: entry["name"] for entry in panoptic["categories"]}
    here = {
        entry["image_id"]: {names[segment["category_id"]] for segment in entry["segments_info"]}
        for entry in panoptic["annotations"]
    }
    needed = {
        "sky": {"sky-other-merged"},
        "road": {"road"},
        "grass": {"grass-merged"},
        "sand": {"sand"},
        "snow": {"snow"},
        "sea": {"sea"},
        "table": {"table-merged"},
        "mountains": {"mountain-merged"},
        "houses": {"house"},
        "rug": {"rug-merged"},
        "trees": {"tree-merged"},
        "sidewalk": {"pavement-merged"},
    }
    for entry in captions["annotations"]:
        for word, stuff in needed.items():
            if re.search(rf"\b{word}\b", entry["caption"]):
                assert stuff <= here[entry["image_id"]], entry["caption"]


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"not empty.*another folder"):
        write_scenes(tmp_path, train=1, val=0, workers=1)
    (tmp_path / "scenes.json").write_text("[]")
    with pytest.raises(UserError, match="not written by this command"):
        write_scenes(tmp_path, train=1, val=0, workers=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "scenes.json"]
    with pytest.raises(UserError, match="is a file"):
        write_scenes(tmp_path / "notes.txt", train=1, val=0, workers=1)


def test_our_own_folder_is_written_again(tmp_path: Path) -> None:
    write_scenes(tmp_path, train=3, val=1, workers=1)
    write_scenes(tmp_path, train=2, val=0, seed=5, workers=1)
    write_scenes(tmp_path / "new", train=2, val=0, seed=5, workers=1)
    new = digests(tmp_path / "new")
    assert {name: digest for name, digest in digests(tmp_path).items() if not name.startswith("new/")} == new


def test_an_interrupted_run_is_no_data_set_and_can_be_repeated(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(_: int) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        write_scenes(tmp_path, train=2, val=1, workers=1, progress=stop)
    with pytest.raises(UserError):
        open_coco(tmp_path, ["train"], cache=False)
    write_scenes(tmp_path, train=2, val=1, workers=1)
    assert len(open_coco(tmp_path, ["train", "val"], cache=False)) == 3


@pytest.mark.parametrize(
    "numbers", [{"train": -1}, {"train": 0, "val": 0}, {"seed": -1}, {"train": 1, "val": 0, "workers": 0}]
)
def test_senseless_numbers_are_refused(tmp_path: Path, numbers: dict[str, int]) -> None:
    with pytest.raises(UserError, match="expected"):
        write_scenes(tmp_path / "out", **numbers)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
