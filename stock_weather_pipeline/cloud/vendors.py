"""Which way a deployment's vendors are reached: the sandbox, the run itself, or the ingest function."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stock_weather_pipeline.settings import Settings
from stock_weather_pipeline.sources.vendors import Vendors, direct_vendors


@contextmanager
def open_vendors(settings: Settings) -> Iterator[Vendors]:
    """The vendors of the settings. In simulated mode a sandbox runs as long as they are open."""
    if settings.ingestion == "lambda" and not settings.simulated:
        from stock_weather_pipeline.cloud.ingestion import function_vendors

        # The function has the key.
        yield function_vendors(settings)
        return
    if settings.polygon_api_key is None and settings.polygon_secret_arn is not None and not settings.simulated:
        from stock_weather_pipeline.cloud.secrets import polygon_key
        from stock_weather_pipeline.lake.aws.session import AwsSession

        key = polygon_key(AwsSession(), settings.polygon_secret_arn)
        settings = settings.model_copy(update={"polygon_api_key": key})
    with direct_vendors(settings) as vendors:
        yield vendors
