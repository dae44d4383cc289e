"""How often a vendor may be called: one quota per host, shared by everything in the process.

Only waiting belongs here. What a call weighs is the vendor module's knowledge, how one is made is `http`'s.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from stock_weather_pipeline.errors import TransientSourceError

# A run that would stand still longer than this says so and ends; Dagster starts it again when it makes sense.
MAX_WAIT_S = 900.0
# Sums of weights are floats; without this a window of ten tenths would count as overfull.
_ROUNDING = 1e-9
# A wait below the clock's resolution would turn waiting into a busy loop.
_SHORTEST_WAIT_S = 0.001


@dataclass(frozen=True)
class Window:
    """At most `limit` weighted calls within any `seconds`."""

    limit: float
    seconds: float


class _Ledger:
    """The calls of one sliding window. Not thread-safe by itself."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self._calls: deque[tuple[float, float]] = deque()
        self._used = 0.0

    def wait(self, now: float, weight: float) -> float:
        """Seconds until a call of this weight fits."""
        while self._calls and self._calls[0][0] + self.window.seconds <= now:
            self._used -= self._calls.popleft()[1]
        if not self._calls:
            self._used = 0.0
        excess = self._used + weight - self.window.limit
        ready = now
        for called_at, called_weight in self._calls:
            if excess <= _ROUNDING:
                break
            excess -= called_weight
            ready = called_at + self.window.seconds
        return ready - now

    def add(self, now: float, weight: float) -> None:
        self._calls.append((now, weight))
        self._used += weight


class Quota:
    """Several sliding windows at once, thread-safe.

    A token bucket lets twice its size through when a burst follows a pause, and a vendor that counts by the clock
    refuses that. Each bucket here gets a token back exactly one window after it was spent, so no window of that
    length, wherever it starts, ever holds more than the limit.
    """

    def __init__(
        self,
        name: str,
        windows: Sequence[Window],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.sleep = sleep
        self._clock = clock
        self._ledgers = [_Ledger(window) for window in windows]
        self._paused_until = clock()
        self._lock = threading.Lock()

    def acquire(self, weight: float = 1.0) -> None:
        """Returns when a call of this weight may be made, and counts it.

        Raises TransientSourceError when that takes longer than MAX_WAIT_S, ValueError when it can never be made.
        """
        if any(weight > ledger.window.limit for ledger in self._ledgers):
            raise ValueError(f"one call of weight {weight:g} is above the whole quota of {self.name}")
        while True:
            with self._lock:
                now = self._clock()
                wait = max([self._paused_until - now, *(ledger.wait(now, weight) for ledger in self._ledgers)])
                if wait <= 0:
                    for ledger in self._ledgers:
                        ledger.add(now, weight)
                    return
            if wait > MAX_WAIT_S:
                free_at = datetime.now(timezone.utc) + timedelta(seconds=wait)
                raise TransientSourceError(
                    f"The quota of {self.name} is spent until {free_at:%Y-%m-%d %H:%M} UTC: run this again then."
                )
            self.sleep(max(wait, _SHORTEST_WAIT_S))

    def pause(self, seconds: float) -> None:
        """Nobody calls this host for the next `seconds`: the vendor asked for it."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)

    def minutes(self, weights: Sequence[float]) -> float:
        """How long calls of these weights take from a fresh quota, in minutes; the calls themselves not counted."""
        now = 0.0
        rehearsal = [_Ledger(ledger.window) for ledger in self._ledgers]
        for weight in weights:
            while (wait := max((ledger.wait(now, weight) for ledger in rehearsal), default=0.0)) > 0:
                now += max(wait, _SHORTEST_WAIT_S)
            for ledger in rehearsal:
                ledger.add(now, weight)
        return now / 60


_shared: dict[tuple[str, tuple[Window, ...]], Quota] = {}
_shared_lock = threading.Lock()


def shared_quota(host: str, windows: tuple[Window, ...]) -> Quota:
    """The process's one quota of this host (with its port) and these limits."""
    with _shared_lock:
        return _shared.setdefault((host, windows), Quota(host, windows))
