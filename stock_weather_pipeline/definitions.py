"""The Definitions: wiring only. Nothing here opens a file, reads credentials or talks to a network while loading."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from stock_weather_pipeline.assets import all_assets
from stock_weather_pipeline.assets.landing import landing_assets
from stock_weather_pipeline.assets.maintenance import maintenance_assets
from stock_weather_pipeline.automation.jobs import all_jobs
from stock_weather_pipeline.automation.schedules import all_schedules
from stock_weather_pipeline.automation.sensors import all_sensors
from stock_weather_pipeline.automation.sensors.alerts import alert_sensors
from stock_weather_pipeline.checks import all_checks
from stock_weather_pipeline.cloud.vendors import open_vendors
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.opening import open_lake
from stock_weather_pipeline.settings import Settings, load_settings
from stock_weather_pipeline.sources.vendors import Vendors


def build_definitions(
    settings: Settings, vendors: Vendors | None = None, opened_lake: Lake | None = None
) -> dg.Definitions:
    """Everything Dagster knows, for these settings. The seam for tests and the command line.

    `vendors` and `opened_lake` are already open; without them each run opens its own.
    """

    @dg.resource(description="Where data lives: objects, catalog, Iceberg tables, SQL engine.")
    def lake(_context: dg.InitResourceContext) -> Lake:
        return opened_lake or open_lake(settings)

    @dg.resource(description="The vendors, or the sandbox that stands in for them without a key.")
    def vendors_resource(_context: dg.InitResourceContext) -> Iterator[Vendors]:
        if vendors is not None:
            yield vendors
            return
        with open_vendors(settings) as opened:
            yield opened

    return dg.Definitions(
        assets=[*all_assets(settings.start_date), *landing_assets(settings), *maintenance_assets()],
        asset_checks=all_checks(settings),
        jobs=all_jobs(settings),
        schedules=all_schedules(settings),
        sensors=[*all_sensors(settings), *alert_sensors(settings)],
        resources={"lake": lake, "vendors": vendors_resource},
        # Steps of a ranged run are short and share the vendor quota: one process, no start-up per step.
        executor=dg.in_process_executor,
        metadata={"data": "SIMULATED DATA" if settings.simulated else "vendor data"},
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What the UI and the daemon load, for the settings of the environment."""
    return build_definitions(load_settings())
