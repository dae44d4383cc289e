"""What layers need of storage: objects, a catalog, Iceberg tables, a SQL engine. Implementations live beside this file.

Layers, checks and sensors import from here only, so that the same code runs on a folder and on S3, Glue and Athena.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.lake.layout import Day, ExternalTable, ViewDefinition

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class StoredObject:
    """One object. `version` changes whenever the object is replaced by other bytes; it is opaque."""

    key: str
    size_bytes: int
    version: str
    modified_at: datetime


class Objects(Protocol):
    """Whole files under keys. A reader sees a file whole or not at all, whenever a writer is killed."""

    def read(self, key: str) -> bytes:
        """Raises LakeError when there is no such object or it cannot be read."""
        ...

    def read_start(self, key: str, size_bytes: int) -> bytes: ...

    def write(self, key: str, data: bytes) -> str:
        """Create or replace, and return the version.

        Raises LakeError with the reason, such as a full disk; then nothing has changed.
        """
        ...

    def delete(self, keys: Sequence[str]) -> None:
        """Missing objects are no error."""
        ...

    def list(self, prefix: str) -> list[StoredObject]:
        """Every object below a prefix, by key."""
        ...

    def exists(self, key: str) -> bool: ...

    def uri(self, key: str) -> str:
        """Where a person finds the object."""
        ...


class Catalog(Protocol):
    """Definitions of external tables and views; no data."""

    def put_table(self, table: ExternalTable) -> None: ...

    def get_table(self, database: str, name: str) -> ExternalTable | None: ...

    def put_view(self, view: ViewDefinition) -> None: ...

    def get_view(self, name: str) -> ViewDefinition | None: ...

    def names(self, database: str) -> list[str]:
        """Tables and views of a database, sorted."""
        ...


@dataclass(frozen=True)
class Publish:
    """One atomic change of a prod table."""

    snapshot_id: int
    committed_at: datetime
    summary: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scope:
    """What a publish replaces: the given days, rows where a column has a value, both, or (neither) the whole table."""

    day_ranges: tuple[tuple[date, date], ...] = ()
    equals: tuple[str, str] | None = None


@dataclass(frozen=True)
class TableMaintenance:
    """What upkeep did with a table. Data files are those of the current snapshot, by month (`all`: no partitions)."""

    files_per_month_before: Mapping[str, int]
    files_per_month_after: Mapping[str, int]
    rows_rewritten: int
    snapshots_before: int
    snapshots_after: int
    files_deleted: int
    bytes_deleted: int


@dataclass(frozen=True)
class Contents:
    """Locations of a table's data files, and the names of its columns with their Athena types."""

    files: Sequence[str]
    columns: Sequence[tuple[str, str]]


class Tables(Protocol):
    """Iceberg tables of the prod database, one per contract."""

    def exists(self, name: str) -> bool: ...

    def names(self) -> list[str]: ...

    def ensure(self, dataset: Dataset) -> None:
        """Create the table, empty, unless it exists."""
        ...

    def publish(
        self,
        dataset: Dataset,
        change: Callable[[], tuple[pa.Table | Iterator[pa.Table], Scope] | None],
        summary: Mapping[str, str],
    ) -> Publish | None:
        """Replace a scope by rows in one commit. Rows are stored sorted by the contract's key.

        More rows than fit into memory come as several tables, each with months of its own.

        `change` is called for the rows and their scope, and again after another writer was faster, so that it decides
        on what is there; None means that nothing is to be changed. The table exists, be it empty, when it is called.
        Raises ConflictError when others keep winning.
        """
        ...

    def read(self, dataset: Dataset, scope: Scope) -> pa.Table:
        """The rows of a scope in the contract's schema; none when there is no table yet."""
        ...

    def contents(self, name: str) -> Contents | None:
        """What the current snapshot is made of; None when there is no such table."""
        ...

    def current(self, name: str) -> Publish | None: ...

    def history(self, name: str) -> list[Publish]:
        """Publishes that led to the current state, newest first."""
        ...

    def rollback(self, name: str) -> tuple[Publish, Publish | None]:
        """Undo the newest publish: (undone, now current). Raises LakeError when there is nothing to go back to."""
        ...

    def maintain(self, dataset: Dataset, keep_publishes: int, safety_age: timedelta) -> TableMaintenance | None:
        """Compact, expire snapshots and delete unneeded files; None when there is no table yet.

        The newest `keep_publishes` publishes can still be gone back to. Nothing is deleted that a writer has written,
        or a reader may have planned to read, within `safety_age`. Raises ConflictError when others keep winning.
        """
        ...


@dataclass(frozen=True)
class Output:
    """Where rows of an unloaded SELECT go: those that fulfil `where`, with the table's columns given by `select`."""

    table: ExternalTable
    select: str
    where: str


@dataclass(frozen=True)
class StoredDay:
    """One day of an external Parquet table. `version` changes whenever the day is replaced; it is opaque."""

    version: str
    uri: str


@dataclass(frozen=True)
class Spent:
    """What queries cost: bytes scanned, run time summed over them, US dollars."""

    queries: int = 0
    scanned_bytes: int = 0
    run_time_ms: int = 0
    cost_usd: float = 0.0


class Engine(Protocol):
    """SQL in Athena's dialect over raw, parquet, quarantine and prod tables and the views."""

    def query(self, sql: str) -> pa.Table:
        """One read-only statement. Raises QueryError with the reason, SqlNotAllowedError for anything else.

        UnreadableFileError where it was a stored file that could not be read, so that another choice of days may do.
        """
        ...

    def unload(self, sql: str, outputs: Sequence[Output], days: Sequence[Day]) -> None:
        """Replace `days` of each output's table by the rows of a SELECT.

        `sql` has a column `partition_day`, the day of each row. A day without rows is left without files.
        """
        ...

    def write(self, table: ExternalTable, rows: pa.Table, days: Sequence[Day]) -> None:
        """Replace `days` of an external Parquet table by `rows`, which carry a last column `partition_day`."""
        ...

    def stored(self, table: ExternalTable, days: Sequence[Day]) -> dict[Day, StoredDay]:
        """What an external Parquet table holds of `days`; a day without files is left out."""
        ...

    def sample(self, table: ExternalTable, day: Day, rows: int) -> list[dict[str, Any]]:
        """At most so many rows of a day of an external Parquet table, read from a file of it and not by a query."""
        ...

    def keep(self, table: ExternalTable, days: Sequence[Day]) -> None:
        """Says that several statements will read these days, so that their files may be read once for all of them.

        Nothing else depends on it: a statement always sees the files as they are.
        """
        ...

    def delete_unneeded(self, table: ExternalTable, safety_age: timedelta) -> list[StoredObject]:
        """Delete and return files below the table's prefix that no day of it needs, such as those of killed runs.

        Nothing is deleted that a writer has written, or a reader may have planned to read, within `safety_age`.
        """
        ...

    def settle(self, run_id: str, step: str) -> Spent | None:
        """What the queries since the last settling cost, kept as rows of the table `query_costs`; None: no charge."""
        ...


@dataclass(frozen=True)
class Lake:
    """Everything stored, in one deployment."""

    objects: Objects
    catalog: Catalog
    tables: Tables
    engine: Engine
    examined: dict[str, tuple[str, Any]] = field(default_factory=dict, compare=False, repr=False)
    """What the catalog layer found in a raw file, by its key and version, so that one run reads it once."""
    well_formed: dict[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Versions of raw files, by key, that were written or compared here, so that no run reads what it has written."""
    answers: dict[str, tuple[Any, pa.Table]] = field(default_factory=dict, compare=False, repr=False)
    """Results of queries, by their text, with what they were made of, so that one run asks a question once."""

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """A small result as Python values."""
        result: list[dict[str, Any]] = self.engine.query(sql).to_pylist()
        return result
