"""The gaps sensor: missing or failed days become ranged runs, with growing pauses, until it gives up with an alert.

It looks at the days from the first that was ever tried to the newest that was. Newer ones are the schedules'; days
whose raw file is newer than what was made of it are the changes sensor's. What failed for good (a wrong key) is not
repeated until a later run could fetch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

import dagster as dg

from stock_weather_pipeline.automation.history import (
    MAX_ATTEMPTS,
    Attempts,
    PastRun,
    attempts,
    busy_days,
    failed_for_good,
    finished_runs,
    known_days,
)
from stock_weather_pipeline.automation.jobs import job, work_request
from stock_weather_pipeline.automation.sensors.ticks import Tick, utc_now
from stock_weather_pipeline.automation.work import Work, chain_of, missing_work
from stock_weather_pipeline.datasets import PARTITIONED, Dataset
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.opening import open_lake
from stock_weather_pipeline.partitions import contiguous, last_closed_day
from stock_weather_pipeline.settings import Settings
from stock_weather_pipeline.sources.vendors import Vendors

MOST_DAYS_PER_RUN = 400
MOST_RUNS_PER_TICK = 3
_INTERVAL_S = 60


@dataclass
class Gaps:
    """What is open of one dataset: runs to start now, days that wait for their next attempt, days given up.

    `hopeless` are days whose last attempt failed for good, such as for a wrong key; the failed run has told of them.
    """

    due: list[tuple[Work, Attempts]] = field(default_factory=list)
    waiting: list[date] = field(default_factory=list)
    given_up: dict[date, Attempts] = field(default_factory=dict)
    hopeless: dict[date, Attempts] = field(default_factory=dict)


def gaps_sensor(settings: Settings) -> dg.SensorDefinition:
    """Its cursor holds the days it gave up, by dataset, so that one alert is opened for each."""

    @dg.sensor(
        name="gaps",
        jobs=[job(dataset.name) for dataset in PARTITIONED],
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts missing or failed days again, contiguous days as one run, at most "
        f"{MAX_ATTEMPTS} attempts with growing pauses.",
    )
    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return _evaluate(context, settings)

    return tick


def find_gaps(instance: dg.DagsterInstance, lake: Lake, settings: Settings, dataset: Dataset, now: datetime) -> Gaps:
    """What is missing of a dataset, and which of it is to be tried now."""
    assert dataset.partition_set is not None
    there, unfinished = known_days(instance, ("raw", dataset.name))
    closed = last_closed_day(dataset.partition_set, now)
    tried = [day for day in there | unfinished if settings.start_date <= day <= closed]
    if not tried:
        return Gaps()
    days = dataset.partition_set.days(min(tried), max(tried))
    busy = busy_days(instance, dataset, days, now)
    entities = Vendors(settings, settings.polygon_url, settings.open_meteo_url).entities(dataset)
    work = missing_work(instance, lake, dataset, [day for day in days if day not in busy], entities)
    past = finished_runs(instance, chain_of(dataset))
    gaps = Gaps()
    for item in work:
        _sort_in(gaps, instance, _without_changes(instance, item), past, now)
    # A run may have started since; its days would look missing.
    started = busy_days(instance, dataset, [day for item, _ in gaps.due for day in item.days], now)
    gaps.due = [(item, tried) for item, tried in gaps.due if started.isdisjoint(item.days)]
    return gaps


def _evaluate(context: dg.SensorEvaluationContext, settings: Settings) -> dg.SensorResult:
    tick, now, lake = Tick(context), utc_now(), open_lake(settings)
    told: dict[str, list[str]] = json.loads(context.cursor) if context.cursor else {}
    for dataset in PARTITIONED:
        with tick.serving(dataset.name):
            gaps = find_gaps(context.instance, lake, settings, dataset, now)
            tick.requests += [_request(item, tried, settings) for item, tried in gaps.due[:MOST_RUNS_PER_TICK]]
            known = set(told.get(dataset.name, []))
            _give_up(context, settings, lake, dataset, {d: a for d, a in gaps.given_up.items() if str(d) not in known})
            told[dataset.name] = sorted(map(str, gaps.given_up))
            for run_id in {so_far.run_id for so_far in gaps.hopeless.values()}:
                tick.notes.append(f"{dataset.name}: run {run_id} failed for good, which no attempt heals.")
            if gaps.waiting:
                tick.notes.append(f"{dataset.name}: {len(gaps.waiting)} days wait for their next attempt.")
            if gaps.given_up:
                tick.notes.append(f"{dataset.name}: given up {', '.join(told[dataset.name][:10])}.")
    return tick.result(json.dumps(told), ["No day is due."])


def _request(item: Work, tried: Attempts, settings: Settings) -> dg.RunRequest:
    # The failed run makes the key new: Dagster never starts a run key twice.
    return work_request(item, settings, "gaps", tried.failed + 1, tried.run_id or "first")


def _without_changes(instance: dg.DagsterInstance, item: Work) -> Work:
    """Without the days that never got past raw: the changes sensor carries those on."""
    if item.chain[0][0] not in ("catalog", "parquet"):
        return item
    _, unfinished = known_days(instance, item.chain[0])
    return replace(item, days=tuple(day for day in item.days if day in unfinished))


def _sort_in(gaps: Gaps, instance: dg.DagsterInstance, item: Work, past: Sequence[PastRun], now: datetime) -> None:
    assert item.dataset.partition_set is not None
    tried = {day: attempts(past, item, day) for day in item.days}
    last_runs = {so_far.run_id for so_far in tried.values() if so_far.run_id is not None}
    for_good = {run_id for run_id in last_runs if failed_for_good(instance, past, item, run_id)}
    due = []
    for day, so_far in tried.items():
        if so_far.failed >= MAX_ATTEMPTS:
            gaps.given_up[day] = so_far
        elif so_far.run_id in for_good:
            gaps.hopeless[day] = so_far
        elif so_far.is_due(now):
            due.append(day)
        else:
            gaps.waiting.append(day)
    for group in contiguous(due, item.dataset.partition_set):
        for start in range(0, len(group), MOST_DAYS_PER_RUN):
            days = tuple(group[start : start + MOST_DAYS_PER_RUN])
            most = max((tried[day] for day in days), key=lambda so_far: so_far.failed)
            gaps.due.append((replace(item, days=days), most))


def _give_up(
    context: dg.SensorEvaluationContext, settings: Settings, lake: Lake, dataset: Dataset, days: dict[date, Attempts]
) -> None:
    """One alert for each gapless range of days given up since the last tick."""
    from stock_weather_pipeline.automation.alerts import Alert, open_alert

    assert dataset.partition_set is not None
    for group in contiguous(days, dataset.partition_set):
        last = days[group[-1]]
        shown = str(group[0]) if len(group) == 1 else f"{group[0]} to {group[-1]}"
        text = (
            f"{dataset.name} of {shown} failed {last.failed} times and is not tried again: see run {last.run_id}, "
            "then materialize these days in the UI or with `stock-weather run`."
        )
        context.log.error(text)
        alert = Alert(
            problem=f"gap/{dataset.name}/{group[0]}",
            title=f"{dataset.name}: given up {shown}",
            text=text,
            days=tuple(group),
            run_id=last.run_id,
            dataset=dataset.name,
        )
        open_alert(settings, lake, alert)
