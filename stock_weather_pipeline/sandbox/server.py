"""The sandbox's HTTP server: both vendors on one local port, with keys, quota and faults.

Sockets, routing, authentication, quota and the faults of the transport belong here; what the vendors answer is in
`polygon` and `open_meteo`, and where the numbers come from in `simulated` and `replay`.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from types import TracebackType
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

from stock_weather_pipeline.errors import UsageError
from stock_weather_pipeline.sandbox import open_meteo, polygon
from stock_weather_pipeline.sandbox.answers import Answer, Request, html_answer, json_answer
from stock_weather_pipeline.sandbox.faults import STREAMING_ERROR, Fault, Faults
from stock_weather_pipeline.sandbox.feed import Feed
from stock_weather_pipeline.sandbox.simulated import DEFAULT_MARKET_SIZE, SimulatedMarket, SimulatedWeather

SANDBOX_HEADER = "X-Stock-Weather-Sandbox"
HOST = "127.0.0.1"
DEFAULT_PORT = 8484
_CONTROL = "/sandbox/faults"
_KEPT_CALLS = 100_000
_GATEWAY_ERRORS = {"500": "Internal Server Error", "502": "Bad Gateway", "503": "Service Temporarily Unavailable"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """One request that was served, without its key. `status` is 0 where no answer was sent."""

    path: str
    query: Mapping[str, str]
    status: int


@dataclass
class _Quota:
    """At most `per_minute` calls in any 60 seconds; calls that are refused count too."""

    per_minute: float | None
    now: Callable[[], datetime]
    _spent: deque[tuple[float, float]] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def allows(self, weight: float = 1.0) -> bool:
        if self.per_minute is None:
            return True
        with self._lock:
            moment = self.now().timestamp()
            while self._spent and self._spent[0][0] <= moment - 60:
                self._spent.popleft()
            before = sum(spent for _, spent in self._spent)
            self._spent.append((moment, weight))
            return before < self.per_minute


class Sandbox:
    """Both vendors' APIs on 127.0.0.1, from simulated data, or from the files of `data`.

    A context manager: serves between enter and exit, on `port` (0: any free one). `api_key` is the one accepted key
    (None: any). `calls_per_minute` is the stock vendor's quota, `weather_calls_per_minute` the weather vendor's, by its
    own weights (None: unlimited). `history_years` is how far the plan reaches back. `market_size` is the number of
    simulated tickers. `now` replaces the clock in tests; it returns an aware time.

    Raises UsageError where the port is taken, or `data` cannot be replayed.
    """

    def __init__(
        self,
        data: Path | None = None,
        api_key: str | None = None,
        calls_per_minute: int | None = None,
        history_years: int | None = None,
        port: int = 0,
        *,
        weather_calls_per_minute: int | None = None,
        market_size: int = DEFAULT_MARKET_SIZE,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        if data is None:
            self._feed = Feed("simulated", SimulatedMarket(market_size), SimulatedWeather())
        else:
            from stock_weather_pipeline.sandbox.replay import replay_feed

            self._feed = replay_feed(data)
        self.faults = Faults()
        self._api_key = api_key
        self._port = port
        self._calls: deque[Call] = deque(maxlen=_KEPT_CALLS)
        self._polygon = polygon.PolygonApi(self._feed.market, history_years, now)
        self._open_meteo = open_meteo.OpenMeteoApi(self._feed.weather, now)
        self._polygon_quota = _Quota(calls_per_minute, now)
        self._weather_quota = _Quota(weather_calls_per_minute, now)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def kind(self) -> str:
        """`simulated` or `replay`, as every response says in its header."""
        return self._feed.kind

    @property
    def url(self) -> str:
        """The base URL of both vendors."""
        if self._server is None:
            raise RuntimeError("the sandbox is not serving: use it in a with statement")
        return f"http://{HOST}:{self._server.server_port}"

    @property
    def calls(self) -> list[Call]:
        """The newest vendor calls that were served, oldest first, those of the control endpoint not among them."""
        return list(self._calls)

    def start(self) -> None:
        """Serve in threads until `stop`."""
        try:
            self._server = _Server(self, self._port)
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"The sandbox cannot serve on {HOST}:{self._port} ({error}): "
                "stop what uses this port, or choose another one."
            ) from None
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="sandbox", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Block until the sandbox is stopped by another thread, or an interrupt raises KeyboardInterrupt."""
        if self._server is not None:
            self._server.ending.wait()

    def stop(self) -> None:
        """End every connection and thread, and free the port."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.close_connections()
        self._server.server_close()
        self._server = self._thread = None

    def answer(self, request: Request, authorization: str | None, fault: Fault | None) -> Answer:
        """What the vendor of this path answers, without the faults of the transport."""
        weather = request.segments[:1] == ("v1",)
        if fault is not None and (instead := _answer_instead(fault, weather)) is not None:
            return instead
        found = self._weather(request, fault) if weather else self._stocks(request, authorization, fault)
        if found is not None:
            return found
        if weather:
            return open_meteo.error(404, "Not Found")
        return Answer(404, b"404 page not found\n", "text/plain; charset=utf-8")

    def record(self, call: Call) -> None:
        self._calls.append(call)

    def about(self) -> Answer:
        """The front page: what this server is, for people and health checks."""
        return json_answer(200, {"sandbox": self.kind, "faults": self.faults.active(), "calls": len(self._calls)})

    def _stocks(self, request: Request, authorization: str | None, fault: Fault | None) -> Answer | None:
        bearer = (authorization or "").removeprefix("Bearer ").strip()
        key = bearer or request.query.get("apiKey", "")
        if not key:
            return polygon.error(401, polygon.NO_KEY)
        if self._api_key is not None and key != self._api_key:
            return polygon.error(401, polygon.UNKNOWN_KEY)
        if not self._polygon_quota.allows():
            return polygon.error(429, polygon.TOO_MANY_CALLS)
        return self._polygon.answer(request, fault)

    def _weather(self, request: Request, fault: Fault | None) -> Answer | None:
        if not self._weather_quota.allows(self._open_meteo.weight(request.query)):
            return open_meteo.error(429, open_meteo.LIMIT_REASONS["minute"])
        return self._open_meteo.answer(request, fault)


def serve(
    port: int = DEFAULT_PORT,
    data: Path | None = None,
    *,
    ready: Callable[[Sandbox], None] = lambda _: None,
    **options: Any,
) -> None:
    """Serve until the process is interrupted; `ready` is called once with the serving sandbox.

    `options` are those of Sandbox. Raises UsageError as Sandbox does.
    """
    with Sandbox(data, port=port, **options) as sandbox:
        try:
            ready(sandbox)
            sandbox.wait()
        except KeyboardInterrupt:
            log.info("interrupted, the sandbox ends")


def _answer_instead(fault: Fault, weather: bool) -> Answer | None:
    if fault.kind in _GATEWAY_ERRORS:
        return html_answer(int(fault.kind), _GATEWAY_ERRORS[fault.kind])
    if fault.kind == "429":
        retry_after = fault.options.get("retry_after")
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        if weather:
            reason = open_meteo.LIMIT_REASONS[fault.options.get("window", "minute")]
            answer = open_meteo.error(429, reason)
        else:
            answer = polygon.error(429, polygon.TOO_MANY_CALLS)
        return replace(answer, headers=headers, body=b"" if fault.options.get("empty_body") else answer.body)
    if fault.kind == "401":
        return polygon.error(401, polygon.UNKNOWN_KEY)
    if fault.kind == "403":
        return polygon.not_authorized(fault.options.get("meaning", "entitlement"))
    if fault.kind == "error_on_200":
        return polygon.error(200, polygon.TOO_MANY_CALLS)
    return None


class _Server(ThreadingHTTPServer):
    # Its threads are joined when it closes, so nothing outlives the sandbox.
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, sandbox: Sandbox, port: int) -> None:
        self.sandbox = sandbox
        self.ending = threading.Event()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((HOST, port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer would ask the resolver for this machine's name, which hangs on a machine without a network.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.socket.getsockname()[1]

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._lock:
            self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Wake every thread that waits for a client or hangs on purpose."""
        self.ending.set()
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):  # the client may have gone first
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients that hang up are everyday; anything else is a mistake in the sandbox and must be seen.
        level = logging.DEBUG if isinstance(sys.exc_info()[1], OSError) else logging.ERROR
        log.log(level, "the connection of %s ended", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "stock-weather-sandbox"
    sys_version = ""
    # Head and body leave together; written apart, one would wait for the other's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True
    timeout = 120
    _NO_BODY: ClassVar[Answer] = Answer(405, b"405 method not allowed\n", "text/plain; charset=utf-8")

    def do_GET(self) -> None:
        sandbox = self.server.sandbox
        parts = urlsplit(self.path)
        if parts.path == "/":
            return self._send(sandbox.about())
        if parts.path == _CONTROL:
            return self._send(json_answer(200, sandbox.faults.active()))
        fault = sandbox.faults.take(parts.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        segments = tuple(unquote(segment) for segment in parts.path.split("/")[1:])
        shown = {name: value for name, value in query.items() if name != "apiKey"}
        if fault is not None and fault.kind in ("timeout", "disconnect"):
            sandbox.record(Call(parts.path, shown, 0))
            self.close_connection = True
            if fault.kind == "timeout":
                self.server.ending.wait(float(fault.options.get("seconds", 60)))
            return None
        host = self.headers.get("Host") or f"{HOST}:{self.server.server_port}"
        answer = sandbox.answer(Request(segments, query, f"http://{host}"), self.headers.get("Authorization"), fault)
        sandbox.record(Call(parts.path, shown, answer.status))
        if fault is not None and fault.kind == "broken_json":
            answer = replace(answer, body=answer.body + STREAMING_ERROR)
        return self._send(answer, cut=fault is not None and fault.kind == "cut")

    def do_POST(self) -> None:
        """Switch a fault on: `{"path_prefix": "/v2/aggs", "kind": "429", "times": 2, ...options}`."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if urlsplit(self.path).path != _CONTROL:
            return self._send(self._NO_BODY)
        try:
            fault = json.loads(body)
            if not isinstance(fault, dict) or not {"path_prefix", "kind"} <= fault.keys():
                raise ValueError("Send an object with at least path_prefix and kind.")
            self.server.sandbox.faults.add(**fault)
        except ValueError as error:
            return self._send(json_answer(400, {"error": str(error)}))
        return self._send(json_answer(201, self.server.sandbox.faults.active()))

    def do_DELETE(self) -> None:
        """Switch every fault off."""
        if urlsplit(self.path).path != _CONTROL:
            return self._send(self._NO_BODY)
        self.server.sandbox.faults.clear()
        return self._send(json_answer(200, []))

    def _send(self, answer: Answer, cut: bool = False) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        body = answer.body
        if cut:
            self.close_connection = True
            body = body[: len(body) // 2]
        self.end_headers()
        self.wfile.write(body)

    def end_headers(self) -> None:
        # Here, so that not even the standard library's own errors go without it.
        self.send_header(SANDBOX_HEADER, self.server.sandbox.kind)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        # The path only: a key may stand in the query.
        log.debug("%s %s", self.command, urlsplit(self.path).path)
