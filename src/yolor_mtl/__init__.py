"""yolor-mtl: boxes, instance masks, a semantic map and a caption from one network in one forward pass."""

__version__ = "0.1.0"
