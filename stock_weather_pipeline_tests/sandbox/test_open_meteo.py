"""The weather archive: shapes, units, zones, errors."""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from pathlib import Path

import pytest
import requests

from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline_tests.sandbox.conftest import Client

EVERYTHING = "temperature_2m,apparent_temperature,relative_humidity_2m,precipitation,wind_speed_10m,weather_code"


def test_one_place_is_an_object_with_units_and_one_value_an_hour(client: Client) -> None:
    body = client.hours("2024-03-09", "2024-03-11", hourly=EVERYTHING, timezone="GMT").json()
    assert (body["utc_offset_seconds"], body["timezone"], body["elevation"]) == (0, "GMT", 10.0)
    assert body["hourly_units"] == {
        "time": "iso8601",
        "temperature_2m": "°C",
        "apparent_temperature": "°C",
        "relative_humidity_2m": "%",
        "precipitation": "mm",
        "wind_speed_10m": "km/h",
        "weather_code": "wmo code",
    }
    assert {len(values) for values in body["hourly"].values()} == {72}
    assert body["hourly"]["time"][0] == "2024-03-09T00:00"
    assert body["hourly"]["time"][-1] == "2024-03-11T23:00"
    assert "location_id" not in body
    # The vendor answers with its grid cell, not with what was asked.
    assert body["latitude"] == pytest.approx(40.7128, abs=0.04)
    assert body["latitude"] != 40.7128


def test_many_places_are_a_list_with_location_ids_from_the_second_on(client: Client) -> None:
    places = {"latitude": "40.7128,37.3541", "longitude": "-74.006,-121.9552", "elevation": "10,22"}
    body = client.hours("2024-07-01", "2024-07-01", **places).json()
    assert [place.get("location_id") for place in body] == [None, 1]
    assert body[0]["hourly"] == client.hours("2024-07-01", "2024-07-01").json()["hourly"]
    assert body[0]["hourly"]["temperature_2m"] != body[1]["hourly"]["temperature_2m"]


def test_a_zone_is_one_fixed_offset_that_of_the_moment_of_the_request() -> None:
    clock = [datetime(2026, 7, 15, 12, tzinfo=timezone.utc)]
    with Sandbox(now=lambda: clock[0]) as sandbox, requests.Session() as session:
        client = Client(sandbox, session)
        in_gmt = client.hours("2024-01-15", "2024-01-16").json()["hourly"]["temperature_2m"]
        for moment, offset_hours, abbreviation in ((7, -4, "EDT"), (2, -5, "EST")):
            clock[0] = clock[0].replace(month=moment)
            body = client.hours("2024-01-15", "2024-01-15", timezone="America/New_York").json()
            assert (body["utc_offset_seconds"], body["timezone_abbreviation"]) == (offset_hours * 3600, abbreviation)
            assert body["hourly"]["temperature_2m"] == in_gmt[-offset_hours : 24 - offset_hours]
            # 02:00 did not exist in New York on 10 March, and the vendor sends it all the same.
            hours = client.hours("2024-03-10", "2024-03-10", timezone="America/New_York").json()["hourly"]["time"]
            assert len(hours) == 24
            assert "2024-03-10T02:00" in hours
        local = client.hours("2024-01-15", "2024-01-15", timezone="auto").json()
        assert (local["timezone"], local["utc_offset_seconds"]) == ("Etc/GMT+5", -18000)


def test_unix_times_are_utc_seconds(client: Client) -> None:
    body = client.hours("2024-01-15", "2024-01-15", timeformat="unixtime", timezone="America/New_York").json()
    assert body["hourly_units"]["time"] == "unixtime"
    assert body["hourly"]["time"][:2] == [1705291200, 1705294800]


def test_units_are_converted_and_named(client: Client) -> None:
    names = "temperature_2m,precipitation,wind_speed_10m"
    metric = client.hours("2024-02-01", "2024-02-20", hourly=names).json()["hourly"]
    units = {"temperature_unit": "fahrenheit", "wind_speed_unit": "mph", "precipitation_unit": "inch"}
    body = client.hours("2024-02-01", "2024-02-20", hourly=names, **units).json()
    assert body["hourly_units"] == {
        "time": "iso8601",
        "temperature_2m": "°F",
        "precipitation": "inch",
        "wind_speed_10m": "mp/h",
    }
    assert body["hourly"]["temperature_2m"] == pytest.approx(
        [c * 1.8 + 32 for c in metric["temperature_2m"]], abs=0.051
    )
    assert body["hourly"]["wind_speed_10m"] == pytest.approx(
        [w / 1.609344 for w in metric["wind_speed_10m"]], abs=0.051
    )
    assert body["hourly"]["precipitation"] == pytest.approx([p / 25.4 for p in metric["precipitation"]], abs=0.00051)


def test_hours_that_have_not_happened_are_null(client: Client) -> None:
    values = client.hours("2026-07-15", "2026-07-15").json()["hourly"]["temperature_2m"]
    assert None not in values[:17]
    assert values[17:] == [None] * 7


def test_another_elevation_gives_another_temperature_and_nan_gives_none(client: Client) -> None:
    low = client.hours("2024-07-01", "2024-07-01").json()["hourly"]["temperature_2m"]
    high = client.hours("2024-07-01", "2024-07-01", elevation="1010").json()["hourly"]["temperature_2m"]
    assert [a - b for a, b in zip(low, high, strict=True)] == pytest.approx([6.5] * 24, abs=0.11)
    assert "elevation" not in client.hours("2024-07-01", "2024-07-01", elevation="nan").json()
    assert not math.isnan(client.hours("2024-07-01", "2024-07-01", elevation="").json()["elevation"])


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"hourly": "foo"}, "from invalid String value foo."),
        ({"hourly": "temperature_2m, weather_code"}, "from invalid String value  weather_code."),
        ({"models": "ecmwf"}, "Cannot initialize MultiDomains from invalid String value ecmwf."),
        ({"latitude": "abc"}, "Data corrupted at path ''. Cannot initialize Float from invalid String value abc."),
        ({"latitude": "999"}, "Latitude must be in range of -90 to 90°. Given: 999.0."),
        ({"longitude": "-181"}, "Longitude must be in range of -180 to 180°. Given: -181.0."),
        ({"latitude": "nan"}, "Latitude must be in range"),
        ({"latitude": "1,2"}, "Parameter 'latitude' and 'longitude' must have the same number of elements"),
        ({"elevation": "1,2"}, "Parameter 'elevation' must have the same number of elements"),
        ({"latitude": ""}, "'latitude'"),
        ({"start_date": ""}, "Both 'start_date' and 'end_date' must be set in the url"),
        ({"start_date": "01.02.2024"}, "Invalid date format. Make sure to use 'YYYY-MM-DD'"),
        ({"start_date": "1939-12-31"}, "Parameter 'start_date' is out of allowed range from 1940-01-01 to 2026-07-15"),
        ({"end_date": "2026-07-16"}, "Parameter 'end_date' is out of allowed range from 1940-01-01 to 2026-07-15"),
        ({"start_date": "2024-01-03"}, "End-date must be larger or equals than start-date"),
        ({"timezone": "Mars/Olympus"}, "Invalid timezone"),
        ({"temperature_unit": "kelvin"}, "Cannot initialize TemperatureUnit from invalid String value kelvin."),
        ({"daily": "temperature_2m_max"}, "hourly variables only"),
    ],
)
def test_a_mistake_of_the_client_is_400_with_the_vendors_reason(
    client: Client, query: dict[str, str], reason: str
) -> None:
    response = client.hours(**({"first": "2024-01-01", "last": "2024-01-02"} | query))
    assert response.status_code == 400
    assert response.json()["error"] is True
    assert reason in response.json()["reason"]


def test_the_shape_is_that_of_the_recorded_body(client: Client, shared_data: Path) -> None:
    recorded = json.loads((shared_data / "open_meteo" / "archive_multi_location_hourly_2025-06-15.json").read_text())
    places = {"latitude": "40.7128,37.3541", "longitude": "-74.006,-121.9552", "elevation": "10,22"}
    ours = client.hours("2025-06-15", "2025-06-15", **places).json()
    assert [list(place) for place in ours] == [list(place) for place in recorded]
    assert ours[0]["hourly"]["time"] == recorded[0]["hourly"]["time"]
    assert ours[0]["hourly_units"]["temperature_2m"] == recorded[0]["hourly_units"]["temperature_2m"]
