"""The same data work three ways, each in a process of its own: this project's layers, a bare script, and dlt.

`python -m benchmarks.pipelines SUBJECT FOLDER MARKET_FILE` does the work once in an empty folder and prints what its
parts took as JSON. Raw rows become a CSV a day, typed Parquet a day, an Iceberg table by month, and every row of every
view of the stocks. Only the work is here; the comparisons are in `sp500` and `market`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from benchmarks import data
from benchmarks.measuring import Sample, child, python
from stock_weather_pipeline.datasets import STOCK_PRICES, STOCK_SPLITS
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.sources.base import PARTITION_DAY
from stock_weather_pipeline.views import VIEWS, View

STOCK_VIEWS = [view for view in VIEWS.values() if view.name != "stock_weather" and view.day_column == "trade_date"]
"""The views that need nothing but prices and splits."""

Parts = dict[str, float]


def measure(subject: str, folder: Path, market: Path) -> Sample:
    """Runs a subject in a process of its own; the sample's seconds are the work's, not the start-up's."""
    sample = child(python("benchmarks.pipelines", subject, str(folder), str(market)))
    return Sample(sum(sample.parts.values()), sample.peak_bytes, sample.parts)


def every_value(view: View) -> str:
    """Athena SQL that needs every row and every number of a view, and answers with one row."""
    numbers = [name for name in view.columns if name in view.units or name == "split_factor"]
    return (
        "SELECT count(*) AS row_count, "
        + ", ".join(f"sum({name}) AS {name}" for name in numbers)
        + f" FROM {view.name}"
    )


def open_lake_in(folder: Path) -> Lake:
    from stock_weather_pipeline.lake.opening import open_lake
    from stock_weather_pipeline.settings import load_settings

    return open_lake(load_settings({"home": folder, "sandbox": True}))


def days_of(market: Path) -> list[date]:
    """The sessions of a market file, ascending."""
    found: set[date] = set()
    for chunk in data.chunks(market):
        found.update(pc.unique(chunk[PARTITION_DAY]).to_pylist())
    return sorted(found)


def ours(folder: Path, market: Path) -> Parts:
    """The layers as a ranged run calls them, checks of the audit included; without Dagster."""
    from stock_weather_pipeline.layers import catalog, parquet, prod, raw, views
    from stock_weather_pipeline.layers.audit import audit
    from stock_weather_pipeline.sources.tables import Fetched

    lake, parts, days = open_lake_in(folder), Parts(), days_of(market)

    def fetched() -> Iterator[Fetched]:
        for rows in data.chunks(market):
            bounds = pc.min_max(rows[PARTITION_DAY]).as_py()
            yield Fetched(bounds["min"], bounds["max"], rows, 1, True)

    with _part(parts, "raw"):
        raw.land(lake, STOCK_PRICES, days, fetched(), None)
    with _part(parts, "catalog"):
        catalog.register(lake, STOCK_PRICES)
        assert not catalog.problems(lake, STOCK_PRICES, days)
        catalog.rows_per_day(lake, STOCK_PRICES, days)
    with _part(parts, "parquet"):
        unreadable = parquet.type_days(lake, STOCK_PRICES, days)
    with _part(parts, "audit"):
        audit(lake, STOCK_PRICES, days, unreadable)
    with _part(parts, "prod"):
        lake.tables.ensure(STOCK_SPLITS)
        assert not prod.publish(lake, STOCK_PRICES, days, "benchmark").refused
    with _part(parts, "views"):
        for view in VIEWS.values():
            if view in STOCK_VIEWS:
                views.create(lake, view)
                lake.rows(every_value(view))
    return parts


def bare(folder: Path, market: Path) -> Parts:
    """What somebody would write for this once: pyarrow, DuckDB, PyIceberg; no checks, no restarts, no catalog."""
    import duckdb
    from pyarrow import csv
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.table import Table

    parts = Parts()
    folder.mkdir(parents=True)
    connection = duckdb.connect()
    columns = ", ".join(
        f"TRY_CAST({column.name} AS {column.type.value}) AS {column.name}" for column in STOCK_PRICES.columns
    )
    with _part(parts, "raw"):
        for chunk in data.chunks(market):
            for day, rows in _by_day(chunk):
                path = _day_folder(folder / "raw", day) / "stock_prices.csv"
                csv.write_csv(rows, path, csv.WriteOptions(quoting_style="none"))
    with _part(parts, "parquet"):
        for month in sorted((folder / "raw").glob("*/*")):
            typed = connection.sql(
                f"SELECT {columns} FROM read_csv('{month}/*/*.csv', all_varchar = true, hive_partitioning = false) "
                "ORDER BY trade_date, ticker"
            ).to_arrow_table()
            for day, rows in _by_day(typed, "trade_date"):
                pa.parquet.write_table(rows, _day_folder(folder / "parquet", day) / "stock_prices.parquet")
    with _part(parts, "prod"):
        warehouse = folder / "prod"
        catalog = SqlCatalog("bare", uri=f"sqlite:///{folder}/catalog.db", warehouse=str(warehouse))
        catalog.create_namespace("stock_weather")
        table: Table | None = None
        for year in sorted((folder / "parquet").glob("*")):
            yearly: pa.Table = connection.sql(
                f"SELECT * FROM read_parquet('{year}/*/*/*.parquet', hive_partitioning = false) "
                "ORDER BY ticker, trade_date"
            ).to_arrow_table()
            if not catalog.table_exists("stock_weather.stock_prices"):
                with catalog.create_table("stock_weather.stock_prices", yearly.schema).update_spec() as spec:
                    spec.add_field("trade_date", "month")
            table = catalog.load_table("stock_weather.stock_prices")
            table.append(yearly)
        assert table is not None
        files = [task.file.file_path.removeprefix("file://") for task in table.scan().plan_files()]
    with _part(parts, "views"):
        _views_over(connection, files)
    return parts


def with_dlt(folder: Path, market: Path) -> Parts:
    """dlt from the same CSV files into the same Iceberg layout. It has no views, so this is raw to prod only."""
    import os

    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["DLT_DATA_DIR"] = str(folder / "dlt")
    import dlt
    from dlt.destinations import filesystem
    from dlt.destinations.adapters import iceberg_adapter, iceberg_partition
    from pyarrow import csv

    parts = Parts()
    folder.mkdir(parents=True)
    with _part(parts, "raw"):
        for chunk in data.chunks(market):
            for day, rows in _by_day(chunk):
                path = _day_folder(folder / "raw", day) / "stock_prices.csv"
                csv.write_csv(rows, path, csv.WriteOptions(quoting_style="none"))

    def files() -> Iterator[pa.Table]:
        types = pa.schema([(name, kind) for name, kind in _arrow_types()])
        for path in sorted((folder / "raw").rglob("*.csv")):
            yield csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=types))

    with _part(parts, "prod"):
        pipeline = dlt.pipeline(
            "benchmark", destination=filesystem(bucket_url=f"file://{folder}/prod"), dataset_name="stock_weather"
        )
        resource = dlt.resource(files, name="stock_prices", write_disposition="append")
        adapted = iceberg_adapter(resource, partition=iceberg_partition.month("trade_date"))
        pipeline.run(adapted, table_format="iceberg").raise_on_failed_jobs()
    return parts


SUBJECTS: dict[str, Callable[[Path, Path], Parts]] = {"ours": ours, "bare": bare, "dlt": with_dlt}


def _views_over(connection: object, files: list[str]) -> None:
    """Every stock view, as the project's SQL says it, over the files of an Iceberg table."""
    import duckdb

    from stock_weather_pipeline.lake import dialect
    from stock_weather_pipeline.lake.layout import PROD_DATABASE

    assert isinstance(connection, duckdb.DuckDBPyConnection)
    connection.execute(f"CREATE VIEW stock_prices AS SELECT * FROM read_parquet({files!r})")
    splits = ", ".join(f"{column.name} {column.type.value}" for column in STOCK_SPLITS.columns)
    connection.execute(f"CREATE TABLE stock_splits ({splits})")
    schema = {
        (PROD_DATABASE, contract.name): {column.name: column.type.value for column in contract.columns}
        for contract in (STOCK_PRICES, STOCK_SPLITS)
    }
    for view in STOCK_VIEWS:
        connection.execute(f"CREATE VIEW {view.name} AS {dialect.to_duckdb(view.sql, schema)}")
        described = connection.execute(f"DESCRIBE {view.name}").fetchall()
        schema[(PROD_DATABASE, view.name)] = {column: kind for column, kind, *_ in described}
        connection.execute(dialect.to_duckdb(every_value(view), schema)).fetchall()


def _arrow_types() -> Iterator[tuple[str, pa.DataType]]:
    known = {"VARCHAR": pa.string(), "DATE": pa.date32(), "DOUBLE": pa.float64(), "BIGINT": pa.int64()}
    for column in STOCK_PRICES.columns:
        yield column.name, known[column.type.value]


def _by_day(rows: pa.Table, column: str = PARTITION_DAY) -> Iterator[tuple[date, pa.Table]]:
    """The contract's columns of each day, of rows sorted by day."""
    start = 0
    counts = rows.group_by(column, use_threads=False).aggregate([([], "count_all")])
    for day, count in zip(counts[column].to_pylist(), counts["count_all"].to_pylist(), strict=True):
        yield day, rows.slice(start, count).select(list(STOCK_PRICES.column_names))
        start += count


def _day_folder(root: Path, day: date) -> Path:
    folder = root / f"{day:year=%Y/month=%m/day=%d}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _part(parts: Parts, name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    parts[name] = time.perf_counter() - start


if __name__ == "__main__":
    subject, target, source = sys.argv[1:]
    print(json.dumps(SUBJECTS[subject](Path(target), Path(source))))  # noqa: T201 - read by the parent
