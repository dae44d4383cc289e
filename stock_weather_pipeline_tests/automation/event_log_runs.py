"""Runs whose events the tests of the event log store: a small asset graph, instances to run it on, child processes.

No test belongs here, and no postponed or parametrized annotations, for Dagster reads them.
"""

import os
import re
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from pprint import pformat
from typing import Any

import dagster as dg
import sqlalchemy
from dagster import DagsterInstance
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.events import DagsterEvent, StepMaterializationData
from dagster._core.events.log import EventLogEntry

from stock_weather_pipeline.automation.event_log import BatchedSqliteEventLogStorage

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-09")
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def _definitions() -> dg.Definitions:
    @dg.asset(
        partitions_def=DAYS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        code_version="1",
        check_specs=[dg.AssetCheckSpec("positive", asset="prices")],
        tags={"layer": "raw"},
    )
    def prices(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
        bad = context.run.tags.get("bad")
        if bad is not None:
            for day in context.partition_keys:
                if day != bad:
                    tags = {DATA_VERSION_TAG: "partial"}
                    context.log_event(dg.AssetMaterialization("prices", partition=day, tags=tags, metadata={"rows": 2}))
            raise dg.Failure(f"{bad} is bad")
        for day in context.partition_keys:
            context.add_asset_metadata({"rows": int(day[-1])}, partition_key=day)
        return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True, metadata={"rows": 3})])

    @dg.asset(deps=[prices], partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run(), code_version="2")
    def indicators(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
        for day in context.partition_keys:
            context.log_event(dg.AssetObservation("indicators", partition=day, tags={DATA_VERSION_TAG: day}))
        return dg.MaterializeResult(data_version=dg.DataVersion("whole"))

    @dg.asset(deps=[indicators], code_version="3", check_specs=[dg.AssetCheckSpec("fresh", asset="report")])
    def report(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
        context.log.info("a message that is no event")
        return dg.MaterializeResult(
            metadata={"pages": 4},
            check_results=[dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)],
        )

    @dg.asset_check(asset=prices, partitions_def=DAYS)
    def complete(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    return dg.Definitions(
        assets=[prices, indicators, report],
        asset_checks=[complete],
        jobs=[
            dg.define_asset_job("daily", dg.AssetSelection.assets("prices", "indicators")),
            dg.define_asset_job("reporting", dg.AssetSelection.assets("report")),
        ],
        executor=dg.in_process_executor,
    )


with warnings.catch_warnings():
    # Ranged runs need a backfill policy, still called beta; a check with partitions is still called a preview.
    warnings.simplefilter("ignore", dg.BetaWarning)
    warnings.simplefilter("ignore", dg.PreviewWarning)
    DEFINITIONS = _definitions()


def instance_in(home: Path, *, batched: bool = True) -> DagsterInstance:
    """The instance of a folder, with the batched event log or Dagster's own."""
    kind = ("stock_weather_pipeline.automation.event_log", "BatchedSqliteEventLogStorage")
    if not batched:
        kind = ("dagster._core.storage.event_log", "SqliteEventLogStorage")
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(
        "telemetry:\n  enabled: false\n"
        f"event_log_storage:\n  module: {kind[0]}\n  class: {kind[1]}\n"
        f"  config:\n    base_dir: {home / 'history' / 'runs'}\n"
    )
    return DagsterInstance.from_config(str(home))


def run_days(instance: DagsterInstance, first: str, last: str | None = None, bad: str | None = None) -> str:
    """One run of the daily job, for a range when `last` is given; the bad day fails it. Returns the run's id."""
    job = DEFINITIONS.resolve_job_def("daily")
    tags = {"bad": bad} if bad else {}
    if last is None:
        key: str | None = first
    else:
        key = None
        tags |= {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    result = job.execute_in_process(
        instance=instance, tags=tags, partition_key=key, run_config=_QUIET, raise_on_error=False
    )
    assert result.success is (bad is None)
    return result.run_id


def run_report(instance: DagsterInstance) -> str:
    job = DEFINITIONS.resolve_job_def("reporting")
    return job.execute_in_process(instance=instance, run_config=_QUIET).run_id


def statuses(instance: DagsterInstance, asset: str = "prices") -> dict[str, str | None]:
    """Day of month to the status that the UI shows."""
    keys = DAYS.get_partition_keys()
    of_days = instance.get_status_by_partition(dg.AssetKey(asset), keys, DAYS) or {}
    return {day[-2:]: None if status is None else status.value for day, status in of_days.items()}


def run_ids(instance: DagsterInstance) -> list[str]:
    return [record.dagster_run.run_id for record in instance.get_run_records(ascending=True)]


def told(instance: DagsterInstance, value: object) -> list[str]:
    """Any answer of a storage as lines, with what differs between two runs of the same thing written alike."""
    text = pformat(value, width=200)
    for number, run_id in enumerate(run_ids(instance)):
        text = text.replace(run_id, f"<run {number}>").replace(run_id[:8], f"<run {number}>")
    text = text.replace(instance.root_directory, "<home>")
    for pattern, written in (
        (r"datetime\.datetime\([^)]*\)+", "<time>"),
        (r"\b1[5-9]\d{8}(\.\d+)?\b", "<time>"),
        (r"\d+(\.\d+)?(e-\d+)?(ms|s)\b", "<duration>"),
        (r"duration_ms=[\d.e-]+", "<duration>"),
        (r"(pid|PID)[=: ]+'?\d+", "<pid>"),
        (r"\(pid: \d+\)|process \d+", "<pid>"),
        (r"\b[a-z]{8}\b(?=')", "<file key>"),
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uuid>"),
        (r"0x[0-9a-f]+", "<address>"),
    ):
        text = re.sub(pattern, written, text)
    return re.sub(r", (?=\w+=)", ",\n", text).splitlines()


def materialization(run_id: str, day: str, asset: str = "prices") -> EventLogEntry:
    return _entry(
        run_id,
        DagsterEvent(
            "ASSET_MATERIALIZATION",
            "job",
            step_key="step",
            event_specific_data=StepMaterializationData(
                dg.AssetMaterialization(asset, partition=day, tags={"dagster/data_version": day})
            ),
        ),
    )


def step_start(run_id: str) -> EventLogEntry:
    return _entry(run_id, DagsterEvent("STEP_START", "job", step_key="step", message="starting"))


def _entry(run_id: str, event: DagsterEvent) -> EventLogEntry:
    return EventLogEntry(  # type: ignore[no-untyped-call]
        error_info=None,
        level=10,
        user_message="",
        run_id=run_id,
        timestamp=time.time(),
        step_key="step",
        job_name="job",
        dagster_event=event,
    )


def in_a_child(work: Callable[[], None]) -> int:
    """Start the work in a forked process, which costs no second import of Dagster; returns its id."""
    with warnings.catch_warnings():
        # Newer Pythons warn of threads; none of the parent's matters to the child, which only stores events.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child != 0:
        return child
    code = 1
    try:
        work()
        code = 0
    except Exception:  # noqa: BLE001 - shown, and told by the exit code
        traceback.print_exc()
    finally:
        os._exit(code)


def exit_code(child: int) -> int:
    """Wait for the child; minus the signal's number when it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def write_batches(home: Path, run_id: str) -> None:
    """8 batches of 50 partitions, all of which must arrive beside those of another process."""
    storage = BatchedSqliteEventLogStorage(str(home))
    for batch in range(8):
        storage.store_event_batch([materialization(run_id, f"{run_id}-{batch}-{n}") for n in range(50)])
        storage.store_event(step_start(run_id))


def die_at_commit(home: Path, commits_allowed: int) -> None:
    """Die in the first batch of materializations, after that many of its two commits."""
    index = BatchedSqliteEventLogStorage._index
    seen: list[int] = []

    def indexing(
        self: BatchedSqliteEventLogStorage, connection: Any, events: Sequence[EventLogEntry], ids: Sequence[int]
    ) -> None:
        index(self, connection, events, ids)
        if events[0].dagster_event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
            sqlalchemy.event.listen(sqlalchemy.Engine, "commit", dying)

    def dying(_connection: object) -> None:
        if len(seen) == commits_allowed:
            os.kill(os.getpid(), signal.SIGKILL)
        seen.append(1)

    BatchedSqliteEventLogStorage._index = indexing  # type: ignore[method-assign]
    with instance_in(home) as instance:
        run_days(instance, "2024-01-01", "2024-01-04")
