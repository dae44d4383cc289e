"""The committed stack, deployed with the real code, ingests and publishes without Dagster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timezone

import boto3
import pytest

from infra import smoke
from infra.aws import Account
from infra.emulation import EmulatedAws
from infra.emulation.deployed import STACK, deployed_stack
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline_tests.infra.deployed import glue_job

DAYS = ("2024-06-03", "2024-06-04")


@pytest.fixture(scope="module")
def deployed(vendor: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmulatedAws, Account]]:
    with deployed_stack(vendor.url, tmp_path_factory.mktemp("packages")) as stack:
        yield stack


def athena_rows(sql: str) -> list[tuple[str | None, ...]]:
    athena = boto3.client("athena")
    query = athena.start_query_execution(QueryString=sql, WorkGroup=STACK)["QueryExecutionId"]
    deadline = time.monotonic() + 60
    while True:
        status = athena.get_query_execution(QueryExecutionId=query)["QueryExecution"]["Status"]
        if status["State"] not in ("QUEUED", "RUNNING"):
            break
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert status["State"] == "SUCCEEDED", status
    rows = athena.get_query_results(QueryExecutionId=query)["ResultSet"]["Rows"]
    return [tuple(cell.get("VarCharValue") for cell in row["Data"]) for row in rows[1:]]


def test_the_smoke_test_finds_every_resource_and_everything_working(
    deployed: tuple[EmulatedAws, Account],
) -> None:
    _, account = deployed
    looked, worked = list(smoke.look(account, STACK)), list(smoke.work(account, STACK))
    assert len(looked) > 60
    assert [str(finding) for finding in (*looked, *worked) if finding.problem] == []


def test_what_schedules_fetch_is_delivered_typed_judged_and_published(deployed: tuple[EmulatedAws, Account]) -> None:
    aws, _ = deployed
    aws.functions.fire_schedule(f"{STACK}-stock-prices", datetime(2024, 6, 4, 5, tzinfo=timezone.utc))
    aws.functions.fire_schedule(f"{STACK}-weather", datetime(2024, 6, 5, 5, tzinfo=timezone.utc))
    aws.functions.fire_schedule(f"{STACK}-stock-splits", datetime(2024, 6, 4, 5, tzinfo=timezone.utc))
    aws.settle()
    assert [(i.event, i.error) for i in aws.functions.invocations if i.error] == []
    assert len(aws.firehose.flush()) == 2
    for name in ("create-parquet", "check-quality", "publish-prod"):
        run = glue_job(aws, name, *DAYS)
        assert run.state == "SUCCEEDED", (name, run.log)
    prices = athena_rows("SELECT trade_date, count(*) AS n FROM stock_weather.stock_prices GROUP BY trade_date")
    assert prices == [("2024-06-03", "1")]
    weather = athena_rows("SELECT count(*) AS n, count(DISTINCT location) AS places FROM stock_weather.weather")
    assert weather[0][0] == str(24 * int(weather[0][1] or 0))
    assert athena_rows("SELECT close FROM stock_weather.moving_averages") == athena_rows(
        "SELECT close FROM stock_weather.stock_prices_adjusted"
    )


def test_the_schedule_of_the_workflow_starts_its_jobs_one_after_the_other(
    deployed: tuple[EmulatedAws, Account],
) -> None:
    aws, _ = deployed
    aws.functions.fire_schedule(f"{STACK}-workflow")
    aws.settle()
    *_, run = aws.glue_jobs.workflow_runs.values()
    assert run.done == [
        ("crawler", f"{STACK}-raw", "SUCCEEDED"),
        ("job", f"{STACK}-create-parquet", "SUCCEEDED"),
        ("job", f"{STACK}-check-quality", "SUCCEEDED"),
        ("job", f"{STACK}-publish-prod", "SUCCEEDED"),
    ]
