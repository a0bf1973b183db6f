"""Where the page's files are."""

from __future__ import annotations

from pathlib import Path

STATIC = Path(__file__).parent / "static"
"""HTML, CSS and ES modules; served as they are."""
