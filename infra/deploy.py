"""Deploys a committed template: packages into the artifact bucket, then one change set, shown before it is carried out.

The same way shows what would change: the change set is made, read and thrown away.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, WaiterError

from infra.aws import Account
from infra.errors import InfraError, aws_errors

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import ChangeTypeDef, ParameterTypeDef, WaiterConfigTypeDef

    from infra.package import Artifacts

TEMPLATE = Path(__file__).parent / "template.json"
DAGSTER_TEMPLATE = Path(__file__).parent / "dagster_template.json"
_CHANGE_SET = "stock-weather-deploy"
_NOTHING_TO_DO = ("didn't contain changes", "No updates are to be performed")
_POLL: WaiterConfigTypeDef = {"Delay": 5, "MaxAttempts": 720}


@dataclass(frozen=True)
class Change:
    """One resource that a deployment adds, changes or removes. `replaced` says that it is made anew."""

    action: str
    resource: str
    kind: str
    replaced: bool

    def __str__(self) -> str:
        return f"{self.action:8} {self.kind:40} {self.resource}{'  (made anew)' if self.replaced else ''}"


def artifact_bucket(account: Account, prefix: str) -> str:
    """The name of the bucket for packages and templates; made when it is not there."""
    name = account.bucket(prefix, "artifacts")
    s3 = account.s3
    with aws_errors(f"make the bucket {name}"):
        try:
            s3.head_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
                raise
            # The oldest region is the one that must not be named.
            if account.region == "us-east-1":
                s3.create_bucket(Bucket=name)
            else:
                s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": account.region})  # type: ignore[typeddict-item]
        s3.put_public_access_block(
            Bucket=name,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True,
                "IgnorePublicAcls": True,
                "BlockPublicPolicy": True,
                "RestrictPublicBuckets": True,
            },
        )
        s3.put_bucket_encryption(
            Bucket=name,
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
            },
        )
        s3.put_bucket_lifecycle_configuration(
            Bucket=name,
            LifecycleConfiguration={
                "Rules": [
                    {
                        "ID": "leftovers",
                        "Status": "Enabled",
                        "Filter": {"Prefix": ""},
                        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
                    }
                ]
            },
        )
    return name


def upload(account: Account, bucket: str, artifacts: Artifacts) -> list[str]:
    """Upload what is not there yet; returns the keys uploaded. Keys say what the content is."""
    s3 = account.s3
    sent = []
    for key, path in artifacts.files.items():
        with aws_errors(f"upload s3://{bucket}/{key}"):
            try:
                s3.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
                    raise
                s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
                sent.append(key)
    return sent


def plan(
    account: Account, stack: str, bucket: str, chosen: Mapping[str, str], template: Path = TEMPLATE
) -> list[Change] | None:
    """Make the change set of a deployment. None: nothing would change, and no change set is left. An empty list: no
    resource changes, but something else of the stack does, such as an output.

    `chosen` are the parameters given now; the others keep what they have, or their default in a new stack.
    """
    cloudformation = account.cloudformation
    status = stack_status(account, stack)
    if status is not None and status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
        raise InfraError(f"The stack {stack} is {status}: wait until that is done.")
    if status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"):
        raise InfraError(f"The stack {stack} is {status} and cannot be updated: destroy it first; buckets are kept.")
    new = status in (None, "REVIEW_IN_PROGRESS")
    discard(account, stack)
    text = template.read_text(encoding="utf-8")
    key = f"templates/{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    with aws_errors(f"upload s3://{bucket}/{key}"):
        account.s3.put_object(Bucket=bucket, Key=key, Body=text.encode())
    parameters = _parameters(json.loads(text), chosen, {} if new else _current_parameters(account, stack))
    with aws_errors(f"plan the deployment of {stack}"):
        cloudformation.create_change_set(
            StackName=stack,
            ChangeSetName=_CHANGE_SET,
            ChangeSetType="CREATE" if new else "UPDATE",
            TemplateURL=f"https://{bucket}.s3.{account.region}.amazonaws.com/{key}",
            Parameters=parameters,
            Capabilities=["CAPABILITY_IAM"],
            # The buckets of a stack that was destroyed are still there.
            ImportExistingResources=True,
        )
        try:
            cloudformation.get_waiter("change_set_create_complete").wait(
                StackName=stack, ChangeSetName=_CHANGE_SET, WaiterConfig=_POLL
            )
        except WaiterError:
            reason = cloudformation.describe_change_set(StackName=stack, ChangeSetName=_CHANGE_SET).get(
                "StatusReason", ""
            )
            discard(account, stack)
            if any(text in reason for text in _NOTHING_TO_DO):
                return None
            raise InfraError(f"The deployment of {stack} cannot be planned: {reason}") from None
        changes: list[ChangeTypeDef] = []
        for page in cloudformation.get_paginator("describe_change_set").paginate(
            StackName=stack, ChangeSetName=_CHANGE_SET
        ):
            changes += page["Changes"]
    return [_change(change) for change in changes]


def discard(account: Account, stack: str) -> None:
    """Throw away a planned deployment, and the empty stack that planning a new one made."""
    cloudformation = account.cloudformation
    with aws_errors(f"throw away the plan for {stack}"):
        status = stack_status(account, stack)
        if status is None:
            return
        if any(
            s.get("ChangeSetName") == _CHANGE_SET for s in cloudformation.list_change_sets(StackName=stack)["Summaries"]
        ):
            cloudformation.delete_change_set(StackName=stack, ChangeSetName=_CHANGE_SET)
        if status == "REVIEW_IN_PROGRESS":
            cloudformation.delete_stack(StackName=stack)


def carry_out(account: Account, stack: str) -> dict[str, str]:
    """Carry out the planned deployment and wait for it; returns the stack's outputs.

    Raises InfraError with the first resource that failed; CloudFormation has then gone back to what was before.
    """
    cloudformation = account.cloudformation
    new = stack_status(account, stack) == "REVIEW_IN_PROGRESS"
    with aws_errors(f"deploy {stack}"):
        cloudformation.execute_change_set(StackName=stack, ChangeSetName=_CHANGE_SET)
        try:
            if new:
                cloudformation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig=_POLL)
            else:
                cloudformation.get_waiter("stack_update_complete").wait(StackName=stack, WaiterConfig=_POLL)
        except WaiterError:
            raise InfraError(
                f"The deployment of {stack} failed and was undone: {_first_failure(account, stack)}"
            ) from None
    return outputs(account, stack)


def stack_status(account: Account, stack: str) -> str | None:
    """The stack's status, or None when there is no such stack."""
    with aws_errors(f"look at the stack {stack}"):
        try:
            found = account.cloudformation.describe_stacks(StackName=stack)["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError" and "does not exist" in str(error):
                return None
            raise
    return str(found[0]["StackStatus"])


def outputs(account: Account, stack: str) -> dict[str, str]:
    """The outputs of a deployed stack by name. Raises InfraError when there is none."""
    if stack_status(account, stack) is None:
        raise InfraError(f"There is no stack {stack} in {account.region}: deploy it, or name another with --stack.")
    with aws_errors(f"look at the stack {stack}"):
        found = account.cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}


def settings_lines(account: Account, stack: str) -> list[str]:
    """The pipeline's settings for a deployed stack, as lines of `.env`."""
    with aws_errors(f"look at the stack {stack}"):
        found = account.cloudformation.describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", [])
    described = {output["Description"]: output["OutputValue"] for output in found if "Description" in output}
    settings = {name: value for name, value in described.items() if name.startswith("STOCK_WEATHER_")}
    return [
        f"AWS_REGION={account.region}",
        "STOCK_WEATHER_DEPLOYMENT=aws",
        *(f"{name}={value}" for name, value in sorted(settings.items())),
    ]


def parameters_of(template: Path) -> set[str]:
    """The names of a template's parameters."""
    return set(json.loads(template.read_text(encoding="utf-8"))["Parameters"])


def _current_parameters(account: Account, stack: str) -> dict[str, str]:
    with aws_errors(f"look at the stack {stack}"):
        found = account.cloudformation.describe_stacks(StackName=stack)["Stacks"][0].get("Parameters", [])
    return {item["ParameterKey"]: item["ParameterValue"] for item in found}


def _parameters(
    template: dict[str, Any], chosen: Mapping[str, str], current: Mapping[str, str]
) -> list[ParameterTypeDef]:
    declared = template["Parameters"]
    unknown = sorted(set(chosen) - set(declared))
    if unknown:
        raise InfraError(f"The stack has no parameter {unknown[0]}: it has {', '.join(sorted(declared))}.")
    defaults = {name: str(about["Default"]) for name, about in declared.items() if "Default" in about}
    values = {**defaults, **current, **chosen}
    missing = sorted(set(declared) - set(values))
    if missing:
        raise InfraError(f"The stack needs a value for {', '.join(missing)}.")
    return [{"ParameterKey": name, "ParameterValue": values[name]} for name in sorted(declared)]


def _change(change: ChangeTypeDef) -> Change:
    about = change["ResourceChange"]
    return Change(
        about["Action"], about["LogicalResourceId"], about["ResourceType"], about.get("Replacement") == "True"
    )


def _first_failure(account: Account, stack: str) -> str:
    events = account.cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    failed = [event for event in events if event.get("ResourceStatus", "").endswith("_FAILED")]
    if not failed:
        return "no resource says why; see the stack's events."
    first = failed[-1]
    return f"{first.get('LogicalResourceId')} ({first.get('ResourceType')}): {first.get('ResourceStatusReason', '')}"
