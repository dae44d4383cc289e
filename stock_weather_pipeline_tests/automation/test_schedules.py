from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest
from dagster._utils.schedules import schedule_execution_time_iterator
from hypothesis import given, settings
from hypothesis import strategies as st

from stock_weather_pipeline.automation.schedules import CRONS, LONGEST_CATCH_UP, new_days
from stock_weather_pipeline.automation.work import chain_of
from stock_weather_pipeline.datasets import STOCK_PRICES, WEATHER
from stock_weather_pipeline.lake.layout import Layer, external_table
from stock_weather_pipeline.partitions import NEW_YORK, PartitionSet
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline_tests.automation.ticking import START, Platform, new_york, platform, range_of


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as served:
        yield served


@pytest.fixture
def home(tmp_path: Path, sandbox: Sandbox) -> Iterator[Platform]:
    sandbox.faults.clear()
    with platform(tmp_path, sandbox) as made:
        yield made


def _stocks_until(home: Platform, day: str) -> None:
    home.materialized(STOCK_PRICES, [date.fromisoformat(day)], chain_of(STOCK_PRICES))


def _stocks_at(home: Platform, moment: str) -> list[tuple[str, str]]:
    return [range_of(request) for request in home.schedule("stock_prices_daily", new_york(moment))]


def test_a_session_is_requested_in_the_night_after_it_and_no_other_night(home: Platform) -> None:
    for newest, moment, expected in (
        ("2024-01-08", "2024-01-10 00:30", "2024-01-09"),
        ("2024-01-11", "2024-01-13 00:30", "2024-01-12"),
        # clocks go forward on Sunday the 10th of March, back on Sunday the 3rd of November
        ("2024-03-08", "2024-03-12 00:30", "2024-03-11"),
        # an early close is a session like any other
        ("2024-07-02", "2024-07-04 00:30", "2024-07-03"),
        ("2024-11-01", "2024-11-05 00:30", "2024-11-04"),
    ):
        _stocks_until(home, newest)
        assert _stocks_at(home, moment) == [(expected, expected)]


def test_the_night_after_a_weekend_day_or_holiday_requests_nothing(home: Platform) -> None:
    for newest, moment, words in (
        ("2024-01-12", "2024-01-14 00:30", "Saturday 2024-01-13 was no NYSE session"),
        ("2024-01-12", "2024-01-15 00:30", "Sunday 2024-01-14 was no NYSE session"),
        ("2024-01-12", "2024-01-16 00:30", "Monday 2024-01-15 was no NYSE session"),
        ("2024-03-28", "2024-03-30 00:30", "Friday 2024-03-29 was no NYSE session"),
        ("2024-03-28", "2024-04-01 00:30", "Sunday 2024-03-31 was no NYSE session"),
    ):
        _stocks_until(home, newest)
        assert _stocks_at(home, moment) == []
        assert words in home.notes["stock_prices_daily"]


def test_a_daemon_that_was_down_for_a_week_makes_up_every_session_in_one_run(home: Platform) -> None:
    _stocks_until(home, "2024-06-14")
    # Wednesday the 19th was a holiday; the daemon is back on a Sunday.
    assert _stocks_at(home, "2024-06-23 00:30") == [("2024-06-17", "2024-06-21")]


@pytest.mark.parametrize("moment", ["2024-03-11 00:45", "2024-11-04 00:45"])
def test_weather_of_the_day_on_which_clocks_change_is_requested_once_and_complete(home: Platform, moment: str) -> None:
    now = new_york(moment)
    yesterday = now.date() - timedelta(days=1)
    home.materialized(WEATHER, [yesterday - timedelta(days=1)], chain_of(WEATHER))
    (request,) = home.schedule("weather_daily", now)
    assert range_of(request) == (str(yesterday), str(yesterday))
    assert home.run(request.with_replaced_attrs(job_name="weather_raw"), now)
    lines = home.lake.objects.read(external_table(WEATHER, Layer.RAW).key(yesterday)).decode().splitlines()
    assert len(lines) - 1 == (23 if yesterday.month == 3 else 25)
    assert home.schedule("weather_daily", now + timedelta(minutes=1)) == []


def test_a_repeated_tick_requests_nothing_while_the_run_is_started_and_after_it_has_run(home: Platform) -> None:
    _stocks_until(home, "2024-01-08")
    now = new_york("2024-01-10 00:30")
    (request,) = home.schedule("stock_prices_daily", now)
    home.started(request)
    assert home.schedule("stock_prices_daily", now) == []
    assert "already started" in home.notes["stock_prices_daily"]
    assert home.run(request.with_replaced_attrs(job_name="stock_prices_raw"), now)
    assert home.schedule("stock_prices_daily", now) == []


def test_a_session_whose_run_failed_is_left_to_the_gaps_sensor(home: Platform) -> None:
    _stocks_until(home, "2024-01-08")
    home.sandbox.faults.add("/v2/aggs", "403")
    now = new_york("2024-01-10 00:30")
    (request,) = home.schedule("stock_prices_daily", now)
    assert not home.run(request, now)
    assert _stocks_at(home, "2024-01-10 00:30") == []
    # The next session is requested alone.
    assert _stocks_at(home, "2024-01-11 00:30") == [("2024-01-10", "2024-01-10")]


def test_an_empty_home_requests_the_newest_session_alone(home: Platform) -> None:
    assert _stocks_at(home, "2024-01-16 00:30") == [("2024-01-12", "2024-01-12")]


def test_a_catch_up_is_bounded(home: Platform) -> None:
    _stocks_until(home, "2024-01-08")
    ((first, last),) = _stocks_at(home, "2024-06-15 00:30")
    assert (first, last) == ("2024-05-14", "2024-06-14")
    assert date.fromisoformat(last) - date.fromisoformat(first) <= LONGEST_CATCH_UP


def test_the_run_of_a_tick_makes_every_layer_and_its_checks(home: Platform) -> None:
    now = new_york("2024-01-16 00:30")
    home.refresh_references(now)
    (request,) = home.schedule("stock_prices_daily", now)
    assert home.run(request, now)
    for layer, name in chain_of(STOCK_PRICES):
        assert home.days_there(layer, name) == ["2024-01-12"]
    graph = home.repository.asset_graph
    wanted = [key for key in graph.asset_check_keys if tuple(key.asset_key.path) in chain_of(STOCK_PRICES)]
    executed = home.instance.event_log_storage.get_latest_asset_check_execution_by_key(wanted)
    assert set(executed) == set(wanted)
    assert home.newest_run().tags["stock_weather/started_by"] == "schedule"


def test_splits_and_locations_are_fetched_daily_and_reach_prod(home: Platform) -> None:
    now = new_york("2024-01-16 00:15")
    (request,) = home.schedule("references_daily", now)
    home.started(request)
    assert home.schedule("references_daily", now) == []
    assert home.run(request, now)
    assert [row["location"] for row in home.rows("SELECT location FROM locations")] == ["New York"]


@pytest.mark.parametrize("name", CRONS)
@pytest.mark.parametrize("day", ["2024-03-10", "2024-11-03"])
def test_the_schedules_tick_exactly_once_on_days_of_23_and_25_hours(name: str, day: str) -> None:
    start = new_york(f"{day} 00:00")
    step = timedelta(weeks=1) if name == "maintenance" else timedelta(days=1)
    ticks = schedule_execution_time_iterator(start.timestamp(), CRONS[name], str(NEW_YORK), ascending=True)
    days = [next(ticks).astimezone(NEW_YORK).date() for _ in range(3)]
    assert days == [start.date() + n * step for n in range(3)]


@settings(max_examples=25)
@given(
    first=st.dates(date(2024, 1, 2), date(2024, 10, 1)),
    nights_up=st.lists(st.booleans(), min_size=1, max_size=24),
)
def test_whenever_the_daemon_is_up_every_session_is_requested_once(first: date, nights_up: list[bool]) -> None:
    nights = [first + timedelta(days=n + 1) for n, up in enumerate([*nights_up, True]) if up]
    newest_known = PartitionSet.SESSIONS.days(first - timedelta(days=10), first)[-1]
    requested: list[date] = []
    for night in nights:
        now = datetime.combine(night, time(0, 30), NEW_YORK)
        requested += new_days(STOCK_PRICES, {newest_known, *requested}, START, now)
    sessions = PartitionSet.SESSIONS.days(newest_known, nights[-1] - timedelta(days=1))
    assert requested == [day for day in sessions if day > newest_known]
