"""What goes in and out, for validation and OpenAPI."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from yolor_mtl.tasks.base import DecodeOptions

Number = Annotated[float, Field(allow_inf_nan=False)]


class Thresholds(BaseModel):
    """Query parameters of ``POST /predict``."""

    model_config = ConfigDict(extra="forbid")

    conf: Number = Field(0.25, ge=0, le=1, description="boxes below this score are dropped")
    iou: Number = Field(0.7, ge=0, le=1, description="overlap above which the weaker box of a class is dropped")
    max_det: int = Field(300, ge=1, le=1000, description="greatest number of boxes")
    beam: int = Field(1, ge=1, le=10, description="width of the caption's beam search; 1 is greedy")
    attention: bool = Field(False, description="where in the picture each word of the caption was read from")

    def options(self) -> DecodeOptions:
        """What the model is told."""
        known = {field.name for field in fields(DecodeOptions)}
        return DecodeOptions(**{name: value for name, value in self.model_dump().items() if name in known})


class Mask(BaseModel):
    """A mask as COCO's compressed RLE."""

    size: tuple[int, int] = Field(description="height and width of the picture")
    counts: str = Field(description="compressed run lengths, down the columns")


class Detection(BaseModel):
    """An object."""

    class_id: int
    class_: str = Field(alias="class", description="name of the class")
    score: float = Field(ge=0, le=1)
    xyxy: tuple[float, float, float, float] = Field(
        description="left, top, right, bottom: pixels of the upright picture"
    )
    mask: Mask | None = None


class Semantic(BaseModel):
    """The semantic map."""

    classes: dict[str, float] = Field(description="class index: share of the picture")
    names: dict[str, str] = Field(description="class index: name")
    png: str = Field(description="data URI of a PNG; pixel value = class index")


class Segment(BaseModel):
    """A segment of the panoptic map."""

    id: int
    class_id: int
    class_: str = Field(alias="class", description="name of the class")
    isthing: bool
    score: float
    area: int = Field(description="pixels")


class Panoptic(BaseModel):
    """The panoptic map."""

    segments: list[Segment]
    png: str = Field(description="data URI of a PNG; segment id = R + 256 G + 65536 B, 0 for none")


class Word(BaseModel):
    """A word of the caption, and where in the picture it comes from."""

    word: str
    heat: list[list[float]] = Field(description="rows of a coarse grid over the picture, 0..1")
    box: int | None = Field(description="place in detections of the object that it names")


class Caption(BaseModel):
    """The sentence."""

    text: str
    score: float
    words: list[Word] | None = None


class Answer(BaseModel):
    """A line of ``predictions.jsonl``, with images inline; tasks that the model does not have are left out."""

    schema_: int = Field(alias="schema", description="version of this format")
    path: str = Field(description="the file's name, where the client gave one")
    height: int
    width: int
    detections: list[Detection] | None = None
    semantic: Semantic | None = None
    panoptic: Panoptic | None = None
    caption: Caption | None = None


class Problem(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="one word for programs")
    message: str = Field(description="a sentence for people")


class Health(BaseModel):
    """Whether pictures are taken."""

    status: str = Field(description="ok, or stopping")


class Example(BaseModel):
    """A picture to try."""

    url: str = Field(description="where it is, from this address on")
    alt: str = Field(description="what is to be seen, in words")


class Info(BaseModel):
    """What runs here."""

    version: str
    tasks: list[str]
    classes: list[str] = Field(description="names of the things that are detected, by class index")
    max_bytes: int
    max_pixels: int
    examples: list[Example]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of answers that are problems."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        found[status] = {"model": Problem, "description": _WHY[status]}
        if status in (429, 503):
            found[status]["headers"] = {
                "Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}}
            }
    return found


_WHY = {
    408: "The file did not arrive in time.",
    413: "The file has too many bytes.",
    422: "The picture cannot be read or has too many pixels, the form has no file, or a query parameter is wrong.",
    429: "Too many pictures or files at once.",
    500: "A fault of the server.",
    503: "No answer in time, or the server is stopping.",
}
