"""What is wrong with a raw file is found before it is typed, and only the bad days are named."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any, cast

import pytest

from stock_weather_pipeline.datasets import STOCK_PRICES, STOCK_SPLITS, WEATHER
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Layer, external_table
from stock_weather_pipeline.layers import catalog
from stock_weather_pipeline.partitions import sessions
from stock_weather_pipeline_tests.lakes import bar, land_prices, put_csv

if TYPE_CHECKING:
    import pyarrow as pa

    from stock_weather_pipeline.lake.interfaces import Engine

DAY = date(2024, 1, 8)
RAW = external_table(STOCK_PRICES, Layer.RAW)
HEADER = "ticker,trade_date,open,high,low,close,volume,vwap,transactions"
ROW = "NVDA,2024-01-08,10,12,9,11,1000,10.5,5"
AGAIN = "materialize raw/stock_prices for it again"


@dataclass
class CountingEngine:
    """An engine that counts its queries."""

    engine: Engine
    queries: list[str] = field(default_factory=list)

    def query(self, sql: str) -> pa.Table:
        self.queries.append(sql)
        return self.engine.query(sql)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


def counting(lake: Lake) -> tuple[Lake, list[str]]:
    """The lake with an engine that counts, and the queries it is asked."""
    engine = CountingEngine(lake.engine)
    return replace(lake, engine=cast("Engine", engine)), engine.queries


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, f"{{where}} is missing: {AGAIN}"),
        ("", f"{{where}} is empty: {AGAIN}"),
        ("\n\n", f"{{where}} is empty: {AGAIN}"),
        (f"{HEADER}\n", f"{{where}} has no rows: {AGAIN}"),
        (
            f"{HEADER.replace('open', 'o')}\n{ROW}\n",
            f"the header of {{where}} differs from the contract: open is missing, 'o' is not in the contract; {AGAIN}",
        ),
        (
            f"{HEADER},otc\n{ROW},1\n",
            f"the header of {{where}} differs from the contract: 'otc' is not in the contract; {AGAIN}",
        ),
        (
            f"{HEADER.removesuffix(',transactions')}\n{ROW.removesuffix(',5')}\n",
            f"the header of {{where}} differs from the contract: transactions is missing; {AGAIN}",
        ),
        (
            f"{HEADER.replace('open,high', 'high,open')}\n{ROW}\n",
            f"the header of {{where}} differs from the contract: the columns stand in another order; {AGAIN}",
        ),
        (
            f"\ufeff{HEADER}\n{ROW}\n",
            f"{{where}} begins with a byte order mark: save it as UTF-8 without one, or {AGAIN}",
        ),
        (
            f"{HEADER}\r\n{ROW}\r\n",
            f"{{where}} has Windows line ends (CRLF): save it with line feeds only, or {AGAIN}",
        ),
    ],
    ids=["missing", "empty", "blank", "header only", "renamed", "added", "removed", "reordered", "BOM", "CRLF"],
)
def test_a_file_that_does_not_fit_is_told_in_one_sentence(lake: Lake, content: str | None, sentence: str) -> None:
    catalog.register(lake, STOCK_PRICES)
    if content is not None:
        lake.objects.write(RAW.key(DAY), content.encode())
    assert catalog.problems(lake, STOCK_PRICES, [DAY]) == {DAY: sentence.format(where=lake.objects.uri(RAW.key(DAY)))}


@pytest.mark.parametrize(
    "content",
    [
        f'{HEADER}\n{ROW}\n"NVDA,2024-01-08,10,12,9,11,1000,10.5,5\n',
        f"{HEADER}\n{ROW},6\n",
        f"{HEADER}\n{ROW}\nNVDA,2024-01-08\n",
        f"{HEADER}\n{ROW}\n".encode() + b"N\xffDA,2024-01-08,10,12,9,11,1000,10.5,5\n",
    ],
    ids=["unbalanced quote", "too many fields", "too few fields", "not UTF-8"],
)
def test_rows_that_cannot_be_parsed_are_told_with_the_file(lake: Lake, content: str | bytes) -> None:
    catalog.register(lake, STOCK_PRICES)
    lake.objects.write(RAW.key(DAY), content if isinstance(content, bytes) else content.encode())
    found = catalog.problems(lake, STOCK_PRICES, [DAY])
    assert found[DAY].startswith(f"{lake.objects.uri(RAW.key(DAY))} cannot be parsed as CSV (")
    assert found[DAY].endswith(f"): {AGAIN}")


@pytest.mark.parametrize("header", [b"\xff\xfe", b'"open', b'"a"b,c'])
def test_a_header_that_cannot_be_read_is_told(lake: Lake, header: bytes) -> None:
    catalog.register(lake, STOCK_PRICES)
    lake.objects.write(RAW.key(DAY), header + b"\n1\n")
    assert "has no readable header (" in catalog.problems(lake, STOCK_PRICES, [DAY])[DAY]


def test_a_quoted_header_and_a_last_line_without_its_end_are_fine(lake: Lake) -> None:
    catalog.register(lake, STOCK_PRICES)
    quoted = ",".join(f'"{name}"' for name in HEADER.split(","))
    lake.objects.write(RAW.key(DAY), f"{quoted}\n{ROW}".encode())
    assert catalog.problems(lake, STOCK_PRICES, [DAY]) == {}
    assert catalog.rows_per_day(lake, STOCK_PRICES, [DAY]) == {DAY: 1}


def test_halving_finds_exactly_the_bad_days_in_few_queries(lake: Lake) -> None:
    days = sessions(date(2024, 1, 2), date(2024, 2, 15))[:32]
    land_prices(lake, days)
    catalog.register(lake, STOCK_PRICES)
    bad = {days[3], days[20]}
    for day in bad:
        lake.objects.write(RAW.key(day), f'{HEADER}\n{ROW}\n"open'.encode())
    lake.objects.write(RAW.key(days[9]), b"")
    counted, queries = counting(lake)
    found = catalog.problems(counted, STOCK_PRICES, days)
    assert set(found) == {*bad, days[9]}
    assert len(queries) <= 2 * 2 * 5 + 1
    good = [day for day in days if day not in found]
    assert catalog.rows_per_day(lake, STOCK_PRICES, good) == dict.fromkeys(good, 1)


def test_good_days_cost_one_query(lake: Lake) -> None:
    days = sessions(date(2024, 1, 2), date(2024, 1, 31))
    land_prices(lake, days)
    catalog.register(lake, STOCK_PRICES)
    counted, queries = counting(lake)
    assert catalog.problems(counted, STOCK_PRICES, days) == {}
    assert len(queries) == 1


def test_a_list_that_may_be_empty_is_no_problem(lake: Lake) -> None:
    catalog.register(lake, STOCK_SPLITS)
    put_csv(lake, STOCK_SPLITS, None, [])
    assert catalog.problems(lake, STOCK_SPLITS, [None]) == {}
    assert catalog.rows_per_day(lake, STOCK_SPLITS, [None]) == {}


def test_registering_makes_a_table_for_every_layer_and_touches_no_data(lake: Lake) -> None:
    put_csv(lake, STOCK_PRICES, DAY, [bar(DAY)])
    before = lake.objects.list("raw/")
    for _ in range(2):
        catalog.register(lake, STOCK_PRICES)
        catalog.register(lake, WEATHER)
    for layer in Layer:
        assert lake.catalog.names(layer.database) == ["stock_prices", "weather"]
    assert lake.objects.list("raw/") == before
    assert catalog.rows_per_day(lake, STOCK_PRICES, []) == {}
