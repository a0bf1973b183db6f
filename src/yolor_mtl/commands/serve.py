"""``yolor-mtl serve``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from rich.console import Console

from yolor_mtl.commands.common import make_predictor
from yolor_mtl.config import fill, parse_assignments
from yolor_mtl.records import UserError
from yolor_mtl.serve.limits import Limits


@dataclass
class ServeConfig:
    """Answers over HTTP, and a page to see them.

    Attributes:
        model: a ``.safetensors``, a run's folder, shipped weights, or a published ``.pt``.
        host: address to listen at; 0.0.0.0 for every one of this machine.
        port: port to listen at; 0 takes a free one.
        tasks: tasks to run; all that were trained by default.
        imgsz: side of the square frame, pixels; 0 takes the model's own.
        device: auto, cpu, cuda, mps, or a GPU's number.
        half: auto, true (bfloat16) or false (fp32).
        vocab: the word list that was published with a ``.pt`` that writes captions.
        strict: refuse a ``.pt`` that has tensors without a place, or places without a tensor; false only warns.
        max_bytes: greatest file.
        max_pixels: greatest picture, and pixels of all pictures that are decoded at one time.
        uploads: requests whose file is being read at one time.
        queue: pictures that wait for their answer.
        batch: pictures that the network sees at once.
        wait_ms: milliseconds that a picture waits for others to share a batch.
        timeout: seconds from a whole file to its answer.
        upload_timeout: seconds to send a file.
    """

    model: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    tasks: list[str] | None = None
    imgsz: int = 0
    device: str = "auto"
    half: str = "auto"
    vocab: str = ""
    strict: bool = True
    max_bytes: int = Limits.max_bytes
    max_pixels: int = Limits.max_pixels
    uploads: int = Limits.uploads
    queue: int = Limits.queue
    batch: int = Limits.batch
    wait_ms: float = Limits.wait_ms
    timeout: float = Limits.timeout
    upload_timeout: float = Limits.upload_timeout


def serve(words: Sequence[str], console: Console) -> int:
    """``yolor-mtl serve``.

    Raises:
        UserError: a library of the extra is missing, the address is taken, or the model cannot be used.
    """
    config = fill(ServeConfig, parse_assignments(words))
    limits = Limits(**{field.name: getattr(config, field.name) for field in fields(Limits)})
    try:
        from yolor_mtl.serve.app import create_app
        from yolor_mtl.serve.examples import draw_examples
        from yolor_mtl.serve.server import Server, listen
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("yolor_mtl"):
            raise
        raise UserError(f"serve needs {error.name}, which is not here: pip install 'yolor-mtl[serve]'") from error
    with listen(config.host, config.port) as listener:
        predictor = make_predictor(
            config.model, config.tasks, config.device, config.half, config.imgsz, config.vocab, config.strict
        )
        app = create_app(predictor, limits, draw_examples())
        shown = f"[{config.host}]" if ":" in config.host else config.host
        address = f"http://{shown}:{listener.getsockname()[1]}/"

        def ready() -> None:
            console.print(f"serving {config.model} at {address}  (Ctrl-C ends)", soft_wrap=True, highlight=False)

        return Server(app, ready).serve_on(listener)
