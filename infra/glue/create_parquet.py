"""Glue job: what landed is taken into raw, and the days' raw files are typed into Parquet and quarantine."""

from __future__ import annotations

from datetime import date

from stock_weather_pipeline.cloud.jobs import Step, run_step
from stock_weather_pipeline.datasets import LOCATIONS, STOCK_SPLITS, Dataset
from stock_weather_pipeline.lake.opening import is_simulated
from stock_weather_pipeline.layers.landing import Arrival, arrivals, take
from stock_weather_pipeline.layers.parquet import type_days
from stock_weather_pipeline.layers.raw import land_snapshot
from stock_weather_pipeline.sources.handover import SCHEDULED_SPLITS, snapshot_from_bytes
from stock_weather_pipeline.sources.settings_source import LocationsSource


def create_parquet(step: Step) -> None:
    """Unreadable days are told here and judged by the next step; their earlier Parquet stays."""
    _take_references(step)
    for dataset in step.datasets:
        landed = _take_arrivals(step, dataset)
        late = [day for day in landed if not step.first <= day <= step.last]
        if late:
            step.log.warning(
                f"{dataset.name} landed outside {step.first}..{step.last}: "
                f"{', '.join(map(str, late))}; take them on with --start {late[0]} --end {late[-1]}"
            )
        days = step.days(dataset)
        unreadable = type_days(step.lake, dataset, days) if days else {}
        for day, reason in unreadable.items():
            step.log.warning(f"{dataset.name} {day}: {reason}")
        step.report[dataset.name] = {
            "days_landed": len(landed),
            "days_typed": len(days) - len(unreadable),
            "days_unreadable": len(unreadable),
        }


def _take_arrivals(step: Step, dataset: Dataset) -> list[date]:
    lake, settings = step.lake, step.settings
    found = [Arrival(item.key, item.version, False) for item in arrivals(lake, dataset)]
    taking = take(lake, dataset, found, settings.start_date, settings.simulated or is_simulated(lake))
    for key, reason in {**taking.left, **taking.rejected}.items():
        step.log.warning(f"{key}: {reason}")
    return sorted(taking.days)


def _take_references(step: Step) -> None:
    lake = step.lake
    land_snapshot(lake, LOCATIONS, LocationsSource(step.settings.locations).fetch())
    handed = [item.key for item in lake.objects.list(SCHEDULED_SPLITS) if item.key.endswith(".json.gz")]
    for key in handed:
        land_snapshot(lake, STOCK_SPLITS, snapshot_from_bytes(STOCK_SPLITS, lake.objects.read(key)))
    lake.objects.delete(handed)


if __name__ == "__main__":
    run_step("create_parquet", create_parquet)
