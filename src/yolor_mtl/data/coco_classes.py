"""The class lists of a data set: the union over all its splits, so that training and validation agree."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from yolor_mtl.data import array_cache
from yolor_mtl.data.coco_index import cache_entry, content_key, unique_ids
from yolor_mtl.data.coco_json import (
    ClassesFile,
    JsonCategory,
    JsonPanopticCategory,
    PanopticClassesFile,
    UsedClassesFile,
    read_json,
)
from yolor_mtl.data.coco_stuff_classes import STUFF_OTHER, coco_stuff_classes
from yolor_mtl.data.locate import Layout, SplitFiles
from yolor_mtl.records import IGNORE, Category, LabelSpace, UserError

ClassLists = Mapping[str, Sequence[Category]]


def label_space(layout: Layout, *, cache: bool) -> LabelSpace:
    """Thing and semantic classes over all splits of a data set, each sorted by id; without a vocabulary.

    Raises:
        UserError: splits disagree, a YAML file claims other names, or there are too many semantic classes.
    """
    lists = {name: _read_classes(files, cache=cache) for name, files in layout.splits.items()}
    things = _union(layout, lists, "instances")
    if layout.names:
        _compare_names(layout, things)
    semantic, protocol = _semantic(layout, lists, things)
    if len(semantic) > IGNORE:
        raise UserError(f"{layout.source}: {len(semantic)} semantic classes; at most {IGNORE} fit a map")
    return LabelSpace(things, semantic, protocol)


def _read_classes(files: SplitFiles, *, cache: bool) -> ClassLists:
    """Class lists by kind of file; cached, since they are needed even of splits that nobody asked for."""
    paths = {kind: path for kind, path in files.annotation_files().items() if kind != "captions"}
    if not cache:
        return _parse_classes(paths, roboflow=files.roboflow)
    entry = cache_entry(f"classes-2{'-roboflow' if files.roboflow else ''}", paths)
    key = content_key(paths)
    if stored := array_cache.load(entry, key):
        try:
            return msgspec.json.decode(stored["lists"].tobytes(), type=dict[str, list[Category]])
        except (KeyError, ValueError):
            pass  # Damaged: read again.
    lists = _parse_classes(paths, roboflow=files.roboflow)
    array_cache.store(entry, key, {"lists": np.frombuffer(msgspec.json.encode(lists), np.uint8)})
    return lists


def _parse_classes(paths: Mapping[str, Path], *, roboflow: bool) -> ClassLists:
    lists: dict[str, list[Category]] = {}
    if path := paths.get("instances"):
        lists["instances"] = [_category(entry) for entry in _instance_classes(path, roboflow)]
    if path := paths.get("panoptic"):
        panoptic = read_json(path, PanopticClassesFile).categories
        unique_ids(path, panoptic)
        lists["panoptic"] = [_category(entry, bool(entry.isthing)) for entry in panoptic]
    if path := paths.get("stuff"):
        stuff = read_json(path, ClassesFile).categories
        unique_ids(path, stuff)
        lists["stuff"] = [_category(entry, isthing=False) for entry in stuff]
    return lists


def _category(entry: JsonCategory | JsonPanopticCategory, isthing: bool = True) -> Category:
    return Category(entry.id, entry.name, isthing, entry.supercategory or "")


def _instance_classes(path: Path, roboflow: bool) -> list[JsonCategory]:
    if not roboflow:
        categories = read_json(path, ClassesFile).categories
        unique_ids(path, categories)
        return categories
    file = read_json(path, UsedClassesFile)
    unique_ids(path, file.categories)
    return real_classes(file.categories, {entry.category_id for entry in file.annotations})


def real_classes(categories: Sequence[JsonCategory], used: Collection[int]) -> list[JsonCategory]:
    """The classes of a file of Roboflow's.

    Roboflow lists the project's name as a first, unused category "none" above the others; often it has the name of a
    real class.

    Args:
        categories: the file's list.
        used: category ids that occur.
    """
    groups = {entry.supercategory for entry in categories}
    return [
        entry for entry in categories if entry.id in used or entry.supercategory != "none" or entry.name not in groups
    ]


def _union(layout: Layout, lists: Mapping[str, ClassLists], kind: str) -> tuple[Category, ...]:
    by_id: dict[int, tuple[Category, Path]] = {}
    by_name: dict[str, tuple[Category, Path]] = {}
    for split, files in layout.splits.items():
        path = files.annotation_files().get(kind)
        for category in lists[split].get(kind, ()) if path else ():
            assert path is not None
            for known, other_path in (
                by_id.setdefault(category.id, (category, path)),
                by_name.setdefault(category.name, (category, path)),
            ):
                if known != category:
                    raise UserError(
                        f"{path}: category {category.id} {category.name!r} contradicts {known.id} {known.name!r} "
                        f"in {other_path}; the splits of a data set need one list of classes"
                    )
    return _sorted(category for category, _ in by_id.values())


def _semantic(
    layout: Layout, lists: Mapping[str, ClassLists], things: tuple[Category, ...]
) -> tuple[tuple[Category, ...], str]:
    """Semantic classes and the name of their protocol."""
    panoptic = _union(layout, lists, "panoptic")
    if panoptic:
        return panoptic, f"panoptic-{len(panoptic)}"
    if not any(files.stuff_maps for files in layout.splits.values()):
        return (), "none"
    known = coco_stuff_classes()
    stuff = tuple(entry for entry in _union(layout, lists, "stuff") if entry != STUFF_OTHER)
    if set(things + stuff) <= set(known):
        return known, "coco-stuff-171"
    if not stuff:
        raise UserError(
            f"{layout.source}: stuffthingmaps/ holds pixel maps, but the categories are not COCO's and no "
            "annotations/stuff_<split>.json names the classes of the pixels; add that file"
        )
    _check_names(layout, things, stuff)
    return _sorted(things + stuff), f"stuff-{len(things + stuff)}"


def _check_names(layout: Layout, things: Sequence[Category], stuff: Sequence[Category]) -> None:
    ids, names = {entry.id for entry in things}, {entry.name for entry in things}
    for entry in stuff:
        if entry.id in ids or entry.name in names:
            raise UserError(
                f"{layout.source}: stuff category {entry.id} {entry.name!r} shares its id or name with a thing; "
                "pixel maps need one id and one name for each class"
            )


def _sorted(categories: Iterable[Category]) -> tuple[Category, ...]:
    return tuple(sorted(categories, key=lambda category: category.id))


def differing_names(layout: Layout, things: Sequence[Category]) -> list[str]:
    """What the names that a YAML file claims and the classes of the annotation files disagree about; often nothing."""
    by_place = dict(enumerate(category.name for category in things))
    by_id = {category.id: category.name for category in things}
    if dict(layout.names) in (by_place, by_id):
        return []
    return sorted(set(layout.names.values()) ^ set(by_id.values())) or ["their order"]


def _compare_names(layout: Layout, things: Sequence[Category]) -> None:
    if differing := differing_names(layout, things):
        raise UserError(
            f"{layout.source}: names: disagree with the categories of the annotation files about "
            f"{', '.join(differing[:5])}; remove names: or correct it"
        )
