"""A scripted HTTP server that stands in for a vendor, and a clock that only moves when somebody sleeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from pydantic import SecretStr

from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.sources.base import FetchPlan, Progress, RangeSource, silent
from stock_weather_pipeline.sources.quota import Quota, Window
from stock_weather_pipeline.sources.tables import Fetched, gathered

KEY = SecretStr("s3cr3t/key+Value")
RECORDED = Path(__file__).parents[3] / "shared" / "data"


@dataclass
class Response:
    """What the server sends. `promised` is a Content-Length larger than the body: a body cut short."""

    body: str | bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    promised: int | None = None
    delay: Callable[[], object] | None = None


@dataclass
class Request:
    path: str
    query: dict[str, str]
    target: str
    headers: dict[str, str]


Script = Callable[[Request], Response]


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silence: a client that hangs up on a slow answer is part of these tests."""


class Vendor:
    """`script` is called for every request; `requests` holds them all."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.script: Script = lambda _request: Response(status=500)
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = dict(parse_qsl(parts.query, keep_blank_values=True))
                request = Request(parts.path, query, self.path, dict(self.headers))
                vendor.requests.append(request)
                response = vendor.script(request)
                if response.delay:
                    response.delay()
                body = response.body.encode() if isinstance(response.body, str) else response.body
                self.send_response(response.status)
                self.send_header("Content-Length", str(response.promised or len(body)))
                for name, value in response.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: Any) -> None:
                return

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def answer(self, *responses: Response) -> None:
        """These in turn; the last one for ever."""
        queue = list(responses)
        self.script = lambda _request: queue.pop(0) if len(queue) > 1 else queue[0]

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class FakeClock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclass(frozen=True)
class AsTables:
    """A source whose pages are gathered into tables, as the raw layer does."""

    dataset: Dataset
    source: RangeSource

    def plan(self, days: Sequence[date]) -> FetchPlan:
        return self.source.plan(days)

    def fetch(self, days: Sequence[date], progress: Progress = silent) -> Iterator[Fetched]:
        return gathered(self.dataset, self.source.fetch(days, progress))


def json_response(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(body), status, {"Content-Type": "application/json"} | (headers or {}))


def recorded(name: str) -> Any:
    """A recorded body of `../shared/data`; skips the test where that folder is absent."""
    path = RECORDED / name
    if not path.is_file():
        pytest.skip(f"the recorded vendor answer {name} is not beside this checkout")
    return json.loads(path.read_text())


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    server = Vendor()
    yield server
    server.stop()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def quota(clock: FakeClock) -> Quota:
    return Quota("the test vendor", (Window(1000, 60),), clock, clock.sleep)
