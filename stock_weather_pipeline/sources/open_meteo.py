"""Open-Meteo's archive: hourly weather in UTC, many locations in one call.

Belongs here: this vendor's parameters, units, weights and errors. The vendor's own day is never used: it cuts days at
the zone's offset of the moment of the request, so hours are asked for in GMT and the New York day of each is computed.
Rows carry our location's name, because the vendor answers with the coordinates of its grid cell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

from stock_weather_pipeline.datasets import WEATHER
from stock_weather_pipeline.errors import NotYetAvailableError, PermanentSourceError, TransientSourceError
from stock_weather_pipeline.partitions import ONE_DAY, new_york_day, utc_window
from stock_weather_pipeline.settings import Location
from stock_weather_pipeline.sources.base import FetchPlan, Page, Progress, silent
from stock_weather_pipeline.sources.http import RATE_LIMIT_PAUSE_S, Answer, HttpClient, Reply, Retry, host_of
from stock_weather_pipeline.sources.quota import Quota, Window, shared_quota

# The free plan, per address. The vendor's clock and ours do not tick together, hence a second more.
_WINDOWS = (Window(600, 61.0), Window(5_000, 3_601.0), Window(10_000, 86_401.0))
# A call heavier than this would empty the minute's quota in one go and leave nothing to retry with.
_MAX_WEIGHT = 100.0
_VARIABLES_PER_WEIGHT = 10
_DAYS_PER_WEIGHT = 14
# Column of the contract: (the vendor's variable, the unit it must come in).
_VARIABLES = {
    "temperature_c": ("temperature_2m", "°C"),
    "apparent_temperature_c": ("apparent_temperature", "°C"),
    "relative_humidity_pct": ("relative_humidity_2m", "%"),
    "precipitation_mm": ("precipitation", "mm"),
    "wind_speed_kmh": ("wind_speed_10m", "km/h"),
    "weather_code": ("weather_code", "wmo code"),
}
_UNITS = {"time": "iso8601"} | dict(_VARIABLES.values())
_HOUR = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")
_LAST_ALLOWED = re.compile(r"'end_date' is out of allowed range from \S+ to (\d{4}-\d\d-\d\d)?")


@dataclass(frozen=True)
class _Call:
    """One request: New York days `first`..`last` of some locations."""

    first: date
    last: date
    locations: tuple[Location, ...]

    @property
    def last_utc_date(self) -> date:
        return (utc_window(self.last, self.last)[1] - timedelta(hours=1)).date()

    @property
    def weight(self) -> float:
        return weight(len(self.locations), (self.last_utc_date - self.first).days + 1)


class _EndTooLateError(NotYetAvailableError):
    """The vendor's archive ends before the last hour asked for; `last_allowed` is a UTC date if it said so."""

    def __init__(self, sentence: str, last_allowed: date | None) -> None:
        super().__init__(sentence)
        self.last_allowed = last_allowed


class WeatherSource:
    """A RangeSource of hourly weather."""

    def __init__(self, url: str, locations: Sequence[Location], quota: Quota | None = None) -> None:
        self._quota = quota or shared_quota(host_of(url), _WINDOWS)
        self._http = HttpClient(url, self._quota, "STOCK_WEATHER_OPEN_METEO_URL", classify=self._classify)
        self._locations = tuple(sorted(locations, key=lambda location: location.name))

    def plan(self, days: Sequence[date]) -> FetchPlan:
        """Calls of at most _MAX_WEIGHT for everything from the first to the last day."""
        calls = [call for chunk in self._chunks(days) for call in chunk]
        count = f"{len(calls):,} call" + ("" if len(calls) == 1 else "s")
        names = [location.name for location in self._locations]
        whom = ", ".join(names) if len(names) <= 3 else f"{len(names):,} locations"
        days_text = f"{len(set(days)):,} day" + ("" if len(set(days)) == 1 else "s")
        minutes = self._quota.minutes([call.weight for call in calls])
        return FetchPlan(len(calls), minutes, f"{count} ({whom}, {days_text})")

    def fetch(self, days: Sequence[date], progress: Progress = silent) -> Iterator[Page]:
        """Every hour of the New York days from the first to the last, for all locations, nulls kept as nulls.

        When the archive ends before the last day, the days before that are yielded first; then NotYetAvailableError.
        """
        chunks = self._chunks(days)
        planned, done = sum(len(chunk) for chunk in chunks), 0
        for chunk in chunks:
            first, last = chunk[0].first, chunk[0].last
            progress(done, planned, f"weather {first}..{last}")
            try:
                yield from self._fetch_chunk(chunk)
            except _EndTooLateError as too_late:
                complete = _last_complete_day(too_late.last_allowed, last)
                if complete is not None and complete >= first:
                    yield from self._fetch_chunk([_Call(first, complete, call.locations) for call in chunk])
                raise
            done += len(chunk)
            progress(done, planned, f"weather {first}..{last}")

    def _chunks(self, days: Sequence[date]) -> list[list[_Call]]:
        """The calls that together bring a range of days, per range, ascending."""
        if not days or not self._locations:
            return []
        size = min(len(self._locations), int(_MAX_WEIGHT))
        # One day less than the budget allows: the last hours of a New York day are on the next UTC date.
        span = int(_MAX_WEIGHT / size * _VARIABLES_PER_WEIGHT / len(_VARIABLES) * _DAYS_PER_WEIGHT) - 1
        batches = [self._locations[n : n + size] for n in range(0, len(self._locations), size)]
        chunks, first = [], min(days)
        while first <= max(days):
            last = min(first + ONE_DAY * (span - 1), max(days))
            chunks.append([_Call(first, last, batch) for batch in batches])
            first = last + ONE_DAY
        return chunks

    def _fetch_chunk(self, calls: Sequence[_Call]) -> Iterator[Page]:
        for done, call in enumerate(calls, 1):
            reply = self._fetch_call(call)
            hours, whole = reply.value, done == len(calls)
            yield Page(call.first, call.last, hours.columns, hours.days, reply.calls, reply.simulated, whole)

    def _fetch_call(self, call: _Call) -> Reply[_Hours]:
        params = {
            "latitude": ",".join(str(place.latitude) for place in call.locations),
            "longitude": ",".join(str(place.longitude) for place in call.locations),
            "elevation": ",".join(str(place.elevation_m) for place in call.locations),
            "start_date": call.first.isoformat(),
            "end_date": call.last_utc_date.isoformat(),
            "hourly": ",".join(variable for variable, _ in _VARIABLES.values()),
            "timezone": "GMT",
            "temperature_unit": "celsius",
            "wind_speed_unit": "kmh",
            "precipitation_unit": "mm",
        }
        return self._http.get("/v1/archive", params, lambda body: _hours(body, call), call.weight)

    def _classify(self, answer: Answer) -> None:
        """Raises for refusals that the status alone does not explain."""
        text = answer.text.lower()
        host = self._http.host
        if answer.status == 400:
            too_late = _LAST_ALLOWED.search(answer.text)
            if too_late:
                raise _EndTooLateError(
                    f"{host} has no weather of the newest hours asked for yet ({answer.told}): ask again tomorrow.",
                    date.fromisoformat(too_late[1]) if too_late[1] else None,
                )
            raise PermanentSourceError(f"{host} refused the request ({answer.told}): check STOCK_WEATHER_LOCATIONS.")
        if answer.status == 401:
            raise PermanentSourceError(
                f"{host} wants a key ({answer.told}): set STOCK_WEATHER_OPEN_METEO_URL to the free host."
            )
        if answer.status == 429:
            now = datetime.now(timezone.utc)
            if "hourly" in text:
                free_at = now.replace(minute=0) + timedelta(hours=1)
                raise TransientSourceError(_spent(host, "hour", answer, free_at))
            if "daily" in text or "monthly" in text:
                free_at = now.replace(hour=0, minute=0) + ONE_DAY
                raise TransientSourceError(_spent(host, "day", answer, free_at))
            # Too many at the same moment heals in seconds, the minute's quota does not.
            raise Retry(answer.told, None if "concurrent" in text else RATE_LIMIT_PAUSE_S)


def weight(locations: int, days: int) -> float:
    """What a call counts as in the vendor's quota: tenths of the variables, times fortnights, per location.

    Source: https://open-meteo.com/en/pricing and ForecastApiResult.calculateQueryWeight of the vendor's server.
    """
    variables = len(_VARIABLES) / _VARIABLES_PER_WEIGHT
    return locations * max(1.0, variables, variables * days / _DAYS_PER_WEIGHT)


def _spent(host: str, period: str, answer: Answer, free_at: datetime) -> str:
    return (
        f"The quota of the {period} at {host} is spent ({answer.told}): "
        f"run this again after {free_at:%Y-%m-%d %H:%M} UTC."
    )


def _last_complete_day(last_allowed: date | None, last: date) -> date | None:
    """The newest New York day before `last` whose hours all lie on UTC dates up to `last_allowed`."""
    # The evening of a New York day is on the next UTC date, in summer and in winter.
    return min(last_allowed, last) - ONE_DAY if last_allowed else None


@dataclass(frozen=True)
class _Hours:
    """Columns of weather, and the New York day of each hour as an ISO date."""

    columns: dict[str, list[Any]]
    days: list[str]


def _hours(body: Any, call: _Call) -> _Hours:
    places = body if isinstance(body, list) else [body]
    if len(places) != len(call.locations):
        raise Retry(f"{len(places)} places in the answer, {len(call.locations)} asked for")
    hours = _Hours({name: [] for name in WEATHER.column_names}, [])
    for place, location in zip(places, call.locations, strict=True):
        _add_place(hours, place, location, call)
    return hours


def _add_place(hours: _Hours, place: Any, location: Location, call: _Call) -> None:
    hourly, units = _checked(place, location)
    for variable, unit in _UNITS.items():
        if units.get(variable) != unit:
            raise PermanentSourceError(
                f"Open-Meteo sent {variable} of {location.name} in {units.get(variable)!r} instead of {unit!r}: "
                "nothing was kept; check that STOCK_WEATHER_OPEN_METEO_URL passes queries on unchanged."
            )
    days = [_day_of_hour(hour) if isinstance(hour, str) else None for hour in hourly["time"]]
    if None in days:
        raise Retry(f"an hour of {location.name} that is no time such as 2024-03-10T07:00")
    # Whole UTC dates were asked for; the hours before and after belong to neighbouring New York days.
    low, high = call.first.isoformat(), call.last.isoformat()
    kept = [n for n, day in enumerate(days) if day is not None and low <= day <= high]
    hours.days.extend(days[n] or "" for n in kept)
    hours.columns["location"].extend([location.name] * len(kept))
    for column, variable in (("observed_at", "time"), *((name, sent) for name, (sent, _) in _VARIABLES.items())):
        values = hourly[variable]
        hours.columns[column].extend(values[n] for n in kept)


def _checked(place: Any, location: Location) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """`hourly` and `hourly_units`, with every variable present and as long as `time`."""
    if not isinstance(place, dict) or not isinstance(place.get("hourly"), dict):
        raise Retry(f"no hourly values of {location.name}")
    if place.get("utc_offset_seconds") != "0":
        raise PermanentSourceError(
            f"Open-Meteo sent the hours of {location.name} at UTC offset {place.get('utc_offset_seconds')} s though "
            "GMT was asked for: nothing was kept; check that STOCK_WEATHER_OPEN_METEO_URL passes queries on unchanged."
        )
    hourly = place["hourly"]
    lengths = {len(hourly[name]) if isinstance(hourly.get(name), list) else -1 for name in _UNITS}
    if len(lengths) != 1 or -1 in lengths:
        raise Retry(f"hourly values of {location.name} of unequal length")
    units = place.get("hourly_units")
    if not isinstance(units, dict):
        raise Retry(f"no units for the values of {location.name}")
    return hourly, units


@lru_cache(maxsize=131_072)
def _day_of_hour(hour: str) -> str | None:
    if not _HOUR.fullmatch(hour):
        return None
    try:
        return new_york_day(datetime.fromisoformat(hour)).isoformat()
    except (ValueError, OverflowError):
        return None
