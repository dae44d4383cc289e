"""Sensors: what starts runs because of what is there, not because of the clock.

Each looks after its own days, so that no two ever request the same work: `landing` and `revisions` bring raw files,
`changes` carries changed raw files on, `gaps` repeats what failed or is missing. New days are the schedules'.
`alerts` and `metrics` start nothing: they tell people, and CloudWatch, how it goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stock_weather_pipeline.automation.sensors.changes import changes_sensor
from stock_weather_pipeline.automation.sensors.gaps import gaps_sensor
from stock_weather_pipeline.automation.sensors.landing import landing_sensor
from stock_weather_pipeline.automation.sensors.revisions import revisions_sensor
from stock_weather_pipeline.settings import Settings

if TYPE_CHECKING:
    from dagster import SensorDefinition


def all_sensors(settings: Settings) -> list[SensorDefinition]:
    """Every sensor but those of alerts, switched on from the start."""
    starting = [landing_sensor(settings), changes_sensor(settings), revisions_sensor(settings), gaps_sensor(settings)]
    if settings.deployment != "aws":
        return starting
    from stock_weather_pipeline.automation.sensors.metrics import metrics_sensor

    return [*starting, metrics_sensor(settings)]
