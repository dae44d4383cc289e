"""Bars of a market of any size, made without a vendor: a random walk, the same for the same size.

Kept in an Arrow file in the form a source delivers (strings, then the day), in chunks of whole sessions, so that every
subject reads the same rows and making them is not measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stock_weather_pipeline.datasets import STOCK_PRICES
from stock_weather_pipeline.partitions import PartitionSet
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


def listed_tickers(count: int) -> list[str]:
    """Tickers that the sandbox takes for real ones, up to 676."""
    return [f"Z{chr(65 + number // 26)}{chr(65 + number % 26)}A" for number in range(count)]


def market_file(folder: Path, ticker_count: int, days: Sequence[date]) -> Path:
    """The Arrow file of a bar for each ticker and day; made once for a folder and size."""
    path = folder / f"market_{ticker_count}_{len(days)}.arrow"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with pa.OSFile(str(unfinished), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
        for chunk in _chunks(ticker_count, days):
            writer.write_batch(chunk)
    unfinished.rename(path)
    return path


def chunks(path: Path) -> Iterator[pa.Table]:
    """The file's rows, about half a million at a time, read and not mapped, so that memory is what a subject uses."""
    with pa.OSFile(str(path), "rb") as file:
        reader = pa.ipc.open_file(file)
        for number in range(reader.num_record_batches):
            yield pa.Table.from_batches([reader.get_batch(number)])


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
