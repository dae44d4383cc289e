"""Local days of weather, and sessions beside them, against zoneinfo."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from stock_weather_pipeline_tests.views.conftest import OverTables, ViewsOverTables

ZONES = {
    "New York": "America/New_York",
    "Santa Clara": "America/Los_Angeles",
    "Pune": "Asia/Kolkata",
    "Lord Howe": "Australia/Lord_Howe",
}
HEADQUARTERS = {"New York": "GS JPM", "Santa Clara": "NVDA INTC"}
LOCATIONS = pd.DataFrame(
    [(name, zone, HEADQUARTERS.get(name)) for name, zone in ZONES.items()],
    columns=["location", "time_zone", "headquarters_of"],
)
FIRST_HOUR = datetime(2024, 3, 1)  # noqa: DTZ001 stored as naive UTC
HOURS = 24 * 260


def _hours(location: str, seed: int) -> Any:
    values = [float((n * 37 + seed * 11) % 101) for n in range(HOURS)]
    return pd.DataFrame(
        {
            "location": location,
            "observed_at": [FIRST_HOUR + timedelta(hours=n) for n in range(HOURS)],
            "temperature_c": [None if n % 50 == 3 else value / 4 for n, value in enumerate(values)],
            "precipitation_mm": [None if n < 72 else value / 10 for n, value in enumerate(values)],
            "wind_speed_kmh": values,
        }
    )


WEATHER: Any = pd.concat([_hours(name, seed) for seed, name in enumerate(ZONES)])


def _local_days(location: str) -> dict[date, Any]:
    rows = WEATHER[WEATHER.location == location]
    zone = ZoneInfo(ZONES[location])
    local = [at.replace(tzinfo=timezone.utc).astimezone(zone).date() for at in rows.observed_at.dt.to_pydatetime()]
    groups: Any = pd.Series(range(len(rows))).groupby(local).groups
    return {day: rows.iloc[indices] for day, indices in groups.items()}


@pytest.fixture(scope="module")
def views(over_tables: OverTables) -> ViewsOverTables:
    return over_tables(weather=WEATHER, locations=LOCATIONS)


@pytest.mark.parametrize("location", ZONES)
def test_hours_are_cut_into_days_of_the_places_own_clock(views: ViewsOverTables, location: str) -> None:
    actual = views.query(f"SELECT * FROM weather_daily WHERE location = '{location}' ORDER BY local_date")
    expected = _local_days(location)
    assert actual.local_date.dt.date.tolist() == list(expected)
    for row, hours in zip(actual.itertuples(), expected.values(), strict=True):
        assert row.hours == len(hours)
        assert row.temperature_min_c == hours.temperature_c.min()
        assert row.temperature_max_c == hours.temperature_c.max()
        assert row.temperature_mean_c == pytest.approx(hours.temperature_c.mean(), rel=1e-12)
        assert row.wind_speed_max_kmh == hours.wind_speed_kmh.max()
        total = hours.precipitation_mm.sum(min_count=1)
        assert row.precipitation_mm == pytest.approx(total, rel=1e-12, nan_ok=True)


def test_days_on_which_clocks_change_have_23_and_25_hours(views: ViewsOverTables) -> None:
    days = views.query("SELECT location, local_date, hours FROM weather_daily WHERE hours <> 24")
    found = {(row.location, row.local_date.date()): row.hours for row in days.itertuples()}
    assert found[("New York", date(2024, 3, 10))] == 23
    assert found[("New York", date(2024, 11, 3))] == 25
    assert found[("Santa Clara", date(2024, 3, 10))] == 23
    assert found[("Santa Clara", date(2024, 11, 3))] == 25
    assert sorted(key for key in found if key[0] == "Pune") == [
        ("Pune", date(2024, 3, 1)),
        ("Pune", date(2024, 11, 16)),
    ]


def test_a_day_without_any_value_sums_to_null_and_not_to_zero(views: ViewsOverTables) -> None:
    rain = views.query("SELECT precipitation_mm FROM weather_daily WHERE location = 'Pune' ORDER BY local_date")
    assert rain.precipitation_mm.isna().tolist()[:4] == [True, True, True, False]


def test_a_filter_on_the_location_shows_only_that_place(views: ViewsOverTables) -> None:
    assert set(views.query("SELECT location FROM weather_daily WHERE location = 'Pune'").location) == {"Pune"}


def _prices(*tickers: str, days: int = 3) -> Any:
    return pd.DataFrame(
        [
            (ticker, date(2024, 6, 3) + timedelta(days=n), 100.0 + n, 101.0 + n, 99.0 + n)
            for ticker in tickers
            for n in range(days)
        ],
        columns=["ticker", "trade_date", "close", "high", "low"],
    )


def test_sessions_stand_beside_the_exchange_and_the_headquarters_once_each(over_tables: OverTables) -> None:
    views = over_tables(weather=WEATHER, locations=LOCATIONS, stock_prices=_prices("NVDA", "GS", "XOM", "NVD"))
    rows = views.query("SELECT ticker, location, count(*) AS days FROM stock_weather GROUP BY ticker, location")
    assert {(row.ticker, row.location): row.days for row in rows.itertuples()} == {
        ("NVDA", "New York"): 3,
        ("NVDA", "Santa Clara"): 3,
        ("GS", "New York"): 3,
        ("XOM", "New York"): 3,
        ("NVD", "New York"): 3,
    }


def test_the_weather_of_a_session_is_that_of_the_places_local_day(over_tables: OverTables) -> None:
    views = over_tables(weather=WEATHER, locations=LOCATIONS, stock_prices=_prices("NVDA"))
    rows = views.query("SELECT * FROM stock_weather ORDER BY location, trade_date")
    assert len(rows) == 6
    for row in rows.itertuples():
        hours = _local_days(row.location)[row.trade_date.date()]
        assert (row.hours, row.temperature_min_c) == (24, hours.temperature_c.min())


def test_a_session_without_weather_is_shown_with_nulls(over_tables: OverTables) -> None:
    views = over_tables(locations=LOCATIONS, stock_prices=_prices("NVDA"))
    rows = views.query("SELECT close, change_pct, location, temperature_min_c, hours FROM stock_weather")
    assert sorted(rows.location) == ["New York"] * 3 + ["Santa Clara"] * 3
    assert rows.temperature_min_c.isna().all()
    assert rows.hours.isna().all()
    assert rows.close.notna().all()
