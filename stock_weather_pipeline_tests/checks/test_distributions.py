"""What a check judged is shown in few lines that add up, and in numbers."""

from __future__ import annotations

from typing import Any

from stock_weather_pipeline.checks.distributions import Distribution, bins, counted


def lines(distribution: Distribution) -> list[dict[str, Any]]:
    return [dict(record.data) for record in distribution.metadata["judged"].records]


def test_findings_are_counted_the_most_frequent_first() -> None:
    found = lines(counted("days", ["2 rows", "1 row", "1 row", "1 row"]))
    assert found == [
        {"found": "1 row", "days": 3, "share": "███████████████ 75.000%"},
        {"found": "2 rows", "days": 1, "share": "█████ 25.000%"},
    ]


def test_one_in_a_million_is_seen_and_none_is_not() -> None:
    rare, never = lines(Distribution("keys", {"1 row": 10**6, "2 rows": 1, "3 rows": 0}))[1:]
    assert rare["share"].startswith("█ ")
    assert never["share"] == " 0.000%"


def test_very_many_findings_stay_few_lines_that_add_up() -> None:
    found = lines(counted("days", [str(n) for n in range(3000)]))
    assert len(found) == 12
    assert found[-1]["found"] == "2989 other findings"
    assert sum(line["days"] for line in found) == 3000


def test_nothing_judged_is_no_table_and_numbers_stand_beside_it() -> None:
    assert Distribution("days", {}, {"days_behind": 3}).metadata == {"days_behind": 3}


def test_bins_have_an_open_one_at_each_end() -> None:
    assert bins([2 / 3, 1.0, 1.5]) == ["below 0.667", "0.667 to 1", "1 to 1.5", "above 1.5"]
