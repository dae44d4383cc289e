"""The catalog layer: the raw table exists with exactly the contract's columns, and each day's file fits it.

Finds what is wrong with a raw file, column by column; repairs nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass

from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.errors import UnreadableFileError
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Day, Layer, days_predicate, external_table, partition_day_sql

# The longest header of any contract is far shorter.
_HEADER_BYTES = 8192


def register(lake: Lake, dataset: Dataset) -> None:
    """Create or bring up to date the external tables of the dataset. Data is not touched."""
    for layer in Layer:
        lake.catalog.put_table(external_table(dataset, layer))


@dataclass(frozen=True)
class RawFile:
    """What was found in a day's raw file: its rows, and what keeps it from being read as the contract says."""

    rows: int = 0
    problem: str | None = None


def problems(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> dict[Day, str]:
    """What keeps a day's raw file from being read as the contract says: one sentence per day that has a problem."""
    return {day: file.problem for day, file in _examine(lake, dataset, days).items() if file.problem is not None}


def rows_per_day(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> dict[Day, int]:
    """Rows of the raw table by day, counted by the SQL engine; a day without readable rows is left out."""
    return {day: file.rows for day, file in _examine(lake, dataset, days).items() if file.rows}


def _examine(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> dict[Day, RawFile]:
    """Every day's file; one that was already examined through this lake in its present version is not read again."""
    if not days:
        return {}
    table = external_table(dataset, Layer.RAW)
    keys = {day: table.key(day) for day in days}
    versions = {item.key: item.version for item in lake.objects.list(table.prefix_of(days))}
    unknown: list[Day] = []
    found: dict[Day, RawFile] = {}
    for day, key in keys.items():
        held = lake.examined.get(key)
        if held is not None and held[0] == versions.get(key):
            found[day] = held[1]
        else:
            unknown.append(day)
    fresh: dict[Day, RawFile] = {}
    for day in unknown:
        problem = _drift(lake, dataset, day, versions.get(keys[day]))
        if problem is not None:
            fresh[day] = RawFile(problem=problem)
    fresh.update(_read(lake, dataset, [day for day in unknown if day not in fresh]))
    lake.examined.update(
        {keys[day]: (versions[keys[day]], file) for day, file in fresh.items() if keys[day] in versions}
    )
    found.update(fresh)
    return {day: found[day] for day in days}


def _drift(lake: Lake, dataset: Dataset, day: Day, version: str | None) -> str | None:
    key = external_table(dataset, Layer.RAW).key(day)
    where = lake.objects.uri(key)
    again = f"materialize raw/{dataset.name} for it again"
    if version is None:
        return f"{where} is missing: {again}"
    if lake.well_formed.get(key) == version:
        return None
    content = lake.objects.read(key)
    if not content.strip():
        return f"{where} is empty: {again}"
    try:
        line = content[:_HEADER_BYTES].split(b"\n", 1)[0].decode("utf-8")
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
        unclosed = content.count(b'"') % 2 == 1
        return f"{where} cannot be parsed as CSV (a quote is not closed): {again}" if unclosed else None
    missing = [f"{name} is missing" for name in expected if name not in header]
    added = [f"{name!r} is not in the contract" for name in header if name not in expected]
    differences = [*missing, *added] or ["the columns stand in another order"]
    return f"the header of {where} differs from the contract: {', '.join(differences)}; {again}"


def _read(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> dict[Day, RawFile]:
    """The rows the engine finds; a file that it cannot parse is found by halving, so that it costs few queries."""
    if not days:
        return {}
    again = f"materialize raw/{dataset.name} for it again"
    table = external_table(dataset, Layer.RAW)
    # Counted here, then typed and audited.
    lake.engine.keep(table, days)
    try:
        counted = _counted(lake, dataset, days)
    except UnreadableFileError as error:
        if len(days) == 1:
            where = lake.objects.uri(table.key(days[0]))
            return {days[0]: RawFile(problem=f"{where} cannot be parsed as CSV ({error}): {again}")}
        middle = len(days) // 2
        return {**_read(lake, dataset, days[:middle]), **_read(lake, dataset, days[middle:])}
    files: dict[Day, RawFile] = {}
    for day in days:
        rows = counted.get(day, 0)
        empty = not rows and not dataset.may_be_empty
        files[day] = RawFile(rows, f"{lake.objects.uri(table.key(day))} has no rows: {again}" if empty else None)
    return files


def _counted(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> dict[Day, int]:
    table = external_table(dataset, Layer.RAW)
    # Every column is read, since a reader that only counts lines would not notice a broken one.
    width = " + ".join(f"length(coalesce({name}, ''))" for name in dataset.column_names)
    rows = lake.rows(
        f"SELECT partition_day, count(*) AS row_count, sum(width) AS width FROM (SELECT {partition_day_sql(dataset)} "
        f"AS partition_day, {width} AS width FROM {table.qualified_name} WHERE {days_predicate(dataset, days)}) "
        "GROUP BY partition_day"
    )
    return {row["partition_day"]: row["row_count"] for row in rows}
