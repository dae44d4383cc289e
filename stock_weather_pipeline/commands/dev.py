"""`stock-weather dev`: the Dagster UI and daemon on the data home."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from stock_weather_pipeline.automation.instance import prepare_dagster_home, shared_file
from stock_weather_pipeline.commands.output import banner
from stock_weather_pipeline.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console


def dev(console: Console, settings: Settings, port: int) -> None:
    """Replaces this process by `dagster dev`, bound to this machine only."""
    home = prepare_dagster_home(settings)
    banner(console, settings.simulated)
    console.print(f"Dagster home: {home}", soft_wrap=True)
    console.print(f"UI: http://127.0.0.1:{port}", soft_wrap=True)
    console.print("These start runs, or alert, by themselves; each can be switched off under Automation:")
    for line in _running(settings):
        console.print(f"  {line}", soft_wrap=True)
    os.environ["STOCK_WEATHER_HOME"] = str(settings.home)
    os.execv(sys.executable, [sys.executable, *_arguments(port)])


def _running(settings: Settings) -> Iterator[str]:
    from stock_weather_pipeline.automation.schedules import all_schedules
    from stock_weather_pipeline.automation.sensors import all_sensors
    from stock_weather_pipeline.automation.sensors.alerts import alert_sensors

    for schedule in all_schedules(settings):
        yield f"schedule {schedule.name}, {schedule.cron_schedule} {schedule.execution_timezone}"
    for sensor in (*all_sensors(settings), *alert_sensors(settings)):
        yield f"sensor {sensor.name}, every {sensor.minimum_interval_seconds} s"


def _arguments(port: int) -> list[str]:
    # Dagster calls its own `dagster dev` superseded by a tool that is not installed here.
    quiet = ["-W", "ignore"]
    workspace = str(shared_file("workspace.yaml"))
    return [*quiet, "-m", "dagster", "dev", "-w", workspace, "-h", "127.0.0.1", "-p", str(port)]
