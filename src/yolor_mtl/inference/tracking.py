"""The same number for the same thing from frame to frame, by the library ``trackers``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from yolor_mtl.inference.result import Result
from yolor_mtl.records import UserError


class Tracker:
    """ByteTrack (Zhang et al., arXiv 2110.06864) over the results of one film.

    Args:
        rate: frames a second.

    Raises:
        UserError: the library is missing.
    """

    def __init__(self, rate: float) -> None:
        try:
            from trackers import ByteTrackTracker
        except ImportError as error:
            raise UserError("track=true needs a library: pip install 'yolor-mtl[track]'") from error
        self._tracker: Any = ByteTrackTracker(frame_rate=rate)

    def __call__(self, result: Result) -> Result:
        """The result of the next frame with ``boxes.id``; -1 for a box that is not followed (yet).

        Raises:
            UserError: the model has no boxes.
        """
        if result.boxes is None:
            raise UserError("track=true needs boxes; keep detection among tasks=")
        detections = result.to_supervision(masks=False)
        # The library orders boxes as it likes.
        detections.data["place"] = torch.arange(len(result.boxes)).numpy()
        followed = self._tracker.update(detections)
        ids = torch.full((len(result.boxes),), -1, dtype=torch.int64)
        if len(followed):
            ids[torch.as_tensor(followed.data["place"])] = torch.as_tensor(followed.tracker_id).long()
        detection = {**result.predictions["detection"], "ids": ids}
        return replace(result, predictions={**result.predictions, "detection": detection})
