"""The weather vendor's archive API: a request in, the vendor's answer out, from any weather.

Parameters, units, the fixed offset of time zones and error texts belong here, not quota and not where the values come
from.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from stock_weather_pipeline.sandbox.answers import Answer, Request, json_answer
from stock_weather_pipeline.sandbox.faults import Fault
from stock_weather_pipeline.sandbox.feed import WEATHER_UNITS, Number, Weather

OLDEST_DAY = date(1940, 1, 1)
_HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive UTC, as the vendor writes times
# The archive's best match is a 9 km grid.
_GRID_DEGREES = 0.0703

LIMIT_REASONS = {
    "minute": "Minutely API request limit exceeded. Please try again in one minute.",
    "hour": "Hourly API request limit exceeded. Please try again in the next hour.",
    "day": "Daily API request limit exceeded. Please try again tomorrow.",
    "concurrent": "Too many concurrent requests",
}
_UNIT_CHOICES: dict[str, dict[str, tuple[str, float, float, int]]] = {
    # query parameter -> value -> (unit, factor, offset, decimals)
    "temperature_unit": {"celsius": ("°C", 1, 0, 1), "fahrenheit": ("°F", 1.8, 32, 1)},
    "wind_speed_unit": {
        "kmh": ("km/h", 1, 0, 1),
        "ms": ("m/s", 1 / 3.6, 0, 2),
        "mph": ("mp/h", 0.621371192, 0, 1),
        "kn": ("kn", 0.539956803, 0, 1),
    },
    "precipitation_unit": {"mm": ("mm", 1, 0, 2), "inch": ("inch", 1 / 25.4, 0, 3)},
}
_UNIT_OF = {
    "temperature_2m": "temperature_unit",
    "apparent_temperature": "temperature_unit",
    "wind_speed_10m": "wind_speed_unit",
    "precipitation": "precipitation_unit",
}
_VARIABLE_TYPE = (
    "SurfacePressureAndHeightVariable<VariableAndPreviousDay, ForecastPressureVariable, ForecastHeightVariable>"
)


class _RefusedError(Exception):
    """The vendor's 400; the text is its reason."""


def error(status: int, reason: str) -> Answer:
    return json_answer(status, {"error": True, "reason": reason})


@dataclass(frozen=True)
class _Place:
    latitude: float
    longitude: float
    elevation_m: float


@dataclass(frozen=True)
class _Zone:
    """A fixed offset: what the zone had at the moment of the request, for every date."""

    name: str
    abbreviation: str
    offset_seconds: int


class OpenMeteoApi:
    """`/v1/archive` over any weather. `now` is the clock, aware."""

    def __init__(self, weather: Weather, now: Callable[[], datetime]) -> None:
        self._weather = weather
        self._now = now

    def answer(self, request: Request, fault: Fault | None) -> Answer | None:
        """The vendor's answer, None where the vendor has no such path."""
        if request.segments != ("v1", "archive"):
            return None
        try:
            return json_answer(200, self._archive(request.query, fault))
        except _RefusedError as refused:
            return error(400, str(refused))

    def weight(self, query: Mapping[str, str]) -> float:
        """As how many calls the vendor counts a request: per location max(1, max(v/10, v/10 * days/14))."""
        variables = len(query.get("hourly", "").split(",")) / 10
        try:
            days = (_day(query, "end_date") - _day(query, "start_date")).days + 1
        except _RefusedError:
            days = 1
        return max(1.0, variables, variables * days / 14) * len(query.get("latitude", "").split(","))

    def _archive(self, query: Mapping[str, str], fault: Fault | None) -> Any:
        started = time.perf_counter()
        places = _places(query)
        names = _variables(query)
        first, last = self._days(query)
        choices = {parameter: _choice(query, parameter, tuple(units)) for parameter, units in _UNIT_CHOICES.items()}
        unixtime = _choice(query, "timeformat", ("iso8601", "unixtime")) == "unixtime"
        answers: list[dict[str, Any]] = []
        for number, place in enumerate(places):
            zone = self._zone(query.get("timezone", "GMT"), place)
            positions, hourly = self._hourly(place, zone, first, last, names, choices, fault)
            answers.append(
                {
                    "latitude": _grid(place.latitude),
                    "longitude": _grid(place.longitude),
                    "generationtime_ms": (time.perf_counter() - started) * 1000,
                    "utc_offset_seconds": zone.offset_seconds,
                    "timezone": zone.name,
                    "timezone_abbreviation": zone.abbreviation,
                    # `nan` asks for no correction, and then no elevation is told.
                    **({} if math.isnan(place.elevation_m) else {"elevation": place.elevation_m}),
                    **({"location_id": number} if number else {}),
                    "hourly_units": {
                        "time": "unixtime" if unixtime else "iso8601",
                        **{name: _unit(name, choices)[0] for name in names},
                    },
                    "hourly": {"time": _times(first, positions, zone, unixtime), **hourly},
                }
            )
        return answers if len(answers) > 1 else answers[0]

    def _hourly(
        self,
        place: _Place,
        zone: _Zone,
        first: date,
        last: date,
        names: Sequence[str],
        choices: Mapping[str, str],
        fault: Fault | None,
    ) -> tuple[list[int], dict[str, list[Number | None]]]:
        count = ((last - first).days + 1) * 24
        start = (
            datetime.combine(first, datetime.min.time()) - timedelta(seconds=zone.offset_seconds) - _EPOCH
        ) // _HOUR
        elevation_m = 0.0 if math.isnan(place.elevation_m) else place.elevation_m
        found = self._weather.hours(place.latitude, place.longitude, elevation_m, start, count)
        if found is None:
            raise _RefusedError("No data is available for this location")
        # Hours that have not happened yet are null in the archive.
        known = max(0, min(count, int(self._now().timestamp() // 3600) - start + 1))
        hourly = {
            name: _converted(found[name][:known], _unit(name, choices)) + [None] * (count - known) for name in names
        }
        if fault is None:
            return list(range(count)), hourly
        return fault.spoil_hours([first + timedelta(days=n // 24) for n in range(count)], hourly)

    def _days(self, query: Mapping[str, str]) -> tuple[date, date]:
        if not query.get("start_date") or not query.get("end_date"):
            raise _RefusedError("Both 'start_date' and 'end_date' must be set in the url")
        newest = self._now().astimezone(timezone.utc).date()
        first, last = _day(query, "start_date"), _day(query, "end_date")
        for name, day in (("start_date", first), ("end_date", last)):
            if not OLDEST_DAY <= day <= newest:
                raise _RefusedError(f"Parameter '{name}' is out of allowed range from {OLDEST_DAY} to {newest}")
        if last < first:
            raise _RefusedError("End-date must be larger or equals than start-date")
        return first, last

    def _zone(self, name: str, place: _Place) -> _Zone:
        if name in ("GMT", "UTC"):
            return _Zone("GMT", "GMT", 0)
        if name == "auto":
            hours = round(place.longitude / 15)
            name = f"Etc/GMT{-hours:+d}" if hours else "Etc/GMT"
        try:
            local = self._now().astimezone(ZoneInfo(name))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise _RefusedError("Invalid timezone") from None
        offset = local.utcoffset() or timedelta()
        return _Zone(name, local.tzname() or name, int(offset.total_seconds()))


def _places(query: Mapping[str, str]) -> list[_Place]:
    for name in ("latitude", "longitude"):
        if not query.get(name):
            raise _RefusedError(f"Data corrupted at path ''. Value required for key '{name}'.")
    latitudes, longitudes = _floats(query["latitude"]), _floats(query["longitude"])
    if len(latitudes) != len(longitudes):
        raise _RefusedError("Parameter 'latitude' and 'longitude' must have the same number of elements")
    if query.get("elevation"):
        elevations = _floats(query["elevation"])
        if len(elevations) != len(latitudes):
            raise _RefusedError("Parameter 'elevation' must have the same number of elements as 'latitude'")
    else:
        elevations = [_guessed_elevation_m(*pair) for pair in zip(latitudes, longitudes, strict=True)]
    for name, values, limit in (("Latitude", latitudes, 90), ("Longitude", longitudes, 180)):
        for value in values:
            if not abs(value) <= limit:
                raise _RefusedError(f"{name} must be in range of -{limit} to {limit}°. Given: {value}.")
    return [_Place(*values) for values in zip(latitudes, longitudes, elevations, strict=True)]


def _floats(text: str) -> list[float]:
    return [_float(part) for part in text.split(",")]


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        reason = f"Data corrupted at path ''. Cannot initialize Float from invalid String value {text}."
        raise _RefusedError(reason) from None


def _guessed_elevation_m(latitude: float, longitude: float) -> float:
    digest = hashlib.sha256(f"{latitude:.4f},{longitude:.4f}".encode()).digest()
    return float(digest[0] % 60)


def _variables(query: Mapping[str, str]) -> list[str]:
    _choice(query, "models", ("best_match",), "MultiDomains")
    if query.get("daily"):
        raise _RefusedError("Data corrupted at path ''. The sandbox serves hourly variables only.")
    names = [name for name in query.get("hourly", "").split(",") if name]
    for name in names:
        if name not in WEATHER_UNITS:
            reason = f"Data corrupted at path ''. Cannot initialize {_VARIABLE_TYPE} from invalid String value {name}."
            raise _RefusedError(reason)
    return names


def _choice(query: Mapping[str, str], name: str, choices: tuple[str, ...], type_name: str | None = None) -> str:
    value = query.get(name) or choices[0]
    if value not in choices:
        kind = type_name or "".join(part.capitalize() for part in name.split("_"))
        raise _RefusedError(f"Data corrupted at path ''. Cannot initialize {kind} from invalid String value {value}.")
    return value


def _day(query: Mapping[str, str], name: str) -> date:
    try:
        return datetime.strptime(query.get(name, ""), "%Y-%m-%d").replace(tzinfo=timezone.utc).date()
    except ValueError:
        raise _RefusedError("Invalid date format. Make sure to use 'YYYY-MM-DD'") from None


def _unit(name: str, choices: Mapping[str, str]) -> tuple[str, float, float, int]:
    if name not in _UNIT_OF:
        return WEATHER_UNITS[name], 1, 0, 0
    parameter = _UNIT_OF[name]
    return _UNIT_CHOICES[parameter][choices[parameter]]


def _converted(values: Sequence[Number | None], unit: tuple[str, float, float, int]) -> list[Number | None]:
    _, factor, offset, decimals = unit
    if factor == 1:
        return list(values)
    return [None if value is None else round(value * factor + offset, decimals) for value in values]


def _grid(degrees: float) -> float:
    return round(round(degrees / _GRID_DEGREES) * _GRID_DEGREES, 6)


def _times(first: date, positions: Sequence[int], zone: _Zone, unixtime: bool) -> list[str] | list[int]:
    midnight = datetime.combine(first, datetime.min.time())
    if unixtime:
        start = int((midnight - _EPOCH).total_seconds()) - zone.offset_seconds
        return [start + 3600 * n for n in positions]
    days = [(first + timedelta(days=n)).isoformat() for n in range(max(positions, default=0) // 24 + 1)]
    return [f"{days[n // 24]}T{n % 24:02d}:00" for n in positions]
