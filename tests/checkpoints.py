"""Checkpoints in the published layout: whole pickled modules of classes that are gone afterwards.

And files that only look like them.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import re
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import coco_builder
import numpy as np
import tiny
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.ops.misc import FrozenBatchNorm2d

from yolor_mtl.build import Model, build_model, model_config
from yolor_mtl.data.coco_stuff_classes import released_space
from yolor_mtl.upstream import keys
from yolor_mtl.upstream.names import Names

Make = Callable[[str], type[nn.Module]]
"""``make("models.common.Conv")``: a class of that name in a module of that name."""

RUNNING = ("running_mean", "running_var", "num_batches_tracked")


@contextlib.contextmanager
def foreign_classes() -> Iterator[Make]:
    """Classes of modules that exist, and so can be pickled, only inside."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "models"}
    for name in ("models", "models.yolo", "models.common", "models.grit"):
        sys.modules[name] = ModuleType(name)

    def make(path: str) -> type[nn.Module]:
        home, _, name = path.rpartition(".")
        if not hasattr(sys.modules[home], name):

            def forward(self: nn.Module) -> None:
                """What heads keep a reference to."""

            forward.__module__, forward.__qualname__ = home, f"{name}.forward"
            made = type(name, (nn.Module,), {"__module__": home, "forward": forward})
            setattr(sys.modules[home], name, made)
        found: type[nn.Module] = getattr(sys.modules[home], name)
        return found

    try:
        yield make
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "models"]:
            del sys.modules[name]
        sys.modules.update(before)


def network(state: Mapping[str, Tensor], make: Make, *, head: str = "Panoptic", frozen: bool = False) -> nn.Module:
    """A module whose state dict is ``state``, nested and with attributes as in a published file.

    Args:
        state: key -> tensor, every key beginning with ``model.<number>.``.
        make: makes classes.
        head: class of the layer that has the key ``dfl``.
        frozen: batch norms are torchvision's frozen ones, as after tuning the captions.
    """
    tree: dict[str, Any] = {}
    for key, tensor in state.items():
        *path, leaf = key.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = tensor
    layers = tree["model"]
    root = make("models.yolo.SegmentationModel")()
    root.model = nn.Sequential(
        *(
            _module(layers.get(str(index), {}), make, f"models.yolo.{head}", frozen)
            for index in range(max(map(int, layers)) + 1)
        )
    )
    for index, layer in enumerate(root.model):
        layer.i, layer.f, layer.type, layer.np = index, -1, "models.common.Conv", 1
    base = make("models.yolo.TripleDDetect" if head == "DualDPanoptic" else "models.yolo.Detect")
    top = next(layer for layer in root.model if hasattr(layer, "dfl"))
    top.detect = base.forward  # pickled through getattr
    top.stride = torch.tensor([8.0, 16.0, 32.0])
    root.names = dict(enumerate(released_space().names))
    root.yaml = {"nc": 80, "backbone": [[-1, 1, "Conv", [64, 3, 2]]], "anchors": None}
    root.stride, root.nc, root.save, root.inplace = torch.tensor([8.0, 16.0, 32.0]), 80, [4, 6], True
    root.hyp, root.class_weights = {"box": 7.5}, torch.ones(80)
    return root.eval()


def _module(node: Mapping[str, Any], make: Make, head: str, frozen: bool) -> nn.Module:
    own = {name: value for name, value in node.items() if isinstance(value, Tensor)}
    if frozen and "running_var" in own:
        own.pop("num_batches_tracked")
        module: nn.Module = FrozenBatchNorm2d(1, eps=1e-3)
    else:
        module = _holder(own, node, make, head)
    module._parameters.clear()
    module._buffers.clear()
    for name, value in own.items():
        if (frozen and "running_var" in own) or name.startswith("running_") or name in RUNNING:
            module.register_buffer(name, value)
        else:
            module.register_parameter(name, nn.Parameter(value, requires_grad=False))
    for name, value in node.items():
        if not isinstance(value, Tensor):
            module.add_module(name, _module(value, make, head, frozen))
    return module


def _holder(own: Mapping[str, Tensor], node: Mapping[str, Any], make: Make, head: str) -> nn.Module:
    """An empty module of about the class that the published ones have there."""
    weight = own.get("weight")
    if "dfl" in node:
        return make(head)()
    if "running_var" in own:
        return nn.BatchNorm2d(1, eps=1e-3, momentum=0.03)
    if weight is not None and len(own) == len(node):
        plain: dict[int, Callable[[], nn.Module]] = {
            1: lambda: nn.LayerNorm(1),
            2: (lambda: nn.Linear(1, 1)) if "bias" in own else (lambda: nn.Embedding(1, 1)),
            4: lambda: nn.Conv2d(1, 1, 1),
        }
        return plain[weight.dim()]()
    if node and all(name.isdigit() for name in node):
        return nn.ModuleList()
    return make("models.common.Conv" if "bn" in node else "models.common.RepNCSPELAN4")()


def top(**entries: Any) -> dict[str, Any]:
    """What stands at the top of a stripped file; ``entries`` come on top of it."""
    plain = {"epoch": -1, "best_fitness": None, "model": None, "ema": None, "updates": None, "optimizer": None}
    options = {"imgsz": 640, "hyp": {"lr0": 0.01}, "save_dir": "runs/x", "freeze": [0], "device": ""}
    return {**plain, "opt": options, "git": None, "date": "2024-01-02T03:04:05", **entries}


def publish(path: Path, state: Mapping[str, Tensor], *, half: bool = False, **more: Any) -> Path:
    """Writes ``model`` with these weights, and nothing but it; ``more`` goes to :func:`network`."""
    with foreign_classes() as make:
        module = network(state, make, **more)
        torch.save(top(model=module.half() if half else module), path)
    return path


TABLES: Mapping[str, Names] = {"gelan-c-pan": keys.GELAN_C_PAN, "yolov7-af-pan": keys.YOLOV7_AF_PAN}
"""The key tables of the releases without captions."""


def published_key(name: str, names: Names) -> str | None:
    """The released key of a tensor of ours: the tables read from right to left."""
    for start, (ours, inner) in names.items():
        pattern = re.escape(ours).replace(r"\*", r"(\d+)") + (r"(?:\.|$)" if ours else "")
        if not (found := re.match(rf"{pattern}(.*)$", name)):
            continue
        *numbers, rest = found.groups()
        for number in numbers:
            start = start.replace("*", number, 1)
        tail = published_key(rest, inner) if inner is not None else rest
        if tail is not None:
            return ".".join(part for part in (start, tail) if part)
    return None


@cache
def untrained(release: str) -> Model:
    """A release's network with random weights that half precision holds exactly, in evaluation mode; not to change."""
    torch.manual_seed(0)
    model = build_model(model_config(release), released_space())
    tiny.randomise(model.network)
    model.network.half().float().eval()
    return model


def published_state(release: str) -> dict[str, Tensor]:
    """The weights of :func:`untrained` by released keys."""
    own = untrained(release).network.state_dict()
    return {str(published_key(name, TABLES[release])): tensor for name, tensor in own.items()}


class Call:
    """Pickled as a call of ``function``, which may be another such call."""

    def __init__(self, function: Any, *args: Any) -> None:
        self._call = function, args

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._call

    def __call__(self) -> None:
        """Never used: ``pickle`` wants to see something that can be called."""


class Reference:
    """Pickled as a reference to something outside, such as a storage."""

    def __init__(self, *told: Any) -> None:
        self.told = told


def storage_of(numel: int, key: str = "0", kind: Any = torch.FloatStorage) -> Reference:
    """A storage as ``torch.save`` refers to it."""
    return Reference("storage", kind, key, "cpu", numel)


def tensor_of(place: Reference, size: tuple[Any, ...], stride: tuple[Any, ...], offset: int = 0) -> Call:
    """A tensor as ``torch.save`` tells it."""
    return Call(torch._utils._rebuild_tensor_v2, place, offset, size, stride, False, OrderedDict())


def dumps(value: Any, protocol: int = 2) -> bytes:
    """The pickle of a value with :class:`Call` and :class:`Reference` in it."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, inner: Any) -> Any:
            return inner.told if isinstance(inner, Reference) else None

    file = io.BytesIO()
    Pickler(file, protocol).dump(value)
    return file.getvalue()


def write_archive(path: Path, content: bytes, storages: Mapping[str, bytes] | None = None, **more: Any) -> Path:
    """A zip file as ``torch.save`` lays it out, around any bytes in place of the pickle; ``more`` goes to the zip."""
    with zipfile.ZipFile(path, "w", **more) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/byteorder", sys.byteorder)
        for key, numbers in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", numbers)
        archive.writestr("archive/version", "3\n")
    return path


def labelled_pictures(root: Path) -> Path:
    """Two pictures of noise labelled with COCO's 80 classes and captions, as the split ``val``, under ``root``."""
    entries = [coco_builder.image(number) for number in (1, 2)]
    classes = [{"id": thing.id, "name": thing.name, "supercategory": "x"} for thing in released_space().things]
    things = [coco_builder.thing(1, 1, 1), coco_builder.thing(2, 2, 90)]
    told = {"images": entries, "annotations": [{**coco_builder.caption(n, "a cat on a mat"), "id": n} for n in (1, 2)]}
    coco_builder.split(root, "val", instances=coco_builder.instances(entries, things, classes), captions=told)
    rng = np.random.default_rng(0)
    for entry in entries:
        pixels = rng.integers(0, 256, (entry["height"], entry["width"], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / "val" / entry["file_name"])
    return root
