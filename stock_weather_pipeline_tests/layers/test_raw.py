"""Landing: the same rows give the same bytes, and nothing that was landed is ever lost."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from stock_weather_pipeline.datasets import LOCATIONS, STOCK_PRICES, STOCK_SPLITS
from stock_weather_pipeline.errors import LakeError, PermanentSourceError, TransientSourceError
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Layer, external_table, superseded_key
from stock_weather_pipeline.layers import catalog
from stock_weather_pipeline.layers.raw import Landing, csv_bytes, land, land_snapshot
from stock_weather_pipeline.sources.base import Snapshot
from stock_weather_pipeline.sources.tables import Fetched
from stock_weather_pipeline_tests.lakes import Row, bar, fetched, local_lake

FRIDAY, MONDAY, TUESDAY = date(2024, 1, 12), date(2024, 1, 15), date(2024, 1, 16)
WEDNESDAY = date(2024, 1, 17)
RAW = external_table(STOCK_PRICES, Layer.RAW)
QUARANTINE = external_table(STOCK_PRICES, Layer.QUARANTINE)
HEADER = "ticker,trade_date,open,high,low,close,volume,vwap,transactions\n"


def put(
    lake: Lake,
    *rows: Row,
    asked: list[str] | None = None,
    days: tuple[date, ...] = (FRIDAY, TUESDAY),
    last: date = TUESDAY,
) -> Landing:
    return land(lake, STOCK_PRICES, days, [fetched(STOCK_PRICES, rows, FRIDAY, last)], asked)


def text(lake: Lake, day: date) -> str:
    return lake.objects.read(RAW.key(day)).decode()


def tickers(lake: Lake, day: date) -> list[str]:
    return [line.split(",")[0] for line in text(lake, day).splitlines()[1:]]


def stored(lake: Lake, prefix: str) -> dict[str, str]:
    return {item.key: item.version for item in lake.objects.list(prefix)}


def test_a_file_holds_the_values_as_the_vendor_sent_them(lake: Lake) -> None:
    landing = put(lake, bar(FRIDAY, volume="4.3E+07", vwap=None, open=" 010.50"))
    assert text(lake, FRIDAY) == f"{HEADER}NVDA,2024-01-12, 010.50,12,9,11,4.3E+07,,1200\n"
    landed = landing.days[FRIDAY]
    data = lake.objects.read(RAW.key(FRIDAY))
    assert (landed.key, landed.rows, landed.size_bytes) == (RAW.key(FRIDAY), 1, len(data))
    assert (landed.changed, landed.replaced_sha256, landed.entities) == (True, None, 1)
    assert landed.sha256 == hashlib.sha256(data).hexdigest()
    assert (landing.calls, landing.entities, landing.interruption) == (1, {"NVDA"}, None)


@pytest.mark.parametrize("seed", range(4))
def test_bytes_do_not_depend_on_the_order_in_which_rows_come(tmp_path: Path, seed: int) -> None:
    rows = [bar(day, ticker, close=close) for day in (TUESDAY, FRIDAY) for ticker in "CAB" for close in ("11", "10")]
    shuffled = random.Random(seed).sample(rows, len(rows))
    one, other = local_lake(tmp_path / "one"), local_lake(tmp_path / "other")
    put(one, *rows)
    put(other, *shuffled)
    for day in (FRIDAY, TUESDAY):
        assert text(one, day) == text(other, day)
        assert tickers(one, day) == list("AABBCC")


def test_the_same_rows_again_change_nothing(lake: Lake) -> None:
    rows = [bar(FRIDAY, "B"), bar(FRIDAY, "A"), bar(MONDAY), bar(TUESDAY, close='1,"0')]
    put(lake, *rows)
    before = {**stored(lake, "raw/"), **stored(lake, "superseded/")}
    landing = put(lake, *reversed(rows), asked=["A", "B", "NVDA"])
    assert {**stored(lake, "raw/"), **stored(lake, "superseded/")} == before
    assert [landed.changed for landed in landing.days.values()] == [False, False]
    assert [landed.replaced_sha256 for landed in landing.days.values()] == [None, None]


def test_a_changed_day_keeps_the_file_it_supersedes(lake: Lake) -> None:
    put(lake, bar(FRIDAY, close="11"), bar(TUESDAY))
    first = lake.objects.read(RAW.key(FRIDAY))
    second = put(lake, bar(FRIDAY, close="11.5"), bar(TUESDAY)).days
    third = put(lake, bar(FRIDAY, close="11.7"), bar(TUESDAY)).days
    assert second[FRIDAY].replaced_sha256 == hashlib.sha256(first).hexdigest()
    assert (second[FRIDAY].changed, second[TUESDAY].changed) == (True, False)
    kept = [superseded_key(STOCK_PRICES, FRIDAY, str(days[FRIDAY].replaced_sha256)) for days in (second, third)]
    assert sorted(stored(lake, "superseded/")) == sorted(kept)
    assert lake.objects.read(kept[0]) == first
    assert b",11.5," in lake.objects.read(kept[1])
    assert ",11.7," in text(lake, FRIDAY)


def test_only_asked_tickers_are_replaced(lake: Lake) -> None:
    put(lake, bar(FRIDAY, "AAPL"), bar(FRIDAY, "MSFT"), bar(FRIDAY, "NVDA"))
    landed = put(lake, bar(FRIDAY, "NVDA", close="11.5"), bar(FRIDAY, "AMD"), asked=["NVDA", "AMD", "MSFT"])
    # MSFT was asked for and the vendor has no row of it any more.
    assert tickers(lake, FRIDAY) == ["AAPL", "AMD", "NVDA"]
    assert "NVDA,2024-01-12,10.5,12,9,11.5," in text(lake, FRIDAY)
    assert (landed.days[FRIDAY].rows, landed.days[FRIDAY].entities) == (3, 3)


def test_a_row_of_a_ticker_nobody_asked_for_does_not_pile_up(lake: Lake) -> None:
    put(lake, bar(FRIDAY, "NVDA"), bar(FRIDAY, "X", close="10"), asked=["NVDA"])
    put(lake, bar(FRIDAY, "NVDA"), bar(FRIDAY, "X", close="11"), asked=["NVDA"])
    assert tickers(lake, FRIDAY) == ["NVDA", "X"]


def test_without_asked_tickers_the_whole_day_is_replaced(lake: Lake) -> None:
    put(lake, bar(FRIDAY, "AAPL"), bar(FRIDAY, "NVDA"))
    put(lake, bar(FRIDAY, "NVDA"))
    assert tickers(lake, FRIDAY) == ["NVDA"]


@pytest.mark.parametrize("content", [b"", b"ticker,close\nAAPL,1\n", b'"unbalanced\n', b"\xff\xfe\x00"])
def test_a_file_damaged_by_hand_is_superseded_not_merged(lake: Lake, content: bytes) -> None:
    lake.objects.write(RAW.key(FRIDAY), content)
    landed = put(lake, bar(FRIDAY), asked=["NVDA"]).days[FRIDAY]
    assert tickers(lake, FRIDAY) == ["NVDA"]
    assert lake.objects.read(superseded_key(STOCK_PRICES, FRIDAY, str(landed.replaced_sha256))) == content


def test_a_day_without_rows_is_left_out_and_its_file_stays(lake: Lake) -> None:
    put(lake, bar(FRIDAY), bar(TUESDAY))
    before = text(lake, TUESDAY)
    assert list(put(lake, bar(FRIDAY)).days) == [FRIDAY]
    assert text(lake, TUESDAY) == before


def test_a_session_that_nobody_wanted_is_not_landed(lake: Lake) -> None:
    landing = put(lake, bar(FRIDAY), bar(TUESDAY), days=(FRIDAY,))
    assert (list(landing.days), landing.set_aside) == ([FRIDAY], {})
    assert list(stored(lake, "raw/")) == [RAW.key(FRIDAY)]


def test_rows_of_a_holiday_go_to_quarantine_and_leave_when_the_vendor_corrects_them(lake: Lake) -> None:
    saturday = date(2024, 1, 13)
    landing = put(lake, bar(FRIDAY), bar(saturday), bar(MONDAY, "A", close='1,"0'), bar(MONDAY, "B"), bar(TUESDAY))
    assert landing.set_aside == {saturday: 1, MONDAY: 2}
    assert set(landing.days) == {FRIDAY, TUESDAY}
    sql = "SELECT ticker, close, reason, day FROM stock_weather_quarantine.stock_prices ORDER BY day, ticker"
    sentence = "the vendor sent a row for a day that is not a NYSE session: "
    assert lake.rows(sql) == [
        {"ticker": "NVDA", "close": "11", "reason": f"{sentence}Saturday 2024-01-13", "day": "13"},
        {"ticker": "A", "close": '1,"0', "reason": f"{sentence}Monday 2024-01-15", "day": "15"},
        {"ticker": "B", "close": "11", "reason": f"{sentence}Monday 2024-01-15", "day": "15"},
    ]
    # A fetch of other days says nothing about this one.
    land(lake, STOCK_PRICES, [WEDNESDAY], [fetched(STOCK_PRICES, [bar(WEDNESDAY)], WEDNESDAY, WEDNESDAY)], None)
    assert len(lake.rows(sql)) == 3
    put(lake, bar(FRIDAY), bar(MONDAY, "B"), bar(TUESDAY))
    assert [(row["ticker"], row["day"]) for row in lake.rows(sql)] == [("B", "15")]
    put(lake, bar(FRIDAY), bar(TUESDAY))
    assert lake.rows(sql) == []
    assert stored(lake, "quarantine/") == {}


def test_quarantined_rows_of_sessions_are_the_typings_and_stay(lake: Lake) -> None:
    put(lake, bar(FRIDAY))
    lake.objects.write(QUARANTINE.key(FRIDAY), b"the typing's")
    put(lake, bar(FRIDAY))
    assert lake.objects.read(QUARANTINE.key(FRIDAY)) == b"the typing's"


@pytest.mark.parametrize("kind", [TransientSourceError, PermanentSourceError])
def test_what_came_before_an_interruption_stays(lake: Lake, kind: type[TransientSourceError]) -> None:
    def chunks() -> Iterator[Fetched]:
        yield fetched(STOCK_PRICES, [bar(FRIDAY)], FRIDAY, FRIDAY)
        raise kind("The vendor is down.")

    landing = land(lake, STOCK_PRICES, [FRIDAY, TUESDAY], chunks(), None)
    assert list(landing.days) == [FRIDAY]
    assert tickers(lake, FRIDAY) == ["NVDA"]
    assert str(landing.interruption) == "The vendor is down."


def test_a_failure_of_the_lake_is_no_interruption(lake: Lake) -> None:
    def chunks() -> Iterator[Fetched]:
        raise LakeError("The disk is full.")
        yield

    with pytest.raises(LakeError, match="The disk is full"):
        land(lake, STOCK_PRICES, [FRIDAY], chunks(), None)


def test_simulated_and_real_rows_never_mix(lake: Lake) -> None:
    put(lake, bar(FRIDAY))
    before = stored(lake, "")
    chunk = fetched(STOCK_PRICES, [bar(FRIDAY, close="1")], FRIDAY, FRIDAY)
    simulated = Fetched(chunk.first, chunk.last, chunk.table, 1, True)
    with pytest.raises(LakeError, match="holds vendor data and the source sent simulated data, which must not mix"):
        land(lake, STOCK_PRICES, [FRIDAY], [simulated], None)
    assert stored(lake, "") == before


TRICKY = ["a,b", 'say "hi"', "two\nlines", "\r", "a\r\nb", '"', '""', ",", "'", "\x00", "a\x00b", "\t", "\ufeff", "é"]


@pytest.mark.parametrize("value", TRICKY, ids=repr)
def test_every_value_survives_landing_merging_and_reading(lake: Lake, value: str) -> None:
    put(lake, bar(FRIDAY, "NVDA", open=value, close=value), bar(FRIDAY, "AAPL"))
    put(lake, bar(FRIDAY, "AAPL", close="12"), asked=["AAPL"])
    catalog.register(lake, STOCK_PRICES)
    rows = lake.rows("SELECT ticker, open, close FROM stock_weather_raw.stock_prices ORDER BY ticker")
    assert rows == [
        {"ticker": "AAPL", "open": "10.5", "close": "12"},
        {"ticker": "NVDA", "open": value, "close": value},
    ]


def test_values_are_quoted_only_in_a_file_that_needs_it() -> None:
    schema = pa.schema([("a", pa.string()), ("b", pa.string())])
    assert csv_bytes(pa.table({"a": ["x"], "b": [None]}, schema=schema)) == b"a,b\nx,\n"
    assert csv_bytes(pa.table({"a": ["x,y"], "b": [None]}, schema=schema)) == b'"a","b"\n"x,y",\n'


def test_a_dataset_without_days_is_landed_whole(lake: Lake) -> None:
    names = ["location", "latitude", "longitude", "elevation_m", "time_zone", "headquarters_of"]
    place = {"latitude": "1", "longitude": "2", "elevation_m": "3", "time_zone": "America/New_York"}
    rows = [{"location": "X", **place}, {"location": "A", **place, "headquarters_of": "NVDA AMD"}]

    def snapshot(*places: dict[str, str]) -> Snapshot:
        return Snapshot({name: [place.get(name) for place in places] for name in names}, 0, None)

    landed = land_snapshot(lake, LOCATIONS, snapshot(*rows)).days[None]
    assert landed.key == "raw/locations/locations.csv"
    assert lake.objects.read(landed.key).decode().splitlines() == [
        ",".join(names),
        "A,1,2,3,America/New_York,NVDA AMD",
        "X,1,2,3,America/New_York,",
    ]
    assert not land_snapshot(lake, LOCATIONS, snapshot(*reversed(rows))).days[None].changed
    assert land_snapshot(lake, LOCATIONS, snapshot(rows[0])).days[None].replaced_sha256


def test_a_list_of_splits_may_be_empty_and_says_whose_data_it_is(lake: Lake) -> None:
    empty: dict[str, list[str]] = {name: [] for name in STOCK_SPLITS.column_names}
    landing = land_snapshot(lake, STOCK_SPLITS, Snapshot(empty, 3, True))
    assert (landing.calls, landing.days[None].rows) == (3, 0)
    assert lake.objects.read("raw/stock_splits/stock_splits.csv") == b"ticker,execution_date,split_from,split_to\n"
    with pytest.raises(LakeError, match="which must not mix"):
        land_snapshot(lake, STOCK_SPLITS, Snapshot(empty, 3, False))
