"""Finds the splits of a data set and the files that belong to each, without opening an annotation file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from yolor_mtl.config import fill, nearest, read_yaml
from yolor_mtl.data.coco_json import read_json
from yolor_mtl.data.shards.listing import Listing
from yolor_mtl.data.shards.place import ShardKeys, ShardPlace, shards_of
from yolor_mtl.data.yolo_txt import KEYS, PICTURES, YoloSplit, categories, find_places, find_split, read_classes
from yolor_mtl.records import Category, UserError

_TASK_FILES = ("instances", "captions", "panoptic", "stuff")
_ROBOFLOW_FILE = "_annotations.coco.json"
_YAML_FILES = ("data.yaml", "data.yml")
_LAYOUTS = (
    "expected annotations/{instances,captions,panoptic}_<split>.json with images in <split>/, images/<split>/ or "
    "shards/<split>/, "
    "or {train,valid,test}/_annotations.coco.json beside its images, "
    "or data.yaml with train, val and names, and labels as text files"
)


@dataclass(frozen=True)
class SplitFiles:
    """The files of one split; ``None`` where there is none.

    Attributes:
        name: name of the split.
        images: folder that the files' ``file_name`` is relative to.
        instances: boxes and masks.
        captions: captions.
        panoptic: panoptic segments.
        panoptic_maps: folder of the panoptic PNGs.
        stuff: COCO's ``stuff_<split>.json``; read for its images and class names only.
        stuff_maps: folder of COCO-Stuff pixel maps.
        roboflow: Roboflow's layout, whose class lists may name a group beside its classes.
        yolo: the pictures and classes of a split whose labels are text files; it has no annotation files then.
        shards: where pictures and maps lie that are packed; ``images`` and the folders of maps are virtual then.
    """

    name: str
    images: Path
    instances: Path | None = None
    captions: Path | None = None
    panoptic: Path | None = None
    panoptic_maps: Path | None = None
    stuff: Path | None = None
    stuff_maps: Path | None = None
    roboflow: bool = False
    yolo: YoloSplit | None = None
    shards: ShardPlace | None = None

    def annotation_files(self) -> dict[str, Path]:
        """Annotation files by kind, in the order in which image lists are united."""
        files = {
            "instances": self.instances,
            "panoptic": self.panoptic,
            "captions": self.captions,
            "stuff": self.stuff,
        }
        return {kind: path for kind, path in files.items() if path is not None}


@dataclass(frozen=True)
class Layout:
    """Splits by name, and the class names that a YAML file claims for them.

    Attributes:
        source: what ``data=`` named.
        splits: split name -> files.
        names: claimed class index or category id -> name; empty where nothing is claimed.
        things: the classes where labels are text files, which name none themselves.
        root: the folder of the data set.
    """

    source: Path
    splits: Mapping[str, SplitFiles]
    names: Mapping[int, str] = field(default_factory=dict)
    things: tuple[Category, ...] = ()
    root: Path = Path()


MAPS = ("auto", "panoptic", "stuff")
"""Where the classes of pixels come from: the panoptic labels where there are some, or one of the two."""


def choose_maps(layout: Layout, maps: str) -> Layout:
    """The same data set as if it had one of the two kinds of pixel labels only.

    Args:
        layout: the splits.
        maps: one of :data:`MAPS`.

    Raises:
        UserError: another word, or no split has labels of that kind.
    """
    if maps not in MAPS:
        raise UserError(f"maps={maps!r}{nearest(maps, MAPS)}; there are: {', '.join(MAPS)}")
    if maps == "auto":
        return layout
    kinds = {"panoptic": ("panoptic", "panoptic_maps"), "stuff": ("stuff", "stuff_maps")}
    place = {"panoptic": "annotations/panoptic_<split>.json", "stuff": "stuffthingmaps/<split>/"}
    if not any(getattr(files, kinds[maps][-1]) for files in layout.splits.values()):
        raise UserError(f"maps={maps}: {layout.source} has no such labels; put them into {place[maps]}")
    others: dict[str, Any] = dict.fromkeys(name for kind in kinds if kind != maps for name in kinds[kind])
    return replace(layout, splits={name: replace(files, **others) for name, files in layout.splits.items()})


def find_splits(root: Path) -> dict[str, SplitFiles]:
    """Splits of a data set, by name, sorted.

    Args:
        root: a folder in COCO's or Roboflow's layout, a YAML file with ``path train val test names``, or a folder
            that holds ``data.yaml``.

    Raises:
        UserError: nothing there, or no split in it.
    """
    return dict(find_layout(root).splits)


def resolve_split(available: Iterable[str], asked: str) -> str:
    """Name of the split that is meant: the exact name, else for plain ``train`` or ``val`` the only one that begins so.

    Raises:
        UserError: no such split, or several begin so.
    """
    names = sorted(available)
    if asked in names:
        return asked
    begins = [name for name in names if name.startswith(asked)] if asked in ("train", "val") else []
    if len(begins) == 1:
        return begins[0]
    if begins:
        raise UserError(f"split {asked!r} could be any of {', '.join(begins)}; name one of them, or several as a list")
    raise UserError(f"no split {asked!r}; there is {', '.join(names) or 'none'}")


def find_layout(root: Path) -> Layout:
    """Like :func:`find_splits`, with the names that a YAML file claims.

    Raises:
        UserError: nothing there, or no split in it.
    """
    root = Path(root)
    if root.is_file() and root.suffix.lower() in (".yaml", ".yml"):
        return _from_yaml(root)
    if not root.is_dir():
        raise UserError(f"data={root}: no such folder or YAML file")
    if splits := _json_splits(root):
        return Layout(root, splits, root=root)
    described = next((path for name in _YAML_FILES if (path := root / name).is_file()), None)
    if described is None:
        raise UserError(_nothing_found(root))
    return _from_yaml(described)


def find_file(path: Path) -> Layout:
    """One annotation file as a data set of one split.

    The name says what it holds (``captions_val.json``), else its content does; its pictures are where those of the
    split that it is named after are, else beside it.

    Raises:
        UserError: it cannot be read, or is none of the kinds.
    """
    if path.name == _ROBOFLOW_FILE:
        files = SplitFiles(path.parent.name, path.parent, instances=path, roboflow=True)
        return Layout(path, {files.name: files}, root=path.parent)
    kind, _, name = path.stem.partition("_")
    if kind not in _TASK_FILES or not name:
        kind, name = _kind_inside(path), path.stem
    root = path.parent.parent if path.parent.name == "annotations" else path.parent
    # instances_masks_val2017.json is about a part of val2017.
    tries = [name.split("_", cut)[-1] for cut in range(name.count("_") + 1)]
    found = next((folder for split in tries if (folder := _image_folder(root, split))), None)
    images = found or _shared_folder(root) or path.parent
    maps = _first_folder(path.parent / f"panoptic_{name}", root / f"panoptic_{name}") if kind == "panoptic" else None
    only: dict[str, Any] = {kind: path}
    files = replace(SplitFiles(name, images, panoptic_maps=maps), **only)
    return Layout(path, {name: files}, root=root)


def _kind_inside(path: Path) -> str:
    """What an annotation file of any name holds, by the keys of its first annotation."""
    first = read_json(path, _FirstKeys).annotations[:1]
    keys = set(first[0]) if first else {"bbox"}
    for key, kind in (("segments_info", "panoptic"), ("caption", "captions"), ("bbox", "instances")):
        if key in keys:
            return kind
    raise UserError(f"{path}: annotations have neither bbox, caption nor segments_info; is this a COCO file?")


class _FirstKeys(msgspec.Struct):
    """Any annotation file, for the keys of its annotations."""

    annotations: list[dict[str, msgspec.Raw]]


def _json_splits(root: Path) -> dict[str, SplitFiles]:
    return dict(sorted((_coco_splits(root) | _roboflow_splits(root)).items()))


def _roboflow_splits(root: Path) -> dict[str, SplitFiles]:
    folders = (path for path in root.iterdir() if (path / _ROBOFLOW_FILE).is_file())
    return {path.name: SplitFiles(path.name, path, instances=path / _ROBOFLOW_FILE, roboflow=True) for path in folders}


def _coco_splits(root: Path) -> dict[str, SplitFiles]:
    files = _task_files(root)
    folders = {split: folder for split in files if (folder := _image_folder(root, split))}
    if not folders and (shared := _shared_folder(root)):
        # One folder of images for all splits. With folders per split this would make a split of
        # files such as instances_masks_val2017.json, which describe a part of another split.
        folders = dict.fromkeys(files, shared)
    packed = {split: place for split in files if (place := shards_of(root, split))}
    return {split: _packed(split, files[split], place) for split, place in packed.items()} | {
        split: SplitFiles(
            split,
            folder,
            instances=files[split].get("instances"),
            captions=files[split].get("captions"),
            panoptic=files[split].get("panoptic"),
            stuff=files[split].get("stuff"),
            panoptic_maps=_first_folder(root / "annotations" / f"panoptic_{split}", root / f"panoptic_{split}"),
            stuff_maps=_first_folder(root / "stuffthingmaps" / split, root / "annotations" / "stuffthingmaps" / split),
        )
        for split, folder in folders.items()
        if split not in packed
    }


def _packed(split: str, files: Mapping[str, Path], place: ShardPlace) -> SplitFiles:
    return SplitFiles(
        split,
        place.folder_of("images"),
        instances=files.get("instances"),
        captions=files.get("captions"),
        panoptic=files.get("panoptic"),
        stuff=files.get("stuff"),
        panoptic_maps=place.folder_of("panoptic") if "panoptic" in files else None,
        stuff_maps=place.folder_of("stuff") if "stuff" in Listing(place.folder).kinds else None,
        shards=place,
    )


def _task_files(root: Path) -> dict[str, dict[str, Path]]:
    """Split name -> kind -> annotation file, whether or not the split has images."""
    found: dict[str, dict[str, Path]] = {}
    for folder in (root / "annotations", root):
        for path in sorted(folder.glob("*.json")):
            kind, _, split = path.stem.partition("_")
            if kind in _TASK_FILES and split:
                found.setdefault(split, {}).setdefault(kind, path)
    return found


def _image_folder(root: Path, split: str) -> Path | None:
    return _first_folder(root / "images" / split, root / split)


def _shared_folder(root: Path) -> Path | None:
    return next((path for path in (root / "images", root, root / "annotations") if _holds_pictures(path)), None)


def _holds_pictures(folder: Path) -> bool:
    return folder.is_dir() and any(path.suffix.lower() in PICTURES for path in folder.iterdir())


def _first_folder(*folders: Path) -> Path | None:
    return next((folder for folder in folders if folder.is_dir()), None)


def _nothing_found(root: Path) -> str:
    if files := _task_files(root):
        split, kinds = next(iter(sorted(files.items())))
        path = next(iter(kinds.values()))
        return f"{path}: no images for split {split!r}; put them in {root / split} or {root / 'images' / split}"
    return f"data={root}: no annotations found; {_LAYOUTS}"


def _from_yaml(path: Path) -> Layout:
    content = read_yaml(path)
    folder = content.get("path", ".")
    if not isinstance(folder, str):
        raise UserError(f"{path}: path must be a folder, got {folder!r}")
    root = path.parent / Path(folder).expanduser()
    if not root.is_dir():
        raise UserError(f"{path}: path: no such folder: {root}")
    found = _json_splits(root)
    entries = {key: content[key] for key in KEYS if content.get(key) is not None}
    if not entries:
        raise UserError(f"{path}: names no split; add train:, val: or test: with {', '.join(found) or 'a folder'}")
    splits = {key: split for key, entry in entries.items() if (split := _named_split(entry, root, found))}
    names = _claimed_names(path, content.get("names"))
    if len(splits) == len(entries):
        return Layout(path, _addressed(path, content.get("shards"), splits), names, root=root)
    # Text labels are taken for all splits or for none: two formats would be two lists of classes. Many files name
    # test pictures that nobody has; that must not keep the others from being trained on.
    text = {key: entry for key, entry in entries.items() if key != "test" or find_places(root, entry)} or entries
    if not found or (text.keys() - splits.keys() and all(find_places(root, entry) for entry in text.values())):
        return _text_layout(path, content, text, root, names)
    key = next(key for key in entries if key not in splits)
    raise UserError(_no_split(path, key, entries[key], root, found))


def _addressed(path: Path, told: object, splits: Mapping[str, SplitFiles]) -> Mapping[str, SplitFiles]:
    """The splits, with where the YAML file says that their shards are fetched from."""
    if told is None:
        return splits
    if not isinstance(told, dict):
        raise UserError(f"{path}: shards: expected the keys url, cache and cache_gb")
    keys = fill(ShardKeys, told, where=f"{path}: shards")
    if not keys.url:
        raise UserError(f"{path}: shards: url is missing, the address of the folder that holds SPLIT/000000.tar")
    return {name: _fetched(files, keys) if files.shards else files for name, files in splits.items()}


def _fetched(files: SplitFiles, keys: ShardKeys) -> SplitFiles:
    assert files.shards is not None
    url = f"{keys.url.rstrip('/')}/{files.name}"
    return replace(files, shards=replace(files.shards, url=url, cache=keys.cache, cache_gb=keys.cache_gb))


def _text_layout(
    path: Path, content: Mapping[str, Any], entries: Mapping[str, Any], root: Path, names: Mapping[int, str]
) -> Layout:
    if "kpt_shape" in content:
        raise UserError(f"{path}: kpt_shape: labels with key points are not read; export them as boxes or polygons")
    classes = read_classes(path, names, content.get("nc"))
    splits = {key: find_split(path, key, entry, root, classes) for key, entry in entries.items()}
    return Layout(
        path,
        {key: SplitFiles(key, split.images, yolo=split) for key, split in splits.items()},
        things=categories(classes),
        root=root,
    )


def _named_split(entry: object, root: Path, found: Mapping[str, SplitFiles]) -> SplitFiles | None:
    if not isinstance(entry, str):
        return None
    folder = (root / entry).resolve()
    at_folder = (split for split in found.values() if split.images.resolve() == folder)
    return found.get(entry) or next(at_folder, None)


def _no_split(path: Path, key: str, entry: object, root: Path, found: Mapping[str, SplitFiles]) -> str:
    if not isinstance(entry, str):
        return f"{path}: {key}: expected one split, got {entry!r}; name several with {key}=[a,b] and a folder"
    return f"{path}: {key}: {entry!r} is no split of {root}; there is {', '.join(found)}"


def _claimed_names(path: Path, names: object) -> dict[int, str]:
    if names is None:
        return {}
    pairs = names.items() if isinstance(names, dict) else enumerate(names) if isinstance(names, list) else None
    if pairs is None:
        raise UserError(f"{path}: names: expected a list or a mapping from number to name")
    claimed = dict(pairs)
    if not all(isinstance(key, int) and isinstance(name, str) for key, name in claimed.items()):
        raise UserError(f"{path}: names: expected a list of texts or a mapping from number to text")
    return claimed
