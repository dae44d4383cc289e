"""The catalog layer: the raw table exists with exactly the contract's columns, and each day's file fits it.

Finds what is wrong with a raw file, column by column; repairs nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence

from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.errors import QueryError
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Day, Layer, days_predicate, external_table, partition_day_sql

# The longest header of any contract is far shorter.
_HEADER_BYTES = 8192


def register(lake: Lake, dataset: Dataset) -> None:
    """Create or bring up to date the external tables of the dataset. Data is not touched."""
    for layer in Layer:
        lake.catalog.put_table(external_table(dataset, layer))


def problems(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> dict[Day, str]:
    """What keeps a day's raw file from being read as the contract says: one sentence per day that has a problem."""
    found: dict[Day, str] = {}
    for day in days:
        problem = _drift(lake, dataset, day)
        if problem is not None:
            found[day] = problem
    found.update(_unreadable(lake, dataset, [day for day in days if day not in found]))
    return found


def rows_per_day(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> dict[Day, int]:
    """Rows of the raw table by day, counted by the SQL engine. Raises QueryError when a file cannot be parsed."""
    if not days:
        return {}
    table = external_table(dataset, Layer.RAW)
    # Every column is read, since a reader that only counts lines would not notice a broken one.
    width = " + ".join(f"length(coalesce({name}, ''))" for name in dataset.column_names)
    rows = lake.rows(
        f"SELECT partition_day, count(*) AS row_count, sum(width) AS width FROM (SELECT {partition_day_sql(dataset)} "
        f"AS partition_day, {width} AS width FROM {table.qualified_name} WHERE {days_predicate(dataset, days)}) "
        "GROUP BY partition_day"
    )
    return {row["partition_day"]: row["row_count"] for row in rows}


def _drift(lake: Lake, dataset: Dataset, day: Day) -> str | None:
    key = external_table(dataset, Layer.RAW).key(day)
    if not lake.objects.exists(key):
        return f"{lake.objects.uri(key)} is missing: materialize raw/{dataset.name} for it again"
    start = lake.objects.read_start(key, _HEADER_BYTES)
    where = lake.objects.uri(key)
    again = f"materialize raw/{dataset.name} for it again"
    if not start.strip():
        return f"{where} is empty: {again}"
    try:
        line = start.split(b"\n", 1)[0].decode("utf-8")
        header = next(csv.reader([line.rstrip("\r")], strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        return f"{where} has no readable header ({error}): {again}"
    # Readers disagree on these two, so that a file would have other values, or no rows, in the other deployment.
    if line.startswith("\ufeff"):
        return f"{where} begins with a byte order mark: save it as UTF-8 without one, or {again}"
    if line.endswith("\r"):
        return f"{where} has Windows line ends (CRLF): save it with line feeds only, or {again}"
    expected = list(dataset.column_names)
    if header == expected:
        # An engine may drop an unclosed last row without a word. Quotes within a value are doubled: they come in pairs.
        unclosed = lake.objects.read(key).count(b'"') % 2 == 1
        return f"{where} cannot be parsed as CSV (a quote is not closed): {again}" if unclosed else None
    missing = [f"{name} is missing" for name in expected if name not in header]
    added = [f"{name!r} is not in the contract" for name in header if name not in expected]
    differences = [*missing, *added] or ["the columns stand in another order"]
    return f"the header of {where} differs from the contract: {', '.join(differences)}; {again}"


def _unreadable(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> dict[Day, str]:
    """Days whose file the engine cannot parse, found by halving, so that one bad file costs few queries."""
    if not days:
        return {}
    try:
        counted = rows_per_day(lake, dataset, days)
    except QueryError as error:
        if len(days) == 1:
            where = lake.objects.uri(external_table(dataset, Layer.RAW).key(days[0]))
            return {days[0]: f"{where} cannot be parsed as CSV ({error}): materialize raw/{dataset.name} for it again"}
        middle = len(days) // 2
        return {**_unreadable(lake, dataset, days[:middle]), **_unreadable(lake, dataset, days[middle:])}
    return {
        day: f"{lake.objects.uri(external_table(dataset, Layer.RAW).key(day))} has no rows: "
        f"materialize raw/{dataset.name} for it again"
        for day in days
        if not counted.get(day) and not dataset.may_be_empty
    }
