"""Calls are counted by operation, and answered with the faults that were injected."""

from __future__ import annotations

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.emulation import EmulatedAws, Fault, emulated_aws

ONCE = Config(retries={"total_max_attempts": 1, "mode": "standard"})


def test_every_protocol_is_counted_by_service_and_operation(aws: EmulatedAws) -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="a/b c.txt", Body=b"x" * 10)
    assert s3.get_object(Bucket="bucket", Key="a/b c.txt")["Body"].read() == b"x" * 10
    s3.list_objects_v2(Bucket="bucket", Prefix="a/")
    s3.copy_object(Bucket="bucket", Key="copy", CopySource="bucket/a/b c.txt")
    s3.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": "copy"}]})
    boto3.client("glue").create_database(DatabaseInput={"Name": "d"})
    queue = boto3.client("sqs").create_queue(QueueName="q")["QueueUrl"]
    boto3.client("sqs").send_message(QueueUrl=queue, MessageBody="hello")
    boto3.client("sns").create_topic(Name="t")
    boto3.client("lambda").list_functions()
    boto3.client("scheduler").list_schedules()
    boto3.client("cloudwatch").put_metric_data(Namespace="N", MetricData=[{"MetricName": "m", "Value": 1.0}])
    boto3.client("cloudformation").list_stacks()
    assert aws.calls.by_service() == {
        "cloudformation": {"ListStacks": 1},
        "cloudwatch": {"PutMetricData": 1},
        "glue": {"CreateDatabase": 1},
        "lambda": {"ListFunctions": 1},
        "s3": {
            "CopyObject": 1,
            "CreateBucket": 1,
            "DeleteObjects": 1,
            "GetObject": 1,
            "ListObjectsV2": 1,
            "PutObject": 1,
        },
        "scheduler": {"ListSchedules": 1},
        "sns": {"CreateTopic": 1},
        "sqs": {"CreateQueue": 1, "SendMessage": 1},
    }
    assert aws.calls.count("s3") == 6
    assert aws.calls.count("s3", "PutObject") == 1
    aws.calls.reset()
    assert aws.calls.count("s3") == 0


@pytest.mark.parametrize(
    ("service", "operation", "arguments", "fault", "code"),
    [
        ("s3", "ListBuckets", {}, Fault.SLOW_DOWN, "SlowDown"),
        ("s3", "ListBuckets", {}, Fault.EXPIRED_TOKEN, "ExpiredToken"),
        ("glue", "GetDatabases", {}, Fault.THROTTLING, "ThrottlingException"),
        ("athena", "ListWorkGroups", {}, Fault.THROTTLING, "TooManyRequestsException"),
        ("athena", "ListWorkGroups", {}, Fault.EXPIRED_TOKEN, "ExpiredTokenException"),
        ("sns", "ListTopics", {}, Fault.SERVER_ERROR, "InternalServerException"),
        ("lambda", "ListFunctions", {}, Fault.THROTTLING, "TooManyRequestsException"),
        ("cloudwatch", "ListMetrics", {}, Fault.ACCESS_DENIED, "AccessDeniedException"),
    ],
)
def test_the_next_calls_of_an_operation_fail_and_then_succeed(
    aws: EmulatedAws, service: str, operation: str, arguments: dict[str, str], fault: Fault, code: str
) -> None:
    client = boto3.client(service, config=ONCE)  # type: ignore[call-overload]
    aws.faults.inject(service, operation, fault)
    with pytest.raises(ClientError) as raised:
        client._make_api_call(operation, arguments)
    assert raised.value.response["Error"]["Code"] == code
    client._make_api_call(operation, arguments)
    assert aws.calls.count(service, operation) == 2


def test_boto_retries_a_throttled_call_by_itself(aws: EmulatedAws) -> None:
    aws.faults.inject("glue", "CreateDatabase", Fault.THROTTLING, 2)
    boto3.client("glue").create_database(DatabaseInput={"Name": "d"})
    assert aws.calls.count("glue", "CreateDatabase") == 3


def test_a_fault_after_the_effect_leaves_the_effect(aws: EmulatedAws) -> None:
    aws.faults.inject("s3", "CreateBucket", Fault.SERVER_ERROR, after=True)
    with pytest.raises(ClientError, match="InternalError"):
        boto3.client("s3", config=ONCE).create_bucket(Bucket="bucket")
    assert [bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]] == ["bucket"]


def test_each_context_is_an_empty_account_and_there_is_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        with emulated_aws() as running:
            for name, value in running.environment.items():
                monkeypatch.setenv(name, value)
            assert boto3.client("s3").list_buckets()["Buckets"] == []
            boto3.client("s3").create_bucket(Bucket="bucket")
            with pytest.raises(RuntimeError, match="runs already"), emulated_aws():
                pass
