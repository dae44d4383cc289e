"""The configured locations as a dataset: no vendor and no call is behind them."""

from __future__ import annotations

from collections.abc import Sequence

from stock_weather_pipeline.settings import Location
from stock_weather_pipeline.sources.base import Progress, Snapshot, silent


class LocationsSource:
    """A SnapshotSource over the setting STOCK_WEATHER_LOCATIONS."""

    def __init__(self, locations: Sequence[Location]) -> None:
        self._locations = sorted(locations, key=lambda location: location.name)

    def fetch(self, progress: Progress = silent) -> Snapshot:
        """One row per location, ordered by name."""
        progress(0, 0, "locations of the settings")
        columns: dict[str, list[str | None]] = {
            "location": [location.name for location in self._locations],
            "latitude": [str(location.latitude) for location in self._locations],
            "longitude": [str(location.longitude) for location in self._locations],
            "elevation_m": [str(location.elevation_m) for location in self._locations],
            "time_zone": [location.time_zone for location in self._locations],
            "headquarters_of": [" ".join(location.headquarters_of) or None for location in self._locations],
        }
        return Snapshot(columns, calls=0, simulated=None)
