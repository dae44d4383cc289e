"""What goes wrong on AWS ends in the tables of a folder where nothing did, or in one sentence and nothing published."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from pyiceberg.catalog.glue import GlueCatalog

from infra.emulation import Fault
from stock_weather_pipeline.datasets import STOCK_PRICES
from stock_weather_pipeline.lake.interfaces import Scope
from stock_weather_pipeline_tests.infra.deployed import Deployed, deployed_beside_a_folder
from stock_weather_pipeline_tests.killed import killed_run

pytestmark = [
    pytest.mark.timeout(900),
    # BackfillPolicy is marked beta; the version is pinned.
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
]

PACKAGE = "stock_weather_pipeline"

# Each of these kills the run that was to heal the one before.
KILLS = (
    ("raw landed and Dagster not told", (f"{PACKAGE}.layers.coverage:add", "after", 1)),
    ("UNLOAD done and no partition moved", (f"{PACKAGE}.lake.aws.catalog:GlueCatalog.point", "before", 1)),
    ("prod written and not committed", ("pyiceberg.catalog.glue:GlueCatalog._update_glue_table", "before", 1)),
    ("prod committed and Dagster not told", (f"{PACKAGE}.assets.prod:publish", "after", 1)),
)
# Each test has sessions of its own, so that they may run in any order.
FIRST, UNSTEADY, EXPIRED, KILLED = "2024-06-03", "2024-06-04", "2024-06-05", "2024-06-06"
RACED, MEANWHILE = "2024-06-10", "2024-06-11"


def stocks(first: str, last: str | None = None) -> tuple[str, ...]:
    return "run", "--only", "stocks", "--start", first, "--end", last or first


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with deployed_beside_a_folder(tmp_path_factory.mktemp("both")) as deployed:
        deployed.both_run("--start", FIRST, "--end", FIRST)
        yield deployed
        assert not deployed.aws.faults.pending


def test_what_heals_is_waited_for(both: Deployed) -> None:
    assert both.local.invoke(*stocks(UNSTEADY)).exit_code == 0
    faults = both.aws.faults
    faults.inject("athena", "StartQueryExecution", Fault.THROTTLING, times=3)
    faults.inject("athena", "StartQueryExecution", Fault.SERVER_ERROR, after=True)
    faults.inject("glue", "GetTable", Fault.SERVER_ERROR, times=2)
    faults.inject("glue", "UpdateTable", Fault.THROTTLING)
    faults.inject("s3", "PutObject", Fault.SLOW_DOWN, times=3)
    faults.fail_query_halfway()
    result = both.cloud.invoke(*stocks(UNSTEADY))
    assert not faults.pending
    assert result.exit_code == 0, result.output
    assert both.differences() == {}


def test_expired_credentials_are_one_sentence_and_nothing_is_published(both: Deployed) -> None:
    assert both.local.invoke(*stocks(EXPIRED)).exit_code == 0
    published = both.cloud.tables()
    both.aws.faults.inject("athena", "StartQueryExecution", Fault.EXPIRED_TOKEN, times=1_000_000)
    refused = both.cloud.invoke(*stocks(EXPIRED))
    both.aws.faults.clear()
    assert refused.exit_code == 1
    assert "credentials" in refused.output
    assert "Traceback" not in refused.output
    assert both.cloud.tables() == published
    assert both.cloud.invoke(*stocks(EXPIRED)).exit_code == 0
    assert both.differences() == {}


def test_a_writer_that_was_faster_loses_nothing(both: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    assert both.local.invoke(*stocks(RACED, MEANWHILE)).exit_code == 0
    scope = Scope(((date.fromisoformat(MEANWHILE), date.fromisoformat(MEANWHILE)),))
    with both.local.opened() as (_, lake, _instance):
        rows = lake.tables.read(STOCK_PRICES, scope)
    commit = GlueCatalog._update_glue_table
    raced: list[str] = []

    def commit_late(self: GlueCatalog, **commit_of: Any) -> None:
        if commit_of["table_name"] == STOCK_PRICES.name and not raced:
            raced.append(commit_of["version_id"])
            with both.cloud.opened() as (_, lake, _instance):
                lake.tables.publish(STOCK_PRICES, lambda: (rows, scope), {})
        commit(self, **commit_of)

    monkeypatch.setattr(GlueCatalog, "_update_glue_table", commit_late)
    result = both.cloud.invoke(*stocks(RACED))
    monkeypatch.undo()
    assert result.exit_code == 0, result.output
    assert raced
    published = both.cloud.rows(f"SELECT trade_date FROM stock_prices WHERE trade_date >= DATE '{RACED}'")
    assert {str(row["trade_date"]) for row in published} >= {RACED, MEANWHILE}
    assert both.cloud.invoke(*stocks(MEANWHILE)).exit_code == 0
    assert both.differences() == {}


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_tables(both: Deployed) -> None:
    assert both.local.invoke(*stocks(KILLED)).exit_code == 0
    for _, where in KILLS:
        killed_run(both.cloud, stocks(KILLED), where)
    result = both.cloud.invoke(*stocks(KILLED))
    assert result.exit_code == 0, result.output
    assert both.differences() == {}
