"""What a training is told: one dataclass, filled from YAML and ``key=value``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolor_mtl.config import fill, packaged, read_yaml
from yolor_mtl.data.transforms import AugmentConfig
from yolor_mtl.records import UserError


@dataclass
class TrainConfig:
    """The keys of ``yolor-mtl train``.

    Attributes:
        model: a shipped network's name or a YAML file.
        data: a folder in COCO's layout, a YAML file, or the word ``scenes``.
        train: split or splits to train on.
        val: split or splits to evaluate on.
        tasks: tasks to train; all that the network has and the data allows by default.
        network: changes to the network's row, ``{"semantic": {"loss": "multilabel"}}``; on the command line
            ``semantic.loss=multilabel``.
        name: name of the run, a folder under ``runs``.
        out: the run's folder itself, instead of ``name``.
        epochs: passes over the training pictures.
        minutes: time budget; 0 for none. The schedule is cut to fit it.
        imgsz: side of the square frame, pixels; 0 takes the network's.
        batch: pictures of a step in one process.
        workers: processes that load pictures; -1 chooses by the machine.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``, or a GPU's number.
        half: ``auto``, ``true`` (bfloat16 autocast) or ``false`` (fp32).
        seed: of weights, order and augmentation.
        resume: a run's folder (or its ``last.ckpt``) to go on with; its own configuration holds where none is given.
        weights: a ``.safetensors`` to start from.
        lr: learning rate after warm-up, for a batch of any size.
        text_lr: learning rate of the tasks trained on the language view, as a factor of ``lr`` (paper: equal).
        final_lr: learning rate at the end, as a factor.
        weight_decay: AdamW's, on matrices and kernels only.
        warmup: steps of linear warm-up, at most a tenth of the steps of all epochs.
        clip: greatest norm of the gradient; 0 for no clipping.
        ema: decay of the averaged weights; 0 for no averaging.
        ema_ramp: steps over which the decay is reached.
        language_share: the language view's part of a batch.
        augment: strong augmentation of the vision view.
        val_batches: greatest number of validation batches an epoch; 0 for all.
        val_every: epochs between two validations.
        plots: pictures in the report.
        beside: other weights to score and show beside the trained ones in the report, such as ``scenes-nano``.
    """

    model: str = "nano"
    data: str = "scenes"
    train: Any = "train"
    val: Any = "val"
    tasks: list[str] = field(default_factory=list)
    network: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    out: str = ""
    epochs: int = 50
    minutes: float = 0.0
    imgsz: int = 0
    batch: int = 16
    workers: int = -1
    device: str = "auto"
    half: str = "auto"
    seed: int = 0
    resume: str = ""
    weights: str = ""
    lr: float = 2e-3
    text_lr: float = 1.0
    final_lr: float = 0.02
    weight_decay: float = 0.02
    warmup: int = 300
    clip: float = 10.0
    ema: float = 0.9995
    ema_ramp: int = 500
    language_share: float = 0.25
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    val_batches: int = 0
    val_every: int = 1
    plots: int = 12
    beside: str = ""


def train_config(
    assigned: Mapping[str, Any], parts: Mapping[str, Any] | None = None, recipe: str = "default"
) -> TrainConfig:
    """A complete configuration.

    Args:
        assigned: keys given by the user; ``config`` names a YAML file with more of them, or a shipped recipe such as
            ``scenes-nano``, which they overrule. With ``resume``, the run's own ``config.yaml`` lies under both.
        parts: changes to the network's row.
        recipe: a shipped file of ``configs/train`` underneath.

    Raises:
        UserError: an unknown key or a value that cannot be.
    """
    given = dict(assigned)
    file = given.pop("config", None)
    earlier = resumed_folder(str(given["resume"])) / "config.yaml" if given.get("resume") else None
    layers = [
        packaged("train", recipe),
        read_yaml(earlier) if earlier and earlier.is_file() else {},
        packaged("train", str(file)) if file else {},
        given,
    ]
    config = fill(TrainConfig, *layers)
    config.network = {**config.network, **(parts or {})}
    _check(config)
    return config


def _check(config: TrainConfig) -> None:
    least = {"epochs": 1, "batch": 1, "imgsz": 0, "workers": -1, "val_every": 1, "val_batches": 0, "minutes": 0}
    least |= dict.fromkeys(("seed", "plots", "weight_decay", "text_lr", "final_lr", "warmup", "clip", "ema_ramp"), 0)
    for key, value in least.items():
        if getattr(config, key) < value:
            raise UserError(f"{key}={getattr(config, key)} is below the least, {value}")
    for key in ("mosaic", "mixup", "flip", "close"):
        if not 0 <= getattr(config.augment, key) <= 1:
            raise UserError(f"augment.{key}={getattr(config.augment, key)} must lie in 0..1")
    for key in ("scale", "saturation", "brightness"):
        if not 0 <= getattr(config.augment, key) < 1:
            raise UserError(f"augment.{key}={getattr(config.augment, key)} must lie in 0..1, 1 excluded")
    if not 0 <= config.augment.hue <= 0.5:
        raise UserError(f"augment.hue={config.augment.hue} must lie in 0..0.5")
    if not 0 < config.language_share < 1:
        raise UserError(f"language_share={config.language_share} must lie between 0 and 1")
    if config.lr <= 0:
        raise UserError(f"lr={config.lr} must be above 0")
    if not 0 <= config.ema < 1:
        raise UserError(f"ema={config.ema} must lie in 0..1, 1 excluded")


def resumed_folder(resume: str) -> Path:
    """The run's folder that ``resume=`` means, by its own name or by that of its checkpoint."""
    path = Path(resume)
    return path.parent if path.suffix == ".ckpt" else path
