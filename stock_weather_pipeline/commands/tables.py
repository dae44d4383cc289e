"""`docs/tables.md`, written from the contracts and the views: `python -m stock_weather_pipeline.commands.tables`.

A test compares the file with what this writes, so that the documentation cannot say anything else than the code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from stock_weather_pipeline.datasets import DATASETS, Dataset
from stock_weather_pipeline.datasets.rules import row_rules
from stock_weather_pipeline.layers.audit import AUDITS
from stock_weather_pipeline.views import VIEWS, View


def document() -> str:
    """The whole page, in Markdown."""
    lines = [
        "# Tables and views",
        "",
        "Written by `python -m stock_weather_pipeline.commands.tables` from contracts and views; not edited by hand.",
        "All are in the database `stock_weather`.",
        "",
    ]
    for dataset in (*DATASETS.values(), AUDITS):
        lines += _dataset(dataset)
    for view in VIEWS.values():
        lines += _view(view)
    return "\n".join(lines).rstrip() + "\n"


def _dataset(dataset: Dataset) -> Iterator[str]:
    partitions = "none" if dataset.partition_set is None else f"daily, {dataset.partition_set.value}"
    yield from (f"## {dataset.name}", "", dataset.description, "")
    yield from (f"Key: {', '.join(dataset.key)}. Partitions: {partitions}. Source: {dataset.source}", "")
    yield from ("| column | type | NULL | meaning |", "|---|---|---|---|")
    for column in dataset.columns:
        yield f"| `{column.name}` | {column.type.value} | {'yes' if column.nullable else 'no'} | {column.described} |"
    rules = [rule.name for rule in row_rules(dataset)]
    if rules:
        yield from ("", f"Set aside with their reason are rows of which it is true that {'; or '.join(rules)}.")
    yield ""


def _view(view: View) -> Iterator[str]:
    yield from (f"## {view.name}", "", view.description, "")
    yield from (f"A view on {', '.join(view.depends_on)}. Key: {', '.join(view.key)}.", "")
    yield from ("| column | meaning |", "|---|---|")
    for column, comment in view.columns.items():
        yield f"| `{column}` | {comment} |"
    yield ""


if __name__ == "__main__":
    target = Path(__file__).parents[2] / "docs" / "tables.md"
    target.write_text(document(), encoding="utf-8")
    sys.stdout.write(f"{target} written\n")
