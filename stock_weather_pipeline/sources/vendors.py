"""The vendors as a Dagster resource sees them: real, or the built-in sandbox when there is no key.

Chooses servers and entities from the settings; the clients know how to talk to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.errors import PermanentSourceError
from stock_weather_pipeline.settings import WHOLE_MARKET, Settings, parse_tickers
from stock_weather_pipeline.sources import range_source, snapshot_source
from stock_weather_pipeline.sources.base import Progress, RangeSource, Snapshot, silent

VENDORS = {"stock_prices": "polygon", "stock_splits": "polygon", "weather": "open_meteo"}
"""Which vendor's quota a dataset is fetched under."""


@dataclass(frozen=True)
class Vendors:
    """Makes sources for datasets, all talking to the same servers."""

    settings: Settings
    polygon_url: str
    open_meteo_url: str
    progress: Progress = silent

    def following(self, progress: Progress) -> Vendors:
        """The same vendors, telling `progress` about every call."""
        return replace(self, progress=progress)

    def entities(self, dataset: Dataset, chosen: Sequence[str] | None = None) -> list[str] | None:
        """The tickers or locations asked for; None for the whole market."""
        if dataset.entity == "location":
            return list(chosen) if chosen else [location.name for location in self.settings.locations]
        tickers = list(chosen) if chosen else list(self.settings.tickers)
        return None if tuple(tickers) == WHOLE_MARKET else tickers

    def range_source(self, dataset: Dataset, chosen: Sequence[str] | None = None) -> RangeSource:
        settings = self._narrowed(dataset, chosen) if chosen else self.settings
        return range_source(dataset.name, settings, self.polygon_url, self.open_meteo_url)

    def fetch_snapshot(self, dataset: Dataset) -> Snapshot:
        source = snapshot_source(dataset.name, self.settings, self.polygon_url, self.open_meteo_url)
        return source.fetch(self.progress)

    def _narrowed(self, dataset: Dataset, chosen: Sequence[str]) -> Settings:
        if dataset.entity != "location":
            return self.settings.model_copy(update={"tickers": parse_tickers(",".join(chosen))})
        known = {location.name: location for location in self.settings.locations}
        unknown = [name for name in chosen if name not in known]
        if unknown:
            raise PermanentSourceError(
                f"{unknown[0]!r} is not one of the configured locations ({', '.join(known)}): "
                "add it to STOCK_WEATHER_LOCATIONS."
            )
        return self.settings.model_copy(update={"locations": tuple(known[name] for name in chosen)})


@contextmanager
def direct_vendors(settings: Settings) -> Iterator[Vendors]:
    """The vendors as this process calls them itself. In simulated mode a sandbox runs as long as they are open."""
    if not settings.simulated:
        yield Vendors(settings, settings.polygon_url, settings.open_meteo_url)
        return
    from stock_weather_pipeline.sandbox import Sandbox

    # The sandbox has no quota unless asked for one.
    unhurried = settings.model_copy(update={"polygon_calls_per_minute": 6000})
    with Sandbox() as sandbox:
        yield Vendors(unhurried, sandbox.url, sandbox.url)
