"""A folder that ``export`` wrote: graphs, and ``meta.json`` with all that is needed to use them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from yolor_mtl.build import ModelConfig, build_model, stored_row
from yolor_mtl.config import nearest
from yolor_mtl.inference.backends import onnx, openvino
from yolor_mtl.inference.backends.base import Graph, GraphRuntime, Runtime
from yolor_mtl.ops.device import HALVES, half_pays
from yolor_mtl.ops.files import write_text
from yolor_mtl.ops.frame import GREY
from yolor_mtl.records import LabelSpace, UserError
from yolor_mtl.tasks.base import Task
from yolor_mtl.tasks.parts import Parted

META = "meta.json"
"""The file that makes a folder an export."""

SCHEMA = "yolor-mtl-export/1"
"""Value of its key ``schema``."""

VISION = "model"
"""Name of the graph from pictures to raw outputs."""


@dataclass(frozen=True)
class Format:
    """One value of ``format=``.

    Attributes:
        suffix: ending of a graph's file.
        packages: what writing and opening one takes.
        write: an exported program, the file, and names of inputs and outputs to the file.
        open: the file, and whether to compute in bfloat16, to a graph that runs.
    """

    suffix: str
    packages: tuple[str, ...]
    write: Callable[..., None]
    open: Callable[[Path, bool], Graph]


FORMATS: Mapping[str, Format] = {
    "onnx": Format(onnx.SUFFIX, onnx.PACKAGES, onnx.write, onnx.OnnxGraph),
    "openvino": Format(openvino.SUFFIX, openvino.PACKAGES, openvino.write, openvino.OpenvinoGraph),
}
"""What ``format=`` may say."""


@dataclass(frozen=True)
class Port:
    """An input or output of a graph.

    Attributes:
        shape: a number, or a word or formula where the size may vary.
        dtype: as torch names it, such as ``float32``.
    """

    shape: list[int | str]
    dtype: str


@dataclass(frozen=True)
class GraphMeta:
    """A graph of the folder.

    Attributes:
        file: its name.
        inputs: by name, in the graph's order.
        outputs: by name, in the graph's order.
    """

    file: str
    inputs: dict[str, Port]
    outputs: dict[str, Port]


@dataclass(frozen=True)
class FileMeta:
    """A file of a graph, as it was written.

    Attributes:
        size: bytes.
        blake2b: digest of its bytes, 32 hexadecimal digits.
    """

    size: int
    blake2b: str

    @classmethod
    def of(cls, path: Path) -> FileMeta:
        """What a file is now.

        Raises:
            OSError: it cannot be read.
        """
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
            return cls(file.tell(), digest)


@dataclass(frozen=True)
class Meta:
    """What ``meta.json`` says.

    Attributes:
        format: one of :data:`FORMATS`.
        tasks: tasks that are in the graphs or made of their outputs.
        multiple: sides of the frame must be multiples of this.
        half: what ``half=auto`` means: ``auto`` (where bfloat16 is faster here), ``true`` or ``false``.
        int8: whether the vision graph is quantised.
        parameters: learnable values by part.
        graphs: by name.
        config: the network's row; ``imgsz`` is the side it was exported for.
        space: classes and vocabulary.
        notes: what else there is to know: the measured agreement, scores before and after quantisation.
        files: by name, what the graphs' files must be; empty in folders written before this was kept.
    """

    format: str
    tasks: tuple[str, ...]
    multiple: int
    half: str
    int8: bool
    parameters: dict[str, int]
    graphs: dict[str, GraphMeta]
    config: ModelConfig
    space: LabelSpace
    notes: dict[str, Any] = field(default_factory=dict)
    files: dict[str, FileMeta] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Writes ``meta.json``; some of it twice, as its readers need it: names by index beside the label space."""
        content = {
            "schema": SCHEMA,
            "format": self.format,
            "tasks": self.tasks,
            "names": dict(enumerate(self.space.names)),
            "semantic_names": dict(enumerate(self.space.semantic_names)),
            "vocabulary_sha256": _hash(self.space.vocabulary),
            "imgsz": self.config.imgsz,
            "multiple": self.multiple,
            "letterbox": {"fill": GREY, "centred": True, "resize": "bilinear, antialiased", "channels": "RGB uint8"},
            "half": self.half,
            "int8": self.int8,
            "parameters": self.parameters,
            "graphs": {name: asdict(graph) for name, graph in self.graphs.items()},
            **({"files": {name: asdict(file) for name, file in self.files.items()}} if self.files else {}),
            "notes": self.notes,
            "config": asdict(self.config),
            "label_space": json.loads(self.space.to_json()),
        }
        write_text(folder / META, json.dumps(content, ensure_ascii=False, indent=1))

    @classmethod
    def read(cls, folder: Path) -> Meta:
        """Inverse of :meth:`write`.

        Raises:
            UserError: the file is missing, is not ours, or says what cannot be.
        """
        path = folder / META
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read: {error}") from error
        if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
            raise UserError(f"{path} was not written by this yolor-mtl (it has no schema {SCHEMA}); export anew")
        try:
            stored = {"config": json.dumps(raw["config"]), "label_space": json.dumps(raw["label_space"])}
            graphs = {
                name: GraphMeta(
                    str(graph["file"]),
                    *({n: Port(**port) for n, port in graph[side].items()} for side in ("inputs", "outputs")),
                )
                for name, graph in raw["graphs"].items()
            }
            files = {name: FileMeta(**file) for name, file in raw.get("files", {}).items()}
            plain = {name: raw[name] for name in ("format", "multiple", "half", "int8", "parameters", "notes")}
            tasks, words = tuple(raw["tasks"]), raw["vocabulary_sha256"]
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is incomplete ({error}); export anew") from error
        config, space = stored_row(stored, path)
        if words != _hash(space.vocabulary):
            raise UserError(f"{path}: its vocabulary is not the one that was exported (sha256 differs); export anew")
        if plain["format"] not in FORMATS or VISION not in graphs:
            raise UserError(f"{path}: format {plain['format']!r} without a known graph; export anew")
        return cls(**plain, tasks=tasks, graphs=graphs, config=config, space=space, files=files)

    def stamped(self, folder: Path) -> Meta:
        """The same with the files that the graphs have now, written; for whoever wrote them."""
        stems = {Path(graph.file).stem for graph in self.graphs.values()}
        files = {path.name: FileMeta.of(path) for path in sorted(folder.iterdir()) if path.stem in stems}
        more = replace(self, files=files)
        more.write(folder)
        return more

    def verify(self, folder: Path) -> None:
        """Refuses a folder whose graphs are not those that were written.

        Raises:
            UserError: a file is missing, or was altered.
        """
        for name in dict.fromkeys([*(graph.file for graph in self.graphs.values()), *self.files]):
            path = folder / name
            if not path.is_file():
                raise UserError(f"{path} is missing; export anew")
            if not self.files:
                continue
            should = self.files.get(name)
            # The size first: it is known without reading all of a file that was cut off.
            if should is None or path.stat().st_size != should.size or FileMeta.of(path) != should:
                raise UserError(
                    f"{path} was altered after it was written: its size or digest does not fit; export anew"
                )


def _hash(vocabulary: str | None) -> str | None:
    return None if vocabulary is None else hashlib.sha256(vocabulary.encode()).hexdigest()


@dataclass(frozen=True)
class Exported:
    """An exported model, ready to run; stands where a :class:`~yolor_mtl.build.Model` does.

    Attributes:
        folder: where its files are.
        meta: what they are.
        tasks: in the order in which they run; their decoders use the folder's graphs.
    """

    folder: Path
    meta: Meta
    tasks: tuple[Task, ...]

    @property
    def config(self) -> ModelConfig:
        """The row that the network was built from."""
        return self.meta.config

    @property
    def space(self) -> LabelSpace:
        """The classes and the vocabulary."""
        return self.meta.space

    @property
    def multiple(self) -> int:
        """Sides of the frame must be multiples of this."""
        return self.meta.multiple

    def parameters_by_part(self) -> dict[str, int]:
        """Learnable values of the trunk and of each head, as the network had them."""
        return dict(self.meta.parameters)

    def runtime(self, device: str, half: str) -> Runtime:
        """The vision graph, opened.

        Args:
            device: ``auto`` or ``cpu``.
            half: ``auto`` (as exported), ``true`` (bfloat16) or ``false``.

        Raises:
            UserError: the device or the precision cannot be had, or a file cannot be read.
        """
        if device not in ("auto", "cpu"):
            raise UserError(f"device={device}: exported graphs run on the CPU; give the weights themselves as model=")
        short, graph = self.short(half), self.meta.graphs[VISION]
        opened = FORMATS[self.meta.format].open(self.folder / graph.file, short)
        return GraphRuntime(opened, {task.name for task in self.tasks}, graph.outputs, short)

    def short(self, half: str = "auto") -> bool:
        """Whether the vision graph computes in bfloat16 where ``half=`` says so.

        Raises:
            UserError: it is not ``auto``, ``true`` or ``false``.
        """
        word = str(half).lower()
        if word not in HALVES or word == "fp16":
            raise UserError(f"half={half} must be auto, true or false for exported graphs")
        word = self.meta.half if word == "auto" else word
        pays = self.meta.format == "openvino" and half_pays(torch.device("cpu"))
        return word == "true" or (word == "auto" and pays)


def is_exported(path: Path) -> bool:
    """Whether a folder looks like an export."""
    return (path / META).is_file()


def load_exported(folder: Path, only: Sequence[str] = ()) -> Exported:
    """An exported model.

    Args:
        folder: what ``export`` wrote.
        only: tasks to run; all that were exported by default.

    Raises:
        UserError: a file is missing, broken or altered, a task is not in it, or a package is not installed.
    """
    meta = Meta.read(folder)
    meta.verify(folder)
    for name in only:
        if name not in meta.tasks:
            raise UserError(
                f"tasks: {folder} has no {name!r}{nearest(name, meta.tasks)}; it has {', '.join(meta.tasks)}"
            )
    with torch.device("meta"):  # the tasks are needed, their network is not: it takes no memory so
        tasks = build_model(meta.config, meta.space, list(only) or list(meta.tasks), helped=True).tasks
    return Exported(folder, meta, tuple(_over(task, folder, meta) for task in tasks))


def _over(task: Task, folder: Path, meta: Meta) -> Task:
    """The task with a decoder that uses the folder's graphs. Captions are written in fp32 everywhere."""
    if not isinstance(task.decode, Parted):
        return task
    opened = FORMATS[meta.format].open
    parts = {name: opened(folder / graph.file, False) for name, graph in meta.graphs.items() if name != VISION}
    return replace(task, decode=task.decode.over(parts))
