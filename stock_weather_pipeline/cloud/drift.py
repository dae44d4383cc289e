"""Drift: what a Glue crawler sees in the raw files, compared with the contracts, column by column.

A crawler guesses types from values, so a guess that the contract's type can hold is no drift. Nothing is changed:
schemas are the contracts', and the crawler's database is read by nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stock_weather_pipeline.datasets import PARTITIONED, Dataset
from stock_weather_pipeline.datasets.contract import ColumnType
from stock_weather_pipeline.lake.aws.errors import aws_errors
from stock_weather_pipeline.lake.aws.session import AwsSession
from stock_weather_pipeline.lake.layout import DAY_COLUMNS

DATABASE = "stock_weather_drift"

Crawled = Mapping[str, Sequence[tuple[str, str]]]
"""Tables by name: their columns with the types that the crawler guessed."""

# What a crawler may make of a column's good values: whole prices look like bigint, days like strings.
_FITTING = {
    ColumnType.DOUBLE: {"double", "float", "decimal", "bigint", "int"},
    ColumnType.BIGINT: {"bigint", "int"},
    ColumnType.INTEGER: {"bigint", "int"},
    ColumnType.BOOLEAN: {"boolean"},
    ColumnType.DATE: {"date", "string"},
    ColumnType.TIMESTAMP: {"timestamp", "string"},
}


def crawled_tables(session: AwsSession, database: str = DATABASE) -> Crawled:
    """The tables of the crawler's database, without their partition columns."""
    with aws_errors(f"read the tables of the Glue database {database}"):
        pages = session.glue.get_paginator("get_tables").paginate(DatabaseName=database)
        return {
            table["Name"]: [
                (column["Name"], column.get("Type", "")) for column in table["StorageDescriptor"].get("Columns", [])
            ]
            for page in pages
            for table in page["TableList"]
        }


def drift(crawled: Crawled) -> dict[str, list[str]]:
    """What differs from the contract, by dataset and in one sentence for each column; no entry when nothing does.

    A dataset of which the crawler has seen nothing yet has no drift.
    """
    found = {dataset.name: _differences(dataset, crawled) for dataset in PARTITIONED}
    return {name: differences for name, differences in found.items() if differences}


def _differences(dataset: Dataset, crawled: Crawled) -> list[str]:
    # A crawler that cannot combine files makes another table, named after the path and a digest.
    tables = sorted(name for name in crawled if name == dataset.name or name.startswith(f"{dataset.name}_"))
    differences = []
    if len(tables) > 1:
        differences.append(f"the files of {dataset.name} do not fit together: the crawler made {', '.join(tables)}")
    for table in tables:
        columns = [(name, kind) for name, kind in crawled[table] if name not in DAY_COLUMNS]
        names = [name for name, _ in columns]
        expected = list(dataset.column_names)
        differences += [f"{table}.{name} is missing" for name in expected if name not in names]
        differences += [f"{table}.{name} is not in the contract" for name in names if name not in expected]
        if sorted(names) == sorted(expected) and names != expected:
            differences.append(f"the columns of {table} stand in another order: {', '.join(names)}")
        differences += [
            f"{table}.{name} looks like {kind}, the contract says {dataset.column(name).type.value}"
            for name, kind in columns
            if name in expected and not _fits(dataset.column(name).type, kind)
        ]
    return differences


def _fits(type_: ColumnType, guessed: str) -> bool:
    return type_ is ColumnType.STRING or guessed.split("(")[0] in _FITTING[type_]
