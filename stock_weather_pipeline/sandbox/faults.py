"""Faults: what a vendor does wrong, switched on per path, for tests and rehearsals.

The list of active faults, and what each kind does to rows and hours, belong here. Faults of the transport (a cut body,
a hang) are carried out by the server.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from stock_weather_pipeline.sandbox.feed import Number

Row = dict[str, Any]

KINDS: dict[str, frozenset[str]] = {
    # answered instead of the vendor
    "401": frozenset(),
    "403": frozenset({"meaning"}),
    "429": frozenset({"retry_after", "empty_body", "window"}),
    "500": frozenset(),
    "502": frozenset(),
    "503": frozenset(),
    "error_on_200": frozenset(),
    # the transport
    "timeout": frozenset({"seconds"}),
    "disconnect": frozenset(),
    "cut": frozenset(),
    "broken_json": frozenset(),
    # the data
    "garbage_rows": frozenset({"days"}),
    "duplicate_rows": frozenset({"days"}),
    "missing_days": frozenset({"days"}),
    "null_values": frozenset({"days", "variables"}),
    "revised": frozenset({"days", "variables", "factor"}),
    "empty": frozenset(),
    "delayed": frozenset(),
    # the paging
    "small_pages": frozenset({"page_rows"}),
    "foreign_next_url": frozenset({"page_rows"}),
}
"""Every kind of fault with the options it takes. `days` limits a kind to some days; without it, it is every day."""

_MEANINGS = ("entitlement", "timeframe", "end_of_day")
_WINDOWS = ("minute", "hour", "day", "concurrent")
_VALID: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "meaning": (f"one of {', '.join(_MEANINGS)}", lambda value: value in _MEANINGS),
    "window": (f"one of {', '.join(_WINDOWS)}", lambda value: value in _WINDOWS),
    "retry_after": ("seconds from 0", lambda value: _is_number(value) and value >= 0),
    "seconds": ("seconds from 0", lambda value: _is_number(value) and value >= 0),
    "factor": ("a number", lambda value: _is_number(value)),
    "page_rows": ("a whole number from 1", lambda value: type(value) is int and value >= 1),
    "empty_body": ("true or false", lambda value: isinstance(value, bool)),
    "variables": (
        "a list of names",
        lambda value: isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value),
    ),
}

STREAMING_ERROR = b"Unexpected error while streaming data: timeoutReached"

# Rows the vendor really sent for 2020-04-07.
_JUNK = (
    ("\x00HTLP^\ufffd\ufffd-$b", 2794368142, 8903334989143.225),
    ("\x00HTLT^\ufffd\ufffd+/}", 1758894744, 6333802909619.206),
    ("\x00HTLZ^\ufffd\ufffd\ufffd#\ufffd", 2392502424, 13160081061938.475),
)
_BAR_VALUES = ("v", "vw", "o", "c", "h", "l", "n")
_BAR_PRICES = ("vw", "o", "c", "h", "l")
_SCALABLE_WEATHER = ("temperature_2m", "apparent_temperature", "precipitation", "wind_speed_10m")


@dataclass(eq=False)
class Fault:
    """One switched-on fault. `times` is how many more requests it hits, None for every one until it is cleared.

    A request is counted when its path begins with `path_prefix`, whether or not the fault finds anything to spoil.
    """

    path_prefix: str
    kind: str
    times: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def hits(self, day: date) -> bool:
        days = self.options.get("days")
        return days is None or day in days

    def spoil_rows(self, rows: list[tuple[date, Row]]) -> list[tuple[date, Row]]:
        """Bars with their day, as this fault lets the stock vendor send them."""
        if self.kind == "empty":
            return []
        if self.kind == "missing_days":
            return [(day, row) for day, row in rows if not self.hits(day)]
        if self.kind == "duplicate_rows":
            return [copy for day, row in rows for copy in ([(day, row)] * (2 if self.hits(day) else 1))]
        if self.kind == "null_values":
            names = self.options.get("variables", _BAR_VALUES)
            return [(day, row | {n: None for n in names if n in row} if self.hits(day) else row) for day, row in rows]
        if self.kind == "revised":
            names, factor = self.options.get("variables", _BAR_PRICES), self.options.get("factor", 1.01)
            return [
                (day, row | {n: round(row[n] * factor, 4) for n in names if n in row} if self.hits(day) else row)
                for day, row in rows
            ]
        if self.kind == "garbage_rows":
            return self._with_garbage(rows)
        return rows

    def _with_garbage(self, rows: list[tuple[date, Row]]) -> list[tuple[date, Row]]:
        hit = [(day, row) for day, row in rows if self.hits(day)]
        if hit and "T" in hit[0][1]:
            day, real = hit[0]
            return [(day, _junk_row(*junk) | {"t": real["t"]}) for junk in _JUNK] + rows
        return [
            (day, {k: v for k, v in _junk_row(*_JUNK[0]).items() if k != "T"} | {"t": row["t"]})
            if self.hits(day)
            else (day, row)
            for day, row in rows
        ]

    def spoil_hours(
        self, days: Sequence[date], hourly: dict[str, list[Number | None]]
    ) -> tuple[list[int], dict[str, list[Number | None]]]:
        """The hours to send, by position, and their values, as this fault lets the weather vendor send them."""
        if self.kind == "empty":
            return [], {name: [] for name in hourly}
        positions = list(range(len(days)))
        if self.kind == "missing_days":
            positions = [n for n in positions if not self.hits(days[n])]
        elif self.kind == "duplicate_rows":
            positions = [copy for n in positions for copy in ([n] * (2 if self.hits(days[n]) else 1))]
        spoilt = {
            name: [self._spoil_value(name, days[n], values[n]) for n in positions] for name, values in hourly.items()
        }
        return positions, spoilt

    def _spoil_value(self, name: str, day: date, value: Number | None) -> Number | None:
        if value is None or not self.hits(day):
            return value
        if self.kind == "null_values" and name in self.options.get("variables", (name,)):
            return None
        if self.kind == "revised" and name in self.options.get("variables", _SCALABLE_WEATHER):
            return round(value * float(self.options.get("factor", 1.01)), 1)
        if self.kind == "garbage_rows":
            return _JUNK[0][2]
        return value

    def as_json(self) -> dict[str, Any]:
        options = dict(self.options)
        if "days" in options:
            options["days"] = sorted(day.isoformat() for day in options["days"])
        return {"path_prefix": self.path_prefix, "kind": self.kind, "times": self.times, **options}


def _junk_row(ticker: str, volume: int, price: float) -> Row:
    return {"T": ticker, "v": volume, "vw": price, "o": price, "c": price, "h": price, "l": price}


class Faults:
    """The switched-on faults of one server, safe to change while it serves. The oldest that matches a path acts."""

    def __init__(self) -> None:
        self._active: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, path_prefix: str, kind: str, times: int | None = None, **options: Any) -> None:
        """Switch a fault on for the next `times` requests (None: until cleared) whose path begins with `path_prefix`.

        Raises ValueError with a sentence for an unknown kind or option, or a value that cannot work.
        """
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is not a fault: the kinds are {', '.join(KINDS)}.")
        unknown = sorted(set(options) - KINDS[kind])
        if unknown:
            takes = ", ".join(sorted(KINDS[kind])) or "no options"
            raise ValueError(f"The fault {kind} does not take {', '.join(unknown)}: it takes {takes}.")
        if not path_prefix.startswith("/"):
            raise ValueError(
                f"{path_prefix!r} is not the beginning of a path: write it as /v2/aggs, or / for every path."
            )
        if times is not None and (type(times) is not int or times < 1):
            raise ValueError(f"times={times!r} cannot be used: give a whole number from 1, or leave it out for always.")
        for name, value in options.items():
            if name in _VALID and not _VALID[name][1](value):
                raise ValueError(f"{name}={value!r} cannot be used: give {_VALID[name][0]}.")
        if options.get("days") is None:
            options.pop("days", None)
        else:
            options["days"] = _days(options["days"])
        with self._lock:
            self._active.append(Fault(path_prefix, kind, times, options))

    def take(self, path: str) -> Fault | None:
        """The fault that acts on a request of this path, used up by one."""
        with self._lock:
            for fault in self._active:
                if path.startswith(fault.path_prefix):
                    if fault.times is not None:
                        fault.times -= 1
                        if fault.times == 0:
                            self._active.remove(fault)
                    return fault
        return None

    def clear(self) -> None:
        with self._lock:
            self._active.clear()

    def active(self) -> list[dict[str, Any]]:
        """The switched-on faults, as the control endpoint shows them."""
        with self._lock:
            return [fault.as_json() for fault in self._active]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _days(values: Iterable[date | str]) -> frozenset[date]:
    if isinstance(values, str):
        values = [values]
    try:
        return frozenset(day if isinstance(day, date) else date.fromisoformat(day) for day in values)
    except (TypeError, ValueError):
        raise ValueError(f"days={values!r} cannot be used: give days such as 2024-06-10.") from None
