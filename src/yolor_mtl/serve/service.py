"""The way of a picture through the server: read, decoded, answered, written."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import numpy as np
import torch
from starlette.requests import Request
from torch import Tensor

from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.inference.result import Result
from yolor_mtl.serve.batcher import Batcher
from yolor_mtl.serve.limits import Budget, Limits, Places, RefusedError, busy, stopping
from yolor_mtl.serve.metrics import Metrics
from yolor_mtl.serve.pictures import check_picture, decode_picture, encode_result
from yolor_mtl.serve.upload import ClientGoneError, Upload, Uploads, when_gone
from yolor_mtl.tasks.base import DecodeOptions

P = ParamSpec("P")
R = TypeVar("R")

_DECODERS = 4
_LONGEST_RETRY = 30


@dataclass(eq=False)
class _Job:
    """A file on its way; ``wanted`` ends when nobody waits for it any more."""

    upload: Upload
    options: DecodeOptions
    wanted: bool = True


class Service:
    """Answers requests within limits; belongs to one event loop.

    Args:
        predictor: the model; only the batcher's thread touches it once the service has started.
        limits: bounds.
    """

    def __init__(self, predictor: Predictor, limits: Limits) -> None:
        self.predictor, self.limits = predictor, limits
        self.metrics = Metrics(limits.batch)
        self.uploads = Uploads(limits)
        self.queue = Places(limits.queue)
        self.pixels = Budget(limits.max_pixels)
        self.stopping = False
        self._pace = 0.05
        self._batcher = Batcher(self._answer_batch, limits.batch, limits.wait_ms / 1000, self._batch_done)
        threads = min(_DECODERS, os.cpu_count() or 1)
        # Two crews: files that take long to decode do not hold up answers that are ready to be written.
        self._decoding = ThreadPoolExecutor(threads, "decode")
        self._encoding = ThreadPoolExecutor(threads, "encode")
        self._tasks: set[asyncio.Task[bytes]] = set()

    def start(self) -> None:
        """Answers a blank picture, so that the first client does not wait for what happens only once; then begins."""
        blank = torch.from_numpy(np.full((64, 64, 3), 128, np.uint8)).permute(2, 0, 1)
        self._answer_batch([blank], DecodeOptions())
        self._batcher.start()

    @property
    def healthy(self) -> bool:
        """Whether pictures are taken and answered."""
        return self._batcher.alive and not self.stopping

    def stop(self) -> None:
        """Takes no new work; what has arrived whole is answered. Called in the event loop, any number of times."""
        self.stopping = True
        self.uploads.stop()

    async def close(self) -> None:
        """Ends the threads, after :meth:`stop`."""
        self.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self.limits.timeout)
        await asyncio.to_thread(self._batcher.close)
        for crew in (self._decoding, self._encoding):
            crew.shutdown(wait=False, cancel_futures=True)

    async def answer(self, request: Request, options: DecodeOptions) -> bytes:
        """The answer to a request, as JSON text.

        Raises:
            RefusedError: there is none; says which status.
            ClientGoneError: nobody waits for one.
        """
        self._check_room()
        upload = await self.uploads.read(request.headers, request.receive, lambda: _mark_read(request))
        job, lease = _Job(upload, options), upload.lease
        del upload  # Else the file would stay in memory until the answer.
        task: asyncio.Task[bytes] | None = None
        gone = asyncio.create_task(when_gone(request.receive))
        try:
            self._check_room()
            task = asyncio.create_task(self._work(job))
            self._tasks.add(task)
            task.add_done_callback(self._forget)
            await asyncio.wait({task, gone}, timeout=self.limits.timeout, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if gone.done():
                raise ClientGoneError
            raise RefusedError(
                503, "timeout", f"no answer within {self.limits.timeout:g} s; try again later", self._retry_after()
            )
        finally:
            # The work goes on to its next step in its own time: a thread that decodes cannot be stopped.
            job.wanted = False
            gone.cancel()
            if task is None:
                lease.close()

    def measure(self) -> bytes:
        """The metrics as text, with what stands at this moment."""
        self.metrics.queue.set(self.queue.taken)
        self.metrics.uploads.set(self.uploads.places.taken)
        self.metrics.held.set(self.uploads.held.taken)
        self.metrics.pixels.set(self.pixels.taken)
        return self.metrics.text()

    def _check_room(self) -> None:
        if self.stopping:
            raise stopping()
        # Half, for what comes need not be as quick as what came: better told at once than after waiting in vain.
        if self.queue.full or self._wait() > self.limits.timeout / 2:
            raise busy("too many pictures are waiting", self._retry_after())

    def _forget(self, task: asyncio.Task[bytes]) -> None:
        self._tasks.discard(task)
        with suppress(asyncio.CancelledError):
            task.exception()

    async def _work(self, job: _Job) -> bytes:
        """From a file to JSON text. What is held is given back at the end of the work, not of the waiting."""
        lease = job.upload.lease
        try:
            with self.queue.one(busy("too many pictures are waiting", self._retry_after())):
                pixels = await self._in(self._decoding, check_picture, job.upload.file, self.limits.max_pixels)
                await self.pixels.take(pixels)
                try:
                    _check_wanted(job)
                    image = await self._in(self._decoding, decode_picture, job.upload.file)
                    name, job.upload = job.upload.name, Upload(b"", "", lease)
                    lease.close()
                    result = await self._answered(image, job)
                    return await self._in(self._encoding, encode_result, result, name)
                finally:
                    self.pixels.give(pixels)
        finally:
            lease.close()

    async def _answered(self, image: Tensor, job: _Job) -> Result:
        future = self._batcher.submit(image, job.options, lambda: job.wanted)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if future.cancelled():
                raise ClientGoneError from None
            raise

    @staticmethod
    async def _in(crew: ThreadPoolExecutor, do: Callable[P, R], *given: P.args, **more: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(crew, lambda: do(*given, **more))

    def _answer_batch(self, images: Sequence[Tensor], options: DecodeOptions) -> list[Result]:
        return list(self.predictor.predict(images, options, len(images)))

    def _batch_done(self, size: int, seconds: float) -> None:
        self._pace += 0.1 * (seconds / size - self._pace)
        self.metrics.batch_done(size, seconds)

    def _retry_after(self) -> int:
        """Seconds in which what waits now will be answered."""
        return max(1, min(_LONGEST_RETRY, math.ceil(self._wait())))

    def _wait(self) -> float:
        """Seconds until a picture that comes now is answered, at the pace of late."""
        return self.queue.taken * self._pace


def _mark_read(request: Request) -> None:
    request.state.read = True


def _check_wanted(job: _Job) -> None:
    if not job.wanted:
        raise ClientGoneError
