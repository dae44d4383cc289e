"""A run that fetches through the function lands the same bytes as one that asks the vendors, or says why not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from stock_weather_pipeline.assets.raw import raw_asset
from stock_weather_pipeline.cloud.vendors import open_vendors
from stock_weather_pipeline.datasets import DATASETS, STOCK_PRICES, STOCK_SPLITS, WEATHER, Dataset
from stock_weather_pipeline.errors import NotYetAvailableError
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.settings import Settings, load_settings
from stock_weather_pipeline_tests.cloud.conftest import Function
from stock_weather_pipeline_tests.infra.ingest.conftest import KEY, RAW_BUCKET, Stack
from stock_weather_pipeline_tests.lakes import local_lake

pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
    # Dagster's Pipes session asks every reader for what Dagster calls a preview.
    pytest.mark.filterwarnings("ignore:.*expected_writer_count"),
]

START = date(2024, 6, 3)


@pytest.fixture
def through_the_function(stack: Stack) -> Settings:
    buckets = {"raw_bucket": RAW_BUCKET, "parquet_bucket": "parquet-bucket", "results_bucket": "results-bucket"}
    return load_settings({"ingestion": "lambda", **buckets})


@pytest.fixture
def in_the_run(stack: Stack) -> Settings:
    return load_settings({"deployment": "local", "polygon_secret_arn": None, "polygon_api_key": KEY})


def materialize(
    settings: Settings, lake: Lake, dataset: Dataset, first: str = "2024-06-03", last: str = "2024-06-07", **config: Any
) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance, open_vendors(settings) as vendors:
        key = "__".join(["raw", dataset.name])
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        return dg.materialize(
            [raw_asset(dataset, START)],
            instance=instance,
            resources={"lake": lake, "vendors": vendors},
            run_config={
                # What heals is not waited for.
                "ops": {key: {"config": {"retry": False, **config}}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
            tags=tags if dataset.partition_set else {},
            raise_on_error=False,
        )


def raw_files(lake: Lake) -> Mapping[str, bytes]:
    return {item.key: lake.objects.read(item.key) for prefix in ("raw/", "superseded/", "coverage/", "quarantine/")
            for item in lake.objects.list(prefix)}  # fmt: skip


def failure(result: dg.ExecuteInProcessResult) -> str:
    """The sentence that a user sees; anything else that went wrong is shown whole."""
    (step,) = (event for event in result.all_events if event.is_step_failure)
    told, error = step.step_failure_data.user_failure_data, step.step_failure_data.error
    assert told is not None, error and error.to_string()
    return str(told.description)


@pytest.mark.parametrize(
    ("dataset", "config"),
    [
        (STOCK_PRICES, {}),
        (STOCK_PRICES, {"entities": ["NVDA", "AAPL", "MSFT", "AMZN", "META", "TSLA"]}),
        (WEATHER, {}),
        (WEATHER, {"entities": ["Santa Clara"]}),
        (STOCK_SPLITS, {}),
    ],
    ids=["prices", "prices grouped", "weather", "weather of one place", "splits"],
)
def test_the_same_bytes_land_whoever_fetches(
    dataset: Dataset,
    config: dict[str, Any],
    through_the_function: Settings,
    in_the_run: Settings,
    stack: Stack,
    function: Function,
    tmp_path: Path,
) -> None:
    lakes = [local_lake(tmp_path / name) for name in ("run", "function")]
    first, second = (
        materialize(settings, lake, dataset, **config)
        for settings, lake in zip([in_the_run, through_the_function], lakes, strict=True)
    )
    assert first.success, failure(first)
    assert second.success, failure(second)
    assert raw_files(lakes[0]) == raw_files(lakes[1])
    assert raw_files(lakes[1])
    assert len(function.events) == 1
    assert stack.keys() == [], "what was handed over stays behind"


def test_what_came_before_the_vendor_failed_lands_and_the_error_is_the_vendors(
    through_the_function: Settings, stack: Stack, function: Function, tmp_path: Path
) -> None:
    # Six tickers of five sessions are a page for each session.
    tickers = ["NVDA", "AAPL", "MSFT", "AMZN", "META", "TSLA"]
    lake = local_lake(tmp_path)
    real = function.answer

    def until_thursday(event: dict[str, Any]) -> Any:
        real({**event, "end": "2024-06-05"})
        raise NotYetAvailableError("The vendor has not published this day yet: ask again.")

    function.answer = until_thursday
    told = failure(materialize(through_the_function, lake, STOCK_PRICES, entities=tickers))
    assert told == "Not fetched: 2024-06-06, 2024-06-07. The vendor has not published this day yet: ask again."
    assert len(lake.objects.list("raw/stock_prices/")) == 3
    assert stack.keys() == []


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out after 900.00 seconds"}, "see its log"),
        ({"errorType": "PermanentSourceError", "errorMessage": "The plan is too small."}, "The plan is too small."),
        ({"errorType": "UsageError", "errorMessage": "The event's day is wrong."}, "The event's day is wrong."),
    ],
)
def test_a_function_that_fails_is_told_as_what_it_met(
    answer: dict[str, str], sentence: str, through_the_function: Settings, function: Function, tmp_path: Path
) -> None:
    def fail(_event: dict[str, Any]) -> Any:
        raise type(answer["errorType"], (Exception,), {})(answer["errorMessage"])

    function.answer = fail
    told = failure(materialize(through_the_function, local_lake(tmp_path), WEATHER))
    assert sentence in told
    assert "2024-06-03" in told


def test_a_function_that_answers_without_handing_over_is_no_success(
    through_the_function: Settings, function: Function, tmp_path: Path
) -> None:
    function.answer = lambda _event: {"pages": 2}
    told = failure(materialize(through_the_function, local_lake(tmp_path), WEATHER))
    assert "says that it handed over 2 pages, and 0 are there: run this again." in told


def test_a_function_that_cannot_be_invoked_is_asked_once_and_told(
    through_the_function: Settings, function: Function, tmp_path: Path
) -> None:
    function.refusal = (429, "TooManyRequestsException")
    told = failure(materialize(through_the_function, local_lake(tmp_path), WEATHER))
    assert "The function stock-weather-ingest cannot be invoked" in told
    assert "check STOCK_WEATHER_INGEST_FUNCTION and that the stack is deployed" in told
    assert len(function.events) == 1


def test_every_dataset_with_a_vendor_can_be_fetched_by_the_function() -> None:
    from infra.ingest.events import FETCHED
    from stock_weather_pipeline.sources.vendors import VENDORS

    assert set(FETCHED) == set(VENDORS) == set(DATASETS) - {"locations"}
