"""Replay: what the sandbox serves from files.

A folder holds any of these, each optional:

- `stocks/*.csv[.gz]`: columns (in any case and order) date or timestamp, open, high, low, close, volume, optionally
  ticker. Without a ticker column the ticker is the first part of the file's name (`nvda_raw_1999_2024.csv` is NVDA).
  Prices are unadjusted; a file with `splitadj` in its name is not, and is skipped.
- `splits.csv` or `stocks/splits.csv`: ticker, execution_date, split_from, split_to. Without it NVDA has its real ones.
- `weather/*.csv[.gz]`: Open-Meteo's hourly CSV, metric, with or without the header block. A file without it is taken to
  be in GMT, at the place its name begins with.

Rows are served as they stand in the files, phantom days included. Where files disagree about a ticker's day, the file
named after the ticker wins over one of many tickers, then the first by name; the same for the hours of a place.

Only reading and looking up belong here. Every file is read once, when the sandbox is made.
"""

from __future__ import annotations

import csv
import gzip
import logging
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from stock_weather_pipeline.errors import UsageError
from stock_weather_pipeline.sandbox.feed import NVDA_SPLITS, WEATHER_UNITS, Bar, Feed, Number, Split

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_EPOCH = date(1970, 1, 1)
_EPOCH_ORDINAL = _EPOCH.toordinal()
_PRICES = ("open", "high", "low", "close", "volume")
_SPLIT_COLUMNS = ("ticker", "execution_date", "split_from", "split_to")
_NEAR_DEGREES = 1.0
_PLACES = {"new_york": (40.7128, -74.0060), "santa_clara": (37.3541, -121.9552)}

log = logging.getLogger(__name__)


def replay_feed(folder: Path) -> Feed:
    """Everything a folder holds. Raises UsageError for a folder or a file that cannot be replayed."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: give --data a folder with stocks/ or weather/ in it.")
    stocks, weather = _csv_files(folder / "stocks"), _csv_files(folder / "weather")
    if not stocks and not weather:
        raise UsageError(f"{folder} holds nothing to replay: put CSV files into {folder}/stocks or {folder}/weather.")
    return Feed("replay", _market(folder, stocks), _weather(weather))


def _csv_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.name.lower().endswith((".csv", ".csv.gz")))


def _stem(path: Path) -> str:
    return path.name.lower().removesuffix(".gz").removesuffix(".csv")


def _market(folder: Path, files: Sequence[Path]) -> ReplayMarket:
    import pyarrow as pa

    tables: list[pa.Table] = []
    for path in files:
        if _stem(path) == "splits":
            continue
        if "splitadj" in _stem(path):
            log.warning("%s is not served: its prices are adjusted for splits, and bars are unadjusted", path)
            continue
        tables.append(_read_bars(path, len(tables)))
        log.info("%s: %d rows", path, tables[-1].num_rows)
    market = ReplayMarket(pa.concat_tables(tables)) if tables else ReplayMarket(None)
    named = [path for path in (folder / "splits.csv", folder / "stocks" / "splits.csv") if path.is_file()]
    market.set_splits(_read_splits(named[0]) if named else NVDA_SPLITS)
    return market


def _read_bars(path: Path, order: int) -> pa.Table:
    """Columns ticker, day, the prices, and rank: whose row counts when files disagree."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv as arrow_csv

    own_ticker = _stem(path).split("_")[0].upper()
    header = next(iter(_rows(path, 1)), [])
    names = [name.strip().lower() for name in header]
    day_name = next((name for name in ("date", "timestamp") if name in names), "date")
    missing = [name for name in (day_name, *_PRICES) if names.count(name) != 1]
    if missing:
        raise UsageError(f"{path} cannot be replayed: it needs one column {', '.join(missing)}.")
    # Dates and tickers stay text: NA and TRUE are tickers.
    types = {name: pa.float64() if name.strip().lower() in _PRICES else pa.string() for name in header}
    try:
        options = arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=False)
        table = arrow_csv.read_csv(path, convert_options=options).rename_columns(names)
        days = pc.utf8_slice_codeunits(table[day_name], 0, 10).cast(pa.date32())
    except (pa.ArrowInvalid, OSError) as error:
        raise UsageError(f"{path} cannot be replayed: {str(error).splitlines()[0]}.") from None
    tickers = (
        table["ticker"].dictionary_encode().cast(pa.dictionary(pa.int32(), pa.string()))
        if "ticker" in table.column_names
        else pa.chunked_array([pa.array([own_ticker] * table.num_rows).dictionary_encode()])
    )
    of_one_ticker = pc.equal(tickers.cast(pa.string()), own_ticker)
    rank = pc.if_else(of_one_ticker, pa.scalar(order, pa.int32()), pa.scalar(order + 1_000_000, pa.int32()))
    return pa.table(
        {"ticker": tickers.cast(pa.string()), "day": days, **{name: table[name] for name in _PRICES}, "rank": rank}
    )


def _read_splits(path: Path) -> tuple[Split, ...]:
    header, *lines = _rows(path) or [[]]
    rows = [dict(zip(header, line, strict=False)) for line in lines]
    try:
        return tuple(
            Split(
                row["ticker"],
                date.fromisoformat(row["execution_date"]),
                _number(row["split_from"]) or 1,
                _number(row["split_to"]) or 1,
            )
            for row in rows
        )
    except (KeyError, TypeError, ValueError) as error:
        columns = ", ".join(_SPLIT_COLUMNS)
        raise UsageError(f"{path} cannot be replayed ({error}): each row needs {columns}.") from None


class ReplayMarket:
    """Bars of a table, sorted by ticker and day, found by position."""

    def __init__(self, table: pa.Table | None) -> None:
        import numpy as np

        self._splits: Sequence[Split] = ()
        self._slices: dict[str, slice] = {}
        if table is None:
            self._days: NDArray[np.int64] = np.empty(0, dtype=np.int64)
            self._prices: list[NDArray[np.float64]] = [np.empty(0)] * len(_PRICES)
            self._tickers: list[str] = []
            self._codes = self._by_day = self._days
            return
        encoded = table["ticker"].combine_chunks().dictionary_encode()
        self._tickers = encoded.dictionary.to_pylist()
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        days = table["day"].to_numpy().astype("datetime64[D]").astype(np.int64)
        order = np.lexsort((np.arange(len(days)), table["rank"].to_numpy(), days, codes))
        codes, days = codes[order], days[order]
        first = np.ones(len(days), dtype=np.bool_)
        first[1:] = (codes[1:] != codes[:-1]) | (days[1:] != days[:-1])
        kept = order[first]
        self._codes, self._days = codes[first], days[first]
        self._prices = [table[name].to_numpy()[kept] for name in _PRICES]
        starts = np.searchsorted(self._codes, np.arange(len(self._tickers) + 1)).tolist()
        self._slices = {ticker: slice(*starts[n : n + 2]) for n, ticker in enumerate(self._tickers)}
        self._by_day = np.argsort(self._days, kind="stable")
        self._sorted_days = self._days[self._by_day]

    def set_splits(self, splits: Sequence[Split]) -> None:
        """Keep the splits of the tickers that are served."""
        self._splits = tuple(split for split in splits if split.ticker in self._slices)

    def bars(self, ticker: str, first: date, last: date) -> Sequence[Bar]:
        import numpy as np

        where = self._slices.get(ticker)
        if where is None:
            return []
        edges = [first.toordinal() - _EPOCH_ORDINAL, last.toordinal() - _EPOCH_ORDINAL + 1]
        start, end = (where.start + np.searchsorted(self._days[where], edges)).tolist()
        return self._bars(slice(start, end))

    def grouped(self, day: date) -> Sequence[tuple[str, Bar]]:
        import numpy as np

        number = day.toordinal() - _EPOCH_ORDINAL
        if not self._tickers:
            return []
        start, end = np.searchsorted(self._sorted_days, [number, number + 1]).tolist()
        positions = np.sort(self._by_day[start:end])
        tickers = [self._tickers[code] for code in self._codes[positions].tolist()]
        return list(zip(tickers, self._bars(positions), strict=True))

    def splits(self) -> Sequence[Split]:
        return self._splits

    def _bars(self, where: slice | NDArray[np.int64]) -> list[Bar]:
        days = [date.fromordinal(number + _EPOCH_ORDINAL) for number in self._days[where].tolist()]
        columns = zip(days, *(column[where].tolist() for column in self._prices), strict=True)
        return [Bar(day, o, h, low, c, v, None, None) for day, o, h, low, c, v in columns]


@dataclass
class _Station:
    """A place with its hours: variable -> hour since 1970 UTC -> value."""

    latitude: float
    longitude: float
    series: dict[str, dict[int, Number | None]] = field(default_factory=lambda: {name: {} for name in WEATHER_UNITS})

    def near(self, latitude: float, longitude: float) -> bool:
        return abs(self.latitude - latitude) <= _NEAR_DEGREES and abs(self.longitude - longitude) <= _NEAR_DEGREES

    def distance(self, latitude: float, longitude: float) -> float:
        return math.hypot(self.latitude - latitude, self.longitude - longitude)


class ReplayWeather:
    """Hours of files. A place within one degree of a file's place gets that file; hours outside it are null."""

    def __init__(self, stations: Sequence[_Station]) -> None:
        self._stations = stations

    def hours(
        self, latitude: float, longitude: float, elevation_m: float, first_hour: int, count: int
    ) -> dict[str, list[Number | None]] | None:
        near = [station for station in self._stations if station.near(latitude, longitude)]
        if not near:
            return None
        nearest = min(near, key=lambda station: station.distance(latitude, longitude))
        hours = range(first_hour, first_hour + count)
        return {name: [values.get(hour) for hour in hours] for name, values in nearest.series.items()}


def _weather(files: Sequence[Path]) -> ReplayWeather:
    stations: list[_Station] = []
    for path in files:
        skipped = _read_hours(path, stations)
        if skipped:
            log.warning("%s is not served: %s", path, skipped)
    return ReplayWeather(stations)


def _read_hours(path: Path, stations: list[_Station]) -> str | None:
    """Add a file's hours to its place. Returns why the file was not taken, None where it was."""
    rows = _rows(path)
    latitude, longitude, offset_seconds = math.nan, math.nan, 0
    table = next((n for n, row in enumerate(rows) if row[0] == "time"), None)
    if table is None or len(rows) < table + 2:
        return "it has no table that begins with time"
    if table == 2:
        block = dict(zip(rows[0], rows[1], strict=False))
        try:
            latitude, longitude = float(block["latitude"]), float(block["longitude"])
            offset_seconds = int(block["utc_offset_seconds"])
        except (KeyError, ValueError):
            return "its header block has no latitude, longitude and utc_offset_seconds"
    elif table:
        return "it holds more than one location"
    else:
        place = next((known for known in _PLACES if _stem(path).startswith(known)), None)
        if place is None:
            return f"it has no header block, and its name begins with no known place ({', '.join(_PLACES)})"
        latitude, longitude = _PLACES[place]
    if "T" not in rows[table + 1][0]:
        return "it is not hourly"
    names, units = zip(*(_name_and_unit(text) for text in rows[table]), strict=True)
    foreign = [
        f"{name} in {unit}"
        for name, unit in zip(names, units, strict=True)
        if unit and WEATHER_UNITS.get(name, unit) != unit
    ]
    if foreign:
        return f"it is not metric ({', '.join(foreign)})"
    station = next((known for known in stations if known.distance(latitude, longitude) < 0.1), None)
    if station is None:
        station = _Station(latitude, longitude)
        stations.append(station)
    wanted = [(n, station.series[name]) for n, name in enumerate(names) if name in WEATHER_UNITS]
    try:
        for row in rows[table + 1 :]:
            hour = _hour(row[0]) - offset_seconds // 3600
            for n, series in wanted:
                series.setdefault(hour, _number(row[n]))
    except (ValueError, IndexError) as error:
        raise UsageError(f"{path} cannot be replayed: the row of {row[0]!r} is damaged ({error}).") from None
    log.info("%s: %d hours", path, len(rows) - table - 1)
    return None


def _name_and_unit(text: str) -> tuple[str, str]:
    name, _, unit = text.strip().partition(" (")
    return name, unit.removesuffix(")")


def _hour(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return (moment.toordinal() - _EPOCH_ORDINAL) * 24 + moment.hour


def _number(text: str) -> Number | None:
    """The number as the file writes it: 42 stays an integer. Empty and NaN are missing."""
    if text in ("", "NaN"):
        return None
    try:
        return int(text)
    except ValueError:
        return float(text)


def _rows(path: Path, lines: int | None = None) -> list[list[str]]:
    """The first `lines` (None: all) of a CSV file, without the empty ones."""
    opener: Callable[..., TextIO] = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            return [row for row in islice(csv.reader(file), lines) if row]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be replayed: it is not readable as CSV ({error}).") from None
