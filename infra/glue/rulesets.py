"""The contracts' checks as DQDL, the language of Glue Data Quality: one ruleset for each dataset's Parquet table.

`python -m infra.glue.rulesets` writes them to `dqdl/`. The audit stays the judge: what it counts over several tables
(rows accounted for, share of quarantined rows) one table's rules cannot say.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from stock_weather_pipeline.datasets import DATASETS, Dataset
from stock_weather_pipeline.datasets.contract import Column, ColumnType

FOLDER = Path(__file__).parent / "dqdl"


def ruleset(dataset: Dataset) -> str:
    """The rules of a dataset, as DQDL reads them."""
    listed = ",\n".join(f"    {rule}" for rule in _rules(dataset))
    return (
        f"# Checks of stock_weather_parquet.{dataset.name}, exported from its contract by infra/glue/rulesets.py.\n"
        f"Rules = [\n{listed}\n]\n"
    )


def write() -> None:
    """Bring the committed files up to date."""
    for dataset in DATASETS.values():
        (FOLDER / f"{dataset.name}.dqdl").write_text(ruleset(dataset), encoding="utf-8")


def _rules(dataset: Dataset) -> Iterator[str]:
    if not dataset.may_be_empty:
        yield "RowCount > 0"
    for column in dataset.columns:
        yield f'ColumnExists "{column.name}"' if column.nullable else f'IsComplete "{column.name}"'
    yield "IsPrimaryKey " + " ".join(f'"{name}"' for name in dataset.key)
    for column in dataset.columns:
        yield from _column_rules(column)
    if dataset.day_column is not None:
        day = f"to_date(from_utc_timestamp({dataset.day_column}, 'America/New_York'))"
        if dataset.column(dataset.day_column).type is ColumnType.DATE:
            day = dataset.day_column
        yield _none_where(f"{day} <> to_date(concat(year, '-', month, '-', day))")
    for rule in dataset.rules:
        yield _none_where(f"NOT ({rule.sql})")


def _column_rules(column: Column) -> Iterator[str]:
    name = column.name
    # A NULL breaks a ColumnValues rule, and none of the contract's.
    present = f' where "{name} IS NOT NULL"' if column.nullable else ""
    if column.type is ColumnType.DOUBLE:
        yield _none_where(f"isnan({name}) OR abs({name}) = double('Infinity')")
    if column.minimum is not None:
        yield f'ColumnValues "{name}" >= {_number(column.minimum)}{present}'
    if column.maximum is not None:
        yield f'ColumnValues "{name}" <= {_number(column.maximum)}{present}'
    if column.pattern is not None:
        yield f'ColumnValues "{name}" matches "{column.pattern}"{present}'


def _none_where(condition: str) -> str:
    """A rule in Spark's SQL, which CustomSql takes."""
    return f'CustomSql "SELECT count(*) FROM primary WHERE {condition}" = 0'


def _number(value: float) -> str:
    """Without an exponent, which DQDL's grammar does not promise to read."""
    return format(Decimal(repr(value)).normalize(), "f")


if __name__ == "__main__":
    write()
