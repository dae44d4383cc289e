"""What a layer's rows look like in the Dagster UI: a table, a small chart, numbers that the UI plots over time.

Made from rows that are already there; which rows is the layer's business. Everything here is bounded in size, because
it stays in the event log for good.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import dagster as dg

PREVIEW_ROWS = 5
_CHART_ROWS = 64
_MAX_COLUMNS = 12

# Half pixels: whole numbers keep the lines short and are still finer than a screen.
_WIDTH, _HEADER, _ROW = 1100, 48, 56
_LINE_LEFT, _LINE_RIGHT, _LINE_HEIGHT = 380, 820, 36
# Both are read on the light and on the dark theme.
_TEXT, _LINE = "#7d8590", "#4f7fe8"


def last_rows(rows: Sequence[Mapping[str, Any]]) -> dg.MarkdownMetadataValue:
    """The last rows as a Markdown table."""
    if not rows:
        return dg.MetadataValue.md("no rows")
    header = list(rows[0])
    lines = [header, ["---"] * len(header), *([_cell(row[name]) for name in header] for row in rows[-PREVIEW_ROWS:])]
    return dg.MetadataValue.md("\n".join("| " + " | ".join(line) + " |" for line in lines))


def chart(title: str, rows: Sequence[Mapping[str, Any]], units: Mapping[str, str]) -> dg.MarkdownMetadataValue:
    """A line for each column named in `units` over the last rows, each on its own scale, with the newest value.

    The UI shows an image in Markdown when it is a data URI. A NULL leaves a gap.
    """
    shown = rows[-_CHART_ROWS:]
    names = list(units)[:_MAX_COLUMNS]
    lines = [_sparkline(n, name, [row[name] for row in shown], units[name]) for n, name in enumerate(names)]
    height = _HEADER + _ROW * len(names)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH // 2}" height="{height // 2}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="24" fill="{_TEXT}">'
        f'<text y="26">{escape(title)}</text>{"".join(lines)}</svg>'
    )
    newest = ", ".join(f"{name} {_cell(shown[-1][name]) or 'empty'}" for name in names)
    alternative = f"{title}: {newest}".replace("[", "(").replace("]", ")")
    return dg.MetadataValue.md(f"![{alternative}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})")


def numbers(row: Mapping[str, Any], units: Mapping[str, str]) -> dict[str, float]:
    """The row's values that the UI plots from one materialization to the next."""
    return {name: row[name] for name in list(units)[:_MAX_COLUMNS] if row[name] is not None}


def _sparkline(n: int, name: str, values: Sequence[float | None], unit: str) -> str:
    top = _HEADER + _ROW * n
    newest = f"{_cell(values[-1])} {unit}" if values[-1] is not None else "empty"
    return (
        f'<text y="{top + 32}">{escape(name)}</text>'
        f'<path d="{_path(values, top + (_ROW - _LINE_HEIGHT) // 2)}" fill="none" stroke="{_LINE}" stroke-width="3"/>'
        f'<text x="{_LINE_RIGHT + 24}" y="{top + 32}">{escape(newest)}</text>'
    )


def _path(values: Sequence[float | None], top: int) -> str:
    known = [value for value in values if value is not None]
    lowest, highest = (min(known), max(known)) if known else (0.0, 0.0)
    step = (_LINE_RIGHT - _LINE_LEFT) / max(len(values) - 1, 1)

    def points() -> Iterator[str]:
        begun = False
        for n, value in enumerate(values):
            if value is not None:
                share = (highest - value) / (highest - lowest) if highest > lowest else 0.5
                # The first point of a line is drawn twice, so that a single value is a dot.
                point = f"{_LINE_LEFT + n * step:.0f} {top + share * _LINE_HEIGHT:.0f}"
                yield f"L{point}" if begun else f"M{point}h1L{point}"
            begun = value is not None

    return "".join(points())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
