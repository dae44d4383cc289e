"""The batched event log answers as Dagster's own, survives what its shards can meet, and steps back when it must."""

import inspect
import logging
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pytest
from dagster import DagsterInstance
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.definitions.partitions.subset import DefaultPartitionsSubset
from dagster._core.event_api import AssetRecordsFilter, EventRecordsFilter, PartitionKeyFilter, RunShardedEventsCursor
from dagster._core.events import AssetObservationData
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from stock_weather_pipeline.automation import event_log
from stock_weather_pipeline.automation.event_log import BatchedSqliteEventLogStorage
from stock_weather_pipeline_tests.automation.event_log_runs import (
    DAYS,
    die_at_commit,
    exit_code,
    in_a_child,
    instance_in,
    materialization,
    run_days,
    run_ids,
    run_report,
    statuses,
    step_start,
    told,
    write_batches,
)

PRICES, INDICATORS, REPORT = dg.AssetKey("prices"), dg.AssetKey("indicators"), dg.AssetKey("report")
ASSETS = (PRICES, INDICATORS, REPORT)
POSITIVE, COMPLETE = dg.AssetCheckKey(PRICES, "positive"), dg.AssetCheckKey(PRICES, "complete")
FRESH = dg.AssetCheckKey(REPORT, "fresh")
Kind = dg.DagsterEventType
Status = AssetCheckExecutionRecordStatus
EVALUATED = {Status.SUCCEEDED, Status.FAILED}


LONG_AGO = datetime(2000, 1, 1, tzinfo=timezone.utc)


class Pair(NamedTuple):
    batched: DagsterInstance
    stock: DagsterInstance


def _history(instance: DagsterInstance) -> None:
    """A backfill, one whose last days fail in part, a day again, an asset without partitions, events without a run."""
    run_days(instance, "2024-01-01", "2024-01-05")
    run_days(instance, "2024-01-04", "2024-01-07", bad="2024-01-06")
    run_days(instance, "2024-01-07")
    run_report(instance)
    instance.report_runless_asset_event(dg.AssetMaterialization("prices", partition="2024-01-08", tags={"by": "hand"}))
    instance.report_runless_asset_event(dg.AssetObservation("report", tags={"seen": "today"}))
    instance.report_runless_asset_event(dg.AssetCheckEvaluation(asset_key=REPORT, check_name="fresh", passed=True))


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    made = tmp_path_factory.mktemp("batched"), tmp_path_factory.mktemp("stock")
    for home, batched in zip(made, (True, False), strict=True):
        with instance_in(home, batched=batched) as instance:
            _history(instance)
    return made


@pytest.fixture(scope="module")
def pair(homes: tuple[Path, Path]) -> Iterator[Pair]:
    with instance_in(homes[0]) as batched, instance_in(homes[1], batched=False) as stock:
        yield Pair(batched, stock)


@pytest.fixture
def own_pair(homes: tuple[Path, Path], tmp_path: Path) -> Iterator[Pair]:
    """Copies of both histories, to be changed."""
    for home, name in zip(homes, ("batched", "stock"), strict=True):
        shutil.copytree(home, tmp_path / name)
    with instance_in(tmp_path / "batched") as batched, instance_in(tmp_path / "stock", batched=False) as stock:
        yield Pair(batched, stock)


Query = Callable[[DagsterInstance, Any], object]


def _pages(fetch: Callable[[str | None], Any]) -> list[Any]:
    """Every page of three, as the UI turns them."""
    pages: list[Any] = []
    cursor = None
    while not pages or pages[-1].has_more:
        pages.append(fetch(cursor))
        cursor = pages[-1].cursor
    return pages


def _of_runs(ask: Callable[[Any, str], object]) -> Query:
    return lambda instance, log: [ask(log, run_id) for run_id in run_ids(instance)]


def _of_assets(ask: Callable[[Any, dg.AssetKey], object]) -> Query:
    return lambda _, log: [ask(log, key) for key in ASSETS]


RUN_QUERIES: dict[str, Query] = {
    "all records of a run": _of_runs(lambda log, run: log.get_records_for_run(run)),
    "logs of a run": _of_runs(lambda log, run: log.get_logs_for_run(run)),
    "logs of a run, newest first": _of_runs(lambda log, run: log.get_logs_for_run(run, ascending=False, limit=7)),
    "a run page by page": _of_runs(lambda log, run: _pages(lambda c: log.get_records_for_run(run, cursor=c, limit=3))),
    "a run backwards by page": _of_runs(
        lambda log, run: _pages(lambda c: log.get_records_for_run(run, cursor=c, limit=3, ascending=False))
    ),
    "events of one type of a run": _of_runs(
        lambda log, run: log.get_records_for_run(run, of_type=Kind.ASSET_MATERIALIZATION, limit=4)
    ),
    "events of several types of a run": _of_runs(
        lambda log, run: log.get_logs_for_run(run, of_type={Kind.ASSET_OBSERVATION, Kind.STEP_FAILURE})
    ),
    "planned events of a run": _of_runs(
        lambda log, run: log.get_logs_for_run(
            run, of_type={Kind.ASSET_MATERIALIZATION_PLANNED, Kind.ASSET_CHECK_EVALUATION_PLANNED}
        )
    ),
    "partitions of a run": _of_runs(
        lambda log, run: {
            key.to_user_string(): sorted(map(str, days)) for key, days in log.get_asset_partitions_for_run(run).items()
        }
    ),
    "counts of a run": _of_runs(
        lambda log, run: [
            getattr(log.get_stats_for_run(run), count)
            for count in ("steps_succeeded", "steps_failed", "materializations", "expectations")
        ]
    ),
    "steps of a run": _of_runs(
        lambda log, run: [(step.step_key, step.status, step.attempts) for step in log.get_step_stats_for_run(run)]
    ),
    "all logs by id": lambda _, log: log.get_logs_for_all_runs_by_log_id(limit=500),
    "highest id": lambda _, log: log.get_maximum_record_id(),
    "run status changes": lambda _, log: [
        log.fetch_run_status_changes(kind, limit=10, ascending=ascending)
        for kind in (Kind.RUN_START, Kind.RUN_SUCCESS, Kind.RUN_FAILURE)
        for ascending in (True, False)
    ],
    "events of all runs by type": lambda _, log: log.get_event_records(
        EventRecordsFilter(Kind.STEP_SUCCESS, after_cursor=RunShardedEventsCursor(0, LONG_AGO)), limit=20
    ),
}

ASSET_QUERIES: dict[str, Query] = {
    "asset records": lambda _, log: log.get_asset_records(list(ASSETS)),
    "known assets": lambda _, log: (log.all_asset_keys(), [log.has_asset_key(key) for key in ASSETS]),
    "assets by prefix": lambda _, log: log.get_asset_keys(prefix=["in"], limit=2),
    "latest materializations": lambda _, log: log.get_latest_materialization_events(list(ASSETS)),
    "materializations": _of_assets(lambda log, key: log.fetch_materializations(key, limit=50)),
    "materializations page by page": _of_assets(
        lambda log, key: _pages(lambda c: log.fetch_materializations(key, limit=3, cursor=c, ascending=True))
    ),
    "materializations of partitions": _of_assets(
        lambda log, key: log.fetch_materializations(
            AssetRecordsFilter(key, asset_partitions=["2024-01-04", "2024-01-07"], after_storage_id=20), limit=50
        )
    ),
    "observations": _of_assets(lambda log, key: log.fetch_observations(key, limit=50)),
    "event records by kind": _of_assets(
        lambda log, key: [
            log.get_event_records(EventRecordsFilter(kind, key), limit=9, ascending=ascending)
            for kind in (Kind.ASSET_MATERIALIZATION, Kind.ASSET_OBSERVATION, Kind.ASSET_MATERIALIZATION_PLANNED)
            for ascending in (True, False)
        ]
    ),
    "event summaries": _of_assets(
        lambda log, key: log.get_asset_event_summary_records(Kind.ASSET_MATERIALIZATION, asset_key=key)
    ),
    "tags": _of_assets(lambda log, key: sorted(map(str, log.get_event_tags_for_asset(key)))),
    "tags by value": lambda _, log: sorted(
        map(str, log.get_event_tags_for_asset(PRICES, {DATA_VERSION_TAG: "partial"}))
    ),
    "tags of an event": lambda _, log: [log.get_event_tags_for_asset(PRICES, filter_event_id=n) for n in range(60)],
    "latest tags by partition": _of_assets(
        lambda log, key: log.get_latest_tags_by_partition(key, Kind.ASSET_MATERIALIZATION, [DATA_VERSION_TAG])
    ),
    "materialized partitions": _of_assets(
        lambda log, key: [
            sorted(map(str, log.get_materialized_partitions(key))),
            sorted(map(str, log.get_materialized_partitions(key, after_cursor=25, before_cursor=60))),
        ]
    ),
    "latest id by partition": _of_assets(
        lambda log, key: [
            log.get_latest_storage_id_by_partition(key, kind)
            for kind in (Kind.ASSET_MATERIALIZATION, Kind.ASSET_OBSERVATION, Kind.ASSET_MATERIALIZATION_PLANNED)
        ]
    ),
    "attempts without materialization": _of_assets(
        lambda log, key: log.get_latest_asset_partition_materialization_attempts_without_materializations(key)
    ),
    "latest plan": _of_assets(
        lambda log, key: [log.get_latest_planned_materialization_info(key, day) for day in (None, "2024-01-06")]
    ),
    "changed partitions": _of_assets(
        lambda log, key: sorted(log.get_updated_data_version_partitions(key, DAYS.get_partition_keys(), 30))
    ),
    "partition status": lambda instance, _: [statuses(instance, name) for name in ("prices", "indicators")],
    "evaluations of checks": lambda _, log: [
        (record.status, record.partition, record.event, record.run_id)
        for key in (POSITIVE, COMPLETE, FRESH)
        for record in log.get_asset_check_execution_history(key, 50, status=EVALUATED)
    ],
    "check of one partition": lambda _, log: [
        (record.status, record.partition, record.event)
        for record in log.get_latest_asset_check_execution_by_key(
            [COMPLETE], partition_filter=PartitionKeyFilter(key="2024-01-07")
        ).values()
    ],
    "latest evaluation of checks": lambda _, log: [
        (record.status, record.partition, record.event)
        for record in log.get_latest_asset_check_execution_by_key([POSITIVE, COMPLETE, FRESH]).values()
    ],
    "summary of a check without partitions": lambda _, log: [
        (record.last_check_execution_record and record.last_check_execution_record.event, record.last_run_id)
        for record in log.get_asset_check_summary_records([FRESH]).values()
    ],
    "planned checks in the index": lambda _, log: log.get_event_records(
        EventRecordsFilter(Kind.ASSET_CHECK_EVALUATION_PLANNED)
    ),
}


@pytest.mark.parametrize("query", [*RUN_QUERIES.values(), *ASSET_QUERIES.values()], ids=[*RUN_QUERIES, *ASSET_QUERIES])
def test_answers_as_dagsters_own_event_log(pair: Pair, query: Query) -> None:
    batched, stock = (told(instance, query(instance, instance.event_log_storage)) for instance in pair)
    assert batched == stock


def test_the_history_that_is_compared_holds_what_matters(pair: Pair) -> None:
    seen = statuses(pair.batched)
    assert seen == dict.fromkeys(["01", "02", "03", "04", "05", "07", "08"], "MATERIALIZED") | {"06": "FAILED"}
    assert pair.batched.event_log_storage.get_event_tags_for_asset(PRICES, {DATA_VERSION_TAG: "partial"})
    assert not any("2024" in line and "<time>" in line for line in told(pair.batched, datetime.now(timezone.utc)))


def test_the_tables_hold_the_same_rows(pair: Pair) -> None:
    def rows(instance: DagsterInstance, table: str, columns: str) -> list[str]:
        index = Path(instance.root_directory) / "history" / "runs" / "index.db"
        connection = sqlite3.connect(index)
        try:
            return told(instance, connection.execute(f"select {columns} from {table} order by id").fetchall())
        finally:
            connection.close()

    for table, columns in (
        ("event_logs", "id, run_id, dagster_event_type, step_key, asset_key, partition"),
        ("asset_keys", "id, asset_key, last_run_id, wipe_timestamp, tags"),
        ("asset_event_tags", "id, event_id, asset_key, key, value"),
        ("secondary_indexes", "name"),
    ):
        batched, stock = (rows(instance, table, columns) for instance in pair)
        assert batched == stock


def test_an_event_is_stored_as_the_same_text_as_by_dagster(tmp_path: Path) -> None:
    """Marks that stand for what differs are never taken from, or found in, what users write."""
    event_of = partial(materialization, "run")
    values: list[dict[str, Any]] = [
        {},
        {"rows": 1, "share": 1.0, "whole": True, "none": None, "path": dg.MetadataValue.url("file:///a=b")},
        {"text": '"partition": "any partition 1c3b5f0e", "metadata_entries": [], "timestamp": 0.0', "ü": "é\\"},
    ]
    events = [_with(event_of(day), metadata) for metadata in values for day in ('a "quoted" ü', "2024-01-01")]
    events += [event_of("2024-01-01", "report"), event_of("2024-01-02")]
    with instance_in(tmp_path) as instance:
        storage: Any = instance.event_log_storage
        storage.store_event_batch(events)
        expected = [storage._event_to_row(event) for event in events]
        with storage.run_connection("run") as connection:
            rows = connection.exec_driver_sql("select event, partition from event_logs order by id").all()
    assert rows == [(row["event"], row["partition"]) for row in expected]


def _with(event: EventLogEntry, metadata: dict[str, Any]) -> EventLogEntry:
    """The materialization with other metadata."""
    dagster_event = event.get_dagster_event()
    data = dagster_event.step_materialization_data
    changed = data._replace(materialization=data.materialization.with_metadata(metadata))
    return event._replace(dagster_event=dagster_event._replace(event_specific_data=changed))


def _change_wipe_asset(instance: DagsterInstance) -> None:
    instance.wipe_assets([PRICES])
    run_days(instance, "2024-01-02", "2024-01-03")


def _change_delete_run(instance: DagsterInstance) -> None:
    instance.delete_run(run_ids(instance)[0])


def _change_wipe_all(instance: DagsterInstance) -> None:
    instance.wipe()
    run_days(instance, "2024-01-01", "2024-01-02")


@pytest.mark.parametrize("change", [_change_wipe_asset, _change_delete_run, _change_wipe_all])
def test_answers_alike_after_something_was_deleted(own_pair: Pair, change: Callable[[DagsterInstance], None]) -> None:
    for instance in own_pair:
        change(instance)
    for name, query in (RUN_QUERIES | ASSET_QUERIES).items():
        batched, stock = (told(instance, query(instance, instance.event_log_storage)) for instance in own_pair)
        assert batched == stock, name


def _check_rows(instance: DagsterInstance, key: dg.AssetCheckKey) -> list[list[tuple[Status, str | None]]]:
    """Of each run, oldest first: the status and partition of the check's rows."""
    records = instance.event_log_storage.get_asset_check_execution_history(key, 100)
    of_runs = [[(r.status, r.partition) for r in records if r.run_id == run] for run in run_ids(instance)]
    return [rows for rows in of_runs if rows]


def test_a_check_has_one_row_per_run_which_its_evaluation_settles(pair: Pair) -> None:
    whole, failed = (Status.SUCCEEDED, None), (Status.PLANNED, None)
    assert _check_rows(pair.batched, POSITIVE) == [[whole], [failed], [whole]]
    assert _check_rows(pair.batched, COMPLETE) == [[whole], [failed], [(Status.SUCCEEDED, "2024-01-07")]]
    # What it is for: Dagster's own leaves a planned row of every partition standing.
    assert [len(rows) for rows in _check_rows(pair.stock, POSITIVE)] == [6, 4, 2]


def _check_event(run_id: str, kind: Kind, data: Any) -> EventLogEntry:
    entry = step_start(run_id)
    event = entry.get_dagster_event()._replace(event_type_value=kind.value, event_specific_data=data)
    return entry._replace(dagster_event=event)


@pytest.mark.parametrize("evaluated", [None, "2024-01-02"])
def test_a_range_planned_by_dagsters_own_class_is_settled_as_by_dagster(tmp_path: Path, evaluated: str | None) -> None:
    found = []
    for folder, kind in (("batched", BatchedSqliteEventLogStorage), ("stock", SqliteEventLogStorage)):
        days = DefaultPartitionsSubset({"2024-01-01", "2024-01-02"})
        planned = AssetCheckEvaluationPlanned(asset_key=PRICES, check_name="positive", partitions_subset=days)
        evaluation = dg.AssetCheckEvaluation(
            asset_key=PRICES, check_name="positive", passed=True, metadata={}, partition=evaluated
        )
        SqliteEventLogStorage(str(tmp_path / folder)).store_event(
            _check_event("run", Kind.ASSET_CHECK_EVALUATION_PLANNED, planned)
        )
        log = kind(str(tmp_path / folder))
        for _ in range(2):
            log.store_event(_check_event("run", Kind.ASSET_CHECK_EVALUATION, evaluation))
        found.append([(r.id, r.status, r.partition) for r in log.get_asset_check_execution_history(POSITIVE, 9)])
        log.dispose()
    assert found[0] == found[1]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[BatchedSqliteEventLogStorage]:
    storage = BatchedSqliteEventLogStorage(str(tmp_path / "runs"))
    yield storage
    storage.dispose()


def _batch(run_id: str, count: int) -> list[EventLogEntry]:
    return [materialization(run_id, f"{run_id}-{n}") for n in range(count)]


def test_a_batch_of_anything_else_is_stored_event_by_event(log: BatchedSqliteEventLogStorage) -> None:
    log.store_event_batch([])
    log.store_event_batch([materialization("one", "a"), step_start("one"), materialization("two", "b")])
    assert [entry.dagster_event_type for entry in log.get_logs_for_run("one")] == [
        Kind.ASSET_MATERIALIZATION,
        Kind.STEP_START,
    ]
    assert len(log.get_logs_for_run("two")) == 1
    assert log.get_materialized_partitions(PRICES) == {"a", "b"}


def test_the_asset_keeps_the_newest_of_several_kinds_in_one_batch(tmp_path: Path) -> None:
    first, last = materialization("run", "a"), materialization("run", "a")
    observed = last._replace(
        timestamp=last.timestamp - 1000,
        dagster_event=last.get_dagster_event()._replace(
            event_type_value=Kind.ASSET_OBSERVATION.value,
            event_specific_data=AssetObservationData(dg.AssetObservation("prices", partition="a")),
        ),
    )
    found = []
    for folder, kind in (("batched", BatchedSqliteEventLogStorage), ("stock", SqliteEventLogStorage)):
        log = kind(str(tmp_path / folder))
        log.store_event_batch([first, observed, last, observed])
        log.dispose()
        connection = sqlite3.connect(tmp_path / folder / "index.db")
        columns = "last_materialization, last_materialization_timestamp"
        found.append(connection.execute(f"select {columns} from asset_keys").fetchall())
        connection.close()
    assert found[0] == found[1]


def test_a_batch_whose_index_fails_leaves_nothing_in_the_run(
    log: BatchedSqliteEventLogStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(log, "_store_asset_event", full)
        with pytest.raises(sqlite3.OperationalError, match="disk is full"):
            log.store_event_batch(_batch("run", 3))
    assert log.get_logs_for_run("run") == []
    log.store_event_batch(_batch("run", 3))
    assert len(log.get_logs_for_run("run")) == 3
    assert len(log.get_materialized_partitions(PRICES)) == 3


def test_two_processes_that_write_batches_lose_nothing(tmp_path: Path) -> None:
    writers = [in_a_child(partial(write_batches, tmp_path, run)) for run in ("one", "two")]
    assert [exit_code(writer) for writer in writers] == [0, 0]
    log = BatchedSqliteEventLogStorage(str(tmp_path))
    expected = {f"{run}-{batch}-{n}" for run in ("one", "two") for batch in range(8) for n in range(50)}
    assert log.get_materialized_partitions(PRICES) == expected
    records = log.fetch_materializations(PRICES, limit=1000).records
    tagged = log.get_latest_tags_by_partition(PRICES, Kind.ASSET_MATERIALIZATION, [DATA_VERSION_TAG])
    assert len(records) == len(expected)
    # The ids that the batch foresaw are those of its own rows, not of the other process.
    assert {day: tags[DATA_VERSION_TAG] for day, tags in tagged.items()} == {day: day for day in expected}
    assert [len(log.get_logs_for_run(run)) for run in ("one", "two")] == [408, 408]
    log.dispose()


@pytest.mark.parametrize("commits", [0, 1])
def test_a_process_killed_within_a_batch_leaves_it_whole_or_not_at_all(tmp_path: Path, commits: int) -> None:
    dying = in_a_child(lambda: die_at_commit(tmp_path, commits))
    assert exit_code(dying) == -signal.SIGKILL
    with instance_in(tmp_path) as instance:
        killed = run_ids(instance)[0]
        stored = instance.event_log_storage.get_logs_for_run(killed, of_type=Kind.ASSET_MATERIALIZATION)
        assert len(stored) == 4 * commits
        assert "MATERIALIZED" not in statuses(instance).values()
        run_days(instance, "2024-01-01", "2024-01-04")
        assert [day for day, status in statuses(instance).items() if status == "MATERIALIZED"] == [
            "01", "02", "03", "04",
        ]  # fmt: skip


def test_many_threads_share_it(log: BatchedSqliteEventLogStorage) -> None:
    failures: list[BaseException] = []

    def work(run_id: str) -> None:
        try:
            for _ in range(5):
                log.store_event(step_start(run_id))
                log.store_event_batch(_batch(run_id, 10))
                assert log.get_materialized_partitions(PRICES)
        except Exception as error:  # noqa: BLE001 - told by the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"run-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [len(log.get_logs_for_run(f"run-{n}")) for n in range(4)] == [55] * 4
    assert len(log.get_materialized_partitions(PRICES)) == 40


def test_it_keeps_few_runs_open(log: BatchedSqliteEventLogStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "_MOST_ENGINES", 3)
    for n in range(6):
        log.store_event_batch(_batch(f"run-{n}", 2))
    assert set(log._engines) <= {"index", "run-5", "run-4", "run-3"}
    assert len(log._engines) == 3
    assert [len(log.get_logs_for_run(f"run-{n}")) for n in range(6)] == [2] * 6


def test_commits_do_not_wait_for_the_disk_and_a_power_cut_damages_nothing(log: BatchedSqliteEventLogStorage) -> None:
    with log.run_connection("one") as run, log.index_connection() as index:
        for connection in (run, index):
            connection.exec_driver_sql("SELECT count(*) FROM event_logs").scalar()  # the mode is known after a read
            modes = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
            assert modes == ["wal", 1]  # 1 is NORMAL, which is safe with a write-ahead log only


def test_shards_deleted_by_another_process_are_made_again(log: BatchedSqliteEventLogStorage, tmp_path: Path) -> None:
    log.store_event_batch(_batch("run", 2))
    for path in (tmp_path / "runs").iterdir():
        path.unlink()
    assert log.get_logs_for_run("run") == []
    assert log.get_materialized_partitions(PRICES) == set()
    log.store_event_batch(_batch("run", 3))
    assert len(log.get_logs_for_run("run")) == 3
    assert len(log.get_materialized_partitions(PRICES)) == 3
    fresh = BatchedSqliteEventLogStorage(str(tmp_path / "fresh"))
    connections = [sqlite3.connect(tmp_path / folder / "index.db") for folder in ("runs", "fresh")]
    marks = [c.execute("select name from secondary_indexes order by name").fetchall() for c in connections]
    assert marks[0] == marks[1] != []
    for connection in connections:
        connection.close()
    fresh.dispose()


def test_shards_replaced_by_another_process_are_read_anew(log: BatchedSqliteEventLogStorage, tmp_path: Path) -> None:
    other = BatchedSqliteEventLogStorage(str(tmp_path / "other"))
    other.store_event_batch(_batch("run", 5))
    other.dispose()
    log.store_event_batch(_batch("run", 2))
    for path in (tmp_path / "runs").iterdir():
        path.unlink()
    shutil.copytree(tmp_path / "other", tmp_path / "runs", dirs_exist_ok=True)
    assert len(log.get_logs_for_run("run")) == 5
    assert len(log.get_materialized_partitions(PRICES)) == 5


def test_it_can_be_used_after_a_wipe_and_after_disposal(log: BatchedSqliteEventLogStorage, tmp_path: Path) -> None:
    log.store_event_batch(_batch("run", 2))
    log.wipe()
    assert list(log.get_asset_keys()) == []
    assert log.get_all_run_ids() == []
    log.store_event_batch(_batch("run", 4))
    log.dispose()
    left = [".init.lock", "index.db", "run.db"]
    assert [path.name for path in sorted((tmp_path / "runs").iterdir())] == left, "no write-ahead log is left open"
    assert len(log.get_logs_for_run("run")) == 4


def test_a_forked_process_does_not_use_its_parents_connections(
    log: BatchedSqliteEventLogStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.store_event_batch(_batch("run", 2))
    parents = {engine for engine, _ in log._engines.values()}
    monkeypatch.setattr(os, "getpid", lambda: -1)
    log.store_event_batch(_batch("run", 2))
    assert parents.isdisjoint(engine for engine, _ in log._engines.values())
    assert len(log.get_logs_for_run("run")) == 4


def _until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_a_watcher_in_another_process_hears_every_event_until_it_stops(
    log: BatchedSqliteEventLogStorage, tmp_path: Path
) -> None:
    log.store_event(step_start("run"))
    watching = BatchedSqliteEventLogStorage(str(tmp_path / "runs"))
    heard: list[EventLogEntry] = []

    def hear(entry: EventLogEntry, _cursor: str) -> None:
        heard.append(entry)

    watching.watch("run", None, hear)
    log.store_event(step_start("run"))
    assert _until(lambda: len(heard) == 2)
    log.store_event_batch(_batch("run", 3))
    assert _until(lambda: len(heard) == 5)
    watching.end_watch("run", hear)
    log.store_event(step_start("run"))
    watching.dispose()
    assert len(heard) == 5


def test_only_a_write_wakes_a_watcher(log: BatchedSqliteEventLogStorage) -> None:
    log.store_event(step_start("run"))
    touched = Path(log.path_for_shard("run")).stat().st_mtime_ns
    log.get_logs_for_run("run")
    assert Path(log.path_for_shard("run")).stat().st_mtime_ns == touched


def test_when_dagster_changed_it_says_so_once_and_stores_as_dagster_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(event_log, "_WRITTEN_AGAINST", f"another Dagster, {tmp_path}")
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE", raising=False)
    with caplog.at_level(logging.WARNING, logger=event_log.__name__), instance_in(tmp_path) as instance:
        second = BatchedSqliteEventLogStorage(str(tmp_path / "second"))
        assert "DAGSTER_EVENT_BATCH_SIZE" not in os.environ
        run_days(instance, "2024-01-01", "2024-01-02")
        second.store_event_batch(_batch("run", 2))
        log = instance.event_log_storage
        assert isinstance(log, BatchedSqliteEventLogStorage)
        assert (dict(log._engines), dict(second._engines)) == ({}, {})
        assert sorted(map(str, [r[1] for r in _check_rows(instance, POSITIVE)[0]])) == [
            "2024-01-01", "2024-01-02", "None",
        ]  # fmt: skip
        assert statuses(instance)["02"] == "MATERIALIZED"
        instance.wipe()
        second.dispose()
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "Dagster's SqliteEventLogStorage is not the one that batching was written for"
    ]


def test_this_dagster_is_the_one_it_was_written_against() -> None:
    assert event_log.internals_digest() == event_log._WRITTEN_AGAINST


def test_the_guard_covers_every_method_of_dagster_that_is_replaced() -> None:
    own = {name for name, value in vars(BatchedSqliteEventLogStorage).items() if callable(value)}
    replaced = {name for name in own if hasattr(SqliteEventLogStorage, name)} - {"from_config_value", "store_event"}
    guarded = {method.__name__ for method in event_log._INTERNALS}
    assert replaced <= guarded


@pytest.mark.parametrize("method", event_log._INTERNALS, ids=lambda method: method.__qualname__)
def test_a_change_of_any_guarded_method_changes_the_digest(
    method: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = inspect.getsource

    def changed(asked: Callable[..., Any]) -> str:
        return source(asked) + ("# changed" if asked is method else "")

    monkeypatch.setattr(inspect, "getsource", changed)
    assert event_log.internals_digest() != event_log._WRITTEN_AGAINST
