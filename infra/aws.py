"""The account and the region that the commands work in, and their clients. Both come from AWS's own variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.errors import aws_errors
from stock_weather_pipeline.lake.aws.session import AwsSession

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_s3 import S3Client

CONFIG = AwsSession().config


@dataclass(frozen=True)
class Account:
    """Where a stack is: the session, the account's number, the region."""

    session: boto3.Session
    number: str
    region: str

    @property
    def cloudformation(self) -> CloudFormationClient:
        return self.session.client("cloudformation", config=CONFIG)

    @property
    def s3(self) -> S3Client:
        return self.session.client("s3", config=CONFIG)

    def bucket(self, prefix: str, purpose: str) -> str:
        """A bucket's name, as in the template."""
        return f"{prefix}-{purpose}-{self.number}-{self.region}"


def open_account() -> Account:
    """The account that the environment's credentials belong to. Raises InfraError without credentials or region."""
    aws = AwsSession()
    with aws_errors("find out which AWS account this is"):
        number = aws.boto.client("sts", config=CONFIG).get_caller_identity()["Account"]
    return Account(aws.boto, number, aws.region)
