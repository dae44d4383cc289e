"""The revisions sensor: once a day a trailing window is fetched again, raw only.

What became of it is the changes sensor's business: only days whose bytes changed flow on.
"""

from __future__ import annotations

from datetime import date, datetime

import dagster as dg

from stock_weather_pipeline.automation.history import busy_days, known_days
from stock_weather_pipeline.automation.jobs import job, raw_job, work_request
from stock_weather_pipeline.automation.sensors.ticks import Tick, utc_now
from stock_weather_pipeline.automation.work import Work
from stock_weather_pipeline.datasets import PARTITIONED, STOCK_PRICES, WEATHER, Dataset
from stock_weather_pipeline.partitions import NEW_YORK, ONE_DAY, contiguous, last_closed_day, today
from stock_weather_pipeline.settings import Settings

NOT_BEFORE_HOUR = 6
"""New York. By then the night's runs are over, and vendors have filled in what they publish overnight."""
REVISION_TAG = "stock_weather/revision_of"
_INTERVAL_S = 600


def revisions_sensor(settings: Settings) -> dg.SensorDefinition:
    """Whether the window was already fetched today stands in the runs' tags."""

    @dg.sensor(
        name="revisions",
        jobs=[job(raw_job(dataset)) for dataset in PARTITIONED],
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Once a day the last {settings.revision_days_weather} days of weather and "
        f"{settings.revision_sessions_stocks} sessions of stock prices are fetched again.",
    )
    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        tick, now = Tick(context), utc_now()
        if now.astimezone(NEW_YORK).hour < NOT_BEFORE_HOUR:
            return tick.result(nothing=[f"The window is fetched again from {NOT_BEFORE_HOUR}:00 New York on."])
        for dataset in PARTITIONED:
            with tick.serving(dataset.name):
                tick.requests += _requests(context.instance, settings, dataset, now)
        return tick.result(nothing=["The window was already fetched again today, or holds no days yet."])

    return tick


def window(settings: Settings, dataset: Dataset, now: datetime) -> list[date]:
    """The trailing days that vendors still revise, ascending."""
    assert dataset.partition_set is not None
    count = {WEATHER.name: settings.revision_days_weather, STOCK_PRICES.name: settings.revision_sessions_stocks}
    wanted = count[dataset.name]
    if wanted == 0:
        return []
    closed = last_closed_day(dataset.partition_set, now)
    # The longest closure in the exchange's records is shorter than what twice as many days and a month leave out.
    days = dataset.partition_set.days(max(settings.start_date, closed - ONE_DAY * (2 * wanted + 31)), closed)
    return days[-wanted:]


def _requests(instance: dg.DagsterInstance, settings: Settings, dataset: Dataset, now: datetime) -> list[dg.RunRequest]:
    of_today = {REVISION_TAG: f"{dataset.name}/{today(now)}"}
    if instance.get_runs_count(dg.RunsFilter(tags=of_today)):
        return []
    there, unfinished = known_days(instance, ("raw", dataset.name))
    days = [day for day in window(settings, dataset, now) if day in there and day not in unfinished]
    busy = busy_days(instance, dataset, days, now)
    assert dataset.partition_set is not None
    chain = (("raw", dataset.name),)
    return [
        _tagged(work_request(Work(dataset, tuple(group), chain), settings, "revisions", 1, str(today(now))), of_today)
        for group in contiguous([day for day in days if day not in busy], dataset.partition_set)
    ]


def _tagged(request: dg.RunRequest, tags: dict[str, str]) -> dg.RunRequest:
    return request.with_replaced_attrs(tags={**request.tags, **tags})
