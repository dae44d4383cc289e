"""Takes a stack down. Its buckets are kept, and found again by the next deployment, unless told otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError, WaiterError

from infra.aws import Account
from infra.deploy import stack_status
from infra.errors import InfraError, aws_errors

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import WaiterConfigTypeDef
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

DATA = ("raw", "parquet", "results")
_POLL: WaiterConfigTypeDef = {"Delay": 5, "MaxAttempts": 720}


def destroy(account: Account, stack: str, prefix: str, delete_data: bool) -> list[str]:
    """Delete the stack and the packages; with `delete_data` every object in its buckets too. Returns buckets kept.

    Doing it again, or after it was interrupted, deletes what is left.
    """
    delete_stack(account, stack)
    for purpose in ("artifacts", *(DATA if delete_data else ())):
        delete_bucket(account, account.bucket(prefix, purpose))
    return [name for name in (account.bucket(prefix, purpose) for purpose in DATA) if _exists(account, name)]


def delete_stack(account: Account, stack: str) -> None:
    """Delete a stack and wait for it; one that is not there is fine."""
    if stack_status(account, stack) is None:
        return
    cloudformation = account.cloudformation
    with aws_errors(f"delete the stack {stack}"):
        cloudformation.delete_stack(StackName=stack)
        try:
            cloudformation.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig=_POLL)
        except WaiterError as error:
            raise InfraError(
                f"The stack {stack} could not be deleted ({error.kwargs['reason']}): see its events, try again."
            ) from None


def delete_bucket(account: Account, name: str) -> None:
    """Delete a bucket with every version of every object; one that is not there is fine."""
    if not _exists(account, name):
        return
    s3 = account.s3
    with aws_errors(f"delete the bucket {name}"):
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
            found: list[ObjectIdentifierTypeDef] = [
                {"Key": item["Key"], "VersionId": item["VersionId"]}
                for item in (*page.get("Versions", []), *page.get("DeleteMarkers", []))
            ]
            if found:
                left = s3.delete_objects(Bucket=name, Delete={"Objects": found, "Quiet": True}).get("Errors", [])
                if left:
                    raise InfraError(f"Cannot delete s3://{name}/{left[0].get('Key')}: {left[0].get('Message')}")
        s3.delete_bucket(Bucket=name)


def _exists(account: Account, name: str) -> bool:
    with aws_errors(f"look for the bucket {name}"):
        try:
            account.s3.head_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchBucket"):
                return False
            raise
    return True
