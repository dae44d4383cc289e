"""Where data comes from: vendor clients, quota, planning of requests.

Adding a vendor is one module here and one entry below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import SecretStr

    from stock_weather_pipeline.settings import Settings
    from stock_weather_pipeline.sources.base import RangeSource, SnapshotSource

# Vendor clients are imported when one is made: reading the definitions must not load an HTTP library.


def _stock_prices(settings: Settings, polygon_url: str, _open_meteo_url: str) -> RangeSource:
    from stock_weather_pipeline.sources.polygon import StockPricesSource

    return StockPricesSource(polygon_url, _polygon_key(settings), settings.tickers, settings.polygon_calls_per_minute)


def _stock_splits(settings: Settings, polygon_url: str, _open_meteo_url: str) -> SnapshotSource:
    from stock_weather_pipeline.sources.polygon import StockSplitsSource

    return StockSplitsSource(polygon_url, _polygon_key(settings), settings.tickers, settings.polygon_calls_per_minute)


def _weather(settings: Settings, _polygon_url: str, open_meteo_url: str) -> RangeSource:
    from stock_weather_pipeline.sources.open_meteo import WeatherSource

    return WeatherSource(open_meteo_url, settings.locations)


def _locations(settings: Settings, _polygon_url: str, _open_meteo_url: str) -> SnapshotSource:
    from stock_weather_pipeline.sources.settings_source import LocationsSource

    return LocationsSource(settings.locations)


_RANGE_SOURCES: dict[str, Callable[[Settings, str, str], RangeSource]] = {
    "stock_prices": _stock_prices,
    "weather": _weather,
}
_SNAPSHOT_SOURCES: dict[str, Callable[[Settings, str, str], SnapshotSource]] = {
    "stock_splits": _stock_splits,
    "locations": _locations,
}


def range_source(dataset_name: str, settings: Settings, polygon_url: str, open_meteo_url: str) -> RangeSource:
    """The source of a partitioned dataset. The URLs are given because a sandbox chooses its own port.

    Raises KeyError for a dataset without one.
    """
    return _RANGE_SOURCES[dataset_name](settings, polygon_url, open_meteo_url)


def snapshot_source(dataset_name: str, settings: Settings, polygon_url: str, open_meteo_url: str) -> SnapshotSource:
    """The source of a dataset without partitions. Raises KeyError for a dataset without one."""
    return _SNAPSHOT_SOURCES[dataset_name](settings, polygon_url, open_meteo_url)


def _polygon_key(settings: Settings) -> SecretStr | None:
    from pydantic import SecretStr

    # The sandbox wants some key, as the vendor does, but a real one is none of its business.
    return SecretStr("sandbox") if settings.simulated else settings.polygon_api_key
