"""The views computed a second time, in pandas, from the published tables: what the views' checks compare with.

Deliberately shares nothing with the SQL. Frames are sorted by ticker and day; numbers are float64; NaN stands for NULL.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stock_weather_pipeline.settings import NEW_YORK
from stock_weather_pipeline.views import VIEWS

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Tables:
    """The published tables a view is recomputed from, whole histories of the chosen tickers and locations."""

    stock_prices: pd.DataFrame
    stock_splits: pd.DataFrame
    weather: pd.DataFrame
    locations: pd.DataFrame


def stock_prices_adjusted(tables: Tables) -> pd.DataFrame:
    """Prices times, volume over, the product of split_from / split_to of every later split."""
    prices = tables.stock_prices.sort_values(["ticker", "trade_date"]).reset_index(drop=True)
    factor = prices["close"] * 0 + 1.0
    for split in _rows(tables.stock_splits):
        before = (prices["ticker"] == split["ticker"]) & (prices["trade_date"] < split["execution_date"])
        factor[before] *= split["split_from"] / split["split_to"]
    for name in ("open", "high", "low", "close", "vwap"):
        prices[name] = prices[name] * factor
    prices["volume"] = prices["volume"] / factor
    adjusted: pd.DataFrame = prices.assign(split_factor=factor)
    return adjusted


def daily_change(tables: Tables) -> pd.DataFrame:
    """Change of the adjusted close to the session before, in percent."""
    frame: pd.DataFrame = _closes(tables)
    frame["change_pct"] = frame.groupby("ticker")["close"].transform(lambda close: close.pct_change() * 100)
    return frame


def moving_averages(tables: Tables) -> pd.DataFrame:
    """Means of the last 7 and 30 adjusted closes."""
    frame: pd.DataFrame = _closes(tables)
    for sessions in (7, 30):
        frame[f"sma_{sessions}"] = _per_ticker(frame, _mean_of(sessions))
    return frame


def macd(tables: Tables) -> pd.DataFrame:
    """EMA 12 less EMA 26, its EMA 9, and their difference; exact EMAs seeded by the first value."""
    frame: pd.DataFrame = _closes(tables)
    line = _per_ticker(frame, lambda close: _ema(close, 12) - _ema(close, 26))
    signal = line.groupby(frame["ticker"]).transform(lambda values: _ema(values, 9))
    row = frame.groupby("ticker").cumcount() + 1
    frame["macd"] = line.where(row >= 26)
    frame["signal"] = signal.where(row >= 34)
    frame["histogram"] = frame["macd"] - frame["signal"]
    return frame


def bollinger_bands(tables: Tables) -> pd.DataFrame:
    """Mean of the last 20 adjusted closes, and two population deviations around it."""
    frame: pd.DataFrame = _closes(tables)
    middle = _per_ticker(frame, lambda close: close.rolling(20).mean())
    # numpy per window: pandas' running update loses digits after a large split.
    deviation = _per_ticker(frame, lambda close: close.rolling(20).apply(lambda window: window.std(ddof=0), raw=True))
    frame["middle_band"] = middle
    frame["upper_band"] = middle + 2 * deviation
    frame["lower_band"] = middle - 2 * deviation
    return frame


def volatility(tables: Tables) -> pd.DataFrame:
    """Deviation of 20 log returns times sqrt(252), and the day's range in percent of its close."""
    import numpy as np

    adjusted = stock_prices_adjusted(tables)
    returns = adjusted.groupby("ticker")["close"].transform(lambda close: np.log(close).diff())
    frame: pd.DataFrame = adjusted[["ticker", "trade_date"]].copy()
    frame["volatility_20"] = returns.groupby(adjusted["ticker"]).transform(
        lambda values: values.rolling(20).apply(lambda window: window.std(ddof=1), raw=True) * math.sqrt(252)
    )
    frame["range_pct"] = (adjusted["high"] - adjusted["low"]) / adjusted["close"] * 100
    return frame


def weather_daily(tables: Tables) -> pd.DataFrame:
    """Hours cut into each location's own days by its own clock."""
    import pandas as pd

    days = []
    for place in _rows(tables.locations):
        hours = tables.weather[tables.weather["location"] == place["location"]]
        local = pd.to_datetime(hours["observed_at"]).dt.tz_localize("UTC").dt.tz_convert(place["time_zone"]).dt.date
        grouped = hours.groupby(local)
        days.append(
            pd.DataFrame(
                {
                    "location": place["location"],
                    "local_date": list(grouped.groups),
                    "temperature_min_c": grouped["temperature_c"].min().to_numpy(),
                    "temperature_max_c": grouped["temperature_c"].max().to_numpy(),
                    "temperature_mean_c": grouped["temperature_c"].mean().to_numpy(),
                    "precipitation_mm": grouped["precipitation_mm"].sum(min_count=1).to_numpy(),
                    "wind_speed_max_kmh": grouped["wind_speed_kmh"].max().to_numpy(),
                    "hours": grouped.size().to_numpy(),
                }
            )
        )
    if not days:
        nothing: pd.DataFrame = pd.DataFrame(columns=list(VIEWS["weather_daily"].columns))
        return nothing
    every_day: pd.DataFrame = pd.concat(days, ignore_index=True)
    return every_day


def stock_weather(tables: Tables) -> pd.DataFrame:
    """Sessions with the weather of the exchange and of the company's headquarters."""
    import pandas as pd

    homes = [
        (ticker, place["location"])
        for place in _rows(tables.locations)
        for ticker in (place["headquarters_of"].split() if isinstance(place["headquarters_of"], str) else [])
    ]
    tickers = tables.stock_prices["ticker"].unique()
    pairs = {(ticker, NEW_YORK.name) for ticker in tickers} | {home for home in homes if home[0] in tickers}
    places = pd.DataFrame(sorted(pairs), columns=["ticker", "location"])
    sessions = daily_change(tables).merge(places, on="ticker")
    weather = weather_daily(tables).rename(columns={"local_date": "trade_date"})
    joined: pd.DataFrame = sessions.merge(weather, on=["location", "trade_date"], how="left")
    return joined


Recomputation = Callable[[Tables], "pd.DataFrame"]

RECOMPUTATIONS: dict[str, Recomputation] = {
    function.__name__: function
    for function in (
        stock_prices_adjusted,
        daily_change,
        moving_averages,
        macd,
        bollinger_bands,
        volatility,
        weather_daily,
        stock_weather,
    )
}


def _rows(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    return frame.to_dict("records")


def _closes(tables: Tables) -> pd.DataFrame:
    closes: pd.DataFrame = stock_prices_adjusted(tables)[["ticker", "trade_date", "close"]].copy()
    return closes


def _mean_of(sessions: int) -> Callable[[pd.Series], pd.Series]:
    return lambda close: close.rolling(sessions).mean()


def _per_ticker(frame: pd.DataFrame, function: Callable[[pd.Series], pd.Series]) -> pd.Series:
    result: pd.Series = frame.groupby("ticker")["close"].transform(function)
    return result


def _ema(values: pd.Series, span: int) -> pd.Series:
    return values.ewm(span=span, adjust=False).mean()
