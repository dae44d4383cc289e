"""Days: sessions, clocks that jump, and what Dagster makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise

import exchange_calendars
import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from stock_weather_pipeline import nyse
from stock_weather_pipeline.errors import UsageError
from stock_weather_pipeline.partitions import (
    NEW_YORK,
    PartitionSet,
    contiguous,
    hours_in,
    is_session,
    last_closed_day,
    new_york_day,
    partitions_definition,
    requested_days,
    sessions,
    today,
    utc_window,
)

DAYS = st.dates(min_value=date(1990, 1, 2), max_value=date(2026, 12, 31))


def at(text: str) -> datetime:
    """A moment on New York's clock."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(timezone.utc)


@pytest.fixture
def friday() -> Iterator[None]:
    with time_machine.travel(at("2024-06-07T12:00"), tick=False):
        yield


def test_sessions_are_those_of_the_calendar_library() -> None:
    first, last = date(nyse.FIRST_YEAR, 1, 1), date(nyse.LAST_YEAR, 12, 31)
    calendar = exchange_calendars.get_calendar("XNYS", start=str(first), end=str(last))
    assert sessions(first, last) == [stamp.date() for stamp in calendar.sessions]


def test_sessions_nobody_knows_yet_are_no_guess() -> None:
    with pytest.raises(UsageError, match="known to 2040"):
        is_session(date(nyse.LAST_YEAR + 1, 1, 2))


@given(DAYS, st.integers(0, 900))
def test_hours_of_days_sum_to_the_window_they_cover(first: date, count: int) -> None:
    days = [first + timedelta(days=n) for n in range(count + 1)]
    start, end = utc_window(days[0], days[-1])
    assert sum(hours_in(day) for day in days) * timedelta(hours=1) == end - start


@given(DAYS)
def test_the_windows_of_days_follow_each_other_and_hold_their_hours(day: date) -> None:
    start, end = utc_window(day, day)
    assert utc_window(day + timedelta(days=1), day + timedelta(days=1))[0] == end
    assert {new_york_day(start + timedelta(hours=n)) for n in range(hours_in(day))} == {day}
    assert new_york_day(start - timedelta(seconds=1)) < day < new_york_day(end)


@pytest.mark.parametrize(
    ("day", "hours"), [("2024-03-10", 23), ("2024-11-03", 25), ("2024-07-04", 24), ("2006-04-02", 23)]
)
def test_a_day_has_23_24_or_25_hours(day: str, hours: int) -> None:
    assert hours_in(date.fromisoformat(day)) == hours


@given(st.sets(DAYS.filter(lambda day: day.year > 2020), max_size=40), st.sampled_from(PartitionSet))
def test_runs_hold_exactly_the_days_and_are_parted_by_a_missing_one(days: set[date], kind: PartitionSet) -> None:
    chosen = {day for day in days if kind.contains(day)}
    runs = contiguous(chosen, kind)
    assert [day for run in runs for day in run] == sorted(chosen)
    assert all(run == kind.days(run[0], run[-1]) for run in runs)
    assert all(len(kind.days(one[-1], other[0])) > 2 for one, other in pairwise(runs))


@pytest.mark.parametrize(
    "day",
    [
        *("2001-09-11", "2001-09-12", "2001-09-13", "2001-09-14", "2012-10-29", "2012-10-30", "2025-01-09"),
        *("2004-06-11", "2007-01-02", "2018-12-05", "2024-03-29", "2024-01-15", "2022-06-20", "2024-06-19"),
        *("2023-01-02", "2021-12-24", "2024-07-04", "2024-11-28", "2024-12-25", "2024-06-08", "2024-06-09"),
    ],
)
def test_the_exchange_was_closed(day: str) -> None:
    closed = date.fromisoformat(day)
    assert not is_session(closed)
    assert sessions(closed, closed) == []


@pytest.mark.parametrize(
    "day",
    ["2024-11-29", "2024-07-03", "2024-12-24", "2001-09-10", "2001-09-17", "2012-10-31", "2021-06-18", "2021-12-31"],
)
def test_the_exchange_was_open_be_it_for_half_a_day(day: str) -> None:
    assert is_session(date.fromisoformat(day))


def test_a_year_has_the_sessions_it_had() -> None:
    assert len(sessions(date(2024, 1, 1), date(2024, 12, 31))) == 252
    assert len(sessions(date(1999, 11, 1), date(2024, 6, 7))) == 6190


@pytest.mark.parametrize(
    ("now", "session", "day"),
    [
        ("2024-06-07T23:59:59", "2024-06-06", "2024-06-06"),
        ("2024-06-08T00:00:00", "2024-06-07", "2024-06-07"),
        ("2024-06-10T09:00:00", "2024-06-07", "2024-06-09"),
        ("2024-06-11T00:00:00", "2024-06-10", "2024-06-10"),
        ("2024-07-05T00:00:01", "2024-07-03", "2024-07-04"),
        ("2024-03-10T23:59:59", "2024-03-08", "2024-03-09"),
        ("2024-03-11T00:00:00", "2024-03-08", "2024-03-10"),
        ("2024-11-03T23:59:59", "2024-11-01", "2024-11-02"),
        ("2024-11-04T00:00:00", "2024-11-01", "2024-11-03"),
        ("2024-01-01T12:00:00", "2023-12-29", "2023-12-31"),
        ("2025-01-10T12:00:00", "2025-01-08", "2025-01-09"),
    ],
)
def test_the_last_closed_day_is_the_newest_whose_midnight_has_passed(now: str, session: str, day: str) -> None:
    with time_machine.travel(at(now), tick=False):
        assert str(last_closed_day(PartitionSet.SESSIONS)) == session
        assert str(last_closed_day(PartitionSet.DAYS)) == day
        assert str(today()) == now[:10]
    assert str(last_closed_day(PartitionSet.DAYS, at(now))) == day


@pytest.mark.usefixtures("friday")
@pytest.mark.parametrize(
    ("start", "end", "sentence"),
    [
        (
            "2024-06-06",
            "2024-06-05",
            "The range 2024-06-06..2024-06-05 runs backwards: --start must not be after --end.",
        ),
        ("2024-06-03", "2024-06-07", "2024-06-07 is not over yet in New York: the newest day .* is 2024-06-06."),
        ("2024-06-03", "2199-01-01", "2199-01-01 is not over yet in New York"),
        (
            "2019-01-02",
            "2024-06-05",
            "2019-01-02 is before the first partition 2020-01-01: set STOCK_WEATHER_START_DATE=",
        ),
        ("2024-05-27", "2024-05-27", r"holds no NYSE session .* around it are 2024-05-24 and 2024-05-28\."),
        ("2024-06-01", "2024-06-02", r"holds no NYSE session .* around it are 2024-05-31 and 2024-06-03\."),
    ],
)
def test_a_range_that_cannot_be_asked_for_is_one_sentence(start: str, end: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        requested_days(PartitionSet.SESSIONS, date.fromisoformat(start), date.fromisoformat(end), date(2020, 1, 1))


@pytest.mark.usefixtures("friday")
def test_a_range_holds_its_sessions_or_days() -> None:
    start, end = date(2024, 5, 24), date(2024, 5, 29)
    found = requested_days(PartitionSet.SESSIONS, start, end, start)
    assert [day.day for day in found] == [24, 28, 29]
    assert len(requested_days(PartitionSet.DAYS, start, end, start)) == 6


@pytest.mark.parametrize(
    "now",
    [
        "2024-06-07T12:00",
        "2024-06-08T00:00",
        "2024-06-09T12:00",
        "2024-07-05T00:30",
        "2024-12-26T00:30",
        "2025-01-01T09:00",
    ],
)
def test_dagsters_partitions_are_the_closed_days_and_none_is_in_the_future(now: str) -> None:
    start = date(2023, 6, 1)
    partitions_definition.cache_clear()
    with time_machine.travel(at(now), tick=False):
        for kind in PartitionSet:
            keys = partitions_definition(kind, start).get_partition_keys()
            assert keys == [str(day) for day in kind.days(start, last_closed_day(kind))]
    partitions_definition.cache_clear()


def test_dagsters_windows_are_new_yorks_days_when_clocks_change() -> None:
    definition = partitions_definition(PartitionSet.DAYS, date(2024, 1, 1))
    for day in ("2024-03-10", "2024-11-03"):
        window = definition.time_window_for_partition_key(day)
        start, end = utc_window(date.fromisoformat(day), date.fromisoformat(day))
        assert window.start.astimezone(timezone.utc).replace(tzinfo=None) == start
        assert window.end.astimezone(timezone.utc).replace(tzinfo=None) == end
