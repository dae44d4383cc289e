"""`python -m infra` against an emulated account: deploy, diff, smoke, put-key, destroy."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result

from infra import package
from infra.__main__ import main
from infra.aws import open_account
from infra.emulation import EmulatedAws, emulated_aws
from infra.package import Artifacts
from infra.smoke import look
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline.settings import Settings
from stock_weather_pipeline_tests.infra.templates import INFRA, load

SOME = ["--set", "AlarmEmail=somebody@example.com"]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[EmulatedAws]:
    """An empty account; packages hold our own code alone, which needs no package index."""
    zipped = tmp_path / "ingest.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        for path in (INFRA / "__init__.py", *(INFRA / "ingest").glob("*.py")):
            archive.write(path, path.relative_to(INFRA.parent))
        for path in (INFRA.parent / "stock_weather_pipeline").rglob("*.py"):
            archive.write(path, path.relative_to(INFRA.parent))
    scripts = {f"glue/0/{name}": INFRA / "glue" / name for name in package.GLUE_SCRIPTS}
    artifacts = Artifacts({"ingest/0.zip": zipped, **scripts}, "ingest/0.zip", "glue/0", "glue/0/x.whl", ("one==1",))
    monkeypatch.setattr(package, "build", lambda _folder: artifacts)
    with emulated_aws() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


def infra(*arguments: str, answer: str | None = None) -> Result:
    result = CliRunner().invoke(main, arguments, input=answer)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def client(service: str) -> Any:
    return boto3.client(service)  # type: ignore[call-overload]


def bucket(purpose: str) -> str:
    return f"stock-weather-{purpose}-123456789012-us-east-1"


def buckets() -> set[str]:
    return {found["Name"] for found in client("s3").list_buckets()["Buckets"]}


def parameters() -> dict[str, str]:
    (stack,) = client("cloudformation").describe_stacks(StackName="stock-weather")["Stacks"]
    return {item["ParameterKey"]: item["ParameterValue"] for item in stack["Parameters"]}


def test_deploying_prints_settings_that_the_pipeline_takes(aws: EmulatedAws) -> None:
    result = infra("deploy", "--yes", *SOME)
    assert result.exit_code == 0, result.output
    given = dict(line.split("=", 1) for line in result.stdout.splitlines())
    settings = {name.removeprefix("STOCK_WEATHER_").lower(): v for name, v in given.items() if name != "AWS_REGION"}
    taken = Settings.model_validate(settings)
    assert taken.deployment == "aws"
    assert taken.raw_bucket == bucket("raw")
    assert not taken.simulated
    assert given["AWS_REGION"] == "us-east-1"


def test_deploying_again_uploads_and_changes_nothing(aws: EmulatedAws) -> None:
    first = infra("deploy", "--yes", *SOME)
    second = infra("deploy", "--yes")
    assert first.stderr.count("uploaded") == 1 + len(package.GLUE_SCRIPTS)
    assert "uploaded" not in second.stderr
    assert "stock-weather is up to date." in second.stderr
    assert second.stdout == first.stdout


def test_diff_shows_every_resource_and_leaves_no_stack(aws: EmulatedAws) -> None:
    result = infra("diff", *SOME)
    assert result.exit_code == 0, result.output
    added = {line.split()[2] for line in result.stderr.splitlines() if line.startswith("Add ")}
    assert added == set(load()["Resources"])
    assert client("cloudformation").describe_stacks()["Stacks"] == []
    assert buckets() == {bucket("artifacts")}


def test_deploying_asks_and_takes_no_for_an_answer(aws: EmulatedAws) -> None:
    result = infra("deploy", *SOME, answer="n\n")
    assert "Nothing was changed." in result.stderr
    assert client("cloudformation").describe_stacks()["Stacks"] == []


def test_parameters_that_are_not_given_keep_what_they_have(aws: EmulatedAws) -> None:
    infra("deploy", "--yes", *SOME, "--set", "LogRetentionDays=90")
    assert infra("deploy", "--yes", "--set", "Tickers=NVDA,AMD").exit_code == 0
    now = parameters()
    assert (now["AlarmEmail"], now["LogRetentionDays"], now["Tickers"]) == ("somebody@example.com", "90", "NVDA,AMD")
    assert now["ArtifactBucket"] == bucket("artifacts")


def test_a_wrong_parameter_is_named_with_the_valid_ones(aws: EmulatedAws) -> None:
    result = infra("deploy", "--yes", "--set", "Ticker=NVDA")
    assert result.exit_code == 1
    assert "The stack has no parameter Ticker: it has AlarmEmail, " in result.stderr
    assert infra("deploy", "--set", "Tickers").exit_code == 2


def test_the_artifact_bucket_is_private_encrypted_and_tls_only(aws: EmulatedAws) -> None:
    infra("diff", *SOME)
    s3 = client("s3")
    blocked = s3.get_public_access_block(Bucket=bucket("artifacts"))["PublicAccessBlockConfiguration"]
    assert set(blocked.values()) == {True}
    (rule,) = s3.get_bucket_encryption(Bucket=bucket("artifacts"))["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    (denied,) = json.loads(s3.get_bucket_policy(Bucket=bucket("artifacts"))["Policy"])["Statement"]
    assert (denied["Effect"], denied["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_every_resource_is_found_at_its_service(aws: EmulatedAws) -> None:
    infra("deploy", "--yes", *SOME)
    findings = list(look(open_account(), "stock-weather"))
    assert [finding for finding in findings if finding.problem] == []
    assert len(findings) == len(load()["Resources"])


def test_smoke_has_the_stack_work_and_leaves_nothing_behind(aws: EmulatedAws, vendor: Sandbox) -> None:
    infra("deploy", "--yes", *SOME, "--set", f"OpenMeteoUrl={vendor.url}")
    result = infra("smoke")
    assert result.exit_code == 0, result.output
    well = len(load()["Resources"]) + 3
    assert result.stdout == f"{well} of {well} are well.\n"
    assert client("s3").list_objects_v2(Bucket=bucket("raw"))["KeyCount"] == 0


def test_smoke_names_what_somebody_took_away(aws: EmulatedAws, vendor: Sandbox) -> None:
    infra("deploy", "--yes", *SOME, "--set", f"OpenMeteoUrl={vendor.url}")
    client("glue").delete_crawler(Name="stock-weather-raw")
    client("s3").delete_bucket_policy(Bucket=bucket("raw"))
    client("lambda").delete_function(FunctionName="stock-weather-ingest")
    result = infra("smoke")
    assert result.exit_code == 1
    bad = [line for line in result.stdout.splitlines() if line.startswith("BAD")]
    assert any("AWS::Glue::Crawler stock-weather-raw: its service answers" in line for line in bad)
    assert any("AWS::S3::BucketPolicy" in line for line in bad)
    assert any("the function fetches a day of weather: Cannot do it" in line for line in bad)


def test_the_key_is_put_into_the_secret_and_shown_nowhere(aws: EmulatedAws) -> None:
    infra("deploy", "--yes", *SOME)
    result = infra("put-key", answer="s3cr3t-key\n")
    assert result.exit_code == 0, result.output
    assert "s3cr3t" not in result.output
    (stack,) = client("cloudformation").describe_stacks(StackName="stock-weather")["Stacks"]
    (arn,) = [output["OutputValue"] for output in stack["Outputs"] if output["OutputKey"] == "PolygonSecretArn"]
    assert client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"] == "s3cr3t-key"
    assert "one word" in infra("put-key", answer="two words\n").stderr


def test_destroying_keeps_the_data_and_the_next_deployment_finds_it(aws: EmulatedAws) -> None:
    infra("deploy", "--yes", *SOME)
    client("s3").put_object(Bucket=bucket("raw"), Key="raw/x", Body=b"1")
    gone = infra("destroy", "--yes")
    assert gone.stdout.splitlines() == [f"kept: s3://{bucket(purpose)}" for purpose in ("raw", "parquet", "results")]
    assert buckets() == {bucket(purpose) for purpose in ("raw", "parquet", "results")}
    assert client("lambda").list_functions()["Functions"] == []
    assert infra("deploy", "--yes", *SOME).exit_code == 0
    assert client("s3").get_object(Bucket=bucket("raw"), Key="raw/x")["Body"].read() == b"1"


def test_data_goes_when_told_so_with_every_version(aws: EmulatedAws) -> None:
    infra("deploy", "--yes", *SOME)
    for content in (b"1", b"2"):
        client("s3").put_object(Bucket=bucket("raw"), Key="raw/x", Body=content)
    client("s3").delete_object(Bucket=bucket("raw"), Key="raw/x")
    assert infra("destroy", "--yes", "--delete-data").exit_code == 0
    assert buckets() == set()
    assert infra("destroy", "--yes", "--delete-data").exit_code == 0, "doing it again is fine"


def test_destroying_asks(aws: EmulatedAws) -> None:
    infra("deploy", "--yes", *SOME)
    result = infra("destroy", "--delete-data", answer="n\n")
    assert result.exit_code == 1
    assert "AND ALL ITS DATA" in result.stderr
    assert bucket("raw") in buckets()


def test_dagsters_stack_takes_the_main_stacks_outputs(aws: EmulatedAws) -> None:
    infra("deploy", "--yes", *SOME)
    result = infra("deploy-dagster", "--set", "ImageTag=1", answer="n\n")
    assert "AWS::ECS::Service" in result.stderr
    assert "Nothing was changed." in result.stderr
    missing = infra("deploy-dagster", answer="n\n")
    assert "The stack needs a value for ImageTag." in missing.stderr


def test_without_a_stack_the_next_step_is_told(aws: EmulatedAws) -> None:
    result = infra("smoke")
    assert result.exit_code == 1
    assert "There is no stack stock-weather in us-east-1: deploy it" in result.stderr


def test_without_a_region_the_next_step_is_told(aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert "No AWS region is set: set AWS_REGION" in infra("smoke").stderr


def test_what_aws_refuses_is_told_in_a_sentence(aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("infra.aws.CONFIG", open_account.__globals__["CONFIG"].merge(fast()))
    result = infra("smoke")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: Cannot find out which AWS account this is:")


def fast() -> Any:
    from botocore.config import Config

    return Config(retries={"total_max_attempts": 1}, connect_timeout=1)
