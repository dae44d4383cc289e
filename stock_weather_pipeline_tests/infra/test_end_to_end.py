"""The deployed stack from its first run to a rollback: afterwards every table and view equals that of a folder."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import dagster as dg
import pytest

from infra import smoke
from infra.deploy import outputs
from infra.emulation.deployed import STACK
from stock_weather_pipeline_tests.automation.ticking import Platform
from stock_weather_pipeline_tests.homes import Home
from stock_weather_pipeline_tests.infra.deployed import Deployed, deployed_beside_a_folder, glue_job
from stock_weather_pipeline_tests.queues import messages, subscribed_queue

pytestmark = [
    # BackfillPolicy is marked beta; the version is pinned.
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
    # Dagster's Pipes session asks every reader for what Dagster calls a preview.
    pytest.mark.filterwarnings("ignore:.*expected_writer_count"),
]


def days(first: str, last: str) -> tuple[str, ...]:
    return "--start", first, "--end", last


def raw_bytes(home: Home) -> dict[str, bytes]:
    """Every raw file by its key."""
    with home.opened() as (_, lake, _instance):
        return {item.key: lake.objects.read(item.key) for item in lake.objects.list("raw/")}


def check_costs(cloud: Home) -> None:
    """Every query is accounted for with its step, and each materialization says what its queries cost."""
    steps = cloud.rows("SELECT step, sum(cost_usd) AS usd FROM stock_weather_parquet.query_costs GROUP BY step")
    costs = {row["step"]: row["usd"] for row in steps}
    assert {"parquet/weather", "prod/stock_prices", "checks of prod/stock_prices", "views/macd"} <= set(costs)
    assert all(usd > 0 for usd in costs.values())
    with cloud.opened() as (_, _lake, instance):
        event = instance.get_latest_materialization_event(dg.AssetKey(["parquet", "weather"]))
    assert event is not None
    assert event.asset_materialization is not None
    assert {"scanned_bytes", "query_run_time_ms", "query_cost_usd"} <= set(event.asset_materialization.metadata)


def deliver_without_dagster(deployed: Deployed, fired_at: datetime) -> None:
    """EventBridge Scheduler -> function -> Firehose -> landing zone."""
    for schedule in ("stock-prices", "weather"):
        deployed.aws.functions.fire_schedule(f"{STACK}-{schedule}", fired_at)
    deployed.aws.settle()
    assert [(i.event, i.error) for i in deployed.aws.functions.invocations if i.error] == []
    assert len(deployed.aws.firehose.flush()) == 2


def take_in_what_landed(deployed: Deployed) -> None:
    """The ticks of the daemon's landing and changes sensors, and the runs they ask for."""
    moment = datetime.now(timezone.utc) + timedelta(minutes=10)
    with deployed.cloud.opened() as (settings, _, instance):
        daemon = Platform(settings, deployed.vendors, instance)
        for sensor in ("landing", "changes"):
            requests = daemon.sensor(sensor, moment)
            assert len(requests) == 2, daemon.notes
            for request in requests:
                assert daemon.run(request, moment), request


@pytest.mark.timeout(900)
def test_what_the_deployed_stack_made_of_a_week_equals_what_a_folder_made(tmp_path: Path) -> None:
    with deployed_beside_a_folder(tmp_path) as deployed:
        cloud, local, faults = deployed.cloud, deployed.local, deployed.vendors.faults
        found = list(smoke.look(deployed.account, STACK))
        assert len(found) > 60
        assert [str(finding) for finding in found if finding.problem] == []
        inbox = subscribed_queue(outputs(deployed.account, STACK)["AlertTopicArn"])

        deployed.both_run(*days("2024-06-03", "2024-06-04"))
        assert raw_bytes(cloud) == raw_bytes(local)

        assert cloud.materialized("views", "macd") == local.materialized("views", "macd")
        check_costs(cloud)

        deliver_without_dagster(deployed, datetime(2024, 6, 6, 5, tzinfo=timezone.utc))
        take_in_what_landed(deployed)
        assert local.invoke("run", *days("2024-06-05", "2024-06-05")).exit_code == 0
        assert deployed.differences() == {}

        # A broken day is told once, and its recovery once.
        faults.add("/v2", "missing_days", days=["2024-06-06"])
        broken = cloud.invoke("run", *days("2024-06-06", "2024-06-06"))
        assert broken.exit_code == 1
        published = cloud.rows("SELECT DISTINCT trade_date FROM stock_prices ORDER BY trade_date")
        assert [str(row["trade_date"]) for row in published] == ["2024-06-03", "2024-06-04", "2024-06-05"]
        for _ in range(2):
            deployed.tick_alerts()
        (problem,) = messages(inbox)
        assert "stock_prices" in problem
        assert "2024-06-06" in problem
        faults.clear()
        deployed.both_run(*days("2024-06-06", "2024-06-06"))
        for _ in range(2):
            deployed.tick_alerts()
        (recovery,) = messages(inbox)
        assert recovery != problem
        assert deployed.differences() == {}
        assert raw_bytes(cloud) == raw_bytes(local)
        # What is rolled back is published again by the three jobs of the original.
        before = cloud.rows("SELECT count(*) AS n FROM stock_prices")
        undone = cloud.invoke("rollback", "stock_prices")
        assert undone.exit_code == 0, undone.output
        assert "stock_prices" in deployed.differences()
        for job in ("create-parquet", "check-quality", "publish-prod"):
            run = glue_job(deployed.aws, job, "2024-06-06", "2024-06-06")
            assert run.state == "SUCCEEDED", (job, run.log)
        assert cloud.rows("SELECT count(*) AS n FROM stock_prices") == before
        assert deployed.differences() == {}

        # The function fetches for the run.
        cloud.extra["STOCK_WEATHER_INGESTION"] = "lambda"
        invoked = len(deployed.aws.functions.invocations)
        deployed.both_run(*days("2024-06-07", "2024-06-07"))
        assert len(deployed.aws.functions.invocations) > invoked
        assert deployed.differences() == {}
