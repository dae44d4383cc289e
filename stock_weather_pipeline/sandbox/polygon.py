"""The stock vendor's API: a request in, the vendor's answer out, from any market.

Parameters, limits, paging, time stamps and error texts belong here. Keys and quota are the server's; where the prices
come from is the market's. Where the vendor's behaviour is not documented, the stricter reading is served.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from stock_weather_pipeline.partitions import NEW_YORK, ONE_DAY
from stock_weather_pipeline.partitions import today as new_york_today
from stock_weather_pipeline.sandbox.answers import Answer, Request, number_text
from stock_weather_pipeline.sandbox.faults import Fault, Row
from stock_weather_pipeline.sandbox.feed import Bar, Market, Split, shares_multiple

_MIDNIGHT = 0
_MARKET_CLOSE = 16
_AGGREGATES_LIMIT = (5000, 50_000)
_SPLITS_LIMIT = (10, 1000)
_FOREIGN_HOST = "http://next-page.example.com"

PRICING = "https://polygon.io/pricing"
NO_KEY = "API Key was not provided"
UNKNOWN_KEY = "Unknown API Key"
TOO_MANY_CALLS = (
    "You've exceeded the maximum requests per minute, please wait or upgrade your subscription to continue. " + PRICING
)
NOT_AUTHORIZED = {
    "entitlement": "You are not entitled to this data. Please upgrade your plan at https://massive.com/pricing",
    "timeframe": f"Your plan doesn't include this data timeframe. Please upgrade your plan at {PRICING}",
    "end_of_day": f"Attempted to request today's data before end of day. Please upgrade your plan at {PRICING}",
}


class _RefusedError(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def error(status: int, text: str) -> Answer:
    """An error whose text is under `error`: 400, 401, 429, and the 200 that is none."""
    return _answer({"status": "ERROR", "request_id": uuid.uuid4().hex, "error": text}, status)


def not_authorized(meaning: str) -> Answer:
    """403, text under `message`: `entitlement`, `timeframe` or `end_of_day`."""
    return _answer(
        {"status": "NOT_AUTHORIZED", "request_id": uuid.uuid4().hex, "message": NOT_AUTHORIZED[meaning]}, 403
    )


class PolygonApi:
    """The stock endpoints over one market.

    `history_years` is the plan's history (None: unlimited). `now` is the clock, aware.
    """

    def __init__(self, market: Market, history_years: int | None, now: Callable[[], datetime]) -> None:
        self._market = market
        self._history_years = history_years
        self._now = now

    def answer(self, request: Request, fault: Fault | None) -> Answer | None:
        """The vendor's answer, None where the vendor has no such path."""
        try:
            match request.segments:
                case ("v2", "aggs", "ticker", ticker, "range", "1", "day", first, last):
                    return self._range(request, ticker, first, last, fault)
                case ("v2", "aggs", "grouped", "locale", "us", "market", "stocks", day):
                    return self._grouped(request, day, fault)
                case ("v2", "aggs", "ticker", ticker, "prev"):
                    return self._previous(request, ticker, fault)
                case ("v3", "reference", "splits"):
                    return self._splits(request, fault)
                case _:
                    return None
        except _RefusedError as refused:
            return refused.answer

    def _today(self) -> date:
        return new_york_today(self._now())

    def _oldest(self) -> date:
        if self._history_years is None:
            return date.min
        today = self._today()
        # 29 February has no anniversary in most years.
        day = min(today.day, 28) if today.month == 2 else today.day
        return date(today.year - self._history_years, today.month, day)

    def _range(self, request: Request, ticker: str, first_text: str, last_text: str, fault: Fault | None) -> Answer:
        query = _with_cursor(request.query)
        first, last = _time_parameter("from", first_text), _time_parameter("to", last_text)
        if first > last:
            raise _RefusedError(error(400, "The parameter 'to' cannot be a time that occurs before 'from'"))
        limit = _page_rows(_limit(query, *_AGGREGATES_LIMIT), fault)
        descending = _choice(query, "sort", ("asc", "desc")) == "desc"
        adjusted = _adjusted(query)
        if last < self._oldest():
            raise _RefusedError(not_authorized("timeframe"))
        if first >= self._today():
            raise _RefusedError(not_authorized("end_of_day"))
        # A range that overlaps what the plan allows gets the allowed part, with 200.
        bars = self._bars(ticker, max(first, self._oldest()), min(last, self._today() - ONE_DAY), adjusted)
        if descending:
            bars = bars[::-1]
        page, rest = bars[:limit], bars[limit:]
        rows = _spoilt([(bar.day, _row(bar, _MIDNIGHT)) for bar in page], fault)
        payload: Row = {"ticker": ticker, "queryCount": len(page), "resultsCount": len(rows), "adjusted": adjusted}
        _add_results(payload, rows, fault)
        if rest:
            edge = str(_milliseconds(rest[0].day, _MIDNIGHT))
            start, end = (first_text, edge) if descending else (edge, last_text)
            cursor = {
                "adjusted": str(adjusted).lower(),
                "limit": str(query.get("limit", limit)),
                "sort": "desc" if descending else "asc",
            }
            path = f"/v2/aggs/ticker/{quote(ticker, safe='')}/range/1/day/{start}/{end}"
            payload["next_url"] = _next_url(request, fault, path, cursor)
        return _answer(payload)

    def _grouped(self, request: Request, day_text: str, fault: Fault | None) -> Answer:
        adjusted = _adjusted(request.query)
        day = _time_parameter("date", day_text)
        if day >= self._today():
            raise _RefusedError(not_authorized("end_of_day"))
        if day < self._oldest():
            raise _RefusedError(not_authorized("timeframe"))
        bars = self._market.grouped(day)
        if adjusted:
            later = self._splits_by_ticker(day)
            bars = [(ticker, _adjust(bar, later[ticker])) if ticker in later else (ticker, bar) for ticker, bar in bars]
        rows = _spoilt([(day, {"T": ticker} | _row(bar, _MARKET_CLOSE)) for ticker, bar in bars], fault)
        payload: Row = {"queryCount": len(bars), "resultsCount": len(rows), "adjusted": adjusted}
        _add_results(payload, rows, fault)
        return _answer(payload)

    def _previous(self, request: Request, ticker: str, fault: Fault | None) -> Answer:
        adjusted = _adjusted(request.query)
        yesterday = self._today() - ONE_DAY
        bars = self._bars(ticker, yesterday - timedelta(days=14), yesterday, adjusted)[-1:]
        rows = _spoilt([(bar.day, {"T": ticker} | _row(bar, _MARKET_CLOSE)) for bar in bars], fault)
        payload: Row = {"ticker": ticker, "queryCount": len(bars), "resultsCount": len(rows), "adjusted": adjusted}
        _add_results(payload, rows, fault)
        return _answer(payload)

    def _splits(self, request: Request, fault: Fault | None) -> Answer:
        query = _with_cursor(request.query)
        limit = _page_rows(_limit(query, *_SPLITS_LIMIT), fault)
        sort = _choice(query, "sort", ("execution_date", "ticker"))
        order = _choice(query, "order", ("desc", "asc") if sort == "execution_date" else ("asc", "desc"))
        found = [split for split in self._market.splits() if _wanted(split, query)]
        found.sort(
            key=lambda split: (
                (split.execution_date, split.ticker)
                if sort == "execution_date"
                else (split.ticker, split.execution_date)
            ),
            reverse=order == "desc",
        )
        offset = _whole_number("page_marker", query.get("page_marker", "0"), 0, len(found))
        page = [] if fault and fault.kind == "empty" else found[offset : offset + limit]
        payload: Row = {
            "results": [_split_row(split) for split in page],
            "status": "OK",
            "request_id": uuid.uuid4().hex,
        }
        if page and offset + limit < len(found):
            cursor = {**query, "page_marker": str(offset + limit)}
            cursor.pop("apiKey", None)
            payload["next_url"] = _next_url(request, fault, "/v3/reference/splits", cursor)
        return _answer(payload)

    def _bars(self, ticker: str, first: date, last: date, adjusted: bool) -> list[Bar]:
        bars = list(self._market.bars(ticker, first, last)) if first <= last else []
        if not adjusted:
            return bars
        splits = self._splits_by_ticker(date.min).get(ticker, [])
        return [_adjust(bar, splits) for bar in bars]

    def _splits_by_ticker(self, after: date) -> dict[str, list[Split]]:
        """The splits after a day that have happened, by ticker."""
        today = self._today()
        by_ticker: dict[str, list[Split]] = {}
        for split in self._market.splits():
            if after < split.execution_date <= today:
                by_ticker.setdefault(split.ticker, []).append(split)
        return by_ticker


def _adjust(bar: Bar, splits: Sequence[Split]) -> Bar:
    multiple = shares_multiple(splits, bar.day)
    if multiple == 1:
        return bar
    return bar._replace(
        open=round(bar.open / multiple, 4),
        high=round(bar.high / multiple, 4),
        low=round(bar.low / multiple, 4),
        close=round(bar.close / multiple, 4),
        volume=round(bar.volume * multiple, 4),
        vwap=None if bar.vwap is None else round(bar.vwap / multiple, 4),
    )


def _row(bar: Bar, hour: int) -> Row:
    row: Row = {"v": bar.volume}
    if bar.vwap is not None:
        row["vw"] = bar.vwap
    row |= {"o": bar.open, "c": bar.close, "h": bar.high, "l": bar.low, "t": _milliseconds(bar.day, hour)}
    if bar.transactions is not None:
        row["n"] = bar.transactions
    return row


def _spoilt(rows: list[tuple[date, Row]], fault: Fault | None) -> list[Row]:
    return [row for _, row in (fault.spoil_rows(rows) if fault else rows)]


def _add_results(payload: Row, rows: list[Row], fault: Fault | None) -> None:
    # The vendor leaves `results` out when there are none.
    if rows:
        payload["results"] = rows
    payload["status"] = "DELAYED" if fault and fault.kind == "delayed" else "OK"
    payload["request_id"] = uuid.uuid4().hex
    payload["count"] = len(rows)


def _split_row(split: Split) -> Row:
    digest = hashlib.sha256(f"{split.ticker}{split.execution_date}".encode()).hexdigest()
    return {
        "execution_date": split.execution_date.isoformat(),
        "id": f"E{digest}",
        "split_from": split.split_from,
        "split_to": split.split_to,
        "ticker": split.ticker,
    }


def _wanted(split: Split, query: Mapping[str, str]) -> bool:
    values = {"ticker": split.ticker, "execution_date": split.execution_date.isoformat()}
    for name, value in values.items():
        wanted = (
            value == query.get(name, value)
            and value >= query.get(f"{name}.gte", value)
            and value <= query.get(f"{name}.lte", value)
            and not value <= query.get(f"{name}.gt", "")
            and (f"{name}.lt" not in query or value < query[f"{name}.lt"])
        )
        if not wanted:
            return False
    return True


def _with_cursor(query: Mapping[str, str]) -> dict[str, str]:
    """The query with what its cursor holds: the vendor's next_url has nothing else."""
    if "cursor" not in query:
        return dict(query)
    text = query["cursor"]
    try:
        held = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
    except ValueError:
        raise _RefusedError(error(400, f"Could not parse the cursor: '{text}'")) from None
    return {key: value for key, value in query.items() if key != "cursor"} | dict(parse_qsl(held))


def _next_url(request: Request, fault: Fault | None, path: str, cursor: Mapping[str, str]) -> str:
    text = base64.urlsafe_b64encode(urlencode(cursor).encode()).decode().rstrip("=")
    base_url = _FOREIGN_HOST if fault and fault.kind == "foreign_next_url" else request.base_url
    return f"{base_url}{path}?cursor={text}"


def _page_rows(limit: int, fault: Fault | None) -> int:
    if fault and fault.kind in ("small_pages", "foreign_next_url"):
        return min(limit, int(fault.options.get("page_rows", 2)))
    return limit


def _limit(query: Mapping[str, str], default: int, maximum: int) -> int:
    return _whole_number("limit", query.get("limit", str(default)), 1, maximum)


def _whole_number(name: str, text: str, minimum: int, maximum: int) -> int:
    if not (text.isascii() and text.isdigit() and minimum <= int(text) <= maximum):
        what = f"The parameter '{name}' must be a number from {minimum} to {maximum}. Given: {text}"
        raise _RefusedError(error(400, what))
    return int(text)


def _choice(query: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = query.get(name, choices[0])
    if value not in choices:
        raise _RefusedError(error(400, f"The parameter '{name}' must be one of {', '.join(choices)}. Given: {value}"))
    return value


def _adjusted(query: Mapping[str, str]) -> bool:
    return _choice(query, "adjusted", ("true", "false")) == "true"


def _time_parameter(name: str, text: str) -> date:
    try:
        if text.isascii() and text.isdigit():
            return datetime.fromtimestamp(int(text) / 1000, timezone.utc).astimezone(NEW_YORK).date()
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=NEW_YORK).date()
    except (ValueError, OverflowError, OSError):
        text = f"Could not parse the time parameter: '{name}'. Use YYYY-MM-DD or Unix MS Timestamps"
        raise _RefusedError(error(400, text)) from None


@lru_cache(maxsize=65_536)
def _milliseconds(day: date, hour: int) -> int:
    return int(datetime.combine(day, time(hour), NEW_YORK).timestamp() * 1000)


def _answer(payload: Row, status: int = 200) -> Answer:
    return Answer(status, _text(payload).encode())


def _text(value: Any) -> str:
    # json.dumps cannot be told how to print a float, and the vendor prints large ones in exponent form.
    if isinstance(value, dict):
        return "{" + ",".join([f"{_string(key)}:{_text(item)}" for key, item in value.items()]) + "}"
    if isinstance(value, list):
        return "[" + ",".join([_text(item) for item in value]) + "]"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return number_text(value)


@lru_cache(maxsize=65_536)
def _string(text: str) -> str:
    return json.dumps(text)
