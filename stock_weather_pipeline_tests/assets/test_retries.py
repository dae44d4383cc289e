"""Steps that ask a vendor are retried for what heals, on a real instance, and for nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from stock_weather_pipeline.assets import raw
from stock_weather_pipeline.assets.reporting import PERMANENT
from stock_weather_pipeline.datasets import STOCK_PRICES, STOCK_SPLITS
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline.settings import load_settings
from stock_weather_pipeline.sources.vendors import Vendors
from stock_weather_pipeline_tests.lakes import local_lake

# BackfillPolicy is marked beta; the version is pinned.
pytestmark = pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`")

START = date(2024, 3, 4)
RANGE = {"dagster/asset_partition_range_start": "2024-03-04", "dagster/asset_partition_range_end": "2024-03-06"}


@pytest.fixture
def vendor() -> Iterator[Sandbox]:
    with Sandbox() as served:
        yield served


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "RETRIES", dg.RetryPolicy(max_retries=raw.RETRIES.max_retries))


def materialize(folder: Path, vendor: Sandbox, name: str, **config: Any) -> dg.ExecuteInProcessResult:
    """`raw/<name>` of three sessions, or whole, on an instance on disk."""
    settings = load_settings({"home": folder / "home", "sandbox": True, "polygon_calls_per_minute": 6000})
    dataset = {one.name: one for one in (STOCK_PRICES, STOCK_SPLITS)}[name]
    definitions = dg.Definitions(
        assets=[raw.raw_asset(dataset, START)],
        resources={
            "lake": dg.ResourceDefinition.hardcoded_resource(local_lake(folder / "lake")),
            "vendors": dg.ResourceDefinition.hardcoded_resource(Vendors(settings, vendor.url, vendor.url)),
        },
    )
    (folder / "instance").mkdir()
    with dg.DagsterInstance.local_temp(str(folder / "instance"), {"telemetry": {"enabled": False}}) as instance:
        return definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            run_config={
                "ops": {f"raw__{name}": {"config": config}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
            tags=RANGE if dataset.partition_set else {},
            raise_on_error=False,
        )


def retries(result: dg.ExecuteInProcessResult) -> int:
    return sum(event.event_type is dg.DagsterEventType.STEP_RESTARTED for event in result.all_events)


def is_permanent(result: dg.ExecuteInProcessResult) -> bool:
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    told = failure.step_failure_data.user_failure_data
    return told is not None and PERMANENT in told.metadata


@pytest.mark.parametrize("name", ["stock_prices", "stock_splits"])
def test_a_vendor_that_is_back_after_a_pause_makes_the_step_succeed(tmp_path: Path, vendor: Sandbox, name: str) -> None:
    vendor.faults.add("/", "429", times=2, retry_after=400)
    result = materialize(tmp_path, vendor, name)
    assert result.success
    assert retries(result) == 2


def test_a_vendor_that_stays_away_fails_the_step_after_all_its_retries(tmp_path: Path, vendor: Sandbox) -> None:
    vendor.faults.add("/", "429", retry_after=400)
    result = materialize(tmp_path, vendor, "stock_prices")
    assert not result.success
    assert retries(result) == raw.RETRIES.max_retries
    assert not is_permanent(result)


@pytest.mark.parametrize("name", ["stock_prices", "stock_splits"])
@pytest.mark.parametrize("refusal", ["401", "403"])
def test_a_refusal_fails_at_once_and_for_good(tmp_path: Path, vendor: Sandbox, name: str, refusal: str) -> None:
    vendor.faults.add("/", refusal)
    result = materialize(tmp_path, vendor, name)
    assert not result.success
    assert retries(result) == 0
    assert is_permanent(result)


def test_days_that_have_come_are_not_asked_for_again_by_a_retry(tmp_path: Path, vendor: Sandbox) -> None:
    # Three sessions of four tickers are one call for each session: the second one fails.
    vendor.faults.add("/v2/aggs/grouped/locale/us/market/stocks/2024-03-05", "429", retry_after=400)
    result = materialize(tmp_path, vendor, "stock_prices", entities=["NVDA", "AMD", "AAPL", "MSFT"])
    assert not result.success
    assert retries(result) == 0
    (landed,) = local_lake(tmp_path / "lake").objects.list("raw/")
    assert "day=04" in landed.key


def test_nobody_at_the_command_line_waits_for_a_retry(tmp_path: Path, vendor: Sandbox) -> None:
    vendor.faults.add("/", "429", retry_after=400)
    assert retries(materialize(tmp_path, vendor, "stock_prices", retry=False)) == 0
