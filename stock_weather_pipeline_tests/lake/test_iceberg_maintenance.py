"""Upkeep of a prod table: few files, the same answers throughout, and publishes that can still be undone."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stock_weather_pipeline.datasets import STOCK_PRICES, STOCK_SPLITS
from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.lake.interfaces import Lake, Publish, Scope
from stock_weather_pipeline.lake.layout import PROD_DATABASE
from stock_weather_pipeline.lake.local_tables import local_catalog
from stock_weather_pipeline.partitions import sessions
from stock_weather_pipeline_tests.lake.conftest import prices
from stock_weather_pipeline_tests.lakes import data_files, local_lake

if TYPE_CHECKING:
    import pyarrow as pa

NAME = STOCK_PRICES.name
NOW = timedelta(0)
QUERY = f"SELECT count(*) AS n, sum(close) AS total, min(trade_date) AS first, max(trade_date) AS last FROM {NAME}"
MARCH = sessions(date(2024, 3, 1), date(2024, 3, 31))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a [lake] #1 %20*"


@pytest.fixture
def lake(folder: Path) -> Lake:
    return local_lake(folder)


def rows_of(day: date, close: float = 11.0) -> pa.Table:
    return prices({"trade_date": day, "close": close}, {"trade_date": day, "ticker": "AMD", "close": close + 1})


def publish(lake: Lake, *days: date, close: float = 11.0) -> Publish:
    import pyarrow as pa

    rows = pa.concat_tables([rows_of(day, close) for day in days])
    scope = Scope(tuple((day, day) for day in days))
    done = lake.tables.publish(STOCK_PRICES, lambda: (rows, scope), {"days": ",".join(map(str, days))})
    assert done is not None
    return done


def publish_a_year(folder: Path, lake: Lake, days: Sequence[date]) -> None:
    """One data file for each day, as a year of daily publishes leaves; a snapshot a month, to be quick."""
    from pyiceberg.io.pyarrow import _dataframe_to_data_files

    lake.tables.ensure(STOCK_PRICES)
    table = local_catalog(folder).load_table((PROD_DATABASE, NAME))
    with table.transaction() as transaction:
        for _, month in groupby(days, key=lambda day: day.month):
            with transaction.update_snapshot({"publish-id": uuid.uuid4().hex}).fast_append() as update:
                for day in month:
                    for file in _dataframe_to_data_files(table.metadata, rows_of(day), table.io):
                        update.append_data_file(file)


def files_per_month(lake: Lake) -> dict[str, int]:
    found: dict[str, int] = {}
    for file in data_files(lake, NAME):
        month = Path(file).parent.name
        found[month] = found.get(month, 0) + 1
    return found


def data_files_on_disk(folder: Path) -> set[str]:
    return {str(path) for path in (folder / "prod").rglob("*.parquet")}


def totals(lake: Lake) -> dict[str, object]:
    return lake.rows(QUERY)[0]


def answer(lake: Lake) -> object:
    """What a user gets: the totals, or the error."""
    try:
        return totals(lake)
    except LakeError as error:
        return error


def test_a_year_of_daily_publishes_becomes_a_file_a_month_while_queries_see_no_difference(
    folder: Path, lake: Lake
) -> None:
    days = sessions(date(2023, 1, 1), date(2023, 12, 31))
    publish_a_year(folder, lake, days[:-12])
    for day in days[-12:]:
        publish(lake, day)
    expected = totals(lake)
    assert expected["n"] == 2 * len(days) == 500
    assert max(files_per_month(lake).values()) > 15

    # Short, so that this test deletes what readers have just left; far longer than one of its queries.
    safety_age = timedelta(seconds=4)
    stop = threading.Event()
    answers: list[object] = []

    def read() -> None:
        reader = local_lake(folder)
        while not stop.is_set():
            answers.append(answer(reader))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        first = lake.tables.maintain(STOCK_PRICES, 10, safety_age)
        time.sleep(safety_age.total_seconds() + 1)
        second = lake.tables.maintain(STOCK_PRICES, 1, safety_age)
    finally:
        stop.set()
        thread.join()

    assert first is not None
    assert second is not None
    assert first.rows_rewritten == 500
    assert sum(first.files_per_month_before.values()) == len(days)
    assert first.files_per_month_after == {f"2023-{month:02}": 1 for month in range(1, 13)}
    assert set(files_per_month(lake).values()) == {1}
    assert second.rows_rewritten == 0
    assert second.snapshots_after == 1
    # With no older publish to go back to, the disk holds exactly what is read.
    assert second.files_deleted > len(days)
    assert data_files_on_disk(folder) == set(data_files(lake, NAME))
    assert len(answers) > 3
    assert [one for one in answers if one != expected] == []
    assert totals(lake) == expected


def test_each_compacted_file_is_sorted_by_key(lake: Lake) -> None:
    import pyarrow.parquet as pq

    for day in reversed(MARCH[:3]):
        publish(lake, day)
    lake.tables.maintain(STOCK_PRICES, 10, NOW)
    (file,) = data_files(lake, NAME)
    keys = [(row["ticker"], row["trade_date"]) for row in pq.ParquetFile(file).read().to_pylist()]
    assert keys == sorted(keys)
    assert len(keys) == 6


def test_rolling_back_after_a_compaction_undoes_the_publish(lake: Lake) -> None:
    first = publish(lake, MARCH[0])
    second = publish(lake, MARCH[1])
    lake.tables.maintain(STOCK_PRICES, 10, NOW)
    history = lake.tables.history(NAME)
    assert [one.summary["days"] for one in history] == [str(MARCH[1]), str(MARCH[0])]
    assert history[0].summary["operation-kind"] == "compaction"
    assert history[0].committed_at == second.committed_at
    undone, current = lake.tables.rollback(NAME)
    assert undone.summary["publish-id"] == second.summary["publish-id"]
    assert current is not None
    assert current.snapshot_id == first.snapshot_id
    assert totals(lake)["last"] == MARCH[0]


def test_rolling_back_a_publish_keeps_the_compaction_below_it(lake: Lake) -> None:
    publish(lake, MARCH[0])
    publish(lake, MARCH[1])
    lake.tables.maintain(STOCK_PRICES, 10, NOW)
    before = totals(lake)
    publish(lake, MARCH[2])
    lake.tables.rollback(NAME)
    assert totals(lake) == before
    assert len(data_files(lake, NAME)) == 1


def test_the_last_publishes_can_be_undone_one_after_another_after_upkeep(lake: Lake) -> None:
    for day in MARCH[:6]:
        publish(lake, day)
    publish(lake, MARCH[0], close=99.0)
    done = lake.tables.maintain(STOCK_PRICES, 4, NOW)
    assert done is not None
    assert done.snapshots_after < done.snapshots_before
    assert len(lake.tables.history(NAME)) == 4
    newest = []
    for _ in range(3):
        lake.tables.rollback(NAME)
        newest.append((totals(lake)["last"], totals(lake)["n"]))
    assert newest == [(MARCH[5], 12), (MARCH[4], 10), (MARCH[3], 8)]
    with pytest.raises(LakeError, match="only one publish"):
        lake.tables.rollback(NAME)


def test_what_a_rollback_left_behind_is_cleaned_up(folder: Path, lake: Lake) -> None:
    publish(lake, MARCH[0])
    publish(lake, MARCH[1])
    lake.tables.rollback(NAME)
    lake.tables.maintain(STOCK_PRICES, 10, NOW)
    assert data_files_on_disk(folder) == set(data_files(lake, NAME))


def test_a_young_file_that_no_snapshot_names_is_left_to_the_publish_that_writes_it(folder: Path, lake: Lake) -> None:
    publish(lake, MARCH[0])
    (kept,) = data_files(lake, NAME)
    young, old = Path(kept).with_name("young.parquet"), Path(kept).with_name("old.parquet")
    for path in (young, old):
        path.write_bytes(b"not committed")
    two_hours_ago = time.time() - 7200
    os.utime(old, (two_hours_ago, two_hours_ago))
    done = lake.tables.maintain(STOCK_PRICES, 10, timedelta(hours=1))
    assert done is not None
    assert (done.files_deleted, done.bytes_deleted) == (1, len(b"not committed"))
    assert data_files_on_disk(folder) == {kept, str(young)}


def test_snapshots_that_were_current_within_the_safety_age_stay(lake: Lake) -> None:
    for day in MARCH[:3]:
        publish(lake, day)
    done = lake.tables.maintain(STOCK_PRICES, 1, timedelta(hours=1))
    assert done is not None
    assert done.snapshots_after == done.snapshots_before + 1
    assert done.files_deleted == 0


def test_a_publish_during_a_compaction_wins_and_the_compaction_is_repeated(
    folder: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyiceberg.io import pyarrow as iceberg_io

    publish(lake, MARCH[0])
    publish(lake, MARCH[1])
    write = iceberg_io._dataframe_to_data_files
    interrupted = False

    def interrupt(*args: Any, **kwargs: Any) -> object:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            publish(local_lake(folder), MARCH[2])
        return write(*args, **kwargs)

    monkeypatch.setattr(iceberg_io, "_dataframe_to_data_files", interrupt)
    lake.tables.maintain(STOCK_PRICES, 10, timedelta(hours=1))
    assert totals(lake)["n"] == 6
    assert len(data_files(lake, NAME)) == 1


def test_nothing_is_deleted_when_files_of_the_table_are_missing(folder: Path, lake: Lake) -> None:
    publish(lake, MARCH[0])
    publish(lake, date(2024, 4, 1))
    Path(data_files(lake, NAME)[0]).unlink()
    before = {path for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(LakeError, match=r"1 files that stock_prices needs are not below .* nothing was deleted"):
        lake.tables.maintain(STOCK_PRICES, 10, NOW)
    assert before <= {path for path in folder.rglob("*") if path.is_file()}


def splits(lake: Lake) -> None:
    import pyarrow as pa

    row = {"ticker": "NVDA", "execution_date": date(2024, 6, 10), "split_from": 1.0, "split_to": 10.0}
    rows = pa.Table.from_pylist([row], schema=STOCK_SPLITS.arrow_schema)
    lake.tables.publish(STOCK_SPLITS, lambda: (rows, Scope()), {})


def empty(lake: Lake) -> None:
    lake.tables.ensure(STOCK_SPLITS)


@pytest.mark.parametrize(("prepare", "files"), [(splits, {"all": 1}), (empty, {})])
def test_a_table_without_partitions_or_rows_is_kept_up_too(
    lake: Lake, prepare: Callable[[Lake], None], files: dict[str, int]
) -> None:
    prepare(lake)
    done = lake.tables.maintain(STOCK_SPLITS, 10, NOW)
    assert done is not None
    assert done.files_per_month_after == files


def test_a_table_that_does_not_exist_needs_no_upkeep(lake: Lake) -> None:
    assert lake.tables.maintain(STOCK_PRICES, 10, NOW) is None


def test_the_current_publish_is_always_kept(lake: Lake) -> None:
    with pytest.raises(ValueError, match="current publish"):
        lake.tables.maintain(STOCK_PRICES, 0, NOW)
