"""Every `*` that a policy of the stack may hold, as a pattern over resources, with the reason. Nothing else may hold
one: synthesis refuses it, and a test reads the committed template again.

Resources are written as in the template, with parameters and pseudo parameters in `${}`.
"""

from __future__ import annotations

import re

ALLOWED = {
    r"arn:\$\{AWS::Partition\}:s3:::\$\{Prefix\}-(raw|parquet|results)-[^/]*/[a-z_/]+\*": (
        "Keys below one prefix of one bucket: a new object has no ARN before it is written."
    ),
    r"arn:\$\{AWS::Partition\}:s3:::\$\{ArtifactBucket\}/glue/\*": (
        "Scripts and wheels are named by their content, so each release has other keys."
    ),
    r"arn:\$\{AWS::Partition\}:glue:\$\{AWS::Region\}:\$\{AWS::AccountId\}:table/stock_weather(_[a-z]+)?/\*": (
        "The pipeline makes its tables and views; the stack has only their databases."
    ),
    r"arn:\$\{AWS::Partition\}:logs:\$\{AWS::Region\}:\$\{AWS::AccountId\}:log-group:[^*]+:log-stream:\*": (
        "Log streams of one log group: the service names them."
    ),
}
"""Pattern of a resource: why it may end in a wildcard."""

ANY_RESOURCE = {
    "cloudwatch:PutMetricData": "Metrics have no ARN; a condition allows one namespace only.",
    "cloudwatch:GetMetricData": "Metrics have no ARN and the action knows no condition; it reads numbers only.",
    "athena:ListWorkGroups": "Listing has no ARN; Grafana's editor offers the names.",
    "athena:ListDataCatalogs": "Listing has no ARN; Grafana's editor offers the names.",
    "ecr:GetAuthorizationToken": "A registry's log-in token has no ARN; what it may pull is another statement's.",
    "ecs:DescribeTasks": "Tasks are named when they start; a condition allows one cluster only.",
}
"""Action that may be allowed on `*`: why."""


def reason_for(resource: str, actions: list[str]) -> str | None:
    """Why a statement may name this resource, or None when it must not. Raises nothing for resources without `*`."""
    if resource == "*":
        reasons = [ANY_RESOURCE.get(action) for action in actions]
        return None if None in reasons else " ".join(str(reason) for reason in reasons)
    return next((why for pattern, why in ALLOWED.items() if re.fullmatch(pattern, resource)), None)
