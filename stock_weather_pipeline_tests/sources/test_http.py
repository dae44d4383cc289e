"""HTTP against a real server on this machine: retries, the key, numbers as text."""

from __future__ import annotations

import logging
import socket
import traceback
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from threading import Event
from typing import Any
from urllib.parse import quote

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from stock_weather_pipeline.errors import PermanentSourceError, SourceError, TransientSourceError
from stock_weather_pipeline.sources.http import MAX_PAUSE_S, TRIES, HttpClient, Retry
from stock_weather_pipeline.sources.quota import Quota, Window
from stock_weather_pipeline_tests.sources.conftest import KEY, FakeClock, Response, Vendor, json_response

GOOD = Response('{"value": 1.50e+02}')


@pytest.fixture
def client(vendor: Vendor, quota: Quota) -> HttpClient:
    return HttpClient(vendor.url, quota, "STOCK_WEATHER_POLYGON_URL", KEY)


@pytest.fixture
def free_port() -> Iterator[int]:
    with socket.socket() as held:
        # Bound but not listening: connections are refused, and nobody else can take the port meanwhile.
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def same(body: Any) -> Any:
    return body


def test_numbers_keep_the_text_the_vendor_wrote(vendor: Vendor, client: HttpClient) -> None:
    vendor.answer(Response('{"a": 1.81724024e+08, "b": -0.0, "c": 142, "d": 25933.60, "e": null, "f": NaN}'))
    body = client.get("/x", {}, same).value
    assert body == {"a": "1.81724024e+08", "b": "-0.0", "c": "142", "d": "25933.60", "e": None, "f": "NaN"}


def test_the_key_travels_in_the_authorization_header_and_nowhere_else(vendor: Vendor, client: HttpClient) -> None:
    vendor.answer(GOOD)
    client.get("/x", {"list": "a,b"}, same)
    (request,) = vendor.requests
    assert request.headers["Authorization"] == f"Bearer {KEY.get_secret_value()}"
    assert request.target == "/x?list=a,b"


def test_an_entry_in_netrc_does_not_replace_the_key(
    vendor: Vendor, client: HttpClient, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    vendor.answer(GOOD)
    client.get("/x", {}, same)
    assert vendor.requests[0].headers["Authorization"] == f"Bearer {KEY.get_secret_value()}"


def test_a_key_with_letters_no_header_can_hold_is_the_vendors_to_refuse(vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response({"error": "Unknown API Key"}, 401))
    client = HttpClient(vendor.url, quota, "STOCK_WEATHER_POLYGON_URL", SecretStr("schlüssel-ключ"))
    with pytest.raises(PermanentSourceError, match="Unknown API Key"):
        client.get("/x", {}, same)


def test_without_a_key_no_authorization_is_sent(vendor: Vendor, quota: Quota) -> None:
    vendor.answer(GOOD)
    HttpClient(vendor.url, quota, "STOCK_WEATHER_POLYGON_URL").get("/x", {}, same)
    assert "Authorization" not in vendor.requests[0].headers


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(Response("busy", 503), id="overloaded"),
        pytest.param(Response("<html>Bad gateway</html>", 502, {"Content-Type": "text/html"}), id="html"),
        pytest.param(Response("", 429), id="rate limit with an empty body"),
        pytest.param(Response("", 408), id="request timeout"),
        pytest.param(Response('{"a": 1'), id="broken JSON"),
        pytest.param(Response('{"a": 1}Unexpected error while streaming data: timeoutReached'), id="broken stream"),
        pytest.param(Response(b'{"a": "\xff"}'), id="not UTF-8"),
        pytest.param(Response("[" * 100_000), id="nested beyond reason"),
        pytest.param(Response('{"a": 1}', promised=100), id="cut short"),
    ],
)
def test_a_transient_failure_is_tried_again(bad: Response, vendor: Vendor, client: HttpClient) -> None:
    vendor.answer(bad, bad, GOOD)
    reply = client.get("/x", {}, same)
    assert (reply.value, reply.calls) == ({"value": "1.50e+02"}, 3)


def test_tries_are_bounded_and_the_last_reason_is_told_in_one_sentence(
    vendor: Vendor, client: HttpClient, clock: FakeClock
) -> None:
    vendor.answer(json_response({"error": True, "reason": "The service is overloaded"}, 503))
    with pytest.raises(TransientSourceError) as failure:
        client.get("/v1/archive", {}, same)
    assert str(failure.value) == (
        f"{vendor.host}/v1/archive gave no usable answer in 5 tries, last: HTTP 503: The service is overloaded; "
        "check the network and STOCK_WEATHER_POLYGON_URL, or run this again later."
    )
    assert len(vendor.requests) == TRIES
    # Doubling with jitter: each wait is between half of its step and the whole.
    assert all(step / 2 <= slept <= step for slept, step in zip(clock.slept, (1, 2, 4, 8), strict=True))


def test_every_try_spends_quota(vendor: Vendor, clock: FakeClock) -> None:
    vendor.answer(Response("", 500), Response("", 500), GOOD)
    quota = Quota("vendor", (Window(2, 60),), clock, clock.sleep)
    HttpClient(vendor.url, quota, "STOCK_WEATHER_POLYGON_URL").get("/x", {}, same)
    assert sum(clock.slept) == pytest.approx(60, abs=0.1)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_is_honoured(status: int, vendor: Vendor, client: HttpClient, clock: FakeClock) -> None:
    vendor.answer(Response("", status, {"Retry-After": "17"}), GOOD)
    client.get("/x", {}, same)
    assert sum(clock.slept) == pytest.approx(17)


def test_retry_after_as_a_date_is_honoured(vendor: Vendor, client: HttpClient, clock: FakeClock) -> None:
    moment = datetime.now(timezone.utc) + timedelta(seconds=90)
    vendor.answer(Response("", 429, {"Retry-After": format_datetime(moment, usegmt=True)}), GOOD)
    client.get("/x", {}, same)
    assert 80 <= sum(clock.slept) <= 90


def test_retry_after_that_says_nothing_falls_back_to_a_minute(
    vendor: Vendor, client: HttpClient, clock: FakeClock
) -> None:
    vendor.answer(Response("", 429, {"Retry-After": "soon"}), GOOD)
    client.get("/x", {}, same)
    assert sum(clock.slept) == pytest.approx(60)


def test_a_vendor_that_wants_a_long_rest_is_not_asked_again_in_this_run(
    vendor: Vendor, client: HttpClient, clock: FakeClock
) -> None:
    vendor.answer(Response("", 429, {"Retry-After": str(int(MAX_PAUSE_S) + 1)}))
    with pytest.raises(TransientSourceError, match="asked to wait 301 s"):
        client.get("/x", {}, same)
    assert (len(vendor.requests), clock.slept) == (1, [])


def test_a_reader_may_ask_for_another_try(vendor: Vendor, client: HttpClient) -> None:
    seen: list[Any] = []

    def read(body: Any) -> Any:
        seen.append(body)
        if len(seen) == 1:
            raise Retry("half of the rows")
        return body

    vendor.answer(GOOD)
    assert client.get("/x", {}, read).calls == 2


def test_a_redirect_is_not_followed(vendor: Vendor, client: HttpClient) -> None:
    vendor.answer(Response("", 302, {"Location": f"https://elsewhere.example/x?{KEY.get_secret_value()}"}))
    with pytest.raises(PermanentSourceError, match=r"redirects to elsewhere\.example, which is not followed"):
        client.get("/x", {}, same)
    assert len(vendor.requests) == 1


@pytest.mark.parametrize("status", [400, 404, 410, 204])
def test_a_refusal_is_told_at_once_with_the_vendors_words(status: int, vendor: Vendor, client: HttpClient) -> None:
    vendor.answer(json_response({"message": "no such thing"} if status != 204 else None, status))
    with pytest.raises(PermanentSourceError, match=f"HTTP {status}"):
        client.get("/x", {}, same)
    assert len(vendor.requests) == 1


def test_a_server_that_does_not_answer_in_time_is_tried_again(vendor: Vendor, quota: Quota) -> None:
    release = Event()
    vendor.answer(Response("{}", delay=lambda: release.wait(10)))
    client = HttpClient(vendor.url, quota, "STOCK_WEATHER_POLYGON_URL", KEY, timeout_s=(1, 0.05))
    try:
        with pytest.raises(TransientSourceError, match=r"in 5 tries, last: no answer within 0\.05 s"):
            client.get("/x", {}, same)
    finally:
        release.set()


def test_a_vendor_that_is_down_is_named_with_the_setting(quota: Quota, free_port: int) -> None:
    client = HttpClient(f"http://127.0.0.1:{free_port}", quota, "STOCK_WEATHER_POLYGON_URL", KEY)
    with pytest.raises(TransientSourceError, match=r"Connection refused.*STOCK_WEATHER_POLYGON_URL"):
        client.get("/x", {}, same)


def test_a_url_nobody_can_call_is_permanent(quota: Quota) -> None:
    client = HttpClient("http://.example", quota, "STOCK_WEATHER_POLYGON_URL", KEY)
    with pytest.raises(PermanentSourceError, match="check STOCK_WEATHER_POLYGON_URL"):
        client.get("/x", {}, same)


def test_https_to_a_server_without_it_names_the_setting(vendor: Vendor, quota: Quota) -> None:
    client = HttpClient(vendor.url.replace("http:", "https:"), quota, "STOCK_WEATHER_POLYGON_URL", KEY)
    with pytest.raises(
        TransientSourceError, match=r"no connection \(.*check the network and STOCK_WEATHER_POLYGON_URL"
    ):
        client.get("/x", {}, same)


def test_a_certificate_that_is_not_trusted_is_permanent(client: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_options: Any) -> None:
        raise requests.exceptions.SSLError("certificate verify failed: self-signed certificate (_ssl.c:1006)")

    monkeypatch.setattr(client._session, "get", refuse)
    with pytest.raises(PermanentSourceError, match=r"self-signed certificate.*certificates of this machine"):
        client.get("/x", {}, same)


def test_data_is_simulated_exactly_when_the_server_says_so(vendor: Vendor, client: HttpClient) -> None:
    for header, simulated in (("simulated", True), ("replay", False), (None, False)):
        headers = {"X-Stock-Weather-Sandbox": header} if header else {}
        vendor.answer(Response("{}", headers=headers))
        assert client.get("/x", {}, same).simulated is simulated


_SECRET = KEY.get_secret_value()


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(json_response({"error": f"Unknown API Key {_SECRET}"}, 401), id="401"),
        pytest.param(json_response({"message": f"{_SECRET} may not"}, 403), id="403"),
        pytest.param(json_response({"error": f"slow down {_SECRET}"}, 429), id="429"),
        pytest.param(Response(f"crashed with Authorization: Bearer {_SECRET}", 500), id="500"),
        pytest.param(Response(f'{{"apiKey": "{_SECRET}'), id="broken JSON"),
        pytest.param(Response(f"{_SECRET}", promised=1000), id="cut short"),
        pytest.param(Response("", 301, {"Location": f"https://x.example/?apiKey={_SECRET}"}), id="redirect"),
    ],
)
def test_no_failure_shows_the_key(
    bad: Response, vendor: Vendor, client: HttpClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    vendor.answer(bad)
    with pytest.raises(SourceError) as failure:
        client.get("/x", {}, same)
    shown = "".join(traceback.format_exception(failure.value)) + repr(failure.value) + caplog.text
    assert _SECRET not in shown
    # Dagster also stores what an exception was raised in the middle of.
    assert failure.value.__cause__ is None
    assert failure.value.__context__ is None


@given(before=st.integers(0, 400), plain=st.booleans())
def test_no_part_of_the_key_is_left_where_a_long_text_is_shortened(before: int, plain: bool) -> None:
    client = HttpClient("http://127.0.0.1:1", Quota("vendor", ()), "STOCK_WEATHER_POLYGON_URL", KEY)
    shown = client.shown("-" * before + (_SECRET if plain else quote(_SECRET, safe="")) + "-" * 400)
    assert set(shown) <= {"-", "*"}
    assert len(shown) <= 300


def test_a_vendors_text_cannot_write_to_the_terminal(vendor: Vendor, client: HttpClient) -> None:
    vendor.answer(json_response({"message": "red \x1b[31m \ud83d line\nbreak"}, 404))
    with pytest.raises(PermanentSourceError, match=r"red \?\[31m \? line break"):
        client.get("/x", {}, same)


def test_no_failure_of_the_connection_shows_the_key(
    quota: Quota, free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = HttpClient(f"http://127.0.0.1:{free_port}", quota, "STOCK_WEATHER_POLYGON_URL", KEY)
    with pytest.raises(SourceError) as failure:
        client.get("/x", {}, same)
    assert _SECRET not in "".join(traceback.format_exception(failure.value)) + caplog.text
    assert failure.value.__context__ is None
