"""The committed template is deployed as a whole: each service, asked afterwards, has what the template says."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from infra import deploy
from infra.aws import open_account
from infra.emulation import EmulatedAws

TEMPLATE: dict[str, Any] = json.loads(deploy.TEMPLATE.read_text(encoding="utf-8"))


def deployed(**chosen: str) -> dict[str, str]:
    account = open_account()
    bucket = deploy.artifact_bucket(account, "stock-weather")
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as file:
        file.writestr("handler.py", "def handler(event, context): return event")
    account.s3.put_object(Bucket=bucket, Key="ingest.zip", Body=package.getvalue())
    parameters = {
        "ArtifactBucket": bucket,
        "IngestPackageKey": "ingest.zip",
        "GlueScriptsPrefix": "glue/1",
        "GlueModules": "none",
        **chosen,
    }
    deploy.plan(account, "stack", bucket, parameters)
    return deploy.carry_out(account, "stack")


def test_every_resource_of_the_template_is_found_by_asking_its_service(aws: EmulatedAws) -> None:
    outputs = deployed(AlarmEmail="someone@example.com")
    assert set(outputs) == set(TEMPLATE["Outputs"])
    wanted = Counter(resource["Type"] for resource in TEMPLATE["Resources"].values())
    athena, cloudwatch, glue = boto3.client("athena"), boto3.client("cloudwatch"), boto3.client("glue")
    logs, s3, scheduler = boto3.client("logs"), boto3.client("s3"), boto3.client("scheduler")
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    function = boto3.client("lambda")
    buckets = [outputs[name] for name in ("RawBucket", "ParquetBucket", "ResultsBucket")]
    topic = outputs["AlertTopicArn"]
    groups = logs.describe_log_groups()["logGroups"]
    found = {
        "AWS::Athena::WorkGroup": len(athena.list_work_groups()["WorkGroups"]) - 1,  # primary
        "AWS::CloudWatch::Alarm": len(cloudwatch.describe_alarms()["MetricAlarms"]),
        "AWS::CloudWatch::Dashboard": len(cloudwatch.list_dashboards()["DashboardEntries"]),
        "AWS::Glue::Classifier": len(glue.get_classifiers()["Classifiers"]),
        "AWS::Glue::Crawler": len(glue.get_crawlers()["Crawlers"]),
        "AWS::Glue::DataQualityRuleset": len(glue.list_data_quality_rulesets()["Rulesets"]),
        "AWS::Glue::Database": len(glue.get_databases()["DatabaseList"]),
        "AWS::Glue::Job": len(glue.get_jobs()["Jobs"]),
        "AWS::Glue::Trigger": len(glue.get_triggers()["Triggers"]),
        "AWS::Glue::Workflow": len(glue.list_workflows()["Workflows"]),
        "AWS::IAM::Role": len(boto3.client("iam").list_roles()["Roles"]),
        "AWS::KMS::Key": len(boto3.client("kms").list_keys()["Keys"]),
        "AWS::KinesisFirehose::DeliveryStream": len(
            boto3.client("firehose").list_delivery_streams()["DeliveryStreamNames"]
        ),
        "AWS::Lambda::EventInvokeConfig": len(
            function.list_function_event_invoke_configs(FunctionName=outputs["IngestFunction"])[
                "FunctionEventInvokeConfigs"
            ]
        ),
        "AWS::Lambda::Function": len(function.list_functions()["Functions"]),
        "AWS::Logs::LogGroup": len(groups),
        "AWS::Logs::LogStream": sum(
            len(logs.describe_log_streams(logGroupName=group["logGroupName"])["logStreams"]) for group in groups
        ),
        "AWS::S3::Bucket": len(s3.list_buckets()["Buckets"]) - 1,  # artifacts
        "AWS::S3::BucketPolicy": sum("SecureTransport" in s3.get_bucket_policy(Bucket=b)["Policy"] for b in buckets),
        "AWS::SNS::Subscription": len(sns.list_subscriptions()["Subscriptions"]),
        "AWS::SNS::Topic": len(sns.list_topics()["Topics"]),
        "AWS::SNS::TopicPolicy": "SecureTransport" in sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"],
        "AWS::SQS::Queue": len(sqs.list_queues()["QueueUrls"]),
        "AWS::SQS::QueuePolicy": "SecureTransport"
        in sqs.get_queue_attributes(QueueUrl=outputs["DeadLetterQueueUrl"], AttributeNames=["Policy"])["Attributes"][
            "Policy"
        ],
        "AWS::Scheduler::Schedule": len(scheduler.list_schedules()["Schedules"]),
        "AWS::Scheduler::ScheduleGroup": len(scheduler.list_schedule_groups()["ScheduleGroups"]) - 1,  # default
        "AWS::SecretsManager::Secret": len(boto3.client("secretsmanager").list_secrets()["SecretList"]),
    }
    assert found == dict(wanted)
    assert all(group["retentionInDays"] > 0 for group in groups)


def test_buckets_have_all_that_the_template_gives_them(aws: EmulatedAws) -> None:
    bucket = deployed()["ParquetBucket"]
    s3 = boto3.client("s3")
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert [rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] for rule in rules] == [7]
    # The policy refuses plain HTTP, and the emulation, which has nothing else, can still be used.
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_a_second_deployment_changes_what_was_asked_for_and_the_same_again_nothing(aws: EmulatedAws) -> None:
    deployed()
    deployed(DailyScanAlarmBytes="123")
    alarms = boto3.client("cloudwatch").describe_alarms(AlarmNames=["stock-weather-BytesScanned"])["MetricAlarms"]
    assert [alarm["Threshold"] for alarm in alarms] == [123.0]


def test_deleting_the_stack_leaves_what_is_to_be_retained(aws: EmulatedAws) -> None:
    outputs = deployed()
    boto3.client("cloudformation").delete_stack(StackName="stack")
    left = {bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]}
    assert {outputs["RawBucket"], outputs["ParquetBucket"]} <= left
    assert boto3.client("glue").get_jobs()["Jobs"] == []
    assert boto3.client("scheduler").list_schedules()["Schedules"] == []
    assert boto3.client("firehose").list_delivery_streams()["DeliveryStreamNames"] == []


@pytest.mark.parametrize("kind", ["AWS::NoSuch::Thing", "AWS::MSK::Cluster"])
def test_a_type_that_nobody_handles_is_an_error(aws: EmulatedAws, kind: str) -> None:
    template = {"Resources": {"Thing": {"Type": kind, "Properties": {}}}}
    with pytest.raises(ClientError, match=r"Unrecognized resource types: \[" + kind):
        boto3.client("cloudformation").create_stack(StackName="s", TemplateBody=json.dumps(template))


def test_a_property_of_a_bucket_that_is_not_emulated_is_an_error(aws: EmulatedAws) -> None:
    properties = {"BucketName": "bucket", "AccelerateConfiguration": {"AccelerationStatus": "Enabled"}}
    template = {"Resources": {"Thing": {"Type": "AWS::S3::Bucket", "Properties": properties}}}
    with pytest.raises(ClientError, match="AccelerateConfiguration is not emulated"):
        boto3.client("cloudformation").create_stack(StackName="s", TemplateBody=json.dumps(template))
