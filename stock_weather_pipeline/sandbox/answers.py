"""Answers of the sandbox before they are sent: status, headers, body, and numbers written as the vendors write them.

No routing and no socket here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answer:
    """One HTTP response. `headers` come on top of the length and the type."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """A GET as the vendor APIs see it: decoded path segments, query values, and the server's own address."""

    segments: tuple[str, ...]
    query: Mapping[str, str]
    base_url: str


def json_answer(status: int, payload: Any, headers: Mapping[str, str] | None = None) -> Answer:
    body = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
    return Answer(status, body, "application/json; charset=utf-8", headers or {})


def html_answer(status: int, title: str) -> Answer:
    page = (
        f"<html>\n<head><title>{status} {title}</title></head>\n<body>\n<h1>{status} {title}</h1>\n</body>\n</html>\n"
    )
    return Answer(status, page.encode(), "text/html")


def number_text(value: float | int | None) -> str:
    """A number as the stock vendor's JSON writer prints it.

    Integers plainly; floats with the fewest digits that read back the same, without `.0`, and in exponent form from
    one million on (`1.81724024e+08`). None and NaN are null.
    """
    if value is None or value != value:
        return "null"
    text = repr(value)
    if isinstance(value, int) or -1e6 < value < 1e6 or "e" in text:
        return text.removesuffix(".0")
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be written as JSON")
    sign = "-" if value < 0 else ""
    whole, _, fraction = text.lstrip("-").partition(".")
    digits = (whole + fraction).rstrip("0")
    mantissa = digits[0] + (f".{digits[1:]}" if digits[1:] else "")
    return f"{sign}{mantissa}e+{len(whole) - 1:02d}"
