"""What every metric keeps: one row an image, so that an image counts once however often it is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from yolor_mtl.records import Annotations, UserError

Row = TypeVar("Row")
T = TypeVar("T")


class Rows(Generic[Row]):
    """Rows by image id.

    A sampler over several processes pads its shards with images that others have too. A row replaces the row of the
    same image, and rows come out in the order of ids: the numbers do not depend on who saw what, nor when.
    """

    def __init__(self) -> None:
        self._rows: dict[int, tuple[Annotations, Row]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, annotations: Annotations, row: Row) -> None:
        """Keeps the row of an image.

        Raises:
            UserError: another picture has the same id (two splits evaluated as one, for example).
        """
        seen = self._rows.get(annotations.image_id)
        if seen is not None and seen[0].path != annotations.path:
            raise UserError(
                f"two pictures have the image id {annotations.image_id}: {seen[0].path} and {annotations.path}; "
                "evaluate their splits one by one, or give them ids of their own"
            )
        self._rows[annotations.image_id] = (annotations, row)

    def merge(self, other: Rows[Row]) -> None:
        """Adds what another process has seen."""
        for image, row in other._rows.values():
            self.add(image, row)

    def sorted(self) -> list[tuple[Annotations, Row]]:
        """All rows in the order of image ids."""
        return [self._rows[image_id] for image_id in sorted(self._rows)]


class Once(Generic[T]):
    """What a metric works out of its rows, made when first asked for and kept until they change.

    A copy, in another process too, makes its own.
    """

    def __init__(self) -> None:
        self._kept: list[T] = []

    def get(self, make: Callable[[], T]) -> T:
        """The kept value, else what ``make`` gives."""
        if not self._kept:
            self._kept.append(make())
        return self._kept[0]

    def forget(self) -> None:
        """The rows have changed."""
        self._kept.clear()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()
