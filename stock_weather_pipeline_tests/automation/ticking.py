"""A platform whose schedules and sensors are ticked by hand at a chosen moment, and whose runs run in this process.

No test belongs here.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import time_machine

from stock_weather_pipeline.assets import all_assets
from stock_weather_pipeline.assets.landing import landing_assets
from stock_weather_pipeline.automation.jobs import all_jobs
from stock_weather_pipeline.automation.schedules import all_schedules
from stock_weather_pipeline.automation.sensors import all_sensors
from stock_weather_pipeline.automation.sensors.alerts import alert_sensors
from stock_weather_pipeline.automation.work import Key
from stock_weather_pipeline.checks import all_checks
from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.opening import open_lake
from stock_weather_pipeline.partitions import NEW_YORK, partition_key
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline.settings import NEW_YORK as NEW_YORK_PLACE
from stock_weather_pipeline.settings import Settings
from stock_weather_pipeline.sources.vendors import Vendors

START = date(2023, 12, 18)
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@dataclass
class Platform:
    """One data home with its instance. Moments are New York wall-clock times; they should only move forward."""

    settings: Settings
    sandbox: Sandbox
    instance: dg.DagsterInstance
    cursors: dict[str, str | None] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unhurried = self.settings.model_copy(update={"polygon_calls_per_minute": 6000})
        vendors = Vendors(unhurried, self.sandbox.url, self.sandbox.url)
        resources = {"lake": open_lake(self.settings), "vendors": vendors}
        self.definitions = dg.Definitions(
            assets=[*all_assets(self.settings.start_date), *landing_assets(self.settings)],
            asset_checks=all_checks(self.settings),
            jobs=all_jobs(self.settings),
            schedules=all_schedules(self.settings),
            sensors=all_sensors(self.settings),
            resources={name: dg.ResourceDefinition.hardcoded_resource(value) for name, value in resources.items()},
            executor=dg.in_process_executor,
        )
        self.repository = self.definitions.get_repository_def()

    @property
    def lake(self) -> Lake:
        return open_lake(self.settings)

    def schedule(self, name: str, moment: datetime) -> list[dg.RunRequest]:
        """What the tick of this moment requests. The reason of a tick that requests nothing is in `notes`."""
        with at(moment):
            context = dg.build_schedule_context(self.instance, scheduled_execution_time=moment)
            data = self.repository.get_schedule_def(name).evaluate_tick(context)
        self.notes[name] = data.skip_message or ""
        return list(data.run_requests or [])

    def refresh_references(self, moment: datetime) -> None:
        """Splits and locations, which checks and views read."""
        (request,) = self.schedule("references_daily", moment)
        assert self.run(request, moment)

    def sensor(self, name: str, moment: datetime) -> list[dg.RunRequest]:
        """What the tick requests, its cursor kept, its events reported, and keys that had a run dropped, as the
        daemon does."""
        with at(moment):
            context = dg.build_sensor_context(
                self.instance, cursor=self.cursors.get(name), repository_def=self.repository, sensor_name=name
            )
            data = self.repository.get_sensor_def(name).evaluate_tick(context)
            self.cursors[name] = data.cursor
            self.notes[name] = data.skip_message or ""
            for event in data.asset_events:
                self.instance.report_runless_asset_event(event)
        return [r for r in data.run_requests or [] if not self._has_run(str(r.run_key))]

    def _has_run(self, run_key: str) -> bool:
        return self.instance.get_runs_count(dg.RunsFilter(tags={"dagster/run_key": run_key})) > 0

    def run(self, request: dg.RunRequest, moment: datetime) -> bool:
        """Whether the requested run succeeded; why it did not is printed."""
        with at(moment):
            result = self.repository.get_job(request.job_name or self._only_job(request)).execute_in_process(
                run_config={
                    **(request.run_config or {}),
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
                instance=self.instance,
                tags={**request.tags, "dagster/run_key": str(request.run_key)},
                asset_selection=request.asset_selection,
                raise_on_error=False,
            )
        for event in result.all_events:
            if event.is_step_failure:
                print(event.step_key, event.step_failure_data.error_display_string)  # noqa: T201 - pytest shows it
        return result.success

    def _only_job(self, request: dg.RunRequest) -> str:
        return request.tags.get("stock_weather/dataset", "references")

    def materialized(self, dataset: Dataset, days: Sequence[date], chain: Sequence[Key]) -> None:
        """Record days as materialized without doing anything."""
        for key in chain:
            for day in days:
                self.instance.report_runless_asset_event(
                    dg.AssetMaterialization(list(key), partition=partition_key(day), metadata={"sha256": "0"})
                )

    def started(self, request: dg.RunRequest) -> None:
        """Record the requested run as started, without doing anything."""
        job = self.repository.get_job(str(request.job_name or self._only_job(request)))
        self.instance.create_run_for_job(
            job_def=job,
            tags={**request.tags, "dagster/run_key": str(request.run_key)},
            status=dg.DagsterRunStatus.STARTED,
            asset_selection=frozenset(request.asset_selection) if request.asset_selection else None,
        )

    def days_there(self, layer: str, name: str) -> list[str]:
        return sorted(self.instance.get_materialized_partitions(dg.AssetKey([layer, name])))

    def newest_run(self) -> dg.DagsterRun:
        return self.instance.get_runs(limit=1)[0]

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return self.lake.rows(sql)


class Ticker:
    """Ticks one sensor of alerts as the daemon does, keeping its cursor."""

    def __init__(
        self, settings: Settings, name: str, instance: dg.DagsterInstance, definitions: dg.Definitions
    ) -> None:
        self._sensor = next(sensor for sensor in alert_sensors(settings) if sensor.name == name)
        self._instance = instance
        self._definitions = definitions
        self.cursor: str | None = None

    def tick(self) -> str:
        context = dg.build_sensor_context(
            instance=self._instance, cursor=self.cursor, definitions=self._definitions, sensor_name=self._sensor.name
        )
        data = self._sensor.evaluate_tick(context)
        assert not data.run_requests
        self.cursor = data.cursor
        return str(data.skip_message)


@contextmanager
def platform(folder: Path, sandbox: Sandbox, **settings: Any) -> Iterator[Platform]:
    """A fresh platform below a folder: one ticker, one location, simulated data."""
    overrides: Mapping[str, Any] = {
        "home": folder,
        "start_date": START,
        "tickers": ("NVDA",),
        "locations": (NEW_YORK_PLACE,),
        **settings,
    }
    # Making the tables of an instance takes seconds: it is done once for all tests of a process.
    template = folder.parent / "instance_of_all_tests"
    if not template.exists():
        with _instance(template):
            pass
    shutil.copytree(template, folder / "instance")
    with _instance(folder / "instance") as instance:
        yield Platform(Settings(_env_file=None, **overrides), sandbox, instance)  # type: ignore[call-arg]


def _instance(folder: Path) -> dg.DagsterInstance:
    folder.mkdir(exist_ok=True)
    log = {
        "module": "stock_weather_pipeline.automation.event_log",
        "class": "BatchedSqliteEventLogStorage",
        "config": {"base_dir": str(folder / "events")},
    }
    return dg.DagsterInstance.local_temp(
        str(folder), overrides={"event_log_storage": log, "telemetry": {"enabled": False}}
    )


def at(moment: datetime) -> time_machine.travel:
    return time_machine.travel(moment.astimezone(timezone.utc), tick=True)


def new_york(text: str) -> datetime:
    """A wall-clock time in New York, such as 2024-03-11 00:30."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


def range_of(request: dg.RunRequest) -> tuple[str, str]:
    return request.tags[RANGE_START], request.tags[RANGE_END]


def layers_of(request: dg.RunRequest) -> set[str]:
    """The layers a request selects explicitly; none when it is the whole job."""
    return {key.path[0] for key in request.asset_selection or []}
