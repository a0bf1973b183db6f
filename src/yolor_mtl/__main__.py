"""``python -m yolor_mtl`` is ``yolor-mtl``."""

import sys

from yolor_mtl.cli import main

sys.exit(main())
