"""OpenVINO graphs: converted from exported programs, quantised, run on the CPU."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from yolor_mtl.inference.backends.base import IMAGES, quiet
from yolor_mtl.ops.extras import need
from yolor_mtl.records import Outputs, UserError

SUFFIX = ".xml"
"""Ending of a graph's file; its weights lie beside it, in ``.bin``."""

PACKAGES = ("openvino",)
"""What it takes to write a graph and to open it."""


def _need(*packages: str) -> None:
    """To be called before any import of OpenVINO or NNCF: refuses to go on without them, and stops their telemetry.

    Both report to a server that they were imported and what they did, unasked, and keep a client's number in
    ``~/intel``. Their switches do not help: ``opt_in_out --opt_out`` reports itself, and NNCF reads its variables only
    after it made the files. Without the package that does the sending both go on with a stub, so it cannot be
    imported any more. Who imported it before us has chosen for the process, and keeps it.

    Raises:
        UserError: a package is not installed.
    """
    need("export", *packages)
    # None makes the import of a module fail; typeshed knows no such value.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def write(program: ExportedProgram, path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Writes a program as OpenVINO's two files, weights in fp32.

    Args:
        program: what to write.
        path: the ``.xml``.
        inputs: names of its inputs, in order.
        outputs: names of its outputs, in order.

    Raises:
        UserError: the package is not installed.
    """
    _need("openvino")
    import openvino

    _settle_least(program)
    model = openvino.convert_model(program)
    for ports, names in ((model.inputs, inputs), (model.outputs, outputs)):
        for port, name in zip(ports, names, strict=True):
            port.get_tensor().set_names({name})
    openvino.save_model(model, str(path), compress_to_fp16=False)


def _settle_least(program: ExportedProgram) -> None:
    """Puts the number in place of the lesser of a number and a size, in place: OpenVINO has no such operation.

    What it bounds, the points that captions look at, is then a least size of the frame, see ``docs/export.md``.
    """
    settled = {
        node: next(value for value in node.args if isinstance(value, int))
        for node in program.graph.nodes
        if node.target is torch.sym_min
    }
    for node in settled:
        for user in list(node.users):
            user.args = torch.fx.map_arg(user.args, lambda used: settled.get(used, used))
        program.graph.erase_node(node)


def quantise(path: Path, images: Iterable[Tensor], number: int) -> None:
    """Makes a vision graph compute in int8, in place: post-training quantisation.

    Args:
        path: the ``.xml``.
        images: letterboxed pictures (1, 3, H, W) uint8 that show which values occur.
        number: how many there are at most.

    Raises:
        UserError: the package is not installed.
    """
    _need("openvino", "nncf")
    import nncf
    import openvino

    model = openvino.Core().read_model(str(path))
    shown = nncf.Dataset(list(images), lambda image: {IMAGES: image.numpy()})
    # Mixed: activations after SiLU are not symmetric about zero.
    with quiet("nncf"), redirect_stdout(io.StringIO()):  # its bars would stand in what a command prints as JSON
        smaller = nncf.quantize(model, shown, preset=nncf.QuantizationPreset.MIXED, subset_size=number)
    del model  # the file is written over: nothing may read from it any more
    quantised = path.with_name(f"{path.stem}-int8{path.suffix}")
    openvino.save_model(smaller, str(quantised), compress_to_fp16=False)
    for suffix in (path.suffix, ".bin"):
        quantised.with_suffix(suffix).replace(path.with_suffix(suffix))


class OpenvinoGraph:
    """OpenVINO's files, compiled for the CPU.

    Args:
        path: the ``.xml``.
        half: compute in bfloat16. Said either way: OpenVINO chooses it by itself where the CPU has it.

    Raises:
        UserError: the package is not installed, or the files cannot be read.
    """

    def __init__(self, path: Path, half: bool = False) -> None:
        _need("openvino")
        import openvino
        import openvino.properties as properties
        import openvino.properties.hint as hints

        keys = {
            hints.inference_precision: openvino.Type.bf16 if half else openvino.Type.f32,
            hints.performance_mode: hints.PerformanceMode.LATENCY,
            properties.inference_num_threads: torch.get_num_threads(),
        }
        try:
            self._compiled = openvino.Core().compile_model(str(path), "CPU", keys)
        except RuntimeError as error:
            lines = [line for line in str(error).splitlines() if line.strip()] or ["unknown"]
            raise UserError(f"{path} cannot be read by OpenVINO: {lines[-1].strip()}; export it anew") from error
        self._inputs = [port.get_any_name() for port in self._compiled.inputs]
        self._outputs = {port.get_any_name(): port for port in self._compiled.outputs}
        self._request = self._compiled.create_infer_request()
        self._turn = threading.Lock()  # a request holds the tensors of one run

    def __call__(self, inputs: Mapping[str, Tensor], wanted: Collection[str] = ()) -> Outputs:
        """Outputs by name; see :class:`~yolor_mtl.inference.backends.base.Graph`."""
        given: dict[str, Any] = {name: inputs[name].detach().cpu().numpy() for name in self._inputs}
        with self._turn:
            found = self._request.infer(given, share_inputs=True, share_outputs=False)
            return {
                name: torch.from_numpy(found[port])
                for name, port in self._outputs.items()
                if not wanted or name in wanted
            }
