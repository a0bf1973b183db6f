"""Pure tensor functions without any notion of a task: boxes, masks, the letterbox frame."""
