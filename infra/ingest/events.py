"""What the function is asked for: an event, checked field by field. No I/O.

    {"dataset": "stock_prices", "day": "2024-06-03", "delivery": "firehose"}
    {"dataset": "weather", "start": "2024-06-01", "end": "2024-06-30", "locations": ["New York"], "delivery": ...}
    {"dataset": "stock_prices", "scheduled_at": "2024-06-04T04:30:00Z", "delivery": "firehose"}
    {"dataset": "stock_splits", "delivery": "handover", "handover": "handover/RUN/ID/"}

Without a day it is the New York day before `scheduled_at` (EventBridge Scheduler fills it in), or before now. A
location is a configured one by its name, or one spelled out as in STOCK_WEATHER_LOCATIONS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Any, Literal

from stock_weather_pipeline.datasets import DATASETS, Dataset
from stock_weather_pipeline.errors import UsageError
from stock_weather_pipeline.partitions import ONE_DAY, today
from stock_weather_pipeline.settings import EARLIEST_DAY, Location, parse_locations, parse_tickers
from stock_weather_pipeline.sources.handover import PREFIX

FETCHED = tuple(name for name in DATASETS if name != "locations")
"""The datasets that have a vendor."""

_FIELDS = ("dataset", "day", "start", "end", "scheduled_at", "tickers", "locations", "delivery", "handover")
# What Dagster Pipes adds to an event is read by `dagster_pipes`.
_PIPES = "DAGSTER_PIPES_"
_HANDOVER = re.compile(re.escape(PREFIX) + r"[A-Za-z0-9-]{1,64}/[A-Za-z0-9-]{1,64}/")


@dataclass(frozen=True)
class Request:
    """A checked event. `days` is empty for a dataset without partitions, and when the range holds no session.

    `tickers` and `locations` are None for the configured ones. `handover` is the prefix to hand pages over under.
    """

    dataset: Dataset
    days: tuple[date, ...]
    tickers: tuple[str, ...] | None
    locations: tuple[Location, ...] | None
    delivery: Literal["firehose", "handover"]
    handover: str


def request_of(event: Mapping[str, Any], now: datetime | None = None) -> Request:
    """Raises UsageError with one sentence about the first thing that is wrong."""
    if not isinstance(event, Mapping):
        raise _wrong("", event, "a JSON object with the fields " + ", ".join(_FIELDS))
    unknown = sorted(name for name in event if name not in _FIELDS and not str(name).startswith(_PIPES))
    if unknown:
        raise UsageError(f"The event has a field {unknown[0]!r} that means nothing: it may have {', '.join(_FIELDS)}.")
    if event.get("dataset") not in FETCHED:
        raise _wrong("dataset", event.get("dataset"), "one of " + ", ".join(FETCHED))
    dataset = DATASETS[event["dataset"]]
    delivery = event.get("delivery")
    if delivery not in ("firehose", "handover"):
        raise _wrong("delivery", delivery, "firehose or handover")
    if delivery == "firehose" and dataset.partition_set is None:
        raise _wrong("delivery", delivery, f"handover, since the landing zone takes no {dataset.name}")
    handover = event.get("handover") or ""
    if delivery == "handover" and not (isinstance(handover, str) and _HANDOVER.fullmatch(handover)):
        raise _wrong("handover", handover, f"a prefix such as {PREFIX}RUN/ID/")
    if dataset.entity == "location" and event.get("tickers") is not None:
        raise _wrong("tickers", event["tickers"], f"left out for {dataset.name}, which has locations")
    if dataset.entity == "ticker" and event.get("locations") is not None:
        raise _wrong("locations", event["locations"], f"left out for {dataset.name}, which has tickers")
    return Request(
        dataset,
        _days(dataset, event, now or datetime.now(timezone.utc)),
        _entities(event, "tickers", ",", parse_tickers),
        _entities(event, "locations", ";", parse_locations),
        delivery,
        handover,
    )


def _days(dataset: Dataset, event: Mapping[str, Any], now: datetime) -> tuple[date, ...]:
    named = [name for name in ("day", "start", "end") if event.get(name) is not None]
    if dataset.partition_set is None:
        if named:
            raise _wrong(named[0], event[named[0]], f"left out for {dataset.name}, which has no days")
        return ()
    if named == ["day"]:
        first = last = _day("day", event["day"])
    elif named == ["start", "end"]:
        first, last = _day("start", event["start"]), _day("end", event["end"])
    elif named:
        raise UsageError(f"The event has {' and '.join(named)}: give day alone, or start and end, or none of them.")
    else:
        first = last = today(_moment(event["scheduled_at"]) if event.get("scheduled_at") else now) - ONE_DAY
    if first > last:
        raise UsageError(f"The event's range {first}..{last} runs backwards: start must not be after end.")
    if first < EARLIEST_DAY:
        raise UsageError(f"The event's day {first} is before {EARLIEST_DAY}, where every history begins: use a later.")
    if last >= today(now):
        raise UsageError(f"The event's day {last} is not over yet in New York: the newest is {today(now) - ONE_DAY}.")
    return tuple(dataset.partition_set.days(first, last))


def _day(name: str, value: Any) -> date:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise _wrong(name, value, "a day such as 2024-06-03") from None


def _moment(value: Any) -> datetime:
    try:
        # Python 3.10 does not read the Z.
        moment = datetime.fromisoformat(value[:-1] + "+00:00" if value.endswith("Z") else value)
    except (TypeError, ValueError, AttributeError):
        raise _wrong("scheduled_at", value, "a time such as 2024-06-04T04:30:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _entities(event: Mapping[str, Any], name: str, separator: str, parse: Any) -> Any:
    value = event.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong(name, value, f"a list of {name}")
    try:
        return parse(separator.join(value))
    except ValueError as error:
        raise UsageError(f"The event's {name} cannot be used: {error}.") from None


def _wrong(name: str, value: Any, valid: str) -> UsageError:
    where = f"The event's {name}" if name else "The event"
    return UsageError(f"{where} is {str(value)[:100]!r}: it must be {valid}.")
