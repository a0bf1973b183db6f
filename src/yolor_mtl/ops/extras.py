"""Optional packages."""

from __future__ import annotations

from importlib.util import find_spec

from yolor_mtl.records import UserError


def need(extra: str, *packages: str) -> None:
    """Refuses to go on without packages that come with an extra.

    Args:
        extra: the extra's name.
        packages: names to import.

    Raises:
        UserError: names the missing ones, and how to install them.
    """
    if missing := [name for name in packages if find_spec(name) is None]:
        raise UserError(f"{', '.join(missing)} is not installed: pip install 'yolor-mtl[{extra}]'")
