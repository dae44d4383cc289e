"""Checks of the views: their rows for the days equal an independent recomputation to 1e-9."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from stock_weather_pipeline.checks.distributions import Distribution, bins
from stock_weather_pipeline.checks.recomputation import RECOMPUTATIONS, Recomputation, Tables
from stock_weather_pipeline.checks.results import Outcome, Violation, layer_checks
from stock_weather_pipeline.datasets import LOCATIONS, STOCK_PRICES, STOCK_SPLITS, WEATHER, Dataset
from stock_weather_pipeline.lake.interfaces import Lake, Scope
from stock_weather_pipeline.lake.layout import PROD_DATABASE, Day, text_list
from stock_weather_pipeline.layers.answers import answer
from stock_weather_pipeline.layers.views import SAMPLED_TICKERS, base_tables, read, sampled_tickers
from stock_weather_pipeline.views import View

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 1e-9


def view_checks(view: View) -> dg.AssetChecksDefinition:
    """The check of `views/<name>`."""
    descriptions = {
        "equals_recomputation": f"The view's rows equal a second computation outside SQL, to {TOLERANCE:g}; "
        f"of at most {SAMPLED_TICKERS} tickers."
    }

    recompute = RECOMPUTATIONS[view.name]

    def judge(lake: Lake, days: Sequence[Day]) -> Iterator[Outcome]:
        known = [day for day in days if day is not None]
        if known:
            judged, violations = compared(lake, view, recompute, known)
            yield Outcome("equals_recomputation", f"equal to {TOLERANCE:g}", judged, violations)
        else:
            yield Outcome("equals_recomputation", "no days, so nothing to compare", Distribution("values", {}))

    return layer_checks(["views", view.name], descriptions, view.partition_set, judge)


def compared(
    lake: Lake, view: View, recompute: Recomputation, days: Sequence[date]
) -> tuple[Distribution, list[Violation]]:
    """How much the view differs from its recomputation between the first and the last of `days`, and where too much."""
    shown = read(lake, view, days).sample.to_pandas()
    expected = recompute(_tables(lake, view, sampled_tickers(lake, view), max(days)))
    shown, expected = (
        frame[(frame[view.day_column] >= min(days)) & (frame[view.day_column] <= max(days))]
        for frame in (shown, expected)
    )
    return _compare(view, shown, expected)


def _tables(lake: Lake, view: View, tickers: Sequence[str], last: date) -> Tables:
    import pandas as pd

    needed = base_tables(view)
    nothing: pd.DataFrame = pd.DataFrame()

    def rows_of(dataset: Dataset, where: str) -> pd.DataFrame:
        if dataset.name not in needed:
            return nothing
        # Views of one run are recomputed from the same rows.
        sql = f"SELECT * FROM {PROD_DATABASE}.{dataset.name} WHERE {where}"
        found: pd.DataFrame = answer(lake, sql, [dataset.name]).to_pandas()
        return found

    def all_rows(dataset: Dataset) -> pd.DataFrame:
        if dataset.name not in needed:
            return nothing
        # One small file, which costs no query.
        found: pd.DataFrame = lake.tables.read(dataset, Scope()).to_pandas()
        return found

    chosen = f"ticker IN ({text_list(tickers)})" if tickers else "FALSE"
    # One more day: the last local day of a place west of New York ends in the next partition.
    until = last + timedelta(days=2)
    return Tables(
        rows_of(STOCK_PRICES, f"{chosen} AND trade_date <= DATE '{last}'"),
        all_rows(STOCK_SPLITS),
        rows_of(WEATHER, f"observed_at < TIMESTAMP '{until} 00:00:00'"),
        all_rows(LOCATIONS),
    )


def _compare(view: View, shown: pd.DataFrame, expected: pd.DataFrame) -> tuple[Distribution, list[Violation]]:
    import numpy as np
    import pandas as pd

    key = list(view.key)
    both = shown.merge(expected, on=key, how="outer", suffixes=("", "_expected"), indicator=True)
    paired = both["_merge"] == "both"
    wrong = ~paired
    relative = []
    scale = both["close"].abs().fillna(1.0) if "close" in both else 1.0
    for name in view.columns:
        if name in key:
            continue
        actual, wanted = both[name], both[f"{name}_expected"]
        if actual.dtype.kind in "fiu":
            # Differences of prices are as exact as the prices are, not as their own small size would ask.
            difference = (actual - wanted).abs() / np.maximum(np.maximum(wanted.abs(), scale), 1.0)
            same = (difference <= TOLERANCE) | (actual.isna() & wanted.isna())
            relative.append(difference[paired].dropna())
        else:
            same = (actual == wanted) | (actual.isna() & wanted.isna())
        wrong |= ~same & paired
    violations = []
    for day, rows in both[wrong].groupby(view.day_column):
        sample: list[dict[str, Any]] = json.loads(rows.head(3).to_json(orient="records", date_format="iso"))
        actual = f"{len(rows)} rows missing, added or different"
        violations.append(Violation(day, "the recomputed rows", actual, json.dumps(sample)))
    return _distribution(pd.concat(relative)), violations


def _distribution(relative: pd.Series[float]) -> Distribution:
    """Relative differences by size."""
    import numpy as np

    edges = [0.0, 1e-15, 1e-12, TOLERANCE]
    counts = np.bincount(np.searchsorted(edges, relative), minlength=len(edges) + 1)
    names = ["equal", *bins(edges)[1:]]
    largest = {"largest_relative_difference": float(relative.max())} if len(relative) else {}
    return Distribution("values", {name: int(count) for name, count in zip(names, counts, strict=True)}, largest)
