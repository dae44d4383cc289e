"""The promise of a quota: no window of the vendor ever holds more than its limit, and no one waits for nothing."""

from __future__ import annotations

from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stock_weather_pipeline.errors import TransientSourceError
from stock_weather_pipeline.sources.quota import MAX_WAIT_S, Quota, Window, shared_quota
from stock_weather_pipeline_tests.sources.conftest import FakeClock


def test_a_burst_up_to_the_limit_does_not_wait_and_the_next_call_waits_for_the_window(clock: FakeClock) -> None:
    quota = Quota("vendor", (Window(5, 60),), clock, clock.sleep)
    for _ in range(5):
        quota.acquire()
    assert clock.slept == []
    quota.acquire()
    assert sum(clock.slept) == pytest.approx(60)


@given(
    limit=st.integers(1, 8),
    steps=st.lists(st.tuples(st.floats(0, 45), st.sampled_from([0.25, 0.6, 1.0])), max_size=60),
)
def test_no_sliding_window_ever_holds_more_than_its_limit(limit: int, steps: list[tuple[float, float]]) -> None:
    clock = FakeClock()
    quota = Quota("vendor", (Window(limit, 60), Window(3 * limit, 400)), clock, clock.sleep)
    calls: list[tuple[float, float]] = []
    for idle, weight in steps:
        clock.now += idle
        quota.acquire(weight)
        calls.append((clock.now, weight))
    for seconds, most in ((60, limit), (400, 3 * limit)):
        for start, _ in calls:
            # The far edge is the clock's rounding away from the window.
            inside = sum(weight for at, weight in calls if start <= at < start + seconds - 1e-6)
            assert inside <= most + 1e-6


@given(limit=st.integers(1, 6), weights=st.lists(st.sampled_from([0.5, 1.0]), max_size=40))
def test_the_planned_minutes_are_the_minutes_it_takes(limit: int, weights: list[float]) -> None:
    clock = FakeClock()
    quota = Quota("vendor", (Window(limit, 60),), clock, clock.sleep)
    planned = quota.minutes(weights)
    for weight in weights:
        quota.acquire(weight)
    assert planned == pytest.approx(sum(clock.slept) / 60, abs=0.01)


def test_a_pause_stops_everybody_until_it_is_over(clock: FakeClock) -> None:
    quota = Quota("vendor", (Window(5, 60),), clock, clock.sleep)
    quota.pause(30)
    quota.pause(10)
    quota.acquire()
    assert sum(clock.slept) == pytest.approx(30)


def test_a_wait_too_long_to_stand_still_says_until_when(clock: FakeClock) -> None:
    quota = Quota("vendor.example", (Window(1, MAX_WAIT_S + 10),), clock, clock.sleep)
    quota.acquire()
    with pytest.raises(TransientSourceError, match=r"quota of vendor\.example is spent until .* UTC"):
        quota.acquire()
    assert clock.slept == []


def test_a_call_heavier_than_the_whole_quota_is_a_mistake_of_the_caller(clock: FakeClock) -> None:
    with pytest.raises(ValueError, match="above the whole quota"):
        Quota("vendor", (Window(5, 60),), clock, clock.sleep).acquire(6)


def test_threads_together_keep_the_limit() -> None:
    quota = Quota("vendor", (Window(5, 0.2),))
    moments: list[float] = []

    def work() -> None:
        import time

        for _ in range(3):
            quota.acquire()
            moments.append(time.monotonic())

    threads = [Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    moments.sort()
    assert len(moments) == 15
    assert moments[-1] - moments[0] >= 0.35


def test_two_clients_of_one_host_share_a_quota_and_other_hosts_or_limits_do_not() -> None:
    windows = (Window(5, 61),)
    assert shared_quota("vendor.example", windows) is shared_quota("vendor.example", windows)
    assert shared_quota("vendor.example", windows) is not shared_quota("other.example", windows)
    assert shared_quota("vendor.example", windows) is not shared_quota("vendor.example", (Window(6, 61),))
