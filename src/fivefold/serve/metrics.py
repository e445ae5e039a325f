"""What is counted, for Prometheus: of one process, or of all that share a directory."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED = "PROMETHEUS_MULTIPROC_DIR"  # set for workers by the process that starts them
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class Metrics:
    """Requests, their seconds and items, how many wait, and which models are loaded."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        of_requests = ("model", "verb", "status")
        self._requests = Counter("fivefold_requests", "Requests answered", of_requests, registry=registry)
        self._items = Counter("fivefold_items", "Images, rows or steps worked on", ("model", "verb"), registry=registry)
        self._seconds = Histogram(
            "fivefold_request_seconds",
            "From a request's first byte to its answer's last",
            ("model", "verb"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._batch = Histogram(
            "fivefold_together", "Requests done in one pass", buckets=(1, 2, 4, 8, 16, 32, 64), registry=registry
        )
        self._waiting = Gauge("fivefold_waiting", "Requests that wait", registry=registry, multiprocess_mode="livesum")
        self._models = Gauge(
            "fivefold_model",
            "Models loaded, by fingerprint",
            ("model", "fingerprint"),
            registry=registry,
            multiprocess_mode="livesum",
        )

    def answered(self, model: str, verb: str, status: int, seconds: float, items: int) -> None:
        """A request is done; `model` and `verb` are empty for other paths."""
        self._requests.labels(model, verb, str(status)).inc()
        self._seconds.labels(model, verb).observe(seconds)
        if items:
            self._items.labels(model, verb).inc(items)

    def together(self, jobs: int) -> None:
        """So many requests were done in one pass."""
        self._batch.observe(jobs)

    def waiting(self, jobs: int) -> None:
        """So many wait now."""
        self._waiting.set(jobs)

    def loaded(self, model: str, fingerprint: str, number: int = 1) -> None:
        """A model of that fingerprint is there, or with 0 no longer."""
        self._models.labels(model, fingerprint).set(number)

    def text(self) -> bytes:
        """All of it, of all workers."""
        if os.environ.get(SHARED):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        return generate_latest(self._registry)
