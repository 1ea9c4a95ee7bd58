"""What `/metrics` tells Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_IMAGES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        own = {"namespace": "effdet", "registry": self.registry}
        self.requests = Counter("requests", "Requests to /predict by status.", ["status"], **own)
        self.request_seconds = Histogram("request_seconds", "From first to last byte.", buckets=_SECONDS, **own)
        self.batch_seconds = Histogram("batch_seconds", "A batch in the model.", buckets=_SECONDS, **own)
        self.batch_images = Histogram("batch_images", "Images of a batch.", buckets=_IMAGES, **own)
        self.in_work = Gauge("requests_in_work", "Requests in work or waiting.", **own)

    def batch(self, images: int, seconds: float) -> None:
        """One batch went through the model."""
        self.batch_images.observe(images)
        self.batch_seconds.observe(seconds)

    def text(self) -> bytes:
        """All of it in Prometheus' text form."""
        return generate_latest(self.registry)
