"""One thread that owns the model and answers pictures several at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from torch import Tensor

from yolor_mtl.inference.result import Result
from yolor_mtl.tasks.base import DecodeOptions

Answer = Callable[[Sequence[Tensor], DecodeOptions], list[Result]]
"""B pictures (3, H, W) uint8 of any sizes, and thresholds, to B results."""


@dataclass(frozen=True, eq=False)
class _Waiting:
    image: Tensor
    options: DecodeOptions
    wanted: Callable[[], bool]
    answer: Future[Result] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class Batcher:
    """Collects pictures with equal thresholds, the oldest first, and answers them in one forward pass.

    A batch begins when it is full or its first picture has waited long enough; a thread that is busy makes pictures
    wait anyway, so under load batches fill themselves. If a batch fails, each of its pictures is tried alone: one that
    breaks the model harms nobody else.

    Args:
        answer: the model.
        batch: greatest number of pictures at once.
        wait: seconds that a picture waits for others.
        told: gets the size of each batch and the seconds that it took.
    """

    def __init__(self, answer: Answer, batch: int, wait: float, told: Callable[[int, float], object]) -> None:
        self._answer, self._batch, self._wait, self._told = answer, batch, wait, told
        self._line: list[_Waiting] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread is at work."""
        return self._thread.is_alive()

    def submit(self, image: Tensor, options: DecodeOptions, wanted: Callable[[], bool]) -> Future[Result]:
        """Puts a picture in the line.

        Args:
            image: (3, H, W) uint8.
            options: thresholds.
            wanted: asked before it is answered; where it says no, the future is cancelled instead.
        """
        waiting = _Waiting(image, options, wanted)
        with self._changed:
            if self._closed:
                waiting.answer.cancel()
            else:
                self._line.append(waiting)
                self._changed.notify()
        return waiting.answer

    def close(self) -> None:
        """Answers what is in the line, takes nothing more, and returns when the thread has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while batch := self._next():
            self._answer_all(batch)

    def _next(self) -> list[_Waiting]:
        """The next batch; empty when there will be none."""
        with self._changed:
            while True:
                self._drop_unwanted()
                if not self._line:
                    if self._closed:
                        return []
                    self._changed.wait()
                    continue
                first = self._line[0]
                same = [waiting for waiting in self._line if waiting.options == first.options][: self._batch]
                left = first.since + self._wait - time.monotonic()
                if len(same) == self._batch or left <= 0 or self._closed:
                    chosen = set(map(id, same))
                    self._line = [waiting for waiting in self._line if id(waiting) not in chosen]
                    # From here on nobody can cancel them.
                    if begun := [waiting for waiting in same if waiting.answer.set_running_or_notify_cancel()]:
                        return begun
                    continue
                self._changed.wait(left)

    def _drop_unwanted(self) -> None:
        for waiting in self._line:
            if not waiting.wanted():
                waiting.answer.cancel()
        self._line = [waiting for waiting in self._line if not waiting.answer.cancelled()]

    def _answer_all(self, batch: Sequence[_Waiting]) -> None:
        started = time.monotonic()
        try:
            results = self._answer([waiting.image for waiting in batch], batch[0].options)
        except Exception as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
            else:
                for waiting in batch:
                    self._answer_all([waiting])
            return
        self._told(len(batch), time.monotonic() - started)
        for waiting, result in zip(batch, results, strict=True):
            waiting.answer.set_result(result)
