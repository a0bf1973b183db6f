"""What crosses layers: the records every room may read and none redefines.

Axis glossary, used in every docstring of the project:

====  =======================================================================
B     images of a batch                       N     objects of an image
R     rows of a batch that a task trains on   A     anchor points, all levels
C     channels or classes                     T     tokens of a caption
K     mask prototypes                         H, W  height, width in pixels
L     layers of a semantic map (1 unless pictures were mixed)
====  =======================================================================

Boxes are ``xyxy`` in pixels unless a name says otherwise. The *original frame* is the upright picture
as its file stores it; the *model's frame* is the letterboxed square or rectangle the network sees.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

import torch
from torch import Tensor
from torchvision import tv_tensors

IGNORE = 255
"""Value of a semantic map's pixel that carries no label."""


class Fault(Exception):  # noqa: N818 (as in the exit codes: refused, fault)
    """Something that a run cannot go on from, though nobody asked for anything wrong; commands exit with code 3."""


View = Literal["vision", "language"]
"""Which augmentation an image went through: strong for the vision tasks, weak for captions (paper, section 3)."""


class UserError(Exception):
    """Input that is refused. The message names the file, the key and the remedy; commands exit with code 2."""


@dataclass(frozen=True, slots=True)
class Category:
    """One class as a data set's own ``categories`` list names it.

    Attributes:
        id: the data's own.
        name: of the class.
        isthing: countable, or stuff.
        supercategory: the data's group of it, empty where it names none; no part of what makes two classes equal.
    """

    id: int
    name: str
    isthing: bool = True
    supercategory: str = field(default="", compare=False)


@dataclass(frozen=True)
class LabelSpace:
    """What the labels of a data set mean. Made by data, handed to tasks, kept with the weights.

    Attributes:
        things: classes of boxes and masks; a class index is a position in this tuple.
        semantic: classes of the semantic map (things and stuff); position = pixel value in a semantic map.
        semantic_protocol: name of the semantic class set, for example ``panoptic-133`` or ``coco-stuff-171``.
        vocabulary: the tokenizer, as the JSON text of the ``tokenizers`` library; ``None`` without captions.
    """

    things: tuple[Category, ...] = ()
    semantic: tuple[Category, ...] = ()
    semantic_protocol: str = "none"
    vocabulary: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the thing classes, by class index."""
        return tuple(category.name for category in self.things)

    @property
    def semantic_names(self) -> tuple[str, ...]:
        """Names of the semantic classes, by pixel value."""
        return tuple(category.name for category in self.semantic)

    @property
    def thing_to_semantic(self) -> tuple[int, ...]:
        """For each thing class its semantic class, or -1 where the semantic map has no such class."""
        places = {category.name: index for index, category in enumerate(self.semantic)}
        return tuple(places.get(category.name, -1) for category in self.things)

    def with_vocabulary(self, vocabulary: str | None) -> LabelSpace:
        """The same space with another tokenizer."""
        return replace(self, vocabulary=vocabulary)

    def to_json(self) -> str:
        """Text for the metadata of a safetensors file."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> LabelSpace:
        """Inverse of :meth:`to_json`.

        Raises:
            UserError: the text is not a label space.
        """
        try:
            raw = json.loads(text)
            groups = {key: tuple(Category(**entry) for entry in raw[key]) for key in ("things", "semantic")}
            return cls(**groups, semantic_protocol=raw["semantic_protocol"], vocabulary=raw["vocabulary"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"not a label space: {error}") from error


Segmentation = list[list[float]] | dict[str, Any]
"""COCO's polygons ``[[x1, y1, x2, y2, ...], ...]`` or RLE ``{"size": [H, W], "counts": str | bytes | list[int]}``."""


@dataclass(frozen=True, slots=True)
class ObjectLabel:
    """One annotated object, in the original frame.

    Attributes:
        id: the annotation's id in its file.
        category: class index in ``LabelSpace.things``.
        xyxy: box, pixels, as the file states it: it may leave the image or have no area.
        area: as the file states it, square pixels.
        crowd: COCO's ``iscrowd``.
        segmentation: COCO's polygons or RLE; ``None`` where the object has no mask.
    """

    id: int
    category: int
    xyxy: tuple[float, float, float, float]
    area: float
    crowd: bool
    segmentation: Segmentation | None


@dataclass(frozen=True, slots=True)
class SegmentLabel:
    """One segment of a panoptic map: ``id`` is the pixel value, ``category`` the index in ``LabelSpace.semantic``."""

    id: int
    category: int
    crowd: bool
    area: int


@dataclass(frozen=True, slots=True)
class PanopticLabel:
    """A panoptic PNG (id = R + 256 G + 65536 B) and its segments."""

    path: Path
    segments: tuple[SegmentLabel, ...]


class PackedError(OSError):
    """What holds a packed file is missing, broken, or cannot be fetched. The message says which and why."""


class Packed(Protocol):
    """Files that are parts of others."""

    def read(self, path: Path) -> bytes:
        """One of them.

        Raises:
            FileNotFoundError: there is none of that name.
            PackedError: what holds it cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class Annotations:
    """Everything the files say about one image, in the original frame. ``None`` means not labelled, never "empty".

    Attributes:
        image_id: id of the image in its data set.
        path: the image file.
        height: pixels, as annotated.
        width: pixels, as annotated.
        objects: the objects; an empty tuple is a labelled image without objects.
        has_masks: labelled for masks, that is no object lacks a segmentation.
        panoptic: panoptic labels.
        stuff_map: a COCO-Stuff pixel map; ``stuff_values`` of the reader maps its values to classes.
        captions: the reference captions.
        packed: what reads the paths, where they are no files of their own.
    """

    image_id: int
    path: Path
    height: int
    width: int
    objects: tuple[ObjectLabel, ...] | None = None
    has_masks: bool = False
    panoptic: PanopticLabel | None = None
    stuff_map: Path | None = None
    captions: tuple[str, ...] | None = None
    packed: Packed | None = None

    def opened(self, path: Path) -> Path | BinaryIO:
        """What to read one of the paths from.

        Raises:
            OSError: as :meth:`Packed.read`.
        """
        return path if self.packed is None else BytesIO(self.packed.read(path))


@dataclass(frozen=True, slots=True)
class Frame:
    """How a picture sits in the model's frame: resized to ``inner``, then padded.

    Attributes:
        original: (height, width) of the upright picture.
        inner: (height, width) after resizing, before padding.
        pad: (left, top) padding in pixels.
        size: (height, width) of the model's frame.
    """

    original: tuple[int, int]
    inner: tuple[int, int]
    pad: tuple[int, int]
    size: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """(x, y) factors from the original to the model's frame, exact after rounding to whole pixels."""
        return self.inner[1] / self.original[1], self.inner[0] / self.original[0]


@dataclass
class Sample:
    """One image on its way to the network, with the labels that the asked tasks loaded.

    ``objects`` is one table: geometry drops whole rows, so that boxes, classes and masks cannot drift apart.

    Attributes:
        image: (3, H, W) uint8.
        view: the augmentation it goes through.
        objects: columns of N rows each, tensors or masks as crops; ``None`` where the objects are not labelled.
        maps: per-pixel labels by name, each (L, H, W); an absent name means not labelled.
        texts: texts by name; an absent name means not labelled.
        frame: how the picture sits in the model's frame; ``None`` after augmentation that has no inverse.
        annotations: the raw labels, for metrics.
    """

    image: tv_tensors.Image
    view: View
    objects: dict[str, Any] | None = None
    maps: dict[str, tv_tensors.Mask] = field(default_factory=dict)
    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    frame: Frame | None = None
    annotations: Annotations | None = None


@dataclass
class Batch:
    """What one step sees: one image tensor, and per task the rows it trains on with their targets.

    Attributes:
        images: (B, 3, H, W) uint8.
        rows: task -> (R,) int64 rows of ``images``; a task without labelled rows has an empty tensor.
        targets: task -> named tensors over those R rows.
        gleaned: task -> what its head takes from the rest of the network for those R rows, where that is kept from
            an earlier pass; the images have no pixels then.
        frames: how each picture sits in the frame, where it can be inverted.
        annotations: raw labels of each picture, for metrics.
        failures: path and reason of pictures that could not be read and are not in the batch.
    """

    images: Tensor
    rows: dict[str, Tensor] = field(default_factory=dict)
    targets: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    gleaned: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    frames: tuple[Frame | None, ...] = ()
    annotations: tuple[Annotations | None, ...] = ()
    failures: tuple[tuple[str, str], ...] = ()

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch with every tensor on ``device``."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, called by the loader when a GPU is used."""
        return self._each(Tensor.pin_memory)

    def _each(self, move: Callable[[Tensor], Tensor]) -> Batch:
        def all_of(tables: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
            return {task: {name: move(tensor) for name, tensor in table.items()} for task, table in tables.items()}

        return replace(
            self,
            images=move(self.images),
            rows={task: move(rows) for task, rows in self.rows.items()},
            targets=all_of(self.targets),
            gleaned=all_of(self.gleaned),
        )


@dataclass(frozen=True)
class LossOutput:
    """A task's loss: named terms as (sum, count), so that the total can divide by the count over all ranks.

    Attributes:
        terms: name -> (sum, count), both scalars; only the sum carries gradients.
        shared: what tasks that ``use`` this one may read, for example the assignment.
    """

    terms: Mapping[str, tuple[Tensor, Tensor]]
    shared: Mapping[str, Any] = field(default_factory=dict)


Prediction = dict[str, Any]
"""A task's answer for one image: named tensors or plain values. Tasks document their own names."""

Predictions = Mapping[str, Prediction]
"""Task name -> its prediction for one image."""

Outputs = dict[str, Tensor]
"""A head's raw output: names are fixed per task and never depend on a mode."""
