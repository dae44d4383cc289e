"""Is the deployed stack really there, and does it work? Every resource is asked for at its own service, not at
CloudFormation; then the function fetches a day, Athena answers a query and the topic takes a message.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.aws import CONFIG, Account
from infra.deploy import outputs
from infra.errors import InfraError, aws_errors

_QUERY_TIMEOUT_S = 60


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `problem` is empty when it is well."""

    what: str
    problem: str = ""


@dataclass(frozen=True)
class _Resource:
    kind: str
    logical: str
    physical: str


class _Stack:
    """The resources of a stack, and clients to ask about them."""

    def __init__(self, account: Account, resources: list[_Resource]) -> None:
        self._account, self.resources = account, resources

    def client(self, service: str) -> Any:
        return self._account.session.client(service, config=CONFIG)  # type: ignore[call-overload]

    def of_kind(self, kind: str) -> list[str]:
        return [resource.physical for resource in self.resources if resource.kind == kind]


_Ask = Callable[[_Stack, str], Any]


def _tls_only(policies: list[str]) -> bool:
    return bool(policies) and all("aws:SecureTransport" in policy for policy in policies)


def _bucket_policies(stack: _Stack, _: str) -> bool:
    s3 = stack.client("s3")
    return _tls_only([s3.get_bucket_policy(Bucket=name)["Policy"] for name in stack.of_kind("AWS::S3::Bucket")])


def _topic_policies(stack: _Stack, _: str) -> bool:
    sns = stack.client("sns")
    topics = stack.of_kind("AWS::SNS::Topic")
    return _tls_only([sns.get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"] for arn in topics])


def _queue_policies(stack: _Stack, _: str) -> bool:
    sqs = stack.client("sqs")
    queues = stack.of_kind("AWS::SQS::Queue")
    asked = [sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"]) for url in queues]
    return _tls_only([answer.get("Attributes", {}).get("Policy", "") for answer in asked])


def _subscribed(stack: _Stack, _: str) -> Any:
    sns = stack.client("sns")
    return [
        subscription
        for topic in stack.of_kind("AWS::SNS::Topic")
        for subscription in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    ]


def _log_stream(stack: _Stack, physical: str) -> bool:
    logs = stack.client("logs")
    wanted = physical.split("|")[-1]
    groups = stack.of_kind("AWS::Logs::LogGroup")
    found = [s for g in groups for s in logs.describe_log_streams(logGroupName=g)["logStreams"]]
    return any(stream["logStreamName"] == wanted for stream in found)


def _log_group(stack: _Stack, name: str) -> bool:
    groups = stack.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return any(group["logGroupName"] == name and group.get("retentionInDays") for group in groups)


def _schedule(stack: _Stack, physical: str) -> Any:
    (group,) = stack.of_kind("AWS::Scheduler::ScheduleGroup")
    return stack.client("scheduler").get_schedule(Name=physical.split("|")[-1], GroupName=group.split("/")[-1])


def _invoke_config(stack: _Stack, _: str) -> Any:
    (function,) = stack.of_kind("AWS::Lambda::Function")
    return stack.client("lambda").get_function_event_invoke_config(FunctionName=function)


def _asked(service: str, operation: str, argument: str) -> _Ask:
    """Ask a service about one resource; it answers with an error when there is none."""

    def ask(stack: _Stack, physical: str) -> Any:
        return getattr(stack.client(service), operation)(**{argument: physical})

    return ask


ASKED: dict[str, _Ask] = {
    "AWS::Athena::WorkGroup": _asked("athena", "get_work_group", "WorkGroup"),
    "AWS::CloudWatch::Alarm": lambda stack, name: stack.client("cloudwatch").describe_alarms(AlarmNames=[name])[
        "MetricAlarms"
    ],
    "AWS::CloudWatch::Dashboard": _asked("cloudwatch", "get_dashboard", "DashboardName"),
    "AWS::Glue::Classifier": _asked("glue", "get_classifier", "Name"),
    "AWS::Glue::Crawler": _asked("glue", "get_crawler", "Name"),
    "AWS::Glue::DataQualityRuleset": _asked("glue", "get_data_quality_ruleset", "Name"),
    "AWS::Glue::Database": _asked("glue", "get_database", "Name"),
    "AWS::Glue::Job": _asked("glue", "get_job", "JobName"),
    "AWS::Glue::Trigger": _asked("glue", "get_trigger", "Name"),
    "AWS::Glue::Workflow": _asked("glue", "get_workflow", "Name"),
    "AWS::IAM::Role": _asked("iam", "get_role", "RoleName"),
    "AWS::KMS::Key": _asked("kms", "describe_key", "KeyId"),
    "AWS::KinesisFirehose::DeliveryStream": _asked("firehose", "describe_delivery_stream", "DeliveryStreamName"),
    "AWS::Lambda::EventInvokeConfig": _invoke_config,
    "AWS::Lambda::Function": _asked("lambda", "get_function", "FunctionName"),
    "AWS::Logs::LogGroup": _log_group,
    "AWS::Logs::LogStream": _log_stream,
    "AWS::S3::Bucket": _asked("s3", "head_bucket", "Bucket"),
    "AWS::S3::BucketPolicy": _bucket_policies,
    "AWS::SNS::Subscription": _subscribed,
    "AWS::SNS::Topic": _asked("sns", "get_topic_attributes", "TopicArn"),
    "AWS::SNS::TopicPolicy": _topic_policies,
    "AWS::SQS::Queue": _asked("sqs", "get_queue_attributes", "QueueUrl"),
    "AWS::SQS::QueuePolicy": _queue_policies,
    "AWS::Scheduler::Schedule": _schedule,
    "AWS::Scheduler::ScheduleGroup": lambda stack, name: stack.client("scheduler").get_schedule_group(
        Name=name.split("/")[-1]
    ),
    "AWS::SecretsManager::Secret": _asked("secretsmanager", "describe_secret", "SecretId"),
}
"""How each kind of resource is asked for: true or an answer when it is there, false or an error when it is not."""


def look(account: Account, stack: str) -> Iterator[Finding]:
    """Look for every resource of a deployed stack. Raises InfraError when there is no such stack."""
    outputs(account, stack)
    with aws_errors(f"list the resources of {stack}"):
        pages = account.cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
        resources = [
            _Resource(item["ResourceType"], item["LogicalResourceId"], item.get("PhysicalResourceId", ""))
            for page in pages
            for item in page["StackResourceSummaries"]
        ]
    asked = _Stack(account, resources)
    for resource in resources:
        what = f"{resource.kind} {resource.physical}"
        ask = ASKED.get(resource.kind)
        if ask is None:
            yield Finding(what, "nobody here knows how to ask for it: add it to infra/smoke.py")
            continue
        try:
            yield Finding(what, "" if ask(asked, resource.physical) else "its service does not know it as deployed")
        except (ClientError, BotoCoreError, KeyError) as error:
            yield Finding(what, f"its service answers: {error}")


def work(account: Account, stack: str) -> Iterator[Finding]:
    """Have the function fetch yesterday's weather, Athena answer, the topic take a message."""
    known = outputs(account, stack)
    for what, attempt in (
        ("the function fetches a day of weather", _invoke),
        ("Athena answers a query", _query),
        ("the topic takes a message", _publish),
    ):
        yield Finding(what, _problem_of(attempt, account, known))


def _problem_of(attempt: Callable[[Account, dict[str, str]], None], account: Account, known: dict[str, str]) -> str:
    try:
        with aws_errors("do it"):
            attempt(account, known)
    except InfraError as error:
        return str(error)
    return ""


def _invoke(account: Account, known: dict[str, str]) -> None:
    day = (datetime.now(timezone.utc) - timedelta(days=2)).date()
    handover = f"handover/smoke/{uuid.uuid4()}/"
    event = {"dataset": "weather", "day": str(day), "delivery": "handover", "handover": handover}
    answer = account.session.client("lambda", config=CONFIG.merge(_patient())).invoke(
        FunctionName=known["IngestFunction"], Payload=json.dumps(event).encode()
    )
    said = answer["Payload"].read().decode()
    if "FunctionError" in answer:
        raise InfraError(f"it failed: {said[:500]}")
    pages = account.s3.list_objects_v2(Bucket=known["RawBucket"], Prefix=handover).get("Contents", [])
    if not pages:
        raise InfraError(f"it handed nothing over below {handover}; it said {said[:500]}")
    for page in pages:
        account.s3.delete_object(Bucket=known["RawBucket"], Key=page["Key"])


def _patient() -> Any:
    from botocore.config import Config

    return Config(read_timeout=910, retries={"total_max_attempts": 1})


def _query(account: Account, known: dict[str, str]) -> None:
    athena = account.session.client("athena", config=CONFIG)
    query = athena.start_query_execution(QueryString="SELECT 1 AS one", WorkGroup=known["AthenaWorkgroup"])
    deadline = time.monotonic() + _QUERY_TIMEOUT_S
    while True:
        status = athena.get_query_execution(QueryExecutionId=query["QueryExecutionId"])["QueryExecution"]["Status"]
        if status["State"] not in ("QUEUED", "RUNNING"):
            break
        if time.monotonic() > deadline:
            athena.stop_query_execution(QueryExecutionId=query["QueryExecutionId"])
            raise InfraError(f"it did not answer in {_QUERY_TIMEOUT_S} s")
        time.sleep(0.5)
    if status["State"] != "SUCCEEDED":
        raise InfraError(f"it ended {status['State']}: {status.get('StateChangeReason', '')}")
    rows = athena.get_query_results(QueryExecutionId=query["QueryExecutionId"])["ResultSet"]["Rows"]
    if rows[-1]["Data"][0].get("VarCharValue") != "1":
        raise InfraError(f"it answered {rows} to SELECT 1")


def _publish(account: Account, known: dict[str, str]) -> None:
    account.session.client("sns", config=CONFIG).publish(
        TopicArn=known["AlertTopicArn"],
        Subject="Smoke test",
        Message="Alerts of the stack arrive. Nothing is to be done.",
    )
