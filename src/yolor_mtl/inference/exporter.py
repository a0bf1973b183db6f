"""From a model to a folder of graphs, and the check that they say what the model says."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from yolor_mtl.build import Model
from yolor_mtl.data.coco import CocoDataset
from yolor_mtl.data.loader import EvaluationSet
from yolor_mtl.inference.agreement import Agreement, Gap, compare, gaps
from yolor_mtl.inference.backends import openvino
from yolor_mtl.inference.exported import FORMATS, VISION, Exported, GraphMeta, Meta, is_exported
from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.inference.tracing import Traced, trace_part, trace_vision
from yolor_mtl.ops.frame import letterbox
from yolor_mtl.records import Fault, UserError
from yolor_mtl.tasks.base import DecodeOptions
from yolor_mtl.tasks.parts import Parted


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A folder to write, which takes the name ``out`` if all goes well, and is gone otherwise.

    Raises:
        UserError: ``out`` is there and is no export, so that it must not be written over.
    """
    if out.exists() and not is_exported(out) and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"out={out} is there and is no exported model; choose another, or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as name:
        fresh, old = Path(name) / "new", Path(name) / "old"
        fresh.mkdir()
        yield fresh
        if out.exists():
            out.replace(old)
        fresh.replace(out)


def write_graphs(model: Model, folder: Path, kind: str, imgsz: int, half: str, say: Callable[[str], object]) -> Meta:
    """Writes the vision graph, one more graph for each part that a decoder runs by itself, and ``meta.json``.

    Args:
        model: in its inference form, on the CPU, in fp32.
        folder: an empty folder.
        kind: one of :data:`FORMATS`.
        imgsz: side of the frame, pixels.
        half: what ``half=auto`` will mean for the folder.
        say: gets the name of each graph when it is begun.

    Raises:
        UserError: a package is not installed.
        Fault: torch, or the format, has no form for something in the network.
    """
    network, tasks = model.network, [task.name for task in model.tasks]
    # Unequal sizes of at least two: torch takes equal ones for the same, and ones for fixed.
    images = torch.randint(0, 256, (2, 3, 3 * model.multiple, 4 * model.multiple), dtype=torch.uint8)
    with torch.no_grad():
        outputs = network(images)
    parts = {
        name: part
        for task in model.tasks
        if isinstance(task.decode, Parted)
        for name, part in task.decode.parts(outputs[task.name]).items()
    }
    graphs: dict[str, GraphMeta] = {}
    for name in (VISION, *parts):
        say(name)
        try:
            traced = trace_vision(network, tasks, images) if name == VISION else trace_part(parts[name])
            graphs[name] = _written(traced, folder, name, kind)
        except UserError:
            raise
        except Exception as error:  # the exporters' exceptions have no common class
            raise Fault(f"{name} cannot be exported to {kind}: {_reason(error)}; nothing is written") from error
    meta = Meta(
        format=kind,
        tasks=tuple(tasks),
        multiple=model.multiple,
        half=half,
        int8=False,
        parameters=model.parameters_by_part(),
        graphs=graphs,
        config=replace(model.config, imgsz=imgsz),
        space=model.space,
    )
    return meta.stamped(folder)


def _reason(error: Exception) -> str:
    """The first and the last line of a message of many: exporters put what matters into either."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ... ".join(dict.fromkeys((lines[0], lines[-1])))


def _written(traced: Traced, folder: Path, name: str, kind: str) -> GraphMeta:
    own = FORMATS[kind]
    path = folder / f"{name}{own.suffix}"
    own.write(traced.program, path, list(traced.inputs), list(traced.outputs))
    return GraphMeta(path.name, traced.inputs, traced.outputs)


@dataclass(frozen=True)
class Parity:
    """What came of comparing a folder with its model on pictures.

    Attributes:
        gaps: of the raw outputs.
        agreement: of the answers.
    """

    gaps: dict[str, Gap]
    agreement: Agreement

    def failures(self) -> list[str]:
        """What is further apart than rounding takes it; for graphs in fp32."""
        least = {"box_iou": BOX_IOU, "mask_iou": MASK_IOU, "semantic": PIXELS}
        found = self.agreement.to_dict()
        bad = [f"{name} {value:.5f}" for name in least if (value := found[name]) is not None and value <= least[name]]
        bad += [f"{name} of another shape" for name, gap in self.gaps.items() if gap.most == float("inf")]
        return bad


BOX_IOU, MASK_IOU, PIXELS = 0.999, 0.99, 0.99
"""Agreement that graphs in fp32 must be above."""


def check(
    reference: Predictor,
    folder: Exported,
    pictures: Sequence[Tensor],
    options: DecodeOptions,
    half: str = "auto",
    batch: int = 4,
) -> Parity:
    """Runs pictures through the model and through a folder.

    Raw outputs are compared on the square frame and on one of half the width.

    Args:
        reference: the model, in fp32.
        folder: what was made of it.
        pictures: (3, H, W) uint8 each, at least one.
        options: thresholds.
        half: precision of the folder's graphs.
        batch: pictures at once.
    """
    other = Predictor(folder, half=half, imgsz=reference.size[0])
    side, multiple = reference.size[0], folder.multiple
    narrow = (side, max(multiple, side // 2 // multiple * multiple))
    found: dict[str, Gap] = {}
    for size in (reference.size, narrow):
        for start in range(0, len(pictures), batch):
            images = torch.stack([letterbox(picture, size)[0] for picture in pictures[start : start + batch]])
            for name, gap in gaps(reference.runtime(images), other.runtime(images)).items():
                found[name] = gap.joined(found.get(name, Gap()))
    first, second = (list(each.predict(pictures, options, batch)) for each in (reference, other))
    return Parity(found, compare(first, second))


def quantise(meta: Meta, folder: Path, dataset: CocoDataset, number: int) -> Meta:
    """Makes the vision graph compute in int8, in place, and says so in ``meta.json``.

    Args:
        meta: the folder's; its format is ``openvino``.
        folder: where the graph is.
        dataset: pictures that show which values occur, spread over all of it.
        number: how many.

    Raises:
        UserError: a package is not installed, or no picture can be read.
    """
    chosen = torch.linspace(0, len(dataset) - 1, min(number, len(dataset))).round().long().unique().tolist()
    side = meta.config.imgsz
    data = EvaluationSet(dataset, (side, side), chosen)
    images = [sample.image.as_subclass(Tensor)[None] for sample, _ in map(data.__getitem__, range(len(data))) if sample]
    if not images:
        raise UserError(f"no picture of {dataset.root} can be read to calibrate by")
    openvino.quantise(folder / meta.graphs[VISION].file, images, len(images))
    return replace(meta, int8=True).stamped(folder)


def with_notes(meta: Meta, folder: Path, **notes: object) -> Meta:
    """The same with more to say, written."""
    more = replace(meta, notes={**meta.notes, **notes})
    more.write(folder)
    return more
