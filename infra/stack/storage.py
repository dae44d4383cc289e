"""The three buckets: raw zone, tables, query results. Encrypted, versioned, private, TLS only, and kept when the stack
is deleted.
"""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.stack.acknowledged import acknowledge
from infra.stack.names import Names
from infra.stack.parameters import Parameters

_HANDOVER_DAYS = 7
_MULTIPART_DAYS = 7


class Storage(Construct):
    """The buckets with their life cycles."""

    def __init__(self, scope: Construct, construct_id: str, names: Names, parameters: Parameters) -> None:
        super().__init__(scope, construct_id)
        noncurrent = parameters.noncurrent_retention_days
        self.raw = self._bucket(
            "Raw",
            names.raw_bucket,
            noncurrent,
            {
                # What a function handed to a run is read within minutes.
                "handover/": _HANDOVER_DAYS,
                "superseded/": parameters.superseded_retention_days,
                "landing_taken/": parameters.landing_retention_days,
                "landing_rejected/": parameters.landing_retention_days,
                "landing_failed/": parameters.landing_retention_days,
            },
        )
        self.parquet = self._bucket("Parquet", names.parquet_bucket, noncurrent, {})
        self.results = self._bucket("Results", names.results_bucket, 1, {"": parameters.results_retention_days})

    def _bucket(self, construct_id: str, name: str, noncurrent_days: float, expirations: dict[str, float]) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            construct_id,
            bucket_name=name,
            encryption=s3.BucketEncryption.S3_MANAGED,
            versioned=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            removal_policy=RemovalPolicy.RETAIN,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="leftovers",
                    abort_incomplete_multipart_upload_after=Duration.days(_MULTIPART_DAYS),
                    noncurrent_version_expiration=Duration.days(noncurrent_days),
                ),
                *(
                    s3.LifecycleRule(
                        id=f"expire-{prefix.rstrip('/') or 'all'}",
                        prefix=prefix or None,
                        expiration=Duration.days(days),
                    )
                    for prefix, days in expirations.items()
                ),
            ],
        )
        acknowledge(
            bucket, "AwsSolutions-S1", "Who reads what is the account's CloudTrail to record, not a fourth bucket's."
        )
        return bucket
