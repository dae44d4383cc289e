"""The asset of the page: the charts of what is published, in one HTML file in the lake."""

from typing import Any

import dagster as dg

from stock_weather_pipeline.assets.reporting import OWNERS, accounted
from stock_weather_pipeline.dashboard import PAGE_ASSET, PAGE_OBJECT
from stock_weather_pipeline.dashboard.data import read
from stock_weather_pipeline.dashboard.page import render
from stock_weather_pipeline.dashboard.panels import PANELS
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.views import VIEWS


def dashboard_asset() -> dg.AssetsDefinition:
    """`dashboard/page`. A panel that fails is told on the page, which is written before the step fails."""

    @dg.asset(
        key=list(PAGE_ASSET),
        deps=[*(["views", name] for name in VIEWS), ["prod", "stock_splits"]],
        description="One HTML file with the charts of the views and the health of the pipeline; it needs no network.",
        group_name="dashboard",
        owners=OWNERS,
        kinds={"html", "plotly"},
    )
    def asset(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        with accounted(lake, context.run.run_id, context.asset_key.to_user_string()) as cost:
            data = read(lake)
            page = render(data)
            lake.objects.write(PAGE_OBJECT, page)
        if data.failed:
            reasons = "; ".join(f"{PANELS[name].title}: {reason}" for name, reason in data.failed.items())
            raise dg.Failure(f"The page is written without these panels: {reasons}", allow_retries=False)
        return dg.MaterializeResult(
            metadata={
                "page": dg.MetadataValue.url(lake.objects.uri(PAGE_OBJECT)),
                "size_bytes": len(page),
                "tickers": ", ".join(data.tickers) or "none",
                "newest_session": str(data.newest_session),
                "newest_weather_day": str(data.newest_weather_day),
                "data": "SIMULATED DATA" if data.simulated else "vendor data",
                **cost,
            }
        )

    return asset
