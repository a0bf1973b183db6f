"""The GPU computes what the CPU computes: outputs, losses, gradients and answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from torch import Tensor

from yolor_mtl.build import build_model, model_config
from yolor_mtl.data.coco import open_coco
from yolor_mtl.data.loader import checked_image
from yolor_mtl.inference.agreement import compare, gaps
from yolor_mtl.inference.catalog import full_space
from yolor_mtl.inference.model import YOLORMTL
from yolor_mtl.inference.result import Result
from yolor_mtl.ops.frame import letterbox_frame
from yolor_mtl.tasks.base import DecodeOptions, decode_all, task_losses, total_loss

NETWORKS = ["nano", "paper", "gelan-c", "gelan-c-pan", "yolov7-af-pan", "gyolo"]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("inference", [False, True], ids=["as trained", "as used"])
def test_outputs(name: str, inference: bool, card: torch.device) -> None:
    row = model_config(name)
    model = build_model(row, full_space(row))
    tiny.randomise(model.network)
    network = (model.inference() if inference else model).network.eval()
    pictures = tiny.images(2, (128, 192))
    with torch.inference_mode():
        should = network(pictures)
        found = network.to(card)(pictures.to(card))
    found = {task: {key: value.cpu() for key, value in outputs.items()} for task, outputs in found.items()}
    for key, gap in gaps(should, found).items():
        assert gap.most <= 2e-3 * max(1.0, gap.scale), (key, gap)


def joint_step(device: torch.device) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Loss terms and gradients of a tiny network; in evaluation mode, so that nothing is drawn by chance."""
    torch.manual_seed(0)
    tasks, network = tiny.build()
    network.eval().to(device)
    torch.manual_seed(0)
    wanted = tiny.targets()
    wanted = {task: {key: value.to(device) for key, value in table.items()} for task, table in wanted.items()}
    outputs = network(tiny.images().to(device), inputs={"captioning": wanted["captioning"]})
    total, parts = total_loss(tasks, task_losses(tasks, outputs, wanted))
    total.backward()
    gradients = {name: p.grad.cpu() for name, p in network.named_parameters() if p.grad is not None}
    return {name: part.item() for name, part in parts.items()}, gradients


def test_losses_and_gradients(card: torch.device) -> None:
    should, gradients = joint_step(torch.device("cpu"))
    found, here = joint_step(card)
    assert found == pytest.approx(should, rel=1e-4)
    assert here.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert float((here[name] - gradient).norm()) <= 2e-3 * float(gradient.norm()) + 1e-5, name


def test_decoding(card: torch.device) -> None:
    """The same outputs, decoded there and here."""
    tasks, network = tiny.build()
    sizes = [(100, 150), (641, 33)]
    options = DecodeOptions(conf=0.0, max_det=6, beam=2)
    frames = [letterbox_frame(size, (64, 96)) for size in sizes]
    with torch.inference_mode():
        outputs = network.eval()(tiny.images(2))
        there = {task: {key: value.to(card) for key, value in each.items()} for task, each in outputs.items()}
        should = decode_all(tasks, outputs, frames, options)
        network.to(card)  # a task that writes needs its weights where its memory is
        found = decode_all(tasks, there, frames, options)
    for one, other in zip(should, found, strict=True):
        assert one["captioning"]["text"] == other["captioning"]["text"]
        assert torch.allclose(one["detection"]["boxes"], other["detection"]["boxes"].cpu(), atol=1e-3)
        assert torch.equal(one["detection"]["classes"], other["detection"]["classes"].cpu())
        assert torch.equal(one["semantic"]["map"], other["semantic"]["map"].cpu())


def answers(root: Path, device: str, half: str) -> list[Result]:
    """What the shipped weights say to four scenes."""
    data = open_coco(root, ["val"], cache=False)
    model = YOLORMTL("scenes-nano", device=device, half=half)
    return model.predict([checked_image(data.annotations(index)).permute(1, 2, 0).numpy() for index in range(4)])


@pytest.mark.parametrize(("half", "least"), [("false", 0.99), ("true", 0.8), ("fp16", 0.8)])
def test_answers(half: str, least: float, scenes: Path) -> None:
    found = compare(answers(scenes, "cpu", "false"), answers(scenes, "cuda", half))
    assert found.boxes > 4
    assert None not in (found.box_iou, found.mask_iou, found.semantic, found.panoptic)
    assert min(found.box_iou or 0, found.mask_iou or 0, found.semantic or 0, found.panoptic or 0) >= least
    if half == "false":
        assert found.captions == 1.0
