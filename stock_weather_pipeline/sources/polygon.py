"""Polygon.io, now Massive: daily bars and split events of US stocks.

Belongs here: this vendor's paths, paging, errors and time stamps. HTTP itself is `http`'s, the meaning of rows is the
contract's. Facts a reader needs: bars are asked for unadjusted; a bar's `t` is 00:00 New York in the range endpoint and
16:00 in the grouped one; the key is never part of a `next_url`; a day without trades has no bar.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

from pydantic import SecretStr

from stock_weather_pipeline.datasets import STOCK_SPLITS
from stock_weather_pipeline.errors import NotYetAvailableError, PermanentSourceError
from stock_weather_pipeline.partitions import NEW_YORK, today
from stock_weather_pipeline.settings import WHOLE_MARKET
from stock_weather_pipeline.sources.base import FetchPlan, Page, Progress, Snapshot, silent
from stock_weather_pipeline.sources.http import RATE_LIMIT_PAUSE_S, Answer, HttpClient, Reply, Retry, host_of
from stock_weather_pipeline.sources.quota import Quota, Window, shared_quota

T = TypeVar("T")

# One company, two names since 2025: a next_url of one may come in an answer of the other.
_VENDOR_HOSTS = frozenset({"api.polygon.io", "api.massive.com"})
# The vendor's minute and ours do not tick together; a second more keeps the burst out of its window.
_QUOTA_WINDOW_S = 61.0
_MAX_PAGES = 1000
# Above this the whole list of splits, 1,000 a page, costs fewer calls than a call per ticker.
_MAX_TICKERS_ASKED_ONE_BY_ONE = 20

_BAR_FIELDS = {
    "open": "o",
    "high": "h",
    "low": "l",
    "close": "c",
    "volume": "v",
    "vwap": "vw",
    "transactions": "n",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

_log = logging.getLogger(__name__)


class StockPricesSource:
    """A RangeSource of daily bars, `adjusted=false`.

    `tickers` are fetched with one call each over the whole range, or with one grouped call per session, whichever
    takes fewer calls; WHOLE_MARKET always with grouped calls. A ticker the vendor does not know has no rows.
    """

    def __init__(
        self,
        url: str,
        api_key: SecretStr | None,
        tickers: Sequence[str],
        calls_per_minute: int,
        quota: Quota | None = None,
    ) -> None:
        self._vendor = _Vendor(url, api_key, calls_per_minute, quota)
        self._tickers = tuple(tickers)

    def plan(self, days: Sequence[date]) -> FetchPlan:
        """The fewest calls for these sessions, pages not counted: a bar range fits in one up to 50,000 rows."""
        days = sorted(set(days))
        grouped = self._grouped(days)
        calls = 0 if not days else len(days) if grouped else len(self._tickers)
        whom = "whole market" if self._tickers == WHOLE_MARKET else _names(self._tickers)
        what = f"{whom}, {_count(len(days), 'session')}" + (", one call per session" if grouped else "")
        return FetchPlan(calls, self._vendor.quota.minutes([1.0] * calls), f"{_count(calls, 'call')} ({what})")

    def fetch(self, days: Sequence[date], progress: Progress = silent) -> Iterator[Page]:
        """Bars of the sessions `days`: pages of the whole range, or, with grouped calls, of a session each.

        Bars as the vendor sent them, duplicates included; only bars of other days than asked are left out, and with
        status DELAYED the bar of a day that is not over.
        """
        asked = sorted(set(days))
        if not asked:
            return iter(())
        if self._grouped(asked):
            return self._fetch_grouped(asked, progress)
        return self._fetch_ranges(asked[0], asked[-1], progress)

    def _grouped(self, days: Sequence[date]) -> bool:
        return self._tickers == WHOLE_MARKET or 0 < len(days) < len(self._tickers)

    def _fetch_ranges(self, first: date, last: date, progress: Progress) -> Iterator[Page]:
        params = {"adjusted": "false", "sort": "asc", "limit": "50000"}
        for done, ticker in enumerate(self._tickers):
            progress(done, len(self._tickers), f"{ticker} {first}..{last}")
            path = f"/v2/aggs/ticker/{quote(ticker, safe='')}/range/1/day/{first}/{last}"
            for page, is_last in self._vendor.pages(path, params, _range_reader(ticker, first, last)):
                yield _page(first, last, page, whole=is_last and done + 1 == len(self._tickers))
        progress(len(self._tickers), len(self._tickers), f"{first}..{last}")

    def _fetch_grouped(self, days: Sequence[date], progress: Progress) -> Iterator[Page]:
        wanted = None if self._tickers == WHOLE_MARKET else frozenset(self._tickers)
        for done, day in enumerate(days):
            progress(done, len(days), f"all tickers {day}")
            path = f"/v2/aggs/grouped/locale/us/market/stocks/{day}"
            for page, is_last in self._vendor.pages(path, {"adjusted": "false"}, _grouped_reader(day, wanted)):
                yield _page(day, day, page, whole=is_last)
        progress(len(days), len(days), f"all tickers {days[0]}..{days[-1]}")


class StockSplitsSource:
    """A SnapshotSource of every split event of the tickers, all pages."""

    def __init__(
        self,
        url: str,
        api_key: SecretStr | None,
        tickers: Sequence[str],
        calls_per_minute: int,
        quota: Quota | None = None,
    ) -> None:
        self._vendor = _Vendor(url, api_key, calls_per_minute, quota)
        self._tickers = tuple(tickers)

    def fetch(self, progress: Progress = silent) -> Snapshot:
        one_by_one = self._tickers != WHOLE_MARKET and len(self._tickers) <= _MAX_TICKERS_ASKED_ONE_BY_ONE
        asked: Sequence[str | None] = self._tickers if one_by_one else [None]
        wanted = None if one_by_one or self._tickers == WHOLE_MARKET else frozenset(self._tickers)
        columns: dict[str, list[Any]] = {name: [] for name in STOCK_SPLITS.column_names}
        calls, simulated = 0, False
        for done, ticker in enumerate(asked):
            progress(done, len(asked), f"splits of {ticker or 'all tickers'}")
            params = {"limit": "1000"} | ({"ticker": ticker} if ticker else {})
            for page, _ in self._vendor.pages("/v3/reference/splits", params, _splits_reader(wanted)):
                for name, values in columns.items():
                    values.extend(event.get(name) for event in page.value)
                calls += page.calls
                simulated |= page.simulated
        progress(len(asked), len(asked), "splits")
        return Snapshot(columns, calls, simulated)


class _Vendor:
    """One account at one host: quota, errors, paging."""

    def __init__(self, url: str, api_key: SecretStr | None, calls_per_minute: int, quota: Quota | None) -> None:
        self.quota = quota or shared_quota(host_of(url), (Window(calls_per_minute, _QUOTA_WINDOW_S),))
        self._has_key = api_key is not None
        self._http = HttpClient(url, self.quota, "STOCK_WEATHER_POLYGON_URL", api_key, self._classify)

    def pages(
        self, path: str, params: dict[str, str], read: Callable[[dict[str, Any]], T]
    ) -> Iterator[tuple[Reply[T], bool]]:
        """Every page and whether it is the last, following `next_url` on the configured host only."""
        seen: set[str] = set()
        adjusted = {key: value for key, value in params.items() if key == "adjusted"}
        while True:
            reply = self._http.get(path, params, lambda body: (read(body), body.get("next_url")))
            value, next_url = reply.value
            yield Reply(value, reply.calls, reply.simulated), not next_url
            if not next_url:
                return
            next_url = str(next_url)
            if next_url in seen or len(seen) >= _MAX_PAGES:
                raise PermanentSourceError(
                    f"{self._http.host}{path} pages in a circle after {len(seen) + 1} pages: "
                    "report this to the vendor, nothing of it was kept."
                )
            seen.add(next_url)
            path, params = self._cursor(next_url, path)
            # The cursor may forget it, and the vendor's default is to adjust.
            params |= adjusted

    def _cursor(self, next_url: str, path: str) -> tuple[str, dict[str, str]]:
        host = host_of(next_url)
        if host != self._http.host and not {host, self._http.host} <= _VENDOR_HOSTS:
            shown = host_of(self._http.shown(next_url)) or "no host"
            raise PermanentSourceError(
                f"{self._http.host}{path} continues at {shown}, which is not called so "
                "that the key stays with the configured host: set STOCK_WEATHER_POLYGON_URL to the vendor's own URL."
            )
        parts = urlsplit(next_url)
        query = {key: value for key, value in parse_qsl(parts.query, keep_blank_values=True) if key != "apiKey"}
        return parts.path.removeprefix(urlsplit(self._http.base_url).path), query

    def _classify(self, answer: Answer) -> None:
        """Raises for everything that is no good answer, by status and the vendor's text."""
        text = answer.text.lower()
        if answer.status == 200:
            if not isinstance(answer.body, dict):
                # `http` names the body that is no JSON at all.
                if answer.body is None:
                    return
                raise Retry("HTTP 200 with a body that is no JSON object")
            if answer.body.get("status") in ("OK", "DELAYED"):
                return
        if "exceeded the maximum requests" in text or "rate limit" in text:
            raise Retry(answer.told, RATE_LIMIT_PAUSE_S)
        if "before end of day" in text:
            raise NotYetAvailableError(
                f"{self._http.host} has not published this day yet ({answer.told}): "
                "ask again after midnight in New York."
            )
        if "timeframe" in text:
            raise PermanentSourceError(
                f"The history of your plan at {self._http.host} does not reach back this far ({answer.told}): "
                "use a later --start (STOCK_WEATHER_START_DATE; the free plan holds two years) or upgrade the plan."
            )
        if answer.status == 401 or "api key" in text:
            advice = "it is wrong or expired, set it to the key of your account" if self._has_key else "it is not set"
            raise PermanentSourceError(f"{self._http.host} wants another POLYGON_API_KEY ({answer.told}): {advice}.")
        if answer.status == 403 or "entitled" in text:
            raise PermanentSourceError(
                f"Your plan at {self._http.host} does not include this data ({answer.told}): upgrade the plan, or ask "
                "for something it includes."
            )
        if answer.status == 200:
            raise Retry(f"HTTP 200 with status {answer.body.get('status')!r}: {answer.text or 'no reason given'}")


@dataclass(frozen=True)
class _Bars:
    """Columns of stock_prices, and the session of each bar as an ISO date."""

    columns: dict[str, list[Any]]
    days: list[str]


def _page(first: date, last: date, reply: Reply[_Bars], whole: bool) -> Page:
    return Page(first, last, reply.value.columns, reply.value.days, reply.calls, reply.simulated, whole)


def _range_reader(ticker: str, first: date, last: date) -> Callable[[dict[str, Any]], _Bars]:
    def read(body: dict[str, Any]) -> _Bars:
        bars = _results_unadjusted(body)
        days = [_session(bar.get("t")) for bar in bars]
        if None in days:
            # Nothing else in such a bar says which day it is, and dropping it would hide that it was there.
            raise Retry(f"a bar of {ticker} without a readable time stamp")
        return _bars(body, bars, [day or "" for day in days], [ticker] * len(bars), first, last)

    return read


def _grouped_reader(asked: date, wanted: frozenset[str] | None) -> Callable[[dict[str, Any]], _Bars]:
    def read(body: dict[str, Any]) -> _Bars:
        bars = _results_unadjusted(body)
        if wanted is not None:
            bars = [bar for bar in bars if isinstance(bar.get("T"), str) and bar["T"] in wanted]
        # A bar with an unreadable time stamp can only be of the one day asked for.
        days = [_session(bar.get("t")) or asked.isoformat() for bar in bars]
        return _bars(body, bars, days, [bar.get("T") for bar in bars], asked, asked)

    return read


def _splits_reader(wanted: frozenset[str] | None) -> Callable[[dict[str, Any]], list[dict[str, Any]]]:
    def read(body: dict[str, Any]) -> list[dict[str, Any]]:
        events = _results(body)
        if wanted is None:
            return events
        return [event for event in events if isinstance(event.get("ticker"), str) and event["ticker"] in wanted]

    return read


def _results(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows; absent and null mean none."""
    results = body.get("results")
    if results is None:
        return []
    if not isinstance(results, list) or not all(isinstance(row, dict) for row in results):
        raise Retry("results that are no list of objects")
    return results


def _results_unadjusted(body: dict[str, Any]) -> list[dict[str, Any]]:
    if body.get("adjusted") is True:
        raise PermanentSourceError(
            "The vendor sent prices adjusted for splits though unadjusted ones were asked for: nothing was kept, since "
            "mixing both would break every indicator; check that STOCK_WEATHER_POLYGON_URL passes queries on unchanged."
        )
    return _results(body)


def _bars(
    body: dict[str, Any], bars: list[dict[str, Any]], days: list[str], tickers: list[Any], first: date, last: date
) -> _Bars:
    """The bars of `first`..`last`; `days` are ISO dates, one per bar."""
    if body.get("status") == "DELAYED":
        # A bar of the running day still changes.
        last = min(last, today() - timedelta(days=1))
    low, high = first.isoformat(), last.isoformat()
    kept = [n for n, day in enumerate(days) if low <= day <= high]
    if len(kept) < len(bars):
        _log.warning("%d bars outside %s..%s left out", len(bars) - len(kept), low, high)
        bars, days, tickers = [bars[n] for n in kept], [days[n] for n in kept], [tickers[n] for n in kept]
    values = {name: [bar.get(field) for bar in bars] for name, field in _BAR_FIELDS.items()}
    return _Bars({"ticker": tickers, "trade_date": days, **values}, days)


def _session(stamp: Any) -> str | None:
    """The New York day of a bar's `t` as an ISO date, None when there is none to read."""
    return _new_york_day(stamp) if isinstance(stamp, str) else None


@lru_cache(maxsize=65_536)
def _new_york_day(milliseconds: str) -> str | None:
    try:
        value = float(milliseconds)
        if not math.isfinite(value):
            return None
        return (_EPOCH + timedelta(milliseconds=value)).astimezone(NEW_YORK).date().isoformat()
    except (ValueError, OverflowError):
        return None


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _names(tickers: Sequence[str]) -> str:
    return ", ".join(tickers) if len(tickers) <= 3 else f"{len(tickers):,} tickers"
