"""One ticker's indicators out of the whole market's five years, and all indicators of all tickers, from the lake.

The limit is the same rows in memory: polars for everything, TA-Lib for one ticker. These two get the rows for nothing;
the lake finds them in its files, and does so in the SQL that people type.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import data, pipelines
from benchmarks.market import SESSIONS_PER_YEAR
from benchmarks.measuring import Subject, alternate, report, timed, verdict

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from stock_weather_pipeline.lake.interfaces import Lake

INDICATORS = ("daily_change", "moving_averages", "macd", "bollinger_bands", "volatility")


def of_one_ticker(lake: Lake, ticker: str, indicators: Sequence[str] = INDICATORS) -> list[int]:
    """Rows of a ticker's indicators, fetched: a query for each."""
    return [len(lake.rows(f"SELECT * FROM {name} WHERE ticker = '{ticker}'")) for name in indicators]


def of_all_tickers(lake: Lake) -> None:
    for view in pipelines.STOCK_VIEWS:
        if view.name in INDICATORS:
            lake.rows(pipelines.every_value(view))


def with_polars(prices: pl.DataFrame) -> pl.DataFrame:
    """The same indicators, every row and column of them; `prices` is sorted by ticker and day."""
    import polars as pl

    close = pl.col("close")
    returns = (close / close.shift(1)).log()
    fast, slow = (close.ewm_mean(span=span, adjust=False) for span in (12, 26))
    macd = fast - slow
    middle, deviation = close.rolling_mean(20), close.rolling_std(20, ddof=0)
    columns = {
        "change_pct": (close / close.shift(1) - 1) * 100,
        "sma_7": close.rolling_mean(7),
        "sma_30": close.rolling_mean(30),
        "macd": macd,
        "signal": macd.ewm_mean(span=9, adjust=False),
        "middle_band": middle,
        "upper_band": middle + 2 * deviation,
        "lower_band": middle - 2 * deviation,
        "volatility_20": returns.rolling_std(20) * 252**0.5,
        "range_pct": 100 * (pl.col("high") - pl.col("low")) / close,
    }
    return prices.select("ticker", "trade_date", *(value.over("ticker").alias(name) for name, value in columns.items()))


def with_talib(close: np.ndarray) -> list[np.ndarray]:
    """The same indicators of one ticker as TA-Lib has them."""
    import talib

    return [
        talib.ROCP(close, 1),
        talib.SMA(close, 7),
        talib.SMA(close, 30),
        *talib.MACD(close, 12, 26, 9),
        *talib.BBANDS(close, 20, 2, 2),
        talib.STDDEV(np.log(close[1:] / close[:-1]), 20),
    ]


def prices_in_memory(lake: Lake) -> pa.Table:
    columns = "ticker, trade_date, high, low, close"
    return lake.engine.query(f"SELECT {columns} FROM stock_prices ORDER BY ticker, trade_date")


def main(arguments: Sequence[str] | None = None) -> str:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tickers", type=int, default=data.MARKET_TICKERS)
    parser.add_argument("--sessions", type=int, default=5 * SESSIONS_PER_YEAR)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep the lake here, and use it again")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        market = data.market_file(folder, chosen.tickers, data.sessions(chosen.sessions))
        home = folder / f"lake_{chosen.tickers}_{chosen.sessions}"
        if not home.exists():
            pipelines.measure("ours", home, market)
        return _compare(pipelines.open_lake_in(home), chosen.rounds)


def _compare(lake: Lake, rounds: int) -> str:
    import polars as pl

    rows = prices_in_memory(lake)
    prices = pl.DataFrame(pl.from_arrow(rows))
    ticker = str(prices["ticker"][len(prices) // 2])
    close = prices.filter(pl.col("ticker") == ticker)["close"].to_numpy()

    def subjects(**actions: Callable[[], object]) -> list[Subject]:
        return [Subject(name, timed(action)) for name, action in actions.items()]

    one = alternate(
        subjects(
            lake=lambda: of_one_ticker(lake, ticker),
            lake_macd_alone=lambda: of_one_ticker(lake, ticker, ["macd"]),
            polars=lambda: with_polars(prices.filter(pl.col("ticker") == ticker)),
            talib=lambda: with_talib(close),
        ),
        rounds,
    )
    everything = alternate(
        subjects(lake=lambda: of_all_tickers(lake), polars=lambda: with_polars(prices)), max(1, rounds // 2)
    )
    return "\n".join(
        [
            report(f"All indicators of one ticker out of {len(prices):,} rows", one, "polars"),
            verdict(f"lake, {len(INDICATORS)} queries", one[0].seconds * 1000, 100, "ms"),
            verdict("lake, one query", one[1].seconds * 1000, 100, "ms"),
            "",
            report(f"All indicators of all {len(prices):,} rows", everything, "polars"),
            verdict("lake / polars", everything[0].seconds / everything[1].seconds, 5),
        ]
    )


if __name__ == "__main__":
    print(main())  # noqa: T201 - a script
