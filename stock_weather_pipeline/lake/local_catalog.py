"""The catalog of the local deployment: one JSON file per table or view, beside the data. Mirrors what Glue holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from stock_weather_pipeline.datasets.contract import Column, ColumnType
from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.lake.layout import PROD_DATABASE, ExternalTable, Layer, ViewDefinition
from stock_weather_pipeline.lake.local_objects import LocalObjects

_FORMAT = 1


class LocalCatalog:
    """Definitions under `catalog/<database>/<name>.json`."""

    def __init__(self, objects: LocalObjects) -> None:
        self._objects = objects

    def put_table(self, table: ExternalTable) -> None:
        content = asdict(table)
        content["layer"] = table.layer.value
        content["columns"] = [{**asdict(column), "type": column.type.value} for column in table.columns]
        self._put(table.database, table.name, {"table": content})

    def get_table(self, database: str, name: str) -> ExternalTable | None:
        content = self._get(database, name).get("table")
        if content is None:
            return None
        with self._entry(database, name):
            columns = tuple(Column(**{**column, "type": ColumnType(column["type"])}) for column in content["columns"])
            return ExternalTable(**{**content, "layer": Layer(content["layer"]), "columns": columns})

    def put_view(self, view: ViewDefinition) -> None:
        self._put(PROD_DATABASE, view.name, {"view": asdict(view)})

    def get_view(self, name: str) -> ViewDefinition | None:
        content = self._get(PROD_DATABASE, name).get("view")
        if content is None:
            return None
        with self._entry(PROD_DATABASE, name):
            comments = tuple((column, comment) for column, comment in content["column_comments"])
            return ViewDefinition(**{**content, "column_comments": comments})

    def names(self, database: str) -> list[str]:
        prefix = f"catalog/{database}/"
        return [item.key.removeprefix(prefix).removesuffix(".json") for item in self._objects.list(prefix)]

    def _put(self, database: str, name: str, content: dict[str, Any]) -> None:
        data = json.dumps({"format": _FORMAT, **content}, indent=2, ensure_ascii=False).encode()
        key = _key(database, name)
        if not self._objects.exists(key) or self._objects.read(key) != data:
            self._objects.write(key, data)

    def _get(self, database: str, name: str) -> dict[str, Any]:
        key = _key(database, name)
        if not self._objects.exists(key):
            return {}
        with self._entry(database, name):
            content: dict[str, Any] = json.loads(self._objects.read(key))
            found = content["format"]
        if found != _FORMAT:
            raise LakeError(
                f"The catalog entry {self._objects.uri(key)} has format {found}, this version reads format {_FORMAT}: "
                "upgrade stock_weather_pipeline, or use another STOCK_WEATHER_HOME."
            )
        return content

    @contextmanager
    def _entry(self, database: str, name: str) -> Iterator[None]:
        """Whatever in the block does not fit is damage of this entry."""
        try:
            yield
        except (ValueError, KeyError, TypeError) as error:
            raise LakeError(
                f"The catalog entry {self._objects.uri(_key(database, name))} is damaged ({error}): delete it and "
                f"materialize catalog/{name} again."
            ) from error


def _key(database: str, name: str) -> str:
    return f"catalog/{database}/{name}.json"
