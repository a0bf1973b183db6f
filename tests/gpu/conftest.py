"""Fixtures of the tests that need an NVIDIA GPU: ``make gpu``. Elsewhere all are skipped."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips them before anything is prepared for them."""
    if not torch.cuda.is_available():
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU is here"))


@pytest.fixture(autouse=True)
def card() -> Iterator[torch.device]:
    """The GPU, in plain float32 and with nothing of an earlier test in its memory."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    # TF32 rounds what is multiplied to ten bits: too coarse to compare by.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield torch.device("cuda")
    torch.backends.cudnn.allow_tf32 = True
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


@pytest.fixture
def scarce(card: torch.device) -> "Scarce":
    """Takes memory away."""
    return Scarce(card)


class Scarce:
    """A card with less memory than it has.

    Args:
        card: the GPU.
    """

    def __init__(self, card: torch.device) -> None:
        self.whole = torch.cuda.get_device_properties(card).total_memory

    def leave(self, size: float) -> None:
        """From now on this process gets no more than so many bytes."""
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(min(1.0, size / self.whole))
