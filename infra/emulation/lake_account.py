"""What the stack makes of an account as far as the lake needs it, for those who do without the rest of the stack."""

from __future__ import annotations

import boto3

from stock_weather_pipeline.lake.layout import PROD_DATABASE, Layer

BUCKETS = {kind: f"stock-weather-{kind}" for kind in ("raw", "parquet", "results")}
WORKGROUP = "stock-weather"
SETTINGS = {
    "STOCK_WEATHER_DEPLOYMENT": "aws",
    **{f"STOCK_WEATHER_{kind.upper()}_BUCKET": bucket for kind, bucket in BUCKETS.items()},
}
"""The variables that name it."""


def make_lake_account() -> None:
    """Buckets, databases and the workgroup, in the account that the environment leads to."""
    s3, glue, athena = boto3.client("s3"), boto3.client("glue"), boto3.client("athena")
    for bucket in BUCKETS.values():
        s3.create_bucket(Bucket=bucket)
    for database in (PROD_DATABASE, *(layer.database for layer in Layer)):
        glue.create_database(DatabaseInput={"Name": database})
    athena.create_work_group(
        Name=WORKGROUP,
        Configuration={
            "EnforceWorkGroupConfiguration": True,
            "ResultConfiguration": {"OutputLocation": f"s3://{BUCKETS['results']}/athena/"},
        },
    )
