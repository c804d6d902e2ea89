"""What a server counts, in the text format of Prometheus: numbers alone, nothing of any request."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter

# Upper bounds of the classes of response times, in seconds.
BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Meters:
    """Requests by route and status, their times, and batches by how many requests they answered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._times = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0
        self._batches = 0
        self._batched = 0

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered; times are those of predictions that succeeded."""
        with self._lock:
            self._requests[route, status] += 1
            if (route, status) == ("/predict", 200):
                self._times[bisect_left(BOUNDS, seconds)] += 1
                self._seconds += seconds

    def batch(self, requests: int) -> None:
        """Count a batch."""
        with self._lock:
            self._batches += 1
            self._batched += requests

    def text(self, waiting: int) -> str:
        """All of it, with how many requests wait now."""
        with self._lock:
            lines = ["# TYPE mtscale_requests_total counter"]
            lines += [
                f'mtscale_requests_total{{route="{route}",status="{status}"}} {count}'
                for (route, status), count in sorted(self._requests.items())
            ]
            lines.append("# TYPE mtscale_predict_seconds histogram")
            below = 0
            for bound, count in zip((*map(str, BOUNDS), "+Inf"), self._times, strict=True):
                below += count
                lines.append(f'mtscale_predict_seconds_bucket{{le="{bound}"}} {below}')
            lines += [f"mtscale_predict_seconds_sum {self._seconds:.6f}", f"mtscale_predict_seconds_count {below}"]
            lines += ["# TYPE mtscale_batches_total counter", f"mtscale_batches_total {self._batches}"]
            lines += [
                "# TYPE mtscale_batched_requests_total counter",
                f"mtscale_batched_requests_total {self._batched}",
            ]
        lines += ["# TYPE mtscale_waiting_requests gauge", f"mtscale_waiting_requests {waiting}"]
        return "\n".join(lines) + "\n"
