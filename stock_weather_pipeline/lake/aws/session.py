"""The one place where the lake's AWS clients are made: one session, one retry policy, time-outs on everything."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stock_weather_pipeline.errors import LakeError

if TYPE_CHECKING:
    import boto3
    from botocore.config import Config
    from mypy_boto3_athena import AthenaClient
    from mypy_boto3_glue import GlueClient
    from mypy_boto3_s3 import S3Client

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
# Enough for throttling to pass: the waits double up to 20 s.
_ATTEMPTS = 8


class AwsSession:
    """Clients of one session, each made on first use. Region, endpoint and credentials are AWS's own variables."""

    @cached_property
    def boto(self) -> boto3.Session:
        import boto3

        session = boto3.Session()
        if session.region_name is None:
            raise LakeError("No AWS region is set: set AWS_REGION, or a region in the AWS profile.")
        return session

    @cached_property
    def s3(self) -> S3Client:
        return self.boto.client("s3", config=self.config)

    @cached_property
    def glue(self) -> GlueClient:
        return self.boto.client("glue", config=self.config)

    @cached_property
    def athena(self) -> AthenaClient:
        return self.boto.client("athena", config=self.config)

    @cached_property
    def config(self) -> Config:
        from botocore.config import Config

        return Config(
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            tcp_keepalive=True,
            max_pool_connections=32,
        )

    @property
    def region(self) -> str:
        return str(self.boto.region_name)

    @property
    def s3_endpoint(self) -> str | None:
        """Where S3 is when it is not AWS's own, for readers that do not know AWS's variables."""
        url = self.s3.meta.endpoint_url
        host = urlsplit(url).hostname or ""
        return None if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) else url
