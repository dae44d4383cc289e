"""What flows: one contract per dataset, one file each. Adding a dataset starts here."""

from stock_weather_pipeline.datasets.contract import Column, ColumnType, Dataset, Rule
from stock_weather_pipeline.datasets.locations import LOCATIONS
from stock_weather_pipeline.datasets.stock_prices import STOCK_PRICES
from stock_weather_pipeline.datasets.stock_splits import STOCK_SPLITS
from stock_weather_pipeline.datasets.weather import WEATHER

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in (STOCK_PRICES, WEATHER, STOCK_SPLITS, LOCATIONS)}
PARTITIONED: tuple[Dataset, ...] = tuple(d for d in DATASETS.values() if d.partition_set is not None)

__all__ = [
    "DATASETS",
    "LOCATIONS",
    "PARTITIONED",
    "STOCK_PRICES",
    "STOCK_SPLITS",
    "WEATHER",
    "Column",
    "ColumnType",
    "Dataset",
    "Rule",
]
