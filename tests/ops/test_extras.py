"""Packages that are there pass; missing ones are named with the extra that brings them."""

import pytest

from yolor_mtl.ops.extras import need
from yolor_mtl.records import UserError


def test_need() -> None:
    need("export", "torch", "numpy")
    with pytest.raises(UserError, match=r"no_such_a, no_such_b .*pip install 'yolor-mtl\[export\]'"):
        need("export", "torch", "no_such_a", "no_such_b")
