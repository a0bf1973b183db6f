"""Every check: its name, how bad a finding is, what it means, what to do, and what a cleaned copy does about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Check:
    """One kind of finding.

    Attributes:
        id: its name, which stays.
        severity: ``error`` where training refuses the file, skips the picture or learns something untrue; ``warning``
            where it copes but somebody should look; ``note`` for information.
        meaning: one line.
        remedy: what to do.
        mended: what a cleaned copy does about it; empty where it keeps what is there.
    """

    id: str
    severity: Severity
    meaning: str
    remedy: str
    mended: str = ""


_OUT = "the picture is left out, with its labels"
_MASK = "the mask is left out; the object keeps its box"
_BOX = "the box is made from the mask; without one the object is left out"
_SPARED = "that label is left out"

_FILES = (
    Check(
        "file-unreadable",
        "error",
        "an annotation file cannot be read",
        "get or export the file again",
        "the file is left out",
    ),
    Check(
        "entry-broken",
        "error",
        "an entry lacks a key or holds the wrong kind of value",
        "correct or remove the entry",
        "the entry is left out",
    ),
    Check(
        "image-unlisted",
        "note",
        "pictures in the folder that no annotation file lists",
        "list them, or leave them: they are not used",
        "they are not copied",
    ),
)

_PICTURES = (
    Check("image-missing", "error", "a listed picture is not there", "put the file there or remove the entry", _OUT),
    Check("image-empty", "error", "a picture's file has no bytes", "get the picture again", _OUT),
    Check("image-truncated", "error", "a picture's file ends too early", "get the picture again", _OUT),
    Check("image-damaged", "error", "a picture's file cannot be decoded", "get the picture again", _OUT),
    Check(
        "image-unreadable",
        "error",
        "a picture's file is none, or of a format that is not read",
        "save it as JPEG or PNG",
        _OUT,
    ),
    Check("image-huge", "error", "a picture has, or claims, too many pixels", "make it smaller or cut it up", _OUT),
    Check("image-type", "warning", "a picture's content is not what its file's ending says", "rename the file"),
    Check(
        "image-size",
        "error",
        "the upright picture is not of the annotated size",
        "correct width and height, or use the picture that was annotated",
        _OUT,
    ),
    Check(
        "image-rotated",
        "error",
        "the annotated size is that of the stored picture, which EXIF turns on its side",
        "turn the labels with the picture, or store the picture upright",
        "size and labels are turned as the picture; where its boxes show that they are upright, the size alone",
    ),
    Check(
        "image-name", "error", "a file name leaves the folder of the pictures", "write it relative to that folder", _OUT
    ),
    Check(
        "image-duplicate-id",
        "error",
        "two entries of a file have one image id",
        "give every image its own id",
        "equal entries are kept once; where they differ all are left out",
    ),
    Check(
        "image-disagrees",
        "error",
        "files of a split disagree about an image",
        "make file_name, width and height agree",
        "the later file's entry is left out, with its labels",
    ),
    Check(
        "image-file-twice",
        "error",
        "one file is two images of a split",
        "keep one entry, with all labels",
        "the labels move to the first entry",
    ),
    Check(
        "image-same-bytes",
        "warning",
        "two files of a split are the same picture",
        "keep one of them",
        "the first one is kept",
    ),
    Check(
        "image-in-two-splits",
        "error",
        "a picture is in two splits",
        "take it out of the training split",
        "it stays in test, else val, else the later split by name",
    ),
)

_OBJECTS = (
    Check(
        "annotation-duplicate-id",
        "error",
        "two annotations of a file have one id",
        "give every annotation its own id",
        "the later ones get new ids",
    ),
    Check(
        "annotation-image-unknown",
        "error",
        "an annotation belongs to an image that its file does not list",
        "add that image or remove the annotation",
        _SPARED,
    ),
    Check(
        "object-twice",
        "warning",
        "an object is there twice: same image, class and box",
        "remove one",
        "the first one is kept",
    ),
    Check(
        "category-unknown",
        "error",
        "a label names a category that the file does not list",
        "add the category or correct the id",
        _SPARED,
    ),
    Check(
        "category-duplicate-id",
        "error",
        "two categories of a file have one id",
        "give every category its own id",
        "equal ones are kept once; where names differ, their labels are left out",
    ),
    Check(
        "category-collides",
        "error",
        "files or names: give one category id two names, or one name two ids",
        "use one list of classes for all files",
        "classes get the id that their name has in the first file",
    ),
    Check(
        "box-not-finite", "error", "a box holds NaN, infinity, or a number out of range", "correct or remove it", _BOX
    ),
    Check(
        "box-inverted",
        "error",
        "a box has a negative width or height",
        "write x, y, width, height",
        "the box is made from the mask; without one its corners change places",
    ),
    Check("box-empty", "warning", "a box has no area; training leaves the object out", "correct or remove it", _BOX),
    Check("box-outside", "error", "nothing of a box is inside its picture", "correct or remove it", _BOX),
    Check(
        "box-leaves",
        "warning",
        "a box leaves its picture by more than a pixel; training clips it",
        "clip it",
        "it is clipped",
    ),
)

_MASKS = (
    Check(
        "segmentation-type",
        "error",
        "a segmentation is neither polygons nor an RLE",
        "write [[x1, y1, x2, y2, ...], ...] or {size, counts}",
        _MASK,
    ),
    Check(
        "polygon-short",
        "error",
        "a polygon has fewer than three points",
        "remove the polygon",
        "the polygon is left out",
    ),
    Check(
        "polygon-odd",
        "error",
        "a polygon has an odd number of coordinates",
        "correct or remove the polygon",
        "the polygon is left out",
    ),
    Check(
        "polygon-not-finite",
        "error",
        "a polygon holds NaN, infinity, or a number out of range",
        "correct or remove the polygon",
        "the polygon is left out",
    ),
    Check(
        "polygon-outside",
        "warning",
        "a polygon leaves its picture by more than a pixel",
        "clip it",
        "its points are moved to the edge",
    ),
    Check("polygon-crosses", "warning", "a polygon's outline crosses itself; the mask may have holes", "draw it anew"),
    Check("rle-size", "error", "an RLE is of another size than its picture", "export it again", _MASK),
    Check("rle-code", "error", "the counts of an RLE are no code", "export it again", _MASK),
    Check("rle-sum", "error", "the counts of an RLE do not add up to the picture's pixels", "export it again", _MASK),
    Check("mask-empty", "warning", "a mask covers nothing", "draw it anew or remove the object", _MASK),
)

_CAPTIONS = (
    Check("caption-empty", "warning", "a caption has no words; it is not used", "write or remove it", _SPARED),
    Check("caption-type", "error", "a caption is not text", "write text or remove it", _SPARED),
    Check("caption-long", "warning", "a caption has more words than networks read; the rest is cut off", "shorten it"),
)

_MAPS = (
    Check(
        "panoptic-folder",
        "error",
        "a panoptic file has no folder of PNGs",
        "put panoptic_<split>/ beside the file",
        "the file is left out",
    ),
    Check("panoptic-twice", "error", "an image has two panoptic annotations", "remove one", "the first one is kept"),
    Check(
        "panoptic-missing",
        "error",
        "a panoptic PNG is not there",
        "put it there or remove the annotation",
        "the image is taken out of the panoptic file",
    ),
    Check(
        "panoptic-unreadable",
        "error",
        "a panoptic PNG cannot be read, or has no three channels",
        "export it again",
        "the image is taken out of the panoptic file",
    ),
    Check(
        "panoptic-size",
        "error",
        "a panoptic PNG is of another size than its picture",
        "export it again",
        "the image is taken out of the panoptic file",
    ),
    Check(
        "segment-twice",
        "error",
        "two segments of an image have one id",
        "give every segment its own id",
        "the first one is kept",
    ),
    Check(
        "segment-not-in-png",
        "error",
        "a segment has no pixels in the PNG",
        "remove the segment or export again",
        "the segment is left out",
    ),
    Check(
        "segment-not-in-json",
        "error",
        "the PNG has pixels of a segment that the file does not list",
        "list the segment or export again",
        "its pixels become unlabelled",
    ),
    Check(
        "segment-area", "warning", "a segment's area is not the number of its pixels", "export again", "it is counted"
    ),
    Check(
        "stuff-unreadable",
        "error",
        "a COCO-Stuff map cannot be read, or is no single channel",
        "export it again",
        "the map is left out",
    ),
    Check(
        "stuff-size",
        "error",
        "a COCO-Stuff map is of another size than its picture",
        "export it again",
        "the map is left out",
    ),
)

_TEXTS = (
    Check(
        "line-broken",
        "error",
        "a line of a label file cannot be read",
        "correct or remove the line",
        "the line is left out",
    ),
    Check(
        "label-unreadable",
        "error",
        "a label file or list of pictures cannot be read as text",
        "write it again",
        "the file is left out",
    ),
    Check("label-shared", "error", "two pictures share a label file", "rename one of them", "the first one is kept"),
    Check(
        "label-stray",
        "note",
        "label files without a picture",
        "remove them, or add the pictures",
        "they are not copied",
    ),
    Check(
        "label-missing",
        "note",
        "pictures without a label file, which count as having no object",
        "write an empty file to say so",
        "stays so",
    ),
)

_CLASSES = (
    Check("class-unused", "note", "a class has no object in any split", "remove it or add objects"),
    Check("class-rare", "note", "a class has so few objects that little can be learnt", "add objects or join classes"),
)

CHECKS: Mapping[str, Check] = MappingProxyType(
    {row.id: row for row in (*_FILES, *_PICTURES, *_OBJECTS, *_MASKS, *_CAPTIONS, *_MAPS, *_TEXTS, *_CLASSES)}
)
"""All checks by id, in the order of reports."""
