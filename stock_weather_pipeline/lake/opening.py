"""Opens the lake of a deployment. The one place that knows which implementation belongs to which deployment."""

from __future__ import annotations

import json

from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.settings import Settings

_LAYOUT = 1
_MARKER = "lake.json"
_OTHER = "STOCK_WEATHER_HOME; on AWS the buckets of another stack"


def open_lake(settings: Settings) -> Lake:
    """The lake of the settings' deployment: a folder, or AWS. Raises LakeError when it is from a newer version."""
    lake = _aws_lake(settings) if settings.deployment == "aws" else _local_lake(settings)
    _check_layout(lake)
    return lake


def _local_lake(settings: Settings) -> Lake:
    from stock_weather_pipeline.lake.duckdb_engine import DuckDbEngine
    from stock_weather_pipeline.lake.local_catalog import LocalCatalog
    from stock_weather_pipeline.lake.local_objects import LocalObjects
    from stock_weather_pipeline.lake.local_tables import local_tables

    folder = settings.data_home / "lake"
    objects = LocalObjects(folder)
    catalog = LocalCatalog(objects)
    tables = local_tables(folder)
    return Lake(objects, catalog, tables, DuckDbEngine(objects, catalog, tables))


def _aws_lake(settings: Settings) -> Lake:
    from stock_weather_pipeline.lake.aws.opening import aws_lake

    return aws_lake(settings)


def _check_layout(lake: Lake) -> None:
    if not lake.objects.exists(_MARKER):
        return
    found = _marker(lake).get("layout")
    if found != _LAYOUT:
        raise LakeError(
            f"The lake {lake.objects.uri('')} has layout {found}, this version reads layout {_LAYOUT}: upgrade "
            f"stock_weather_pipeline, or use another lake ({_OTHER})."
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
            f"use another lake ({_OTHER})."
        )
