"""Assets: one module per layer; a layer is written once and made for every dataset here."""

from __future__ import annotations

import warnings
from datetime import date

import dagster as dg

from stock_weather_pipeline.assets.catalog import catalog_asset
from stock_weather_pipeline.assets.dashboard import dashboard_asset
from stock_weather_pipeline.assets.parquet import parquet_asset
from stock_weather_pipeline.assets.prod import prod_asset
from stock_weather_pipeline.assets.raw import raw_asset
from stock_weather_pipeline.assets.views import view_asset
from stock_weather_pipeline.datasets import DATASETS, PARTITIONED
from stock_weather_pipeline.views import VIEWS


def all_assets(start: date) -> list[dg.AssetsDefinition]:
    """Every layer of every dataset, then the views and the page; partitions begin at `start`."""
    with warnings.catch_warnings():
        # BackfillPolicy is marked beta; the version is pinned and ranged runs are tested.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return _assets(start)


def _assets(start: date) -> list[dg.AssetsDefinition]:
    return [
        *(raw_asset(dataset, start) for dataset in DATASETS.values()),
        *(catalog_asset(dataset, start) for dataset in PARTITIONED),
        *(parquet_asset(dataset, start) for dataset in PARTITIONED),
        *(prod_asset(dataset, start) for dataset in DATASETS.values()),
        *(view_asset(view, start) for view in VIEWS.values()),
        dashboard_asset(),
    ]
