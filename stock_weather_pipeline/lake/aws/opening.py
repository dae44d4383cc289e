"""Puts the lake on AWS together from the settings. Opening it talks to nobody."""

from __future__ import annotations

from stock_weather_pipeline.lake.aws.athena import Athena
from stock_weather_pipeline.lake.aws.catalog import GlueCatalog
from stock_weather_pipeline.lake.aws.cost import Ledger
from stock_weather_pipeline.lake.aws.engine import AthenaEngine
from stock_weather_pipeline.lake.aws.objects import S3Objects
from stock_weather_pipeline.lake.aws.session import AwsSession
from stock_weather_pipeline.lake.aws.tables import glue_tables
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.settings import Settings


def aws_lake(settings: Settings, poll_s: float = 0.5) -> Lake:
    """The lake in the stack's buckets and databases. `poll_s`: how often a running query is asked after, in seconds."""
    if settings.raw_bucket is None or settings.parquet_bucket is None or settings.results_bucket is None:
        raise ValueError("the settings of a deployment on AWS name its buckets")
    session = AwsSession()
    ledger = Ledger()
    objects = S3Objects(session, settings.raw_bucket, settings.parquet_bucket)
    athena = Athena(
        session, settings.athena_workgroup, settings.results_bucket, settings.query_deadline_s, ledger, poll_s
    )
    catalog = GlueCatalog(session, objects, athena)
    tables = glue_tables(session, objects)
    return Lake(objects, catalog, tables, AthenaEngine(athena, catalog, objects, ledger))
