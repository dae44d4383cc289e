"""The page: one HTML file with the answers of the panels, the charting library, and our script and style inside.

It opens from disk without a network. Its content security policy allows nothing but what is in the file, each script
and style by its hash. The same data gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Iterator, Mapping
from importlib import metadata, resources
from string import Template
from typing import TYPE_CHECKING, Any

from stock_weather_pipeline.dashboard.data import Answer, DashboardData
from stock_weather_pipeline.dashboard.panels import PANELS, Panel
from stock_weather_pipeline.datasets import STOCK_PRICES, WEATHER
from stock_weather_pipeline.datasets.contract import ColumnType
from stock_weather_pipeline.partitions import NEW_YORK

if TYPE_CHECKING:
    import pyarrow as pa

# The library appends an empty style element and fills it through the object model.
_EMPTY_STYLE = ""
_NO_INTEGER = -(2**31)
_ONCE_BY_ID = re.compile(r'getElementById\("([0-9a-f]{64})"\)')


def render(data: DashboardData) -> bytes:
    """The HTML file, UTF-8."""
    from plotly.offline import get_plotlyjs

    library = get_plotlyjs()
    script, style = _file("page.js"), _file("page.css")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hashed(library)} {_hashed(script)}",
            f"style-src {_hashed(style)} {_hashed(_EMPTY_STYLE)}",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    title = f"{', '.join(data.tickers[:3])}{' …' if len(data.tickers) > 3 else ''}" or "nothing published yet"
    text = Template(_file("template.html")).substitute(
        policy=policy,
        title=html.escape(f"{'SIMULATED DATA, ' if data.simulated else ''}{title}, stocks and weather"),
        style=style,
        # A bundled map library adds its style sheet unless an element with this id is there; maps are not used.
        unused=" ".join(f'<template id="{name}"></template>' for name in sorted(set(_ONCE_BY_ID.findall(library)))),
        data=_json(_document(data)),
        library=library,
        script=script,
    )
    return text.encode()


def _file(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _hashed(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _json(document: Mapping[str, Any]) -> str:
    """JSON that cannot end the element it stands in."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _document(data: DashboardData) -> dict[str, Any]:
    return {
        "tickers": data.tickers,
        "moreTickers": data.more_tickers,
        "locations": data.locations,
        "newestSession": _iso(data.newest_session),
        "newestWeatherDay": _iso(data.newest_weather_day),
        "sessionsAfter": [_iso(day) for day in data.sessions_after],
        "simulated": data.simulated,
        "timeZone": str(NEW_YORK),
        "sources": {"stocks": STOCK_PRICES.source, "weather": WEATHER.source},
        "version": metadata.version("stock-weather-pipeline"),
        "panels": {name: _panel(panel, data.answers[name]) for name, panel in PANELS.items()},
    }


def _iso(day: object) -> str | None:
    return str(day) if day is not None else None


def _panel(panel: Panel, answer: Answer) -> dict[str, Any]:
    return {
        "title": panel.title,
        "question": panel.question,
        "fields": {
            field.name: {"label": field.label, "unit": field.unit, "type": field.type.value} for field in panel.fields
        },
        "thresholds": [
            {"field": limit.field, "value": limit.value, "level": limit.level.value} for limit in panel.thresholds
        ],
        "missing": answer.missing,
        "failed": answer.failed,
        "rows": {
            key: {field.name: _encoded(part[field.name], field.type) for field in panel.fields}
            for key, part in _parts(panel, answer.rows)
        },
    }


def _parts(panel: Panel, rows: pa.Table | None) -> Iterator[tuple[str, pa.Table]]:
    """The rows of each ticker or location; all under the empty name for a panel that has neither."""
    import pyarrow.compute as pc

    if rows is None:
        return
    if panel.per is None:
        yield "", rows
        return
    for name in sorted(rows[panel.per].unique().to_pylist()):
        yield name, rows.filter(pc.equal(rows[panel.per], name))


def _encoded(column: pa.ChunkedArray, kind: ColumnType) -> Any:
    """A column for the page, without loss and little-endian in base64: numbers, and times in milliseconds since 1970,
    as doubles with NaN for NULL; days since 1970-01-01 as 32-bit integers with the least one for NULL; texts as the
    distinct ones and the number of each row's.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if kind is ColumnType.STRING:
        texts = column.combine_chunks().dictionary_encode()
        return {"texts": texts.dictionary.to_pylist(), "codes": _base64(pc.fill_null(texts.indices, _NO_INTEGER))}
    if kind is ColumnType.DATE:
        return _base64(pc.fill_null(column.cast(pa.int32()), _NO_INTEGER))
    numbers = column.cast(pa.int64()) if kind is ColumnType.TIMESTAMP else column
    doubles = pc.fill_null(numbers.cast(pa.float64()), math.nan)
    return _base64(pc.divide(doubles, 1000.0) if kind is ColumnType.TIMESTAMP else doubles)


def _base64(column: pa.Array | pa.ChunkedArray) -> str:
    values = column.to_numpy()
    return base64.b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode()
