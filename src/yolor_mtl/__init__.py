"""One network, one forward pass: boxes, instance masks, a semantic map, a panoptic map and a caption."""

from yolor_mtl.inference.model import YOLORMTL
from yolor_mtl.inference.result import Result
from yolor_mtl.tasks import TASKS

__all__ = ["TASKS", "YOLORMTL", "Result", "__version__"]

__version__ = "0.1.0"
