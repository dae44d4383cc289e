"""What the sandbox serves, whichever way it was made: daily bars, splits, hourly weather.

Only the types and constants shared by the simulation, the replay and the two vendor APIs belong here. Nothing here
knows HTTP or JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, NamedTuple, Protocol

Number = float | int


class Bar(NamedTuple):
    """One unadjusted daily bar: prices in USD, volume in shares, `transactions` in trades."""

    day: date
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float | None
    transactions: int | None


class Split(NamedTuple):
    """On `execution_date`, the first session at the new price, `split_from` shares became `split_to`."""

    ticker: str
    execution_date: date
    split_from: float
    split_to: float


class Market(Protocol):
    """Daily bars and splits. Days without a bar are absent; an unknown ticker has no bars."""

    def bars(self, ticker: str, first: date, last: date) -> Sequence[Bar]:
        """The bars of `first`..`last`, both included, ascending."""
        ...

    def grouped(self, day: date) -> Sequence[tuple[str, Bar]]:
        """The bar of every ticker on one day."""
        ...

    def splits(self) -> Sequence[Split]: ...


class Weather(Protocol):
    """Hourly weather."""

    def hours(
        self, latitude: float, longitude: float, elevation_m: float, first_hour: int, count: int
    ) -> dict[str, list[Number | None]] | None:
        """Every variable of WEATHER_UNITS for `count` hours from `first_hour` (hours since 1970-01-01 00:00 UTC).

        Metric units. None where there is no data for the place.
        """
        ...


@dataclass(frozen=True)
class Feed:
    """A market and its weather, and how they came about (sent with every response)."""

    kind: Literal["simulated", "replay"]
    market: Market
    weather: Weather


WEATHER_UNITS = {
    "temperature_2m": "°C",
    "apparent_temperature": "°C",
    "relative_humidity_2m": "%",
    "precipitation": "mm",
    "wind_speed_10m": "km/h",
    "weather_code": "wmo code",
}
"""The hourly variables served, with the vendor's name of their metric unit."""

NVDA_SPLITS = (
    Split("NVDA", date(2000, 6, 27), 1, 2),
    Split("NVDA", date(2001, 9, 17), 1, 2),
    Split("NVDA", date(2006, 4, 7), 1, 2),
    Split("NVDA", date(2007, 9, 11), 2, 3),
    Split("NVDA", date(2021, 7, 20), 1, 4),
    Split("NVDA", date(2024, 6, 10), 1, 10),
)


def shares_multiple(splits: Sequence[Split], day: date) -> float:
    """How many of today's shares one share of `day` became: the product of the later splits."""
    multiple = 1.0
    for split in splits:
        if split.execution_date > day:
            multiple *= split.split_to / split.split_from
    return multiple
