"""Asset checks: one module per layer, made for every dataset here. The gate itself is the audit, in `layers`."""

from __future__ import annotations

import dagster as dg

from stock_weather_pipeline.checks.catalog import catalog_checks
from stock_weather_pipeline.checks.parquet import parquet_checks
from stock_weather_pipeline.checks.prod import prod_checks
from stock_weather_pipeline.checks.raw import raw_checks
from stock_weather_pipeline.checks.views import view_checks
from stock_weather_pipeline.datasets import DATASETS, PARTITIONED
from stock_weather_pipeline.settings import Settings
from stock_weather_pipeline.views import VIEWS


def all_checks(settings: Settings) -> list[dg.AssetChecksDefinition]:
    """The checks of every asset."""
    return [
        *(raw_checks(dataset, settings) for dataset in DATASETS.values()),
        *(catalog_checks(dataset) for dataset in PARTITIONED),
        *(parquet_checks(dataset) for dataset in PARTITIONED),
        *(prod_checks(dataset) for dataset in DATASETS.values()),
        *(view_checks(view) for view in VIEWS.values()),
    ]
