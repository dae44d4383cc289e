"""The function on an emulated account and the vendors' API: what is asked for arrives, whole, and without the key."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import boto3
import pytest

import infra
from infra.ingest.handler import handler
from stock_weather_pipeline.datasets import STOCK_PRICES, STOCK_SPLITS, WEATHER
from stock_weather_pipeline.errors import LakeError, PermanentSourceError, SettingsError, UsageError
from stock_weather_pipeline.layers import landing
from stock_weather_pipeline.layers.landing import Arrival
from stock_weather_pipeline.layers.raw import land
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline.settings import load_settings
from stock_weather_pipeline.sources.handover import page_from_bytes, snapshot_from_bytes
from stock_weather_pipeline.sources.tables import gathered, snapshot_table
from stock_weather_pipeline.sources.vendors import Vendors
from stock_weather_pipeline_tests.infra.ingest.conftest import KEY, Invocation, Stack
from stock_weather_pipeline_tests.lakes import local_lake

DAY = "2024-06-03"
HANDOVER = {"delivery": "handover", "handover": "handover/run/id/"}


def test_a_day_delivered_through_firehose_is_taken_by_the_landing_zone_and_twice_is_as_once(
    stack: Stack, vendor: Sandbox, tmp_path: Path
) -> None:
    event = {"dataset": "weather", "day": DAY, "delivery": "firehose"}
    result = handler(event, Invocation())
    assert (result["rows"], result["calls"], result["records_dead"]) == (48, 1, 0)
    assert stack.keys("landing/weather/")
    assert handler(event, Invocation()) == result
    lake = local_lake(tmp_path / "lake")
    keys = stack.keys("landing/weather/")
    assert len(keys) == 2
    for key in keys:
        lake.objects.write(key, stack.read(key))
    found = [Arrival(item.key, item.version, False) for item in landing.arrivals(lake, WEATHER)]
    taking = landing.take(lake, WEATHER, found, date(2024, 1, 1), simulated=True)
    assert taking.rejected == {}
    landed = lake.objects.read("raw/weather/year=2024/month=06/day=03/weather.csv")
    source = Vendors(load_settings({"deployment": "local"}), vendor.url, vendor.url).range_source(WEATHER)
    (chunk,) = gathered(WEATHER, source.fetch([date(2024, 6, 3)]))
    direct = local_lake(tmp_path / "direct")
    land(direct, WEATHER, [date(2024, 6, 3)], [chunk], None)
    assert landed == direct.objects.read("raw/weather/year=2024/month=06/day=03/weather.csv")


def test_pages_are_handed_over_one_object_each(stack: Stack) -> None:
    event = {"dataset": "stock_prices", "start": DAY, "end": "2024-06-05", "tickers": ["*"], **HANDOVER}
    result = handler(event, Invocation())
    keys = stack.keys("handover/")
    assert keys == [f"handover/run/id/00000{n}.json.gz" for n in (1, 2, 3)]
    pages = [page_from_bytes(STOCK_PRICES, stack.read(key)) for key in keys]
    assert [(str(page.first), page.whole, page.simulated) for page in pages] == [
        (DAY, True, True),
        ("2024-06-04", True, True),
        ("2024-06-05", True, True),
    ]
    assert result == {"calls": 3, "rows": sum(len(page.days) for page in pages), "pages": 3}


def test_splits_are_handed_over_whole(stack: Stack) -> None:
    result = handler({"dataset": "stock_splits", **HANDOVER}, Invocation())
    snapshot = snapshot_from_bytes(STOCK_SPLITS, stack.read("handover/run/id/000001.json.gz"))
    assert result == {"calls": 1, "rows": snapshot_table(STOCK_SPLITS, snapshot).num_rows, "pages": 1}
    assert result["rows"] > 0


def test_a_day_without_a_session_asks_nobody(stack: Stack) -> None:
    result = handler({"dataset": "stock_prices", "day": "2024-06-08", "delivery": "firehose"}, Invocation())
    assert result == {"calls": 0, "rows": 0, "records_delivered": 0, "records_dead": 0}


def test_nothing_is_begun_that_the_functions_time_is_too_short_for(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOCK_WEATHER_POLYGON_CALLS_PER_MINUTE", "5")
    event = {"dataset": "stock_prices", "start": "2024-01-02", "end": "2024-06-05", "tickers": ["*"], **HANDOVER}
    with pytest.raises(PermanentSourceError, match=r"take 21 minutes at this quota and the function has 15: ask for"):
        handler(event, Invocation())
    assert stack.keys() == []


def test_a_wrong_event_and_a_missing_setting_are_told(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="The event's dataset is 'wether'"):
        handler({"dataset": "wether"}, Invocation())
    monkeypatch.delenv("STOCK_WEATHER_FIREHOSE_STREAM_WEATHER")
    with pytest.raises(SettingsError, match="STOCK_WEATHER_FIREHOSE_STREAM_WEATHER is not set: deploy the stack"):
        handler({"dataset": "weather", "day": DAY, "delivery": "firehose"}, Invocation())


def test_records_that_firehose_refuses_are_sent_again_and_arrive_once(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.ingest.delivery._BACKOFF_S", 0)
    stack.aws.faults.fail_records(2, times=2)
    result = handler({"dataset": "weather", "day": DAY, "delivery": "firehose"}, Invocation())
    assert (result["records_delivered"], result["records_dead"]) == (3, 0)
    assert sum(len(stack.read(key).splitlines()) for key in stack.keys("landing/weather/")) == 48
    assert stack.dead_letters() == []


def test_a_stream_that_is_not_there_ends_in_the_dead_letter_queue(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.ingest.delivery._BACKOFF_S", 0)
    boto3.client("firehose").delete_delivery_stream(DeliveryStreamName="weather")
    result = handler({"dataset": "weather", "day": DAY, "delivery": "firehose"}, Invocation())
    assert (result["records_delivered"], result["records_dead"]) == (0, 3)
    (letter,) = stack.dead_letters()
    assert "ResourceNotFoundException" in letter["reason"]
    assert len(letter["lines"].splitlines()) == 48


def test_the_key_comes_from_secrets_manager_and_is_told_nowhere(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO)
    event = {"dataset": "stock_prices", "day": DAY, "delivery": "firehose"}
    with Sandbox(api_key=KEY) as strict:
        monkeypatch.setenv("STOCK_WEATHER_POLYGON_URL", strict.url)
        result = handler(event, Invocation())
        assert result["rows"] == 1
        boto3.client("secretsmanager").put_secret_value(SecretId="key", SecretString="an-0ther")
        with pytest.raises(PermanentSourceError, match="wants another POLYGON_API_KEY") as wrong:
            handler(event, Invocation())
    boto3.client("secretsmanager").delete_secret(SecretId="key", ForceDeleteWithoutRecovery=True)
    with pytest.raises(
        LakeError, match=r"Cannot read the secret arn:aws:secretsmanager:\S+: ResourceNotFoundException"
    ):
        handler(event, Invocation())
    stored = b"".join(stack.read(key) for key in stack.keys("landing/")).decode()
    everything = caplog.text + json.dumps(result) + stored + str(wrong.value)
    assert "stock_prices done" in caplog.text
    assert KEY not in everything
    assert "an-0ther" not in everything


def test_a_secret_that_is_no_key_is_told_without_it(stack: Stack) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId="key", SecretString='{"key": "abc"}')
    with pytest.raises(SettingsError, match="holds no key: put the key of your account there, as plain text") as raised:
        handler({"dataset": "stock_prices", "day": DAY, "delivery": "firehose"}, Invocation())
    assert "abc" not in str(raised.value)


def test_the_functions_package_needs_neither_dagster_nor_a_table_library(stack: Stack) -> None:
    """Each of them would multiply the package's size and its start."""
    program = (
        "import json, sys\n"
        "from infra.ingest.handler import handler\n"
        "class Invocation:\n"
        "    def get_remaining_time_in_millis(self): return 900_000\n"
        f"for dataset in ('stock_prices', 'weather'):\n"
        f"    handler({{'dataset': dataset, 'day': '{DAY}', 'delivery': 'firehose'}}, Invocation())\n"
        "heavy = {'dagster', 'pyarrow', 'pandas', 'numpy', 'duckdb', 'pyiceberg', 'exchange_calendars', 'sqlglot'}\n"
        "print(json.dumps(sorted(heavy & set(sys.modules))))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(infra.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []

    assert stack.keys("landing/")
