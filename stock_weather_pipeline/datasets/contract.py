"""The vocabulary of a contract: columns, types, units, key, row rules, partition set.

A contract says what flows. Everything else is derived from it: the CSV header, the raw table, the typing SELECT, the
Iceberg schema, the column schema in the UI, the checks, the docs. No I/O and no vendor names belong here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import TYPE_CHECKING

from stock_weather_pipeline.partitions import ONE_DAY, PartitionSet, utc_window

if TYPE_CHECKING:
    import pyarrow as pa


class ColumnType(Enum):
    """A column's type; the value is its name in Athena SQL."""

    STRING = "VARCHAR"
    DOUBLE = "DOUBLE"
    INTEGER = "INTEGER"
    BIGINT = "BIGINT"
    BOOLEAN = "BOOLEAN"
    DATE = "DATE"
    TIMESTAMP = "TIMESTAMP"

    @property
    def arrow(self) -> pa.DataType:
        import pyarrow as pa

        return {
            ColumnType.STRING: pa.string(),
            ColumnType.DOUBLE: pa.float64(),
            ColumnType.INTEGER: pa.int32(),
            ColumnType.BIGINT: pa.int64(),
            ColumnType.BOOLEAN: pa.bool_(),
            ColumnType.DATE: pa.date32(),
            ColumnType.TIMESTAMP: pa.timestamp("us"),
        }[self]


@dataclass(frozen=True)
class Column:
    """One column. `minimum`, `maximum` (inclusive) and `pattern` are bounds a row must keep or go to quarantine."""

    name: str
    type: ColumnType
    comment: str
    unit: str = ""
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None

    @property
    def described(self) -> str:
        """The comment with its unit, as shown in catalogs and the UI."""
        return f"{self.comment} [{self.unit}]" if self.unit else self.comment


@dataclass(frozen=True)
class Rule:
    """A condition over one typed row, in Athena SQL. A row for which it is false goes to quarantine under `name`.

    A NULL result keeps the row, so that a rule over nullable columns needs no special case.
    """

    name: str
    sql: str


@dataclass(frozen=True)
class Suspicion:
    """Worth a warning, never a refusal: prod rows whose measure lies outside the first and last of `edges`.

    `sql` is an Athena SELECT of rows with their `partition_day` and `measure` (DOUBLE; NULL is not judged). The
    ascending edges are also the bins in which `unit` ("closes by ...") are counted for the UI.
    """

    name: str
    description: str
    sql: str
    edges: tuple[float, ...]
    unit: str


def one_row(_day: date) -> int:
    """The usual number of rows of one entity on one day."""
    return 1


@dataclass(frozen=True)
class Dataset:
    """One contract.

    `entity` is the column whose values are expected every day (a ticker, a location). `day_column` is the column a day
    is cut from, and `day_sql` the Athena expression that gives a typed row's day in New York; both are None for a
    dataset without partitions. `rows_per_entity` is how many rows a complete day has for each
    entity; `may_be_empty` says that no rows at all can be right.
    """

    name: str
    description: str
    source: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    entity: str
    rules: tuple[Rule, ...] = ()
    partition_set: PartitionSet | None = None
    day_column: str | None = None
    day_sql: str | None = None
    max_quarantined_share: float = 0.01
    rows_per_entity: Callable[[date], int] = one_row
    may_be_empty: bool = False
    suspicions: tuple[Suspicion, ...] = ()

    def __post_init__(self) -> None:
        names = self.column_names
        for name in (*self.key, self.entity, *([self.day_column] if self.day_column else [])):
            if name not in names:
                raise ValueError(f"contract {self.name}: {name} is not one of its columns")
        if (self.partition_set is None) != (self.day_column is None) or (self.day_sql is None) != (
            self.day_column is None
        ):
            raise ValueError(f"contract {self.name}: partition_set, day_column and day_sql go together")
        if any(column.nullable for column in self.columns if column.name in self.key):
            raise ValueError(f"contract {self.name}: a key column cannot be nullable")

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if not column.nullable)

    @property
    def nullable(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.nullable)

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def arrow_schema(self) -> pa.Schema:
        """The typed schema: parquet and prod."""
        import pyarrow as pa

        return pa.schema([pa.field(c.name, c.type.arrow, nullable=c.nullable) for c in self.columns])

    @property
    def raw_schema(self) -> pa.Schema:
        """The raw schema: the same columns, all strings, as the vendor sent them."""
        import pyarrow as pa

        return pa.schema([pa.field(c.name, pa.string()) for c in self.columns])

    def bounds(self, first: date, last: date) -> tuple[date, date] | tuple[datetime, datetime]:
        """The half-open bounds of `day_column` that hold exactly the New York days `first`..`last`."""
        if self.day_column is None:
            raise ValueError(f"{self.name} has no days")
        if self.column(self.day_column).type is ColumnType.TIMESTAMP:
            return utc_window(first, last)
        return first, last + ONE_DAY
