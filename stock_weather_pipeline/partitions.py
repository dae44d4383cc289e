"""Days: NYSE sessions, calendar days, and the UTC hours that make up a day in New York.

One zone for everything, America/New_York: a day's partition closes at midnight there. Which day a row belongs to is
decided by the dataset's contract, not here; what a missing day means is decided by the layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta, timezone
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from stock_weather_pipeline import nyse
from stock_weather_pipeline.errors import UsageError

if TYPE_CHECKING:
    from dagster import TimeWindowPartitionsDefinition

NEW_YORK = ZoneInfo("America/New_York")
ONE_DAY = timedelta(days=1)

_SATURDAY = 5


class PartitionSet(Enum):
    """Which days have a partition."""

    SESSIONS = "sessions"
    DAYS = "days"

    def days(self, start: date, end: date) -> list[date]:
        """The days of this set from `start` to `end`, both included, ascending."""
        if self is PartitionSet.SESSIONS:
            return sessions(start, end)
        return [start + ONE_DAY * n for n in range((end - start).days + 1)]

    def contains(self, day: date) -> bool:
        return self is PartitionSet.DAYS or is_session(day)


@cache
def _session_days() -> tuple[tuple[date, ...], frozenset[date]]:
    closed = {
        date.fromisoformat(f"{year}-{day}")
        for year, *days in map(str.split, nyse.WEEKDAY_CLOSURES.strip().splitlines())
        for day in days
    }
    first, last = date(nyse.FIRST_YEAR, 1, 1), date(nyse.LAST_YEAR, 12, 31)
    every = (first + ONE_DAY * n for n in range((last - first).days + 1))
    days = tuple(day for day in every if day.weekday() < _SATURDAY and day not in closed)
    return days, frozenset(days)


def _known_sessions(until: date) -> tuple[tuple[date, ...], frozenset[date]]:
    if until.year > nyse.LAST_YEAR:
        raise UsageError(
            f"The sessions of the NYSE are known to {nyse.LAST_YEAR}, {until} is later: upgrade stock_weather_pipeline."
        )
    return _session_days()


def sessions(start: date, end: date) -> list[date]:
    """NYSE sessions from `start` to `end`, both included. Raises UsageError for days nobody knows yet."""
    from bisect import bisect_left, bisect_right

    days, _ = _known_sessions(end)
    return list(days[bisect_left(days, start) : bisect_right(days, end)])


def is_session(day: date) -> bool:
    return day in _known_sessions(day)[1]


def today(now: datetime | None = None) -> date:
    """The calendar day in New York."""
    return (now or datetime.now(timezone.utc)).astimezone(NEW_YORK).date()


def last_closed_day(partition_set: PartitionSet, now: datetime | None = None) -> date:
    """The newest day of the set whose midnight in New York has passed."""
    day = today(now) - ONE_DAY
    while not partition_set.contains(day):
        day -= ONE_DAY
    return day


def utc_window(first: date, last: date) -> tuple[datetime, datetime]:
    """The half-open window in naive UTC that the New York days `first`..`last` cover.

    One day has 24 hours, 23 when clocks go forward and 25 when they go back.
    """
    start = datetime.combine(first, time(), NEW_YORK).astimezone(timezone.utc).replace(tzinfo=None)
    end = datetime.combine(last + ONE_DAY, time(), NEW_YORK).astimezone(timezone.utc).replace(tzinfo=None)
    return start, end


def hours_in(day: date) -> int:
    """How many hours a New York day has: 23, 24 or 25."""
    start, end = utc_window(day, day)
    return int((end - start) / timedelta(hours=1))


def new_york_day(utc: datetime) -> date:
    """The New York day of a naive UTC timestamp."""
    return utc.replace(tzinfo=timezone.utc).astimezone(NEW_YORK).date()


def contiguous(days: Iterable[date], partition_set: PartitionSet) -> list[list[date]]:
    """`days` grouped into runs without a gap in the partition set, ascending: each is one ranged run."""
    wanted = sorted(set(days))
    if not wanted:
        return []
    position = {day: n for n, day in enumerate(partition_set.days(wanted[0], wanted[-1]))}
    groups: list[list[date]] = []
    for day in wanted:
        if groups and position[day] == position[groups[-1][-1]] + 1:
            groups[-1].append(day)
        else:
            groups.append([day])
    return groups


def requested_days(partition_set: PartitionSet, start: date, end: date, earliest: date) -> list[date]:
    """The days of a range a user asked for. Raises UsageError for a reversed, future, too early or empty range."""
    if start > end:
        raise UsageError(f"The range {start}..{end} runs backwards: --start must not be after --end.")
    closed = last_closed_day(partition_set)
    if end > max(closed, today() - ONE_DAY):
        raise UsageError(f"{end} is not over yet in New York: the newest day that can be asked for is {closed}.")
    if start < earliest:
        raise UsageError(
            f"{start} is before the first partition {earliest}: "
            f"set STOCK_WEATHER_START_DATE={start} to go back further."
        )
    days = partition_set.days(start, end)
    if not days:
        raise UsageError(
            f"{start}..{end} holds no NYSE session (weekend or holiday): "
            f"the sessions around it are {_neighbours(start, end)}."
        )
    return days


def _neighbours(start: date, end: date) -> str:
    before = last_closed_day(PartitionSet.SESSIONS, datetime.combine(start, time(12), NEW_YORK))
    after = sessions(end, end + ONE_DAY * 10)[0]
    return f"{before} and {after}"


def partition_key(day: date) -> str:
    return day.isoformat()


def days_of_keys(keys: Sequence[str]) -> list[date]:
    return [date.fromisoformat(key) for key in keys]


@cache
def partitions_definition(partition_set: PartitionSet, start: date) -> TimeWindowPartitionsDefinition:
    """Dagster's daily partitions of a set from `start` on, closing at midnight in New York.

    `end_offset` stays 0: a positive one makes a partition in the future when there are exclusions (dagster #33551).
    """
    import dagster as dg

    exclusions: list[str | datetime] | None = None
    if partition_set is PartitionSet.SESSIONS:
        exclusions = ["0 0 * * 0", "0 0 * * 6", *(datetime.combine(day, time()) for day in _weekday_holidays(start))]
    return dg.TimeWindowPartitionsDefinition(
        start=start.isoformat(),
        fmt="%Y-%m-%d",
        cron_schedule="0 0 * * *",
        timezone=str(NEW_YORK),
        end_offset=0,
        exclusions=exclusions,
    )


def _weekday_holidays(start: date) -> list[date]:
    end = date(today().year + 1, 12, 31)
    days = set(sessions(start, end))
    return [
        day
        for day in (start + ONE_DAY * n for n in range((end - start).days + 1))
        if day.weekday() < _SATURDAY and day not in days
    ]
