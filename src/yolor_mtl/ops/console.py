"""What commands print to."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from rich.console import Console


class UnreadError(BrokenPipeError):
    """Nobody reads any more what a command prints: ``head`` has enough."""


class Output(Console):
    """Rich's own ends the process with exit code 1 where nobody reads any more, which means something else here.

    Notes on stderr are no reason to end at all, and neither are a training's lines: see :attr:`goes_on`.

    Args:
        stderr: print there.

    Raises:
        UnreadError: by every method that prints, once; what comes later goes nowhere.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr)
        self.goes_on = stderr

    def on_broken_pipe(self) -> None:
        """From now on everything goes nowhere, also what is still to be flushed at the end."""
        self.quiet = True
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), self.file.fileno())
        if not self.goes_on:
            raise UnreadError

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError as error:  # of a terminal that was closed, or as older versions of Rich leave it
            if error.errno not in (errno.EIO, errno.EPIPE):
                raise
            self.on_broken_pipe()
