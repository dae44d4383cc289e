from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest

from stock_weather_pipeline.automation.alerts import open_problems
from stock_weather_pipeline.automation.sensors.ticks import TickError
from stock_weather_pipeline.automation.work import chain_of
from stock_weather_pipeline.datasets import STOCK_PRICES, WEATHER, Dataset
from stock_weather_pipeline.layers import coverage
from stock_weather_pipeline.partitions import PartitionSet
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline_tests.automation.ticking import Platform, layers_of, new_york, platform, range_of


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as served:
        yield served


@pytest.fixture
def home(tmp_path: Path, sandbox: Sandbox) -> Iterator[Platform]:
    sandbox.faults.clear()
    with platform(tmp_path, sandbox) as made:
        yield made


def _complete(home: Platform, dataset: Dataset, days: Sequence[date]) -> None:
    home.materialized(dataset, days, chain_of(dataset))
    entity = "NVDA" if dataset is STOCK_PRICES else "New York"
    coverage.add(home.lake, dataset, [entity], min(days), max(days))


def _sessions(first: str, last: str) -> list[date]:
    return PartitionSet.SESSIONS.days(date.fromisoformat(first), date.fromisoformat(last))


def test_holes_become_one_run_for_each_gapless_range_and_newer_days_are_left_to_the_schedule(home: Platform) -> None:
    sessions = _sessions("2024-01-02", "2024-01-31")
    # Friday the 12th and Tuesday the 16th are neighbours: a weekend and a holiday lie between.
    holes = {date(2024, 1, 4), date(2024, 1, 12), date(2024, 1, 16)}
    _complete(home, STOCK_PRICES, [day for day in sessions if day not in holes])
    requests = home.sensor("gaps", new_york("2024-02-06 12:00"))
    assert [range_of(request) for request in requests] == [("2024-01-04", "2024-01-04"), ("2024-01-12", "2024-01-16")]
    assert all(request.tags["stock_weather/attempt"] == "1" for request in requests)
    home.started(requests[1])
    again = home.sensor("gaps", new_york("2024-02-06 12:01"))
    assert [range_of(request) for request in again] == [("2024-01-04", "2024-01-04")]


def test_a_day_that_lacks_only_views_starts_at_the_first_one_it_lacks(home: Platform) -> None:
    sessions = _sessions("2024-01-02", "2024-01-05")
    _complete(home, STOCK_PRICES, sessions[1:])
    home.materialized(STOCK_PRICES, sessions[:1], [key for key in chain_of(STOCK_PRICES) if key[0] != "views"])
    coverage.add(home.lake, STOCK_PRICES, ["NVDA"], sessions[0], sessions[0])
    (request,) = home.sensor("gaps", new_york("2024-01-08 12:00"))
    assert range_of(request) == ("2024-01-02", "2024-01-02")
    assert layers_of(request) == {"views", "dashboard"}


def test_a_failing_day_is_tried_four_times_with_growing_pauses_and_then_given_up_with_one_alert(home: Platform) -> None:
    home.sandbox.faults.add("/", "missing_days", days=["2024-01-16"])
    now = new_york("2024-01-17 00:30")
    (first,) = home.schedule("stock_prices_daily", now)
    assert not home.run(first, now)
    for attempt, pause in ((2, timedelta(minutes=10)), (3, timedelta(hours=1)), (4, timedelta(hours=6))):
        assert home.sensor("gaps", now + pause - timedelta(seconds=30)) == []
        assert "wait for their next attempt" in home.notes["gaps"]
        now += pause + timedelta(minutes=1)
        (request,) = home.sensor("gaps", now)
        assert request.tags["stock_weather/attempt"] == str(attempt)
        assert range_of(request) == ("2024-01-16", "2024-01-16")
        assert not home.run(request, now)
    for later in (timedelta(hours=7), timedelta(days=2)):
        assert home.sensor("gaps", now + later) == []
    assert "given up 2024-01-16" in home.notes["gaps"]
    # Without its cursor it knows from the runs, and the problem is already open.
    home.cursors.clear()
    assert home.sensor("gaps", now + timedelta(days=3)) == []
    (problem,) = open_problems(home.lake).values()
    assert problem.alert.days == (date(2024, 1, 16),)
    assert "failed 4 times" in problem.alert.text


def test_what_failed_for_good_is_not_tried_again_until_a_run_could_fetch(home: Platform) -> None:
    home.sandbox.faults.add("/v2/aggs", "401", times=1)
    now = new_york("2024-01-17 00:30")
    (first,) = home.schedule("stock_prices_daily", now)
    assert not home.run(first, now)
    for later in (timedelta(minutes=11), timedelta(hours=8), timedelta(days=1)):
        assert home.sensor("gaps", now + later) == []
        assert "failed for good" in home.notes["gaps"]
    assert open_problems(home.lake) == {}
    # The key was put right: the next night's session comes, and with it the one that failed.
    home.refresh_references(now)
    night = new_york("2024-01-18 00:30")
    (second,) = home.schedule("stock_prices_daily", night)
    assert home.run(second, night)
    (again,) = home.sensor("gaps", night + timedelta(minutes=1))
    assert range_of(again) == ("2024-01-16", "2024-01-16")
    assert home.run(again, night)


def test_an_error_in_one_dataset_is_told_and_the_other_is_served(home: Platform) -> None:
    days = [date(2024, 1, 2), date(2024, 1, 4)]
    _complete(home, STOCK_PRICES, days)
    _complete(home, WEATHER, days)
    home.lake.objects.write("coverage/stock_prices.json", b"{")
    (request,) = home.sensor("gaps", new_york("2024-01-08 12:00"))
    assert request.job_name == "weather"
    assert range_of(request) == ("2024-01-03", "2024-01-03")
    home.lake.objects.write("coverage/weather.json", b"{")
    with pytest.raises(TickError, match=r"(?s)stock_prices\.json is damaged.*weather\.json is damaged"):
        home.sensor("gaps", new_york("2024-01-08 12:01"))


def test_a_home_without_any_day_has_no_gaps(home: Platform) -> None:
    assert home.sensor("gaps", new_york("2024-01-08 12:00")) == []
    assert home.notes["gaps"] == "No day is due."
