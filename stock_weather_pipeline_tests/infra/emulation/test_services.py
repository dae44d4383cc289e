"""Lambda, Scheduler, Firehose and Glue's jobs do what their definitions say."""

from __future__ import annotations

import base64
import gzip
import io
import json
import zipfile
from datetime import datetime, timezone
from typing import Any, Literal

import boto3
import pytest
from botocore.exceptions import ClientError

from infra.emulation import EmulatedAws, Fault
from infra.emulation.firehose import expanded
from infra.emulation.glue_jobs import crawled_columns

ROLE = "arn:aws:iam::123456789012:role/role"
HANDLER = """
import os, boto3
def handler(event, context):
    print("handling", event)
    if event.get("fail"):
        raise ValueError("asked to fail")
    boto3.client("s3").put_object(Bucket="bucket", Key="from-lambda", Body=os.environ["GREETING"].encode())
    return {"left": context.get_remaining_time_in_millis() > 0, "event": event}
"""


@pytest.fixture
def function(aws: EmulatedAws) -> str:
    boto3.client("s3").create_bucket(Bucket="bucket")
    boto3.client("iam").create_role(RoleName="role", AssumeRolePolicyDocument="{}")
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as file:
        file.writestr("handling.py", HANDLER)
    boto3.client("lambda").create_function(
        FunctionName="function",
        Role=ROLE,
        Runtime="python3.12",
        Handler="handling.handler",
        Timeout=60,
        Code={"ZipFile": package.getvalue()},
        Environment={"Variables": {"GREETING": "hello"}},
    )
    return "function"


@pytest.fixture
def queue(aws: EmulatedAws) -> str:
    return boto3.client("sqs").create_queue(QueueName="dead")["QueueUrl"]


def messages(queue: str) -> list[Any]:
    found = boto3.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(message["Body"]) for message in found]


def schedule(state: Literal["ENABLED", "DISABLED"] = "ENABLED") -> None:
    boto3.client("scheduler").create_schedule(
        Name="daily",
        ScheduleExpression="rate(1 day)",
        FlexibleTimeWindow={"Mode": "OFF"},
        State=state,
        Target={
            "Arn": "arn:aws:lambda:us-east-1:123456789012:function:function",
            "RoleArn": ROLE,
            "Input": '{"at": "<aws.scheduler.scheduled-time>"}',
            "RetryPolicy": {"MaximumRetryAttempts": 2},
            "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:123456789012:dead"},
        },
    )


def test_a_function_runs_its_package_with_its_variables_on_the_emulated_account(
    aws: EmulatedAws, function: str
) -> None:
    answer = boto3.client("lambda").invoke(FunctionName=function, Payload=b'{"x": 1}', LogType="Tail")
    assert json.loads(answer["Payload"].read()) == {"left": True, "event": {"x": 1}}
    assert "handling {'x': 1}" in base64.b64decode(answer["LogResult"]).decode()
    assert boto3.client("s3").get_object(Bucket="bucket", Key="from-lambda")["Body"].read() == b"hello"
    assert aws.calls.count("s3", "PutObject") == 1


def test_a_failing_function_answers_with_its_error(aws: EmulatedAws, function: str) -> None:
    answer = boto3.client("lambda").invoke(FunctionName=function, Payload=b'{"fail": true}')
    assert answer["FunctionError"] == "Unhandled"
    assert json.loads(answer["Payload"].read()) == {"errorMessage": "asked to fail", "errorType": "ValueError"}
    with pytest.raises(ClientError, match="Function not found"):
        boto3.client("lambda").invoke(FunctionName="none")


def test_a_failing_event_is_tried_again_and_ends_in_the_queue(aws: EmulatedAws, function: str, queue: str) -> None:
    boto3.client("lambda").put_function_event_invoke_config(
        FunctionName=function,
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:123456789012:dead"}},
    )
    answer = boto3.client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=b'{"fail": true}')
    assert answer["StatusCode"] == 202
    aws.settle()
    assert len(aws.functions.invocations) == 2
    (message,) = messages(queue)
    assert message["requestPayload"] == {"fail": True}
    assert message["responsePayload"]["errorMessage"] == "asked to fail"


def test_a_schedule_invokes_its_function_with_its_time(aws: EmulatedAws, function: str, queue: str) -> None:
    schedule()
    aws.functions.fire_schedule("daily", datetime(2024, 6, 4, 4, 30, tzinfo=timezone.utc))
    aws.settle()
    (invocation,) = aws.functions.invocations
    assert invocation.payload["event"] == {"at": "2024-06-04T04:30:00Z"}
    assert messages(queue) == []


def test_a_schedule_that_cannot_invoke_ends_in_its_queue(aws: EmulatedAws, function: str, queue: str) -> None:
    schedule()
    aws.faults.inject("lambda", "Invoke", Fault.THROTTLING, 3)
    aws.functions.fire_schedule("daily", datetime(2024, 6, 4, 4, 30, tzinfo=timezone.utc))
    aws.settle()
    assert aws.functions.invocations == []
    assert messages(queue) == [{"at": "2024-06-04T04:30:00Z"}]


def test_a_disabled_schedule_does_not_fire(aws: EmulatedAws, function: str, queue: str) -> None:
    schedule(state="DISABLED")
    with pytest.raises(ValueError, match="daily is disabled"):
        aws.functions.fire_schedule("daily")


def stream(compression: str = "GZIP") -> None:
    boto3.client("s3").create_bucket(Bucket="landing")
    boto3.client("firehose").create_delivery_stream(
        DeliveryStreamName="prices",
        ExtendedS3DestinationConfiguration={
            "RoleARN": ROLE,
            "BucketARN": "arn:aws:s3:::landing",
            "Prefix": "landing/prices/!{timestamp:yyyy/MM/dd}/",
            "CompressionFormat": compression,  # type: ignore[typeddict-item]
        },
    )


def test_firehose_delivers_records_together_below_the_expanded_prefix(aws: EmulatedAws) -> None:
    stream()
    firehose, s3 = boto3.client("firehose"), boto3.client("s3")
    firehose.put_record(DeliveryStreamName="prices", Record={"Data": b"1\n"})
    firehose.put_record_batch(DeliveryStreamName="prices", Records=[{"Data": b"2\n"}, {"Data": b"3\n"}])
    assert "Contents" not in s3.list_objects_v2(Bucket="landing")
    (uri,) = aws.firehose.flush(datetime(2024, 6, 4, 4, 30, tzinfo=timezone.utc))
    assert uri.startswith("s3://landing/landing/prices/2024/06/04/prices-1-2024-06-04-04-30-00-")
    data = s3.get_object(Bucket="landing", Key=uri.removeprefix("s3://landing/"))["Body"].read()
    assert gzip.decompress(data) == b"1\n2\n3\n"
    assert aws.firehose.flush() == []


def test_firehose_refuses_single_records_and_batches_that_are_too_large(aws: EmulatedAws) -> None:
    stream("UNCOMPRESSED")
    firehose = boto3.client("firehose")
    aws.faults.fail_records(1)
    answer = firehose.put_record_batch(DeliveryStreamName="prices", Records=[{"Data": b"1\n"}, {"Data": b"2\n"}])
    assert answer["FailedPutCount"] == 1
    assert answer["RequestResponses"][1]["ErrorCode"] == "ServiceUnavailableException"
    (uri,) = aws.firehose.flush()
    key = uri.removeprefix("s3://landing/")
    assert boto3.client("s3").get_object(Bucket="landing", Key=key)["Body"].read() == b"1\n"
    with pytest.raises(ClientError, match="at most 500 records and 4 MiB"):
        firehose.put_record_batch(DeliveryStreamName="prices", Records=[{"Data": b"x" * 900_000}] * 5)
    with pytest.raises(ClientError, match=r"at most 1,000 KiB"):
        firehose.put_record(DeliveryStreamName="prices", Record={"Data": b"x" * 1_024_001})
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        firehose.put_record(DeliveryStreamName="none", Record={"Data": b"1"})


def test_a_prefix_with_another_expression_is_refused() -> None:
    at = datetime(2024, 6, 4, 4, 30, tzinfo=timezone.utc)
    assert expanded("a/!{timestamp:yyyy}-!{timestamp:MM/dd/HH}/", at) == "a/2024-06/04/04/"
    with pytest.raises(ValueError, match="not emulated"):
        expanded("!{partitionKeyFromQuery:day}/", at)


SCRIPT = """
import sys, module_of_the_wheel
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
print(module_of_the_wheel.NAME, arguments["--JOB_RUN_ID"], arguments["--day"])
if arguments["--day"] == "bad":
    sys.exit("bad day")
"""


@pytest.fixture
def job(aws: EmulatedAws) -> str:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="artifacts")
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("module_of_the_wheel.py", "NAME = 'wheel'")
    s3.put_object(Bucket="artifacts", Key="m.whl", Body=wheel.getvalue())
    s3.put_object(Bucket="artifacts", Key="job.py", Body=SCRIPT.encode())
    for name in ("first", "second"):
        boto3.client("glue").create_job(
            Name=name,
            Role=ROLE,
            Command={"Name": "glueetl", "ScriptLocation": "s3://artifacts/job.py"},
            DefaultArguments={"--additional-python-modules": "s3://artifacts/m.whl,pyarrow==1", "--day": "good"},
        )
    return "first"


def test_a_job_runs_its_script_with_its_arguments_and_modules(aws: EmulatedAws, job: str) -> None:
    glue = boto3.client("glue")
    run = glue.start_job_run(JobName=job)["JobRunId"]
    aws.settle()
    assert glue.get_job_run(JobName=job, RunId=run)["JobRun"]["JobRunState"] == "SUCCEEDED"
    assert aws.glue_jobs.job_runs[run].log == f"wheel {run} good\n"
    bad = glue.start_job_run(JobName=job, Arguments={"--day": "bad"})["JobRunId"]
    aws.settle()
    described = glue.get_job_run(JobName=job, RunId=bad)["JobRun"]
    assert (described["JobRunState"], described["ErrorMessage"]) == ("FAILED", "bad day")
    assert [r["Id"] for r in glue.get_job_runs(JobName=job)["JobRuns"]] == [bad, run]


def test_a_job_without_its_script_fails(aws: EmulatedAws, job: str) -> None:
    boto3.client("s3").delete_object(Bucket="artifacts", Key="job.py")
    glue = boto3.client("glue")
    run = glue.start_job_run(JobName=job)["JobRunId"]
    aws.settle()
    assert glue.get_job_run(JobName=job, RunId=run)["JobRun"]["ErrorMessage"] == "s3://artifacts/job.py is not there"


@pytest.mark.parametrize(("day", "ran"), [("good", ["first", "second"]), ("bad", ["first"])])
def test_a_workflow_starts_a_job_once_the_one_before_has_succeeded(
    aws: EmulatedAws, job: str, day: str, ran: list[str]
) -> None:
    glue = boto3.client("glue")
    glue.create_workflow(Name="workflow")
    glue.create_trigger(
        Name="start",
        WorkflowName="workflow",
        Type="ON_DEMAND",
        Actions=[{"JobName": "first", "Arguments": {"--day": day}}],
    )
    glue.create_trigger(
        Name="next",
        WorkflowName="workflow",
        Type="CONDITIONAL",
        Predicate={
            "Logical": "AND",
            "Conditions": [{"LogicalOperator": "EQUALS", "JobName": "first", "State": "SUCCEEDED"}],
        },
        Actions=[{"JobName": "second"}],
    )
    run = glue.start_workflow_run(Name="workflow")["RunId"]
    aws.settle()
    described = glue.get_workflow_run(Name="workflow", RunId=run)["Run"]
    assert described["Status"] == "COMPLETED"
    assert described["Statistics"]["FailedActions"] == (day == "bad")
    assert [name for _, name, _ in aws.glue_jobs.workflow_runs[run].done] == ran


def test_a_crawler_makes_tables_from_the_headers_of_files_and_leaves_those_that_are_there(aws: EmulatedAws) -> None:
    s3, glue = boto3.client("s3"), boto3.client("glue")
    s3.create_bucket(Bucket="raw-zone")
    path = "raw/prices/year=2024/month=06/day={}/prices.csv"
    s3.put_object(Bucket="raw-zone", Key=path.format("03"), Body=b"ticker,close,volume\nA,1.5,10\nB,2,\n")
    glue.create_database(DatabaseInput={"Name": "drift"})
    glue.create_crawler(
        Name="crawler", Role=ROLE, DatabaseName="drift", Targets={"S3Targets": [{"Path": "s3://raw-zone/raw/prices/"}]}
    )
    glue.start_crawler(Name="crawler")
    table = glue.get_table(DatabaseName="drift", Name="prices")["Table"]
    columns = {column["Name"]: column["Type"] for column in table["StorageDescriptor"]["Columns"]}
    assert columns == {"ticker": "string", "close": "double", "volume": "bigint"}
    assert [key["Name"] for key in table["PartitionKeys"]] == ["year", "month", "day"]
    s3.put_object(Bucket="raw-zone", Key=path.format("04"), Body=b"ticker,open\nA,1\n")
    glue.start_crawler(Name="crawler")
    assert glue.get_table(DatabaseName="drift", Name="prices")["Table"]["VersionId"] == table["VersionId"]


def test_a_column_has_the_type_that_fits_every_value() -> None:
    assert crawled_columns([b"a,b,c\n1,1,x\n", b"a,b,d\n2,1.5,1\n"]) == {
        "a": "bigint",
        "b": "double",
        "c": "string",
        "d": "bigint",
    }


def test_of_two_writers_that_read_the_same_version_of_a_table_the_second_is_refused(aws: EmulatedAws) -> None:
    glue = boto3.client("glue")
    glue.create_database(DatabaseInput={"Name": "database"})
    glue.create_table(DatabaseName="database", TableInput={"Name": "table"})
    read = glue.get_table(DatabaseName="database", Name="table")["Table"]["VersionId"]

    def write(value: str) -> None:
        glue.update_table(
            DatabaseName="database", TableInput={"Name": "table", "Parameters": {"written_by": value}}, VersionId=read
        )

    write("first")
    with pytest.raises(ClientError, match="ConcurrentModificationException"):
        write("second")
    assert glue.get_table(DatabaseName="database", Name="table")["Table"]["Parameters"] == {"written_by": "first"}
    with pytest.raises(ClientError, match="EntityNotFoundException"):
        glue.update_table(DatabaseName="database", TableInput={"Name": "missing"}, VersionId=read)
