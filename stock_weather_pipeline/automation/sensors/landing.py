"""The landing sensor: objects that arrived without Dagster are handed to a run that takes them into raw.

A tick lists a bounded number of objects and says which have settled; reading, merging and moving them is the run's work
(`layers.landing`). The days a run touched are carried on by the changes sensor.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import dagster as dg

from stock_weather_pipeline.automation.history import failures_in_a_row, finished_runs, runs_in_progress
from stock_weather_pipeline.automation.jobs import ATTEMPT_TAG, DATASET_TAG, STARTED_BY_TAG, job, landing_job
from stock_weather_pipeline.automation.sensors.ticks import Tick, utc_now
from stock_weather_pipeline.datasets import PARTITIONED, Dataset
from stock_weather_pipeline.lake.interfaces import Lake, StoredObject
from stock_weather_pipeline.lake.opening import open_lake
from stock_weather_pipeline.layers.landing import ARRIVALS, Arrival, arrivals, reject, strays
from stock_weather_pipeline.partitions import today
from stock_weather_pipeline.settings import Settings

SETTLED_AFTER = timedelta(minutes=5)
MOST_OBJECTS_PER_RUN = 500
MOST_BYTES_PER_RUN = 64 * 1024 * 1024
MOST_STRAYS_PER_TICK = 20
_INTERVAL_S = 30

# When an object was first seen in its present version, by key: (version, ISO time).
_Seen = dict[str, tuple[str, str]]


def landing_sensor(settings: Settings) -> dg.SensorDefinition:
    """Its cursor holds when each waiting object was first seen; without it they count as new."""

    @dg.sensor(
        name="landing",
        jobs=[job(landing_job(dataset)) for dataset in PARTITIONED],
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Objects below {ARRIVALS} that arrived without Dagster are taken into raw.",
    )
    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return _evaluate(context, settings)

    return tick


def _evaluate(context: dg.SensorEvaluationContext, settings: Settings) -> dg.SensorResult:
    tick, now, lake = Tick(context), utc_now(), open_lake(settings)
    seen: _Seen = {key: (version, at) for key, (version, at) in json.loads(context.cursor or "{}").items()}
    still_there: _Seen = {}
    for dataset in PARTITIONED:
        with tick.serving(dataset.name):
            listed = _bounded(arrivals(lake, dataset))
            noted = _noted(listed, seen, now)
            still_there.update(noted)
            if listed:
                _add_request(tick, dataset, [_arrival(item, noted, now) for item in listed], now)
    with tick.serving(ARRIVALS):
        _set_strays_aside(context, lake, seen, still_there, now)
    return tick.result(json.dumps(still_there), ["Nothing new has arrived."])


def _bounded(listed: Sequence[StoredObject]) -> list[StoredObject]:
    chosen: list[StoredObject] = []
    size = 0
    for item in sorted(listed, key=lambda item: item.key)[:MOST_OBJECTS_PER_RUN]:
        size += item.size_bytes
        if chosen and size > MOST_BYTES_PER_RUN:
            break
        chosen.append(item)
    return chosen


def _noted(listed: Sequence[StoredObject], seen: _Seen, now: datetime) -> _Seen:
    return {
        item.key: seen[item.key]
        if item.key in seen and seen[item.key][0] == item.version
        else (item.version, now.isoformat())
        for item in listed
    }


def _arrival(item: StoredObject, noted: _Seen, now: datetime) -> Arrival:
    first_seen = datetime.fromisoformat(noted[item.key][1])
    return Arrival(item.key, item.version, now - first_seen >= SETTLED_AFTER)


def _add_request(tick: Tick, dataset: Dataset, objects: Sequence[Arrival], now: datetime) -> None:
    instance = tick.context.instance
    assets = {("landing", dataset.name), ("raw", dataset.name)}
    # A fetch and an arrival may be of the same day, and each rewrites its whole file.
    running = runs_in_progress(instance, assets, now)
    if running:
        tick.notes.append(f"{dataset.name}: {len(objects)} objects wait for run {running[0].run_id}.")
        return
    failures = failures_in_a_row(finished_runs(instance, {("landing", dataset.name)}))
    if not failures.is_due(now):
        tick.notes.append(f"{dataset.name}: {len(objects)} objects wait for another attempt after {failures.run_id}.")
        return
    tick.requests.append(_request(dataset, objects, failures.failed + 1, now))


def _request(dataset: Dataset, objects: Sequence[Arrival], attempt: int, now: datetime) -> dg.RunRequest:
    listed = [{"key": item.key, "version": item.version, "settled": item.settled} for item in objects]
    digest = hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()[:16]
    return dg.RunRequest(
        # The day: objects of a day that was not over are taken when it is.
        run_key=f"landing/{dataset.name}/{digest}/{today(now)}/{attempt}",
        job_name=landing_job(dataset),
        run_config={"ops": {f"landing__{dataset.name}": {"config": {"objects": listed}}}},
        tags={DATASET_TAG: dataset.name, STARTED_BY_TAG: "landing", ATTEMPT_TAG: str(attempt)},
    )


def _set_strays_aside(
    context: dg.SensorEvaluationContext, lake: Lake, seen: _Seen, still_there: _Seen, now: datetime
) -> None:
    """No dataset's run would ever look at an object outside their prefixes."""
    listed = strays(lake, PARTITIONED)[:MOST_STRAYS_PER_TICK]
    noted = _noted(listed, seen, now)
    known = ", ".join(f"{ARRIVALS}{dataset.name}/" for dataset in PARTITIONED)
    for item in listed:
        if _arrival(item, noted, now).settled:
            reject(lake, item.key, f"objects are taken from {known} only")
            context.log.warning(f"{item.key} was set aside: objects are taken from {known} only")
        else:
            still_there[item.key] = noted[item.key]
