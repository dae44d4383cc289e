"""The sensors that bring raw files, and the one that carries changed ones on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest

from stock_weather_pipeline.datasets import WEATHER
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline.sources.base import PARTITION_DAY
from stock_weather_pipeline_tests.automation.ticking import Platform, layers_of, new_york, platform, range_of
from stock_weather_pipeline_tests.lakes import hours


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as served:
        yield served


@pytest.fixture
def home(tmp_path: Path, sandbox: Sandbox) -> Iterator[Platform]:
    sandbox.faults.clear()
    with platform(tmp_path, sandbox) as made:
        yield made


def _weather_records(first: date, last: date) -> str:
    rows = [{k: v for k, v in row.items() if k != PARTITION_DAY} for row in hours(first, last)]
    return "".join(json.dumps(row) for row in rows)


def _observations(home: Platform) -> list[dg.AssetObservation]:
    records = home.instance.fetch_observations(dg.AssetKey(["raw", "weather"]), limit=10).records
    return [record.asset_observation for record in records if record.asset_observation is not None]


def test_a_revised_day_flows_on_and_is_recorded_and_unchanged_days_start_nothing(home: Platform) -> None:
    night = new_york("2024-01-13 00:45")
    home.refresh_references(night)
    (request,) = home.schedule("weather_daily", night)
    assert home.run(request, night)
    assert home.sensor("changes", night) == []
    assert home.sensor("revisions", new_york("2024-01-13 05:50")) == []

    morning = new_york("2024-01-13 06:10")
    (request,) = home.sensor("revisions", morning)
    assert request.job_name == "weather_raw"
    assert range_of(request) == ("2024-01-12", "2024-01-12")
    assert home.run(request, morning)
    assert home.sensor("revisions", morning + timedelta(hours=1)) == []
    assert home.sensor("changes", morning) == []
    assert _observations(home) == []

    home.sandbox.faults.add("/v1/archive", "revised", days=["2024-01-12"], factor=1.5)
    next_morning = new_york("2024-01-14 06:10")
    (request,) = home.sensor("revisions", next_morning)
    assert home.run(request, next_morning)
    (flow,) = home.sensor("changes", next_morning)
    assert range_of(flow) == ("2024-01-12", "2024-01-12")
    assert layers_of(flow) == {"catalog", "parquet", "prod", "views", "dashboard"}
    (observation,) = _observations(home)
    before, after = (str(observation.metadata[name].value) for name in ("from_sha256", "to_sha256"))
    assert observation.partition == "2024-01-12"
    assert before != after
    assert before[:16] in str(observation.metadata["superseded_file"].value)
    home.started(flow)
    assert home.sensor("changes", next_morning) == []


def test_records_that_arrived_reach_their_days_and_flow_on_once(home: Platform) -> None:
    home.lake.objects.write("landing/weather/b", _weather_records(date(2024, 1, 9), date(2024, 1, 10)).encode())
    home.lake.objects.write("landing/weather/a", _weather_records(date(2024, 1, 10), date(2024, 1, 11)).encode())
    now = new_york("2024-01-13 12:00")
    (request,) = home.sensor("landing", now)
    assert request.job_name == "weather_landing"
    assert home.run(request, now)
    assert home.days_there("raw", WEATHER.name) == ["2024-01-09", "2024-01-10", "2024-01-11"]
    assert home.sensor("landing", now) == []
    (flow,) = home.sensor("changes", now)
    assert range_of(flow) == ("2024-01-09", "2024-01-11")
    # These days are not the gaps sensor's as well.
    assert home.sensor("gaps", now) == []
    home.refresh_references(now)
    assert home.run(flow, now)
    (row,) = home.rows("SELECT count(*) AS hours FROM weather")
    assert row["hours"] == 72
    assert home.sensor("changes", now) == []


def test_a_half_written_object_is_handed_over_again_only_when_it_has_settled(home: Platform) -> None:
    home.lake.objects.write("landing/weather/a", _weather_records(date(2024, 1, 9), date(2024, 1, 9))[:-9].encode())
    now = new_york("2024-01-13 12:00")
    (request,) = home.sensor("landing", now)
    assert home.run(request, now)
    assert home.sensor("landing", now + timedelta(minutes=4)) == []
    (request,) = home.sensor("landing", now + timedelta(minutes=6))
    assert home.run(request, now + timedelta(minutes=6))
    assert home.lake.objects.list("landing/") == []
    assert home.days_there("raw", WEATHER.name) == ["2024-01-09"]
    (check,) = home.instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [dg.AssetCheckKey(dg.AssetKey(["landing", "weather"]), "everything_readable")]
    ).values()
    assert check.status.value == "FAILED"


def test_objects_wait_while_a_run_of_their_dataset_is_in_progress(home: Platform) -> None:
    night = new_york("2024-01-13 00:45")
    (request,) = home.schedule("weather_daily", night)
    home.started(request)
    home.lake.objects.write("landing/weather/a", _weather_records(date(2024, 1, 9), date(2024, 1, 9)).encode())
    assert home.sensor("landing", night) == []
    assert "1 objects wait for run" in home.notes["landing"]


def test_an_object_below_no_dataset_is_set_aside_with_its_reason(home: Platform) -> None:
    home.lake.objects.write("landing/wether/a.json", b"{}")
    now = new_york("2024-01-13 12:00")
    assert home.sensor("landing", now) == []
    assert home.lake.objects.exists("landing/wether/a.json")
    assert home.sensor("landing", now + timedelta(minutes=6)) == []
    kept = [item.key for item in home.lake.objects.list("landing_rejected/wether/")]
    assert len(kept) == 2
    assert b"landing/weather/" in home.lake.objects.read(kept[1])
