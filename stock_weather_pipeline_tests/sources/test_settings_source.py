"""The configured locations as a table."""

from stock_weather_pipeline.datasets import LOCATIONS
from stock_weather_pipeline.settings import NEW_YORK, SANTA_CLARA
from stock_weather_pipeline.sources.settings_source import LocationsSource


def test_the_locations_of_the_settings_are_rows_without_a_call() -> None:
    snapshot = LocationsSource((SANTA_CLARA, NEW_YORK)).fetch()
    assert (snapshot.calls, snapshot.simulated) == (0, None)
    assert tuple(snapshot.columns) == LOCATIONS.column_names
    assert list(zip(*snapshot.columns.values(), strict=True)) == [
        ("New York", "40.7128", "-74.006", "10.0", "America/New_York", None),
        ("Santa Clara", "37.3541", "-121.9552", "22.0", "America/Los_Angeles", "NVDA"),
    ]
