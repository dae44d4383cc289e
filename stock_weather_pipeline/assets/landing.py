"""Landing assets: what arrived without Dagster is taken into the raw files of the days it belongs to.

One per dataset, without partitions, because an object holds any days. The days it touches are recorded as materialized
in `raw/<dataset>`.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from stock_weather_pipeline.assets.raw import day_metadata
from stock_weather_pipeline.assets.reporting import OWNERS, clear_failure
from stock_weather_pipeline.datasets import PARTITIONED, Dataset
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.opening import is_simulated
from stock_weather_pipeline.layers.landing import ARRIVALS, Arrival, Taking, arrivals, bring_in, move_away
from stock_weather_pipeline.partitions import partition_key
from stock_weather_pipeline.settings import Settings

_NAMED_OBJECTS = 20


class ArrivedObject(dg.Config):
    """One object of the landing zone, as the sensor saw it."""

    key: str = Field(description="Its key in the lake.")
    version: str = Field(description="Its version; an object that has changed since is left for later.")
    settled: bool = Field(default=False, description="It has not changed for minutes, so nobody is writing it.")


class LandingConfig(dg.Config):
    """What to take."""

    objects: list[ArrivedObject] = Field(default=[], description="Objects to take; all that are there when empty.")


def landing_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """`landing/<dataset>` for every dataset with partitions."""
    return [landing_asset(dataset, settings) for dataset in PARTITIONED]


def landing_asset(dataset: Dataset, settings: Settings) -> dg.AssetsDefinition:
    """`landing/<dataset>`. Fails only when storage does; what cannot be read is set aside and warned about."""
    key = ["landing", dataset.name]

    @dg.asset(
        key=key,
        description=f"Objects below `{ARRIVALS}{dataset.name}/` that arrived without Dagster, taken into "
        f"raw/{dataset.name}.",
        group_name="landing",
        owners=OWNERS,
        kinds={"json", "csv"},
        check_specs=[
            dg.AssetCheckSpec("everything_readable", asset=key, description="Nothing that arrived was set aside.")
        ],
    )
    def asset(
        context: dg.AssetExecutionContext, config: LandingConfig, lake: dg.ResourceParam[Lake]
    ) -> Iterator[dg.AssetMaterialization | dg.MaterializeResult[Any]]:
        with clear_failure():
            objects = [Arrival(item.key, item.version, item.settled) for item in config.objects] or [
                Arrival(item.key, item.version, False) for item in arrivals(lake, dataset)
            ]
            simulated = settings.simulated or is_simulated(lake)
            taking = bring_in(lake, dataset, objects, settings.start_date, simulated)
        for day, landed in taking.days.items():
            # Yielded, so that it is recorded now: once the objects are gone nothing else would tell of the change.
            yield dg.AssetMaterialization(
                asset_key=["raw", dataset.name],
                partition=partition_key(day),
                metadata={**day_metadata(lake, landed), "arrived_by": "landing zone"},
                tags={"dagster/data_version": landed.sha256},
            )
        with clear_failure():
            move_away(lake, taking)
        yield dg.MaterializeResult(metadata=_metadata(taking), check_results=[_check(key, taking)])

    return asset


def _metadata(taking: Taking) -> dict[str, Any]:
    return {
        "records": taking.records,
        "days": ", ".join(map(str, taking.days)) or "none",
        "objects_taken": len(taking.taken),
        "objects_left": dg.MetadataValue.json(dict(list(taking.left.items())[:_NAMED_OBJECTS])),
        "objects_rejected": dg.MetadataValue.json(dict(list(taking.rejected.items())[:_NAMED_OBJECTS])),
    }


def _check(key: list[str], taking: Taking) -> dg.AssetCheckResult:
    first = next(iter(taking.rejected.items()), None)
    return dg.AssetCheckResult(
        passed=first is None,
        asset_key=key,
        check_name="everything_readable",
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{first[0]}: {first[1]}" if first else None,
        metadata={"expected": "0 objects set aside", "actual": f"{len(taking.rejected)} objects set aside"},
    )
