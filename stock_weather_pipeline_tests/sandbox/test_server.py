"""The server: keys, quota, calls, life and death."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import requests

from stock_weather_pipeline.errors import UsageError
from stock_weather_pipeline.sandbox import SANDBOX_HEADER, Sandbox, serve
from stock_weather_pipeline_tests.sandbox.conftest import NOW, Client

PREVIOUS = "/v2/aggs/ticker/NVDA/prev"


def test_the_stock_vendor_wants_a_key_in_the_header_or_the_query_and_the_weather_vendor_none(client: Client) -> None:
    def ask(**options: dict[str, str]) -> requests.Response:
        return client.session.get(client.sandbox.url + PREVIOUS, timeout=5, **options)  # type: ignore[arg-type]

    for response in (ask(), ask(headers={"Authorization": "Bearer "}), ask(params={"apiKey": ""})):
        assert (response.status_code, response.json()["error"]) == (401, "API Key was not provided")
        assert (response.json()["status"], "request_id" in response.json()) == ("ERROR", True)
    assert ask(headers={"Authorization": "Bearer k"}).status_code == 200
    assert ask(params={"apiKey": "k"}).status_code == 200
    weather = {"latitude": "1", "longitude": "1", "hourly": "weather_code", "start_date": "2024-01-01"}
    weather["end_date"] = "2024-01-01"
    assert client.session.get(f"{client.sandbox.url}/v1/archive", params=weather, timeout=5).status_code == 200


def test_only_the_given_key_is_accepted() -> None:
    with Sandbox(api_key="right") as sandbox, requests.Session() as session:
        wrong = session.get(sandbox.url + PREVIOUS, headers={"Authorization": "Bearer wrong"}, timeout=5)
        assert (wrong.status_code, wrong.json()["error"]) == (401, "Unknown API Key")
        right = session.get(sandbox.url + PREVIOUS, headers={"Authorization": "Bearer right"}, timeout=5)
        assert right.status_code == 200


def test_the_quota_is_calls_in_any_minute_and_refused_calls_count() -> None:
    clock = [NOW]
    with Sandbox(calls_per_minute=5, now=lambda: clock[0]) as sandbox, requests.Session() as session:
        client = Client(sandbox, session)
        assert [client.get(PREVIOUS).status_code for _ in range(6)] == [200] * 5 + [429]
        assert client.get("/v1/archive").status_code == 400
        clock[0] += timedelta(seconds=59)
        assert client.get(PREVIOUS).json()["error"].startswith("You've exceeded the maximum requests per minute")
        clock[0] += timedelta(seconds=1)
        assert [client.get(PREVIOUS).status_code for _ in range(5)] == [200] * 4 + [429]


def test_the_weather_quota_counts_by_the_vendors_weights() -> None:
    with Sandbox(weather_calls_per_minute=5, now=lambda: NOW) as sandbox, requests.Session() as session:
        client = Client(sandbox, session)
        # 2 variables over 350 days weigh 5 calls, one day of them 1.
        assert client.hours("2024-01-01", "2024-01-01").status_code == 200
        assert client.hours("2024-01-01", "2024-12-15").status_code == 200
        response = client.hours("2024-01-01", "2024-01-01")
        assert response.status_code == 429
        assert response.json()["reason"] == "Minutely API request limit exceeded. Please try again in one minute."


def test_every_answer_says_that_it_comes_from_the_sandbox(client: Client) -> None:
    for path in ("/", PREVIOUS, "/v1/archive", "/nothing", "/sandbox/faults"):
        assert client.get(path).headers[SANDBOX_HEADER] == "simulated"
    odd = client.session.put(client.sandbox.url + PREVIOUS, timeout=5)
    assert (odd.status_code, odd.headers[SANDBOX_HEADER]) == (501, "simulated")
    assert client.session.post(client.sandbox.url + PREVIOUS, timeout=5).status_code == 405
    assert client.session.delete(client.sandbox.url + PREVIOUS, timeout=5).status_code == 405


def test_the_front_page_says_what_it_is(client: Client) -> None:
    body = client.get("/").json()
    assert (body["sandbox"], body["faults"]) == ("simulated", [])


def test_calls_are_kept_without_their_key(client: Client) -> None:
    before = len(client.sandbox.calls)
    client.get("/v3/reference/splits", ticker="NVDA", apiKey="secret")
    client.grouped("2026-07-15")
    first, second = client.sandbox.calls[before:]
    assert (first.path, first.query, first.status) == ("/v3/reference/splits", {"ticker": "NVDA"}, 200)
    assert second.status == 403


def test_many_clients_are_served_at_once_over_kept_connections(client: Client) -> None:
    def bars(_: int) -> list[str]:
        with requests.Session() as session:
            mine = Client(client.sandbox, session)
            return [mine.bars("NVDA", "2024-06-03", "2024-06-07").json()["results"] for _ in range(3)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(bars, range(8)))
    assert all(answer == found[0][0] for answers in found for answer in answers)


def test_stopping_wakes_a_hanging_request_frees_the_port_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    with requests.Session() as session:
        with Sandbox() as sandbox:
            url = sandbox.url
            sandbox.faults.add("/v2", "timeout", seconds=60)
            with ThreadPoolExecutor(1) as pool:
                hanging = pool.submit(session.get, url + PREVIOUS, timeout=30)
                deadline = time.monotonic() + 5
                while not sandbox.calls and time.monotonic() < deadline:
                    time.sleep(0.01)
                started = time.monotonic()
                sandbox.stop()
                with pytest.raises(requests.ConnectionError):
                    hanging.result(timeout=5)
        assert time.monotonic() - started < 3
        with pytest.raises(requests.ConnectionError):
            session.get(url, timeout=2)
    # Threads of other tests may end meanwhile; none may have come.
    assert set(threading.enumerate()) <= before
    with pytest.raises(RuntimeError, match="not serving"):
        _ = sandbox.url


def test_a_taken_port_is_told_in_a_sentence() -> None:
    with Sandbox() as sandbox:
        port = int(sandbox.url.rsplit(":", 1)[1])
        with pytest.raises(UsageError, match=f"cannot serve on 127.0.0.1:{port}.*choose another"):
            Sandbox(port=port).start()
    with pytest.raises(UsageError, match=r"cannot serve on 127\.0\.0\.1:70000"):
        Sandbox(port=70_000).start()


def test_serve_announces_itself_and_ends_on_an_interrupt() -> None:
    seen: list[str] = []

    def interrupt(sandbox: Sandbox) -> None:
        with requests.Session() as session:
            seen.append(session.get(sandbox.url, timeout=5).json()["sandbox"])
        raise KeyboardInterrupt

    serve(0, ready=interrupt, now=lambda: NOW)
    assert seen == ["simulated"]


def test_waiting_ends_when_the_sandbox_is_stopped() -> None:
    with Sandbox() as sandbox, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(sandbox.wait)
        assert not waiting.done()
        sandbox.stop()
        waiting.result(timeout=5)
    sandbox.wait()


def test_a_client_that_hangs_up_harms_nobody(client: Client) -> None:
    host, port = client.sandbox.url.removeprefix("http://").split(":")
    for text in (b"", b"GET /v2", b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(text)
    assert client.get(PREVIOUS).status_code == 200
