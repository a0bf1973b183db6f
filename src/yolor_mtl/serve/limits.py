"""What the server takes on, and how it says no."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from yolor_mtl.records import UserError


@dataclass(frozen=True)
class Limits:
    """Bounds on what one request, and all together, may cost.

    Attributes:
        max_bytes: greatest file.
        max_pixels: greatest picture; all pictures that are decoded at one time have no more than this together either.
        uploads: requests whose file is being read.
        queue: pictures that wait for their answer.
        batch: pictures that the network sees at once.
        wait_ms: how long the first picture of a batch waits for others, milliseconds.
        timeout: seconds from a whole file to its answer.
        upload_timeout: seconds to send a file.
    """

    max_bytes: int = 16_000_000
    max_pixels: int = 32_000_000
    uploads: int = 64
    queue: int = 64
    batch: int = 8
    wait_ms: float = 5.0
    timeout: float = 30.0
    upload_timeout: float = 20.0

    def __post_init__(self) -> None:
        for key in ("max_bytes", "max_pixels", "uploads", "queue", "batch"):
            if getattr(self, key) < 1:
                raise UserError(f"{key}={getattr(self, key)} is below the least, 1")
        for key in ("timeout", "upload_timeout"):
            if not 0 < getattr(self, key) <= 3600:
                raise UserError(f"{key}={getattr(self, key)} must be seconds, above 0 and at most 3600")
        if not 0 <= self.wait_ms <= 1000:
            raise UserError(f"wait_ms={self.wait_ms} must be milliseconds, 0..1000")

    @property
    def held_bytes(self) -> int:
        """Bytes of all files that are held at one time, from their first byte until they are decoded."""
        return 16 * self.max_bytes


class RefusedError(Exception):
    """A request that gets no answer.

    Args:
        status: HTTP status.
        code: one word for programs.
        message: a sentence for people; names nothing of the machine.
        retry_after: seconds after which it may go better.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after


def busy(what: str, retry_after: int = 1) -> RefusedError:
    """429."""
    return RefusedError(429, "busy", f"{what}; try again in {retry_after} s", retry_after)


def stopping() -> RefusedError:
    """503 of a server that is about to end."""
    return RefusedError(503, "stopping", "the server is stopping; try again in 5 s", 5)


class Places:
    """A number of places, taken at once or not at all.

    Args:
        total: how many there are.
    """

    def __init__(self, total: int) -> None:
        self.total, self.taken = total, 0

    @property
    def full(self) -> bool:
        """Whether none is left."""
        return self.taken >= self.total

    @contextmanager
    def one(self, refusal: RefusedError) -> Iterator[None]:
        """A place while it lasts.

        Raises:
            RefusedError: none is left.
        """
        if self.full:
            raise refusal
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class Lease:
    """Bytes that one request holds of what all may hold together; it may grow until it is closed."""

    def __init__(self, places: Places) -> None:
        self._places, self.held = places, 0

    def grow(self, amount: int) -> None:
        """Holds ``amount`` more.

        Raises:
            RefusedError: there are not so many left.
        """
        if self._places.taken + amount > self._places.total:
            raise busy("too many large files at once")
        self._places.taken += amount
        self.held += amount

    def close(self) -> None:
        """Gives everything back; once is enough."""
        self._places.taken -= self.held
        self.held = 0


class Budget:
    """An amount that is handed out in the order of asking, so that nobody with a large wish waits for ever.

    Args:
        total: the amount; nobody may ask for more.
    """

    def __init__(self, total: int) -> None:
        self.total, self.taken = total, 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, amount: int) -> None:
        """Waits until ``amount`` is there, and takes it."""
        if not self._waiting and self.taken + amount <= self.total:
            self.taken += amount
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((amount, turn))
        try:
            await turn
        except asyncio.CancelledError:
            # Its turn may have come in the same moment; if not, it stands in the way of those behind it.
            self.give(0 if turn.cancelled() else amount)
            raise

    def give(self, amount: int) -> None:
        """Puts ``amount`` back."""
        self.taken -= amount
        while self._waiting:
            wish, turn = self._waiting[0]
            if not turn.cancelled():
                if self.taken + wish > self.total:
                    return
                self.taken += wish
                turn.set_result(None)
            self._waiting.popleft()
