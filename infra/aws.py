"""The account and the region that the commands work in, and their clients. Both come from AWS's own variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from infra.errors import InfraError, aws_errors

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_s3 import S3Client

CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 8}, connect_timeout=10, read_timeout=60)


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
    session = boto3.Session()
    if session.region_name is None:
        raise InfraError("No AWS region is set: set AWS_REGION, or a region in the AWS profile.")
    with aws_errors("find out which AWS account this is"):
        number = session.client("sts", config=CONFIG).get_caller_identity()["Account"]
    return Account(session, number, session.region_name)
