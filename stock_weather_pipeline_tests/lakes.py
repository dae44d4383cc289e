"""Lakes and rows for tests of any package. No test belongs here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from stock_weather_pipeline.datasets import STOCK_PRICES, WEATHER, Dataset
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Day, ExternalTable, Layer, external_table
from stock_weather_pipeline.partitions import new_york_day, utc_window
from stock_weather_pipeline.settings import load_settings
from stock_weather_pipeline.sources.base import PARTITION_DAY
from stock_weather_pipeline.sources.tables import Fetched

if TYPE_CHECKING:
    from infra.emulation import EmulatedAws

Row = Mapping[str, Any]


def local_lake(folder: Path) -> Lake:
    from stock_weather_pipeline.lake.duckdb_engine import DuckDbEngine
    from stock_weather_pipeline.lake.local_catalog import LocalCatalog
    from stock_weather_pipeline.lake.local_objects import LocalObjects
    from stock_weather_pipeline.lake.local_tables import local_tables

    objects = LocalObjects(folder)
    catalog = LocalCatalog(objects)
    tables = local_tables(folder)
    return Lake(objects, catalog, tables, DuckDbEngine(objects, catalog, tables))


def data_files(lake: Lake, name: str) -> Sequence[str]:
    """Locations of the files that make up the current snapshot of a prod table."""
    contents = lake.tables.contents(name)
    return contents.files if contents is not None else []


@contextmanager
def emulated_lake() -> Iterator[tuple[Lake, EmulatedAws]]:
    """A lake on an empty emulated account, and the account. The environment leads there meanwhile."""
    from infra.emulation import emulated_aws  # moto takes seconds to load
    from infra.emulation.lake_account import BUCKETS, make_lake_account
    from stock_weather_pipeline.lake.aws.opening import aws_lake

    with emulated_aws() as aws, pytest.MonkeyPatch.context() as patch:
        for name, value in aws.environment.items():
            patch.setenv(name, value)
        make_lake_account()
        settings = load_settings({"deployment": "aws", **{f"{kind}_bucket": name for kind, name in BUCKETS.items()}})
        aws.calls.reset()
        yield aws_lake(settings, poll_s=0.02), aws


@contextmanager
def lake_of(deployment: str, folder: Path) -> Iterator[Lake]:
    """An empty lake of a deployment, for a suite that runs on both; the local one is in `folder`."""
    if deployment == "local":
        yield local_lake(folder)
    else:
        with emulated_lake() as (lake, _):
            yield lake


def replace_files(lake: Lake, table: ExternalTable, day: Day, content: bytes) -> None:
    """Other bytes in the files of a day, past the engine."""
    for key in files_of(lake, table, day):
        lake.objects.write(key, content)


def files_of(lake: Lake, table: ExternalTable, day: Day) -> list[str]:
    """Keys of the files that make up a day of a Parquet table."""
    stored = lake.engine.stored(table, [day])
    if day not in stored:
        return []
    return [i.key for i in lake.objects.list(table.prefix) if lake.objects.uri(i.key).startswith(stored[day].uri)]


def bar(day: date, ticker: str = "NVDA", **values: str | None) -> dict[str, Any]:
    """One raw row of stock_prices with its day."""
    row: dict[str, Any] = {"ticker": ticker, "trade_date": str(day), "open": "10.5", "high": "12", "low": "9"}
    row.update({"close": "11", "volume": "1.5e6", "vwap": "10.7", "transactions": "1200", PARTITION_DAY: day})
    return {**row, **values}


def hours(first: date, last: date | None = None, location: str = "New York", **values: str | None) -> list[Row]:
    """Raw rows of weather, one for each hour of the New York days."""
    start, end = utc_window(first, last or first)
    stamps = [start + timedelta(hours=n) for n in range(int((end - start) / timedelta(hours=1)))]
    usual = {"temperature_c": "4.5", "apparent_temperature_c": "1", "relative_humidity_pct": "60"}
    usual.update({"precipitation_mm": "0", "wind_speed_kmh": "12.3", "weather_code": "3"})
    return [
        {
            "location": location,
            "observed_at": f"{stamp:%Y-%m-%dT%H:%M}",
            **usual,
            PARTITION_DAY: new_york_day(stamp),
            **values,
        }
        for stamp in stamps
    ]


def fetched(dataset: Dataset, rows: Iterable[Row], first: date, last: date) -> Fetched:
    schema = dataset.raw_schema.append(pa.field(PARTITION_DAY, pa.date32()))
    return Fetched(first, last, pa.Table.from_pylist([dict(row) for row in rows], schema=schema), 1, False)


def put_csv(lake: Lake, dataset: Dataset, day: Day, rows: Sequence[Row]) -> None:
    """Write the raw file of a day as the landing would."""
    from stock_weather_pipeline.layers.raw import csv_bytes

    table = pa.Table.from_pylist([dict(row) for row in rows], schema=dataset.raw_schema)
    lake.objects.write(external_table(dataset, Layer.RAW).key(day), csv_bytes(table))


def land_prices(lake: Lake, days: Sequence[date], *tickers: str, **values: str | None) -> None:
    """Land one bar for each day and ticker (NVDA when none is named)."""
    from stock_weather_pipeline.layers.raw import land

    names = tickers or ("NVDA",)
    rows = [bar(day, ticker, **values) for day in days for ticker in names]
    land(lake, STOCK_PRICES, days, [fetched(STOCK_PRICES, rows, days[0], days[-1])], names)


def land_weather(lake: Lake, days: Sequence[date], rows: Sequence[Row] | None = None) -> None:
    from stock_weather_pipeline.layers.raw import land

    chosen = hours(days[0], days[-1]) if rows is None else rows
    land(lake, WEATHER, days, [fetched(WEATHER, chosen, days[0], days[-1])], None)
