"""The real webserver and daemon, as `stock-weather dev` starts them: a backfill launched as the UI does, and ticks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests
from dagster._core.scheduler.instigation import ScheduleInstigatorData

from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline_tests.homes import Home

WEEK = ["2024-06-03", "2024-06-04", "2024-06-05", "2024-06-06", "2024-06-07"]
PATIENCE_S = 200

LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
BACKFILL = """
query Backfill($id: String!) {
  partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status error { message } } }
}
"""
PARTITIONS = """
query Partitions($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      assetPartitionStatuses {
        ... on TimePartitionStatuses { ranges { status startKey endKey } }
      }
    }
  }
}
"""
TICKS = """
{ repositoriesOrError { ... on RepositoryConnection { nodes {
    sensors { name sensorState { status ticks(limit: 5) { status error { message } } } }
    schedules { name scheduleState { status } }
} } } }
"""


RUNS_OF_SCHEDULE = """
query Runs($tags: [ExecutionTag!]!) {
  runsOrError(filter: {tags: $tags}) { ... on Runs { results { status tags { key value } } } }
}
"""


@dataclass
class Ui:
    url: str
    home: Home

    def ask(self, query: str, **variables: Any) -> Any:
        answer = requests.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60)
        answer.raise_for_status()
        body = answer.json()
        assert "errors" not in body, body["errors"]
        return body["data"]

    def wait_for(self, what: str, question: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            found = question()
            if found:
                return found
            time.sleep(1)
        log = (self.home.folder / "dev.log").read_text()[-4000:]
        raise AssertionError(f"waited {PATIENCE_S} s for {what}\n{log}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _dev(home: Home) -> Iterator[Ui]:
    """The webserver and the daemon of `stock-weather dev` on a home, until the end of the block."""
    port = _free_port()
    environment = {**os.environ, **{name: value for name, value in home.environment.items() if value}}
    with Path(home.folder / "dev.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "stock_weather_pipeline.cli", "dev", "--port", str(port)],
            env=environment,
            cwd=home.folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        started = Ui(f"http://127.0.0.1:{port}", home)
        try:
            started.wait_for("the webserver", lambda: _answers(started.url))
            yield started
        finally:
            os.killpg(server.pid, signal.SIGINT)
            try:
                server.wait(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory, faulty_vendor: Sandbox) -> Iterator[Ui]:
    with _dev(Home(tmp_path_factory.mktemp("dev"), faulty_vendor.url)) as started:
        yield started


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/server_info", timeout=5).ok
    except requests.ConnectionError:
        return False


def _backfill(ui: Ui, layer_and_name: list[list[str]], days: list[str]) -> str:
    params = {
        "assetSelection": [{"path": path} for path in layer_and_name],
        "partitionNames": days,
        "fromFailure": False,
    }
    launched = ui.ask(LAUNCH, params=params)["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched

    def ended() -> str | None:
        found = ui.ask(BACKFILL, id=launched["backfillId"])["partitionBackfillOrError"]
        return found["status"] if found["status"] not in ("REQUESTED", "CANCELING", "FAILING") else None

    return str(ui.wait_for("the backfill", ended))


def _status(ui: Ui, layer: str, name: str) -> set[tuple[str, str, str]]:
    node = ui.ask(PARTITIONS, key={"path": [layer, name]})["assetNodeOrError"]
    return {(item["status"], item["startKey"], item["endKey"]) for item in node["assetPartitionStatuses"]["ranges"]}


@pytest.mark.timeout(900)
def test_a_backfill_from_the_ui_publishes_the_good_days_and_tells_of_the_bad_one(
    ui: Ui, faulty_vendor: Sandbox
) -> None:
    chain = [[layer, "stock_prices"] for layer in ("raw", "catalog", "parquet", "prod")]
    faulty_vendor.faults.add("/v2/aggs", "garbage_rows", days=["2024-06-05"])
    status = _backfill(ui, chain, WEEK)
    faulty_vendor.faults.clear()
    assert status == "COMPLETED_FAILED"
    found = _status(ui, "prod", "stock_prices")
    assert ("MATERIALIZED", "2024-06-03", "2024-06-04") in found
    assert ("MATERIALIZED", "2024-06-06", "2024-06-07") in found
    assert not any(state == "MATERIALIZED" and start <= "2024-06-05" <= end for state, start, end in found)
    assert [str(row["trade_date"]) for row in ui.home.rows("SELECT trade_date FROM stock_prices ORDER BY 1")] == [
        day for day in WEEK if day != "2024-06-05"
    ]

    alerts = ui.home.data / "alerts.jsonl"
    text = ui.wait_for("the alert", lambda: alerts.read_text() if alerts.exists() else None)
    assert "2024-06-05" in text
    assert "any-key" not in text

    # The vendor has corrected the day; the gaps sensor would repeat it in ten minutes.
    assert _backfill(ui, chain, ["2024-06-05"]) == "COMPLETED_SUCCESS"
    assert ("MATERIALIZED", "2024-06-03", "2024-06-07") in _status(ui, "prod", "stock_prices")


@pytest.mark.timeout(900)
def test_everything_is_switched_on_and_every_sensor_ticks_without_an_error(ui: Ui) -> None:
    def ticked() -> dict[str, Any] | None:
        (repository,) = ui.ask(TICKS)["repositoriesOrError"]["nodes"]
        sensors = repository["sensors"]
        return repository if all(sensor["sensorState"]["ticks"] for sensor in sensors) else None

    repository = ui.wait_for("a tick of every sensor", ticked)
    assert {sensor["name"] for sensor in repository["sensors"]} >= {"landing", "changes", "revisions", "gaps"}
    for sensor in repository["sensors"]:
        assert sensor["sensorState"]["status"] == "RUNNING"
        failures = [tick for tick in sensor["sensorState"]["ticks"] if tick["status"] == "FAILURE"]
        assert not failures, (sensor["name"], failures)
    assert all(schedule["scheduleState"]["status"] == "RUNNING" for schedule in repository["schedules"])


def _down_since_yesterday(home: Home, name: str) -> None:
    """As if the daemon had been down for a day: the tick of the last night is missed."""
    with home.opened() as (_, _lake, instance):
        (state,) = [one for one in instance.all_instigator_state() if one.instigator_name == name]
        held = state.instigator_data
        assert isinstance(held, ScheduleInstigatorData)
        yesterday = (datetime.now(timezone.utc) - timedelta(days=1)).timestamp()
        instance.update_instigator_state(
            state.with_data(ScheduleInstigatorData(held.cron_schedule, start_timestamp=yesterday))
        )


def _knows(home: Home, name: str) -> bool:
    with home.opened() as (_, _lake, instance):
        return name in {one.instigator_name for one in instance.all_instigator_state()}


def _run_of_a_tick(ui: Ui, name: str) -> tuple[str, dict[str, str]]:
    """Status and tags of the run that a tick of the schedule launched, once it has ended."""

    def ended() -> tuple[str, dict[str, str]] | None:
        runs = ui.ask(RUNS_OF_SCHEDULE, tags=[{"key": "dagster/schedule_name", "value": name}])["runsOrError"][
            "results"
        ]
        for run in runs:
            if run["status"] in ("SUCCESS", "FAILURE", "CANCELED"):
                return run["status"], {tag["key"]: tag["value"] for tag in run["tags"]}
        return None

    found: tuple[str, dict[str, str]] = ui.wait_for(f"the run of a tick of {name}", ended)
    return found


@pytest.mark.timeout(900)
def test_the_tick_that_a_schedule_missed_while_the_daemon_was_down_is_made_up_when_it_is_back(
    tmp_path: Path, vendor: Sandbox
) -> None:
    home = Home(tmp_path, vendor.url)
    earlier = (datetime.now(timezone.utc) - timedelta(days=4)).date().isoformat()
    assert home.invoke("run", "--only", "weather", "--start", earlier, "--end", earlier).exit_code == 0
    with _dev(home) as ui:
        ui.wait_for("the daemon to know the schedule", lambda: _knows(home, "weather_daily"))
    _down_since_yesterday(home, "weather_daily")
    with _dev(home) as ui:
        status, tags = _run_of_a_tick(ui, "weather_daily")
        assert status == "SUCCESS"
        assert tags["stock_weather/started_by"] == "schedule"
        first, last = (tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end"))
        assert earlier < first <= last
        for layer, name in (("raw", "weather"), ("prod", "weather"), ("views", "weather_daily")):
            assert ("MATERIALIZED", earlier, last) in _status(ui, layer, name)
