"""Scenes: pictures drawn by our own code, with boxes, masks, panoptic maps and captions, in COCO's layout.

Nothing is downloaded and nothing was photographed: a setting, the weather and a few kinds of things are chosen by
chance, placed in perspective, painted back to front, and described by a small grammar that only says what is true.
"""

from yolor_mtl.data.scenes.writer import write_scenes

__all__ = ["write_scenes"]
