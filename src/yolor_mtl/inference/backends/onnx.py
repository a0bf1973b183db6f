"""ONNX graphs: written from exported programs, run by ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from yolor_mtl.inference.backends.base import quiet
from yolor_mtl.ops.extras import need
from yolor_mtl.records import Outputs, UserError

SUFFIX = ".onnx"
"""Ending of a graph's file."""

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What it takes to write a graph and to open it."""

OPSET = 20
"""Version of ONNX's operators."""


def write(program: ExportedProgram, path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Writes a program as one ONNX file, its weights inside.

    Args:
        program: what to write.
        path: the file.
        inputs: names of its inputs, in order.
        outputs: names of its outputs, in order.

    Raises:
        UserError: the package that does it is not installed.
    """
    need("export", "onnx", "onnxscript")
    with quiet("torch", "onnx_ir", "onnxscript"):
        torch.onnx.export(
            program,
            f=str(path),
            dynamo=True,
            verbose=False,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            external_data=False,
        )


class OnnxGraph:
    """An ONNX file in ONNX Runtime.

    Args:
        path: the file.
        half: ``True`` is refused: ONNX Runtime computes what the graph says, which is fp32.

    Raises:
        UserError: the package is not installed, the file cannot be read, or ``half``.
    """

    def __init__(self, path: Path, half: bool = False) -> None:
        need("export", "onnxruntime")
        import onnxruntime as ort

        if half:
            raise UserError("half=true: ONNX Runtime computes this graph in fp32; leave half= out, or export openvino")
        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # warnings speak of the graph's inner names
        # Threads that spin while they wait take the cores from torch, which works between two runs, and from the other
        # graphs: a caption is written by turns of all of them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of no common class
            raise UserError(f"{path} cannot be read by ONNX Runtime: {_first_line(error)}; export it anew") from error
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        self._outputs = [entry.name for entry in self._session.get_outputs()]

    def __call__(self, inputs: Mapping[str, Tensor], wanted: Collection[str] = ()) -> Outputs:
        """Outputs by name; see :class:`~yolor_mtl.inference.backends.base.Graph`."""
        names = [name for name in self._outputs if not wanted or name in wanted]
        given = {name: inputs[name].detach().cpu().numpy() for name in self._inputs}
        found: list[Any] = self._session.run(names, given)
        return {name: torch.from_numpy(value) for name, value in zip(names, found, strict=True)}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
