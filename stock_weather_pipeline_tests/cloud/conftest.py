"""The emulated account of the ingest function's tests, and an endpoint that runs the function."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from infra.ingest.handler import handler
from stock_weather_pipeline_tests.infra.ingest.conftest import Invocation, Stack, aws, stack

__all__ = ["Function", "aws", "stack"]


class Function:
    """Lambda's endpoint: runs `answer` for each invocation, as Lambda runs the function's handler."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.answer: Callable[[dict[str, Any]], Any] = lambda event: handler(event, Invocation())
        self.refusal: tuple[int, str] | None = None
        function = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                function.events.append(event)
                if function.refusal is not None:
                    status, code = function.refusal
                    self._send(status, {"Message": "No."}, {"X-Amzn-ErrorType": code})
                    return
                try:
                    self._send(200, function.answer(event), {})
                except Exception as error:  # noqa: BLE001 - Lambda answers with whatever the handler raised
                    failure = {"errorMessage": str(error), "errorType": type(error).__name__}
                    self._send(200, failure, {"X-Amz-Function-Error": "Unhandled"})

            def _send(self, status: int, body: Any, headers: dict[str, str]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def function(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Function]:
    # A session whose function never spoke waits this long for late messages.
    monkeypatch.setattr("dagster._core.pipes.utils.WAIT_FOR_LOGS_AFTER_EXECUTION_INTERVAL", 1)
    endpoint = Function()
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", endpoint.url)
    yield endpoint
    endpoint.stop()
