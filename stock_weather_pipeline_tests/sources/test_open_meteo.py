"""Hourly weather from a scripted vendor: one clock, New York days, nulls, weights, errors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stock_weather_pipeline.datasets import WEATHER
from stock_weather_pipeline.errors import (
    NotYetAvailableError,
    PermanentSourceError,
    SourceError,
    TransientSourceError,
)
from stock_weather_pipeline.partitions import hours_in
from stock_weather_pipeline.settings import NEW_YORK, SANTA_CLARA, Location
from stock_weather_pipeline.sources.base import PARTITION_DAY
from stock_weather_pipeline.sources.open_meteo import WeatherSource, weight
from stock_weather_pipeline.sources.quota import Quota
from stock_weather_pipeline.sources.tables import Fetched
from stock_weather_pipeline_tests.sources.conftest import (
    AsTables,
    FakeClock,
    Request,
    Response,
    Vendor,
    json_response,
    recorded,
)

UNITS = {
    "time": "iso8601",
    "temperature_2m": "°C",
    "apparent_temperature": "°C",
    "relative_humidity_2m": "%",
    "precipitation": "mm",
    "wind_speed_10m": "km/h",
    "weather_code": "wmo code",
}
DAY = date(2025, 6, 15)
TOO_LATE = "Parameter 'end_date' is out of allowed range from 1940-01-01 to {}"


def days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def place(first: date, last: date, **values: Any) -> dict[str, Any]:
    """The answer for one place, whole UTC dates, as the vendor words it."""
    hours = [f"{day}T{hour:02d}:00" for day in days(first, last) for hour in range(24)]
    hourly: dict[str, Any] = {"time": hours} | {name: [1.5] * len(hours) for name in UNITS if name != "time"}
    return {
        "latitude": 40.738136,
        "longitude": -74.04254,
        "generationtime_ms": 0.1,
        "utc_offset_seconds": 0,
        "timezone": "GMT",
        "elevation": 10.0,
        "hourly_units": dict(UNITS),
        "hourly": hourly | values,
    }


def archive(request: Request) -> Response:
    """Every hour asked for, of every place asked for: an object for one, a list for several."""
    first, last = (date.fromisoformat(request.query[name]) for name in ("start_date", "end_date"))
    places = [place(first, last) for _ in request.query["latitude"].split(",")]
    return json_response(places[0] if len(places) == 1 else places)


def weather(vendor: Vendor, quota: Quota, *locations: Location) -> AsTables:
    return AsTables(WEATHER, WeatherSource(vendor.url, locations or (NEW_YORK,), quota))


def rows(fetched: Sequence[Fetched]) -> list[dict[str, Any]]:
    return [row for chunk in fetched for row in chunk.table.to_pylist()]


# What is asked


def test_hours_are_asked_for_in_gmt_with_pinned_places_and_units(vendor: Vendor, quota: Quota) -> None:
    vendor.script = archive
    list(weather(vendor, quota, SANTA_CLARA, NEW_YORK).fetch([DAY]))
    (request,) = vendor.requests
    assert request.path == "/v1/archive"
    assert request.query == {
        "latitude": "40.7128,37.3541",
        "longitude": "-74.006,-121.9552",
        "elevation": "10.0,22.0",
        "start_date": "2025-06-15",
        "end_date": "2025-06-16",
        "hourly": "temperature_2m,apparent_temperature,relative_humidity_2m,precipitation,wind_speed_10m,weather_code",
        "timezone": "GMT",
        "temperature_unit": "celsius",
        "wind_speed_unit": "kmh",
        "precipitation_unit": "mm",
    }
    assert "%2C" not in request.target
    assert "Authorization" not in request.headers


# Which hours make a day


@pytest.mark.parametrize(
    ("day", "first_hour", "last_hour", "hours"),
    [
        (date(2025, 1, 15), "2025-01-15T05:00", "2025-01-16T04:00", 24),
        (date(2025, 6, 15), "2025-06-15T04:00", "2025-06-16T03:00", 24),
        (date(2024, 3, 10), "2024-03-10T05:00", "2024-03-11T03:00", 23),
        (date(2024, 11, 3), "2024-11-03T04:00", "2024-11-04T04:00", 25),
    ],
)
def test_a_partition_holds_the_hours_of_that_day_in_new_york(
    day: date, first_hour: str, last_hour: str, hours: int, vendor: Vendor, quota: Quota
) -> None:
    vendor.script = archive
    (chunk,) = weather(vendor, quota, SANTA_CLARA).fetch([day])
    observed = chunk.table.column("observed_at").to_pylist()
    assert (observed[0], observed[-1], len(observed)) == (first_hour, last_hour, hours)
    assert set(chunk.table.column(PARTITION_DAY).to_pylist()) == {day}


@settings(max_examples=15)
@given(first=st.dates(date(1990, 1, 1), date(2030, 1, 1)), length=st.integers(1, 40))
def test_every_day_of_a_range_has_each_of_its_hours_once(first: date, length: int) -> None:
    vendor, clock = Vendor(), FakeClock()
    try:
        vendor.script = archive
        quota = Quota("vendor", (), clock, clock.sleep)
        asked = days(first, first + timedelta(days=length - 1))
        fetched = rows(list(weather(vendor, quota).fetch(asked)))
    finally:
        vendor.stop()
    observed = [row["observed_at"] for row in fetched]
    assert observed == sorted(set(observed))
    for day in asked:
        assert sum(row[PARTITION_DAY] == day for row in fetched) == hours_in(day)


# What is kept


def test_rows_carry_our_name_and_the_vendors_text_and_nulls_stay_null(vendor: Vendor, quota: Quota) -> None:
    answer = place(DAY, DAY + timedelta(days=1))
    for name in UNITS.keys() - {"time"}:
        answer["hourly"][name] = [None] * 48
    answer["hourly"]["temperature_2m"][4:7] = ["MINUS", 8.40, 0]
    vendor.answer(Response(json.dumps(answer).replace('"MINUS"', "-0.0").replace("8.4", "8.40")))
    (chunk,) = weather(vendor, quota).fetch([DAY])
    assert chunk.table.schema.names == [*WEATHER.column_names, PARTITION_DAY]
    first = chunk.table.slice(0, 4).to_pylist()
    assert [row["temperature_c"] for row in first] == ["-0.0", "8.40", "0", None]
    assert first[3] == dict.fromkeys(WEATHER.column_names) | {
        "location": "New York",
        "observed_at": "2025-06-15T07:00",
        PARTITION_DAY: DAY,
    }


def test_each_place_of_a_list_goes_to_its_own_name(vendor: Vendor, quota: Quota) -> None:
    # Asked in the order of the names.
    answers = [place(DAY, DAY + timedelta(days=1), temperature_2m=[degrees] * 48) for degrees in (1, 2)]
    answers[1]["location_id"] = 1
    vendor.answer(json_response(answers))
    (chunk,) = weather(vendor, quota, SANTA_CLARA, NEW_YORK).fetch([DAY])
    assert {(row["location"], row["temperature_c"]) for row in rows([chunk])} == {
        ("New York", "1"),
        ("Santa Clara", "2"),
    }
    assert chunk.table.column("location").to_pylist() == ["New York"] * 24 + ["Santa Clara"] * 24


def test_garbage_values_are_kept_as_text_for_quarantine(vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response(place(DAY, DAY + timedelta(days=1), temperature_2m=["warm", True, [1]] * 16)))
    (chunk,) = weather(vendor, quota).fetch([DAY])
    assert set(chunk.table.column("temperature_c").to_pylist()) == {"warm", "true", '["1"]'}


def test_simulated_data_is_marked(vendor: Vendor, quota: Quota) -> None:
    answer = place(DAY, DAY + timedelta(days=1))
    vendor.answer(json_response(answer, headers={"X-Stock-Weather-Sandbox": "simulated"}))
    assert [chunk.simulated for chunk in weather(vendor, quota).fetch([DAY])] == [True]


# Surprises


@pytest.mark.parametrize(("variable", "unit"), [("temperature_2m", "°F"), ("wind_speed_10m", "mp/h"), ("time", None)])
def test_another_unit_is_refused(variable: str, unit: str | None, vendor: Vendor, quota: Quota) -> None:
    answer = place(DAY, DAY + timedelta(days=1))
    answer["hourly_units"][variable] = unit
    vendor.answer(json_response(answer))
    with pytest.raises(
        PermanentSourceError, match=f"{variable} of New York in {unit!r} instead of {UNITS[variable]!r}"
    ):
        list(weather(vendor, quota).fetch([DAY]))


def test_hours_that_are_not_gmt_are_refused(vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response(place(DAY, DAY + timedelta(days=1)) | {"utc_offset_seconds": -14400}))
    with pytest.raises(PermanentSourceError, match="UTC offset -14400 s though GMT was asked for"):
        list(weather(vendor, quota).fetch([DAY]))


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ([], "0 places in the answer, 1 asked for"),
        (None, "not JSON"),
        ({"utc_offset_seconds": 0}, "no hourly values"),
        (place(DAY, DAY, precipitation=[0.0]), "unequal length"),
        (place(DAY, DAY, weather_code=None), "unequal length"),
        (place(DAY, DAY) | {"hourly_units": []}, "no units"),
        (place(DAY, DAY, time=["2025-06-15 07:00"] * 24), "no time such as"),
        (place(DAY, DAY, time=["2025-06-31T07:00"] * 24), "no time such as"),
        (place(DAY, DAY, time=[7] * 24), "no time such as"),
    ],
)
def test_a_broken_answer_is_tried_again_and_then_told(broken: Any, reason: str, vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response(broken), json_response(place(DAY, DAY + timedelta(days=1))))
    (chunk,) = weather(vendor, quota).fetch([DAY])
    assert (chunk.table.num_rows, chunk.calls) == (24, 2)
    vendor.answer(json_response(broken))
    with pytest.raises(TransientSourceError, match=reason):
        list(weather(vendor, quota).fetch([DAY]))


# Weights, planning


@pytest.mark.parametrize(("places", "length", "expected"), [(1, 1, 1), (2, 14, 2), (1, 3653, 156.56), (3, 28, 3.6)])
def test_a_call_weighs_what_the_vendor_counts(places: int, length: int, expected: float) -> None:
    assert weight(places, length) == pytest.approx(expected, abs=0.01)


def some_places(count: int) -> list[Location]:
    return [Location(f"Place {n:03d}", 40.0, -70.0, 5.0, "America/New_York") for n in range(count)]


@settings(max_examples=60)
@given(places=st.integers(1, 250), length=st.integers(1, 5000))
def test_no_call_weighs_more_than_the_budget_and_all_days_and_places_are_covered(places: int, length: int) -> None:
    source = WeatherSource("http://127.0.0.1:1", some_places(places))
    asked = days(date(2010, 1, 1), date(2010, 1, 1) + timedelta(days=length - 1))
    chunks = source._chunks(asked)
    covered = [day for chunk in chunks for day in days(chunk[0].first, chunk[0].last)]
    assert covered == asked
    for chunk in chunks:
        assert sorted(place.name for call in chunk for place in call.locations) == [
            place.name for place in some_places(places)
        ]
        assert all(call.weight <= 100 for call in chunk)
    assert source.plan(asked).calls == sum(map(len, chunks))


def test_the_plan_of_two_years_is_one_call_without_waiting(vendor: Vendor, quota: Quota) -> None:
    plan = weather(vendor, quota, NEW_YORK, SANTA_CLARA).plan(days(date(2023, 1, 1), date(2024, 12, 31)))
    assert (plan.calls, plan.minutes, plan.description) == (1, 0, "1 call (New York, Santa Clara, 731 days)")
    assert vendor.requests == []


def test_a_plan_above_the_minutes_quota_tells_the_wait(vendor: Vendor) -> None:
    plan = WeatherSource(vendor.url, some_places(100)).plan(days(date(2024, 1, 1), date(2024, 6, 30)))
    assert plan.calls == 9
    assert plan.minutes > 1


def test_a_long_range_comes_in_pages_that_join_without_a_gap(vendor: Vendor, quota: Quota) -> None:
    vendor.script = archive
    asked = days(date(2015, 1, 1), date(2024, 12, 31))
    seen: list[tuple[int, int]] = []
    source = weather(vendor, quota).source
    pages = list(source.fetch(asked, lambda done, planned, _what: seen.append((done, planned))))
    assert [(page.first, page.last) for page in pages] == [
        (date(2015, 1, 1), date(2021, 5, 20)),
        (date(2021, 5, 21), date(2024, 12, 31)),
    ]
    assert sum(len(page.days) for page in pages) == sum(hours_in(day) for day in asked)
    assert seen == [(0, 2), (1, 2), (1, 2), (2, 2)]


# Errors


def test_an_archive_that_ends_too_early_brings_what_it_has_and_then_says_so(vendor: Vendor, quota: Quota) -> None:
    def script(request: Request) -> Response:
        if request.query["end_date"] > "2025-06-15":
            return json_response({"error": True, "reason": TOO_LATE.format("2025-06-15")}, 400)
        return archive(request)

    vendor.script = script
    chunks: list[Fetched] = []
    with pytest.raises(NotYetAvailableError, match=r"no weather of the newest hours.*2025-06-15\)"):
        chunks.extend(weather(vendor, quota).fetch(days(date(2025, 6, 10), DAY)))
    assert [(chunk.first, chunk.last) for chunk in chunks] == [(date(2025, 6, 10), date(2025, 6, 14))]
    assert chunks[0].table.num_rows == 5 * 24


@pytest.mark.parametrize("allowed", ["2025-06-15", "<date>", "2025-06-01"])
def test_a_single_day_that_is_not_there_yet_is_not_available(allowed: str, vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response({"error": True, "reason": TOO_LATE.format(allowed)}, 400))
    with pytest.raises(NotYetAvailableError):
        list(weather(vendor, quota).fetch([DAY]))
    assert len(vendor.requests) == 1


@pytest.mark.parametrize(
    ("status", "reason", "error", "sentence"),
    [
        (
            400,
            "Parameter 'start_date' is out of allowed range from 1940-01-01 to x",
            PermanentSourceError,
            "start_date",
        ),
        (400, "Latitude must be in range of -90 to 90°. Given: 999.0.", PermanentSourceError, "Given: 999.0"),
        (401, "API key required. Please add &apikey= to the URL.", PermanentSourceError, "API key required"),
        (404, "Not Found", PermanentSourceError, "Not Found"),
        (
            429,
            "Hourly API request limit exceeded. Please try again in the next hour.",
            TransientSourceError,
            r"quota of the hour .* after \d{4}-\d\d-\d\d \d\d:00 UTC",
        ),
        (
            429,
            "Daily API request limit exceeded. Please try again tomorrow.",
            TransientSourceError,
            r"quota of the day .* after \d{4}-\d\d-\d\d 00:00 UTC",
        ),
    ],
)
def test_refusals_end_at_once_with_the_vendors_words_and_what_to_do(
    status: int, reason: str, error: type[SourceError], sentence: str, vendor: Vendor, quota: Quota
) -> None:
    vendor.answer(json_response({"reason": reason, "error": True}, status))
    with pytest.raises(error, match=sentence) as failure:
        list(weather(vendor, quota).fetch([DAY]))
    assert type(failure.value) is error
    assert len(vendor.requests) == 1


@pytest.mark.parametrize(
    ("reason", "wait"),
    [
        ("Minutely API request limit exceeded. Please try again in one minute.", (60, 60)),
        ("Too many concurrent requests", (0.5, 1)),
    ],
)
def test_limits_that_heal_soon_are_waited_for(
    reason: str, wait: tuple[float, float], vendor: Vendor, quota: Quota, clock: FakeClock
) -> None:
    good = json_response(place(DAY, DAY + timedelta(days=1)))
    vendor.answer(json_response({"error": True, "reason": reason}, 429), good)
    list(weather(vendor, quota).fetch([DAY]))
    assert wait[0] - 0.01 <= sum(clock.slept) <= wait[1] + 0.01


def test_an_error_in_the_middle_of_the_stream_is_tried_again(vendor: Vendor, quota: Quota) -> None:
    good = json_response(place(DAY, DAY + timedelta(days=1)))
    cut = Response(str(good.body)[:500] + "Unexpected error while streaming data: timeoutReached")
    vendor.answer(cut, good)
    (chunk,) = weather(vendor, quota).fetch([DAY])
    assert (chunk.table.num_rows, chunk.calls) == (24, 2)


# What the vendor really sent


def test_recorded_places_of_another_unit_are_refused(vendor: Vendor, quota: Quota) -> None:
    places = recorded("open_meteo/archive_multi_location_hourly_2025-06-15.json")
    first = places[0]
    length = len(first["hourly"]["time"])
    for name in UNITS.keys() - first["hourly"].keys():
        first["hourly"][name] = [0] * length
        first["hourly_units"][name] = UNITS[name]
    vendor.answer(json_response(first))
    with pytest.raises(PermanentSourceError, match="wind_speed_10m of New York in 'kn' instead of 'km/h'"):
        list(weather(vendor, quota).fetch([DAY]))


def test_a_recorded_local_clock_is_refused(vendor: Vendor, quota: Quota) -> None:
    vendor.answer(json_response(recorded("open_meteo/forecast_hourly_newyork_2025-05-01.json")))
    with pytest.raises(PermanentSourceError, match="UTC offset -14400 s"):
        list(weather(vendor, quota).fetch([date(2025, 5, 1)]))


def test_recorded_errors_end_as_a_source_error_with_the_vendors_words(vendor: Vendor, quota: Quota) -> None:
    for case in recorded("open_meteo/error_and_null_bodies.json"):
        if case["http"] == 200:
            continue
        reason = str(case["body"].get("reason", case["body"].get("error")))
        vendor.answer(json_response(case["body"], case["http"]))
        with pytest.raises(SourceError) as failure:
            list(weather(vendor, quota).fetch([DAY]))
        assert reason.split("<")[0] in str(failure.value)
        assert isinstance(failure.value, PermanentSourceError) == (
            case["http"] in (400, 401, 404) and "'end_date' is out" not in reason
        )
