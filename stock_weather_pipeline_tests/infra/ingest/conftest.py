"""An emulated account with what the ingest function needs of the stack, and the vendors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from infra.emulation import EmulatedAws
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline_tests.infra.emulation.conftest import aws

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

__all__ = ["aws"]

RAW_BUCKET = "raw-bucket"
KEY = "s3cr3tKeyValue"


class Invocation:
    """What Lambda tells about an invocation."""

    def __init__(self, seconds: float = 900) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


@dataclass(frozen=True)
class Stack:
    """The account as the stack leaves it."""

    aws: EmulatedAws
    s3: S3Client
    sqs: SQSClient
    queue_url: str

    def keys(self, prefix: str = "") -> list[str]:
        """Keys of the raw bucket, with everything delivered that Firehose still holds."""
        self.aws.firehose.flush()
        found = self.s3.list_objects_v2(Bucket=RAW_BUCKET, Prefix=prefix)
        return [item["Key"] for item in found.get("Contents", [])]

    def read(self, key: str) -> bytes:
        return self.s3.get_object(Bucket=RAW_BUCKET, Key=key)["Body"].read()

    def dead_letters(self) -> list[Any]:
        import json

        found = self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in found.get("Messages", [])]


@pytest.fixture
def stack(aws: EmulatedAws, vendor: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Stack:
    monkeypatch.chdir(tmp_path)
    for name in ("POLYGON_API_KEY", "MASSIVE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    s3, sqs = boto3.client("s3"), boto3.client("sqs")
    s3.create_bucket(Bucket=RAW_BUCKET)
    queue_url = sqs.create_queue(QueueName="dead-letters")["QueueUrl"]
    secret = boto3.client("secretsmanager").create_secret(Name="key", SecretString=KEY)
    streams = {}
    for dataset in ("stock_prices", "weather"):
        streams[f"STOCK_WEATHER_FIREHOSE_STREAM_{dataset.upper()}"] = dataset
        boto3.client("firehose").create_delivery_stream(
            DeliveryStreamName=dataset,
            DeliveryStreamType="DirectPut",
            ExtendedS3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::123456789012:role/firehose",
                "BucketARN": f"arn:aws:s3:::{RAW_BUCKET}",
                "Prefix": f"landing/{dataset}/",
            },
        )
    environment = {
        "STOCK_WEATHER_DEPLOYMENT": "aws",
        "STOCK_WEATHER_RAW_BUCKET": RAW_BUCKET,
        "STOCK_WEATHER_POLYGON_SECRET_ARN": secret["ARN"],
        "STOCK_WEATHER_DEAD_LETTER_QUEUE_URL": queue_url,
        "STOCK_WEATHER_POLYGON_URL": vendor.url,
        "STOCK_WEATHER_OPEN_METEO_URL": vendor.url,
        "STOCK_WEATHER_POLYGON_CALLS_PER_MINUTE": "6000",
        **streams,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Stack(aws, s3, sqs, queue_url)
