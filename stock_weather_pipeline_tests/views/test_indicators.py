"""The indicator views against independent implementations in pandas and numpy."""

from __future__ import annotations

import json
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stock_weather_pipeline_tests.views.conftest import OverTables, ViewsOverTables

LONG = "NVDA"
ROWS_OF = {LONG: 6000, "HALF": 3000, "ONE": 1, "FIVE": 5, "AT33": 33, "AT34": 34, "B512": 512, "B513": 513, "KIMpL": 60}
SPLITS = [
    (LONG, date(2001, 9, 10), 1.0, 2.0),
    (LONG, date(2006, 4, 7), 1.0, 2.0),
    (LONG, date(2007, 9, 11), 2.0, 3.0),
    (LONG, date(2021, 7, 20), 1.0, 4.0),
    (LONG, date(2024, 6, 10), 1.0, 10.0),
    ("HALF", date(2020, 3, 2), 30.0, 1.0),
    ("HALF", date(2021, 3, 2), 1.0, 1.03),
    ("FIVE", date(2030, 1, 2), 1.0, 7.0),
    ("NOBODY", date(2020, 1, 2), 1.0, 2.0),
]


def _weekdays(count: int) -> list[date]:
    return [day.date() for day in pd.bdate_range(end="2024-06-28", periods=count)]


def _walk(ticker: str, rows: int, seed: int) -> Any:
    random = np.random.default_rng(seed)
    days = _weekdays(rows)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.02, rows)))
    return pd.DataFrame(
        {
            "ticker": ticker,
            "trade_date": days,
            "open": close * random.uniform(0.99, 1.01, rows),
            "high": close * random.uniform(1.01, 1.05, rows),
            "low": close * random.uniform(0.95, 0.99, rows),
            "close": close,
            "volume": random.uniform(1e3, 1e9, rows),
            "vwap": np.where(random.uniform(size=rows) < 0.01, np.nan, close),
            "transactions": random.integers(1, 1_000_000, rows),
        }
    )


PRICES = pd.concat([_walk(ticker, rows, seed) for seed, (ticker, rows) in enumerate(ROWS_OF.items())])
SPLIT_TABLE = pd.DataFrame(SPLITS, columns=["ticker", "execution_date", "split_from", "split_to"])


@pytest.fixture(scope="module")
def views(over_tables: OverTables) -> ViewsOverTables:
    return over_tables(stock_prices=PRICES.sample(frac=1, random_state=1), stock_splits=SPLIT_TABLE)


def _factor(ticker: str, day: date) -> float:
    product = Fraction(1)
    for split_ticker, execution_date, split_from, split_to in SPLITS:
        if split_ticker == ticker and execution_date > day:
            product *= Fraction(split_from) / Fraction(split_to)
    return float(product)


def _adjusted(ticker: str) -> Any:
    rows = PRICES[PRICES.ticker == ticker].reset_index(drop=True)
    factor = np.array([_factor(ticker, day) for day in rows.trade_date])
    for column in ("open", "high", "low", "close", "vwap"):
        rows[column] = rows[column] * factor
    rows["volume"] = rows["volume"] / factor
    rows["split_factor"] = factor
    return rows


def _of_ticker(views: ViewsOverTables, view: str, ticker: str) -> Any:
    return views.query(f"SELECT * FROM {view} WHERE ticker = '{ticker}' ORDER BY trade_date")


def _assert_equal(actual: Any, expected: Any, scale: float | None = None) -> None:
    """Equal to 1e-9 of each value, or of `scale` for values that are differences of larger ones; NULL where NaN."""
    wanted = np.asarray(expected, dtype=float)
    relative, absolute = (1e-9, 0.0) if scale is None else (0.0, 1e-9 * scale)
    np.testing.assert_allclose(actual.to_numpy(dtype=float), wanted, rtol=relative, atol=absolute, equal_nan=True)


@pytest.mark.parametrize("ticker", ROWS_OF)
def test_prices_are_adjusted_for_every_later_split(views: ViewsOverTables, ticker: str) -> None:
    actual, expected = _of_ticker(views, "stock_prices_adjusted", ticker), _adjusted(ticker)
    for column in ("open", "high", "low", "close", "volume", "vwap", "split_factor"):
        _assert_equal(actual[column], expected[column])
    assert actual.transactions.tolist() == expected.transactions.tolist()


def test_split_factors_of_whole_numbers_have_no_rounding_error(views: ViewsOverTables) -> None:
    factors = _of_ticker(views, "stock_prices_adjusted", LONG).split_factor
    assert factors.drop_duplicates().tolist() == [1 / 240, 1 / 120, 1 / 60, 1 / 40, 0.1, 1.0]


def test_a_hundred_splits_of_one_ticker_all_count(over_tables: OverTables) -> None:
    first = date(2020, 1, 2)
    splits = pd.DataFrame(
        [("MANY", first + timedelta(days=n), 1.0 + n % 3, 2.0) for n in range(1, 101)],
        columns=["ticker", "execution_date", "split_from", "split_to"],
    )
    views = over_tables(stock_prices=_walk("MANY", 3000, 5), stock_splits=splits)
    expected = [
        float(np.prod([row.split_from / row.split_to for row in splits.itertuples() if row.execution_date > day]))
        for day in _walk("MANY", 3000, 5).trade_date
    ]
    _assert_equal(_of_ticker(views, "stock_prices_adjusted", "MANY").split_factor, expected)


def test_the_day_of_a_split_already_trades_at_the_new_price(views: ViewsOverTables) -> None:
    around = views.query(
        f"SELECT trade_date, split_factor FROM stock_prices_adjusted WHERE ticker = '{LONG}' "
        "AND trade_date BETWEEN DATE '2024-06-07' AND DATE '2024-06-10' ORDER BY trade_date"
    )
    assert around.split_factor.tolist() == [0.1, 1.0]


@pytest.mark.parametrize("ticker", ROWS_OF)
def test_daily_change_is_in_percent_of_the_session_before(views: ViewsOverTables, ticker: str) -> None:
    actual, close = _of_ticker(views, "daily_change", ticker), _adjusted(ticker).close
    _assert_equal(actual.close, close)
    _assert_equal(actual.change_pct, 100 * close.pct_change(), scale=1)


@pytest.mark.parametrize("ticker", ROWS_OF)
def test_moving_averages_are_null_until_their_window_is_full(views: ViewsOverTables, ticker: str) -> None:
    actual, close = _of_ticker(views, "moving_averages", ticker), _adjusted(ticker).close
    for rows in (7, 30):
        _assert_equal(actual[f"sma_{rows}"], _windows(close, rows, np.mean))


@pytest.mark.parametrize("ticker", ROWS_OF)
def test_macd_is_exact(views: ViewsOverTables, ticker: str) -> None:
    actual, close = _of_ticker(views, "macd", ticker), _adjusted(ticker).close
    line = _ema(close, 12) - _ema(close, 26)
    signal = _ema(line, 9)
    row = np.arange(len(close))
    _assert_equal(actual.macd, np.where(row >= 25, line, np.nan), scale=1)
    _assert_equal(actual.signal, np.where(row >= 33, signal, np.nan), scale=1)
    _assert_equal(actual.histogram, np.where(row >= 33, line - signal, np.nan), scale=1)


@pytest.mark.parametrize("span", [9, 12, 26])
def test_what_lies_two_blocks_back_weighs_less_than_a_double_can_hold(span: int) -> None:
    assert (1 - 2 / (span + 1)) ** 512 < 1e-16


@pytest.mark.parametrize("ticker", ROWS_OF)
def test_bollinger_bands_use_the_population_deviation_of_20_closes(views: ViewsOverTables, ticker: str) -> None:
    actual, close = _of_ticker(views, "bollinger_bands", ticker), _adjusted(ticker).close
    middle, deviation = _windows(close, 20, np.mean), _windows(close, 20, np.std)
    _assert_equal(actual.middle_band, middle)
    _assert_equal(actual.upper_band, middle + 2 * deviation)
    _assert_equal(actual.lower_band, middle - 2 * deviation)


def test_bollinger_bands_stay_exact_at_the_highest_price_on_the_market(over_tables: OverTables) -> None:
    prices = _walk("BRK.A", 200, 3)
    close = prices.close = 600_000 + np.random.default_rng(4).normal(0, 1e-2, 200)
    bands = _of_ticker(over_tables(stock_prices=prices), "bollinger_bands", "BRK.A")
    # The closes themselves are known to 1e-10 USD only.
    _assert_equal(bands.upper_band - bands.middle_band, 2 * _windows(pd.Series(close), 20, np.std), scale=1)


@pytest.mark.parametrize("ticker", ROWS_OF)
def test_volatility_needs_20_returns(views: ViewsOverTables, ticker: str) -> None:
    actual, rows = _of_ticker(views, "volatility", ticker), _adjusted(ticker)
    returns = np.log(rows.close / rows.close.shift())
    expected = _windows(returns, 20, lambda window: np.std(window, ddof=1)) * np.sqrt(252)
    _assert_equal(actual.volatility_20, expected)
    assert actual.volatility_20.notna().sum() == max(0, len(rows) - 20)
    _assert_equal(actual.range_pct, 100 * (rows.high - rows.low) / rows.close)


def test_a_gap_in_the_calendar_does_not_make_a_window_shorter(over_tables: OverTables) -> None:
    prices = _walk("GAP", 60, 2).drop(index=range(10, 30))
    averages = _of_ticker(over_tables(stock_prices=prices), "moving_averages", "GAP")
    _assert_equal(averages.sma_7, _windows(prices.close.reset_index(drop=True), 7, np.mean))


@pytest.mark.parametrize("view", ["daily_change", "moving_averages", "macd", "bollinger_bands", "volatility"])
def test_every_session_has_one_row(views: ViewsOverTables, view: str) -> None:
    counted = views.query(f"SELECT ticker, count(*) AS n, count(DISTINCT trade_date) AS d FROM {view} GROUP BY ticker")
    assert dict(zip(counted.ticker, counted.n, strict=True)) == ROWS_OF
    assert counted.n.tolist() == counted.d.tolist()


@pytest.mark.parametrize(
    "view",
    [
        "stock_prices_adjusted",
        "daily_change",
        "moving_averages",
        "macd",
        "bollinger_bands",
        "volatility",
        "stock_weather",
    ],
)
def test_a_query_for_one_ticker_does_not_compute_the_others(over_tables: OverTables, view: str) -> None:
    days = _weekdays(60)
    names = [f"T{n}" for n in range(500)]
    prices = pd.DataFrame(
        {
            "ticker": np.repeat(names, len(days)),
            "trade_date": days * len(names),
            "close": 10.0,
            "high": 11.0,
            "low": 9.0,
        }
    )
    splits = pd.DataFrame({"ticker": names, "execution_date": date(2024, 5, 1), "split_from": 1.0, "split_to": 2.0})
    places = pd.DataFrame({"location": ["New York"], "time_zone": ["America/New_York"]})
    views = over_tables(stock_prices=prices, stock_splits=splits, locations=places)
    plan = json.loads(views.plan(f"SELECT * FROM {view} WHERE ticker = 'T7'"))
    above_scans = [step["operator_cardinality"] for step in _steps(plan) if "WINDOW" in step["operator_name"]]
    assert max([0, *above_scans]) <= len(splits)
    assert sum(step["operator_cardinality"] for step in _steps(plan) if "WINDOW" in step["operator_name"]) < len(prices)


def _steps(plan: Any) -> list[dict[str, Any]]:
    return [
        *([plan] if "operator_name" in plan else []),
        *(step for child in plan.get("children", []) for step in _steps(child)),
    ]


def _windows(values: Any, rows: int, measure: Any) -> np.ndarray[Any, Any]:
    """`measure` of each full window of `rows` values, computed afresh; NaN before."""
    array = values.to_numpy(dtype=float)
    found = np.full(len(array), np.nan)
    for n in range(rows - 1, len(array)):
        found[n] = measure(array[n - rows + 1 : n + 1])
    return found


def _ema(values: Any, span: int) -> np.ndarray[Any, Any]:
    """The recursive definition, one row after the other."""
    alpha = 2 / (span + 1)
    found = np.array(values, dtype=float)
    for n in range(1, len(found)):
        found[n] = found[n - 1] + alpha * (found[n] - found[n - 1])
    return found
