"""The simulation: the same for everybody, whatever range is asked, and plausible."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stock_weather_pipeline.partitions import is_session, sessions
from stock_weather_pipeline.sandbox.feed import Bar
from stock_weather_pipeline.sandbox.simulated import SimulatedMarket, SimulatedWeather

MARKET = SimulatedMarket()
TICKERS = ("NVDA", "AAPL", "GE", "ZAAA")
NEW_YORK = (40.7128, -74.006, 10.0)


@cache
def history(ticker: str) -> list[Bar]:
    return MARKET.bars(ticker, date(1999, 1, 1), date(2026, 12, 31))


def hour_of(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp() // 3600)


@settings(max_examples=40)
@given(st.sampled_from(TICKERS), st.dates(date(1999, 1, 1), date(2026, 11, 30)), st.integers(0, 400))
def test_a_bar_does_not_depend_on_the_range_that_is_asked(ticker: str, first: date, days: int) -> None:
    last = min(first + timedelta(days=days), date(2026, 12, 31))
    expected = [bar for bar in history(ticker) if first <= bar.day <= last]
    assert MARKET.bars(ticker, first, last) == expected


@settings(max_examples=15)
@given(st.dates(date(1999, 1, 1), date(2026, 11, 30)))
def test_the_grouped_day_has_the_bars_of_the_ranges(day: date) -> None:
    grouped = dict(MARKET.grouped(day))
    assert bool(grouped) == is_session(day)
    for ticker in TICKERS:
        assert MARKET.bars(ticker, day, day) == ([grouped[ticker]] if ticker in grouped else [])


def test_these_numbers_never_change() -> None:
    (bar,) = MARKET.bars("NVDA", date(2024, 6, 7), date(2024, 6, 7))
    assert bar == Bar(date(2024, 6, 7), 1184.0345, 1186.1906, 1153.5264, 1161.1739, 20925372.0, 1171.2314, 317478)
    hours = SimulatedWeather().hours(*NEW_YORK, hour_of(date(2024, 7, 1)), 4)
    assert hours["temperature_2m"] == [25.0, 24.6, 24.2, 23.8]
    assert hours["relative_humidity_2m"] == [93, 97, 100, 100]


def test_the_market_of_another_size_has_the_same_bars() -> None:
    larger = SimulatedMarket(1000)
    assert len(larger.tickers) == len(set(larger.tickers)) == 1000
    assert larger.tickers[: len(MARKET.tickers)] == MARKET.tickers
    day = date(2024, 6, 10)
    assert larger.grouped(day)[:200] == MARKET.grouped(day)[:200]
    assert len(SimulatedMarket(1).tickers) >= 40


def test_there_is_a_bar_on_every_session_since_the_listing_and_never_on_another_day() -> None:
    assert [bar.day for bar in history("AAPL")] == sessions(date(1999, 1, 4), date(2026, 12, 31))
    assert [bar.day for bar in history("NVDA")] == sessions(date(1999, 1, 22), date(2026, 12, 31))
    assert MARKET.bars("TSLA", date(2010, 6, 1), date(2010, 6, 30))[0].day == date(2010, 6, 29)
    assert MARKET.bars("NOSUCH", date(2024, 1, 1), date(2024, 12, 31)) == []


def test_every_bar_is_in_order_with_at_most_four_decimals() -> None:
    bars = [
        *(bar for ticker in TICKERS for bar in history(ticker)),
        *(bar for _, bar in MARKET.grouped(date(2024, 6, 10))),
    ]
    for bar in bars:
        assert 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
        assert all(price == round(price, 4) for price in bar[1:5])
        assert bar.volume >= 0
        assert (bar.vwap is None) == (bar.transactions is None) == (bar.volume == 0)


def test_nvda_has_its_real_splits_and_trades_near_its_real_prices() -> None:
    closes = {bar.day: bar.close for bar in history("NVDA")}
    assert 1000 < closes[date(2024, 6, 7)] < 1400
    assert 95 < closes[date(2024, 6, 10)] < 150
    assert 600 < closes[date(2021, 7, 19)] < 950
    assert 140 < closes[date(2021, 7, 20)] < 240
    assert 10 < closes[date(1999, 3, 1)] < 40
    multiples = {
        split.execution_date: split.split_to / split.split_from for split in MARKET.splits() if split.ticker == "NVDA"
    }
    assert np.prod(list(multiples.values())) == 480
    days = [bar.day for bar in history("NVDA")]
    for before, day in pairwise(days):
        assert abs(np.log(closes[day] * multiples.get(day, 1) / closes[before])) < 0.2


def test_daily_returns_look_like_a_stocks() -> None:
    splits = {
        split.execution_date: split.split_to / split.split_from for split in MARKET.splits() if split.ticker == "AAPL"
    }
    bars = history("AAPL")
    returns = np.asarray([np.log(b.close * splits.get(b.day, 1) / a.close) for a, b in pairwise(bars)])
    assert 0.008 < returns.std() < 0.03
    assert abs(np.corrcoef(returns[1:], returns[:-1])[0, 1]) < 0.05


def test_the_markets_warts_are_there() -> None:
    bars = [bar for day in sessions(date(2026, 3, 2), date(2026, 3, 13)) for _, bar in MARKET.grouped(day)]
    assert any(bar.volume == 0 for bar in bars)
    assert any(bar.vwap is not None and bar.vwap > bar.high for bar in bars)
    assert any(bar.volume % 1 for bar in bars)
    assert {ticker[-2:] for ticker in MARKET.tickers} >= {"pA", ".B"}


@settings(max_examples=30)
@given(
    st.integers(-90, 90),
    st.integers(-180, 180),
    st.integers(0, 4000),
    st.integers(-262_000, 490_000),
    st.integers(1, 200),
)
def test_weather_is_physical_and_does_not_depend_on_the_range(
    latitude: int, longitude: int, elevation_m: int, first_hour: int, count: int
) -> None:
    weather = SimulatedWeather()
    found = weather.hours(latitude, longitude, elevation_m, first_hour, count)
    last = weather.hours(latitude, longitude, elevation_m, first_hour + count - 1, 1)
    assert {name: values[-1:] for name, values in found.items()} == last
    for temperature, felt, humidity, rain, wind, code in zip(*found.values(), strict=True):
        assert temperature is not None
        assert rain is not None
        assert -95 <= temperature <= 62
        assert -120 <= (felt or 0) <= 80
        assert 0 <= (humidity or 0) <= 100
        assert 0 <= rain <= 100
        assert 0 <= (wind or 0) <= 200
        wet = (71, 73, 75) if temperature <= 0 else (51, 53, 55, 61, 63, 65, 95)
        assert code in (wet if rain > 0 else (0, 1, 2, 3, 45))


@pytest.mark.parametrize(("latitude", "warm_month", "cold_month"), [(40.7128, 7, 1), (-33.87, 1, 7)])
def test_weather_has_seasons_and_days_by_local_solar_time(latitude: float, warm_month: int, cold_month: int) -> None:
    weather = SimulatedWeather()

    def month(number: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        values = weather.hours(latitude, -74.006, 10.0, hour_of(date(2023, number, 1)), 24 * 28)["temperature_2m"]
        return np.asarray(values, dtype=np.float64).reshape(28, 24)

    assert month(warm_month).mean() - month(cold_month).mean() > 12
    # Three in the afternoon at 74 degrees west is about 20:00 UTC.
    assert int(month(warm_month).mean(axis=0).argmax()) in (19, 20, 21)
    rain = weather.hours(latitude, -74.006, 10.0, hour_of(date(2023, 1, 1)), 8760)["precipitation"]
    assert 0.02 < sum(value != 0 for value in rain) / 8760 < 0.3
