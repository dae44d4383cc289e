"""Alerts reach a topic's subscribers, and one that the topic does not take is told so that it is sent again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra.emulation import EmulatedAws
from stock_weather_pipeline.automation.alerts import Alert, close_alert, deliver_pending, open_alert
from stock_weather_pipeline.cloud.alerts import SnsSink
from stock_weather_pipeline.errors import DeliveryError
from stock_weather_pipeline.settings import Settings, load_settings
from stock_weather_pipeline_tests.lakes import local_lake
from stock_weather_pipeline_tests.queues import messages, subscribed_queue

NOBODY = "arn:aws:sns:us-east-1:123456789012:nobody"
PROBLEM = Alert("run:weather:2024-06-03", "weather: run failed – 2024-06-03", "The vendor is down.", dataset="weather")


@pytest.fixture
def topic(aws: EmulatedAws) -> str:
    return boto3.client("sns").create_topic(Name="alerts")["TopicArn"]


@pytest.fixture
def inbox(topic: str) -> Any:
    url = subscribed_queue(topic)

    def read() -> list[Any]:
        return [json.loads(message) for message in messages(url)]

    return read


def settings_of(tmp_path: Path, topic: str | None) -> Settings:
    return load_settings({"home": tmp_path / "home", "sandbox": True, "alert_topic_arn": topic})


def test_a_problem_and_its_recovery_are_messages_once_each(topic: str, inbox: Any, tmp_path: Path) -> None:
    settings, lake = settings_of(tmp_path, topic), local_lake(tmp_path / "lake")
    for _ in range(2):
        open_alert(settings, lake, PROBLEM)
    (problem,) = inbox()
    assert problem["Subject"] == "weather: run failed ? 2024-06-03"
    assert problem["Message"] == "weather: run failed – 2024-06-03\nThe vendor is down."
    assert {name: value["Value"] for name, value in problem["MessageAttributes"].items()} == {
        "kind": "problem",
        "dataset": "weather",
        "problem": "run:weather:2024-06-03",
    }
    close_alert(settings, lake, PROBLEM.problem, "Fetched at last.")
    (recovery,) = inbox()
    assert recovery["MessageAttributes"]["kind"]["Value"] == "recovery"
    assert recovery["Subject"].startswith("Recovered: weather")


def test_what_a_topic_does_not_take_waits_and_is_sent_once_it_does(
    aws: EmulatedAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = local_lake(tmp_path / "lake")
    open_alert(settings_of(tmp_path, NOBODY), lake, PROBLEM)
    assert deliver_pending(settings_of(tmp_path, NOBODY), lake) == 1
    boto3.client("sns").create_topic(Name="nobody")
    assert deliver_pending(settings_of(tmp_path, NOBODY), lake) == 0


def test_a_refusal_is_one_sentence(aws: EmulatedAws) -> None:
    notice = {"kind": "problem", "dataset": None, "problem": "p", "text": "x" * 300}
    with pytest.raises(DeliveryError, match=rf"^Cannot publish an alert to {NOBODY}: NotFound"):
        SnsSink(NOBODY).send(notice)
