"""What the server counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The numbers of one server; two servers in one process do not mix.

    Args:
        batch: greatest batch, the last of the buckets.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, batch: int) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "yolor_mtl_requests", "Requests by route and HTTP status", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "yolor_mtl_predict_seconds",
            "Seconds from the first byte of an answered POST /predict to its answer",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "yolor_mtl_batch_size",
            "Pictures in one forward pass",
            buckets=sorted({*(2**power for power in range(8) if 2**power < batch), batch}),
            registry=self.registry,
        )
        self.model_seconds = Counter(
            "yolor_mtl_model_seconds", "Seconds that the network was at work", registry=self.registry
        )
        self.queue = Gauge("yolor_mtl_queue_depth", "Pictures that wait for their answer", registry=self.registry)
        self.uploads = Gauge("yolor_mtl_uploads", "Files that are being sent", registry=self.registry)
        self.held = Gauge("yolor_mtl_held_bytes", "Bytes of files that are not decoded yet", registry=self.registry)
        self.pixels = Gauge("yolor_mtl_decoded_pixels", "Pixels of pictures that are decoded", registry=self.registry)
        ProcessCollector(registry=self.registry)

    def batch_done(self, size: int, seconds: float) -> None:
        """Notes a forward pass."""
        self.batches.observe(size)
        self.model_seconds.inc(seconds)

    def text(self) -> bytes:
        """All numbers in Prometheus' text format."""
        return generate_latest(self.registry)
