"""All checks of a data set, one file after the other, so that no two of them are in memory at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from yolor_mtl.data.check.boxes import check_objects
from yolor_mtl.data.check.captions import read_captions
from yolor_mtl.data.check.classes import check_balance, check_claimed_names
from yolor_mtl.data.check.findings import Findings
from yolor_mtl.data.check.lists import SplitImages, check_collisions, read_categories, read_images
from yolor_mtl.data.check.maps import MapJob, open_map, read_panoptic
from yolor_mtl.data.check.objects import Objects, read_objects
from yolor_mtl.data.check.pictures import Facts, How, Picture, compare, open_all
from yolor_mtl.data.check.reading import Source
from yolor_mtl.data.check.result import Checked, SplitFacts
from yolor_mtl.data.check.splits import check_twice, check_unlisted
from yolor_mtl.data.check.text_labels import TextSource, read_lines_of, read_listing
from yolor_mtl.data.coco import map_name
from yolor_mtl.data.coco_classes import real_classes
from yolor_mtl.data.coco_json import JsonCategory
from yolor_mtl.data.locate import Layout, SplitFiles
from yolor_mtl.ops.processes import in_processes, processes
from yolor_mtl.records import UserError


class Watch(Protocol):
    """Who is told how far the check has come."""

    def begin(self, title: str, total: int) -> None:
        """A part of so many steps begins."""

    def step(self, number: int) -> None:
        """So many steps of it are done."""


class Unwatched:
    """Nobody."""

    def begin(self, title: str, total: int) -> None:
        """Nothing."""

    def step(self, number: int) -> None:
        """Nothing."""


def check_data(layout: Layout, how: How = "whole", workers: int = 0, watch: Watch | None = None) -> Checked:
    """Checks all splits of a data set.

    Args:
        layout: where its files are.
        how: how far pictures and label maps are opened.
        workers: processes that open them; 0 takes one for each core.
        watch: told of progress.

    Raises:
        UserError: not one image list could be read.
        Fault: a process was killed.
    """
    run = _Run(layout, watch or Unwatched())
    for name, files in layout.splits.items():
        (run.read_text if files.yolo else run.read_split)(name, files)
    if not run.pictures and not any(facts.images for facts in run.splits.values()):
        told = (f"{finding.file}: {finding.message}" for finding in run.findings)
        why = next(told, "no annotation file lists an image")
        raise UserError(f"{layout.source}: nothing to check could be read: {why}")
    if how != "none":
        run.open_pictures(how, processes(workers))
        run.open_maps(processes(workers))
        check_unlisted(layout.splits, run.pictures, run.findings)
    check_twice(run.pictures, run.facts, run.findings)
    check_claimed_names(layout, run.things, run.findings)
    check_balance(run.classes, str(layout.source), run.findings)
    return Checked(layout, how, run.findings, run.splits, run.classes, run.orientations())


@dataclass
class _Run:
    """What has been read so far."""

    layout: Layout
    watch: Watch
    findings: Findings = field(default_factory=Findings)
    splits: dict[str, SplitFacts] = field(default_factory=dict)
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    things: dict[int, str] = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)
    maps: list[tuple[Source, MapJob]] = field(default_factory=list)
    facts: dict[Path, Facts] = field(default_factory=dict)
    _seen: dict[str, Any] = field(default_factory=dict)

    def read_split(self, name: str, files: SplitFiles) -> None:
        """A split with annotation files."""
        facts = self.splits[name] = SplitFacts()
        images = SplitImages()
        readers: dict[str, Callable[..., None]] = {
            "instances": self._instances,
            "panoptic": self._panoptic,
            "captions": self._captions,
        }
        for kind, path in files.annotation_files().items():
            source = Source(path, kind, name, files.images, self.findings)
            self.watch.begin(f"reading {path.name}", 0)
            content = source.read()
            if content is None:
                continue
            read_images(source, content.images)
            images.join(source)
            if kind in readers:
                self.watch.begin(f"checking {path.name}", len(content.annotations))
                readers[kind](source, content, files, facts)
            else:
                self._collisions(source, read_categories(source, content.categories))
            del content
        facts.images = len(images.rows)
        self._stuff(name, files, images, facts)
        self._list(name, files, images)

    def _list(self, name: str, files: SplitFiles, images: SplitImages) -> None:
        """Notes the split's pictures, to be opened later."""
        sources = {path: Source(path, "", name, files.images, self.findings) for path in images.sources.values()}
        for source in sources.values():
            source.images = images.rows
        if sources:
            images.check_files(next(iter(sources.values())))
        for image_id, row in images.rows.items():
            if row.safe:
                where = str(images.sources[image_id])
                path = files.images / row.name
                self.pictures.append(
                    Picture(path, name, image_id, row.name, row.height, row.width, where, row.position)
                )

    def read_text(self, name: str, files: SplitFiles) -> None:
        """A split with text labels."""
        facts = self.splits[name] = SplitFacts()
        assert files.yolo is not None
        source = TextSource(files.yolo, name, self.findings)
        listing = read_listing(source, files.yolo)
        if listing is None:
            return
        self.watch.begin(f"checking labels of {name}", len(listing.images))
        objects = read_lines_of(source, listing, self.watch.step)
        check_objects(source, objects)
        facts.images = len(listing.images)
        self._count(source, objects, source.categories, facts)
        for path, (image_id, row) in zip(listing.images, source.images.items(), strict=True):
            self.pictures.append(Picture(Path(path), name, image_id, row.name, 0, 0, str(source.path), row.position))

    def _instances(self, source: Source, content: Any, files: SplitFiles, facts: SplitFacts) -> None:
        listed = read_categories(source, content.categories)
        objects = read_objects(source, content.annotations, self.watch.step)
        check_objects(source, objects)
        if files.roboflow:
            used = set(objects.categories)
            listed = list(real_classes([entry for entry in listed if isinstance(entry, JsonCategory)], used))
        self._collisions(source, listed)
        named = {entry.id: entry.name for entry in listed}
        self.things |= named
        self._count(source, objects, named, facts)

    def _collisions(self, source: Source, listed: list[Any]) -> None:
        seen = self._seen.setdefault(source.kind, {"ids": {}, "names": {}})
        check_collisions(source, {entry.id: entry.name for entry in listed}, seen)

    def _count(self, source: Source, objects: Objects, named: dict[int, str], facts: SplitFacts) -> None:
        """Objects by class, and images labelled for boxes and masks."""
        facts.objects = len(objects)
        facts.labelled["boxes"] = len(source.images)
        unmasked = set(objects.column("images")[objects.column("masked") == 0].tolist())
        facts.labelled["masks"] = len(source.images) - len(unmasked)
        ids, counts = np.unique(objects.column("categories"), return_counts=True)
        found = dict(zip(ids.tolist(), counts.tolist(), strict=True))
        for number, name in named.items():
            by_split = self.classes.setdefault(name, {})
            by_split[source.split] = by_split.get(source.split, 0) + found.get(number, 0)

    def _panoptic(self, source: Source, content: Any, files: SplitFiles, facts: SplitFacts) -> None:
        self._collisions(source, read_categories(source, content.categories))
        jobs = read_panoptic(source, content.annotations, files.panoptic_maps)
        facts.labelled["panoptic"] = len(jobs)
        facts.segments = sum(len(job.areas or ()) for job in jobs)
        if files.panoptic_maps is not None:
            self.maps += [(source, job) for job in jobs]

    def _captions(self, source: Source, content: Any, files: SplitFiles, facts: SplitFacts) -> None:
        usable = read_captions(source, content.annotations)
        facts.captions = usable.total()
        facts.labelled["captions"] = sum(count > 0 for count in usable.values())

    def _stuff(self, name: str, files: SplitFiles, images: SplitImages, facts: SplitFacts) -> None:
        """COCO-Stuff maps of the listed images that have one."""
        folder = files.stuff_maps
        if folder is None:
            return
        source = Source(folder, "stuff", name, files.images, self.findings, dict(images.rows))
        for image_id, row in images.rows.items():
            if row.safe and (path := folder / map_name(row.name)).exists():
                facts.labelled["stuff"] += 1
                self.maps.append((source, MapJob(path, image_id, row.height, row.width)))

    def open_pictures(self, how: How, workers: int) -> None:
        """Opens all pictures and compares them with what is annotated."""
        paths = list(dict.fromkeys(picture.path for picture in self.pictures))
        self.watch.begin("opening pictures", len(paths))
        self.facts = open_all(paths, how, workers, self.watch.step)
        for picture in self.pictures:
            compare(picture, self.facts[picture.path], self.findings)

    def open_maps(self, workers: int) -> None:
        """Opens all label maps."""
        self.watch.begin("opening label maps", len(self.maps))
        found = in_processes(open_map, [job for _, job in self.maps], workers)
        for (source, job), faults in zip(self.maps, found, strict=True):
            self.watch.step(1)
            for fault in faults:
                source.found(
                    fault.check, fault.message, "annotations", job.position, image_id=job.image_id,
                    annotation_id=fault.segment, file=str(job.path), shape=source.shape(job.image_id),
                )  # fmt: skip

    def orientations(self) -> dict[tuple[str, int], int]:
        """EXIF orientation of the pictures whose annotated size is the stored one."""
        rotated = {(finding.split, finding.image_id) for finding in self.findings if finding.check == "image-rotated"}
        return {
            (picture.split, picture.image_id): self.facts[picture.path].orientation
            for picture in self.pictures
            if (picture.split, picture.image_id) in rotated
        }
