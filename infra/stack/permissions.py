"""Who may do what: statements with the fewest actions on resources by ARN, and the roles that hold them.

A wildcard outside `infra/wildcards.py` fails the synthesis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.stack.acknowledged import acknowledge
from infra.stack.names import DATABASES, Names
from infra.wildcards import reason_for

RAW_KEYS = ("raw/*", "superseded/*", "coverage/*", "fetches/*", "landing_stamps/*", "lake.json")
LANDING_KEYS = ("landing/*", "landing_taken/*", "landing_rejected/*")
HANDOVER_KEYS = ("handover/*",)
PARQUET_KEYS = ("parquet/*", "quarantine/*")
PROD_KEYS = ("prod/*",)
METRICS_NAMESPACE = "StockWeather"

_READ_TABLES = (
    "glue:GetDatabase",
    "glue:GetTable",
    "glue:GetTables",
    "glue:GetPartition",
    "glue:GetPartitions",
    "glue:BatchGetPartition",
)
_WRITE_TABLES = (
    "glue:CreateTable",
    "glue:UpdateTable",
    "glue:DeleteTable",
    "glue:CreatePartition",
    "glue:BatchCreatePartition",
    "glue:UpdatePartition",
    "glue:BatchUpdatePartition",
    "glue:DeletePartition",
    "glue:BatchDeletePartition",
)


def allow(
    actions: Sequence[str], resources: Sequence[str], conditions: Mapping[str, Any] | None = None
) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=conditions)


def role(
    scope: Construct,
    construct_id: str,
    description: str,
    trusted: iam.IPrincipal,
    statements: Sequence[iam.PolicyStatement],
) -> iam.Role:
    """A role with exactly these statements. Raises ValueError for a wildcard that nobody gave a reason for."""
    made = iam.Role(
        scope,
        construct_id,
        description=description,
        assumed_by=trusted,
        inline_policies={"access": iam.PolicyDocument(statements=list(statements))},
    )
    stack = Stack.of(scope)
    for statement in statements:
        content = stack.resolve(statement.to_json())
        actions = content["Action"] if isinstance(content["Action"], list) else [content["Action"]]
        resources = content["Resource"] if isinstance(content["Resource"], list) else [content["Resource"]]
        for resource in map(flat, resources):
            if "*" not in resource:
                continue
            reason = reason_for(resource, actions)
            if reason is None:
                raise ValueError(
                    f"{construct_id} may {', '.join(actions)} on {resource}: give infra/wildcards.py the reason"
                )
            acknowledge(made, f"AwsSolutions-IAM5[Resource::{_as_reported(resource)}]", reason)
    return made


def flat(value: Any) -> str:
    """A resolved template value as text, with references in `${}`."""
    if isinstance(value, str):
        return value
    if "Ref" in value:
        return f"${{{value['Ref']}}}"
    if "Fn::Join" in value:
        separator, parts = value["Fn::Join"]
        return str(separator).join(flat(part) for part in parts)
    logical_id, attribute = value["Fn::GetAtt"]
    return f"${{{logical_id}.{attribute}}}"


def _as_reported(resource: str) -> str:
    return resource.replace("${", "<").replace("}", ">")


def list_buckets(names: Names, *buckets: str) -> iam.PolicyStatement:
    return allow(("s3:ListBucket", "s3:GetBucketLocation"), [names.bucket_arn(bucket) for bucket in buckets])


def read_objects(names: Names, bucket: str, keys: Sequence[str]) -> iam.PolicyStatement:
    return allow(("s3:GetObject",), [names.bucket_arn(bucket, key) for key in keys])


def write_objects(names: Names, bucket: str, keys: Sequence[str]) -> iam.PolicyStatement:
    """Read, write and delete. Deleting in a versioned bucket leaves the version; nobody may delete versions."""
    actions = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload")
    return allow(actions, [names.bucket_arn(bucket, key) for key in keys])


def write_only_objects(names: Names, bucket: str, keys: Sequence[str]) -> iam.PolicyStatement:
    return allow(("s3:PutObject", "s3:AbortMultipartUpload"), [names.bucket_arn(bucket, key) for key in keys])


def read_catalog(names: Names, databases: tuple[str, ...] = DATABASES) -> iam.PolicyStatement:
    return allow(_READ_TABLES, names.catalog_arns(databases))


def write_catalog(names: Names, databases: tuple[str, ...] = DATABASES) -> iam.PolicyStatement:
    return allow((*_READ_TABLES, *_WRITE_TABLES), names.catalog_arns(databases))


def query(names: Names, workgroup: str) -> list[iam.PolicyStatement]:
    """Run queries in one workgroup and read and write their results."""
    return [
        allow(
            (
                "athena:StartQueryExecution",
                "athena:StopQueryExecution",
                "athena:GetQueryExecution",
                "athena:BatchGetQueryExecution",
                "athena:GetQueryResults",
                "athena:GetWorkGroup",
            ),
            [names.arn("athena", f"workgroup/{workgroup}")],
        ),
        list_buckets(names, names.results_bucket),
        write_objects(names, names.results_bucket, ["athena/*"]),
    ]


def report(names: Names, topic: str, key: str) -> list[iam.PolicyStatement]:
    """Publish alerts to the encrypted topic and metrics to the pipeline's namespace."""
    return [
        allow(("sns:Publish",), [topic]),
        allow(("kms:GenerateDataKey", "kms:Decrypt"), [key]),
        allow(("cloudwatch:PutMetricData",), ["*"], {"StringEquals": {"cloudwatch:namespace": METRICS_NAMESPACE}}),
    ]


def write_logs(names: Names, log_group: str) -> iam.PolicyStatement:
    return allow(("logs:CreateLogStream", "logs:PutLogEvents"), [names.log_streams_arn(log_group)])


def write_glue_logs(names: Names, log_group: str) -> iam.PolicyStatement:
    """As `write_logs`, for the log groups that Glue itself makes when they are missing."""
    group = names.arn("logs", f"log-group:{log_group}")
    actions = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
    return allow(actions, [group, names.log_streams_arn(log_group)])


def read_secret(secret: str) -> iam.PolicyStatement:
    return allow(("secretsmanager:GetSecretValue",), [secret])


def service(name: str, source_arns: Sequence[str] = (), account: str | None = None) -> iam.IPrincipal:
    """An AWS service, acting for the stack's own account (and resources) only."""
    conditions: dict[str, Any] = {}
    if account is not None:
        conditions["StringEquals"] = {"aws:SourceAccount": account}
    if source_arns:
        conditions["ArnLike"] = {"aws:SourceArn": list(source_arns)}
    return iam.ServicePrincipal(f"{name}.amazonaws.com", conditions=conditions or None)
