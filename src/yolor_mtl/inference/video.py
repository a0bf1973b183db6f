"""Films and cameras, frame by frame, through FFmpeg's libraries (PyAV)."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from yolor_mtl.data.image import MAX_PIXELS, UnreadableImageError
from yolor_mtl.records import UserError

USUAL_RATE = 25.0
"""Frames a second where a film does not say."""

WHOLE = 0.9
"""Part of the length that it says it has from which on a film counts as whole: heads are not exact."""

CODECS = ("libx264", "h264", "mpeg4")
"""Tried in this order; browsers show the first two."""


@dataclass(frozen=True)
class FilmFrame:
    """A frame of a film.

    Attributes:
        number: from 0, broken ones counted.
        time: seconds from the start.
        read: gives (3, H, W) uint8 RGB; raises :class:`UnreadableImageError` for a broken one.
    """

    number: int
    time: float
    read: Callable[[], Tensor]


@dataclass(frozen=True)
class Film:
    """A film or a camera; going through it opens it, and no more than one frame is held.

    Attributes:
        path: what it is called.
        rate: frames a second.
        total: how many frames it says that it has, where it says so.
    """

    path: str
    rate: float
    total: int | None
    _open: Callable[[], Any] = field(repr=False)

    def __iter__(self) -> Iterator[FilmFrame]:
        with self._open() as container:
            yield from _frames(container, self.rate)


def film(path: Path) -> Film:
    """A film in a file.

    Raises:
        UserError: it cannot be opened, has no pictures, or PyAV is missing.
    """
    av = _av()

    def opened() -> Any:
        return av.open(str(path))

    try:
        with opened() as container:
            stream = _pictures(container, str(path))
            rate = float(stream.average_rate or stream.guessed_rate or USUAL_RATE)
            return Film(str(path), rate, stream.frames or None, opened)
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(f"source={path}: not a film that can be read: {error.strerror or error}") from error


def camera(number: int) -> Film:
    """A camera of this machine.

    Raises:
        UserError: there is none of that number, or PyAV is missing.
    """
    av = _av()
    system = platform.system()
    formats = {"Linux": ("v4l2", f"/dev/video{number}"), "Darwin": ("avfoundation", str(number))}
    if system not in formats:
        raise UserError(
            f"source={number}: cameras are read on Linux and macOS, not on {system}; give a film or pictures"
        )
    kind, name = formats[system]
    try:
        container = av.open(name, format=kind)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UserError(f"source={number}: no camera of this number ({name}): {error}") from error
    stream = _pictures(container, name)
    return Film(f"camera {number}", float(stream.average_rate or USUAL_RATE), None, lambda: container)


def _av() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise UserError("films and cameras need PyAV: pip install 'yolor-mtl[video]'") from error
    module: ModuleType = av
    return module


def _pictures(container: Any, path: str) -> Any:
    """The stream of pictures.

    Raises:
        UserError: there is none, or its pictures are too large.
    """
    if not container.streams.video:
        raise UserError(f"source={path}: there are no pictures in it")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise UserError(f"source={path}: its pictures are in a form that cannot be read here")
    if stream.codec_context.width * stream.codec_context.height > MAX_PIXELS:
        raise UserError(f"source={path}: frames of more than {MAX_PIXELS} pixels")
    return stream


def _frames(container: Any, rate: float) -> Iterator[FilmFrame]:
    """Frames one by one; what cannot be decoded, and an early end, is handed out as a frame that cannot be read."""
    av = _av()
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    number, begun, ended = 0, None, 0.0
    packets = container.demux(stream)
    while True:
        try:
            decoded = next(packets).decode()
        except StopIteration:
            shown, said = ended - (begun or 0.0), _seconds(container, stream)
            if shown < WHOLE * said:
                told = f"the film ends after {shown:.1f} s of the {said:.1f} s that it says it has"
                yield FilmFrame(number, ended, _broken(told))
            return
        except av.error.FFmpegError as error:
            yield FilmFrame(number, number / rate, _broken(f"a broken frame: {error.strerror or error}"))
            number += 1
            # What does not open any more at the place that it has come to will not end either.
            if not isinstance(error, av.error.InvalidDataError):
                return
            continue
        for frame in decoded:
            time = number / rate if frame.time is None else float(frame.time)
            begun = time if begun is None else begun
            ended = time + float((frame.duration or 0) * stream.time_base or 1 / rate)
            yield FilmFrame(number, time, lambda frame=frame: _upright(frame))  # type: ignore[misc]
            number += 1


def _seconds(container: Any, stream: Any) -> float:
    """How long its pictures last, as the head of a film says; 0 where it says nothing, or only of its sound."""
    if stream.frames and stream.average_rate:
        return float(stream.frames / stream.average_rate)
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if matroska := re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = map(float, matroska.groups())
        return 3600 * hours + 60 * minutes + seconds
    alone = len(container.streams) == 1 and container.duration
    return float(container.duration / 1e6) if alone else 0.0


def _upright(frame: Any) -> Tensor:
    """(3, H, W) uint8 RGB, turned as the film says."""
    picture = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return torch.from_numpy(np.ascontiguousarray(np.rot90(picture, turns))).permute(2, 0, 1)


def _broken(reason: str) -> Callable[[], Tensor]:
    def read() -> Tensor:
        raise UnreadableImageError(reason)

    return read


class FilmWriter:
    """Writes pictures as a film. It has another name until it is whole; what was shown is kept on Ctrl-C as well.

    Args:
        path: the ``.mp4``.
        rate: frames a second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path = path
        self.rate = Fraction(rate).limit_denominator(1001)
        self._unfinished = path.with_name(f".{path.stem}.part{path.suffix}")
        self._container: Any = None
        self._stream: Any = None

    def close(self) -> None:
        """Gives the film its name; there is none where no frame was added.

        Raises:
            OSError: it cannot be written to its end; what there was is gone, as no player shows a film without its end.
        """
        if self._container is None:
            return
        try:
            with self._told():
                try:
                    for packet in self._stream.encode(None):
                        self._container.mux(packet)
                finally:
                    self._container.close()
            self._unfinished.replace(self.path)
        except BaseException:
            self._unfinished.unlink(missing_ok=True)
            raise

    def add(self, picture: Image.Image) -> None:
        """One more frame; all have the size of the first.

        Raises:
            OSError: it cannot be written.
        """
        av = _av()
        if self._container is None:
            self._begin(picture)
        size = (self._stream.width, self._stream.height)
        frame = av.VideoFrame.from_image(picture if picture.size == size else _fitted(picture, size))
        with self._told():
            for packet in self._stream.encode(frame):
                self._container.mux(packet)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What FFmpeg tells becomes an error of the system, with this film's name and not the unfinished file's."""
        try:
            yield
        except _av().error.FFmpegError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def _begin(self, picture: Image.Image) -> None:
        av = _av()
        codec = next(name for name in CODECS if _writes(av, name))
        self._container = av.open(str(self._unfinished), "w")
        self._stream = self._container.add_stream(codec, rate=self.rate)
        # Colours are kept for squares of two pixels by two.
        self._stream.width, self._stream.height = (side + side % 2 for side in picture.size)
        self._stream.pix_fmt = "yuv420p"


def _writes(av: ModuleType, codec: str) -> bool:
    try:
        return bool(av.codec.Codec(codec, "w").is_encoder)
    except av.codec.codec.UnknownCodecError:
        return False


def _fitted(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture in the corner of one of that size; larger ones are cut."""
    sheet = Image.new("RGB", size)
    sheet.paste(picture, (0, 0))
    return sheet
