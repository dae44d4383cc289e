"""The physical names and ARNs of everything in the stack. Roles are written against these, so no module needs another
module's construct to say who may touch what.
"""

from __future__ import annotations

from aws_cdk import Aws

PROD_DATABASE = "stock_weather"
DATABASES = (PROD_DATABASE, "stock_weather_raw", "stock_weather_parquet", "stock_weather_quarantine")
DRIFT_DATABASE = "stock_weather_drift"
DATASETS = ("stock_prices", "weather")
JOBS = ("create-parquet", "check-quality", "publish-prod")


class Names:
    """Names below one prefix, in the account and region of the stack."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.account = Aws.ACCOUNT_ID
        self.raw_bucket = self._bucket("raw")
        self.parquet_bucket = self._bucket("parquet")
        self.results_bucket = self._bucket("results")
        self.workgroup = prefix
        self.dashboards_workgroup = f"{prefix}-dashboards"
        self.ingest_function = f"{prefix}-ingest"
        self.crawler = f"{prefix}-raw"
        self.workflow = prefix
        self.topic = f"{prefix}-alerts"
        self.dead_letters = f"{prefix}-dead-letters"
        self.schedule_group = prefix
        self.ingest_log_group = f"/aws/lambda/{prefix}-ingest"
        self.glue_log_group = f"/aws-glue/{prefix}"
        self.firehose_log_group = f"/aws/kinesisfirehose/{prefix}"

    def _bucket(self, purpose: str) -> str:
        # A bucket's name is unique in the world; a retained one is found again by its name.
        return f"{self.prefix}-{purpose}-{Aws.ACCOUNT_ID}-{Aws.REGION}"

    def stream(self, dataset: str) -> str:
        return f"{self.prefix}-{dataset.replace('_', '-')}"

    def job(self, step: str) -> str:
        return f"{self.prefix}-{step}"

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource in the stack's account and region."""
        return f"arn:{Aws.PARTITION}:{service}:{Aws.REGION}:{Aws.ACCOUNT_ID}:{resource}"

    @staticmethod
    def bucket_arn(bucket: str, keys: str | None = None) -> str:
        """The ARN of a bucket, or of the objects in it whose keys match."""
        return f"arn:{Aws.PARTITION}:s3:::{bucket}" + ("" if keys is None else f"/{keys}")

    def catalog_arns(self, databases: tuple[str, ...]) -> list[str]:
        """The Glue catalog, these databases and every table in them: Glue asks for all three."""
        return [
            self.arn("glue", "catalog"),
            *(self.arn("glue", f"database/{database}") for database in databases),
            *(self.arn("glue", f"table/{database}/*") for database in databases),
        ]

    def log_streams_arn(self, log_group: str) -> str:
        return self.arn("logs", f"log-group:{log_group}:log-stream:*")
