"""Records keep Firehose's limits, only failed ones are sent again, and nothing is lost without a dead letter."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.ingest import delivery
from infra.ingest.delivery import DeadLetters, Delivery, batches, lines, records
from stock_weather_pipeline.datasets import STOCK_PRICES
from stock_weather_pipeline.sources.base import Page


class Firehose:
    """Takes records or refuses them, as `refuses` says of each record and the number of the call."""

    def __init__(self, refuses: Callable[[bytes, int], bool] = lambda _record, _call: False) -> None:
        self.calls: list[list[bytes]] = []
        self.taken: list[bytes] = []
        self._refuses = refuses

    def put_record_batch(self, DeliveryStreamName: str, Records: list[dict[str, bytes]]) -> dict[str, Any]:  # noqa: N803
        batch = [record["Data"] for record in Records]
        self.calls.append(batch)
        responses = []
        for record in batch:
            if self._refuses(record, len(self.calls)):
                responses.append({"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."})
            else:
                self.taken.append(record)
                responses.append({"RecordId": "id"})
        return {"FailedPutCount": sum("ErrorCode" in entry for entry in responses), "RequestResponses": responses}


class Letters(DeadLetters):
    """Dead letters kept in memory."""

    def __init__(self) -> None:
        object.__setattr__(self, "sent", [])

    def send(self, dataset: str, reason: str, undelivered: Any) -> None:
        self.sent.append((dataset, reason, list(undelivered)))  # type: ignore[attr-defined]


def stream(firehose: Firehose, letters: DeadLetters, slept: list[float] | None = None) -> Delivery:
    pauses: list[float] = [] if slept is None else slept
    return Delivery("weather", firehose, "weather", letters, pauses.append)  # type: ignore[arg-type]


ROWS = st.lists(st.integers(1, 3 * delivery.RECORD_BYTES).map(lambda size: b"x" * (size - 1) + b"\n"), max_size=60)


@given(ROWS)
def test_records_hold_every_line_once_and_in_order_and_few_cost_more_than_one_unit(rows: list[bytes]) -> None:
    packed = list(records(rows))
    assert b"".join(packed) == b"".join(rows)
    for record in packed:
        assert record.endswith(b"\n")
        assert len(record) <= delivery.RECORD_BYTES or record.count(b"\n") == 1
    for one, next_one in itertools.pairwise(packed):
        assert len(one) + len(next_one.split(b"\n", 1)[0]) + 1 > delivery.RECORD_BYTES


@given(st.lists(st.sampled_from([1, 5_000, 200_000, delivery.LARGEST_RECORD]), max_size=1_200))
def test_batches_keep_the_limits_of_a_call_and_are_as_few_as_order_allows(sizes: list[int]) -> None:
    parts = {size: b"x" * size for size in set(sizes)}
    made = list(batches(parts[size] for size in sizes))
    assert [len(record) for batch in made for record in batch] == sizes
    for batch in made:
        assert 0 < len(batch) <= delivery.MOST_RECORDS
        assert sum(map(len, batch)) <= delivery.MOST_BYTES
    for batch, next_batch in itertools.pairwise(made):
        full = len(batch) == delivery.MOST_RECORDS
        assert full or sum(map(len, batch)) + len(next_batch[0]) > delivery.MOST_BYTES


def some(count: int) -> list[bytes]:
    """Lines so long that each is a record."""
    return [f"{n:04d}".encode() + b"x" * delivery.RECORD_BYTES + b"\n" for n in range(count)]


def test_only_refused_records_are_sent_again_after_a_growing_pause() -> None:
    firehose = Firehose(lambda record, call: call <= 2 and record.startswith((b"0003", b"0007")))
    slept: list[float] = []
    letters = Letters()
    assert stream(firehose, letters, slept).send(some(10)) == (10, 0)
    assert [len(call) for call in firehose.calls] == [10, 2, 2]
    assert sorted(firehose.taken) == some(10)
    assert 0 < slept[0] < slept[1] < 2
    assert letters.sent == []  # type: ignore[attr-defined]


def test_what_is_refused_for_ever_is_a_dead_letter_after_a_bounded_number_of_tries() -> None:
    firehose, letters = Firehose(lambda record, _call: record.startswith(b"0003")), Letters()
    assert stream(firehose, letters).send(some(10)) == (9, 1)
    assert len(firehose.calls) == delivery.TRIES
    assert letters.sent == [("weather", "ServiceUnavailableException: Slow down.", [some(4)[3]])]  # type: ignore[attr-defined]


def test_a_line_above_the_limit_of_a_record_is_a_dead_letter_and_the_others_go_on() -> None:
    firehose, letters = Firehose(), Letters()
    huge = b"x" * delivery.LARGEST_RECORD + b"\n"
    assert stream(firehose, letters).send([b"a\n", huge, b"b\n"]) == (2, 1)
    assert firehose.taken == [b"a\n", b"b\n"]
    assert letters.sent == [("weather", "a row is longer than 1,000,000 bytes", [huge])]  # type: ignore[attr-defined]


def test_lines_say_what_the_landing_zone_decides_by_and_leave_nulls_out() -> None:
    columns = {name: ["1", None] for name in STOCK_PRICES.column_names} | {"ticker": ["NVDA", True]}
    page = Page(date(2024, 6, 3), date(2024, 6, 3), columns, ["2024-06-03"] * 2, 1, True, True)
    first, second = lines("stock_prices", page, "2024-06-04T05:00:00+00:00")
    assert first.endswith(b"}\n")
    told = {"dataset": "stock_prices", "fetched_at": "2024-06-04T05:00:00+00:00", "simulated": True}
    assert json.loads(first) == {**told, **dict.fromkeys(STOCK_PRICES.column_names, "1"), "ticker": "NVDA"}
    assert json.loads(second) == {**told, "ticker": "true"}


@pytest.mark.parametrize("count", [1, 100])
def test_dead_letters_wait_in_the_queue_and_large_ones_in_the_bucket(stack: Any, count: int) -> None:
    letters = DeadLetters(stack.sqs, stack.queue_url, stack.s3, "raw-bucket")
    for _ in range(2):
        letters.send("weather", "Slow down.", some(count))
    first, second = stack.dead_letters()
    assert first == second
    assert (first["dataset"], first["reason"], first["records"]) == ("weather", "Slow down.", count)
    if count == 1:
        assert first["lines"].encode() == some(1)[0]
        assert stack.keys() == []
    else:
        assert first["key"] == f"landing_failed/weather/{first['id']}.jsonl"
        assert stack.read(first["key"]) == b"".join(some(count))
