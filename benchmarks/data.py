"""Bars of a market without a vendor: a random walk of any size, the same for the same size, or recorded ones.

Kept in an Arrow file in the form a source delivers (strings, then the day), in chunks of whole sessions, so that every
subject reads the same rows and making them is not measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stock_weather_pipeline.datasets import STOCK_PRICES
from stock_weather_pipeline.errors import UsageError
from stock_weather_pipeline.partitions import PartitionSet
from stock_weather_pipeline.sandbox.feed import Market
from stock_weather_pipeline.sandbox.replay import replay_feed
from stock_weather_pipeline.sandbox.simulated import SimulatedMarket
from stock_weather_pipeline.sources.base import PARTITION_DAY

LAST = date(2025, 12, 31)
ROWS_PER_CHUNK = 500_000
SP500_TICKERS = 501
MARKET_TICKERS = 11_000

_SCHEMA = STOCK_PRICES.raw_schema.append(pa.field(PARTITION_DAY, pa.date32()))


def sessions(count: int, last: date = LAST) -> list[date]:
    """The last `count` sessions up to `last`."""
    first = date.fromordinal(last.toordinal() - 2 * count - 10)
    return PartitionSet.SESSIONS.days(first, last)[-count:]


def tickers(count: int) -> list[str]:
    return [f"T{number:05d}" for number in range(count)]


def listed_tickers(count: int, day: date) -> list[str]:
    """Tickers that the sandbox has bars of from `day` on, well-known ones first; there are some hundred."""
    return [ticker for ticker, _ in SimulatedMarket().grouped(day)][:count]


def market_file(folder: Path, ticker_count: int, days: Sequence[date]) -> Path:
    """The Arrow file of a bar for each ticker and day; made once for a folder and size."""
    path = folder / f"market_{ticker_count}_{len(days)}.arrow"
    if path.exists():
        return path
    _write(path, _chunks(ticker_count, days))
    return path


def recorded_file(folder: Path, recorded: Path, days: Sequence[date]) -> Path:
    """The Arrow file of these sessions' bars in a folder that the sandbox replays (`stock-weather sandbox --data`).

    Raises UsageError for a folder that cannot be replayed, or holds no bar of these days.
    """
    market = replay_feed(recorded).market
    path = folder / "recorded.arrow"
    sessions_per_chunk = 500
    starts = range(0, len(days), sessions_per_chunk)
    _write(path, (_recorded(market, days[start : start + sessions_per_chunk]) for start in starts))
    if not row_count(path):
        raise UsageError(f"{recorded} holds no bar from {days[0]} to {days[-1]}: choose another --last.")
    return path


def row_count(path: Path) -> int:
    """How many bars a file holds."""
    return sum(chunk.num_rows for chunk in chunks(path))


def chunks(path: Path) -> Iterator[pa.Table]:
    """The file's rows, about half a million at a time, read and not mapped, so that memory is what a subject uses."""
    with pa.OSFile(str(path), "rb") as file:
        reader = pa.ipc.open_file(file)
        for number in range(reader.num_record_batches):
            yield pa.Table.from_batches([reader.get_batch(number)])


def _write(path: Path, batches: Iterable[pa.RecordBatch]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with pa.OSFile(str(unfinished), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch)
    unfinished.rename(path)


def _recorded(market: Market, days: Sequence[date]) -> pa.RecordBatch:
    """Bars in the form in which a source delivers them, by day and ticker."""
    bars = [(ticker, bar) for day in days for ticker, bar in sorted(market.grouped(day))]
    columns = {
        "ticker": pa.array([ticker for ticker, _ in bars], pa.string()),
        "trade_date": pa.array([bar.day.isoformat() for _, bar in bars], pa.string()),
        PARTITION_DAY: pa.array([bar.day for _, bar in bars], pa.date32()),
        **{
            name: pa.array([None if value is None else str(value) for value in values], pa.string())
            for name in ("open", "high", "low", "close", "volume", "vwap", "transactions")
            for values in [[getattr(bar, name) for _, bar in bars]]
        },
    }
    return pa.record_batch([columns[name] for name in _SCHEMA.names], schema=_SCHEMA)


def _chunks(ticker_count: int, days: Sequence[date]) -> Iterator[pa.RecordBatch]:
    random = np.random.default_rng(20251231)
    names = pa.array(tickers(ticker_count))
    close = random.uniform(5, 500, ticker_count)
    sessions_per_chunk = max(1, ROWS_PER_CHUNK // ticker_count)
    for start in range(0, len(days), sessions_per_chunk):
        parts = []
        for day in days[start : start + sessions_per_chunk]:
            close = np.maximum(1.0, close * np.exp(random.normal(0, 0.02, ticker_count)))
            parts.append(_session(random, names, close, day))
        (batch,) = pa.Table.from_batches(parts).combine_chunks().to_batches()
        yield batch


def _session(random: np.random.Generator, names: pa.Array, close: np.ndarray, day: date) -> pa.RecordBatch:
    count = len(close)
    opened = close * np.exp(random.normal(0, 0.01, count))
    low = np.minimum(opened, close) * random.uniform(0.98, 1.0, count)
    high = np.maximum(opened, close) * random.uniform(1.0, 1.02, count)
    columns = {
        "ticker": names,
        "trade_date": pa.array([day.isoformat()] * count),
        "open": _prices(opened),
        "high": _prices(high),
        "low": _prices(low),
        "close": _prices(close),
        "volume": _text(random.integers(1_000, 90_000_000, count)),
        "vwap": _prices((low + high) / 2),
        "transactions": _text(random.integers(100, 900_000, count)),
        PARTITION_DAY: pa.array([day] * count, pa.date32()),
    }
    return pa.record_batch([columns[name] for name in _SCHEMA.names], schema=_SCHEMA)


def _prices(values: np.ndarray) -> pa.Array:
    return _text(values.round(4))


def _text(values: np.ndarray) -> pa.Array:
    return pc.cast(pa.array(values), pa.string())
