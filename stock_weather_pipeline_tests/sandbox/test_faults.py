"""Every fault, as a client meets it."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from stock_weather_pipeline.sandbox.faults import KINDS, STREAMING_ERROR, Faults
from stock_weather_pipeline_tests.sandbox.conftest import Client

RANGE = ("NVDA", "2024-06-03", "2024-06-07")
AGGREGATES = "/v2/aggs"
WEATHER = "/v1/archive"


def rows(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.bars(*RANGE, adjusted="false").json().get("results", [])
    return found


def temperatures(client: Client) -> list[float | None]:
    found: list[float | None] = client.hours("2024-06-03", "2024-06-04").json()["hourly"]["temperature_2m"]
    return found


def test_a_fault_hits_its_path_its_number_of_times_and_then_the_vendor_is_well_again(client: Client) -> None:
    client.sandbox.faults.add(AGGREGATES, "500", times=2)
    assert client.hours("2024-06-03", "2024-06-03").status_code == 200
    assert [client.bars(*RANGE).status_code for _ in range(3)] == [500, 500, 200]
    client.sandbox.faults.add("/", "503")
    assert [client.bars(*RANGE).status_code for _ in range(3)] == [503] * 3
    client.sandbox.faults.clear()
    assert client.bars(*RANGE).status_code == 200


@pytest.mark.parametrize("kind", ["500", "502", "503"])
def test_a_5xx_is_an_html_page(client: Client, kind: str) -> None:
    client.sandbox.faults.add(AGGREGATES, kind)
    response = client.bars(*RANGE)
    assert (response.status_code, response.headers["Content-Type"]) == (int(kind), "text/html")
    assert "<html>" in response.text
    assert response.headers["X-Stock-Weather-Sandbox"] == "simulated"


def test_a_429_has_the_vendors_text_and_a_retry_after_only_when_asked(client: Client) -> None:
    client.sandbox.faults.add(AGGREGATES, "429", times=1)
    client.sandbox.faults.add(AGGREGATES, "429", times=1, retry_after=7)
    client.sandbox.faults.add(AGGREGATES, "429", times=1, empty_body=True)
    client.sandbox.faults.add(WEATHER, "429", window="day")
    first, second, third = (client.bars(*RANGE) for _ in range(3))
    assert {first.status_code, second.status_code, third.status_code} == {429}
    assert first.json()["error"].startswith("You've exceeded the maximum requests per minute")
    assert ("Retry-After" in first.headers, second.headers["Retry-After"]) == (False, "7")
    assert third.content == b""
    reason = client.hours("2024-06-03", "2024-06-03").json()["reason"]
    assert reason == "Daily API request limit exceeded. Please try again tomorrow."


def test_refusals_have_their_bodies(client: Client) -> None:
    client.sandbox.faults.add(AGGREGATES, "401", times=1)
    client.sandbox.faults.add(AGGREGATES, "403", times=1)
    client.sandbox.faults.add(AGGREGATES, "403", times=1, meaning="end_of_day")
    client.sandbox.faults.add(AGGREGATES, "error_on_200", times=1)
    unknown_key, not_entitled, too_early, odd = (client.bars(*RANGE) for _ in range(4))
    assert (unknown_key.status_code, unknown_key.json()["error"]) == (401, "Unknown API Key")
    assert (not_entitled.status_code, not_entitled.json()["status"]) == (403, "NOT_AUTHORIZED")
    assert not_entitled.json()["message"].startswith("You are not entitled")
    assert "before end of day" in too_early.json()["message"]
    assert (odd.status_code, odd.json()["status"]) == (200, "ERROR")


def test_a_timeout_hangs_and_a_disconnect_closes_without_an_answer(client: Client) -> None:
    client.sandbox.faults.add(AGGREGATES, "timeout", times=1, seconds=30)
    with pytest.raises(requests.Timeout):
        client.session.get(f"{client.sandbox.url}/v2/aggs/x", timeout=0.2)
    client.sandbox.faults.add(AGGREGATES, "timeout", times=1, seconds=0)
    client.sandbox.faults.add(AGGREGATES, "disconnect", times=1)
    for _ in range(2):
        with pytest.raises(requests.ConnectionError):
            client.bars(*RANGE)
    assert [call.status for call in client.sandbox.calls[-3:]] == [0, 0, 0]
    assert client.bars(*RANGE).status_code == 200


def test_a_cut_body_is_shorter_than_its_length_says(client: Client) -> None:
    client.sandbox.faults.add(AGGREGATES, "cut", times=1)
    connection = http.client.HTTPConnection(urlsplit(client.sandbox.url).netloc, timeout=5)
    try:
        connection.request("GET", "/v2/aggs/ticker/NVDA/prev?apiKey=k")
        response = connection.getresponse()
        promised = int(response.headers["Content-Length"])
        with pytest.raises(http.client.IncompleteRead) as cut:
            response.read()
        assert len(cut.value.partial) == promised // 2
    finally:
        connection.close()


def test_broken_json_ends_with_the_streaming_error(client: Client) -> None:
    client.sandbox.faults.add(WEATHER, "broken_json", times=1)
    response = client.hours("2024-06-03", "2024-06-03")
    assert response.status_code == 200
    assert response.content.endswith(STREAMING_ERROR)
    with pytest.raises(json.JSONDecodeError):
        json.loads(response.text)


def test_garbage_rows_have_binary_tickers_and_absurd_prices(client: Client) -> None:
    good = client.grouped("2024-06-03").json()["results"]
    client.sandbox.faults.add(AGGREGATES, "garbage_rows", days=["2024-06-03"])
    spoilt = client.grouped("2024-06-03").json()["results"]
    assert spoilt[3:] == good
    assert all(row["T"].startswith("\x00HTL") and row["c"] > 1e12 and "n" not in row for row in spoilt[:3])
    prices = [row["c"] for row in rows(client)]
    assert prices[0] == 8903334989143.225
    assert max(prices[1:]) < 1e4
    client.sandbox.faults.add(WEATHER, "garbage_rows")
    assert (temperatures(client)[0] or 0) > 1e12


def test_duplicate_rows_come_twice(client: Client) -> None:
    good, hours = rows(client), client.hours("2024-06-03", "2024-06-04").json()["hourly"]
    client.sandbox.faults.add(AGGREGATES, "duplicate_rows", days=["2024-06-04"])
    client.sandbox.faults.add(WEATHER, "duplicate_rows", days=["2024-06-04"])
    assert rows(client) == [*good[:2], *good[1:]]
    doubled = client.hours("2024-06-03", "2024-06-04").json()["hourly"]
    assert doubled["time"] == [*hours["time"][:24], *(hour for hour in hours["time"][24:] for _ in range(2))]
    assert {len(values) for values in doubled.values()} == {72}


def test_missing_days_are_not_there(client: Client) -> None:
    good = rows(client)
    client.sandbox.faults.add("/", "missing_days", days=["2024-06-04"])
    assert rows(client) == [good[0], *good[2:]]
    assert client.hours("2024-06-03", "2024-06-05").json()["hourly"]["time"][23:25] == [
        "2024-06-03T23:00",
        "2024-06-05T00:00",
    ]


def test_values_are_null_on_the_given_days_in_the_given_variables(client: Client) -> None:
    good, warm = rows(client), temperatures(client)
    client.sandbox.faults.add(AGGREGATES, "null_values", days=["2024-06-04"], variables=["c", "vw"])
    client.sandbox.faults.add(WEATHER, "null_values", days=["2024-06-04"], variables=["temperature_2m"])
    assert rows(client) == [good[0], good[1] | {"c": None, "vw": None}, *good[2:]]
    assert temperatures(client) == [*warm[:24], *[None] * 24]
    assert None not in client.hours("2024-06-04", "2024-06-04").json()["hourly"]["weather_code"]


def test_revised_values_are_scaled_on_the_given_days(client: Client) -> None:
    good, warm = rows(client), temperatures(client)
    client.sandbox.faults.add(AGGREGATES, "revised", days=["2024-06-04"], factor=1.5)
    client.sandbox.faults.add(WEATHER, "revised", days=["2024-06-04"], factor=1.5)
    now = rows(client)
    assert [now[0], *now[2:]] == [good[0], *good[2:]]
    assert now[1]["c"] == pytest.approx(good[1]["c"] * 1.5)
    assert now[1]["v"] == good[1]["v"]
    assert temperatures(client)[:24] == warm[:24]
    assert temperatures(client)[24] == pytest.approx((warm[24] or 0) * 1.5, abs=0.051)


def test_an_empty_answer_has_no_results(client: Client) -> None:
    client.sandbox.faults.add("/", "empty")
    assert "results" not in client.bars(*RANGE).json()
    assert client.get("/v3/reference/splits").json()["results"] == []
    assert client.hours("2024-06-03", "2024-06-03").json()["hourly"] == {
        "time": [],
        "temperature_2m": [],
        "weather_code": [],
    }


def test_delayed_is_a_status_and_pages_can_be_small_or_lead_elsewhere(client: Client) -> None:
    client.sandbox.faults.add(AGGREGATES, "delayed", times=1)
    assert client.bars(*RANGE).json()["status"] == "DELAYED"
    client.sandbox.faults.add(AGGREGATES, "small_pages", times=1, page_rows=3)
    body = client.bars(*RANGE, limit=50_000).json()
    assert (body["resultsCount"], body["next_url"].startswith(client.sandbox.url)) == (3, True)
    client.sandbox.faults.add(AGGREGATES, "foreign_next_url", times=1)
    assert client.bars(*RANGE, limit=50_000).json()["next_url"].startswith("http://next-page.example.com/v2/aggs")


def test_faults_are_switched_over_http_on_a_running_server(client: Client) -> None:
    control = f"{client.sandbox.url}/sandbox/faults"
    fault = {"path_prefix": AGGREGATES, "kind": "revised", "times": None, "days": ["2024-06-04"], "factor": 2}
    created = client.session.post(control, json=fault, timeout=5)
    assert (created.status_code, created.json()) == (201, [fault])
    assert client.session.get(control, timeout=5).json() == [fault]
    assert rows(client)[1]["c"] > 2000
    assert client.session.delete(control, timeout=5).json() == []
    assert rows(client)[1]["c"] < 2000


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"path_prefix": "/", "kind": "gremlins"}, "'gremlins' is not a fault"),
        ({"path_prefix": "v2", "kind": "500"}, "'v2' is not the beginning of a path"),
        ({"path_prefix": "/", "kind": "500", "seconds": 1}, "The fault 500 does not take seconds"),
        ({"path_prefix": "/", "kind": "500", "times": 0}, "times=0 cannot be used"),
        ({"path_prefix": "/", "kind": "empty", "times": "x"}, "times='x' cannot be used"),
        ({"path_prefix": "/", "kind": "timeout", "seconds": "long"}, "seconds='long' cannot be used"),
        ({"path_prefix": "/", "kind": "403", "meaning": "no"}, "meaning='no' cannot be used"),
        ({"path_prefix": "/", "kind": "missing_days", "days": ["soon"]}, "days=['soon'] cannot be used"),
        ({"path_prefix": "/", "kind": "null_values", "variables": "c"}, "variables='c' cannot be used"),
        ({"kind": "500"}, "at least path_prefix and kind"),
        ([], "at least path_prefix and kind"),
    ],
)
def test_a_fault_that_does_not_exist_is_refused_with_a_sentence(client: Client, fault: Any, sentence: str) -> None:
    response = client.session.post(f"{client.sandbox.url}/sandbox/faults", json=fault, timeout=5)
    assert response.status_code == 400
    assert sentence in response.json()["error"]
    assert client.sandbox.faults.active() == []


def test_every_kind_can_be_added() -> None:
    faults = Faults()
    for kind in KINDS:
        faults.add("/", kind, times=1)
    assert [faults.take("/any").kind for _ in KINDS] == list(KINDS)  # type: ignore[union-attr]
    assert faults.take("/any") is None
