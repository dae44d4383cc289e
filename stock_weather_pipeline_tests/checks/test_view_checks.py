"""The views' checks compare with a second computation, and notice a view that computes something else."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from stock_weather_pipeline.checks.recomputation import RECOMPUTATIONS
from stock_weather_pipeline.checks.views import compared
from stock_weather_pipeline.layers.views import create
from stock_weather_pipeline.views import VIEWS
from stock_weather_pipeline_tests.homes import Home

WEEK = [date(2024, 6, day) for day in (3, 4, 5, 6, 7)]


def test_every_view_has_a_second_computation() -> None:
    assert set(RECOMPUTATIONS) == set(VIEWS)


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_equals_its_second_computation(finished: Home, name: str) -> None:
    with finished.opened() as (_, lake, _instance):
        judged, violations = compared(lake, VIEWS[name], RECOMPUTATIONS[name], WEEK)
    assert violations == []
    assert sum(judged.counts.values()) > 0
    assert judged.counts["above 1e-09"] == 0
    assert judged.numbers["largest_relative_difference"] <= 1e-9


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [("daily_change", "1e2", "1e3"), ("weather_daily", "max(", "min("), ("volatility", "high", "close")],
)
def test_a_view_that_computes_something_else_is_noticed(finished: Home, name: str, right: str, wrong: str) -> None:
    view = VIEWS[name]
    assert right in view.sql
    with finished.opened() as (_, lake, _instance):
        create(lake, replace(view, sql=view.sql.replace(right, wrong)))
        try:
            judged, violations = compared(lake, view, RECOMPUTATIONS[name], WEEK)
        finally:
            create(lake, view)
    assert violations[0].sample
    assert judged.counts["above 1e-09"] > 0
