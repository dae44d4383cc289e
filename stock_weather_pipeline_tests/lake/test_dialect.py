"""Athena's SQL means the same on DuckDB, or is refused with a sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stock_weather_pipeline.errors import QueryError, SqlNotAllowedError
from stock_weather_pipeline.lake.dialect import parse, table_references, to_duckdb

SCHEMA = {
    ("stock_weather", "prices"): {
        "ticker": "VARCHAR",
        "trade_date": "DATE",
        "close": "DOUBLE",
        "transactions": "BIGINT",
        "seen_at": "TIMESTAMP",
        "zone": "VARCHAR",
        "fee": "DECIMAL(10,2)",
    },
    ("stock_weather", "raw"): {"text": "VARCHAR"},
}
PRICES = """
    CREATE TABLE prices (ticker VARCHAR, trade_date DATE, close DOUBLE, transactions BIGINT, seen_at TIMESTAMP,
                         zone VARCHAR, fee DECIMAL(10, 2));
    INSERT INTO prices VALUES
        ('A', '2024-01-31', 10.5, 7, '2024-07-01 03:30:00', 'America/New_York', 1.5),
        ('A', '2024-02-01', 11.5, 2, '2024-01-01 03:30:00', 'America/New_York', 1.5),
        ('B', '2024-02-29', NULL, NULL, '2024-07-01 03:30:00', 'Asia/Kolkata', NULL);
    CREATE TABLE raw (text VARCHAR);
"""


def _at(*parts: int) -> datetime:
    """A TIMESTAMP: without a zone, as both engines give it."""
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(PRICES)
    yield connection
    connection.close()


def _value(connection: duckdb.DuckDBPyConnection, expression: str) -> Any:
    row = connection.execute(to_duckdb(f"SELECT {expression}")).fetchone()
    assert row is not None
    return row[0]


ALIKE: list[tuple[str, Any]] = [
    # Whole numbers
    ("7 / 2", 3),
    ("-7 / 2", -3),
    ("7 / (1 + 1)", 3),
    ("9 - 7 / 2", 6),
    ("CAST(7 AS BIGINT) / CAST(2 AS BIGINT) * 2", 6),
    ("(7 + 2) / 2 / 2", 2),
    ("1 / (7 / 2)", 0),
    ("-7 % 3", -1),
    ("mod(-7, 3)", -1),
    ("7e0 / 2", 3.5),
    ("7 / CAST(2 AS DOUBLE)", 3.5),
    ("1e0 / 0", math.inf),
    ("-1e0 / 0e0", -math.inf),
    ("is_nan(0e0 / 0)", True),
    ("TRY(1 / 0)", None),
    ("TRY(coalesce(1 / (1 - 1), 5))", None),
    ("TRY(coalesce(CAST('1.5' || '' AS BIGINT), 5))", None),
    ("CASE WHEN 0 = 1 THEN 1 / 0 ELSE 5 END", 5),
    ("CAST(2.5e0 AS BIGINT)", 3),
    ("CAST(-2.5e0 AS INTEGER)", -3),
    ("CAST(0.5e0 AS INTEGER)", 1),
    ("CAST(2.5 AS BIGINT)", 3),
    ("round(2.5e0)", 3.0),
    ("round(-2.5e0)", -3.0),
    ("floor(7) / 2", 3),
    ("floor(7e0) / 2", 3.5),
    ("floor(-1.5e0)", -2.0),
    ("ceil(1.2e0)", 2.0),
    ("sign(-3e0) / 2", -0.5),
    ("sign(-3)", -1),
    ("abs(-3)", 3),
    ("power(2, 10)", 1024.0),
    ("log10(1000)", 3.0),
    ("ln(exp(2e0))", 2.0),
    ("sqrt(16)", 4.0),
    ("is_infinite(infinity())", True),
    ("is_finite(nan())", False),
    ("is_finite(1e0)", True),
    ("greatest(1, NULL)", None),
    ("greatest(1, 3, 2)", 3),
    ("least(2, 1)", 1),
    # Text
    ("concat('a', NULL)", None),
    ("concat('a', 'b', 'c')", "abc"),
    ("'a' || 'b'", "ab"),
    ("substr('hello', 2, 3)", "ell"),
    ("substr('hello', 0)", ""),
    ("substr('hello', -2)", "lo"),
    ("substr('hello', -9)", ""),
    ("substr('hello', strpos('hello', 'l'))", "llo"),
    ("substr(CAST(NULL AS VARCHAR), 0)", None),
    ("split_part('a,b', ',', 2)", "b"),
    ("split_part('a,b', ',', 3)", None),
    ("split('a,,b', ',')", ["a", "", "b"]),
    ("cardinality(split('a b', ' '))", 2),
    ("contains(split('a b', ' '), 'b')", True),
    ("element_at(ARRAY[1, 2], 3)", None),
    ("element_at(ARRAY[1, 2], 2)", 2),
    ("trim(' \t\u2003a b\r\n')", "a b"),
    ("ltrim('\t a ')", "a "),
    ("rtrim(' a\n')", " a"),
    ("trim(BOTH 'x' FROM 'xax')", "a"),
    ("regexp_extract('abc', 'x')", None),
    ("regexp_extract('abc', 'a(b)', 1)", "b"),
    ("regexp_like('NVDA', '^[A-Z]+$')", True),
    ("regexp_replace('a1b22', '[0-9]+')", "ab"),
    ("regexp_replace('a1b22', '([0-9]+)', '<$1>')", "a<1>b<22>"),
    ("replace('2024-01-01T00:00', 'T', ' ')", "2024-01-01 00:00"),
    ("lpad('7', 3, '0')", "007"),
    ("rpad('abc', 2, 'x')", "ab"),
    ("reverse('abc')", "cba"),
    ("starts_with('abc', 'ab')", True),
    ("length('añ')", 2),
    ("'a_c' LIKE 'a!_c' ESCAPE '!'", True),
    ("upper('a') IN ('A', 'B')", True),
    ("strpos('abc', 'd')", 0),
    # Dates and times
    ("DATE '2024-01-31' + INTERVAL '1' MONTH", date(2024, 2, 29)),
    ("DATE '2024-03-01' - INTERVAL '1' DAY", date(2024, 2, 29)),
    ("INTERVAL '1' YEAR + DATE '2024-02-29'", date(2025, 2, 28)),
    ("TIMESTAMP '2024-01-01 23:00:00' + INTERVAL '2' HOUR", _at(2024, 1, 2, 1)),
    ("date_add('month', 1, DATE '2024-01-31')", date(2024, 2, 29)),
    ("date_add('week', -1, DATE '2024-01-31')", date(2024, 1, 24)),
    ("date_add('quarter', 1 + 1, DATE '2024-01-31')", date(2024, 7, 31)),
    ("date_add('hour', 2, TIMESTAMP '2024-01-01 23:00:00')", _at(2024, 1, 2, 1)),
    ("date_diff('day', DATE '2024-01-01', DATE '2024-03-01')", 60),
    ("date_diff('day', TIMESTAMP '2024-01-01 12:00:00', TIMESTAMP '2024-01-02 11:00:00')", 0),
    ("date_diff('month', DATE '2024-01-15', DATE '2024-02-14')", 0),
    ("date_diff('year', DATE '2023-12-31', DATE '2024-01-01')", 0),
    ("date_diff('hour', TIMESTAMP '2024-01-01 00:59:00', TIMESTAMP '2024-01-01 01:01:00')", 0),
    ("date_diff('day', DATE '2024-03-01', DATE '2024-01-01')", -60),
    ("date_trunc('month', DATE '2024-02-29')", date(2024, 2, 1)),
    ("date_trunc('week', DATE '2024-02-29')", date(2024, 2, 26)),
    ("date_trunc('hour', TIMESTAMP '2024-01-01 23:59:00')", _at(2024, 1, 1, 23)),
    ("extract(dow FROM DATE '2024-02-04')", 7),
    ("day_of_week(DATE '2024-02-05')", 1),
    ("dow(DATE '2024-02-04')", 7),
    ("doy(DATE '2024-02-01')", 32),
    ("week(DATE '2024-12-30')", 1),
    ("year(DATE '2024-02-04') / 10", 202),
    ("extract(year FROM DATE '2024-02-04')", 2024),
    ("hour(TIMESTAMP '2024-01-01 23:59:00')", 23),
    ("date('2024-02-04')", date(2024, 2, 4)),
    ("CAST('2024-02-04' AS DATE)", date(2024, 2, 4)),
    ("date_format(TIMESTAMP '2024-01-02 03:04:05', '%Y-%m-%d %H:%i:%s')", "2024-01-02 03:04:05"),
    ("to_unixtime(TIMESTAMP '1970-01-02 00:00:00')", 86400.0),
    ("to_unixtime(with_timezone(TIMESTAMP '1970-01-01 00:00:00', 'America/New_York'))", 18000.0),
    ("CAST(from_unixtime(86400) AS DATE)", date(1970, 1, 2)),
    ("CAST(at_timezone(from_unixtime(0), 'America/New_York') AS TIMESTAMP)", _at(1969, 12, 31, 19)),
    (
        "CAST(at_timezone(with_timezone(TIMESTAMP '2024-07-01 03:30:00', 'UTC'), 'America/New_York') AS DATE)",
        date(2024, 6, 30),
    ),
    ("hour(TIMESTAMP '2024-07-01 03:30:00' AT TIME ZONE 'America/New_York')", 23),
    ("date(TIMESTAMP '2024-07-01 03:30:00' AT TIME ZONE 'Asia/Kolkata')", date(2024, 7, 1)),
    ("CAST(with_timezone(TIMESTAMP '2024-07-01 03:30:00', 'Asia/Kolkata') AS TIMESTAMP)", _at(2024, 7, 1, 3, 30)),
    ("hour(at_timezone(with_timezone(TIMESTAMP '2024-07-01 03:00:00', 'Asia/Tokyo'), 'UTC'))", 18),
    ("current_date = CAST(now() AS DATE)", True),
    ("current_timestamp > TIMESTAMP '2024-01-01 00:00:00'", True),
    ("sequence(3, 1)", [3, 2, 1]),
    ("sequence(1, 7, 3)", [1, 4, 7]),
    ("sequence(DATE '2024-02-28', DATE '2024-03-01')", [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1)]),
    # Conditions and conversions
    ("TRY_CAST('1.5' AS BIGINT)", None),
    ("TRY_CAST('x' AS DOUBLE)", None),
    ("if(1 > 2, 'a')", None),
    ("nullif(trim('  '), '')", None),
    ("coalesce(NULL, 2)", 2),
    ("CASE 2 WHEN 1 THEN 'a' WHEN 2 THEN 'b' END", "b"),
    ("CAST(5 AS VARCHAR)", "5"),
    ("CAST(DATE '2024-01-01' AS VARCHAR)", "2024-01-01"),
    ("TRUE AND NOT FALSE", True),
    ("1 IS DISTINCT FROM NULL", True),
    ("2 BETWEEN 1 AND 3", True),
    ("CAST(NULL AS DOUBLE) / 2", None),
    ("(SELECT count(*) FROM prices) / 2", 1),
]


@pytest.mark.parametrize(("expression", "expected"), ALIKE, ids=[expression for expression, _ in ALIKE])
def test_an_expression_has_athenas_value(connection: duckdb.DuckDBPyConnection, expression: str, expected: Any) -> None:
    actual = _value(connection, expression)
    assert actual == expected
    assert type(actual) is type(expected)


READ_BY_ATHENA: list[tuple[str, str, Any]] = [
    ("5", "BIGINT", 5),
    ("-5", "INTEGER", -5),
    (" 5", "BIGINT", None),
    ("1_000", "BIGINT", None),
    ("1e3", "BIGINT", None),
    ("1.5", "BIGINT", None),
    ("99999999999", "INTEGER", None),
    ("1e3", "DOUBLE", 1000.0),
    (" 1.5 ", "DOUBLE", 1.5),
    (".5", "DOUBLE", 0.5),
    ("+5.", "DOUBLE", 5.0),
    ("Infinity", "DOUBLE", math.inf),
    ("inf", "DOUBLE", None),
    ("nan", "DOUBLE", None),
    ("1_000", "DOUBLE", None),
    ("", "DOUBLE", None),
    ("2024-01-05", "DATE", date(2024, 1, 5)),
    ("2024/01/05", "DATE", None),
    ("2024-01-05 10:00", "DATE", None),
    ("2024-13-05", "DATE", None),
    ("2024-01-05 10:00", "TIMESTAMP", _at(2024, 1, 5, 10)),
    ("2024-01-05 10:00:01.5", "TIMESTAMP", _at(2024, 1, 5, 10, 0, 1, 500000)),
    ("2024-01-05", "TIMESTAMP", _at(2024, 1, 5)),
    ("2024-01-05T10:00", "TIMESTAMP", None),
    ("yes", "BOOLEAN", None),
    ("TRUE", "BOOLEAN", True),
]


@pytest.mark.parametrize(("text", "kind", "expected"), READ_BY_ATHENA)
def test_text_is_read_no_more_generously_than_by_athena(
    connection: duckdb.DuckDBPyConnection, text: str, kind: str, expected: Any
) -> None:
    connection.execute("DELETE FROM raw")
    connection.execute("INSERT INTO raw VALUES (?), (NULL)", [text])
    read = connection.execute(to_duckdb(f"SELECT TRY_CAST(text AS {kind}) FROM raw", SCHEMA)).fetchall()
    assert read == [(expected,), (None,)]
    strict = to_duckdb(f"SELECT CAST(text AS {kind}) FROM raw WHERE text IS NOT NULL", SCHEMA)
    if expected is None:
        with pytest.raises(duckdb.Error):
            connection.execute(strict).fetchall()
    else:
        assert connection.execute(strict).fetchall() == [(expected,)]


@pytest.mark.parametrize("expression", ["1 / 0", "mod(1, 0)", "1 % (1 - 1)", "7 / (2 - 2)"])
def test_a_whole_number_divided_by_zero_fails(connection: duckdb.DuckDBPyConnection, expression: str) -> None:
    with pytest.raises(duckdb.Error, match="zero"):
        _value(connection, expression)


@given(st.integers(-(10**6), 10**6), st.integers(-1000, 1000).filter(bool))
def test_whole_division_cuts_towards_zero(a: int, b: int) -> None:
    row = duckdb.execute(to_duckdb(f"SELECT {a} / ({b}), {a} % ({b})")).fetchone()
    assert row == (math.trunc(a / b), int(math.fmod(a, b)))


QUERIES: list[tuple[str, list[tuple[Any, ...]]]] = [
    ("SELECT ticker, transactions / 2 FROM prices ORDER BY trade_date DESC", [("B", None), ("A", 1), ("A", 3)]),
    ("SELECT close FROM prices ORDER BY close", [(10.5,), (11.5,), (None,)]),
    ("SELECT close FROM prices ORDER BY close DESC", [(11.5,), (10.5,), (None,)]),
    ("SELECT close FROM prices ORDER BY close DESC NULLS FIRST OFFSET 1 LIMIT 1", [(11.5,)]),
    (
        (
            "WITH t AS (SELECT ticker AS name, count(*) AS n, sum(transactions) AS s FROM prices GROUP BY ticker) "
            "SELECT name, s / n FROM t WHERE n > 0 ORDER BY name"
        ),
        [("A", 4), ("B", None)],
    ),
    (
        "SELECT CAST(at_timezone(with_timezone(seen_at, 'UTC'), zone) AS TIMESTAMP) FROM prices ORDER BY trade_date",
        [(_at(2024, 6, 30, 23, 30),), (_at(2023, 12, 31, 22, 30),), (_at(2024, 7, 1, 9),)],
    ),
    ("SELECT DISTINCT ticker FROM prices WHERE close IS NOT NULL", [("A",)]),
    ("SELECT max_by(close, trade_date), min_by(close, trade_date) FROM prices", [(None, 10.5)]),
    (
        "SELECT count_if(close > 11), count(close), avg(transactions), count(DISTINCT ticker) FROM prices",
        [(1, 2, 4.5, 2)],
    ),
    ("SELECT count_if(close > 11) FROM prices WHERE close IS NULL", [(0,)]),
    ("SELECT count_if(close > 11) FROM prices WHERE ticker = 'none'", [(0,)]),
    ("SELECT array_agg(close ORDER BY trade_date) FROM prices", [([10.5, 11.5, None],)]),
    (
        "SELECT ticker, lag(close) OVER (PARTITION BY ticker ORDER BY trade_date) FROM prices ORDER BY trade_date",
        [("A", None), ("A", 10.5), ("B", None)],
    ),
    (
        (
            "SELECT sum(transactions) OVER (ORDER BY trade_date ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) / 2 "
            "FROM prices ORDER BY trade_date"
        ),
        [(3,), (4,), (1,)],
    ),
    (
        (
            "SELECT last_value(close) IGNORE NULLS OVER (ORDER BY trade_date ROWS UNBOUNDED PRECEDING) "
            "FROM prices ORDER BY trade_date"
        ),
        [(10.5,), (11.5,), (11.5,)],
    ),
    (
        (
            "SELECT sum(close) OVER (ORDER BY trade_date RANGE BETWEEN INTERVAL '1' DAY PRECEDING AND CURRENT ROW) "
            "FROM prices ORDER BY trade_date"
        ),
        [(10.5,), (22.0,), (None,)],
    ),
    (
        "SELECT ticker, grouping(ticker), count(*) FROM prices GROUP BY GROUPING SETS ((ticker), ()) ORDER BY 3, 1",
        [("B", 0, 1), ("A", 0, 2), (None, 1, 3)],
    ),
    ("SELECT ticker, count(*) FROM prices GROUP BY ROLLUP (ticker) ORDER BY 2", [("B", 1), ("A", 2), (None, 3)]),
    (
        (
            "SELECT t.word, t.n FROM (VALUES ('x y'), (NULL)) AS v (text) "
            "CROSS JOIN UNNEST(split(text, ' ')) WITH ORDINALITY AS t (word, n) ORDER BY n"
        ),
        [("x", 1), ("y", 2)],
    ),
    ("SELECT a.x FROM (VALUES 1, 2) AS a (x) LEFT JOIN (VALUES 2, 3) AS b (x) ON a.x = b.x WHERE b.x IS NULL", [(1,)]),
    ("SELECT x FROM (VALUES 1, 2) AS a (x) JOIN (VALUES 2, 3) AS b (x) USING (x)", [(2,)]),
    ("SELECT x FROM (VALUES 1, 2) AS a (x) EXCEPT SELECT 2", [(1,)]),
    ("SELECT 1 AS n UNION ALL SELECT 2 ORDER BY n DESC", [(2,), (1,)]),
    ("SELECT count(*) FROM prices p WHERE EXISTS (SELECT 1 FROM prices q WHERE q.close > p.close)", [(1,)]),
    ("SELECT ticker FROM prices WHERE close = (SELECT max(close) FROM prices)", [("A",)]),
    ("SELECT ticker FROM prices WHERE transactions IN (SELECT 7)", [("A",)]),
    ("SELECT round(close * 2) AS double_close FROM prices WHERE close > 11 ORDER BY double_close", [(23.0,)]),
    ("SELECT approx_percentile(close, 0.5) >= 10.5 FROM prices", [(True,)]),
    ("SELECT bool_and(close > 1), bool_or(close > 11) FROM prices", [(True, True)]),
    ("SELECT regr_slope(y, x), corr(y, x) FROM (VALUES (1e0, 2e0), (2e0, 4e0)) AS t (x, y)", [(2.0, 1.0)]),
    ("SELECT fee / CAST(2 AS DOUBLE) FROM prices WHERE ticker = 'A' AND transactions = 2", [(0.75,)]),
    ("SELECT sum(CASE WHEN close > 11 THEN 1 ELSE 0 END) / count(*) FROM prices", [(0,)]),
    (
        "SELECT p.trade_date + INTERVAL '1' DAY FROM prices AS p WHERE trade_date < DATE '2024-02-01'",
        [(date(2024, 2, 1),)],
    ),
    (
        "SELECT sum(close) OVER w FROM prices WINDOW w AS (PARTITION BY ticker ORDER BY trade_date) ORDER BY 1",
        [(10.5,), (22.0,), (None,)],
    ),
    ("SELECT s.* FROM (SELECT ticker, transactions / 2 AS h FROM prices) AS s WHERE s.h / 2 = 1", [("A", 3)]),
]


@pytest.mark.parametrize(("sql", "expected"), QUERIES, ids=[sql for sql, _ in QUERIES])
def test_a_query_has_athenas_rows(
    connection: duckdb.DuckDBPyConnection, sql: str, expected: list[tuple[Any, ...]]
) -> None:
    assert connection.execute(to_duckdb(sql, SCHEMA)).fetchall() == expected


REFUSED: list[tuple[str, str]] = [
    ("", "empty"),
    ("  -- nothing\n", "empty"),
    ("SELECT 1; SELECT 2", "2 statements"),
    ("SELEKT nonsense", "not"),
    ("SELECT (1", "not valid SQL"),
    ("SELECT 'a", "not valid SQL"),
    ("INSERT INTO prices SELECT * FROM prices", "begins with INSERT is not a query"),
    ("DELETE FROM prices", "begins with DELETE"),
    ("UPDATE prices SET close = 1", "begins with UPDATE"),
    ("DROP TABLE prices", "begins with DROP"),
    ("CREATE TABLE x AS SELECT 1", "begins with CREATE"),
    ("PRAGMA version", "begins with PRAGMA"),
    ("COPY prices TO 'x'", "begins with COPY"),
    ("ATTACH 'x.db'", "begins with ATTACH"),
    ("SET TimeZone = 'UTC'", "begins with SET"),
    ("INSTALL httpfs", "INSTALL"),
    ("SELECT close::INTEGER FROM prices", "CAST(x AS type)"),
    ("SELECT * FROM prices WHERE ticker == 'A'", "write ="),
    ("SELECT 7 // 2", "// is not allowed"),
    ("SELECT 2 ** 3", "power"),
    ("SELECT * FROM prices QUALIFY row_number() OVER (ORDER BY close) = 1", "QUALIFY"),
    ("SELECT ticker, count(*) FROM prices GROUP BY ALL", "GROUP BY ALL"),
    ("SELECT * FROM prices ORDER BY ALL", "ORDER BY ALL"),
    ("SELECT * EXCLUDE (close) FROM prices", "EXCLUDE"),
    ("SELECT * REPLACE (1 AS close) FROM prices", "REPLACE"),
    ("SELECT * FROM prices WHERE ticker ILIKE 'a'", "lower(x) LIKE"),
    ("FROM prices", "begins with FROM"),
    ("SELECT * FROM (FROM prices)", "begins with FROM"),
    ("SELECT [1, 2]", "ARRAY[...]"),
    ("SELECT x -> 1 FROM prices", "-> is not allowed"),
    ("SELECT transform(ARRAY[1], x -> x + 1)", "not"),
    ("SELECT reduce(ARRAY[1], 0, (s, x) -> s + x, s -> s)", "not"),
    ("SELECT {'a': 1}", "not allowed"),
    ("SELECT MAP {'a': 1}", "not"),
    ("SELECT * FROM prices USING SAMPLE 3", "SAMPLE"),
    ("SELECT * FROM prices TABLESAMPLE BERNOULLI (10)", "TABLESAMPLE"),
    ("PIVOT prices ON ticker USING sum(close)", "PIVOT"),
    ("SELECT * FROM prices ASOF JOIN raw ON prices.close >= raw.text", "ASOF"),
    ("SELECT * FROM prices POSITIONAL JOIN raw", "JOIN"),
    ("SELECT * FROM prices JOIN raw", "without a condition"),
    ("SELECT * FROM prices NATURAL JOIN raw", "NATURAL"),
    ("SELECT * FROM prices SEMI JOIN raw ON true", "SEMI"),
    ("SELECT * FROM prices ANTI JOIN raw ON true", "ANTI"),
    ("SELECT DISTINCT ON (ticker) * FROM prices", "DISTINCT ON"),
    ("SELECT * FROM 'file.csv'", "file"),
    ("SELECT * FROM 'prices'", "file"),
    ('SELECT * FROM "data/file.parquet"', "data/file.parquet"),
    ("SELECT * FROM read_csv('x')", "read_csv()"),
    ("SELECT * FROM read_parquet('x')", "read_parquet()"),
    ("SELECT * FROM range(3)", "range()"),
    ("SELECT * FROM glob('*')", "glob"),
    ("SELECT * FROM duckdb_settings()", "duckdb_settings()"),
    ("SELECT getenv('HOME')", "getenv()"),
    ("SELECT foo(1)", "foo() is not on the list of functions that run the same here and on Athena"),
    ("SELECT ifnull(1, 2)", "coalesce"),
    ("SELECT median(close) FROM prices", "approx_percentile"),
    ("SELECT list(close) FROM prices", "array_agg"),
    ("SELECT slice(ARRAY[1, 2], 1, 1)", "slice()"),
    ("SELECT string_agg(ticker, ',') FROM prices", "string_agg()"),
    ("SELECT x.len() FROM prices", "len()"),
    ("SELECT DATE '2024-01-01' + INTERVAL 1 DAY", "INTERVAL '1' DAY"),
    ("SELECT DATE '2024-01-01' + INTERVAL '1 day'", "INTERVAL '1' DAY"),
    ("SELECT DATE '2024-01-01' + INTERVAL '1' DAYS", "INTERVAL '1' DAY"),
    ("SELECT * FROM prices LIMIT 3 OFFSET 1", "OFFSET n LIMIT m"),
    ("SELECT * FROM prices LIMIT 10 PERCENT", "not"),
    ("SELECT 'a' 'b'", "||"),
    ("SELECT localtimestamp", "current_timestamp"),
    ("SELECT ticker FROM prices FOR UPDATE", "not Athena's"),
    ("SELECT 1_000", "1_000 is not allowed"),
    ("SELECT 0xFF", "not"),
    ("SELECT CAST(1 AS TEXT)", "VARCHAR"),
    ("SELECT CAST(1 AS FLOAT)", "REAL or DOUBLE"),
    ("SELECT CAST(1 AS HUGEINT)", "not allowed in a CAST"),
    ("SELECT CAST('abc' AS VARCHAR(2))", "without a length"),
    ("SELECT CAST('2024-01-01' AS TIMESTAMP WITH TIME ZONE)", "TIMESTAMP"),
    ("WITH RECURSIVE t AS (SELECT 1) SELECT * FROM t", "RECURSIVE"),
    ("WITH t AS MATERIALIZED (SELECT 1) SELECT * FROM t", "MATERIALIZED"),
    ("SELECT 1 UNION BY NAME SELECT 2", "BY NAME"),
    ("SELECT UNNEST(ARRAY[1, 2])", "CROSS JOIN UNNEST"),
    ("SELECT ARRAY[1, 2][1]", "element_at"),
    ("SELECT x: 1", "name"),
    ("SELECT ?", "parameter"),
    ("SELECT $1", "not"),
    ("SELECT a.b.c.d FROM prices", "too many parts"),
    ("SELECT * FROM one.two.three", "database.table"),
    ("SELECT * FROM prices, LATERAL (SELECT 1)", "LATERAL"),
    ("SELECT sum(close) OVER (ORDER BY close ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW) FROM prices", "EXCLUDE"),
    ("SELECT date_add('dayz', 1, DATE '2024-01-01')", "dayz"),
    ("SELECT extract(epoch FROM DATE '2024-01-01')", "epoch"),
    ("SELECT split('a b', ' ', 2)", "limit"),
    ("SELECT approx_percentile(close, ARRAY[0.5]) FROM prices", "approx_percentile(x, 0.5)"),
    ("SELECT 1 = ANY (ARRAY[1])", "contains"),
    # Meaning hangs on a type
    ("SELECT 1.0 / 3", "cast one side to DOUBLE"),
    ("SELECT fee / 2 FROM prices", "cast one side to DOUBLE"),
    ("SELECT fee / transactions FROM prices", "cast one side to DOUBLE"),
    ("SELECT a / b FROM unknown", "cast one side to DOUBLE"),
    ("SELECT avg(fee) FROM prices", "cast it to DOUBLE"),
    ("SELECT trade_date - DATE '2024-01-01' FROM prices", "date_diff"),
    ("SELECT trade_date + 1 FROM prices", "date_add"),
    ("SELECT a + INTERVAL '1' DAY FROM unknown", "CAST"),
    ("SELECT date_trunc('day', a) FROM unknown", "CAST"),
    ("SELECT trade_date + INTERVAL '1' HOUR FROM prices", "TIMESTAMP"),
    ("SELECT * FROM prices WHERE trade_date = '2024-01-31'", "write DATE '2024-01-31'"),
    ("SELECT * FROM prices WHERE '2024-01-31' <= trade_date", "write DATE '2024-01-31'"),
    ("SELECT * FROM prices WHERE trade_date BETWEEN '2024-01-31' AND '2024-02-01'", "write DATE"),
    ("SELECT * FROM prices WHERE trade_date IN ('2024-01-31')", "write DATE"),
    ("SELECT * FROM prices WHERE ticker = 5", "cannot be compared"),
    ("SELECT ticker + 1 FROM prices", "not a number"),
    ("SELECT concat(ticker, transactions) FROM prices", "CAST(x AS VARCHAR)"),
    ("SELECT CAST(close AS VARCHAR) FROM prices", "VARCHAR"),
    ("SELECT year('2024-01-01')", "CAST"),
    ("SELECT DATE '2024/01/31'", "DATE '2024-01-31'"),
    ("SELECT TIMESTAMP '2024-01-31T00:00:00'", "TIMESTAMP '2024-01-31 16:00:00'"),
    ("SELECT at_timezone(with_timezone(seen_at, 'UTC'), zone) FROM prices", "CAST it to DATE or TIMESTAMP"),
    ("SELECT seen_at AT TIME ZONE 'UTC' AS t FROM prices", "CAST it to DATE or TIMESTAMP"),
    ("SELECT close * 2 AS d, d + 1 AS e FROM prices", "alias d"),
    ("SELECT close * 2 AS d FROM prices WHERE d > 1", "alias d"),
    ("SELECT close * 2 AS d FROM prices GROUP BY d", "alias d"),
]


@pytest.mark.parametrize(("sql", "fragment"), REFUSED, ids=[sql for sql, _ in REFUSED])
def test_what_athena_does_otherwise_is_refused_with_a_sentence(sql: str, fragment: str) -> None:
    with pytest.raises(SqlNotAllowedError) as refusal:
        to_duckdb(sql, SCHEMA)
    sentence = str(refusal.value)
    assert fragment.lower() in sentence.lower()
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_a_column_that_does_not_exist_is_named_with_the_ones_that_do() -> None:
    with pytest.raises(QueryError, match=r"no column clsoe; there are ticker, trade_date, close"):
        to_duckdb("SELECT clsoe FROM prices", SCHEMA)


def test_a_query_over_tables_of_unknown_columns_is_left_to_the_engine() -> None:
    assert to_duckdb("SELECT a, b FROM somewhere WHERE c IS NULL") == "SELECT a, b FROM somewhere WHERE c IS NULL"


def test_a_quoted_text_may_hold_anything() -> None:
    sql = "SELECT '[1] :: == {x} ILIKE foo(1); -- LIMIT 1 OFFSET' AS \"Some name\""
    assert duckdb.execute(to_duckdb(sql)).fetchall() == [("[1] :: == {x} ILIKE foo(1); -- LIMIT 1 OFFSET",)]


def test_a_comment_and_one_closing_semicolon_are_fine() -> None:
    assert duckdb.execute(to_duckdb("-- which\nSELECT 1 /* one */;\n")).fetchall() == [(1,)]


def test_translating_leaves_the_parsed_query_as_it_was() -> None:
    query = parse("SELECT 7 / 2, trim(ticker) FROM prices")
    before = query.sql("athena")
    to_duckdb(query, SCHEMA)
    assert query.sql("athena") == before


def test_order_of_nulls_is_written_out_so_that_no_setting_decides_it(connection: duckdb.DuckDBPyConnection) -> None:
    other = connection.cursor()
    other.execute("SET default_null_order = 'nulls_first'")
    rows = other.execute(to_duckdb("SELECT close FROM prices ORDER BY close DESC", SCHEMA)).fetchall()
    assert rows[-1] == (None,)
    other.execute("RESET default_null_order")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", []),
        ("SELECT * FROM b JOIN other.a ON b.x = a.x WHERE x IN (SELECT x FROM c) AND y IN (SELECT y FROM b)",
         [(None, "b"), ("other", "a"), (None, "c")]),
        ("WITH a AS (SELECT * FROM base), b AS (SELECT * FROM a) SELECT * FROM b", [(None, "base")]),
        ("WITH a AS (SELECT * FROM a) SELECT * FROM a", [(None, "a")]),
        ("WITH a AS (SELECT 1) SELECT * FROM stock.a", [("stock", "a")]),
        ("SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) AS x, a", [(None, "a")]),
        ("SELECT * FROM Prices UNION ALL SELECT * FROM PRICES", [(None, "prices")]),
    ],
)  # fmt: skip
def test_tables_are_found_and_names_of_with_are_not(sql: str, expected: list[tuple[str | None, str]]) -> None:
    assert table_references(parse(sql)) == expected


def _sentence(run: Callable[[], object]) -> str:
    try:
        run()
    except QueryError as refusal:
        return str(refusal)
    return "Nothing was refused."


WORDS = (
    "SELECT",
    "FROM",
    "a",
    "b",
    "(",
    ")",
    ",",
    "*",
    "1",
    "'x'",
    "=",
    "AS",
    "JOIN",
    "ON",
    "WITH",
    "LIMIT",
    "OVER",
    "[",
)


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused_with_a_sentence(text: str) -> None:
    assert _sentence(lambda: parse(text)).endswith(".")


@given(st.lists(st.sampled_from(WORDS), max_size=12))
def test_any_words_of_sql_are_parsed_or_refused_with_a_sentence(words: list[str]) -> None:
    assert _sentence(lambda: to_duckdb(" ".join(words))).endswith(".")
