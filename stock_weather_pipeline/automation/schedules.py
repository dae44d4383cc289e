"""Daily schedules: the days that closed since the newest one that was ever tried become one ranged run.

A tick looks at what is there, not at when it ran last, so that a daemon that was down for a week makes up every day
with its first tick, and a tick that comes twice finds nothing to do. Days that were tried and failed, and holes in
between, belong to the gaps sensor: the two never request the same day.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta

import dagster as dg

from stock_weather_pipeline.assets.maintenance import GROUP as MAINTENANCE
from stock_weather_pipeline.automation.history import known_days, runs_in_progress
from stock_weather_pipeline.automation.jobs import (
    ATTEMPT_TAG,
    JOB_ASSETS,
    REFERENCES_JOB,
    STARTED_BY_TAG,
    work_request,
)
from stock_weather_pipeline.automation.work import Work, chain_of
from stock_weather_pipeline.datasets import STOCK_PRICES, WEATHER, Dataset
from stock_weather_pipeline.partitions import NEW_YORK, ONE_DAY, PartitionSet, last_closed_day, today
from stock_weather_pipeline.settings import Settings

# Both are hours that every day in New York has once; clocks change at two.
CRONS = {
    STOCK_PRICES.name: "30 0 * * *",
    WEATHER.name: "45 0 * * *",
    REFERENCES_JOB: "15 0 * * *",
    MAINTENANCE: "0 3 * * 0",
}
LONGEST_CATCH_UP = timedelta(days=31)
"""How far back one tick goes; what is older is left to the gaps sensor, which has more patience."""


def all_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """The daily schedules and the weekly one, switched on: `make dev` is a working installation, simulated or not."""
    return [
        _references_schedule(),
        *(_dataset_schedule(dataset, settings) for dataset in (STOCK_PRICES, WEATHER)),
        dg.ScheduleDefinition(
            name="maintenance_weekly",
            target=dg.AssetSelection.groups(MAINTENANCE),
            cron_schedule=CRONS[MAINTENANCE],
            execution_timezone=str(NEW_YORK),
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Upkeep of tables, superseded raw files and old runs; no query answers otherwise for it.",
        ),
    ]


def new_days(dataset: Dataset, tried: Collection[date], start: date, now: datetime) -> list[date]:
    """The closed days after the newest one of `tried`; without any, the newest closed day alone.

    History is the user's to ask for: `stock-weather run`, or a backfill in the UI.
    """
    assert dataset.partition_set is not None
    closed = last_closed_day(dataset.partition_set, now)
    newest = max((day for day in tried if day <= closed), default=closed - ONE_DAY)
    return dataset.partition_set.days(max(newest + ONE_DAY, closed - LONGEST_CATCH_UP, start), closed)


def _dataset_schedule(dataset: Dataset, settings: Settings) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{dataset.name}_daily",
        job_name=dataset.name,
        cron_schedule=CRONS[dataset.name],
        execution_timezone=str(NEW_YORK),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"{dataset.name} of every day that has closed in New York, from raw to the views.",
    )
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        now = context.scheduled_execution_time
        there, unfinished = known_days(context.instance, ("raw", dataset.name))
        days = new_days(dataset, there | unfinished, settings.start_date, now)
        if not days:
            return dg.SkipReason(_why_nothing(dataset, now))
        work = Work(dataset, tuple(days), chain_of(dataset))
        return work_request(work, settings, "schedule", 1, "new")

    return tick


def _why_nothing(dataset: Dataset, now: datetime) -> str:
    assert dataset.partition_set is not None
    yesterday = today(now) - ONE_DAY
    if dataset.partition_set is PartitionSet.SESSIONS and not dataset.partition_set.contains(yesterday):
        return f"{yesterday:%A} {yesterday} was no NYSE session, and the sessions before it were started."
    return f"{dataset.name} of {yesterday} was already started; if it failed, the gaps sensor tries it again."


def _references_schedule() -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{REFERENCES_JOB}_daily",
        job_name=REFERENCES_JOB,
        cron_schedule=CRONS[REFERENCES_JOB],
        execution_timezone=str(NEW_YORK),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Stock splits and locations, before the days that are adjusted and cut by them.",
    )
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        now = context.scheduled_execution_time
        running = runs_in_progress(context.instance, JOB_ASSETS[REFERENCES_JOB], now)
        if running:
            return dg.SkipReason(f"Run {running[0].run_id} is already fetching them.")
        return dg.RunRequest(
            run_key=f"schedule/{REFERENCES_JOB}/{today(now)}",
            tags={STARTED_BY_TAG: "schedule", ATTEMPT_TAG: "1"},
        )

    return tick
