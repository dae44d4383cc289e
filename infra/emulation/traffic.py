"""The HTTP front of the emulated AWS. A call is known by service and operation, counted, answered with a fault if one
was injected, given to the emulator's own handler where there is one, and to moto otherwise.

How a service behaves belongs to the module of that service.
"""

from __future__ import annotations

import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model
from werkzeug.wrappers import Response

Handler = Callable[[dict[str, Any]], Mapping[str, Any]]
"""Answers one operation: parameters and result in the shapes of the AWS API, as boto3 shows them."""

INTERNAL_KEY = "emulation-itself"
"""The access key of calls that the emulated services make among each other."""

_BOTO_NAMES = {"monitoring": "cloudwatch"}


class AwsError(Exception):
    """An error answer of the AWS API."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class Fault(Enum):
    """What a call can be answered with instead of its result."""

    THROTTLING = "throttling"
    SERVER_ERROR = "server error"
    SLOW_DOWN = "slow down"
    EXPIRED_TOKEN = "expired token"
    ACCESS_DENIED = "access denied"

    def error(self, service: str) -> AwsError:
        if self is Fault.THROTTLING:
            named = {"athena": "TooManyRequestsException", "lambda": "TooManyRequestsException"}
            code = named.get(service, "ThrottlingException")
            return AwsError(code, "Rate exceeded", 429 if service == "lambda" else 400)
        if self is Fault.SERVER_ERROR:
            code = "InternalError" if service == "s3" else "InternalServerException"
            return AwsError(code, "We encountered an internal error. Please try again.", 500)
        if self is Fault.SLOW_DOWN:
            return AwsError("SlowDown", "Please reduce your request rate.", 503)
        if self is Fault.EXPIRED_TOKEN:
            code = "ExpiredToken" if service in ("s3", "sns", "cloudformation") else "ExpiredTokenException"
            return AwsError(code, "The provided token has expired.")
        code = "AccessDenied" if service == "s3" else "AccessDeniedException"
        return AwsError(code, "User is not authorized to perform this action", 403 if service == "s3" else 400)


@dataclass
class _Injected:
    service: str
    operation: str
    fault: Fault
    times: int
    after: bool


class Faults:
    """Faults to come. Those of queries are in the module of Athena, which asks for them here by name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._injected: list[_Injected] = []
        self._queries: list[tuple[str, float]] = []
        self._failed_records: list[int] = []

    def inject(self, service: str, operation: str, fault: Fault, times: int = 1, *, after: bool = False) -> None:
        """Answer the next `times` calls of an operation (`*`: any) with a fault; `after`: once it has taken effect."""
        with self._lock:
            self._injected.append(_Injected(service, operation, fault, times, after))

    def fail_query_halfway(self, times: int = 1) -> None:
        """The next queries fail; an UNLOAD has then written half of its files."""
        with self._lock:
            self._queries.extend([("halfway", 0.0)] * times)

    def slow_query(self, seconds: float, times: int = 1) -> None:
        """The next queries run at least `seconds`, unless they are stopped."""
        with self._lock:
            self._queries.extend([("slow", seconds)] * times)

    def fail_records(self, count: int, times: int = 1) -> None:
        """The next PutRecordBatch calls of Firehose refuse their last `count` records."""
        with self._lock:
            self._failed_records.extend([count] * times)

    @property
    def pending(self) -> bool:
        """Whether a fault still waits for its call, query or record."""
        with self._lock:
            return bool(self._injected or self._queries or self._failed_records)

    def clear(self) -> None:
        with self._lock:
            self._injected.clear()
            self._queries.clear()
            self._failed_records.clear()

    def of_call(self, service: str, operation: str) -> tuple[Fault, bool] | None:
        """The fault of this call, which is used up, and whether the call takes effect first."""
        with self._lock:
            for injected in self._injected:
                if injected.service == service and injected.operation in ("*", operation):
                    injected.times -= 1
                    if injected.times <= 0:
                        self._injected.remove(injected)
                    return injected.fault, injected.after
        return None

    def of_query(self) -> tuple[str, float] | None:
        with self._lock:
            return self._queries.pop(0) if self._queries else None

    def of_records(self) -> int:
        with self._lock:
            return self._failed_records.pop(0) if self._failed_records else 0


class Calls:
    """How often each operation was called, faults included."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, service: str, operation: str) -> None:
        with self._lock:
            self._counts[service, operation] += 1

    def count(self, service: str, operation: str | None = None) -> int:
        """Calls of an operation, or of the whole service."""
        with self._lock:
            return sum(n for (s, o), n in self._counts.items() if s == service and operation in (None, o))

    def by_service(self) -> dict[str, dict[str, int]]:
        """{service: {operation: calls}}, sorted by name."""
        found: dict[str, dict[str, int]] = {}
        with self._lock:
            for (service, operation), n in sorted(self._counts.items()):
                found.setdefault(service, {})[operation] = n
        return found

    def reset(self) -> None:
        with self._lock:
            self._counts.clear()


WsgiApplication = Callable[[dict[str, Any], Any], Iterable[bytes]]


@dataclass
class Front:
    """The WSGI application in front of moto's."""

    moto: WsgiApplication
    calls: Calls
    faults: Faults
    handlers: dict[tuple[str, str], Handler] = field(default_factory=dict)
    _moto_lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        body = request.get_data(cache=True)
        environ["wsgi.input"] = io.BytesIO(body)  # moto reads it again
        environ["CONTENT_LENGTH"] = str(len(body))
        service = _service(request)
        if service is None:
            return self._of_moto(environ)(environ, start_response)
        operation, in_path = _operation(service, request)
        internal = f"Credential={INTERNAL_KEY}/" in request.headers.get("Authorization", "")
        if not internal:
            self.calls.add(service, operation)
        fault = None if internal else self.faults.of_call(service, operation)
        try:
            if fault is not None and not fault[1]:
                raise fault[0].error(service)
            handler = self.handlers.get((service, operation))
            if handler is not None:
                response = _handled(handler, service, operation, request, in_path)
            elif internal:
                # The service that calls holds moto's lock, if it is one of moto's.
                response = Response.from_app(self.moto, environ, buffered=True)
            else:
                response = self._of_moto(environ)
            if fault is not None:
                raise fault[0].error(service)
        except AwsError as error:
            response = _error(error, service, request)
        return response(environ, start_response)

    def _of_moto(self, environ: dict[str, Any]) -> Response:
        # moto's state is not made for threads, and a conditional write has to be one step.
        with self._moto_lock:
            return Response.from_app(self.moto, environ, buffered=True)


def _service(request: Request) -> str | None:
    """The boto3 name of the service a request is signed for."""
    signed = request.headers.get("Authorization", "") or request.args.get("X-Amz-Credential", "")
    scope = signed.split("Credential=")[-1].split(",")[0].split("/")
    return _BOTO_NAMES.get(scope[3], scope[3]) if len(scope) >= 5 else None


def _operation(service: str, request: Request) -> tuple[str, dict[str, Any]]:
    """The operation and what the path says about its parameters."""
    target = request.headers.get("X-Amz-Target")
    if target:
        return target.split(".")[-1], {}
    if "/operation/" in request.path:
        return request.path.rsplit("/operation/", 1)[1], {}
    content_type = request.content_type or ""
    if service != "s3" and content_type.startswith("application/x-www-form-urlencoded"):
        form = parse_qs(request.get_data(cache=True).decode())
        if "Action" in form:
            return form["Action"][0], {}
    operation, in_path = get_service_router(service).match(request)
    return str(operation.name), dict(in_path)


def _handled(handler: Handler, service: str, operation: str, request: Request, in_path: Mapping[str, Any]) -> Response:
    model = get_service_model(service)
    operation_model = model.operation_model(operation)
    protocol = determine_request_protocol(model, request.content_type)
    parameters = PROTOCOL_PARSERS[protocol](operation_model).parse(
        {
            "method": request.method,
            "values": request.values,
            "headers": request.headers,
            "body": request.get_data(cache=True),
            "url_path": request.path,
            "url_params": dict(in_path),
        }
    )
    result = handler(dict(parameters))
    answer = get_serializer_class(service, protocol)(operation_model).serialize(result)
    members = operation_model.output_shape.members if operation_model.output_shape else {}
    status = next((result[n] for n, s in members.items() if s.serialization.get("location") == "statusCode"), None)
    return Response(answer["body"], status=status or answer["status_code"], headers=answer["headers"])


def _error(error: AwsError, service: str, request: Request) -> Response:
    code, message = escape(error.code), escape(error.message)
    if service == "s3":
        body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return Response("" if request.method == "HEAD" else body, status=error.status, content_type="application/xml")
    if (request.content_type or "").startswith("application/x-www-form-urlencoded"):
        body = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
        return Response(body, status=error.status, content_type="text/xml")
    body = json.dumps({"__type": error.code, "message": error.message, "Message": error.message})
    headers = {"x-amzn-ErrorType": error.code}
    return Response(body, status=error.status, headers=headers, content_type="application/x-amz-json-1.1")
