"""The maintenance assets report what they did, and pruning runs never changes the status of a partition."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from stock_weather_pipeline.assets.maintenance import maintenance_assets, prune_runs
from stock_weather_pipeline.datasets import DATASETS, STOCK_PRICES
from stock_weather_pipeline.lake.interfaces import Scope
from stock_weather_pipeline_tests.lake.conftest import prices
from stock_weather_pipeline_tests.lakes import local_lake

# BackfillPolicy is marked beta; the version is pinned.
pytestmark = pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`")

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
KEY = dg.AssetKey(["prod", "stock_prices"])


@pytest.fixture(params=["stock", "batched"])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """On disk, with Dagster's own event log and with this package's."""
    (tmp_path / "instance").mkdir()
    overrides: dict[str, Any] = {"telemetry": {"enabled": False}}
    if request.param == "batched":
        overrides["event_log_storage"] = {
            "module": "stock_weather_pipeline.automation.event_log",
            "class": "BatchedSqliteEventLogStorage",
            "config": {"base_dir": str(tmp_path / "instance" / "runs")},
        }
    with dg.DagsterInstance.local_temp(str(tmp_path / "instance"), overrides) as opened:
        yield opened


def _same(change: tuple[pa.Table, Scope]) -> tuple[pa.Table, Scope]:
    return change


def test_every_maintenance_asset_reports_its_metrics(tmp_path: Path) -> None:
    lake = local_lake(tmp_path)
    for day in (date(2024, 3, 4), date(2024, 3, 5)):
        change = prices({"trade_date": day}), Scope(((day, day),))
        lake.tables.publish(STOCK_PRICES, partial(_same, change), {})
    assets = maintenance_assets()
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(assets, instance=instance, resources={"lake": lake}, run_config=QUIET)
    assert {key.to_user_string() for asset in assets for key in asset.keys} == {
        *(f"maintenance/{name}" for name in DATASETS),
        "maintenance/audits",
        "maintenance/superseded_raw_files",
        "maintenance/unneeded_parquet_files",
        "maintenance/runs",
    }
    assert {group for asset in assets for group in asset.group_names_by_key.values()} == {"maintenance"}

    def metrics(name: str) -> dict[str, Any]:
        (event,) = result.asset_materializations_for_node(f"maintenance__{name}")
        return {name: value.value for name, value in event.metadata.items()}

    table = metrics("stock_prices")
    assert (table["data_files_before"], table["data_files_after"], table["rows_rewritten"]) == (2, 1, 2)
    assert table["files_per_month"] == {"2024-03": {"before": 2, "after": 1}}
    assert table["snapshots_after"] == table["snapshots_before"] + 1
    assert metrics("weather") == {"note": "there is no table yet"}
    assert metrics("superseded_raw_files") == {"files_deleted": 0, "bytes_deleted": 0, "files_kept": 0}
    assert metrics("runs") == {"runs_deleted": 0, "old_runs_kept_for_partition_status": 0}


def test_pruning_old_runs_leaves_the_status_of_every_partition_and_check(instance: dg.DagsterInstance) -> None:
    partitions = dg.DailyPartitionsDefinition("2024-03-01", end_date="2024-03-06")

    @dg.asset(
        key=KEY,
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[dg.AssetCheckSpec("fine", asset=KEY)],
    )
    def table(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
        if context.run.tags.get("bad"):
            raise dg.Failure("bad day")
        return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])

    @dg.asset
    def report() -> None: ...

    def run(first: str, last: str, **tags: str) -> str:
        span = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        job = dg.Definitions(assets=[table]).resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=instance, tags={**span, **tags}, run_config=QUIET, raise_on_error=False
        ).run_id

    replaced = run("2024-03-01", "2024-03-02")
    failed_then_healed = run("2024-03-03", "2024-03-03", bad="yes")
    latest = run("2024-03-01", "2024-03-03")
    still_failing = run("2024-03-04", "2024-03-04", bad="yes")
    runs = [dg.materialize([report], instance=instance, run_config=QUIET).run_id for _ in range(2)]

    def status() -> object:
        log = instance.event_log_storage
        attempts = log.get_latest_asset_partition_materialization_attempts_without_materializations(KEY)
        checks = log.get_latest_asset_check_execution_by_key([dg.AssetCheckKey(KEY, "fine")])
        return (
            log.get_materialized_partitions(KEY),
            {day: run_id for day, (run_id, _) in attempts.items()},
            {key: (record.run_id, record.status) for key, record in checks.items()},
            [
                event.run_id if (event := instance.get_latest_materialization_event(key)) else None
                for key in instance.get_asset_keys()
            ],
        )

    before = status()
    in_a_year = datetime.now(timezone.utc) + timedelta(days=365)
    assert prune_runs(instance, timedelta(days=400), in_a_year).deleted == 0
    done = prune_runs(instance, timedelta(days=180), in_a_year)
    assert (done.deleted, done.kept) == (3, 3)
    assert {record.dagster_run.run_id for record in instance.get_run_records()} == {latest, still_failing, runs[1]}
    assert not any(instance.all_logs(run_id) for run_id in (replaced, failed_then_healed, runs[0]))
    assert status() == before
