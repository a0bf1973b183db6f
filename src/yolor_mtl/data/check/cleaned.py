"""A cleaned copy of a data set with annotation files: what is sound stays as it stands, to the byte where it can."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from yolor_mtl.data.check.cleaned_maps import map_size, write_panoptic, write_turned
from yolor_mtl.data.check.entries import Entry, Ids, Listed, changed, decoded, encode, listed, whole
from yolor_mtl.data.check.mended import mended_object
from yolor_mtl.data.check.plan import DROPPED, FilePlan, Plan
from yolor_mtl.data.check.reading import decode_loose
from yolor_mtl.data.check.turned import already_upright, turned_object
from yolor_mtl.data.coco import map_name
from yolor_mtl.data.locate import SplitFiles

Put = Callable[[Path, Path], None]
"""Puts a file of the data set (first) into the copy (second)."""


@dataclass
class Copied:
    """What became of a split.

    Attributes:
        names: pictures that stay, by name.
        kept: labels that stand as they stood.
        mended: labels that were changed.
        left_out: labels that are not in the copy.
    """

    names: dict[str, None] = field(default_factory=dict)
    kept: int = 0
    mended: int = 0
    left_out: int = 0


@dataclass
class SplitCopy:
    """Copies the annotation files and label maps of one split.

    Args:
        files: the split.
        plan: what happens to the data set.
        orientations: image id -> EXIF orientation of pictures whose labels lie on their side.
        classes: by kind of file: name -> id, of the files before; grows.
        place: from a file of the data set to its place in the copy.
        put: puts one there.
    """

    files: SplitFiles
    plan: Plan
    orientations: Mapping[int, int]
    classes: dict[str, dict[str, int]]
    place: Callable[[Path], Path]
    put: Put
    copied: Copied = field(default_factory=Copied)
    _first: dict[str, int] = field(default_factory=dict)
    _sizes: dict[int, tuple[int, int]] = field(default_factory=dict)
    _upright: set[int] = field(default_factory=set)

    def write(self) -> Copied:
        """All annotation files, then maps and pictures."""
        for kind, path in self.files.annotation_files().items():
            if not self.plan.files[str(path)].left_out:
                self._file(kind, path)
        self._stuff()
        for name in self.copied.names:
            self.put(self.files.images / name, self.place(self.files.images / name))
        return self.copied

    def _file(self, kind: str, path: Path) -> None:
        plan = self.plan.files[str(path)]
        content = decode_loose(path, dict[str, msgspec.Raw])
        lists: dict[str, list[msgspec.Raw]] = {
            key: msgspec.json.decode(content[key], type=list[msgspec.Raw])
            for key in ("images", "annotations", "categories")
            if key in content
        }
        images, renamed = self._images(lists["images"], plan)
        categories, renumbered = self._categories(kind, lists.get("categories", []), plan)
        labels = {
            "instances": self._objects,
            "panoptic": self._panoptic,
            "captions": self._plain,
            "stuff": self._plain,
        }[kind](lists.get("annotations", []), plan, renamed, renumbered)
        said = dict(content)
        said["images"] = listed(images)
        if "categories" in lists:
            said["categories"] = listed(categories)
        if "annotations" in lists:
            said["annotations"] = listed(labels)
        target = self.place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(encode(said))

    def _images(self, raw: list[msgspec.Raw], plan: FilePlan) -> tuple[list[msgspec.Raw], dict[int, int]]:
        """The image list, and image id -> the id that it gets; ids that are not in it leave the file."""
        marks = plan.entries["images"]
        gone = self.plan.gone[self.files.name] | plan.images
        entries = [(place, decoded(text, Listed), text) for place, text in enumerate(raw)]
        named: dict[int, set[tuple[str, int, int]]] = {}
        for _, entry, _ in entries:
            if entry is not None and entry.id in plan.duplicated:
                named.setdefault(entry.id, set()).add((entry.file_name, entry.height, entry.width))
        # Which of two different pictures the labels mean, nobody knows.
        gone = gone | {number for number, facts in named.items() if len(facts) > 1}
        kept: dict[int, msgspec.Raw] = {}
        renamed: dict[int, int] = {}
        for place, entry, text in entries:
            if entry is None or not DROPPED.isdisjoint(marks[place]) or entry.id in gone:
                continue
            number = self._first.setdefault(entry.file_name, entry.id)
            number = number if entry.id in self.plan.twice[self.files.name] else entry.id
            renamed[entry.id] = number
            self._sizes[entry.id] = (entry.height, entry.width)
            self.copied.names[entry.file_name] = None
            changes: Entry = {"id": number} if number != entry.id else {}
            if entry.id in self.orientations:
                changes |= {"width": entry.height, "height": entry.width}
            kept.setdefault(number, changed(text, changes))
        return list(kept.values()), renamed

    def _categories(
        self, kind: str, raw: list[msgspec.Raw], plan: FilePlan
    ) -> tuple[list[msgspec.Raw], dict[int, int]]:
        """The class list, and category id -> the id that it gets; ids that are not in it leave the file."""
        entries: list[Entry] = [decoded(text, dict[str, Any]) or {} for text in raw]
        names: dict[int, set[str]] = {}
        for entry in entries:
            if isinstance(entry.get("id"), int) and isinstance(entry.get("name"), str):
                names.setdefault(entry["id"], set()).add(entry["name"])
        known = self.classes.setdefault(kind, {})
        kept: dict[int, Entry] = {}
        renumbered: dict[int, int] = {}
        for place, entry in enumerate(entries):
            number, name = entry.get("id"), entry.get("name")
            unsound = not DROPPED.isdisjoint(plan.entries["categories"][place])
            if not isinstance(number, int) or not isinstance(name, str) or unsound or len(names[number]) > 1:
                continue
            renumbered[number] = self._class_id(known, number, name) if self.plan.renumber else number
            kept.setdefault(renumbered[number], entry | {"id": renumbered[number]})
        return [msgspec.Raw(encode(entry)) for entry in kept.values()], renumbered

    @staticmethod
    def _class_id(known: dict[str, int], number: int, name: str) -> int:
        """The id that a class's name has, else its own, else a free one."""
        if name not in known:
            known[name] = number if number not in known.values() else max(known.values()) + 1
        return known[name]

    def _kept(
        self,
        raw: list[msgspec.Raw],
        plan: FilePlan,
        renamed: Mapping[int, int],
        dropped: Set[str] = DROPPED,
    ) -> Iterator[tuple[int, msgspec.Raw, Ids]]:
        """Position, text and ids of labels that stay or are to be mended."""
        marks = plan.entries["annotations"]
        for place, text in enumerate(raw):
            ids = decoded(text, Ids)
            if ids is None or ids.image_id not in renamed or not dropped.isdisjoint(marks.get(place, ())):
                self.copied.left_out += 1
            else:
                yield place, text, ids

    def _plain(
        self, raw: list[msgspec.Raw], plan: FilePlan, renamed: Mapping[int, int], renumbered: Mapping[int, int]
    ) -> list[msgspec.Raw]:
        """Captions, and whatever a stuff file says."""
        labels: list[msgspec.Raw] = []
        for _, text, ids in self._kept(raw, plan, renamed):
            assert ids.image_id is not None
            number = renamed[ids.image_id]
            self._note(changed=number != ids.image_id)
            labels.append(changed(text, {"image_id": number} if number != ids.image_id else {}))
        return labels

    def _objects(
        self, raw: list[msgspec.Raw], plan: FilePlan, renamed: Mapping[int, int], renumbered: Mapping[int, int]
    ) -> list[msgspec.Raw]:
        """Objects, mended where something was found."""
        self._find_upright(raw)
        marks = plan.entries["annotations"]
        numbers = (ids.id for text in raw if (ids := decoded(text, Ids)))
        free = max((number for number in numbers if isinstance(number, int)), default=0)
        labels: list[msgspec.Raw] = []
        written: set[int | None] = set()
        for place, text, ids in self._kept(raw, plan, renamed):
            assert ids.image_id is not None
            category = renumbered.get(ids.category_id) if ids.category_id is not None else None
            if category is None:
                self.copied.left_out += 1
                continue
            changes: Entry = {"image_id": renamed[ids.image_id], "category_id": category}
            # The check compares those objects alone that can be read, and one that cannot may be mended.
            number = ids.id if isinstance(ids.id, int) else None
            again = number is not None and number in written
            if again or "annotation-duplicate-id" in marks.get(place, ()):
                free += 1
                changes["id"] = number = free
            unchanged = changes == {"image_id": ids.image_id, "category_id": ids.category_id}
            if unchanged and place not in marks and ids.image_id not in self.orientations:
                self._note(changed=False)
                labels.append(text)
                written.add(number)
                continue
            entry = self._object(whole(text) | changes, marks.get(place, set()), ids.image_id)
            if entry is None:
                self.copied.left_out += 1
            else:
                self._note(changed=True)
                labels.append(msgspec.Raw(encode(entry)))
                written.add(number)
        return labels

    def _object(self, entry: Entry, checks: set[str], image_id: int) -> Entry | None:
        """One object with its faults mended, in the upright picture."""
        height, width = self._sizes[image_id]
        orientation = self.orientations.get(image_id)
        if orientation is not None and image_id in self._upright:
            # What was found about it was found in the wrong frame.
            height, width, orientation = width, height, None
            checks = checks - {"box-leaves", "box-outside", "rle-size", "polygon-outside"} | {"box-leaves"}
        mended = mended_object(entry, checks, height, width)
        return mended if mended is None or orientation is None else turned_object(mended, orientation, height, width)

    def _find_upright(self, raw: list[msgspec.Raw]) -> None:
        """Pictures on their side whose labels are upright already."""
        by_image: dict[int, list[Entry]] = {number: [] for number in self.orientations if number in self._sizes}
        for text in raw if by_image else ():
            ids = decoded(text, Ids)
            if ids is not None and ids.image_id in by_image:
                by_image[ids.image_id].append(whole(text))
        self._upright |= {number for number, found in by_image.items() if already_upright(found, *self._sizes[number])}

    def _panoptic(
        self, raw: list[msgspec.Raw], plan: FilePlan, renamed: Mapping[int, int], renumbered: Mapping[int, int]
    ) -> list[msgspec.Raw]:
        """Panoptic annotations and their PNGs."""
        folder = self.files.panoptic_maps
        assert folder is not None
        labels: dict[int, msgspec.Raw] = {}
        for place, text, ids in self._kept(raw, plan, renamed, DROPPED - {"category-unknown"}):
            assert ids.image_id is not None
            number = renamed[ids.image_id]
            if number in labels:
                self.copied.left_out += 1
                continue
            entry = msgspec.json.decode(text)
            source = folder / entry["file_name"]
            segments = [
                segment | {"category_id": renumbered[segment["category_id"]]}
                for segment in entry["segments_info"]
                if segment["category_id"] in renumbered
            ]
            checks = plan.entries["annotations"].get(place, set())
            turn = self._turn(ids.image_id, source)
            if checks or turn or len(segments) < len(entry["segments_info"]):
                segments = write_panoptic(source, self.place(source), segments, turn)
            else:
                self.put(source, self.place(source))
            said = entry | {"image_id": number, "segments_info": segments}
            self._note(changed=said != entry)
            labels[number] = msgspec.Raw(encode(said)) if said != entry else text
        return list(labels.values())

    def _turn(self, image_id: int | None, source: Path) -> int | None:
        """The orientation by which a label map is to be turned; its own size says whether it is upright already."""
        if image_id is None or (orientation := self.orientations.get(image_id)) is None:
            return None
        found = map_size(source)
        stored = self._sizes.get(image_id, found)
        # A square says nothing: then what the objects have told of the picture holds.
        upright = image_id in self._upright if found == found[::-1] else found != stored
        return None if upright else orientation

    def _stuff(self) -> None:
        """COCO-Stuff maps of the pictures that stay."""
        folder = self.files.stuff_maps
        if folder is None:
            return
        for name in self.copied.names:
            source = folder / map_name(name)
            if str(source) in self.plan.stuff or not source.exists():
                continue
            target = self.place(source)
            if turn := self._turn(self._first.get(name), source):
                write_turned(source, target, turn)
            else:
                self.put(source, target)

    def _note(self, *, changed: bool) -> None:
        self.copied.mended += changed
        self.copied.kept += not changed
