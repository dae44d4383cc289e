"""The contract of Catalog: definitions come back as they were put."""

from __future__ import annotations

import pytest

from stock_weather_pipeline.datasets import DATASETS, STOCK_PRICES, Dataset
from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Layer, ViewDefinition, external_table


@pytest.mark.parametrize("layer", Layer)
@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_a_table_comes_back_as_it_was_put(lake: Lake, dataset: Dataset, layer: Layer) -> None:
    table = external_table(dataset, layer)
    assert lake.catalog.get_table(table.database, table.name) is None
    lake.catalog.put_table(table)
    assert lake.catalog.get_table(table.database, table.name) == table
    assert lake.catalog.names(table.database) == [table.name]


def test_a_view_comes_back_as_it_was_put_and_can_be_replaced(lake: Lake) -> None:
    view = ViewDefinition("macd", "SELECT 'é' AS x", "A view.", (("x", 'A "letter".'),))
    lake.catalog.put_view(view)
    assert lake.catalog.get_view("macd") == view
    changed = ViewDefinition("macd", "SELECT 2 AS x", "A view.", ())
    lake.catalog.put_view(changed)
    assert lake.catalog.get_view("macd") == changed
    assert lake.catalog.get_table("stock_weather", "macd") is None
    assert lake.catalog.get_view("other") is None


def test_putting_the_same_again_writes_nothing(lake: Lake) -> None:
    table = external_table(STOCK_PRICES, Layer.RAW)
    lake.catalog.put_table(table)
    before = lake.objects.list("catalog/")
    lake.catalog.put_table(table)
    assert lake.objects.list("catalog/") == before


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"format": 99}', "has format 99, this version reads format 1: upgrade stock_weather_pipeline"),
        (b'{"format": 1, "table": ', "is damaged .*: delete it"),
        (b"[]", "is damaged .*: delete it"),
        (b'{"format": 1, "table": {"dataset": "stock_prices"}}', "is damaged .*: delete it"),
        (b'{"format": 1, "table": {"columns": [{"type": "BLOB"}]}}', "is damaged .*: delete it"),
        (b"\xff\xfe", "is damaged .*: delete it"),
    ],
)
def test_an_entry_that_cannot_be_read_is_one_sentence(on_disk: Lake, content: bytes, sentence: str) -> None:
    on_disk.objects.write("catalog/stock_weather_raw/stock_prices.json", content)
    with pytest.raises(LakeError, match=sentence):
        on_disk.catalog.get_table("stock_weather_raw", "stock_prices")


def test_a_damaged_view_is_one_sentence(on_disk: Lake) -> None:
    on_disk.objects.write("catalog/stock_weather/macd.json", b'{"format": 1, "view": {"name": "macd"}}')
    with pytest.raises(LakeError, match="is damaged"):
        on_disk.catalog.get_view("macd")
