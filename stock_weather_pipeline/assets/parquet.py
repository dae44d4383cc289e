"""Parquet assets: typed rows by day, what failed in quarantine, and the audit's verdict on each day."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg

from stock_weather_pipeline.assets.lineage import copied
from stock_weather_pipeline.assets.previews import PREVIEW_ROWS, last_rows
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
from stock_weather_pipeline.lake.interfaces import Lake, StoredDay
from stock_weather_pipeline.lake.layout import Day, Layer, external_table
from stock_weather_pipeline.layers.audit import Finding, audit
from stock_weather_pipeline.layers.parquet import type_days, typing_select
from stock_weather_pipeline.partitions import partitions_definition


def parquet_asset(dataset: Dataset, start: date) -> dg.AssetsDefinition:
    """`parquet/<dataset>`. Types and audits; a bad day does not fail the run here, publishing refuses it."""
    assert dataset.partition_set is not None
    table = external_table(dataset, Layer.PARQUET)

    @dg.asset(
        key=["parquet", dataset.name],
        deps=[["catalog", dataset.name]],
        description=f"{dataset.description}\n\nTyped; rows that fail are in stock_weather_quarantine.{dataset.name}.",
        group_name="parquet",
        owners=OWNERS,
        kinds={"parquet", "sql"},
        partitions_def=partitions_definition(dataset.partition_set, start),
        backfill_policy=dg.BackfillPolicy.single_run(),
        code_version=code_version(typing_select(dataset, [start])),
        metadata={
            "dagster/column_schema": table_schema(table.columns),
            "dagster/column_lineage": copied(["catalog", dataset.name], dataset.column_names),
            "dagster/table_name": table.qualified_name,
        },
    )
    def asset(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        days = days_of(context)
        with accounted(lake, context.run.run_id, context.asset_key.to_user_string()) as cost:
            unreadable = type_days(lake, dataset, days)
            findings = audit(lake, dataset, days, unreadable)
            if len(unreadable) == len(days):
                raise partly_materialized(context, {}, {}, f"No day can be read. {named(unreadable)}")
            stored = lake.engine.stored(table, days)
            newest = max(stored, key=str, default=None)
            rows = lake.engine.sample(table, newest, PREVIEW_ROWS) if newest else []
        return materialized(
            context,
            _metadata(stored, days, findings),
            {day: stored[day].version if day in stored else "" for day in days},
            {"preview": last_rows(rows), **cost},
        )

    return asset


def _metadata(
    stored: Mapping[Day, StoredDay], days: Sequence[Day], findings: Sequence[Finding]
) -> dict[Day, dict[str, Any]]:
    metadata: dict[Day, dict[str, Any]] = {
        day: {"file": dg.MetadataValue.url(stored[day].uri)} if day in stored else {} for day in days
    }
    for finding in findings:
        if finding.check == "rows_accounted":
            metadata[finding.day]["rows"] = finding.actual
            metadata[finding.day]["rows_quarantined"] = finding.quarantined_rows
        if not finding.passed:
            metadata[finding.day][finding.check] = finding.sentence
    return metadata
