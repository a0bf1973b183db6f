"""The kinds of stuff: COCO's panoptic ids and names, and how a ground of each looks."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from yolor_mtl.data.scenes.ground import Surface
from yolor_mtl.data.scenes.palette import jitter, pick

STUFF_IDS = MappingProxyType(
    {
        "floor-wood": 118,
        "gravel": 125,
        "house": 128,
        "platform": 144,
        "playingfield": 145,
        "railroad": 147,
        "river": 148,
        "road": 149,
        "sand": 154,
        "sea": 155,
        "snow": 159,
        "wall-brick": 171,
        "wall-tile": 176,
        "window-other": 181,
        "tree-merged": 184,
        "fence-merged": 185,
        "sky-other-merged": 187,
        "table-merged": 189,
        "floor-other-merged": 190,
        "pavement-merged": 191,
        "mountain-merged": 192,
        "grass-merged": 193,
        "dirt-merged": 194,
        "building-other-merged": 197,
        "rock-merged": 198,
        "wall-other-merged": 199,
        "rug-merged": 200,
    }
)
"""COCO's panoptic name to its id, for every kind of stuff that the scenes hold."""

_LOOKS = MappingProxyType(
    {
        "grass-merged": (
            Surface((92, 144, 62), (140, 176, 104), "grass", 0.34),
            Surface((120, 150, 66), (168, 178, 108), "grass", 0.32),
            Surface((70, 128, 62), (112, 160, 96), "grass", 0.34),
        ),
        "playingfield": (Surface((84, 150, 66), (124, 178, 98), "grass", 0.2),),
        "road": (
            Surface((96, 98, 104), (128, 130, 136), "grain", 0.16),
            Surface((116, 112, 108), (142, 140, 138), "grain", 0.16),
        ),
        "pavement-merged": (
            Surface((176, 170, 160), (188, 184, 176), "slabs", 0.14),
            Surface((168, 158, 150), (184, 174, 164), "slabs", 0.14),
            Surface((164, 168, 172), (182, 186, 190), "slabs", 0.14),
        ),
        "platform": (Surface((186, 180, 172), (196, 192, 186), "slabs", 0.14),),
        "sand": (
            Surface((226, 200, 148), (238, 218, 176), "grain", 0.14),
            Surface((214, 188, 140), (230, 208, 168), "grain", 0.14),
        ),
        "snow": (Surface((236, 240, 246), (222, 230, 242), "soft", 0.05),),
        "dirt-merged": (
            Surface((160, 122, 82), (186, 152, 112), "grain", 0.22),
            Surface((144, 112, 82), (172, 142, 110), "grain", 0.22),
        ),
        "gravel": (Surface((150, 144, 138), (168, 162, 156), "grain", 0.35),),
        "railroad": (Surface((132, 122, 114), (146, 138, 130), "grain", 0.38),),
        "sea": (
            Surface((48, 122, 160), (98, 166, 196), "water", 0.24),
            Surface((40, 138, 150), (104, 184, 188), "water", 0.24),
            Surface((66, 104, 142), (120, 150, 176), "water", 0.26),
        ),
        "river": (
            Surface((70, 124, 146), (120, 164, 180), "water", 0.22),
            Surface((76, 118, 118), (126, 158, 152), "water", 0.22),
        ),
        "floor-wood": (
            Surface((182, 132, 84), (158, 112, 70), "planks", 0.2),
            Surface((146, 98, 62), (126, 84, 54), "planks", 0.2),
            Surface((206, 168, 122), (184, 148, 104), "planks", 0.18),
        ),
        "floor-other-merged": (
            Surface((196, 190, 180), (176, 170, 162), "slabs", 0.12),
            Surface((170, 176, 182), (150, 156, 164), "slabs", 0.12),
        ),
        "table-merged": (
            Surface((188, 136, 88), (164, 116, 74), "planks", 0.1),
            Surface((226, 218, 204), (206, 198, 184), "soft", 0.05),
            Surface((134, 90, 60), (116, 76, 52), "planks", 0.12),
            Surface((112, 148, 152), (96, 130, 136), "soft", 0.05),
        ),
    }
)


def surface(rng: np.random.Generator, name: str) -> Surface:
    """One look of a ground, its colours varied a little."""
    look = pick(rng, _LOOKS[name])
    change = float(rng.uniform(0.96, 1.04))
    near, far = (
        jitter(rng, (round(c[0] * change), round(c[1] * change), round(c[2] * change)), 0.03)
        for c in (look.near, look.far)
    )
    return Surface(near, far, look.weave, look.contrast)
