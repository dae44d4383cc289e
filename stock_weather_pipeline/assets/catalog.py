"""Catalog assets: the raw table exists with the contract's columns, and each day can be read through SQL."""

from datetime import date
from typing import Any

import dagster as dg

from stock_weather_pipeline.assets.lineage import copied
from stock_weather_pipeline.assets.reporting import (
    OWNERS,
    accounted,
    days_of,
    materialized,
    named,
    partly_materialized,
    table_schema,
)
from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Layer, external_table
from stock_weather_pipeline.layers.catalog import problems, register, rows_per_day
from stock_weather_pipeline.partitions import partitions_definition


def catalog_asset(dataset: Dataset, start: date) -> dg.AssetsDefinition:
    """`catalog/<dataset>`. A day that does not fit is judged by the audit; only a run without a good day fails here."""
    assert dataset.partition_set is not None
    table = external_table(dataset, Layer.RAW)

    @dg.asset(
        key=["catalog", dataset.name],
        deps=[["raw", dataset.name]],
        description=f"Table {table.qualified_name} over the raw files, all strings, with the contract's columns.",
        group_name="catalog",
        owners=OWNERS,
        kinds={"sql"},
        partitions_def=partitions_definition(dataset.partition_set, start),
        backfill_policy=dg.BackfillPolicy.single_run(),
        metadata={
            "dagster/column_schema": table_schema(table.columns),
            "dagster/column_lineage": copied(["raw", dataset.name], dataset.column_names),
            "dagster/table_name": table.qualified_name,
        },
    )
    def asset(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        days = days_of(context)
        with accounted(lake, context.run.run_id, context.asset_key.to_user_string()) as cost:
            register(lake, dataset)
            bad = problems(lake, dataset, days)
            good = [day for day in days if day not in bad]
            rows = rows_per_day(lake, dataset, good)
        if not good:
            raise partly_materialized(context, {}, {}, f"No day can be read. {named(bad)}")
        metadata: dict[Any, dict[str, Any]] = {day: {"dagster/partition_row_count": rows[day]} for day in good}
        metadata.update({day: {"problem": problem} for day, problem in bad.items()})
        return materialized(context, metadata, {day: str(rows.get(day, 0)) for day in days}, cost)

    return asset
