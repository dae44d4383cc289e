"""Bars and splits from a scripted vendor: what is asked, what is kept, which errors are whose fault."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from stock_weather_pipeline.datasets import STOCK_PRICES, STOCK_SPLITS
from stock_weather_pipeline.errors import (
    NotYetAvailableError,
    PermanentSourceError,
    SourceError,
    TransientSourceError,
)
from stock_weather_pipeline.sources import polygon
from stock_weather_pipeline.sources.base import PARTITION_DAY
from stock_weather_pipeline.sources.polygon import StockPricesSource, StockSplitsSource
from stock_weather_pipeline.sources.quota import Quota
from stock_weather_pipeline.sources.tables import Fetched, snapshot_table
from stock_weather_pipeline_tests.sources.conftest import (
    KEY,
    AsTables,
    FakeClock,
    Request,
    Response,
    Vendor,
    json_response,
    recorded,
)

NEW_YORK = ZoneInfo("America/New_York")
WEEK = [date(2025, 1, day) for day in range(13, 18)]
WEDNESDAY = [date(2025, 1, 15)]


def millis(day: date, hour: int = 0) -> int:
    return int(datetime(day.year, day.month, day.day, hour, tzinfo=NEW_YORK).timestamp() * 1000)


def bar(day: date, hour: int = 0, **changes: Any) -> dict[str, Any]:
    row = {"v": 1.5e8, "vw": 134.7, "o": 133.65, "c": 136.24, "h": 136.45, "l": 131.29, "t": millis(day, hour), "n": 7}
    return {key: value for key, value in (row | changes).items() if value != "absent"}


def body(results: Sequence[Any] | None, **more: Any) -> dict[str, Any]:
    rows = {} if results is None else {"results": list(results)}
    return {"status": "OK", "adjusted": False, "resultsCount": len(results or ()), "request_id": "1"} | rows | more


def prices(vendor: Vendor, quota: Quota, *tickers: str) -> AsTables:
    return AsTables(STOCK_PRICES, StockPricesSource(vendor.url, KEY, tickers, 5, quota))


def rows(fetched: Sequence[Fetched]) -> list[dict[str, Any]]:
    return [row for chunk in fetched for row in chunk.table.to_pylist()]


def asked_day(request: Request) -> date:
    return date.fromisoformat(request.path.rsplit("/", 1)[-1])


# Planning


@pytest.mark.parametrize(
    ("tickers", "days", "calls", "description"),
    [
        (("NVDA",), WEEK, 1, "1 call (NVDA, 5 sessions)"),
        (("NVDA", "AAPL"), WEEK, 2, "2 calls (NVDA, AAPL, 5 sessions)"),
        (tuple("ABCDE"), WEEK, 5, "5 calls (5 tickers, 5 sessions)"),
        (tuple("ABCDEF"), WEEK, 5, "5 calls (6 tickers, 5 sessions, one call per session)"),
        (("A", "B"), WEDNESDAY, 1, "1 call (A, B, 1 session, one call per session)"),
        (("*",), WEEK, 5, "5 calls (whole market, 5 sessions, one call per session)"),
        (("NVDA",), [], 0, "0 calls (NVDA, 0 sessions)"),
    ],
)
def test_the_plan_is_the_fewest_calls_and_they_are_the_calls_made(
    tickers: tuple[str, ...], days: list[date], calls: int, description: str, vendor: Vendor, quota: Quota
) -> None:
    vendor.answer(json_response(body([])))
    source = prices(vendor, quota, *tickers)
    plan = source.plan(days)
    assert (plan.calls, plan.description) == (calls, description)
    assert sum(chunk.calls for chunk in source.fetch(days)) == len(vendor.requests) == calls


def test_the_plan_tells_how_long_the_quota_makes_it_last(vendor: Vendor) -> None:
    source = StockPricesSource(vendor.url, KEY, ("*",), 5)
    assert source.plan(WEEK).minutes == 0
    two_years = [date(2023, 1, 1) + timedelta(days=n) for n in range(503)]
    assert source.plan(two_years).minutes == pytest.approx((len(two_years) - 5) / 5, rel=0.05)


def test_planning_makes_no_call(vendor: Vendor, quota: Quota) -> None:
    prices(vendor, quota, "NVDA").plan(WEEK)
    assert vendor.requests == []


# Ranges of one ticker


def test_a_range_is_asked_for_unadjusted_with_all_rows_in_one_page(vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response(body([bar(day) for day in WEEK])))
    (chunk,) = prices(vendor, quota, "NVDA").fetch(WEEK)
    (request,) = vendor.requests
    assert request.path == "/v2/aggs/ticker/NVDA/range/1/day/2025-01-13/2025-01-17"
    assert request.query == {"adjusted": "false", "sort": "asc", "limit": "50000"}
    assert (chunk.first, chunk.last, chunk.calls, chunk.simulated) == (WEEK[0], WEEK[-1], 1, False)
    assert chunk.table.column("trade_date").to_pylist() == [str(day) for day in WEEK]


def test_a_table_has_the_contracts_columns_as_strings_as_sent_and_the_day(vendor: Vendor, quota: Quota) -> None:
    text = '{"status": "OK", "adjusted": false, "results": [{"v": 1.81724024e+08, "o": 133.650, "c": 142, "h": 1E3, '
    vendor.answer(Response(text + f'"l": 0.10, "t": {millis(WEDNESDAY[0])}}}]}}'))
    (chunk,) = prices(vendor, quota, "NVDA").fetch(WEDNESDAY)
    assert chunk.table.schema.names == [*STOCK_PRICES.column_names, PARTITION_DAY]
    assert chunk.table.to_pylist() == [
        {
            "ticker": "NVDA",
            "trade_date": "2025-01-15",
            "open": "133.650",
            "high": "1E3",
            "low": "0.10",
            "close": "142",
            "volume": "1.81724024e+08",
            "vwap": None,
            "transactions": None,
            PARTITION_DAY: WEDNESDAY[0],
        }
    ]


def test_several_tickers_are_one_chunk_of_the_whole_range(vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response(body([bar(day) for day in WEEK])))
    (chunk,) = prices(vendor, quota, "NVDA", "AAPL").fetch(WEEK)
    assert [(row[PARTITION_DAY], row["ticker"]) for row in rows([chunk])] == [
        (day, ticker) for ticker in ("NVDA", "AAPL") for day in WEEK
    ]


def test_a_ticker_is_quoted_and_keeps_its_case(vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response(body([bar(WEDNESDAY[0])])))
    table = next(prices(vendor, quota, "A/B'?p").fetch([*WEEK])).table
    assert vendor.requests[0].target.startswith("/v2/aggs/ticker/A%2FB%27%3Fp/range/")
    assert table.column("ticker").to_pylist() == ["A/B'?p"]


@pytest.mark.parametrize(
    "empty",
    [
        pytest.param(body(None), id="absent"),
        pytest.param(body([]), id="empty list"),
        pytest.param(body(None) | {"results": None}, id="null"),
    ],
)
def test_no_results_in_any_form_are_no_rows(empty: dict[str, Any], vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response(empty))
    (chunk,) = prices(vendor, quota, "NOSUCH").fetch(WEEK)
    assert chunk.table.num_rows == 0
    assert chunk.table.schema.names == [*STOCK_PRICES.column_names, PARTITION_DAY]


def test_bars_outside_the_range_are_left_out_and_logged(
    vendor: Vendor, quota: Quota, caplog: pytest.LogCaptureFixture
) -> None:
    vendor.answer(json_response(body([bar(day) for day in WEEK])))
    (chunk,) = prices(vendor, quota, "NVDA").fetch(WEEK[1:3])
    assert chunk.table.column("trade_date").to_pylist() == [str(day) for day in WEEK[1:3]]
    assert "3 bars outside 2025-01-14..2025-01-15 left out" in caplog.text


def test_a_bar_on_a_holiday_is_kept_for_the_landing_to_decide(vendor: Vendor, quota: Quota) -> None:
    days = [date(2025, 1, 17), date(2025, 1, 21)]
    holiday = date(2025, 1, 20)
    vendor.answer(json_response(body([bar(holiday)])))
    assert rows(list(prices(vendor, quota, "NVDA").fetch(days)))[0][PARTITION_DAY] == holiday


def test_a_repeated_bar_is_kept_as_sent(vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response(body([bar(WEDNESDAY[0]), bar(WEDNESDAY[0]), bar(WEDNESDAY[0], c=1)])))
    fetched = rows(list(prices(vendor, quota, "NVDA").fetch(WEDNESDAY)))
    assert [row["close"] for row in fetched] == ["136.24", "136.24", "1"]


def test_garbage_values_are_kept_as_text_for_quarantine(vendor: Vendor, quota: Quota) -> None:
    garbage = bar(WEDNESDAY[0], o="absent", c=None, h="abc", l=True, v={"x": 1}, n=[1], vw="\ud83d")
    vendor.answer(json_response(body([garbage])))
    (row,) = rows(list(prices(vendor, quota, "NVDA").fetch(WEDNESDAY)))
    assert (row["open"], row["close"], row["high"], row["low"]) == (None, None, "abc", "true")
    assert (row["volume"], row["transactions"], row["vwap"]) == ('{"x": "1"}', '["1"]', "?")


@pytest.mark.parametrize("stamp", ["absent", None, "yesterday", {"at": 1}, float("nan"), 1e300])
def test_a_bar_without_a_readable_day_is_never_dropped_silently(stamp: Any, vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response(body([bar(WEDNESDAY[0]), bar(WEDNESDAY[0], t=stamp)])))
    with pytest.raises(TransientSourceError, match="a bar of NVDA without a readable time stamp"):
        list(prices(vendor, quota, "NVDA").fetch(WEDNESDAY))


def test_a_bar_broken_once_is_right_on_the_next_try(vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response(body([bar(WEDNESDAY[0], t=None)])), json_response(body([bar(WEDNESDAY[0])])))
    (chunk,) = prices(vendor, quota, "NVDA").fetch(WEDNESDAY)
    assert (chunk.table.num_rows, chunk.calls) == (1, 2)


def test_adjusted_prices_are_refused(vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response(body([bar(WEDNESDAY[0])], adjusted=True)))
    with pytest.raises(PermanentSourceError, match="adjusted for splits though unadjusted ones were asked for"):
        list(prices(vendor, quota, "NVDA").fetch(WEDNESDAY))
    assert len(vendor.requests) == 1


def test_delayed_is_an_answer_but_the_running_day_is_left_out(vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response(body([bar(day) for day in WEEK], status="DELAYED")))
    with time_machine.travel(datetime(2025, 1, 17, 20, tzinfo=timezone.utc), tick=True):
        (chunk,) = prices(vendor, quota, "NVDA").fetch(WEEK)
    assert chunk.table.column("trade_date").to_pylist() == [str(day) for day in WEEK[:-1]]


def test_simulated_data_is_marked(vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response(body([]), headers={"X-Stock-Weather-Sandbox": "simulated"}))
    (chunk,) = prices(vendor, quota, "NVDA").fetch(WEEK)
    assert chunk.simulated


def test_progress_counts_the_calls(vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response(body([])))
    seen: list[tuple[int, int, str]] = []
    list(prices(vendor, quota, "NVDA", "AAPL").fetch(WEEK, lambda *state: seen.append(state)))
    assert seen == [
        (0, 2, "NVDA 2025-01-13..2025-01-17"),
        (1, 2, "AAPL 2025-01-13..2025-01-17"),
        (2, 2, "2025-01-13..2025-01-17"),
    ]


@given(st.dates(date(1990, 1, 1), date(2100, 1, 1)), st.sampled_from([0, 16]))
def test_midnight_and_four_in_the_afternoon_are_the_same_session_in_every_season(day: date, hour: int) -> None:
    assert polygon._session(str(millis(day, hour))) == day.isoformat()


@given(st.text() | st.integers().map(str) | st.floats().map(str))
def test_a_time_stamp_is_a_day_or_nothing_and_never_a_crash(stamp: str) -> None:
    day = polygon._session(stamp)
    assert day is None or date.fromisoformat(day)


# Pages


def test_every_page_is_followed_and_prices_stay_unadjusted(vendor: Vendor, quota: Quota) -> None:
    cursor = "/v2/aggs/ticker/NVDA/range/1/day/1736917200000/2025-01-17?cursor=bGlt"
    pages = {
        None: body([bar(day) for day in WEEK[:2]], next_url=f"{vendor.url}{cursor}&apiKey=leak"),
        "bGlt": body([bar(day) for day in WEEK[2:]]),
    }
    vendor.script = lambda request: json_response(pages[request.query.get("cursor")])
    (chunk,) = prices(vendor, quota, "NVDA").fetch(WEEK)
    assert (chunk.table.num_rows, chunk.calls) == (5, 2)
    second = vendor.requests[1]
    assert second.path == "/v2/aggs/ticker/NVDA/range/1/day/1736917200000/2025-01-17"
    assert second.query == {"cursor": "bGlt", "adjusted": "false"}
    assert second.headers["Authorization"] == f"Bearer {KEY.get_secret_value()}"


@pytest.mark.parametrize(
    "host", ["https://elsewhere.example", "https://api.polygon.io", "http://127.0.0.1:1", "http://[", ""]
)
def test_a_page_on_another_host_is_not_called(host: str, vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response(body([], next_url=f"{host}/v2/next?cursor=1")))
    with pytest.raises(PermanentSourceError, match=r"continues at .* which is not called"):
        list(prices(vendor, quota, "NVDA").fetch(WEEK))
    assert len(vendor.requests) == 1


@pytest.mark.parametrize("configured", ["https://api.polygon.io", "https://api.massive.com"])
def test_the_vendors_two_names_stand_for_each_other(configured: str) -> None:
    source = polygon._Vendor(configured, KEY, 5, None)
    for host in ("api.polygon.io", "api.massive.com"):
        assert source._cursor(f"https://{host}/v3/x?cursor=a%3D%3D", "/v3/x") == ("/v3/x", {"cursor": "a=="})
    with pytest.raises(PermanentSourceError, match=r"continues at elsewhere\.example"):
        source._cursor("https://elsewhere.example/v3/x", "/v3/x")


def test_a_host_behind_a_path_is_followed_below_that_path(vendor: Vendor, quota: Quota) -> None:
    next_page = body([], next_url=f"{vendor.url}/proxy/v2/next?cursor=1")
    vendor.answer(json_response(next_page), json_response(body([])))
    list(StockPricesSource(f"{vendor.url}/proxy", KEY, ("NVDA",), 5, quota).fetch(WEEK))
    assert [request.path for request in vendor.requests] == [
        "/proxy/v2/aggs/ticker/NVDA/range/1/day/2025-01-13/2025-01-17",
        "/proxy/v2/next",
    ]


def test_pages_in_a_circle_end_with_an_error(vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response(body([], next_url=f"{vendor.url}/v2/next?cursor=1")))
    with pytest.raises(PermanentSourceError, match="pages in a circle"):
        list(prices(vendor, quota, "NVDA").fetch(WEEK))
    assert len(vendor.requests) == 2


# Grouped: the whole market of a session


def market(request: Request) -> Response:
    day = asked_day(request)
    return json_response(body([bar(day, 16, T=ticker) for ticker in ("ZM", "KIMpL", "JW.B", "A")]))


def test_the_whole_market_is_one_call_per_session(vendor: Vendor, quota: Quota) -> None:
    vendor.script = market
    (chunk,) = prices(vendor, quota, "*").fetch(WEEK)
    assert [request.path.rsplit("/", 1) for request in vendor.requests] == [
        ["/v2/aggs/grouped/locale/us/market/stocks", str(day)] for day in WEEK
    ]
    assert all(request.query == {"adjusted": "false"} for request in vendor.requests)
    assert [(row["trade_date"], row["ticker"]) for row in rows([chunk])] == [
        (str(day), ticker) for day in WEEK for ticker in ("ZM", "KIMpL", "JW.B", "A")
    ]
    assert (chunk.first, chunk.last, chunk.calls) == (WEEK[0], WEEK[-1], 5)


def test_many_tickers_of_few_sessions_are_filtered_out_of_the_market(vendor: Vendor, quota: Quota) -> None:
    vendor.script = market
    (chunk,) = prices(vendor, quota, "ZM", "A", "kimpl").fetch(WEEK[:2])
    assert chunk.table.column("ticker").to_pylist() == ["ZM", "A", "ZM", "A"]
    assert chunk.calls == 2


def test_sessions_before_one_that_is_not_published_are_brought_first(vendor: Vendor, quota: Quota) -> None:
    vendor.script = lambda request: (
        json_response(
            {"status": "NOT_AUTHORIZED", "message": "Attempted to request today's data before end of day."}, 403
        )
        if asked_day(request) == WEEK[-1]
        else market(request)
    )
    chunks: list[Fetched] = []
    with pytest.raises(NotYetAvailableError, match="after midnight in New York"):
        chunks.extend(prices(vendor, quota, "*").fetch(WEEK))
    assert [(chunk.first, chunk.last, chunk.table.num_rows) for chunk in chunks] == [(WEEK[0], WEEK[3], 16)]


def test_a_first_session_that_fails_brings_nothing(vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response({"status": "ERROR", "error": "bad day"}, 400))
    chunks: list[Fetched] = []
    with pytest.raises(PermanentSourceError, match="bad day"):
        chunks.extend(prices(vendor, quota, "*").fetch(WEEK))
    assert chunks == []


def test_prices_and_splits_spend_one_quota(vendor: Vendor) -> None:
    bars = StockPricesSource(vendor.url, KEY, ("NVDA",), 5)
    splits = StockSplitsSource(vendor.url, KEY, ("NVDA",), 5)
    assert bars._vendor.quota is splits._vendor.quota


def test_a_grouped_bar_without_a_readable_day_belongs_to_the_day_asked_for(vendor: Vendor, quota: Quota) -> None:
    day = WEDNESDAY[0]
    vendor.answer(json_response(body([bar(day, T="A", t="absent"), bar(day, 16, T=None), bar(WEEK[0], 16, T="B")])))
    fetched = rows(list(prices(vendor, quota, "*").fetch([day])))
    assert [(row["ticker"], row["trade_date"]) for row in fetched] == [("A", "2025-01-15"), (None, "2025-01-15")]


# Errors


@pytest.mark.parametrize(
    ("status", "answer", "error", "sentence"),
    [
        (
            401,
            {"status": "ERROR", "error": "Unknown API Key"},
            PermanentSourceError,
            "POLYGON_API_KEY.*Unknown API Key",
        ),
        (
            403,
            {"status": "NOT_AUTHORIZED", "message": "You are not entitled to this data. Please upgrade your plan."},
            PermanentSourceError,
            "does not include this data.*not entitled",
        ),
        (
            403,
            {"status": "NOT_AUTHORIZED", "message": "Your plan doesn't include this data timeframe."},
            PermanentSourceError,
            "does not reach back this far.*data timeframe.*--start.*upgrade",
        ),
        (
            403,
            {"status": "NOT_AUTHORIZED", "message": "Attempted to request today's data before end of day."},
            NotYetAvailableError,
            "not published this day yet.*before end of day",
        ),
        (404, {"status": "NOT_FOUND", "message": "Data not found."}, PermanentSourceError, "Data not found"),
        (400, {"status": "ERROR", "error": "bad range"}, PermanentSourceError, "bad range"),
        (
            200,
            {"status": "NOT_AUTHORIZED", "message": "You are not entitled to this data."},
            PermanentSourceError,
            "plan",
        ),
    ],
)
def test_refusals_fail_at_once_with_the_vendors_words_and_what_to_do(
    status: int, answer: dict[str, Any], error: type[SourceError], sentence: str, vendor: Vendor, quota: Quota
) -> None:
    vendor.answer(json_response(answer, status))
    with pytest.raises(error, match=sentence) as failure:
        list(prices(vendor, quota, "NVDA").fetch(WEEK))
    assert type(failure.value) is error
    assert len(vendor.requests) == 1
    assert KEY.get_secret_value() not in "".join(traceback.format_exception(failure.value))


def test_a_missing_key_is_told_apart_from_a_wrong_one(vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response({"status": "ERROR", "error": "API Key was not provided"}, 401))
    with pytest.raises(PermanentSourceError, match=r"POLYGON_API_KEY \(.*\): it is not set"):
        list(StockPricesSource(vendor.url, None, ("NVDA",), 5, quota).fetch(WEEK))
    with pytest.raises(PermanentSourceError, match="it is wrong or expired"):
        list(prices(vendor, quota, "NVDA").fetch(WEEK))


@pytest.mark.parametrize("status", [200, 429])
def test_a_spent_quota_is_waited_for_also_when_it_comes_as_success(
    status: int, vendor: Vendor, quota: Quota, clock: FakeClock
) -> None:
    spent = {"status": "ERROR", "error": "You've exceeded the maximum requests per minute, please wait."}
    vendor.answer(json_response(spent, status), json_response(body([])))
    list(prices(vendor, quota, "NVDA").fetch(WEEK))
    assert sum(clock.slept) == pytest.approx(60)


@pytest.mark.parametrize(
    "broken",
    [
        {"status": "ERROR", "error": "try again"},
        {"results": []},
        [],
        "text",
        {"status": "OK", "adjusted": False, "results": {}},
        {"status": "OK", "adjusted": False, "results": [1]},
    ],
)
def test_a_success_that_is_none_is_tried_again(broken: Any, vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response(broken), json_response(body([bar(WEDNESDAY[0])])))
    (chunk,) = prices(vendor, quota, "NVDA").fetch(WEDNESDAY)
    assert (chunk.table.num_rows, chunk.calls) == (1, 2)


def test_no_url_and_no_log_line_ever_holds_the_key(
    vendor: Vendor, quota: Quota, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    vendor.answer(json_response(body([], next_url=f"{vendor.url}/v2/next?cursor=1")), json_response(body([])))
    list(prices(vendor, quota, "NVDA").fetch(WEEK))
    assert len(vendor.requests) == 2
    assert all(KEY.get_secret_value() not in request.target for request in vendor.requests)
    assert KEY.get_secret_value() not in caplog.text


# Splits


def split(ticker: str, day: str, before: float, after: float) -> dict[str, Any]:
    return {"ticker": ticker, "execution_date": day, "split_from": before, "split_to": after, "id": "x"}


def test_splits_of_few_tickers_are_asked_for_one_by_one_with_all_pages(vendor: Vendor, quota: Quota) -> None:
    def script(request: Request) -> Response:
        if "cursor" in request.query:
            return json_response({"status": "OK", "results": [split("NVDA", "2021-07-20", 1, 4)]})
        if request.query["ticker"] == "NVDA":
            first = [split("NVDA", "2024-06-10", 1, 10)]
            return json_response(
                {"status": "OK", "results": first, "next_url": f"{vendor.url}/v3/reference/splits?cursor=2"}
            )
        return json_response({"status": "OK", "results": [split("AAPL", "2020-08-31", 1, 4.5)]})

    vendor.script = script
    snapshot = StockSplitsSource(vendor.url, KEY, ("NVDA", "AAPL"), 5, quota).fetch()
    assert vendor.requests[0].query == {"limit": "1000", "ticker": "NVDA"}
    assert vendor.requests[1].query == {"cursor": "2"}
    assert snapshot.calls == 3
    table = snapshot_table(STOCK_SPLITS, snapshot)
    assert table.schema == STOCK_SPLITS.raw_schema
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        ("NVDA", "2024-06-10", "1", "10"),
        ("NVDA", "2021-07-20", "1", "4"),
        ("AAPL", "2020-08-31", "1", "4.5"),
    ]


def test_splits_of_many_tickers_are_filtered_out_of_the_whole_list(vendor: Vendor, quota: Quota) -> None:
    events = [split("A", "2020-01-02", 2, 1), split("OTHER", "2020-01-03", 1, 2), {"execution_date": "2020-01-04"}]
    vendor.answer(json_response({"status": "OK", "results": events}))
    many = tuple("ABCDEFGHIJKLMNOPQRSTUVW")
    assert StockSplitsSource(vendor.url, KEY, many, 5, quota).fetch().columns["ticker"] == ["A"]
    assert vendor.requests[0].query == {"limit": "1000"}
    everything = StockSplitsSource(vendor.url, KEY, ("*",), 5, quota).fetch()
    assert everything.columns["ticker"] == ["A", "OTHER", None]


def test_no_splits_are_an_empty_table(vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response({"status": "OK"}))
    table = snapshot_table(STOCK_SPLITS, StockSplitsSource(vendor.url, KEY, ("NVDA",), 5, quota).fetch())
    assert (table.num_rows, table.schema) == (0, STOCK_SPLITS.raw_schema)


# What the vendor really sent


def unadjusted(text: str) -> str:
    return text.replace('"adjusted": true', '"adjusted": false')


@pytest.mark.parametrize(
    ("name", "ticker", "first", "last", "count"),
    [
        ("recorded_aggs_AAPL_1day_2019-01-01_2019-02-01", "AAPL", date(2019, 1, 2), date(2019, 1, 31), 21),
        ("recorded_aggs_AAPL_1day_2023-01-01_2023-01-10_on_2024-02-29", "AAPL", date(2023, 1, 3), date(2023, 1, 10), 6),
        ("transcribed_aggs_NVDA_1day_2024-10-14_status_DELAYED", "NVDA", date(2024, 10, 14), date(2024, 10, 14), 1),
        ("transcribed_aggs_NVDA_3days_2025-01-15_17", "NVDA", date(2025, 1, 15), date(2025, 1, 17), 3),
        ("vendor_mock_aggs_AAPL_1day_2005-04-01_2005-04-04", "AAPL", date(2005, 4, 1), date(2005, 4, 4), 2),
    ],
)
def test_recorded_ranges_are_the_sessions_they_cover(
    name: str, ticker: str, first: date, last: date, count: int, vendor: Vendor, quota: Quota
) -> None:
    answer = unadjusted(json.dumps(recorded(f"polygon/{name}.json")))
    vendor.answer(Response(answer))
    (chunk,) = prices(vendor, quota, ticker).fetch([first, last])
    days = chunk.table.column(PARTITION_DAY).to_pylist()
    assert (days[0], days[-1], len(set(days))) == (first, last, count)
    assert all(day.weekday() < 5 for day in days)


def test_recorded_grouped_and_range_bars_of_a_day_are_the_same_row(vendor: Vendor, quota: Quota) -> None:
    pair = recorded("polygon/transcribed_pair_grouped_vs_aggs_TTMI_2023-01-09.json")
    days = [date(2023, 1, 9)]
    tables = []
    for tickers, answer in ((("*",), pair["grouped"]), (("TTMI",), pair["aggs_1day"])):
        vendor.answer(json_response(answer | {"status": "OK", "adjusted": False}))
        tables.append(next(prices(vendor, quota, *tickers).fetch(days)).table)
    assert tables[0].equals(tables[1])


def test_recorded_binary_junk_reaches_the_table_for_quarantine(vendor: Vendor, quota: Quota) -> None:
    junk = recorded("polygon/transcribed_grouped_GARBAGE_rows_2020-04-07.json")
    vendor.answer(json_response(junk | {"status": "OK", "adjusted": False}))
    (chunk,) = prices(vendor, quota, "*").fetch([date(2020, 4, 7)])
    assert chunk.table.num_rows == len(junk["results"])
    assert "8903334989143.225" in chunk.table.column("high").to_pylist()


def test_recorded_errors_end_as_the_right_kind(vendor: Vendor, quota: Quota) -> None:
    kinds = {401: PermanentSourceError, 403: PermanentSourceError, 404: PermanentSourceError, 400: PermanentSourceError}
    for case in recorded("polygon/error_and_empty_bodies.json"):
        if case["http"] == 200:
            continue
        vendor.answer(json_response(case["body"], case["http"]))
        expected: type[SourceError] = kinds.get(case["http"], TransientSourceError)
        if "before end of day" in json.dumps(case["body"]):
            expected = NotYetAvailableError
        with pytest.raises(expected):
            list(prices(vendor, quota, "NVDA").fetch(WEEK))


def test_the_vendors_mock_of_splits_is_read_whole(vendor: Vendor, quota: Quota) -> None:
    mock = recorded("polygon/vendor_mock_v3_splits.json") | {"next_url": None}
    vendor.answer(json_response(mock))
    snapshot = StockSplitsSource(vendor.url, KEY, ("*",), 5, quota).fetch()
    assert snapshot.columns["ticker"] == [event["ticker"] for event in mock["results"]]


def test_a_hundred_thousand_bars_are_read_in_seconds(vendor: Vendor, quota: Quota) -> None:
    import time

    days = [date(2000, 1, 1) + timedelta(days=n) for n in range(5000)]
    text = json.dumps(body([bar(day) for day in days]))
    vendor.answer(Response(text))
    started = time.process_time()
    (chunk,) = prices(vendor, quota, *(f"T{n}" for n in range(20))).fetch(days)
    assert chunk.table.num_rows == 100_000
    assert time.process_time() - started < 10
