"""An event log in SQLite whose bookkeeping is cheap: one engine per shard, and events stored in batches.

Dagster's own class builds an engine for every statement and commits every event on its own, twice: 14 ms for each
partition and asset. This one stores the same rows in the same tables, save for the planned rows of asset checks (see
`_store_asset_check_evaluation_planned` and `_update_asset_check_evaluation`); it is the writing that differs. It leans
on private parts of Dagster, so it compares their source with what it was written against and steps back to the stock
behaviour, saying so, when they have changed. Queries belong to Dagster's class; none is repeated here.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import inspect
import json
import logging
import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import accumulate
from operator import itemgetter
from pathlib import Path
from typing import Any

from dagster import AssetMaterialization, DagsterEventType
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationPlanned,
)
from dagster._core.definitions.metadata import MetadataFieldSerializer
from dagster._core.events import (
    ASSET_CHECK_EVENTS,
    ASSET_EVENTS,
    AssetMaterializationPlannedData,
    StepMaterializationData,
)
from dagster._core.events.log import EventLogEntry
from dagster._core.instance.runs.run_domain import RunDomain
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
    SqliteEventLogStorageWatchdog,
)
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from dagster_shared.serdes.serdes import _WHITELIST_MAP, serialize_value
from sqlalchemy import and_, select
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.event import listen

_LOG = logging.getLogger(__name__)

# One batch for five years of days.
BATCH_SIZE = 2000
# Each open engine holds a file; a webserver that shows many runs must not hold them all.
_MOST_ENGINES = 32

_BATCHED = {
    DagsterEventType.ASSET_MATERIALIZATION,
    DagsterEventType.ASSET_OBSERVATION,
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
}

_WRITTEN_AGAINST = "186ab73a07e84804edb3aaf783609a06a057ac174d5f567ae2ae8c9556c2a935"

# Everything private that this class replaces, repeats or counts on.
_INTERNALS = (
    EventLogStorage.store_event_batch,
    vars(EventLogStorage)["supports_partition_subset_in_asset_materialization_planned_events"].fget,
    RunDomain.get_materialization_planned_events_for_asset,
    SqlEventLogStorage.index_transaction,
    SqlEventLogStorage._event_to_row,
    SqlEventLogStorage._event_insert_timestamp,
    SqlEventLogStorage._has_asset_key_col_on_connection,
    SqlEventLogStorage._store_asset_event,
    SqlEventLogStorage._get_asset_entry_values,
    SqlEventLogStorage._store_asset_event_tags,
    SqlEventLogStorage._tags_for_asset_event,
    SqlEventLogStorage.store_asset_check_event,
    SqlEventLogStorage._store_asset_check_evaluation_planned,
    SqlEventLogStorage._update_asset_check_evaluation,
    SqlEventLogStorage.delete_events,
    SqlEventLogStorage._wipe_index,
    SqlEventLogStorage.reindex_events,
    SqlEventLogStorage.reindex_assets,
    SqliteEventLogStorage.__init__,
    SqliteEventLogStorage._initdb,
    SqliteEventLogStorage._connect,
    SqliteEventLogStorage.run_connection,
    SqliteEventLogStorage.index_connection,
    SqliteEventLogStorage.path_for_shard,
    SqliteEventLogStorage.conn_string_for_shard,
    SqliteEventLogStorage.has_table,
    SqliteEventLogStorage.store_event,
    SqliteEventLogStorage.upgrade,
    SqliteEventLogStorage.wipe,
    SqliteEventLogStorage.watch,
    SqliteEventLogStorage.dispose,
    SqliteEventLogStorageWatchdog.__init__,
    SqliteEventLogStorageWatchdog.on_modified,
    MetadataFieldSerializer.pack,
    serialize_value,
)


def internals_digest() -> str:
    """A digest of the Dagster code that this class replaces, repeats or counts on, and of the tables it writes."""
    sources = [inspect.getsource(method) for method in _INTERNALS]
    tables = [repr(table.columns.keys()) for table in (SqlEventLogStorageTable, AssetCheckExecutionsTable)]
    batched_alike = sorted(kind.value for kind in _BATCHED & (ASSET_EVENTS | ASSET_CHECK_EVENTS))
    return hashlib.sha256("".join([*sources, *tables, *batched_alike]).encode()).hexdigest()


@functools.cache
def _internals_are(written_against: str) -> bool:
    """Whether Dagster is what batching was written for; if not, says so, once per process."""
    if internals_digest() == written_against:
        return True
    _LOG.warning(
        "Dagster's SqliteEventLogStorage is not the one that batching was written for: events are stored one by one, "
        "as Dagster does. Backfills are slow until stock_weather_pipeline is brought up to date."
    )
    return False


class BatchedSqliteEventLogStorage(SqliteEventLogStorage):
    """Configured in dagster.yaml under `event_log_storage`, with `base_dir`: the folder of the shards.

    Safe to share between threads (one transaction at a time, as in Dagster's class) and between processes. A batch is
    in a shard as a whole or not at all; a process killed between the two commits leaves it in the run's shard only, so
    that partitions count as missing, never as materialized, until a run stores them again.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._known = _internals_are(_WRITTEN_AGAINST)
        self._engines: OrderedDict[str, tuple[Engine, int]] = OrderedDict()
        self._process_id = os.getpid()
        # Re-entrant, and a shard that the thread already holds is handed out again: that is what puts everything that
        # Dagster's methods write for a batch into one transaction.
        self._lock = threading.RLock()
        self._held: dict[str, Connection] = {}
        self._seen_in_schema: set[str] = set()
        if self._known:
            # Dagster hands over batches only when this is set; run workers inherit it.
            os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(BATCH_SIZE))
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> BatchedSqliteEventLogStorage:
        return cls(inst_data=inst_data, **config_value)

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        """One process at a time: two that make the same shard at once would both write its schema version."""
        with Path(self._base_dir, ".init.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            super()._initdb(engine, for_index_shard)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        if not self._known:
            with super()._connect(shard) as connection:
                yield connection
            return
        with self._lock:
            if shard in self._held:
                yield self._held[shard]
                return
            with self._engine(shard).connect() as connection, connection.begin():
                self._held[shard] = connection
                try:
                    yield connection
                finally:
                    del self._held[shard]

    def _engine(self, shard: str) -> Engine:
        """The shard's engine, made anew when its file was deleted or replaced by another process."""
        if self._process_id != os.getpid():
            self._abandon_engines()
        path = self.path_for_shard(shard)
        inode = _inode(path)
        engine, made_for = self._engines.pop(shard, (None, 0))
        if engine is not None and made_for != inode:
            engine.dispose()
            engine = None
            self._initialized_dbs.discard(shard)
        if engine is None:
            engine = create_engine(
                self.conn_string_for_shard(shard),
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
            )
            listen(engine, "connect", _write_without_waiting)
        if inode == 0 or shard not in self._initialized_dbs:
            self._initdb(engine)
            self._initialized_dbs.add(shard)
        self._engines[shard] = (engine, inode or _inode(path))
        while len(self._engines) > _MOST_ENGINES:
            _, (oldest, _) = self._engines.popitem(last=False)
            oldest.dispose()
        if inode == 0 and shard == INDEX_SHARD_NAME:
            # As Dagster does with an index that it makes: without these marks it reads by slower, older ways.
            self.reindex_events()
            self.reindex_assets()
        return engine

    def has_table(self, table_name: str) -> bool:
        """Tables are never dropped: one that was seen is not looked up for every event."""
        if not self._known:
            return super().has_table(table_name)
        if table_name not in self._seen_in_schema and super().has_table(table_name):
            self._seen_in_schema.add(table_name)
        return table_name in self._seen_in_schema

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        if not self._known:
            return super()._has_asset_key_col_on_connection(conn, column_name)
        column = f"{AssetKeyTable.name}.{column_name}"
        if column not in self._seen_in_schema and super()._has_asset_key_col_on_connection(conn, column_name):
            self._seen_in_schema.add(column)
        return column in self._seen_in_schema

    @property
    def supports_partition_subset_in_asset_materialization_planned_events(self) -> bool:
        """A range is planned by one event for each asset, of which `_rows` makes the rows of all its partitions."""
        return self._known

    def store_event(self, event: EventLogEntry) -> None:
        if self._known and _planned_partitions(event) is not None:
            self.store_event_batch([event])
            return
        super().store_event(event)
        self._wake_watchers(event.run_id)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events of one run in one transaction per shard; anything unusual is stored as Dagster does."""
        types = {event.dagster_event_type for event in events}
        runs = {event.run_id for event in events}
        if not self._known or not types <= _BATCHED or len(runs) != 1:
            super().store_event_batch(events)
            return
        run_id = runs.pop()
        rows_of_events = self._rows(events)
        rows = [row for of_event in rows_of_events for row in of_event]
        if not rows:
            return
        last_of_event = [n - 1 for n in accumulate(map(len, rows_of_events))]
        # The inner one commits first: an index that fails takes the run's rows back with it, since Dagster then stores
        # every event again, one by one.
        with self.index_transaction() as index, self.run_connection(run_id) as run:
            _insert(run, rows)
            first_id = _insert(index, rows)
            self._index(index, events, [first_id + n for n in last_of_event])
        self._wake_watchers(run_id)

    def _rows(self, events: Iterable[EventLogEntry]) -> list[list[_Row]]:
        """The rows of each event. Of events that differ in a few words only one is serialized, with marks for these."""
        rows: list[list[_Row]] = []
        marked: EventLogEntry | None = None
        pattern: dict[str, Any] = {}
        for event in events:
            partitions = _planned_partitions(event)
            materialization = _materialization(event)
            if partitions is not None:
                rows.append(self._planned_rows(event, partitions))
            elif materialization is None:
                rows.append([_row(self._event_to_row(event))])
            else:
                of_any_partition = _marked(event, materialization)
                if marked != of_any_partition:
                    marked, pattern = of_any_partition, self._event_to_row(of_any_partition)
                rows.append([self._materialized_row(event, materialization, pattern)])
        return rows

    def _planned_rows(self, event: EventLogEntry, partitions: Iterable[str]) -> list[_Row]:
        """The rows of an event that plans several partitions, for which Dagster would have one event each."""
        dagster_event = event.get_dagster_event()
        assert dagster_event.asset_key is not None
        planned = AssetMaterializationPlannedData(dagster_event.asset_key, partition=_ANY_PARTITION)
        row = self._event_to_row(event._replace(dagster_event=dagster_event._replace(event_specific_data=planned)))
        return [
            _row({**row, "event": row["event"].replace(_PARTITION_MARK, json.dumps(key)), "partition": key})
            for key in partitions
        ]

    def _materialized_row(
        self, event: EventLogEntry, materialization: AssetMaterialization, pattern: Mapping[str, Any]
    ) -> _Row:
        entries = MetadataFieldSerializer().pack(materialization.metadata, _WHITELIST_MAP, "")
        text = (
            pattern["event"]
            .replace(_PARTITION_MARK, json.dumps(materialization.partition))
            .replace(_TIME_MARK, f'"timestamp": {json.dumps(event.timestamp)}')
            # The last: what a user's metadata say is not searched for marks.
            .replace(_METADATA_MARK, f'"metadata_entries": {json.dumps(entries, sort_keys=True)}')
        )
        timestamp = self._event_insert_timestamp(event)  # type: ignore[no-untyped-call]
        return _row({**pattern, "event": text, "partition": materialization.partition, "timestamp": timestamp})

    def _index(self, connection: Connection, events: Sequence[EventLogEntry], ids: Sequence[int]) -> None:
        of_assets = []
        for event, event_id in zip(events, ids, strict=True):
            if event.dagster_event_type is DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
                self.store_asset_check_event(event, event_id)
            else:
                of_assets.append((event, event_id))
        if not of_assets:
            return
        self._store_asset_event_tags(connection, *zip(*of_assets, strict=True))
        # The asset's own row keeps its newest event only, so the last of each asset and type is enough.
        newest = {(event.get_dagster_event().asset_key, event.dagster_event_type): (event, n) for event, n in of_assets}
        for event, event_id in sorted(newest.values(), key=itemgetter(1)):
            self._store_asset_event(connection, event, event_id)

    def _wake_watchers(self, run_id: str) -> None:
        """Touch the run's file: the kept connection writes beside it, where Dagster's file watcher does not look."""
        if not self._known:
            return
        # A run that was wiped meanwhile has no file, and nobody to wake.
        with suppress(FileNotFoundError):
            os.utime(self.path_for_shard(run_id))

    def _store_asset_check_evaluation_planned(self, event: EventLogEntry, event_id: int | None) -> None:
        """One planned row for a range, without a partition, as its evaluation will have none.

        Dagster plans a row for every partition, each with the whole event; a ranged run evaluates a check once, so that
        all of them would stand as never executed.
        """
        planned = event.get_dagster_event().event_specific_data
        if (
            self._known
            and isinstance(planned, AssetCheckEvaluationPlanned)
            and planned.partitions_subset is not None
            and len(planned.partitions_subset) > 1
        ):
            whole = event.get_dagster_event()._replace(
                event_specific_data=AssetCheckEvaluationPlanned(
                    asset_key=planned.asset_key, check_name=planned.check_name
                )
            )
            event = event._replace(dagster_event=whole)
        super()._store_asset_check_evaluation_planned(event, event_id)

    def _update_asset_check_evaluation(self, event: EventLogEntry, event_id: int | None) -> None:
        """Settle the row planned for one partition, also when the check itself has no partitions.

        Dagster plans a row for the run's partition and looks for one without: the planned row would stand for ever.
        """
        if not self._known:
            super()._update_asset_check_evaluation(event, event_id)
            return
        with self.index_connection() as connection:
            evaluation = event.get_dagster_event().event_specific_data
            if isinstance(evaluation, AssetCheckEvaluation) and evaluation.partition is None:
                table = AssetCheckExecutionsTable.c
                of_run = and_(
                    table.asset_key == evaluation.asset_key.to_string(),
                    table.check_name == evaluation.check_name,
                    table.run_id == event.run_id,
                )
                rows = connection.execute(select(table.id, table.execution_status).where(of_run)).all()
                # Several rows are the partitions of a range that Dagster's own class has planned.
                if [status for _, status in rows] == [AssetCheckExecutionRecordStatus.PLANNED.value]:
                    connection.execute(
                        AssetCheckExecutionsTable.update().where(table.id == rows[0][0]).values(partition=None)
                    )
            super()._update_asset_check_evaluation(event, event_id)

    def upgrade(self) -> None:
        super().upgrade()
        self._seen_in_schema.clear()

    def wipe(self) -> None:
        with self._lock:
            self._dispose_engines()
            super().wipe()

    def dispose(self) -> None:
        super().dispose()
        with self._lock:
            self._dispose_engines()

    def _dispose_engines(self) -> None:
        for engine, _ in self._engines.values():
            engine.dispose()
        self._engines.clear()
        self._initialized_dbs.clear()
        self._seen_in_schema.clear()

    def _abandon_engines(self) -> None:
        """SQLite's connections must not cross a fork: the child forgets its parent's without closing them."""
        for engine, _ in self._engines.values():
            engine.dispose(close=False)
        self._engines.clear()
        self._process_id = os.getpid()


def _write_without_waiting(connection: sqlite3.Connection, _record: object) -> None:
    """A commit does not wait for the disk: Dagster's shards have a write-ahead log, so a power cut takes back the last
    commits and damages nothing, and a killed process loses none."""
    connection.execute("PRAGMA synchronous = NORMAL")


def _inode(path: str) -> int:
    """0 when there is no such file."""
    try:
        return Path(path).stat().st_ino
    except FileNotFoundError:
        return 0


_Row = tuple[Any, ...]
_COLUMNS = ("run_id", "event", "dagster_event_type", "timestamp", "step_key", "asset_key", "partition")
# Stand for what differs in the text of an event. The first is nobody's key, and within a text its quotes and those of
# the others would be escaped.
_ANY_PARTITION = "any partition 1c3b5f0e"
_PARTITION_MARK = f'"{_ANY_PARTITION}"'
_TIME_MARK = '"timestamp": 0.0'
_METADATA_MARK = '"metadata_entries": []'


def _row(values: Mapping[str, Any]) -> _Row:
    """A row in the order of _COLUMNS, as SQLAlchemy would store it."""
    row = {**values, "timestamp": values["timestamp"].isoformat(" ", "microseconds")}
    return tuple(row[name] for name in _COLUMNS)


def _materialization(event: EventLogEntry) -> AssetMaterialization | None:
    data = event.dagster_event.event_specific_data if event.dagster_event else None
    return data.materialization if isinstance(data, StepMaterializationData) else None


def _marked(event: EventLogEntry, materialization: AssetMaterialization) -> EventLogEntry:
    """The event without what differs between the partitions of a step."""
    of_any = materialization._replace(partition=_ANY_PARTITION, metadata={})
    dagster_event = event.get_dagster_event()
    data = dagster_event.step_materialization_data._replace(materialization=of_any)
    return event._replace(timestamp=0.0, dagster_event=dagster_event._replace(event_specific_data=data))


def _planned_partitions(event: EventLogEntry) -> Iterable[str] | None:
    """The partitions of an event that plans several at once, None for any other event."""
    planned = event.dagster_event.event_specific_data if event.dagster_event else None
    if not isinstance(planned, AssetMaterializationPlannedData) or planned.partitions_subset is None:
        return None
    return planned.partitions_subset.get_partition_keys()


def _insert(connection: Connection, rows: Sequence[_Row]) -> int:
    """Insert many rows, past SQLAlchemy, which takes longer than SQLite. Returns the id of the first, others follow.

    The first row takes SQLite's write lock, so that the ids after it are free.
    """
    names, marks = ", ".join(_COLUMNS), ", ".join("?" * len(_COLUMNS))
    insert = f"INSERT INTO {SqlEventLogStorageTable.name} ({names}) VALUES ({marks})"
    first = int(connection.exec_driver_sql(f"{insert} RETURNING id", rows[0]).scalar_one())
    if len(rows) > 1:
        connection.exec_driver_sql(insert, list(rows[1:]))
    return first
