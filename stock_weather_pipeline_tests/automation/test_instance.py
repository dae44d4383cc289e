"""The instance of a data home, and runs that a killed process left behind."""

from __future__ import annotations

import os
import subprocess
import sys

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickStatus

from stock_weather_pipeline.automation.instance import (
    PROCESS_TAG,
    fail_abandoned_runs,
    open_instance,
    prepare_dagster_home,
    this_process,
)
from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.settings import Settings


def test_a_run_of_a_killed_process_is_marked_as_failed_and_a_living_one_is_left() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    host = this_process().rpartition(":")[0]

    @dg.job
    def nothing() -> None: ...

    with dg.instance_for_test() as instance:
        dead, living, foreign = (
            instance.create_run_for_job(nothing, tags=tags, status=dg.DagsterRunStatus.STARTED).run_id
            for tags in (
                {PROCESS_TAG: f"{host}:{child.pid}"},
                {PROCESS_TAG: f"{host}:{os.getpid()}"},
                {},
            )
        )
        fail_abandoned_runs(instance)
        statuses = {run.run_id: run.status for run in instance.get_runs()}
    assert statuses[dead] is dg.DagsterRunStatus.FAILURE
    assert statuses[living] is statuses[foreign] is dg.DagsterRunStatus.STARTED


def test_the_instance_lives_beside_the_data_with_the_repositorys_configuration(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("STOCK_WEATHER_EVENT_LOG_DIR", "")
    home = prepare_dagster_home(settings)
    assert home == settings.data_home / "dagster"
    assert "BatchedSqliteEventLogStorage" in (home / "dagster.yaml").read_text()
    assert os.environ["DAGSTER_HOME"] == str(home)


def test_crashed_runs_are_noticed_and_free_their_pools_and_ticks_are_forgotten_in_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("STOCK_WEATHER_EVENT_LOG_DIR", "")
    with open_instance(settings) as instance:
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] == 300
        pools = instance.get_concurrency_config().pool_config
        assert pools.default_pool_limit == 1
        assert instance.get_tick_retention_settings(InstigatorType.SENSOR)[TickStatus.SKIPPED] == 7
        # A failed step is the gaps sensor's to repeat, not the run launcher's.
        assert not instance.run_retries_retry_on_asset_or_op_failure


def test_a_home_that_cannot_be_made_is_one_sentence(settings: Settings) -> None:
    settings.home.parent.mkdir(parents=True, exist_ok=True)
    settings.home.write_text("a file where the folder should be")
    with pytest.raises(LakeError, match="STOCK_WEATHER_HOME"):
        prepare_dagster_home(settings)


@pytest.fixture
def settings(tmp_path: os.PathLike[str]) -> Settings:
    from stock_weather_pipeline.settings import load_settings

    return load_settings({"home": f"{tmp_path}/home", "sandbox": True})
