"""Prod tables as Iceberg through PyIceberg. The same code on a SQLite catalog and a folder, and on Glue and S3.

Only storage of tables belongs here; which rows may be published is decided by the layers.
"""

from __future__ import annotations

import random
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, TypeAlias

from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.datasets.contract import ColumnType
from stock_weather_pipeline.errors import ConflictError, LakeError
from stock_weather_pipeline.lake.iceberg_maintenance import (
    PUBLISH_ID,
    PUBLISHED_AT_MS,
    FileError,
    ListFiles,
    maintain,
)
from stock_weather_pipeline.lake.interfaces import Contents, Publish, Scope, TableMaintenance
from stock_weather_pipeline.lake.layout import PROD_DATABASE

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog import Catalog
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot
    from pyiceberg.table.sorting import SortOrder

_ATTEMPTS = 8

_PROPERTIES = {
    # A month of the whole market has about 230,000 rows sorted by ticker; small groups let a query skip to one ticker.
    "write.parquet.row-group-limit": "20000",
    # Prices hardly repeat, and a dictionary of them is larger than they are; that of a group's tickers is smaller.
    "write.parquet.dict-size-bytes": "16384",
    # A query for one ticker unpacks the pages it is on; a dictionary that is too large is given up after so many rows.
    "write.parquet.page-size-bytes": "32768",
    "write.parquet.page-row-limit": "1024",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    # PyIceberg would repeat a commit without asking again what is to be published; `publish` does.
    "commit.retry.num-retries": "0",
}


@dataclass(frozen=True)
class Storage:
    """What differs between the places a catalog and its files can be."""

    open_catalog: Callable[[], Catalog]
    """Called on first use."""
    errors: Callable[[], AbstractContextManager[None]]
    """Turns errors of the catalog in a block into LakeError, ConflictError where another writer is at it."""
    file_error: FileError
    list_files: ListFiles
    location: Callable[[str], str | None] = lambda _name: None
    """Where the files of a new table go; None leaves it to the catalog."""


class IcebergTables:
    """The prod database in a PyIceberg catalog."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._opened: Catalog | None = None
        self._planned: dict[str, tuple[str, list[str]]] = {}

    @property
    def _catalog(self) -> Catalog:
        if self._opened is None:
            self._opened = self._storage.open_catalog()
        return self._opened

    def exists(self, name: str) -> bool:
        with self._storage.errors():
            return (PROD_DATABASE, name) in self._catalog.list_tables(PROD_DATABASE)

    def names(self) -> list[str]:
        with self._storage.errors():
            return sorted(identifier[-1] for identifier in self._catalog.list_tables(PROD_DATABASE))

    def ensure(self, dataset: Dataset) -> None:
        if not self.exists(dataset.name):
            self._create(dataset)

    def publish(
        self,
        dataset: Dataset,
        change: Callable[[], tuple[pa.Table | Iterator[pa.Table], Scope] | None],
        summary: Mapping[str, str],
    ) -> Publish | None:
        from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException

        publish_id = uuid.uuid4().hex
        properties = {**summary, PUBLISH_ID: publish_id}
        by_key = [(name, "ascending") for name in dataset.key]
        for attempt in range(1, _ATTEMPTS + 1):
            table = self._load(dataset.name) or self._create(dataset)
            # Decided after loading: whatever another writer commits from here on makes the commit below fail.
            wanted = change()
            if wanted is None:
                return None
            rows, scope = wanted
            try:
                with self._storage.errors():
                    # The usual case: the days are new. Not `catch_warnings`: it would undo other threads' filters.
                    warnings.filterwarnings("ignore", message="Delete operation did not match any records")
                    with table.transaction() as transaction:
                        replaced: BooleanExpression | None = _filter(dataset, scope)
                        for part in rows if isinstance(rows, Iterator) else [rows]:
                            stored = part.cast(dataset.arrow_schema).sort_by(by_key)
                            if replaced is not None:
                                transaction.overwrite(stored, replaced, snapshot_properties=properties)
                            else:
                                transaction.append(stored, snapshot_properties=properties)
                            replaced = None
            except (CommitFailedException, ConflictError) as error:
                if attempt == _ATTEMPTS:
                    raise ConflictError(
                        f"{PROD_DATABASE}.{dataset.name} was changed by other runs {attempt} times while this one "
                        "tried to publish; nothing was published. Let the others finish, then run again."
                    ) from error
                time.sleep(random.uniform(0, 0.1 * 2**attempt))
            except CommitStateUnknownException as error:
                raise LakeError(
                    f"Whether {PROD_DATABASE}.{dataset.name} was published is unknown ({error}): run again."
                ) from error
            except OSError as error:
                raise self._storage.file_error("write", table.location(), error) from error
            else:
                # Another writer may have published on top of it already.
                return next(p for p in self.history(dataset.name) if p.summary.get(PUBLISH_ID) == publish_id)
        raise AssertionError("unreachable")

    def read(self, dataset: Dataset, scope: Scope) -> pa.Table:
        table = self._load(dataset.name)
        if table is None or table.current_snapshot() is None:
            return dataset.arrow_schema.empty_table()
        return table.scan(row_filter=_filter(dataset, scope)).to_arrow().cast(dataset.arrow_schema)

    def contents(self, name: str) -> Contents | None:
        from pyiceberg.types import IntegerType, LongType, StringType

        table = self._load(name)
        if table is None:
            return None
        renamed = {str(LongType()): "BIGINT", str(StringType()): "VARCHAR", str(IntegerType()): "INTEGER"}
        kinds = ((field.name, str(field.field_type)) for field in table.schema().fields)
        return Contents(self._files(name, table), [(name, renamed.get(kind, kind.upper())) for name, kind in kinds])

    def _files(self, name: str, table: Table) -> list[str]:
        snapshot = table.current_snapshot()
        if snapshot is None:
            return []
        # What a snapshot holds never changes; only the one asked for last is kept.
        planned_for, files = self._planned.get(name, ("", []))
        if planned_for != snapshot.manifest_list:
            files = [task.file.file_path for task in table.scan().plan_files()]
            self._planned[name] = (snapshot.manifest_list, files)
        return files

    def snapshots(self, name: str) -> list[SnapshotRow]:
        table = self._load(name)
        return snapshot_rows(table) if table is not None else []

    def current(self, name: str) -> Publish | None:
        history = self.history(name)
        return history[0] if history else None

    def history(self, name: str) -> list[Publish]:
        table = self._load(name)
        publishes: dict[str, Publish] = {}
        for snapshot in _lineage(table):
            # One publish may be two snapshots, a delete and an append; the newest is its state.
            publish = _publish(snapshot)
            publishes.setdefault(publish.summary.get(PUBLISH_ID, str(publish.snapshot_id)), publish)
        return list(publishes.values())

    def rollback(self, name: str) -> tuple[Publish, Publish | None]:
        from pyiceberg.exceptions import CommitFailedException

        history = self.history(name)
        if not history:
            raise LakeError(f"{PROD_DATABASE}.{name} has never been published: there is nothing to roll back.")
        if len(history) == 1:
            raise LakeError(f"{PROD_DATABASE}.{name} has only one publish: there is none before it to go back to.")
        table = self._load(name)
        assert table is not None
        try:
            with self._storage.errors():
                table.manage_snapshots().rollback_to_snapshot(history[1].snapshot_id).commit()
        except CommitFailedException as error:
            raise ConflictError(
                f"{PROD_DATABASE}.{name} was changed by another run at this moment; nothing was rolled back. "
                "Let it finish, then try again."
            ) from error
        return history[0], history[1]

    def maintain(self, dataset: Dataset, keep_publishes: int, safety_age: timedelta) -> TableMaintenance | None:
        with self._storage.errors():
            return maintain(
                lambda: self._load(dataset.name),
                dataset,
                keep_publishes,
                safety_age,
                self._storage.list_files,
                self._storage.file_error,
            )

    def _load(self, name: str) -> Table | None:
        from pyiceberg.exceptions import NoSuchTableError, ValidationError

        try:
            with self._storage.errors():
                return self._catalog.load_table((PROD_DATABASE, name))
        except NoSuchTableError:
            return None
        except (ValidationError, ValueError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise LakeError(
                f"The metadata of {PROD_DATABASE}.{name} cannot be read ({reason}): it is damaged or from a newer "
                "version. Upgrade stock_weather_pipeline, or restore the prod folder and its catalog from a backup."
            ) from error

    def _create(self, dataset: Dataset) -> Table:
        schema = iceberg_schema(dataset)
        try:
            with self._storage.errors():
                return self._catalog.create_table_if_not_exists(
                    (PROD_DATABASE, dataset.name),
                    schema=schema,
                    location=self._storage.location(dataset.name),
                    partition_spec=_partition_spec(dataset, schema),
                    sort_order=_sort_order(dataset, schema),
                    properties={**_PROPERTIES, "comment": dataset.description},
                )
        except OSError as error:
            raise self._storage.file_error("create", f"{PROD_DATABASE}.{dataset.name}", error) from error


def iceberg_schema(dataset: Dataset) -> Schema:
    """The contract as an Iceberg schema, comments included."""
    from pyiceberg import types
    from pyiceberg.schema import Schema

    kinds = {
        ColumnType.STRING: types.StringType(),
        ColumnType.DOUBLE: types.DoubleType(),
        ColumnType.INTEGER: types.IntegerType(),
        ColumnType.BIGINT: types.LongType(),
        ColumnType.BOOLEAN: types.BooleanType(),
        ColumnType.DATE: types.DateType(),
        ColumnType.TIMESTAMP: types.TimestampType(),
    }
    return Schema(
        *(
            types.NestedField(n, column.name, kinds[column.type], required=not column.nullable, doc=column.described)
            for n, column in enumerate(dataset.columns, start=1)
        )
    )


def _partition_spec(dataset: Dataset, schema: Schema) -> PartitionSpec:
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.transforms import MonthTransform

    if dataset.day_column is None:
        return PartitionSpec()
    source = schema.find_field(dataset.day_column).field_id
    return PartitionSpec(PartitionField(source, 1000, MonthTransform(), f"{dataset.day_column}_month"))


def _sort_order(dataset: Dataset, schema: Schema) -> SortOrder:
    from pyiceberg.table.sorting import SortField, SortOrder
    from pyiceberg.transforms import IdentityTransform

    return SortOrder(
        *(SortField(source_id=schema.find_field(name).field_id, transform=IdentityTransform()) for name in dataset.key)
    )


def _filter(dataset: Dataset, scope: Scope) -> BooleanExpression:
    from pyiceberg.expressions import AlwaysTrue, And, EqualTo, GreaterThanOrEqual, LessThan, Or, Reference
    from pyiceberg.expressions.literals import literal

    days: list[BooleanExpression] = []
    for first, last in scope.day_ranges:
        assert dataset.day_column is not None
        low, high = dataset.bounds(first, last)
        column = Reference(dataset.day_column)
        days.append(
            And(
                GreaterThanOrEqual(term=column, value=literal(low.isoformat())),
                LessThan(term=column, value=literal(high.isoformat())),
            )
        )
    # Given all at once, so that they nest in halves: thousands of ranges must not exhaust the stack.
    expression = Or(*days) if len(days) > 1 else days[0] if days else AlwaysTrue()
    if scope.equals is not None:
        name, value = scope.equals
        expression = And(expression, EqualTo(term=Reference(name), value=literal(value)))
    return expression


SnapshotRow: TypeAlias = tuple[str, int, int | None, str, str, dict[str, str]]
"""When committed, id, parent's id, operation, manifest list, summary: a row of Athena's `"table$snapshots"`."""


def snapshot_rows(table: Table) -> list[SnapshotRow]:
    """Every kept snapshot, oldest first."""
    found: list[SnapshotRow] = []
    for snapshot in table.snapshots():
        summary = snapshot.summary
        found.append(
            (
                datetime.fromtimestamp(snapshot.timestamp_ms / 1000, timezone.utc).isoformat(),
                snapshot.snapshot_id,
                snapshot.parent_snapshot_id,
                summary.operation.value if summary is not None else "",
                snapshot.manifest_list,
                dict(summary.additional_properties) if summary is not None else {},
            )
        )
    return found


def _lineage(table: Table | None) -> list[Snapshot]:
    snapshots: list[Snapshot] = []
    snapshot = table.current_snapshot() if table is not None else None
    while table is not None and snapshot is not None:
        snapshots.append(snapshot)
        parent = snapshot.parent_snapshot_id
        snapshot = table.snapshot_by_id(parent) if parent is not None else None
    return snapshots


def _publish(snapshot: Snapshot) -> Publish:
    summary = dict(snapshot.summary.additional_properties) if snapshot.summary is not None else {}
    # A compaction is the state of the publish whose rows it holds, and says when that was.
    committed_at = datetime.fromtimestamp(int(summary.get(PUBLISHED_AT_MS, snapshot.timestamp_ms)) / 1000, timezone.utc)
    return Publish(snapshot.snapshot_id, committed_at, summary)
