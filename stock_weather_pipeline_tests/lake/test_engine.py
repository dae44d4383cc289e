"""The contract of Engine: Athena SQL over every kind of table, and files replaced by day."""

from __future__ import annotations

import io
from datetime import date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stock_weather_pipeline.datasets import STOCK_PRICES, WEATHER
from stock_weather_pipeline.errors import QueryError, SqlNotAllowedError, UnreadableFileError
from stock_weather_pipeline.lake.interfaces import Lake, Output, Scope
from stock_weather_pipeline.lake.layout import Layer, ViewDefinition, days_predicate, external_table
from stock_weather_pipeline.partitions import sessions
from stock_weather_pipeline.sources.base import PARTITION_DAY
from stock_weather_pipeline_tests.lake.conftest import prices
from stock_weather_pipeline_tests.lakes import bar, files_of, put_csv, replace_files

RAW = external_table(STOCK_PRICES, Layer.RAW)
PARQUET = external_table(STOCK_PRICES, Layer.PARQUET)
QUARANTINE = external_table(STOCK_PRICES, Layer.QUARANTINE)
MONDAY, TUESDAY, WEDNESDAY = date(2024, 1, 8), date(2024, 1, 9), date(2024, 1, 10)
# More than one batch for a day.
_MANY_ROWS = 250_000


@pytest.fixture
def filled(lake: Lake) -> Lake:
    """Raw and Parquet rows of three days, and the tables of every layer."""
    for table in (RAW, PARQUET, QUARANTINE):
        lake.catalog.put_table(table)
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        put_csv(lake, STOCK_PRICES, day, [bar(day), bar(day, "AAPL")])
    rows = prices(*({"trade_date": day} for day in (MONDAY, TUESDAY, WEDNESDAY)))
    lake.engine.write(PARQUET, rows.append_column(PARTITION_DAY, rows["trade_date"]), [MONDAY, TUESDAY, WEDNESDAY])
    return lake


def view(lake: Lake, name: str, sql: str) -> None:
    lake.catalog.put_view(ViewDefinition(name, sql, "", ()))


def test_raw_files_are_rows_of_strings_with_the_day_of_their_path(filled: Lake) -> None:
    rows = filled.rows(
        "SELECT ticker, trade_date, volume, year, month, day FROM stock_weather_raw.stock_prices "
        f"WHERE {days_predicate(STOCK_PRICES, [TUESDAY])} ORDER BY ticker"
    )
    path = {"trade_date": "2024-01-09", "volume": "1.5e6", "year": "2024", "month": "01", "day": "09"}
    assert rows == [{"ticker": "AAPL", **path}, {"ticker": "NVDA", **path}]


def test_typed_tables_have_the_contracts_types(filled: Lake) -> None:
    found = filled.engine.query("SELECT * FROM stock_weather_parquet.stock_prices")
    expected = STOCK_PRICES.arrow_schema
    assert found.schema.names == [*expected.names, "year", "month", "day"]
    assert [found.schema.field(name).type for name in expected.names] == expected.types
    filled.tables.ensure(STOCK_PRICES)
    assert filled.engine.query("SELECT * FROM stock_prices").schema.types == expected.types
    filled.tables.publish(STOCK_PRICES, lambda: (prices({"trade_date": MONDAY}), Scope()), {})
    assert filled.engine.query("SELECT * FROM stock_prices").schema.types == expected.types


def test_a_table_without_files_has_its_columns_and_no_rows(lake: Lake) -> None:
    for dataset in (STOCK_PRICES, WEATHER):
        for layer in Layer:
            table = external_table(dataset, layer)
            lake.catalog.put_table(table)
            found = lake.engine.query(f"SELECT * FROM {table.qualified_name}")
            assert found.num_rows == 0
            assert found.schema.names == [*(column.name for column in table.columns), "year", "month", "day"]


def test_files_that_are_not_in_the_folder_of_a_day_are_no_rows(lake: Lake) -> None:
    lake.catalog.put_table(RAW)
    lake.objects.write("raw/stock_prices/notes.csv", b"hello\n")
    lake.objects.write("raw/stock_prices/year=2024/copy.csv", b"hello\n")
    assert lake.rows("SELECT * FROM stock_weather_raw.stock_prices") == []


def test_a_prod_table_is_read_as_of_its_newest_publish(lake: Lake) -> None:
    for close in (9.5, 10.5):
        table = prices({"trade_date": MONDAY, "close": close}, {"trade_date": TUESDAY, "close": close})
        lake.tables.publish(STOCK_PRICES, lambda table=table: (table, Scope()), {})  # type: ignore[misc]
    sql = "SELECT trade_date, close FROM stock_prices ORDER BY trade_date"
    newest = [{"trade_date": day, "close": 10.5} for day in (MONDAY, TUESDAY)]
    assert lake.rows(sql) == lake.rows(sql.replace("FROM ", "FROM stock_weather.")) == newest
    lake.tables.rollback("stock_prices")
    assert lake.rows(sql)[0]["close"] == 9.5


def test_views_stand_on_tables_and_on_other_views(filled: Lake) -> None:
    view(filled, "closes", "SELECT ticker, trade_date, close FROM stock_weather_parquet.stock_prices")
    view(filled, "highest", "SELECT ticker, max(close) / 2 AS half FROM closes GROUP BY ticker")
    assert filled.rows(
        "SELECT h.half, count(*) AS n FROM highest h JOIN closes c ON h.ticker = c.ticker GROUP BY 1"
    ) == [{"half": 5.5, "n": 3}]


def test_integers_divide_as_on_athena_even_through_a_view(filled: Lake) -> None:
    view(filled, "counted", "SELECT count(*) AS n FROM stock_weather_parquet.stock_prices")
    assert filled.rows("SELECT n / 2 AS half, 7 / 2 AS three FROM counted") == [{"half": 1, "three": 3}]


def test_times_are_utc_whatever_the_machines_zone(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    found = lake.rows(
        "SELECT CAST(at_timezone(with_timezone(TIMESTAMP '2024-03-10 05:00:00', 'UTC'), 'America/New_York') AS DATE) "
        "AS local, TIMESTAMP '2024-03-10 05:00:00' AS utc"
    )
    assert found == [{"local": date(2024, 3, 10), "utc": datetime.fromisoformat("2024-03-10T05:00")}]


def test_an_unknown_table_is_a_sentence_that_lists_what_there_is(filled: Lake) -> None:
    with pytest.raises(QueryError, match=r"no table or view stock_weather\.nothing; .* holds nothing yet: run"):
        filled.engine.query("SELECT * FROM nothing")
    filled.tables.ensure(STOCK_PRICES)
    view(filled, "closes", "SELECT close FROM stock_prices")
    with pytest.raises(QueryError, match=r"no table or view stock_weather\.nothing; .* holds closes, stock_prices\."):
        filled.engine.query("SELECT * FROM nothing")


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE stock_prices",
        "DELETE FROM stock_prices",
        "INSERT INTO stock_prices VALUES (1)",
        "CREATE TABLE x AS SELECT 1 AS a",
        "COPY stock_prices TO 'x'",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "ATTACH 'x.db'",
        "PRAGMA version",
        "",
    ],
)
def test_what_is_not_one_reading_statement_of_athena_is_refused(filled: Lake, sql: str) -> None:
    with pytest.raises((SqlNotAllowedError, QueryError)):
        filled.engine.query(sql)
    assert filled.rows("SELECT count(*) AS n FROM stock_weather_parquet.stock_prices") == [{"n": 3}]


def test_a_query_that_fails_says_why_in_one_line(filled: Lake) -> None:
    with pytest.raises(QueryError, match=r"^The query failed: .*Cannot cast the text to DOUBLE( \(query \S+\))?$"):
        filled.engine.query("SELECT CAST(ticker AS DOUBLE) AS x FROM stock_weather_parquet.stock_prices")


@pytest.mark.parametrize("broken", [MONDAY, TUESDAY, WEDNESDAY])
@pytest.mark.parametrize("content", [b"", b"garbage", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_a_corrupt_file_is_named_and_keeps_no_other_day_from_being_read(
    filled: Lake, broken: date, content: bytes
) -> None:
    replace_files(filled, PARQUET, broken, content)
    with pytest.raises(UnreadableFileError, match=r"\.parquet"):
        filled.engine.query("SELECT * FROM stock_weather_parquet.stock_prices")
    others = [day for day in (MONDAY, TUESDAY, WEDNESDAY) if day != broken]
    sql = f"SELECT trade_date FROM stock_weather_parquet.stock_prices WHERE {days_predicate(STOCK_PRICES, others)}"
    assert sorted(row["trade_date"] for row in filled.rows(sql)) == others


def test_a_corrupt_file_in_a_folder_is_named(on_disk: Lake) -> None:
    on_disk.catalog.put_table(PARQUET)
    on_disk.objects.write(PARQUET.key(TUESDAY), b"garbage")
    with pytest.raises(UnreadableFileError, match=r"day=09/stock_prices\.parquet"):
        on_disk.engine.query("SELECT * FROM stock_weather_parquet.stock_prices")


def test_unload_replaces_the_days_of_every_output_and_empties_days_without_rows(filled: Lake) -> None:
    selected = (
        "SELECT ticker, CAST(trade_date AS DATE) AS trade_date, CAST(close AS DOUBLE) AS close, close AS raw_close, "
        "CAST(concat(year, '-', month, '-', day) AS DATE) AS partition_day FROM stock_weather_raw.stock_prices"
    )
    typed = (
        "ticker, trade_date, 1e0 AS open, 1e0 AS high, 1e0 AS low, close, 1e0 AS volume, CAST(NULL AS DOUBLE) AS vwap"
    )
    aside = ", ".join(f"'{column.name}' AS {column.name}" for column in QUARANTINE.columns)
    outputs = [
        Output(PARQUET, f"{typed}, CAST(NULL AS BIGINT) AS transactions", "ticker = 'AAPL'"),
        Output(QUARANTINE, aside, "ticker = 'NVDA' AND day_of_month(trade_date) = 8"),
    ]
    aside_before = pa.table({c.name: ["x"] for c in QUARANTINE.columns}).append_column(
        PARTITION_DAY, pa.array([TUESDAY])
    )
    filled.engine.write(QUARANTINE, aside_before, [TUESDAY])
    assert [*filled.engine.stored(QUARANTINE, [MONDAY, TUESDAY])] == [TUESDAY]
    filled.engine.unload(f"{selected} WHERE day < '10'", outputs, [MONDAY, TUESDAY, WEDNESDAY])
    every = [MONDAY, TUESDAY, WEDNESDAY]
    assert set(filled.engine.stored(PARQUET, every)) == {MONDAY, TUESDAY}
    assert set(filled.engine.stored(QUARANTINE, every)) == {MONDAY}
    assert filled.rows("SELECT DISTINCT day FROM stock_weather_quarantine.stock_prices") == [{"day": "08"}]
    assert (
        filled.rows("SELECT ticker, close FROM stock_weather_parquet.stock_prices")
        == [{"ticker": "AAPL", "close": 11.0}] * 2
    )


def test_a_large_result_keeps_its_order_and_days_stay_whole_across_batches(filled: Lake) -> None:
    numbers = f"(SELECT n FROM UNNEST(sequence(1, {_MANY_ROWS})) AS t (n))"
    found = filled.engine.query(f"SELECT n FROM {numbers} ORDER BY n DESC")["n"]
    assert found.to_pylist() == list(range(_MANY_ROWS, 0, -1))
    rest = ", ".join(f"1e0 AS {name}" for name in ("open", "high", "low", "close", "volume", "vwap"))
    sql = (
        f"SELECT lpad(CAST(n AS VARCHAR), 6, '0') AS ticker, n, "
        f"CASE WHEN n % 5 = 0 THEN DATE '{TUESDAY}' ELSE DATE '{MONDAY}' END AS partition_day FROM {numbers}"
    )
    select = f"ticker, partition_day AS trade_date, {rest}, n AS transactions"
    filled.engine.unload(sql, [Output(PARQUET, select, "TRUE")], [MONDAY, TUESDAY])
    for day, rows in ((MONDAY, _MANY_ROWS * 4 // 5), (TUESDAY, _MANY_ROWS // 5)):
        tickers, days = [], set()
        for key in files_of(filled, PARQUET, day):
            table = pq.read_table(io.BytesIO(filled.objects.read(key)), partitioning=None)
            assert table["ticker"].to_pylist() == sorted(table["ticker"].to_pylist())
            tickers += table["ticker"].to_pylist()
            days |= set(table["trade_date"].to_pylist())
        assert len(set(tickers)) == len(tickers) == rows
        assert days == {day}


def test_unload_leaves_other_days_alone(filled: Lake) -> None:
    before = filled.engine.stored(PARQUET, [MONDAY, TUESDAY, WEDNESDAY])
    names = ", ".join(STOCK_PRICES.column_names)
    sql = f"SELECT {names}, trade_date AS partition_day FROM stock_weather_parquet.stock_prices WHERE day = '09'"
    filled.engine.unload(sql, [Output(PARQUET, names, "TRUE")], [TUESDAY])
    after = filled.engine.stored(PARQUET, [MONDAY, TUESDAY, WEDNESDAY])
    assert {day for day in before if before[day] != after[day]} == {TUESDAY}


def test_days_that_are_kept_are_seen_as_their_files_are(filled: Lake) -> None:
    days = [MONDAY, TUESDAY]

    def found() -> list[tuple[str, str]]:
        rows = filled.rows("SELECT day, ticker FROM stock_weather_raw.stock_prices ORDER BY day, ticker")
        return [(row["day"], row["ticker"]) for row in rows]

    whole = [(day, ticker) for day in ("08", "09", "10") for ticker in ("AAPL", "NVDA")]
    filled.engine.keep(RAW, days)
    filled.engine.keep(PARQUET, days)
    assert found() == whole
    put_csv(filled, STOCK_PRICES, TUESDAY, [bar(TUESDAY, "MSFT")])
    assert found() == [*whole[:2], ("09", "MSFT"), *whole[4:]]
    filled.engine.keep(RAW, days)
    assert found() == [*whole[:2], ("09", "MSFT"), *whole[4:]]
    filled.objects.delete([RAW.key(MONDAY)])
    assert found() == [("09", "MSFT"), *whole[4:]]
    filled.objects.write(RAW.key(MONDAY), b'ticker,trade_date\n"unclosed')
    filled.engine.keep(RAW, days)
    with pytest.raises(UnreadableFileError):
        found()


def test_a_select_that_fails_replaces_nothing(filled: Lake) -> None:
    before = filled.objects.list("")
    with pytest.raises(QueryError):
        filled.engine.unload(
            "SELECT nothing FROM stock_weather_raw.stock_prices", [Output(PARQUET, "*", "TRUE")], [MONDAY]
        )
    assert filled.objects.list("") == before


def test_many_separate_days_are_one_predicate(lake: Lake) -> None:
    days = sessions(date(2018, 1, 1), date(2023, 12, 31))[::2]
    lake.catalog.put_table(PARQUET)
    rows = prices(*({"trade_date": day} for day in days[:3])).append_column(
        PARTITION_DAY, pa.array(days[:3], pa.date32())
    )
    lake.engine.write(PARQUET, rows, days[:3])
    sql = f"SELECT count(*) AS n FROM stock_weather_parquet.stock_prices WHERE {days_predicate(STOCK_PRICES, days[1:])}"
    assert lake.rows(sql) == [{"n": 2}]


def test_the_snapshots_of_a_table_are_a_table_as_on_athena(lake: Lake) -> None:
    lake.tables.ensure(STOCK_PRICES)
    columns = ["committed_at", "snapshot_id", "parent_id", "operation", "manifest_list", "summary"]
    empty = lake.engine.query('SELECT * FROM "stock_prices$snapshots"')
    assert (empty.column_names, empty.num_rows) == (columns, 0)
    monday = Scope(day_ranges=((MONDAY, MONDAY),))
    for _ in range(2):
        lake.tables.publish(STOCK_PRICES, lambda: (prices({"trade_date": MONDAY}), monday), {"days": "it's Monday"})
    found = lake.rows(
        "SELECT CAST(at_timezone(committed_at, 'UTC') AS TIMESTAMP) AS at, snapshot_id, parent_id, operation, "
        "element_at(summary, 'days') AS days, CAST(element_at(summary, 'added-records') AS BIGINT) AS added "
        'FROM stock_weather."stock_prices$snapshots" ORDER BY committed_at'
    )
    assert [(row["operation"], row["days"], row["added"]) for row in found] == [
        ("append", "it's Monday", 1),
        ("delete", "it's Monday", None),
        ("append", "it's Monday", 1),
    ]
    assert [row["parent_id"] for row in found] == [None, *(row["snapshot_id"] for row in found[:-1])]
    newest = lake.tables.current("stock_prices")
    assert newest is not None
    assert newest.snapshot_id == found[-1]["snapshot_id"]
    assert newest.committed_at.replace(tzinfo=None) == found[-1]["at"]


def test_a_table_that_is_not_there_has_no_snapshots(filled: Lake) -> None:
    with pytest.raises(QueryError, match=r"There is no table or view|does not exist"):
        filled.engine.query('SELECT * FROM "stock_prices$snapshots"')
