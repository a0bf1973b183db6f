"""``yolor-mtl export``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from yolor_mtl.build import Model
from yolor_mtl.commands.common import counting, data_root, print_table, warn
from yolor_mtl.commands.scoring import run_evaluation
from yolor_mtl.config import fill, nearest, parse_assignments, split_names
from yolor_mtl.data.coco import CocoDataset, open_coco
from yolor_mtl.data.image import UnreadableImageError
from yolor_mtl.data.scenes import write_scenes
from yolor_mtl.inference.evaluator import Evaluation
from yolor_mtl.inference.exported import FORMATS, Meta, load_exported
from yolor_mtl.inference.exporter import Parity, check, quantise, staged, with_notes, write_graphs
from yolor_mtl.inference.model import load_weights
from yolor_mtl.inference.nms_graph import add_nms
from yolor_mtl.inference.predictor import Predictor, to_tensor
from yolor_mtl.inference.sources import find_pictures
from yolor_mtl.ops.device import HALVES
from yolor_mtl.ops.extras import need
from yolor_mtl.records import Fault, UserError
from yolor_mtl.tasks.base import DecodeOptions

NMS = ("outside", "inside")
"""What ``nms=`` may say."""


@dataclass
class ExportConfig:
    """A model as graphs for ONNX Runtime or OpenVINO, checked on pictures; ``model=FOLDER`` runs them.

    Attributes:
        model: a ``.safetensors``, a run's folder, a shipped name such as scenes-nano, or a published ``.pt``.
        format: onnx or openvino.
        out: the folder to write.
        tasks: tasks to export; all that were trained by default.
        imgsz: side of the square frame it is meant for, pixels; 0 takes the model's own. Graphs take other sizes too.
        half: what half=auto will mean for the folder: auto, true (bfloat16) or false. OpenVINO only.
        int8: quantise the vision graph, and score before and after on data= and split=. OpenVINO only.
        calibration: pictures that show the quantisation which values occur.
        max_drop: greatest loss of fitness by quantisation; beyond it nothing is written.
        nms: outside (predict suppresses boxes) or inside (the graph also gives boxes that are suppressed). ONNX only.
        conf: boxes below this score are dropped, in the check and with nms=inside.
        iou: overlap above which the weaker of two boxes of a class is dropped.
        max_det: greatest number of boxes a picture.
        source: pictures to check on; by default those of data=, or scenes drawn for it.
        pictures: how many of them at most.
        data: a folder in COCO's layout, a YAML file, or the word scenes.
        split: split or splits of data=.
        maps: where semantic classes come from if the data has both: panoptic, stuff, or auto (panoptic first).
        batch: pictures at once.
        workers: processes that load pictures for scores; -1 chooses.
        vocab: the word list that was published with a ``.pt`` that writes captions.
        strict: refuse a ``.pt`` that has tensors without a place, or places without a tensor; false only warns.
        json: print what was measured as JSON.
    """

    model: str = ""
    format: str = "onnx"
    out: str = ""
    tasks: list[str] | None = None
    imgsz: int = 0
    half: str = "auto"
    int8: bool = False
    calibration: int = 100
    max_drop: float = 0.02
    nms: str = "outside"
    conf: float = 0.25
    iou: float = 0.7
    max_det: int = 300
    source: str = ""
    pictures: int = 8
    data: str = ""
    split: Any = "val"
    maps: str = "auto"
    batch: int = 4
    workers: int = -1
    vocab: str = ""
    strict: bool = True
    json: bool = False


def export(words: Sequence[str], console: Console) -> int:
    """``yolor-mtl export``."""
    config = fill(ExportConfig, parse_assignments(words))
    _check(config)
    shown = Console(quiet=True) if config.json else console
    dataset = None
    if config.data:
        dataset = open_coco(data_root(config.data, shown), split_names(config.split), maps=config.maps)
    model = load_weights(config.model, config.tasks or [], config.vocab, config.strict, warn)
    with _pictures(config, dataset) as pictures, staged(Path(config.out)) as folder:
        reference = Predictor(model, "cpu", "false", config.imgsz)
        meta = _graphs(config, model, folder, reference.size[0], shown)
        meta = _checked(config, meta, folder, reference, pictures, shown)
        if config.int8 and dataset is not None:
            meta = _quantised(config, meta, folder, reference, dataset, shown)
        if config.int8 or load_exported(folder).short():
            final = check(reference, load_exported(folder), pictures, _options(config))
            meta = with_notes(meta, folder, final=_noted(final))
            _print_parity(shown, f"{config.format}, {'int8' if config.int8 else 'bf16'}, against torch in fp32", final)
        names = ["meta.json", *sorted(path.name for path in folder.iterdir() if path.name != "meta.json")]
    if config.json:
        console.print_json(data={"out": config.out, "files": names, **meta.notes})
        return 0
    console.print(f"{', '.join(names)} in {config.out}/", highlight=False)
    console.print(f"use it: yolor-mtl predict model={config.out} source=...", highlight=False)
    return 0


def _options(config: ExportConfig) -> DecodeOptions:
    return DecodeOptions(conf=config.conf, iou=config.iou, max_det=config.max_det)


def _graphs(config: ExportConfig, model: Model, folder: Path, side: int, console: Console) -> Meta:
    """Writes the graphs."""
    with counting(console, "exporting") as progress:
        line = progress.task_ids[0]

        def say(name: str) -> None:
            progress.update(line, description=f"exporting {name}")

        meta = write_graphs(model, folder, config.format, side, str(config.half).lower(), say)
        return add_nms(meta, folder, _options(config)).stamped(folder) if config.nms == "inside" else meta


def _checked(
    config: ExportConfig,
    meta: Meta,
    folder: Path,
    reference: Predictor,
    pictures: Sequence[Tensor],
    console: Console,
) -> Meta:
    """Compares the graphs in fp32 with the model.

    Raises:
        Fault: they say something else.
    """
    found = check(reference, load_exported(folder), pictures, _options(config), "false")
    _print_parity(console, f"{config.format}, fp32, against torch", found)
    if bad := found.failures():
        raise Fault(f"the graphs do not say what the model says: {', '.join(bad)}; nothing is written")
    return with_notes(meta, folder, fp32=_noted(found))


def _check(config: ExportConfig) -> None:
    """Refuses what cannot be done before any work.

    Raises:
        UserError: names the key and the remedy.
    """
    if not config.model:
        raise UserError("model= is missing; give a .safetensors file, a run's folder, such as runs/NAME, or a .pt")
    if not config.out:
        raise UserError("out= is missing; give the folder to write, such as runs/exported")
    for key, value, known in (
        ("format", config.format, tuple(FORMATS)),
        ("nms", config.nms, NMS),
        ("half", str(config.half).lower(), HALVES[:3]),
    ):
        if value not in known:
            raise UserError(f"{key}={value}{nearest(value, known)}; there are: {', '.join(known)}")
    least = {"pictures": 1, "calibration": 1, "batch": 1, "imgsz": 0, "max_det": 1, "max_drop": 0}
    for key, lowest in least.items():
        if getattr(config, key) < lowest:
            raise UserError(f"{key}={getattr(config, key)} is below the least, {lowest}")
    if config.format != "openvino" and (config.int8 or str(config.half).lower() == "true"):
        raise UserError(f"int8 and half=true go with format=openvino; {config.format} graphs compute in fp32")
    if config.nms == "inside" and config.format != "onnx":
        raise UserError(
            "nms=inside goes with format=onnx; with openvino suppression stays outside, where predict does it"
        )
    need("export", *FORMATS[config.format].packages, *(("nncf",) if config.int8 else ()))
    if config.int8 and not config.data:
        raise UserError("int8=true needs labelled pictures to score by: give data= and split=")


@contextmanager
def _pictures(config: ExportConfig, dataset: CocoDataset | None) -> Iterator[list[Tensor]]:
    """Pictures to check on; those that cannot be read are passed over.

    Raises:
        UserError: none can be read.
    """
    with tempfile.TemporaryDirectory() as name:
        if config.source:
            paths = find_pictures(config.source)
        elif dataset is not None:
            places = torch.linspace(0, len(dataset) - 1, min(len(dataset), config.pictures)).long().tolist()
            paths = [dataset.annotations(place).path for place in places]
        else:
            write_scenes(Path(name), train=0, val=config.pictures, seed=len("parity"), workers=1)
            paths = find_pictures(str(Path(name) / "val"))
        found: list[Tensor] = []
        for path in paths:
            if len(found) < config.pictures:
                try:
                    found.append(to_tensor(path))
                except UnreadableImageError as error:
                    warn(f"{path} is passed over: {error}")
        if not found:
            raise UserError(f"source={config.source or config.data}: no picture there can be read to check on")
        yield found


def _quantised(
    config: ExportConfig, meta: Meta, folder: Path, reference: Predictor, dataset: CocoDataset, console: Console
) -> Meta:
    """Quantises, and scores before and after.

    Raises:
        Fault: it costs more than ``max_drop``.
    """
    before = run_evaluation(reference, dataset, console, batch=config.batch, workers=config.workers)
    with counting(console, "quantising"):
        meta = quantise(meta, folder, dataset, config.calibration)
    smaller = Predictor(load_exported(folder), imgsz=reference.size[0])
    after = run_evaluation(smaller, dataset, console, batch=config.batch, workers=config.workers)
    keys = ["fitness", *(metric.headline for metric in before.metrics.values())]
    rows = [(key, *(_number(run.scores.get(key)) for run in (before, after))) for key in keys]
    print_table(console, f"int8 on {len(dataset)} pictures", rows, ("score", "before", "after"))
    drop = before.scores["fitness"] - after.scores["fitness"]
    if drop > config.max_drop:
        raise Fault(
            f"int8 costs {drop:.4f} of fitness ({before.scores['fitness']:.4f} before, {after.scores['fitness']:.4f} "
            f"after), more than max_drop={config.max_drop}; nothing is written. Give more calibration= pictures, or a "
            "greater max_drop="
        )
    return with_notes(meta, folder, int8=_scores(before, after, config))


def _scores(before: Evaluation, after: Evaluation, config: ExportConfig) -> dict[str, Any]:
    return {
        "before": before.scores,
        "after": after.scores,
        "data": config.data,
        "split": split_names(config.split),
        "calibration": config.calibration,
    }


def _noted(parity: Parity) -> dict[str, Any]:
    return {
        "agreement": parity.agreement.to_dict(),
        "greatest_differences": {name: asdict(gap) for name, gap in parity.gaps.items()},
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _print_parity(console: Console, title: str, parity: Parity) -> None:
    """Differences of raw outputs, and how far answers agree."""
    rows = [(name, f"{gap.most:.2e}", f"{gap.scale:.2e}") for name, gap in parity.gaps.items()]
    print_table(console, title, rows, ("raw output", "greatest difference", "greatest value"))
    found = parity.agreement
    words = {
        f"box IoU over {found.boxes} boxes": found.box_iou,
        "mask IoU": found.mask_iou,
        "same pixels of the semantic map": found.semantic,
        "of the panoptic map": found.panoptic,
        "same caption": found.captions,
    }
    parts = [f"{name} {value:.5f}" for name, value in words.items() if value is not None]
    console.print(f"on {found.pictures} pictures: {', '.join(parts) or 'no answers'}", highlight=False)
