"""Opens the lake of a deployment. The one place that knows which implementation belongs to which deployment."""

from __future__ import annotations

import json

from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.settings import Settings

_LAYOUT = 1
_MARKER = "lake.json"


def open_lake(settings: Settings) -> Lake:
    """The lake of the settings' deployment, local: a folder. Raises LakeError when it is from a newer version."""
    if settings.deployment == "aws":
        raise LakeError("STOCK_WEATHER_DEPLOYMENT=aws is not available in this version: use local.")
    from stock_weather_pipeline.lake.duckdb_engine import DuckDbEngine
    from stock_weather_pipeline.lake.local_catalog import LocalCatalog
    from stock_weather_pipeline.lake.local_objects import LocalObjects
    from stock_weather_pipeline.lake.local_tables import local_tables

    folder = settings.data_home / "lake"
    objects = LocalObjects(folder)
    catalog = LocalCatalog(objects)
    tables = local_tables(folder)
    lake = Lake(objects, catalog, tables, DuckDbEngine(objects, catalog, tables))
    _check_layout(lake)
    return lake


def _check_layout(lake: Lake) -> None:
    if not lake.objects.exists(_MARKER):
        return
    found = _marker(lake).get("layout")
    if found != _LAYOUT:
        raise LakeError(
            f"The lake {lake.objects.uri('')} has layout {found}, this version reads layout {_LAYOUT}: upgrade "
            "stock_weather_pipeline, or use another STOCK_WEATHER_HOME."
        )


def _marker(lake: Lake) -> dict[str, object]:
    try:
        content: dict[str, object] = json.loads(lake.objects.read(_MARKER))
    except ValueError as error:
        raise LakeError(
            f"{lake.objects.uri(_MARKER)} is damaged ({error}): write "
            f'{{"layout": {_LAYOUT}, "data": "vendor"}} there, or "simulated" for data of the sandbox.'
        ) from error
    return content


def is_simulated(lake: Lake) -> bool:
    """Whether the lake holds data of the sandbox's simulation."""
    return lake.objects.exists(_MARKER) and _marker(lake).get("data") == "simulated"


def claim(lake: Lake, simulated: bool) -> None:
    """Say what kind of data the lake holds, before the first row lands. Raises LakeError rather than mix kinds."""
    kind = "simulated" if simulated else "vendor"
    if not lake.objects.exists(_MARKER):
        lake.objects.write(_MARKER, json.dumps({"layout": _LAYOUT, "data": kind}).encode())
        return
    held = _marker(lake).get("data")
    if held != kind:
        raise LakeError(
            f"The lake {lake.objects.uri('')} holds {held} data and the source sent {kind} data, which must not mix: "
            "set STOCK_WEATHER_HOME to another folder."
        )
