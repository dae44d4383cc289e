from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stock_weather_pipeline.datasets import STOCK_PRICES, WEATHER, Dataset
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Layer, external_table
from stock_weather_pipeline.layers import coverage
from stock_weather_pipeline.layers.landing import Arrival, Taking, arrivals, read_contents, reject, take
from stock_weather_pipeline.layers.raw import land
from stock_weather_pipeline.sources.base import PARTITION_DAY
from stock_weather_pipeline_tests.lakes import bar, fetched, hours, local_lake

START = date(2024, 1, 2)
NOW = datetime(2024, 3, 13, 12, tzinfo=timezone.utc)
MONDAY, TUESDAY = date(2024, 3, 11), date(2024, 3, 12)


def _record(day: date, ticker: str = "NVDA", **values: Any) -> dict[str, Any]:
    row = {name: value for name, value in bar(day, ticker).items() if name != PARTITION_DAY}
    return {**row, **values}


def _put(lake: Lake, name: str, data: str | bytes, dataset: Dataset = STOCK_PRICES) -> str:
    key = f"landing/{dataset.name}/{name}"
    lake.objects.write(key, data.encode() if isinstance(data, str) else data)
    return key


def _take(lake: Lake, dataset: Dataset = STOCK_PRICES, *, settled: bool = False, now: datetime = NOW) -> Taking:
    objects = [Arrival(item.key, item.version, settled) for item in arrivals(lake, dataset)]
    return take(lake, dataset, objects, START, False, now)


def _raw(lake: Lake, day: date, dataset: Dataset = STOCK_PRICES) -> list[str]:
    return lake.objects.read(external_table(dataset, Layer.RAW).key(day)).decode().splitlines()[1:]


def _keys(lake: Lake, prefix: str) -> list[str]:
    return [item.key for item in lake.objects.list(prefix)]


def _reasons(lake: Lake) -> list[str]:
    notes = [key for key in _keys(lake, "landing_rejected/") if key.endswith(".reason.json")]
    return [record["reason"] for key in notes for record in json.loads(lake.objects.read(key))["records"]]


@pytest.mark.parametrize("joint", ["", "\n", "\n\n", " \r\n"])
@pytest.mark.parametrize("zipped", [False, True])
def test_records_of_several_days_in_one_object_reach_the_raw_files_of_their_days(
    lake: Lake, joint: str, zipped: bool
) -> None:
    text = joint.join(json.dumps(_record(day, dataset="stock_prices")) for day in (TUESDAY, MONDAY, TUESDAY))
    key = _put(lake, "2024/03/a", gzip.compress(text.encode()) if zipped else text)
    taking = _take(lake)
    assert sorted(taking.days) == [MONDAY, TUESDAY]
    assert taking.taken == [key]
    for day in (MONDAY, TUESDAY):
        assert _raw(lake, day) == [f"NVDA,{day},10.5,12,9,11,1.5e6,10.7,1200"]
    assert _keys(lake, "landing/") == []
    (taken,) = _keys(lake, "landing_taken/")
    assert taken.startswith("landing_taken/stock_prices/2024/03/a.")


def test_landed_rows_have_the_bytes_that_a_fetch_of_them_has(tmp_path: Path) -> None:
    landed, pulled = local_lake(tmp_path / "landed"), local_lake(tmp_path / "pulled")
    text = '{"ticker":"NVDA","trade_date":"2024-03-11","open":10.50,"high":12,"low":9.0,"close":1e1,"volume":7}'
    _put(landed, "a", text)
    _take(landed)
    row = bar(MONDAY, open="10.50", low="9.0", close="1e1", volume="7", vwap=None, transactions=None)
    land(pulled, STOCK_PRICES, [MONDAY], [fetched(STOCK_PRICES, [row], MONDAY, MONDAY)], None)
    assert _raw(landed, MONDAY) == _raw(pulled, MONDAY)


def test_a_plain_csv_put_by_hand_is_taken(lake: Lake) -> None:
    header = ",".join(STOCK_PRICES.column_names)
    _put(lake, "by hand.csv", f"{header}\nNVDA,2024-03-11,1,2,1,2,5,,\nAMD,2024-03-12,1,2,1,2,5,,3\n")
    assert _take(lake).records == 2
    assert _raw(lake, MONDAY) == ["NVDA,2024-03-11,1,2,1,2,5,,"]
    assert _raw(lake, TUESDAY) == ["AMD,2024-03-12,1,2,1,2,5,,3"]


def test_rows_of_other_keys_are_kept_and_the_superseded_file_too(lake: Lake) -> None:
    rows = [bar(MONDAY), bar(MONDAY, "AMD")]
    land(lake, STOCK_PRICES, [MONDAY], [fetched(STOCK_PRICES, rows, MONDAY, MONDAY)], None)
    _put(lake, "a", json.dumps(_record(MONDAY, close=11.5)))
    landed = _take(lake).days[MONDAY]
    assert [line.split(",")[:6] for line in _raw(lake, MONDAY)] == [
        ["AMD", "2024-03-11", "10.5", "12", "9", "11"],
        ["NVDA", "2024-03-11", "10.5", "12", "9", "11.5"],
    ]
    assert landed.changed
    assert landed.replaced_sha256 is not None
    assert landed.replaced_sha256[:16] in _keys(lake, "superseded/")[0]


def test_the_same_records_again_change_nothing(lake: Lake) -> None:
    _put(lake, "a", json.dumps(_record(MONDAY)))
    first = _take(lake).days[MONDAY]
    _put(lake, "b", json.dumps(_record(MONDAY)))
    again = _take(lake).days[MONDAY]
    assert first.changed
    assert not again.changed
    assert again.sha256 == first.sha256


def _fetched_close(hour: int) -> str:
    return json.dumps(_record(MONDAY, close=100 + hour, fetched_at=f"2024-03-12T{hour:02}:00:00Z"))


@settings(max_examples=15)
@given(order=st.permutations(range(5)), cuts=st.sets(st.integers(1, 4)))
def test_the_newest_record_wins_in_whatever_order_and_batches_objects_come(
    tmp_path_factory: pytest.TempPathFactory, order: Sequence[int], cuts: set[int]
) -> None:
    lake = local_lake(tmp_path_factory.mktemp("lake"))
    for n, hour in enumerate(order):
        _put(lake, f"{random.Random(hour).random()}", _fetched_close(hour))
        if n in cuts:
            _take(lake)
    _take(lake)
    assert [line.split(",")[5] for line in _raw(lake, MONDAY)] == ["104"]
    assert len(_keys(lake, "landing_taken/")) == 5


def test_of_records_without_a_time_the_one_taken_last_wins(lake: Lake) -> None:
    _put(lake, "z.json", json.dumps(_record(MONDAY, close=1)))
    _take(lake)
    _put(lake, "correction.json", json.dumps(_record(MONDAY, close=2)))
    _take(lake, now=datetime(2024, 3, 13, 13, tzinfo=timezone.utc))
    assert [line.split(",")[5] for line in _raw(lake, MONDAY)] == ["2"]


def test_garbage_between_good_records_is_set_aside_with_its_reason(lake: Lake) -> None:
    good = json.dumps(_record(MONDAY))
    wrong = [
        "%% garbage %%",
        json.dumps(_record(date(2024, 3, 10))),
        json.dumps(_record(MONDAY, colour="red")),
        json.dumps(_record(MONDAY, dataset="weather")),
        json.dumps(_record(MONDAY) | {"simulated": True}),
        json.dumps(_record(MONDAY) | {"ticker": None}),
        json.dumps(_record(MONDAY, close=[1])),
        json.dumps(_record(MONDAY, trade_date="yesterday")),
        json.dumps(_record(date(2023, 3, 10))),
        json.dumps(_record(date(2031, 3, 10))),
        "[1]",
    ]
    key = _put(lake, "a", "\n".join([good, *wrong, json.dumps(_record(TUESDAY))]) + "\n")
    taking = _take(lake)
    assert sorted(taking.days) == [MONDAY, TUESDAY]
    assert "11 of its records" in taking.rejected[key]
    for reason, words in zip(
        _reasons(lake),
        [
            "no JSON",
            "Sunday 2024-03-10 is not a NYSE session",
            "colour is not in the contract",
            "a record of weather",
            "simulated data, and this lake holds data of the vendors",
            "ticker is missing",
            "close is neither text nor a number",
            "not written like 2024-03-10",
            "before the first partition 2024-01-02",
            "in the future",
            "no JSON object",
        ],
        strict=True,
    ):
        assert words in reason


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe\x00junk",
        b"",
        b"hello",
        gzip.compress(b'{"ticker": "NVDA"}', mtime=0)[:-9],
        b"ticker,price\nNVDA,1\n",
        b"null",
    ],
    ids=["binary", "empty", "text", "cut gzip", "other columns", "null"],
)
def test_an_object_that_cannot_be_read_goes_to_the_rejected_ones_once_it_has_settled(lake: Lake, data: bytes) -> None:
    key = _put(lake, "a", data)
    assert _take(lake).taken == []
    taking = _take(lake, settled=True)
    assert _keys(lake, "landing/") == []
    assert len(_keys(lake, "landing_rejected/")) == 2
    assert len(_reasons(lake)) == 1
    assert taking.rejected.get(key) or _reasons(lake)
    assert _keys(lake, "raw/") == []


@pytest.mark.parametrize("zipped", [False, True])
def test_a_half_written_object_is_left_until_it_has_settled(lake: Lake, zipped: bool) -> None:
    whole = json.dumps(_record(MONDAY)) + json.dumps(_record(TUESDAY))
    data = gzip.compress(whole.encode()) if zipped else whole.encode()
    key = _put(lake, "a", data[:-20])
    assert list(_take(lake).left) == [key]
    assert _keys(lake, "raw/") == []
    _put(lake, "a", data)
    assert sorted(_take(lake).days) == [MONDAY, TUESDAY]


def test_of_a_settled_half_written_object_the_whole_records_are_taken(lake: Lake) -> None:
    _put(lake, "a", (json.dumps(_record(MONDAY)) + json.dumps(_record(TUESDAY)))[:-20])
    assert list(_take(lake, settled=True).days) == [MONDAY]
    assert len(_reasons(lake)) == 1


def test_an_object_that_changed_since_it_was_listed_is_left(lake: Lake) -> None:
    key = _put(lake, "a", json.dumps(_record(MONDAY)))
    listed = [Arrival(item.key, item.version, True) for item in arrivals(lake, STOCK_PRICES)]
    _put(lake, "a", json.dumps(_record(TUESDAY)))
    assert take(lake, STOCK_PRICES, listed, START, False, NOW).left == {key: "it is being written"}
    assert list(_take(lake).days) == [TUESDAY]


def test_an_object_of_a_day_that_is_not_over_waits_for_midnight_in_new_york(lake: Lake) -> None:
    key = _put(lake, "a", json.dumps(_record(TUESDAY)))
    evening = datetime(2024, 3, 13, 3, 59, tzinfo=timezone.utc)
    assert "not over in New York" in _take(lake, now=evening).left[key]
    assert list(_take(lake, now=datetime(2024, 3, 13, 4, 1, tzinfo=timezone.utc)).days) == [TUESDAY]


def test_a_late_record_never_replaces_a_row_that_was_fetched_after_it(lake: Lake) -> None:
    rows = [bar(MONDAY), bar(MONDAY, "AMD")]
    land(lake, STOCK_PRICES, [MONDAY], [fetched(STOCK_PRICES, rows, MONDAY, MONDAY)], ["NVDA"])
    before = _raw(lake, MONDAY)
    old = "2024-03-12T05:00:00Z"
    _put(lake, "late", json.dumps(_record(MONDAY, close=99, fetched_at=old)))
    assert _take(lake).days == {}
    assert _raw(lake, MONDAY) == before
    # Nobody fetched AMD on that day, nor NVDA on another one; and what is newer than the fetch replaces.
    _put(lake, "other", json.dumps(_record(MONDAY, "AMD", close=98, fetched_at=old)))
    _put(lake, "another day", json.dumps(_record(TUESDAY, close=97, fetched_at=old)))
    _take(lake)
    assert [line.split(",")[5] for line in _raw(lake, MONDAY)] == ["98", "11"]
    assert [line.split(",")[5] for line in _raw(lake, TUESDAY)] == ["97"]
    _put(lake, "newer", json.dumps(_record(MONDAY, close=96, fetched_at="2124-01-01T00:00:00Z")))
    _take(lake)
    assert [line.split(",")[5] for line in _raw(lake, MONDAY)] == ["98", "96"]


def test_a_late_record_adds_the_row_that_the_vendor_did_not_have(lake: Lake) -> None:
    land(lake, STOCK_PRICES, [MONDAY], [fetched(STOCK_PRICES, [bar(MONDAY)], MONDAY, MONDAY)], None)
    _put(lake, "late", json.dumps(_record(MONDAY, "AMD", fetched_at="2024-03-12T05:00:00Z")))
    _take(lake)
    assert [line.split(",")[0] for line in _raw(lake, MONDAY)] == ["AMD", "NVDA"]


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("survived", range(9))
def test_a_kill_at_any_write_or_delete_loses_nothing_and_takes_nothing_twice(
    lake: Lake, survived: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(lake, "a", json.dumps(_record(MONDAY)) + "junk\n")
    _put(lake, "b", json.dumps(_record(TUESDAY)))
    left = [survived]

    def dying(change: Any) -> Any:
        def once(*arguments: Any) -> None:
            if left[0] == 0:
                raise _Killed
            left[0] -= 1
            change(*arguments)

        return once

    with monkeypatch.context() as patch:
        patch.setattr(lake.objects, "write", dying(lake.objects.write))
        patch.setattr(lake.objects, "delete", dying(lake.objects.delete))
        with pytest.raises(_Killed):
            _take(lake, settled=True)
    _take(lake, settled=True)
    assert [len(_raw(lake, day)) for day in (MONDAY, TUESDAY)] == [1, 1]
    assert _keys(lake, "landing/") == []
    assert len(_keys(lake, "landing_taken/")) == 2
    assert len(_reasons(lake)) == 1


def test_weather_hours_are_cut_into_new_york_days_and_times_are_spelled_one_way(lake: Lake) -> None:
    rows = [{k: v for k, v in row.items() if k != PARTITION_DAY} for row in hours(date(2024, 3, 10), MONDAY)]
    land(lake, WEATHER, [MONDAY], [fetched(WEATHER, hours(MONDAY), MONDAY, MONDAY)], None)
    for row in rows:
        row["observed_at"] += ":00Z"
    random.Random(1).shuffle(rows)
    _put(lake, "a", "".join(map(json.dumps, rows)), WEATHER)
    taking = _take(lake, WEATHER)
    assert {day: landed.rows for day, landed in taking.days.items()} == {date(2024, 3, 10): 23, MONDAY: 24}
    assert not taking.days[MONDAY].changed


def test_a_day_that_arrived_whole_need_not_be_asked_of_the_vendor(lake: Lake) -> None:
    rows = [{k: v for k, v in row.items() if k != PARTITION_DAY} for row in hours(MONDAY, TUESDAY)][:-1]
    _put(lake, "a", "".join(map(json.dumps, rows)), WEATHER)
    _take(lake, WEATHER)
    assert coverage.missing(lake, WEATHER, ["New York"], [MONDAY, TUESDAY]) == {TUESDAY: ("New York",)}


def test_a_rejected_object_keeps_its_bytes_beside_its_reason(lake: Lake) -> None:
    lake.objects.write("landing/unknown/x.json", b"{}")
    reject(lake, "landing/unknown/x.json", "no such dataset")
    (kept, _) = _keys(lake, "landing_rejected/unknown/")
    assert lake.objects.read(kept) == b"{}"
    assert _reasons(lake) == ["no such dataset"]


@settings(max_examples=60)
@given(data=st.binary(max_size=200) | st.text(alphabet='{}[]":,\n a1\\', max_size=200).map(str.encode))
def test_whatever_bytes_arrive_are_told_as_records_or_rejections(data: bytes) -> None:
    contents = read_contents(STOCK_PRICES, data, START, False, NOW)
    assert contents.rejections or contents.records
