"""The contract of Tables: one atomic commit per publish, exactly its scope, whoever else is writing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stock_weather_pipeline.datasets import STOCK_PRICES, STOCK_SPLITS, WEATHER
from stock_weather_pipeline.errors import ConflictError, LakeError
from stock_weather_pipeline.lake.interfaces import Lake, Scope
from stock_weather_pipeline.partitions import sessions
from stock_weather_pipeline_tests.lake.conftest import prices
from stock_weather_pipeline_tests.lakes import data_files, local_lake

MONDAY, TUESDAY, WEDNESDAY = date(2024, 1, 8), date(2024, 1, 9), date(2024, 1, 10)
ALL = Scope()

_PROCESS = """
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from stock_weather_pipeline.datasets import STOCK_PRICES
from stock_weather_pipeline.lake.interfaces import Scope
from stock_weather_pipeline_tests.lake.conftest import prices
from stock_weather_pipeline_tests.lakes import local_lake
lake, day = local_lake(Path(sys.argv[1])), date.fromisoformat(sys.argv[2])
for n in range(2):
    days = day + timedelta(days=n)
    rows = prices({"trade_date": days, "close": 9.5 + n})
    lake.tables.publish(STOCK_PRICES, lambda: (rows, Scope(((days, days),))), {})
"""


def put(lake: Lake, *rows: Mapping[str, Any], scope: Scope = ALL, run: str = "") -> None:
    lake.tables.publish(STOCK_PRICES, lambda: (prices(*rows), scope), {"run-id": run})


def closes(lake: Lake, scope: Scope = ALL) -> dict[tuple[str, date], float]:
    rows = lake.tables.read(STOCK_PRICES, scope).to_pylist()
    assert len({(row["ticker"], row["trade_date"]) for row in rows}) == len(rows)
    return {(row["ticker"], row["trade_date"]): row["close"] for row in rows}


def day(first: date, last: date | None = None) -> Scope:
    return Scope(((first, last or first),))


def test_a_table_that_is_not_there_reads_as_no_rows_in_the_contracts_schema(lake: Lake) -> None:
    assert not lake.tables.exists("stock_prices")
    assert lake.tables.read(STOCK_PRICES, ALL) == STOCK_PRICES.arrow_schema.empty_table()
    assert data_files(lake, "stock_prices") == []
    assert lake.tables.current("stock_prices") is None
    assert lake.tables.history("stock_prices") == []


def test_ensure_makes_an_empty_table_once(lake: Lake) -> None:
    lake.tables.ensure(STOCK_PRICES)
    lake.tables.ensure(STOCK_PRICES)
    assert lake.tables.names() == ["stock_prices"]
    assert lake.tables.read(STOCK_PRICES, ALL).num_rows == 0
    assert lake.tables.history("stock_prices") == []


def test_one_ticker_of_a_large_day_is_a_small_part_of_its_file(tmp_path: Path) -> None:
    lake = local_lake(tmp_path)
    tickers = [f"T{n:05d}" for n in reversed(range(25_000))]
    put(lake, *({"ticker": ticker, "trade_date": MONDAY, "close": 9.0 + n / 1e7} for n, ticker in enumerate(tickers)))
    (file,) = data_files(lake, "stock_prices")
    groups = pq.read_metadata(file.removeprefix("file://"))
    of_tickers = [groups.row_group(n).column(STOCK_PRICES.column_names.index("ticker")) for n in range(2)]
    assert groups.num_row_groups == 2
    assert [(found.statistics.min, found.statistics.max) for found in of_tickers] == [
        ("T00000", "T19999"),
        ("T20000", "T24999"),
    ]


def test_a_publish_replaces_exactly_its_days(lake: Lake) -> None:
    put(lake, *({"trade_date": d} for d in (MONDAY, TUESDAY, WEDNESDAY)))
    put(lake, {"trade_date": TUESDAY, "close": 10.0, "ticker": "AAPL"}, scope=day(TUESDAY))
    assert closes(lake) == {("NVDA", MONDAY): 11.0, ("AAPL", TUESDAY): 10.0, ("NVDA", WEDNESDAY): 11.0}
    assert closes(lake, day(TUESDAY, WEDNESDAY)) == {("AAPL", TUESDAY): 10.0, ("NVDA", WEDNESDAY): 11.0}
    put(lake, scope=Scope(((MONDAY, MONDAY), (WEDNESDAY, WEDNESDAY))))
    assert closes(lake) == {("AAPL", TUESDAY): 10.0}


def test_a_publish_replaces_exactly_the_rows_with_a_value(lake: Lake) -> None:
    put(lake, {"trade_date": MONDAY}, {"trade_date": MONDAY, "ticker": "AAPL"}, {"trade_date": TUESDAY})
    put(lake, {"trade_date": MONDAY, "close": 9.5}, scope=Scope(((MONDAY, MONDAY),), ("ticker", "NVDA")))
    assert closes(lake) == {("NVDA", MONDAY): 9.5, ("AAPL", MONDAY): 11.0, ("NVDA", TUESDAY): 11.0}
    put(lake, scope=Scope(equals=("ticker", "NVDA")))
    assert closes(lake) == {("AAPL", MONDAY): 11.0}


def test_a_publish_without_days_replaces_the_whole_table(lake: Lake) -> None:
    rows = [{"ticker": "NVDA", "execution_date": MONDAY, "split_from": 1.0, "split_to": 4.0}]
    for count in (1, 0, 1):
        table = pa.Table.from_pylist(rows[:count], schema=STOCK_SPLITS.arrow_schema)
        lake.tables.publish(STOCK_SPLITS, lambda table=table: (table, ALL), {})  # type: ignore[misc]
        assert lake.tables.read(STOCK_SPLITS, ALL).to_pylist() == rows[:count]


def test_hours_are_cut_at_new_yorks_midnight(lake: Lake) -> None:
    stamps = [datetime.fromisoformat(f"2024-03-{hour}:00") for hour in ("10T04", "10T05", "11T03", "11T04")]
    rows = [{"location": "X", "observed_at": stamp} for stamp in stamps]
    table = pa.Table.from_pylist(rows, schema=WEATHER.arrow_schema)
    lake.tables.publish(WEATHER, lambda: (table, ALL), {})
    found = lake.tables.read(WEATHER, day(date(2024, 3, 10)))["observed_at"].to_pylist()
    assert sorted(found) == stamps[1:3]


def test_nothing_to_change_is_no_commit(lake: Lake) -> None:
    put(lake, {"trade_date": MONDAY})
    before = lake.tables.history("stock_prices")
    assert lake.tables.publish(STOCK_PRICES, lambda: None, {}) is None
    assert lake.tables.history("stock_prices") == before


def test_the_table_exists_when_the_first_change_is_decided(lake: Lake) -> None:
    seen: list[bool] = []
    lake.tables.publish(STOCK_PRICES, lambda: seen.append(lake.tables.exists("stock_prices")), {})
    assert seen == [True]


def test_a_change_that_fails_publishes_nothing(lake: Lake) -> None:
    put(lake, {"trade_date": MONDAY})

    def fail() -> None:
        raise LakeError("a corrupt file")

    with pytest.raises(LakeError, match="a corrupt file"):
        lake.tables.publish(STOCK_PRICES, fail, {})
    assert len(lake.tables.history("stock_prices")) == 1


def test_a_publish_carries_its_summary_and_is_one_entry_of_the_history(lake: Lake) -> None:
    put(lake, {"trade_date": MONDAY}, {"trade_date": TUESDAY}, run="first")
    publish = lake.tables.publish(
        STOCK_PRICES, lambda: (prices({"trade_date": TUESDAY, "close": 9.5}), day(TUESDAY)), {"run-id": "second"}
    )
    assert publish is not None
    history = lake.tables.history("stock_prices")
    assert [entry.summary["run-id"] for entry in history] == ["second", "first"]
    assert history[0] == publish == lake.tables.current("stock_prices")
    assert history[0].committed_at.tzinfo is not None


def test_rollback_undoes_one_publish_at_a_time(lake: Lake) -> None:
    for n, close in enumerate((9.5, 10.0, 10.5)):
        put(lake, {"trade_date": MONDAY, "close": close}, scope=day(MONDAY), run=str(n))
    undone, current = lake.tables.rollback("stock_prices")
    assert (undone.summary["run-id"], current and current.summary["run-id"]) == ("2", "1")
    assert closes(lake) == {("NVDA", MONDAY): 10.0}
    assert [entry.summary["run-id"] for entry in lake.tables.history("stock_prices")] == ["1", "0"]
    lake.tables.rollback("stock_prices")
    assert closes(lake) == {("NVDA", MONDAY): 9.5}
    put(lake, {"trade_date": MONDAY, "close": 11.5}, scope=day(MONDAY), run="3")
    assert [entry.summary["run-id"] for entry in lake.tables.history("stock_prices")] == ["3", "0"]


def test_rollback_with_nothing_before_is_one_sentence(lake: Lake) -> None:
    with pytest.raises(LakeError, match="has never been published: there is nothing to roll back"):
        lake.tables.rollback("stock_prices")
    put(lake, {"trade_date": MONDAY})
    with pytest.raises(LakeError, match="has only one publish: there is none before it"):
        lake.tables.rollback("stock_prices")
    assert len(closes(lake)) == 1


def test_files_hold_one_month_each_sorted_by_key(lake: Lake) -> None:
    days = [date(2024, 1, 31), date(2024, 1, 30), date(2024, 2, 1)]
    put(lake, *({"trade_date": d, "ticker": ticker} for d in days for ticker in ("NVDA", "AAPL", "MSFT")))
    put(lake, *({"trade_date": days[0], "ticker": ticker} for ticker in ("Z", "A")), scope=day(days[0]))
    months = set()
    for file in data_files(lake, "stock_prices"):
        rows = pq.ParquetFile(file).read().to_pylist()
        keys = [(row["ticker"], row["trade_date"]) for row in rows]
        assert keys == sorted(keys)
        assert len({key[1].month for key in keys}) == 1
        months |= {key[1].month for key in keys}
    assert months == {1, 2}


def test_a_scope_may_have_a_thousand_separate_days(lake: Lake) -> None:
    days = sessions(date(2020, 1, 1), date(2023, 12, 31))
    put(lake, *({"trade_date": d} for d in days[-6:]))
    put(lake, scope=Scope(tuple((d, d) for d in days[1::2])))
    assert sorted(key[1] for key in closes(lake)) == days[-6::2]


def test_writers_of_different_days_both_succeed_in_threads(tmp_path: Path) -> None:
    lake = local_lake(tmp_path)
    put(lake, {"trade_date": MONDAY})
    days = [date(2024, 1, n) for n in (16, 17, 18)]

    def write(d: date) -> None:
        put(local_lake(tmp_path), {"trade_date": d}, scope=day(d))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, days))
    assert sorted(key[1] for key in closes(lake)) == [MONDAY, *days]


def test_writers_of_different_days_both_succeed_in_processes_that_also_create_the_lake(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _PROCESS, str(tmp_path / "lake"), first], stderr=subprocess.PIPE)
        for first in ("2024-01-08", "2024-01-16")
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors.decode()
    assert sorted(key[1].day for key in closes(local_lake(tmp_path / "lake"))) == [8, 9, 16, 17]


def test_writers_of_the_same_day_end_with_the_rows_of_one(tmp_path: Path) -> None:
    lake = local_lake(tmp_path)
    put(lake, {"trade_date": MONDAY})

    def write(close: float) -> None:
        put(local_lake(tmp_path), {"trade_date": MONDAY, "close": close}, scope=day(MONDAY))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, (9.5, 10.0)))
    assert closes(lake)[("NVDA", MONDAY)] in (9.5, 10.0)
    assert len(lake.tables.history("stock_prices")) == 3


def test_a_change_is_decided_again_after_another_writer_was_faster(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    put(lake, {"trade_date": MONDAY})
    seen: list[int] = []

    def change() -> tuple[pa.Table, Scope]:
        seen.append(len(closes(lake)))
        if len(seen) == 1:
            put(lake, {"trade_date": TUESDAY}, scope=day(TUESDAY))
        return prices({"trade_date": WEDNESDAY}), day(WEDNESDAY)

    lake.tables.publish(STOCK_PRICES, change, {})
    assert seen == [1, 2]
    assert len(closes(lake)) == 3


def test_a_writer_that_always_loses_says_so_and_publishes_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    put(lake, {"trade_date": MONDAY})

    def change() -> tuple[pa.Table, Scope]:
        put(lake, {"trade_date": TUESDAY}, scope=day(TUESDAY))
        return prices({"trade_date": WEDNESDAY}), day(WEDNESDAY)

    with pytest.raises(ConflictError, match=r"was changed by other runs 8 times .* nothing was published"):
        lake.tables.publish(STOCK_PRICES, change, {})
    assert sorted(key[1] for key in closes(lake)) == [MONDAY, TUESDAY]


def test_a_damaged_catalog_file_is_one_sentence(tmp_path: Path) -> None:
    put(local_lake(tmp_path), {"trade_date": MONDAY})
    (tmp_path / "catalog" / "iceberg.db").write_bytes(b"this is not a database" * 500)
    with pytest.raises(
        LakeError, match=r"^The catalog .*iceberg\.db cannot be opened \(.*\): restore it from a backup"
    ):
        local_lake(tmp_path).tables.read(STOCK_PRICES, ALL)


def test_a_catalog_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "catalog").write_text("in the way")
    with pytest.raises(LakeError, match=r"^Cannot open .*iceberg\.db"):
        local_lake(tmp_path).tables.names()


@pytest.mark.parametrize("content", [b'{"format-version": 99}', b"{", b""])
def test_metadata_that_is_damaged_or_newer_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    put(local_lake(tmp_path), {"trade_date": MONDAY})
    for file in tmp_path.rglob("*.metadata.json"):
        file.write_bytes(content)
    with pytest.raises(
        LakeError, match=r"^The metadata of stock_weather\.stock_prices cannot be read .* newer version"
    ):
        local_lake(tmp_path).tables.read(STOCK_PRICES, ALL)
