"""What the server counts, in Prometheus' text form; each application has counts of its own."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_DRAWINGS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counts of one application."""

    def __init__(self, n_pending: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "quickstroke_requests", "Requests answered.", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "quickstroke_request_seconds",
            "From a request's head to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._drawings = Counter("quickstroke_drawings", "Drawings recognised.", registry=self._registry)
        self._batches = Histogram(
            "quickstroke_batch_drawings",
            "Drawings of one run of the model.",
            buckets=_DRAWINGS,
            registry=self._registry,
        )
        pending = Gauge("quickstroke_pending_requests", "Requests waiting for their answer.", registry=self._registry)
        pending.set_function(n_pending)
        ProcessCollector(registry=self._registry)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Counts an answered request; `route` is one of a fixed set, never the client's own text."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def batch(self, n_drawings: int) -> None:
        """Counts a run of the model."""
        self._batches.observe(n_drawings)

    def recognized(self, n_drawings: int) -> None:
        """Counts drawings that were answered."""
        self._drawings.inc(n_drawings)

    def text(self) -> bytes:
        """All counts."""
        return generate_latest(self._registry)
