"""The deployed stack, end to end over HTTP: what the command line, Firehose, sensors and Glue jobs leave in the account
is what the local deployment leaves on a folder, row by row, whatever goes wrong on the way."""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

import boto3
import dagster as dg
import pytest

from infra import deploy
from infra.emulation import EmulatedAws, Fault
from infra.emulation.deployed import STACK, deployed_stack
from stock_weather_pipeline.automation.sensors.alerts import alert_sensors
from stock_weather_pipeline.definitions import build_definitions
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline_tests.automation.ticking import Platform
from stock_weather_pipeline_tests.homes import Home
from stock_weather_pipeline_tests.killed import run_until

pytestmark = pytest.mark.timeout(900)

FIRST, DELIVERED, BROKEN = "2024-06-03", date(2024, 6, 5), date(2024, 6, 6)


@dataclass
class Deployed:
    """The emulated account with the stack, a home whose lake is there, and one beside it on a folder."""

    aws: EmulatedAws
    cloud: Home
    local: Home
    vendors: Sandbox

    def run(self, home: Home, first: str, last: str) -> Any:
        return home.invoke("run", "--start", first, "--end", last)

    def raw(self, dataset: str, day: date) -> bytes:
        with self.cloud.opened() as (_, lake, _instance):
            return lake.objects.read(f"raw/{dataset}/{day:year=%Y/month=%m/day=%d}/{dataset}.csv")


@pytest.fixture(scope="module")
def deployed(faulty_vendor: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with deployed_stack(faulty_vendor.url, tmp_path_factory.mktemp("packages")) as (aws, account):
        lines = dict(line.split("=", 1) for line in deploy.settings_lines(account, STACK))
        # The key is in the stack's secret and nowhere else.
        cloud = Home(tmp_path_factory.mktemp("cloud"), faulty_vendor.url, key="", extra={**lines, **aws.environment})
        local = Home(tmp_path_factory.mktemp("local"), faulty_vendor.url)
        yield Deployed(aws, cloud, local, faulty_vendor)


@pytest.fixture(scope="module")
def inbox(deployed: Deployed) -> Callable[[], list[dict[str, Any]]]:
    """What the stack's topic has delivered to a subscriber since the last look."""
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="somebody")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = deployed.cloud.extra["STOCK_WEATHER_ALERT_TOPIC_ARN"]
    boto3.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def read() -> list[dict[str, Any]]:
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for message in found:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"]) for message in found]

    return read


@pytest.fixture(scope="module")
def happy(deployed: Deployed, inbox: Callable[[], list[dict[str, Any]]]) -> Deployed:
    """Two days by the command, one through Firehose, one that breaks and heals; the same four days on a folder."""
    result = deployed.run(deployed.cloud, FIRST, "2024-06-04")
    assert result.exit_code == 0, result.output

    night = datetime(2024, 6, 6, 5, tzinfo=timezone.utc)
    for dataset in ("stock-prices", "weather"):
        deployed.aws.functions.fire_schedule(f"{STACK}-{dataset}", night)
    deployed.aws.settle()
    assert [(call.event, call.error) for call in deployed.aws.functions.invocations if call.error] == []
    assert len(deployed.aws.firehose.flush()) == 2
    soon = datetime.now(timezone.utc) + timedelta(minutes=10)
    with deployed.cloud.opened() as (settings, lake, instance):
        ticked = Platform(settings, deployed.vendors, instance)
        for sensor in ("landing", "changes"):
            requests = ticked.sensor(sensor, soon)
            assert len(requests) == 2, ticked.notes
            for request in requests:
                assert ticked.run(request, soon)
        assert lake.objects.list("landing/") == []

    deployed.vendors.faults.add("/v2", "missing_days", days=[BROKEN])
    failed = deployed.run(deployed.cloud, str(BROKEN), str(BROKEN))
    assert failed.exit_code == 1
    assert str(BROKEN) in failed.output
    alerts(deployed)
    problems = inbox()
    assert any(str(BROKEN) in problem["Subject"] for problem in problems), problems
    assert {problem["MessageAttributes"]["kind"]["Value"] for problem in problems} == {"problem"}
    deployed.vendors.faults.clear()
    healed = deployed.run(deployed.cloud, str(BROKEN), str(BROKEN))
    assert healed.exit_code == 0, healed.output
    alerts(deployed)
    assert {notice["MessageAttributes"]["kind"]["Value"] for notice in inbox()} == {"recovery"}

    result = deployed.run(deployed.local, FIRST, str(BROKEN))
    assert result.exit_code == 0, result.output
    return deployed


def alerts(deployed: Deployed) -> None:
    """A tick of the sensor that tells of failed runs, its cursor kept."""
    kept = deployed.cloud.folder / "cursor"
    with deployed.cloud.opened() as (settings, _, instance):
        sensor = next(sensor for sensor in alert_sensors(settings) if sensor.name == "run_alerts")
        context = dg.build_sensor_context(
            instance=instance,
            cursor=kept.read_text() if kept.exists() else None,
            definitions=build_definitions(settings),
            sensor_name=sensor.name,
        )
        kept.write_text(sensor.evaluate_tick(context).cursor or "")


def test_every_table_and_view_is_that_of_the_local_deployment(happy: Deployed) -> None:
    assert happy.cloud.tables() == happy.local.tables()
    assert happy.raw("stock_prices", DELIVERED) == happy.local.raw("stock_prices", DELIVERED).read_bytes()
    assert happy.raw("weather", DELIVERED) == happy.local.raw("weather", DELIVERED).read_bytes()


def test_a_publish_is_undone_and_the_glue_jobs_publish_again(happy: Deployed) -> None:
    before = happy.cloud.tables()
    undone = happy.cloud.invoke("rollback", "stock_prices")
    assert undone.exit_code == 0, undone.output
    assert len(happy.cloud.tables()["stock_prices"]) < len(before["stock_prices"])
    for name in ("create-parquet", "check-quality", "publish-prod"):
        days = {"--start": FIRST, "--end": str(BROKEN)}
        run = boto3.client("glue").start_job_run(JobName=f"{STACK}-{name}", Arguments=days)["JobRunId"]
        happy.aws.settle()
        assert happy.aws.glue_jobs.job_runs[run].state == "SUCCEEDED", happy.aws.glue_jobs.job_runs[run].log
    assert happy.cloud.tables() == before


def test_what_the_deployed_function_fetches_for_a_run_is_what_the_run_fetches(happy: Deployed) -> None:
    home = Home(
        happy.cloud.folder, happy.vendors.url, key="", extra=happy.cloud.extra | {"STOCK_WEATHER_INGESTION": "lambda"}
    )
    day = date(2024, 6, 7)
    fetched = len(happy.aws.functions.invocations)
    for deployment in (home, happy.local):
        result = happy.run(deployment, str(day), str(day))
        assert result.exit_code == 0, result.output
    assert len(happy.aws.functions.invocations) > fetched
    for dataset in ("stock_prices", "weather"):
        assert happy.raw(dataset, day) == happy.local.raw(dataset, day).read_bytes()
    assert happy.cloud.tables() == happy.local.tables()


FAULTS: dict[str, Callable[[EmulatedAws], None]] = {
    "Athena throttles": lambda aws: aws.faults.inject("athena", "StartQueryExecution", Fault.THROTTLING, 3),
    "Glue fails": lambda aws: aws.faults.inject("glue", "*", Fault.SERVER_ERROR, 3),
    "S3 is to be asked less": lambda aws: aws.faults.inject("s3", "PutObject", Fault.SLOW_DOWN, 3),
    "queries fail halfway": lambda aws: aws.faults.fail_query_halfway(3),
    "credentials expire": lambda aws: aws.faults.inject("athena", "StartQueryExecution", Fault.EXPIRED_TOKEN, 50),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_fails_on_the_way_the_tables_are_the_same_afterwards(happy: Deployed, fault: str) -> None:
    day = str(date(2024, 6, 10) + timedelta(days=list(FAULTS).index(fault)))
    before = happy.cloud.tables()
    FAULTS[fault](happy.aws)
    result = happy.run(happy.cloud, day, day)
    happy.aws.faults.clear()
    # Whatever else is wrong heals within the run or not; nobody can work with expired credentials.
    assert result.exit_code == 1 or fault != "credentials expire"
    if result.exit_code != 0:
        # One clear error, and nothing is half-published: what is in prod is whole days.
        assert result.exit_code == 1
        assert "Traceback" not in result.output
        assert fault != "credentials expire" or "expired" in result.output
        published = happy.cloud.tables()
        assert set(published["stock_prices"]) >= set(before["stock_prices"])
        assert len(published["weather"]) - len(before["weather"]) in (0, 48)
        result = happy.run(happy.cloud, day, day)
    assert result.exit_code == 0, result.output
    assert happy.run(happy.local, day, day).exit_code == 0
    assert happy.cloud.tables() == happy.local.tables()


@pytest.mark.parametrize(
    ("point", "day"),
    [
        ("stock_weather_pipeline.assets.parquet:audit", "2024-06-17"),
        ("stock_weather_pipeline.assets.prod:publish", "2024-06-18"),
    ],
)
def test_a_killed_run_that_is_run_again_ends_with_the_same_tables(happy: Deployed, point: str, day: str) -> None:
    context = multiprocessing.get_context("forkserver")
    words = ("run", "--start", day, "--end", day)
    arguments = (happy.cloud.folder, happy.vendors.url, words, point, "after", 1)
    process = context.Process(target=run_until, args=arguments, kwargs={"key": "", "extra": happy.cloud.extra})
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    result = happy.cloud.invoke(*words)
    assert result.exit_code == 0, result.output
    assert happy.local.invoke(*words).exit_code == 0
    assert happy.cloud.tables() == happy.local.tables()
