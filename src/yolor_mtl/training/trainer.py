"""A training from configuration to weights."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console

from yolor_mtl.build import (
    Model,
    build_model,
    check_space,
    learn_space,
    model_config,
    possible_tasks,
    stored_row,
)
from yolor_mtl.config import split_names, to_yaml
from yolor_mtl.data.augment import AugmentConfig, check_meaning
from yolor_mtl.data.coco import CocoDataset, open_coco
from yolor_mtl.data.labels import Labels
from yolor_mtl.data.loader import (
    EvaluationLoader,
    EvaluationSet,
    TrainingSet,
    evaluation_loader,
    training_loader,
    view_pools,
)
from yolor_mtl.data.schedule import Schedule, StepSampler
from yolor_mtl.models.weights import BEST, found_weights, load_state, read_weights
from yolor_mtl.ops.device import choose_device, half_type, loading_processes
from yolor_mtl.ops.faults import system_fault
from yolor_mtl.ops.files import write_text
from yolor_mtl.ops.ranks import peer_lost, place, rank_and_world
from yolor_mtl.records import Fault, UserError, View
from yolor_mtl.training.average import MovingAverage
from yolor_mtl.training.callbacks import Recorder, StoppedError, Stopper
from yolor_mtl.training.checkpoint import LAST, PREVIOUS, clear_leftovers, find_state, set_place
from yolor_mtl.training.cluster import Cluster
from yolor_mtl.training.config import TrainConfig, resumed_folder
from yolor_mtl.training.diverged import keep_batch
from yolor_mtl.training.finetune import changed_row, fine_tuned
from yolor_mtl.training.freeze import Freezer
from yolor_mtl.training.kept import keep_features, kept_loader, lone_reader
from yolor_mtl.training.module import DivergedError, JointStep
from yolor_mtl.training.plan import Plan
from yolor_mtl.training.progress import TrainingBar
from yolor_mtl.training.samples import Samples

PIPELINES: Mapping[View, str] = {"vision": "augment", "language": "weak"}
"""View -> key of the configuration that holds its augmentation."""

PRECISIONS: Mapping[torch.dtype | None, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    None: "32-true",
    torch.bfloat16: "bf16-mixed",
    torch.float16: "16-mixed",
}
"""What Lightning calls the numbers that are computed in."""

UNREADABLE = 10
"""So many pictures may be unreadable in any training, however small its data."""

FAULT = 3
"""Exit code of a training that could not go on."""


@dataclass(frozen=True)
class TrainResult:
    """What a training leaves.

    Attributes:
        out: the run's folder.
        scores: of the last validation.
        failures: path -> reason of pictures that could not be read.
        exit_code: 0 done; 1 done but pictures failed; with the state saved 3 stopped by ``fault``, 130, 143 or 129
            by a signal.
        fault: why it could not go on.
    """

    out: Path
    scores: dict[str, float]
    failures: dict[str, str] = field(default_factory=dict)
    exit_code: int = 0
    fault: str = ""


def train(config: TrainConfig, root: Path, console: Console) -> TrainResult:
    """Trains, validates every epoch, and leaves the run's folder.

    Args:
        config: what to do.
        root: the data set that ``config.data`` stands for.
        console: for progress and messages.

    Raises:
        UserError: data, network and configuration do not fit.
        DivergedError: a loss is no longer a number; the state before it and its batch are saved.
        Fault: the machine cannot go on: no memory, a full disk, a process that was ended. What to do is said.
    """
    out = run_folder(config)
    half_type(config.half, choose_device(config.device))  # refuses now what it would refuse later
    rank, world = rank_and_world()
    _check_processes(config, world)
    checkpoint = find_state(config.resume, console) if config.resume else None
    pl.seed_everything(config.seed, workers=False, verbose=False)
    data = open_coco(root, split_names(config.train), maps=config.maps)
    held_out = open_coco(root, split_names(config.val), maps=config.maps)
    model = prepare_model(config, data, console)
    imgsz = config.imgsz or model.config.imgsz
    _check_size(imgsz, model)
    model.config.imgsz = imgsz
    freezer = Freezer(model.network, model.tasks, config.freeze, config.freeze_epochs)
    learning = model.tasks if config.freeze_epochs else freezer.consulted()
    labels = {task.name: task.labels for task in learning if task.labels is not None}
    _check_augmentation(config, model)
    out.mkdir(parents=True, exist_ok=True)
    if rank == 0:
        clear_leftovers(out)
    sampler, loader = _training_data(config, data, labels, (imgsz, imgsz))
    steps = -(-sampler.schedule.steps // config.accumulate)
    plan = Plan(steps * config.epochs, config.minutes)
    closing = 1 - config.augment.close
    sampler.calm = lambda epoch, batch: plan.progress(epoch * steps + batch // config.accumulate) >= closing
    module = JointStep(model, config, plan, lambda text: console.print(text, style="yellow", highlight=False))
    write_text(out / "config.yaml", to_yaml(config))
    _announce(console, model, data, held_out, sampler.schedule, out)
    if config.accumulate > 1:
        console.print(f"{config.accumulate} of these make one step of the optimiser, {steps} an epoch")
    if config.keep_features and world == 1 and (reader := lone_reader(model, freezer, _pipelines(config))):
        loader = _kept(config, model, reader, data, sampler, module, out, console) or loader
    for task in learning:
        if task.study is not None:
            task.study(data.caption_groups())
    average = MovingAverage(config.ema, config.ema_ramp) if config.ema else None
    recorder = Recorder(
        model,
        out,
        {"data": str(config.data)},
        average,
        checkpoint,
        save_every=config.save_every,
        keep_every=config.keep_every,
    )
    stopper = Stopper(recorder.save_state, max(UNREADABLE, config.unreadable * (len(data) + len(held_out))))
    # The average first: a state that is saved after a step holds that step's.
    callbacks = [recorder, Samples(out, config.samples), stopper, TrainingBar(console)]
    trainer = _lightning(config, out, [*([average] if average else []), *callbacks])
    pictures = EvaluationSet(held_out, (imgsz, imgsz))
    workers = loading_processes(config.workers, choose_device(config.device))
    validation = evaluation_loader(
        pictures, batch=config.batch, workers=workers, rank=rank, world=world, batches=config.val_batches
    )
    if checkpoint is not None:
        set_place(checkpoint, sampler)
    try:
        _fit(trainer, module, loader, validation, stopper, recorder, checkpoint)
    except DivergedError as error:
        raise DivergedError(_explained(error, trainer, module, data, sampler.schedule, out)) from error
    return _finish(out, module, stopper)


def _check_processes(config: TrainConfig, world: int) -> None:
    """Refuses what works in one process only."""
    if config.surgery != "none" and world > 1:
        # DDP averages what backward leaves, before there is a gradient of each task over all processes.
        raise UserError(f"surgery={config.surgery} works in one process, not in {world}; leave it out or use one")
    if config.freeze and config.freeze_epochs and world > 1:
        # DDP learns once which parameters have gradients.
        raise UserError(f"freeze_epochs={config.freeze_epochs} works in one process, not in {world}; set it to 0")
    if config.minutes and world > 1:
        # Each process has a clock of its own: their learning rates, and their last steps, would differ.
        raise UserError(f"minutes={config.minutes:g} works in one process, not in {world}; say epochs=")
    here = place()
    if here.world != here.local * here.nodes:
        remedy = "give each machine as many with srun --ntasks-per-node="
        raise UserError(f"a training of {here.world} processes on {here.nodes} machines: {remedy}")


def _fit(
    trainer: pl.Trainer,
    module: JointStep,
    loader: torch.utils.data.DataLoader[object],
    validation: EvaluationLoader,
    stopper: Stopper,
    recorder: Recorder,
    checkpoint: Path | None,
) -> None:
    """Runs the loops; whatever ends them, records and state are on disk afterwards, if there is room on it.

    Raises:
        Fault: see :func:`train`.
    """
    try:
        with stopper.listening():
            module.plan.start()
            trainer.fit(module, loader, validation, ckpt_path=checkpoint, weights_only=True)
            if recorder.validated_step != trainer.global_step:
                # The time ran out inside an epoch: Lightning leaves without a last validation.
                trainer.validate(module, validation, verbose=False)
    except StoppedError:
        # The stopper knows why; the state is saved.
        pass
    except Exception as error:
        with suppress(OSError):
            recorder.write()
        if isinstance(error, DivergedError):
            raise
        told = str(error) if isinstance(error, Fault) else system_fault(error)
        if trainer.world_size > 1 and peer_lost(error):
            told = "another process of this training has ended or cannot be reached; its own message says why"
        if told is None:
            raise
        raise Fault(f"{told}; {what_is_kept(recorder.out)}") from error
    recorder.write()


def what_is_kept(out: Path) -> str:
    """How a run that was stopped goes on."""
    if any((out / name).is_file() for name in (LAST, PREVIOUS)):
        return f"the state is kept, go on with resume={out}"
    return "it came before the first state was kept"


def _explained(
    error: DivergedError, trainer: pl.Trainer, module: JointStep, data: CocoDataset, schedule: Schedule, out: Path
) -> str:
    """What diverged, and where its batch, which is written here, and the state before it are kept."""
    text = str(error)
    if error.batch is not None:
        epoch, place = trainer.current_epoch, error.place
        paths = [str(data.annotations(draw.index).path) for draw in schedule.step(epoch, place)]
        facts = {"step": trainer.global_step, "epoch": epoch, "place": place, "seed": module.config.seed}
        text += f"; its batch is kept in {keep_batch(error.batch, out, paths, **facts, message=str(error))}"
    if (out / LAST).is_file():
        text += f"; the state before it is kept: resume={out}, with a lower lr= or with half=false"
    return text


def _finish(out: Path, module: JointStep, stopper: Stopper) -> TrainResult:
    code = 1 if module.failures else 0
    if stopper.signal is not None:
        code = FAULT if stopper.fault else 128 + stopper.signal
    return TrainResult(out, dict(module.scores), dict(module.failures), code, stopper.fault)


def run_folder(config: TrainConfig) -> Path:
    """``out``, or ``runs/<name>``; a name of its own where none is given.

    Raises:
        UserError: the folder holds an earlier run that is not resumed.
    """
    if config.resume:
        return resumed_folder(config.resume)
    if config.out or config.name:
        folder = Path(config.out) if config.out else Path("runs") / config.name
        if any((folder / name).exists() for name in (LAST, PREVIOUS)):
            raise UserError(f"{folder} holds an earlier run; go on with resume={folder}, or choose another name=")
        return folder
    number = 1
    while (Path("runs") / f"{Path(config.model).stem}-{number}").exists():
        number += 1
    return Path("runs") / f"{Path(config.model).stem}-{number}"


def prepare_model(config: TrainConfig, data: CocoDataset, console: Console) -> Model:
    """A fresh network for the data's classes, or one that starts from ``weights``, in training mode.

    A resumed network keeps its own vocabulary; classes must be the data's.
    """
    previous = resumed_folder(config.resume) / BEST
    said: list[str] = []
    if config.resume and previous.is_file():
        model = _resumed(previous, config, data)
    elif config.weights:
        others = "what yolor-mtl convert makes of a published .pt, "
        with found_weights("weights", config.weights, others=others) as path:
            model, said = fine_tuned(path, data, config)
    else:
        row = model_config(config.model, config.network)
        space = learn_space(data, row)
        model = build_model(row, space, config.tasks or possible_tasks(row, space))
    for line in said:
        console.print(line, highlight=False, soft_wrap=True)
    # Lightning leaves modules in the mode in which it finds them.
    model.network.train()
    return model


def _resumed(path: Path, config: TrainConfig, data: CocoDataset) -> Model:
    """The network of a run, from its best weights; the state to go on from is loaded later."""
    state, metadata = read_weights(path)
    stored, space = stored_row(metadata, path)
    check_space(space, data.space)
    row = changed_row(stored, config)
    model = build_model(row, space, config.tasks or possible_tasks(row, space), helped=True)
    load_state(model.network, state, str(path))
    return model


def _announce(
    console: Console, model: Model, data: CocoDataset, held_out: CocoDataset, schedule: Schedule, out: Path
) -> None:
    """What is about to happen, in a few lines."""
    parameters = sum(model.parameters_by_part().values())
    console.print(f"[bold]{', '.join(task.name for task in model.tasks)}[/bold]  {parameters / 1e6:.2f} M parameters")
    for role, part in (("train", data), ("val", held_out)):
        counts = part.counts
        labelled = ", ".join(f"{kind} {counts[kind]}" for kind in ("boxes", "masks", "panoptic", "stuff", "captions"))
        console.print(f"{role} {'+'.join(part.split_names)}: {counts['images']} pictures, labelled for {labelled}")
        if counts["empty"] or counts["dropped_boxes"]:
            dropped = f"{counts['dropped_boxes']} boxes without area left out"
            console.print(f"  {counts['empty']} pictures are labelled as without objects, {dropped}")
    rows = " + ".join(f"{count} {view}" for view, count in schedule.rows.items())
    console.print(f"{schedule.steps} steps an epoch of {rows} pictures; everything goes to {out}/")


def _check_size(imgsz: int, model: Model) -> None:
    multiple = model.network.trunk.multiple
    if imgsz % multiple:
        near = max(multiple, round(imgsz / multiple) * multiple)
        raise UserError(f"imgsz={imgsz} must be a multiple of {multiple}; imgsz={near} is the nearest")


def _check_augmentation(config: TrainConfig, model: Model) -> None:
    """Refuses pipelines after which a task's labels would be untrue."""
    for view, key in PIPELINES.items():
        served = [task for task in model.tasks if task.labels is not None and task.labels.view == view]
        check_meaning(getattr(config, key), key, {task.name: task.relies for task in served})


def _training_data(
    config: TrainConfig, data: CocoDataset, labels: dict[str, Labels], size: tuple[int, int]
) -> tuple[StepSampler, torch.utils.data.DataLoader[object]]:
    pools = view_pools(data, labels)
    if config.batch == 1 and all(len(pool) for pool in pools.values()):
        raise UserError("batch=1 has no room for both views, and captions would not be trained; use batch=2 or more")
    rank, world = rank_and_world()
    share, seed = config.language_share, config.seed
    schedule = Schedule(pools, config.batch, share=share, seed=seed, rank=rank, world=world, groups=data.groups)
    if not schedule.steps:
        raise UserError(f"no picture of {', '.join(data.split_names)} is labelled for {', '.join(labels)}")
    sampler = StepSampler(schedule)
    dataset = TrainingSet(data, labels, pools, size, _pipelines(config))
    device = choose_device(config.device)
    workers = loading_processes(config.workers, device)
    return sampler, training_loader(dataset, sampler, workers=workers, pin_memory=device.type == "cuda")


def _pipelines(config: TrainConfig) -> dict[View, AugmentConfig]:
    return {view: getattr(config, key) for view, key in PIPELINES.items()}


def _kept(
    config: TrainConfig,
    model: Model,
    name: str,
    data: CocoDataset,
    sampler: StepSampler,
    module: JointStep,
    out: Path,
    console: Console,
) -> torch.utils.data.DataLoader[Any] | None:
    """Batches of what the frozen part makes of the pictures, for the one task that learns."""
    (task,) = (task for task in model.tasks if task.name == name)
    assert task.labels is not None
    device = choose_device(config.device)
    found = keep_features(
        model,
        {name: task.labels},
        data,
        sampler.schedule.pools[task.labels.view].tolist(),
        (model.config.imgsz, model.config.imgsz),
        device=device,
        half=half_type(config.half, device),
        batch=config.batch,
        workers=loading_processes(config.workers, device),
        folder=out,
        console=console,
    )
    if found is None:
        return None
    kept, failures = found
    module.failures.update(failures)
    return kept_loader(kept, sampler)


class _Events(TensorBoardLogger):
    """TensorBoard's events right in the run's folder, without an empty ``hparams.yaml``."""

    def save(self) -> None:
        """Nothing: the configuration is kept in ``config.yaml``."""


def _lightning(config: TrainConfig, out: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
    """Lightning's trainer with its own talk and its own checkpoints turned off."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
    device = choose_device(config.device)
    here = place()
    return pl.Trainer(
        accelerator={"cuda": "gpu"}.get(device.type, device.type),
        devices=here.local if device.index is None else [device.index],
        num_nodes=here.nodes,
        plugins=[Cluster(here)],
        precision=PRECISIONS[half_type(config.half, device)],
        accumulate_grad_batches=config.accumulate,
        max_epochs=config.epochs,
        check_val_every_n_epoch=config.val_every,
        num_sanity_val_steps=0,
        logger=_Events(save_dir=str(out), name="", version=""),
        log_every_n_steps=5,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
