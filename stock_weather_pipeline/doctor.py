"""What is configured, reachable and missing, each with the fix. Looks; changes nothing."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stock_weather_pipeline.errors import PipelineError
from stock_weather_pipeline.settings import Settings

_SMALLEST_FREE_GB = 1.0
_TIMEOUT_SECONDS = 5
_OTHER_HOME = "set STOCK_WEATHER_HOME to a folder that you may write"


@dataclass(frozen=True)
class Examination:
    """One thing looked at. `fix` is empty when it is in order; `fatal` says that nothing works without it."""

    what: str
    found: str
    fix: str = ""
    fatal: bool = False


def examine(settings: Settings) -> Iterator[Examination]:
    """Everything worth knowing before a run, cheapest first."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield Examination("Python", version)
    yield Examination("deployment", settings.deployment)
    yield _home(settings.home)
    yield Examination("tickers", "the whole market" if settings.whole_market else ", ".join(settings.tickers))
    yield Examination("locations", ", ".join(location.name for location in settings.locations))
    yield Examination("first partition", str(settings.start_date))
    yield _key(settings)
    if not settings.simulated:
        yield _reachable("stock prices", settings.polygon_url)
        yield _reachable("weather", settings.open_meteo_url)
    yield _lake(settings)


def _home(home: Path) -> Examination:
    try:
        existing = next(folder for folder in (home, *home.parents) if folder.exists())
    except OSError as error:
        return Examination("home", f"{home} cannot be looked at ({error.strerror})", _OTHER_HOME, fatal=True)
    if not existing.is_dir():
        return Examination("home", f"{existing} is a file, not a folder", _OTHER_HOME, fatal=True)
    if not os.access(existing, os.W_OK | os.X_OK):
        return Examination("home", f"{home} cannot be written", _OTHER_HOME, fatal=True)
    free_gb = shutil.disk_usage(existing).free / 1e9
    if free_gb < _SMALLEST_FREE_GB:
        return Examination("home", f"{home}, {free_gb:.1f} GB free", "free disk space, or set STOCK_WEATHER_HOME")
    return Examination("home", f"{home}, {free_gb:.0f} GB free")


def _key(settings: Settings) -> Examination:
    if settings.simulated:
        return Examination(
            "API key", "none: the sandbox stands in, SIMULATED DATA", "set POLYGON_API_KEY for real prices"
        )
    if settings.polygon_api_key is None:
        return Examination(
            "API key", f"none for {settings.polygon_url}", "set POLYGON_API_KEY (or MASSIVE_API_KEY)", fatal=True
        )
    return Examination("API key", "set")


def _reachable(what: str, url: str) -> Examination:
    import requests

    try:
        # Any answer shows that the server is there; no key is sent.
        requests.head(url, timeout=_TIMEOUT_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        return Examination(
            what, f"{url} cannot be reached ({type(error).__name__})", "check the network, proxy and URL", fatal=True
        )
    return Examination(what, f"{url} answers")


def _lake(settings: Settings) -> Examination:
    from stock_weather_pipeline.lake.opening import open_lake

    folder = settings.data_home / "lake"
    if not folder.is_dir():
        return Examination("tables", "none yet", "run `stock-weather run`")
    try:
        names = open_lake(settings).tables.names()
    except PipelineError as error:
        return Examination("tables", "cannot be opened", str(error), fatal=True)
    return Examination("tables", f"{', '.join(names) or 'none yet'} in {folder}")
