"""Prod assets: audited days, published into the stable Iceberg table in one atomic commit."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from stock_weather_pipeline.assets.lineage import copied
from stock_weather_pipeline.assets.previews import last_rows
from stock_weather_pipeline.assets.reporting import (
    OWNERS,
    accounted,
    code_version,
    days_of,
    materialized,
    named,
    partly_materialized,
    table_schema,
)
from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import PROD_DATABASE, Day
from stock_weather_pipeline.layers.audit import audit, parquet_versions
from stock_weather_pipeline.layers.parquet import type_days
from stock_weather_pipeline.layers.prod import Publication, publish
from stock_weather_pipeline.partitions import PartitionSet, partitions_definition

# The calendar-aware check latest_day_present is exact; these catch a pipeline that stands still altogether.
_FRESHNESS: dict[PartitionSet | None, dg.FreshnessPolicy] = {
    PartitionSet.SESSIONS: dg.FreshnessPolicy.time_window(fail_window=timedelta(days=6), warn_window=timedelta(days=4)),
    PartitionSet.DAYS: dg.FreshnessPolicy.time_window(fail_window=timedelta(days=3), warn_window=timedelta(days=2)),
}


class PublishConfig(dg.Config):
    """How to publish."""

    force: bool = Field(
        default=False, description="Publish a day even if it shrinks below 80 % of its rows. Never skips the audit."
    )


def prod_asset(dataset: Dataset, start: date) -> dg.AssetsDefinition:
    """`prod/<dataset>`. Good days are published even when others are refused; those are named and stay missing."""
    partitions = partitions_definition(dataset.partition_set, start) if dataset.partition_set else None
    upstream = ["parquet" if partitions else "raw", dataset.name]

    @dg.asset(
        key=["prod", dataset.name],
        deps=[upstream],
        description=dataset.description,
        group_name="prod",
        owners=OWNERS,
        pool=f"publish_{dataset.name}",
        freshness_policy=_FRESHNESS.get(dataset.partition_set),
        kinds={"iceberg"},
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run() if partitions else None,
        code_version=code_version(*map(repr, dataset.columns), *dataset.key),
        metadata={
            "dagster/column_schema": table_schema(dataset.columns),
            "dagster/column_lineage": copied(upstream, dataset.column_names),
            "dagster/table_name": f"{PROD_DATABASE}.{dataset.name}",
        },
    )
    def asset(
        context: dg.AssetExecutionContext, config: PublishConfig, lake: dg.ResourceParam[Lake]
    ) -> dg.MaterializeResult[Any]:
        days = days_of(context)
        with accounted(lake, context.run.run_id, context.asset_key.to_user_string()) as cost:
            if partitions is None:
                # Without partitions there is no range to work through: typing and audit are part of this step.
                audit(lake, dataset, days, type_days(lake, dataset, days))
            result = publish(lake, dataset, days, context.run.run_id, config.force)
            versions = parquet_versions(lake, dataset, days)
        published = {day: versions.get(day, "") for day in days if day in result.rows}
        metadata = _metadata(result, [*published])
        if result.refused:
            reason = f"{len(result.refused)} not published. {named(result.refused)}"
            raise partly_materialized(context, metadata, published, reason, about=cost)
        return materialized(context, metadata, published, {"preview": last_rows(result.sample), **cost})

    return asset


def _metadata(result: Publication, days: Sequence[Day]) -> dict[Day, dict[str, Any]]:
    snapshot = {"snapshot_id": str(result.publish.snapshot_id)} if result.publish else {}
    return {
        day: {
            "dagster/partition_row_count": result.rows[day],
            "changed": day in result.changed,
            **(snapshot if day in result.changed else {}),
        }
        for day in days
    }
