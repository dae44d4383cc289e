"""Raw assets: one CSV per dataset and day, as the vendor sent it."""

import hashlib
from collections.abc import Sequence
from datetime import date
from typing import Any

import dagster as dg
from pydantic import Field

from stock_weather_pipeline.assets.reporting import (
    OWNERS,
    clear_failure,
    days_of,
    materialized,
    partly_materialized,
    table_schema,
)
from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.errors import TransientSourceError
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Day, Layer, external_table
from stock_weather_pipeline.layers import coverage
from stock_weather_pipeline.layers.raw import LandedDay, Landing, land, land_snapshot
from stock_weather_pipeline.partitions import partitions_definition
from stock_weather_pipeline.sources.tables import gathered
from stock_weather_pipeline.sources.vendors import VENDORS, Vendors


class FetchConfig(dg.Config):
    """What to ask the vendor for."""

    entities: list[str] | None = Field(
        default=None,
        description="Tickers or locations to fetch; the configured ones when empty. Rows of others are kept.",
    )


def raw_asset(dataset: Dataset, start: date) -> dg.AssetsDefinition:
    """`raw/<dataset>`, for a dataset with or without partitions."""
    table = external_table(dataset, Layer.RAW)
    partitions = partitions_definition(dataset.partition_set, start) if dataset.partition_set else None

    @dg.asset(
        key=["raw", dataset.name],
        description=f"{dataset.description}\n\nAs the vendor sent it. Source: {dataset.source}",
        group_name="raw",
        owners=OWNERS,
        pool=f"vendor_{VENDORS[dataset.name]}" if dataset.name in VENDORS else None,
        kinds={"csv"},
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run() if partitions else None,
        code_version=hashlib.sha256(",".join(dataset.column_names).encode()).hexdigest()[:12],
        metadata={
            "dagster/column_schema": table_schema(table.columns),
            "dagster/table_name": table.qualified_name,
        },
    )
    def asset(
        context: dg.AssetExecutionContext,
        config: FetchConfig,
        lake: dg.ResourceParam[Lake],
        vendors: dg.ResourceParam[Vendors],
    ) -> dg.MaterializeResult[Any]:
        days = days_of(context)
        with clear_failure():
            if partitions is None:
                landing = land_snapshot(lake, dataset, vendors.fetch_snapshot(dataset))
                return materialized(context, _metadata(lake, landing), _versions(landing), {})
            landing = _fetch(context, dataset, lake, vendors, config.entities, [day for day in days if day])
        missing = [day for day in days if day not in landing.days]
        if missing:
            reason = _missing(dataset, missing, landing, vendors.entities(dataset, config.entities))
            raise partly_materialized(
                context,
                _metadata(lake, landing),
                _versions(landing),
                reason,
                retry=isinstance(landing.interruption, TransientSourceError),
            )
        metadata = {"vendor_calls": landing.calls, "rows_set_aside": sum(landing.set_aside.values())}
        if landing.set_aside:
            quarantine = external_table(dataset, Layer.QUARANTINE)
            context.log.warning(
                f"{sum(landing.set_aside.values())} rows of {len(landing.set_aside)} days without a partition were set "
                f"aside in {lake.objects.uri(quarantine.prefix)}: {', '.join(map(str, sorted(landing.set_aside)[:10]))}"
            )
        return materialized(context, _metadata(lake, landing), _versions(landing), metadata)

    return asset


def _fetch(
    context: dg.AssetExecutionContext,
    dataset: Dataset,
    lake: Lake,
    vendors: Vendors,
    entities: Sequence[str] | None,
    days: Sequence[date],
) -> Landing:
    source = vendors.range_source(dataset, entities)
    plan = source.plan(days)
    context.log.info(f"{plan.description}; about {plan.minutes:.0f} minutes at this quota")
    asked = vendors.entities(dataset, entities)
    pages = source.fetch(days, vendors.progress)
    landing = land(lake, dataset, days, gathered(dataset, pages), asked)
    if landing.interruption is None:
        answered = ["*"] if asked is None else [name for name in asked if name in landing.entities]
        coverage.add(lake, dataset, answered, min(days), max(days))
    return landing


def _missing(dataset: Dataset, missing: Sequence[Day], landing: Landing, asked: Sequence[str] | None) -> str:
    days = [str(day) for day in missing]
    listed = ", ".join(days) if len(days) <= 10 else f"{days[0]} to {days[-1]} ({len(days)} days)"
    if landing.interruption is not None:
        return f"Not fetched: {listed}. {landing.interruption}"
    return (
        f"The vendor has no {dataset.name} of {', '.join(asked or ['the whole market'])} for {listed}: check the "
        f"{dataset.entity} (spelling and case), whether it existed then, and whether the plan reaches back that far."
    )


def _metadata(lake: Lake, landing: Landing) -> dict[Day, dict[str, Any]]:
    return {day: day_metadata(lake, landed) for day, landed in landing.days.items()}


def day_metadata(lake: Lake, landed: LandedDay) -> dict[str, Any]:
    """What a materialization of a raw day says, however the day arrived."""
    metadata = {
        "dagster/partition_row_count": landed.rows,
        "bytes": landed.size_bytes,
        "sha256": landed.sha256,
        "file": dg.MetadataValue.url(lake.objects.uri(landed.key)),
        "changed": landed.changed,
    }
    if landed.replaced_sha256:
        metadata["replaced_sha256"] = landed.replaced_sha256
    return metadata


def _versions(landing: Landing) -> dict[Day, str]:
    return {day: landed.sha256 for day, landed in landing.days.items()}
