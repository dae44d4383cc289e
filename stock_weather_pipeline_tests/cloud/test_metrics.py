"""What the metrics sensor sends is what the instance's records say, each event counted once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest

from infra.emulation import EmulatedAws, Fault
from stock_weather_pipeline.automation.sensors import metrics
from stock_weather_pipeline.automation.sensors.metrics import metrics_sensor
from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.settings import Settings, load_settings

pytestmark = pytest.mark.filterwarnings("ignore:.*is currently in (beta|preview)")


@pytest.fixture
def settings(aws: EmulatedAws, tmp_path: Path) -> Settings:
    return load_settings(
        {
            "deployment": "aws",
            "home": tmp_path,
            "sandbox": True,
            **{f"{name}_bucket": f"{name}-bucket" for name in ("raw", "parquet", "results")},
        }
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


@dg.asset(key=["prod", "weather"])
def prod() -> None: ...


@dg.asset(key=["parquet", "weather"])
def parquet() -> None: ...


@dg.asset_check(asset=["prod", "weather"], blocking=False)
def unique_key() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, description="2 rows share a key")


@dg.asset_check(asset=["prod", "weather"], blocking=False)
def looks_odd() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)


DEFINITIONS = dg.Definitions(assets=[prod, parquet], asset_checks=[unique_key, looks_odd])


def tick(settings: Settings, instance: dg.DagsterInstance, cursor: str | None) -> str:
    context = dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=DEFINITIONS.get_repository_def())
    result = metrics_sensor(settings)(context)
    assert isinstance(result, dg.SensorResult)
    assert result.cursor is not None
    return result.cursor


def materialized(instance: dg.DagsterInstance, layer: str, day: str, **metadata: Any) -> None:
    instance.report_runless_asset_event(
        dg.AssetMaterialization(asset_key=[layer, "weather"], partition=day, metadata=metadata)
    )


def sent(name: str, dataset: str | None = "weather") -> list[float]:
    """The values CloudWatch holds of a metric, one for each minute."""
    found = boto3.client("cloudwatch").get_metric_statistics(
        Namespace="StockWeather",
        MetricName=name,
        Dimensions=[{"Name": "Dataset", "Value": dataset}] if dataset else [],
        StartTime=datetime.now(timezone.utc) - timedelta(hours=1),
        EndTime=datetime.now(timezone.utc) + timedelta(hours=1),
        Period=7200,
        Statistics=["Sum"],
    )
    return [point["Sum"] for point in found["Datapoints"]]


def test_what_runs_did_is_counted_once_from_the_first_tick_on(settings: Settings, instance: dg.DagsterInstance) -> None:
    materialized(instance, "prod", "2024-06-01", **{"dagster/partition_row_count": 1000, "changed": True})
    cursor = tick(settings, instance, None)
    materialized(instance, "prod", "2024-06-02", **{"dagster/partition_row_count": 48, "changed": True})
    materialized(instance, "prod", "2024-06-03", **{"dagster/partition_row_count": 48, "changed": False})
    materialized(instance, "parquet", "2024-06-02", rows_quarantined=2, scanned_bytes=5_000)
    materialized(instance, "parquet", "2024-06-03", rows_quarantined=3)
    cursor = tick(settings, instance, cursor)
    assert tick(settings, instance, cursor) == cursor
    assert sent("RowsPublished") == [48]
    assert sent("RowsQuarantined") == [5]
    assert sent("BytesScanned", None) == [5_000]


def test_a_backfill_of_more_events_than_a_tick_reads_is_counted_whole(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_EVENTS", 2)
    cursor = tick(settings, instance, None)
    for day in range(1, 6):
        materialized(instance, "prod", f"2024-06-0{day}", **{"dagster/partition_row_count": 10, "changed": True})
        materialized(instance, "parquet", f"2024-06-0{day}", rows_quarantined=1)
    for _ in range(6):
        cursor = tick(settings, instance, cursor)
    assert (sent("RowsPublished"), sent("RowsQuarantined")) == ([50], [5])


def test_checks_that_fail_now_are_a_number_and_warnings_are_none(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    assert DEFINITIONS.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance).success
    tick(settings, instance, None)
    assert sent("FailedChecks") == [1]
    assert sent("FailedChecks", "stock_prices") == [0]


def test_the_lag_is_sent_of_what_was_ever_published(settings: Settings, instance: dg.DagsterInstance) -> None:
    tick(settings, instance, None)
    assert sent("PublishLagDays") == []
    materialized(instance, "prod", "2024-06-02")
    tick(settings, instance, "0")
    assert sent("PublishLagDays")[0] > 500
    assert sent("PublishLagDays", "stock_prices") == []


def test_a_tick_that_cloudwatch_refuses_is_red_and_counts_again(
    settings: Settings, instance: dg.DagsterInstance, aws: EmulatedAws
) -> None:
    cursor = tick(settings, instance, None)
    materialized(instance, "parquet", "2024-06-02", rows_quarantined=2)
    aws.faults.inject("cloudwatch", "PutMetricData", Fault.ACCESS_DENIED)
    with pytest.raises(LakeError, match="Cannot send metrics to StockWeather: access denied"):
        tick(settings, instance, cursor)
    tick(settings, instance, cursor)
    assert sent("RowsQuarantined") == [2]


def test_only_the_aws_deployment_has_the_sensor(settings: Settings) -> None:
    from stock_weather_pipeline.automation.sensors import all_sensors

    assert "metrics" in {sensor.name for sensor in all_sensors(settings)}
    local = load_settings({"sandbox": True})
    assert "metrics" not in {sensor.name for sensor in all_sensors(local)}
