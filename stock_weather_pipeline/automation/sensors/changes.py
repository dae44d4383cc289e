"""The changes sensor: days whose raw file has other bytes than what was typed flow on, as ranged runs below raw.

It does not matter how the file changed: fetched again by the revisions sensor or by hand, or arrived in the landing
zone. A day whose bytes are the same starts nothing. Each change of a day that had been typed is recorded as an
observation of its raw partition: what, from, to.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import dagster as dg

from stock_weather_pipeline.automation.history import busy_days, known_days
from stock_weather_pipeline.automation.jobs import job, work_request
from stock_weather_pipeline.automation.sensors.ticks import Tick, utc_now
from stock_weather_pipeline.automation.work import Work, chain_of
from stock_weather_pipeline.datasets import PARTITIONED, Dataset
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import superseded_key
from stock_weather_pipeline.lake.opening import open_lake
from stock_weather_pipeline.partitions import contiguous, last_closed_day, partition_key
from stock_weather_pipeline.settings import Settings

MOST_DAYS_PER_TICK = 200
_INTERVAL_S = 30


@dataclass(frozen=True)
class Change:
    """A day whose raw bytes are not those that were typed. `from_sha256` is None when the day was never typed."""

    day: date
    from_sha256: str | None
    to_sha256: str
    run_id: str


@dataclass
class Changes:
    """What one tick found of a dataset, and up to which event of the log it has judged everything."""

    days: list[Change] = field(default_factory=list)
    judged_up_to: int = 0


def changes_sensor(settings: Settings) -> dg.SensorDefinition:
    """Its cursor holds, by dataset, the event up to which changes were judged; without it they are judged again."""

    @dg.sensor(
        name="changes",
        jobs=[job(dataset.name) for dataset in PARTITIONED],
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Days whose raw file changed flow on to catalog, parquet, prod and the views.",
    )
    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return _evaluate(context, settings)

    return tick


def find_changes(
    instance: dg.DagsterInstance, dataset: Dataset, start: date, judged_up_to: int, now: datetime
) -> Changes:
    """The days whose newest raw file differs from what was typed, at most MOST_DAYS_PER_TICK of them looked at."""
    assert dataset.partition_set is not None
    closed = last_closed_day(dataset.partition_set, now)
    log = instance.event_log_storage
    raw = log.get_latest_storage_id_by_partition(
        dg.AssetKey(["raw", dataset.name]), dg.DagsterEventType.ASSET_MATERIALIZATION, after_cursor=judged_up_to or None
    )
    newer = {date.fromisoformat(key): storage_id for key, storage_id in raw.items()}
    # A file replaced while its day was being typed has an event older than the typing's; the catalog's event is from
    # before the file was read, so it is the one to compare with.
    read_at = [
        log.get_latest_storage_id_by_partition(
            dg.AssetKey([layer, dataset.name]), dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        for layer in ("catalog", "parquet")
    ]
    typed_at = {date.fromisoformat(key): min(ids[key] for ids in read_at) for key in read_at[0].keys() & read_at[1]}
    newer = {day: storage_id for day, storage_id in newer.items() if storage_id > typed_at.get(day, 0)}
    busy = busy_days(instance, dataset, list(newer), now)
    # A later attempt that failed is the gaps sensor's to repeat.
    failed = set().union(*(known_days(instance, (layer, dataset.name))[1] for layer in ("catalog", "parquet")))
    # Days that may not be judged yet hold the cursor back.
    waiting = {day for day in newer if day in busy or day > closed}
    candidates = sorted(
        (day for day in newer if day not in waiting and day not in failed and day >= start), key=newer.__getitem__
    )
    judged, postponed = candidates[:MOST_DAYS_PER_TICK], candidates[MOST_DAYS_PER_TICK:]
    found = [change for day in judged if (change := _change(instance, dataset, day, typed_at.get(day))) is not None]
    unjudged = [newer[day] for day in (*waiting, *postponed, *(change.day for change in found))]
    return Changes(found, min(unjudged) - 1 if unjudged else max(raw.values(), default=judged_up_to))


def _evaluate(context: dg.SensorEvaluationContext, settings: Settings) -> dg.SensorResult:
    tick, now, lake = Tick(context), utc_now(), open_lake(settings)
    judged: dict[str, int] = json.loads(context.cursor) if context.cursor else {}
    for dataset in PARTITIONED:
        with tick.serving(dataset.name):
            changes = find_changes(context.instance, dataset, settings.start_date, judged.get(dataset.name, 0), now)
            _add_requests(tick, settings, lake, dataset, changes.days)
            judged[dataset.name] = changes.judged_up_to
    return tick.result(json.dumps(judged), ["No raw file has changed."])


def _add_requests(tick: Tick, settings: Settings, lake: Lake, dataset: Dataset, changes: Sequence[Change]) -> None:
    assert dataset.partition_set is not None
    by_day = {change.day: change for change in changes}
    for group in contiguous(by_day, dataset.partition_set):
        group_changes = [by_day[day] for day in group]
        work = Work(dataset, tuple(group), chain_of(dataset)[1:])
        request = work_request(work, settings, "changes", 1, _digest(group_changes))
        # A request made before, whose run left no trace in the log, must not be recorded twice.
        if tick.context.instance.get_runs_count(dg.RunsFilter(tags={"dagster/run_key": str(request.run_key)})):
            continue
        tick.requests.append(request)
        tick.observations += [_observation(lake, dataset, change) for change in group_changes if change.from_sha256]


def _change(instance: dg.DagsterInstance, dataset: Dataset, day: date, typed_at: int | None) -> Change | None:
    newest = _raw_version(instance, dataset, day, None)
    assert newest is not None
    before = _raw_version(instance, dataset, day, typed_at) if typed_at is not None else None
    if before is not None and before[0] == newest[0]:
        return None
    return Change(day, before[0] if before else None, newest[0], newest[1])


def _raw_version(
    instance: dg.DagsterInstance, dataset: Dataset, day: date, before_event: int | None
) -> tuple[str, str] | None:
    """SHA-256 of the day's raw file as recorded by its newest materialization before an event, and its run."""
    wanted = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey(["raw", dataset.name]),
        asset_partitions=[partition_key(day)],
        before_storage_id=before_event,
    )
    records = instance.fetch_materializations(wanted, limit=1).records
    materialization = records[0].asset_materialization if records else None
    if materialization is None:
        return None
    sha256: Any = materialization.metadata.get("sha256")
    return (str(sha256.value) if sha256 is not None else "", records[0].run_id)


def _observation(lake: Lake, dataset: Dataset, change: Change) -> dg.AssetObservation:
    superseded = superseded_key(dataset, change.day, change.from_sha256 or "")
    return dg.AssetObservation(
        asset_key=["raw", dataset.name],
        partition=partition_key(change.day),
        description=f"{dataset.name} of {change.day} was revised.",
        metadata={
            "revised": True,
            "from_sha256": change.from_sha256 or "",
            "to_sha256": change.to_sha256,
            "superseded_file": dg.MetadataValue.url(lake.objects.uri(superseded)),
            "changed_by_run": dg.MetadataValue.dagster_run(change.run_id),
        },
    )


def _digest(changes: Sequence[Change]) -> str:
    import hashlib

    listed = "".join(f"{change.day} {change.run_id} {change.from_sha256} {change.to_sha256}\n" for change in changes)
    return hashlib.sha256(listed.encode()).hexdigest()[:16]
