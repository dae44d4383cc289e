"""The three jobs, on what landed without Dagster, end in the same tables as a run with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
from dagster_aws.pipes import PipesS3ContextInjector, PipesS3MessageReader

from infra.emulation import EmulatedAws
from infra.glue.check_quality import check_quality
from infra.glue.create_parquet import create_parquet
from infra.glue.publish_prod import publish_prod
from infra.ingest.delivery import lines
from stock_weather_pipeline.automation.alerts import open_problems
from stock_weather_pipeline.cloud.jobs import Step, run_step
from stock_weather_pipeline.datasets import PARTITIONED, STOCK_PRICES, STOCK_SPLITS, WEATHER
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Layer, external_table
from stock_weather_pipeline.lake.opening import open_lake
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline.settings import load_settings
from stock_weather_pipeline.sources.handover import SCHEDULED_SPLITS, snapshot_to_bytes
from stock_weather_pipeline.sources.vendors import Vendors
from stock_weather_pipeline.views import VIEWS
from stock_weather_pipeline_tests.homes import Home
from stock_weather_pipeline_tests.infra.emulation.conftest import aws

__all__ = ["aws"]

WEEK = ["--start", "2024-06-03", "--end", "2024-06-07"]
DAYS = [date(2024, 6, day) for day in range(3, 8)]
STEPS: dict[str, Callable[[Step], None]] = {
    "create_parquet": create_parquet,
    "check_quality": check_quality,
    "publish_prod": publish_prod,
}


@pytest.fixture
def lake(tmp_path: Path, vendor: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake into which the function delivered a week, as Firehose and a schedule leave it."""
    for name, value in Home(tmp_path, vendor.url).environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    lake = open_lake(settings)
    # A run has said whose data it is; here the first fetch would.
    lake.objects.write("lake.json", json.dumps({"layout": 1, "data": "simulated"}).encode())
    vendors = Vendors(settings, vendor.url, vendor.url)
    for dataset in PARTITIONED:
        for n, page in enumerate(vendors.range_source(dataset).fetch(DAYS)):
            data = b"".join(lines(dataset.name, page, "2024-06-08T05:00:00+00:00"))
            lake.objects.write(f"landing/{dataset.name}/{n}", data)
    lake.objects.write(f"{SCHEDULED_SPLITS}000001.json.gz", snapshot_to_bytes(vendors.fetch_snapshot(STOCK_SPLITS)))
    return lake


def run(name: str, *arguments: str) -> None:
    run_step(name, STEPS[name], [*WEEK, "--JOB_NAME", "stock-weather-x", "--JOB_RUN_ID", "jr_1", *arguments])


def failure(name: str, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        run(name, *arguments)
    assert isinstance(ended.value.code, str), "the process would end well"
    return ended.value.code


def contents(lake: Lake) -> dict[str, list[str]]:
    names = ["stock_prices", "weather", "stock_splits", "locations", *VIEWS]
    return {name: sorted(map(str, lake.rows(f"SELECT * FROM stock_weather.{name}"))) for name in names}


def test_the_jobs_end_in_the_tables_of_a_run_and_again_they_change_nothing(lake: Lake, finished: Home) -> None:
    for name in STEPS:
        run(name)
    with finished.opened() as (_, by_dagster, _):
        expected = contents(by_dagster)
    found = contents(lake)
    assert {name: len(rows) for name, rows in found.items()} == {name: len(rows) for name, rows in expected.items()}
    assert found == expected
    assert found["stock_prices"]
    publishes = len(lake.tables.history("stock_prices"))
    for name in STEPS:
        run(name)
    assert contents(lake) == expected
    assert len(lake.tables.history("stock_prices")) == publishes
    assert lake.objects.list("landing/") == lake.objects.list("handover/") == []
    (publish,) = lake.tables.history("stock_prices")
    assert publish.summary["run-id"] == "jr_1"


def test_a_bad_day_fails_the_check_is_alerted_on_once_and_keeps_no_other_day_from_being_published(lake: Lake) -> None:
    run("create_parquet")
    key = external_table(STOCK_PRICES, Layer.RAW).key(DAYS[2])
    good = lake.objects.read(key)
    lake.objects.write(key, b"ticker,price\nNVDA,1\n")
    run("create_parquet")
    told = failure("check_quality")
    assert told.startswith("check_quality: 1 checks of stock_prices failed. 2024-06-05: readable: expected")
    assert "'price' is not in the contract" in told
    assert failure("check_quality") == told
    assert list(open_problems(lake)) == ["quality:stock_prices"]
    assert "publish_prod: stock_prices 2024-06-05 is not published: readable" in failure("publish_prod")
    days = lake.rows("SELECT DISTINCT trade_date FROM stock_weather.stock_prices ORDER BY 1")
    assert [row["trade_date"] for row in days] == [DAYS[0], DAYS[1], DAYS[3], DAYS[4]]
    lake.objects.write(key, good)
    for name in STEPS:
        run(name)
    assert open_problems(lake) == {}
    assert len(lake.rows("SELECT DISTINCT trade_date FROM stock_weather.stock_prices")) == 5


def test_one_dataset_can_be_worked_on_alone(lake: Lake) -> None:
    run("create_parquet", "--dataset", "weather")
    assert lake.objects.list(external_table(WEATHER, Layer.PARQUET).prefix)
    assert lake.objects.list(external_table(STOCK_PRICES, Layer.PARQUET).prefix) == []
    assert lake.objects.list("landing/stock_prices/")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--start", "monday"], "argument --start: invalid fromisoformat value: 'monday': --start and --end are days"),
        (["--start", "2024-06-09"], "The range 2024-06-09..2024-06-07 runs backwards"),
        (["--end", "2124-06-09"], "is not over yet in New York"),
        (["--dataset", "wether"], "argument --dataset: invalid choice: 'wether'"),
        (["--STOCK_WEATHER_DEPLOYMENT", "gcp"], "STOCK_WEATHER_DEPLOYMENT='gcp' cannot be used: valid values: local"),
    ],
)
def test_a_wrong_argument_ends_the_job_with_a_sentence(
    arguments: list[str], sentence: str, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert sentence in failure("create_parquet", *arguments)


def test_a_script_is_a_process_of_its_own_that_fails_with_its_sentence(lake: Lake) -> None:
    script = Path(sys.modules["infra.glue.create_parquet"].__file__ or "")
    good = subprocess.run([sys.executable, script, *WEEK], capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stderr
    assert "'days_typed': 5" in good.stdout
    bad = subprocess.run([sys.executable, script, "--start", "x"], capture_output=True, text=True, check=False)
    assert bad.returncode == 1
    assert bad.stderr.strip().splitlines()[-1].startswith("create_parquet: argument --start")


@pytest.mark.filterwarnings("ignore:.*expected_writer_count")
def test_a_job_that_dagster_started_reports_to_its_run(
    lake: Lake, aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagster._core.pipes.utils.WAIT_FOR_LOGS_AFTER_EXECUTION_INTERVAL", 1)
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="messages")
    told = {}

    @dg.asset
    def started() -> dg.MaterializeResult[Any]:
        with dg.open_pipes_session(
            context=dg.AssetExecutionContext.get().op_execution_context,
            context_injector=PipesS3ContextInjector(bucket="messages", client=s3),
            message_reader=PipesS3MessageReader(bucket="messages", client=s3, interval=1),
        ) as session:
            # As Dagster's Glue client passes them.
            words = [word for pair in session.get_bootstrap_cli_arguments().items() for word in pair]
            run("create_parquet", *words)
        told["report"] = session.get_custom_messages()
        return dg.MaterializeResult()

    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([started], instance=instance).success
    days = {"days_landed": 5, "days_typed": 5, "days_unreadable": 0}
    assert told["report"] == ({"stock_prices": days, "weather": days},)


def test_the_jobs_load_nothing_that_glue_would_have_to_install_for_dagster_or_the_local_lake() -> None:
    program = (
        "import sys\n"
        "import infra.glue.create_parquet, infra.glue.check_quality, infra.glue.publish_prod, infra.glue.drift\n"
        "print(sorted({'dagster', 'duckdb', 'pandas', 'plotly', 'click', 'rich'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
