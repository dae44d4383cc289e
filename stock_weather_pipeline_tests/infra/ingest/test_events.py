"""Events are right, or say in one sentence which field is wrong, its value and the valid ones."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Any

import pytest

from infra.ingest.events import request_of
from stock_weather_pipeline.errors import UsageError
from stock_weather_pipeline.settings import NEW_YORK, SANTA_CLARA, Location, location_text

NOW = datetime(2024, 6, 10, 15, tzinfo=timezone.utc)  # a Monday
PRICES = {"dataset": "stock_prices", "delivery": "firehose"}
WEATHER = {"dataset": "weather", "delivery": "firehose"}


@pytest.mark.parametrize(
    ("event", "days"),
    [
        ({**PRICES, "day": "2024-06-03"}, [date(2024, 6, 3)]),
        ({**PRICES, "start": "2024-06-06", "end": "2024-06-09"}, [date(2024, 6, 6), date(2024, 6, 7)]),
        ({**WEATHER, "start": "2024-06-08", "end": "2024-06-09"}, [date(2024, 6, 8), date(2024, 6, 9)]),
        ({**PRICES, "day": "2024-05-27"}, []),  # Memorial Day
        # Half past midnight in New York on the 4th: in UTC as well.
        ({**PRICES, "scheduled_at": "2024-06-04T04:30:00Z"}, [date(2024, 6, 3)]),
        # Half past midnight UTC on the 4th is the evening of the 3rd in New York.
        ({**PRICES, "scheduled_at": "2024-06-04T00:30:00+00:00"}, []),
        (WEATHER, [date(2024, 6, 9)]),
    ],
)
def test_the_days_of_an_event(event: dict[str, Any], days: list[date]) -> None:
    assert list(request_of(event, NOW).days) == days


def test_tickers_and_locations_may_be_chosen_and_a_location_spelled_out() -> None:
    assert request_of({**PRICES, "tickers": ["NVDA", "BRK.B"]}, NOW).tickers == ("NVDA", "BRK.B")
    assert request_of({**PRICES, "tickers": ["*"]}, NOW).tickers == ("*",)
    assert request_of(PRICES, NOW).tickers is None
    berlin = Location("Berlin", 52.52, -13.405, 38.0, "Europe/Berlin", ("SAP", "BAYRY"))
    places = (NEW_YORK, berlin, SANTA_CLARA)
    spelled = [location_text(place) for place in places]
    assert request_of({**WEATHER, "locations": spelled}, NOW).locations == places
    assert request_of({**WEATHER, "locations": ["Santa Clara"]}, NOW).locations == (SANTA_CLARA,)


def test_what_dagster_pipes_adds_is_not_looked_at() -> None:
    event = {**PRICES, "delivery": "handover", "handover": "handover/run/id/", "DAGSTER_PIPES_CONTEXT": "x"}
    assert request_of(event, NOW).handover == "handover/run/id/"


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        ([], "The event is '[]': it must be a JSON object with the fields dataset, day,"),
        ({}, "The event's dataset is 'None': it must be one of stock_prices, weather, stock_splits."),
        ({**PRICES, "dataset": "locations"}, "The event's dataset is 'locations': it must be one of"),
        ({**PRICES, "dataset": ["weather"]}, "The event's dataset is \"['weather']\": it must be one of"),
        ({**PRICES, "date": "2024-06-03"}, "The event has a field 'date' that means nothing: it may have dataset, day"),
        ({"dataset": "weather"}, "The event's delivery is 'None': it must be firehose or handover."),
        ({**PRICES, "dataset": "stock_splits"}, "must be handover, since the landing zone takes no stock_splits."),
        ({**PRICES, "delivery": "handover"}, "The event's handover is '': it must be a prefix such as handover/"),
        ({**PRICES, "delivery": "handover", "handover": "raw/x/y/"}, "must be a prefix such as handover/RUN/ID/."),
        ({**PRICES, "delivery": "handover", "handover": "handover/../raw/"}, "must be a prefix such as"),
        ({**PRICES, "locations": ["New York"]}, "must be left out for stock_prices, which has tickers."),
        ({**WEATHER, "tickers": ["NVDA"]}, "must be left out for weather, which has locations."),
        ({**PRICES, "tickers": "NVDA"}, "The event's tickers is 'NVDA': it must be a list of tickers."),
        ({**PRICES, "tickers": ["N V"]}, "The event's tickers cannot be used: 'N V' is not a ticker"),
        ({**WEATHER, "locations": ["Atlantis"]}, "cannot be used: 'Atlantis' is not a known location"),
        ({**PRICES, "day": "yesterday"}, "The event's day is 'yesterday': it must be a day such as 2024-06-03."),
        ({**PRICES, "day": 20240603}, "The event's day is '20240603': it must be a day such as 2024-06-03."),
        ({**PRICES, "day": "2024-06-10"}, "2024-06-10 is not over yet in New York: the newest is 2024-06-09."),
        ({**PRICES, "day": "1980-06-10"}, "is before 1990-01-01, where every history begins"),
        ({**PRICES, "start": "2024-06-03"}, "The event has start: give day alone, or start and end, or none of them."),
        ({**PRICES, "day": "2024-06-03", "end": "2024-06-03"}, "The event has day and end: give day alone, or start"),
        ({**PRICES, "start": "2024-06-04", "end": "2024-06-03"}, "2024-06-04..2024-06-03 runs backwards"),
        ({**PRICES, "scheduled_at": "<aws.scheduler.scheduled-time>"}, "must be a time such as 2024-06-04T04:30:00Z."),
        (
            {"dataset": "stock_splits", "delivery": "handover", "handover": "handover/a/b/", "day": "2024-06-03"},
            "The event's day is '2024-06-03': it must be left out for stock_splits, which has no days.",
        ),
    ],
)  # fmt: skip
def test_a_wrong_event_is_told_in_one_sentence(event: Any, sentence: str) -> None:
    with pytest.raises(UsageError) as raised:
        request_of(event, NOW)
    assert sentence in str(raised.value)
