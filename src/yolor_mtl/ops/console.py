"""What commands print to."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console


class Output(Console):
    """Says by ``BrokenPipeError`` that nobody reads any more; Rich's own exits with 1, which means something else here.

    Raises:
        BrokenPipeError: by every method that prints, once; what comes later goes nowhere.
    """

    def on_broken_pipe(self) -> None:
        """What is still to be flushed at the end goes nowhere, instead of failing once more."""
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), self.file.fileno())
        raise BrokenPipeError
