"""What the instance's run records say about days: which are being worked on, and how often they were tried in vain.

Read from Dagster's own records on every tick, so that nothing is forgotten when a cursor is lost. Starts nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING

from stock_weather_pipeline.automation.jobs import ENTITIES_TAG, JOB_ASSETS, entities_text
from stock_weather_pipeline.automation.work import Key, Work, chain_of
from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.partitions import days_of_keys

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun
    from dagster._core.storage.dagster_run import RunRecord

PAUSES = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6))
"""How long to wait after the first, second, third failed attempt."""
MAX_ATTEMPTS = len(PAUSES) + 1

# A run that was killed together with its process stays in progress for ever.
_ABANDONED_AFTER = timedelta(days=1)
_NEVER_LAUNCHED_AFTER = timedelta(hours=1)
# Months of daily runs.
_RECORDS_READ = 1000


@dataclass(frozen=True)
class PastRun:
    """A run of some assets over a range of days. `ended_at` is None while it is in progress."""

    run_id: str
    assets: frozenset[Key]
    first: date | None
    last: date | None
    succeeded: bool
    ended_at: datetime | None
    entities: str | None

    def covers(self, day: date) -> bool:
        return self.first is not None and self.last is not None and self.first <= day <= self.last


@dataclass(frozen=True)
class Attempts:
    """What was tried for a day in vain: how often, when the last one ended, and which run it was."""

    failed: int = 0
    ended_at: datetime | None = None
    run_id: str | None = None

    def is_due(self, now: datetime) -> bool:
        return self.ended_at is None or now >= self.ended_at + PAUSES[min(self.failed, len(PAUSES)) - 1]


def runs_in_progress(instance: DagsterInstance, assets: Collection[Key], now: datetime) -> list[PastRun]:
    """Queued and running runs that touch one of `assets`, whoever started them."""
    from dagster import DagsterRunStatus, RunsFilter
    from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

    records = instance.get_run_records(RunsFilter(statuses=list(NOT_FINISHED_STATUSES)))
    found = []
    for record in records:
        launched = record.dagster_run.status is not DagsterRunStatus.NOT_STARTED
        limit = _ABANDONED_AFTER if launched else _NEVER_LAUNCHED_AFTER
        if now - _aware(record.create_timestamp) < limit and not assets_of(record.dagster_run).isdisjoint(assets):
            found.append(_past_run(record))
    return found


def busy_days(instance: DagsterInstance, dataset: Dataset, days: Sequence[date], now: datetime) -> set[date]:
    """Those of `days` that a queued or running run of the dataset covers."""
    runs = runs_in_progress(instance, chain_of(dataset), now)
    return {day for day in days if any(run.covers(day) for run in runs)}


def finished_runs(instance: DagsterInstance, assets: Collection[Key]) -> list[PastRun]:
    """The newest finished runs that touch one of `assets`, newest first."""
    from dagster import RunsFilter
    from dagster._core.storage.dagster_run import FINISHED_STATUSES

    records = instance.get_run_records(RunsFilter(statuses=list(FINISHED_STATUSES)), limit=_RECORDS_READ)
    return [_past_run(record) for record in records if not assets_of(record.dagster_run).isdisjoint(assets)]


def attempts(runs: Sequence[PastRun], work: Work, day: date) -> Attempts:
    """How often the day was tried in vain, by runs of at least the work's assets, since the last one that succeeded.

    For a day that lacks some entities, every run that asked for them was in vain: the day still lacks them.
    """
    wanted = set(work.chain)
    asked = entities_text(work.entities) if work.entities else None
    failed: list[PastRun] = []
    for run in runs:
        if not run.covers(day) or not wanted <= run.assets or (asked is not None and run.entities != asked):
            continue
        if run.succeeded and asked is None:
            break
        failed.append(run)
    return _in_vain(failed)


def failed_for_good(instance: DagsterInstance, runs: Sequence[PastRun], work: Work, run_id: str) -> bool:
    """Whether a run failed in a way that never heals by itself, and nothing has been put right since.

    That something was put right (the key, the plan) shows in a later run that could fetch other days. `runs` are newest
    first.
    """
    from dagster import DagsterEventType

    from stock_weather_pipeline.automation.running import is_permanent

    later = itertools.takewhile(lambda run: run.run_id != run_id, runs)
    if any(run.succeeded and ("raw", work.dataset.name) in run.assets for run in later):
        return False
    failures = instance.all_logs(run_id, of_type={DagsterEventType.STEP_FAILURE})
    return any(is_permanent(entry.dagster_event) for entry in failures if entry.dagster_event is not None)


def failures_in_a_row(runs: Sequence[PastRun]) -> Attempts:
    """How many of the newest runs failed, up to the last one that succeeded."""
    failed: list[PastRun] = []
    for run in runs:
        if run.succeeded:
            break
        failed.append(run)
    return _in_vain(failed)


def known_days(instance: DagsterInstance, key: Key) -> tuple[set[date], set[date]]:
    """Days of an asset that were ever materialized, and days whose latest attempt has not materialized them."""
    from dagster import AssetKey

    log, asset = instance.event_log_storage, AssetKey(list(key))
    there = log.get_materialized_partitions(asset)
    unfinished = log.get_latest_asset_partition_materialization_attempts_without_materializations(asset)
    return set(days_of_keys(list(there))), set(days_of_keys(list(unfinished)))


def assets_of(run: DagsterRun) -> frozenset[Key]:
    """The assets a run materializes: the selected ones, or all of its job."""
    if run.asset_selection:
        return frozenset((key.path[0], key.path[-1]) for key in run.asset_selection)
    return frozenset(JOB_ASSETS.get(run.job_name, ()))


def _in_vain(failed: Sequence[PastRun]) -> Attempts:
    return Attempts(len(failed), failed[0].ended_at, failed[0].run_id) if failed else Attempts()


def _past_run(record: RunRecord) -> PastRun:
    from dagster import DagsterRunStatus

    run, tags = record.dagster_run, record.dagster_run.tags
    single = tags.get("dagster/partition")
    first = tags.get("dagster/asset_partition_range_start", single)
    last = tags.get("dagster/asset_partition_range_end", single)
    ended_at = (
        datetime.fromtimestamp(record.end_time, timezone.utc) if record.end_time else _aware(record.update_timestamp)
    )
    return PastRun(
        run.run_id,
        assets_of(run),
        date.fromisoformat(first) if first else None,
        date.fromisoformat(last) if last else None,
        run.status is DagsterRunStatus.SUCCESS,
        ended_at if run.is_finished else None,
        tags.get(ENTITIES_TAG),
    )


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
