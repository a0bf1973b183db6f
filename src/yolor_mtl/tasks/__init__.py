"""The table of tasks: one line each."""

from __future__ import annotations

from collections.abc import Mapping

from yolor_mtl.tasks import captioning, detection, instance, panoptic, semantic
from yolor_mtl.tasks.base import TaskKind

TASKS: Mapping[str, TaskKind] = {
    "detection": detection.KIND,
    "instance": instance.KIND,
    "semantic": semantic.KIND,
    "captioning": captioning.KIND,
    "panoptic": panoptic.KIND,
}
