"""Contract: hourly weather in UTC.

Source: Open-Meteo archive with `timezone=GMT`. The vendor cuts days at the zone's offset of the moment of the request,
so days are never taken from it; a partition holds the 23, 24 or 25 hours of that day in New York.
"""

from stock_weather_pipeline.datasets.contract import Column, ColumnType, Dataset
from stock_weather_pipeline.partitions import PartitionSet, hours_in


def _measured(name: str, comment: str, unit: str, minimum: float, maximum: float) -> Column:
    # Recent hours arrive as nulls and are filled later, so every measurement is nullable.
    return Column(name, ColumnType.DOUBLE, comment, unit=unit, nullable=True, minimum=minimum, maximum=maximum)


WEATHER = Dataset(
    name="weather",
    description="Hourly weather at each location, in UTC. One row per location and hour. Weather data by "
    "Open-Meteo.com, CC BY 4.0.",
    source="https://open-meteo.com/en/docs/historical-weather-api",
    columns=(
        Column("location", ColumnType.STRING, "Name of the place, as configured."),
        Column("observed_at", ColumnType.TIMESTAMP, "Start of the hour.", unit="UTC"),
        _measured("temperature_c", "Air temperature 2 m above ground.", "°C", -95, 62),
        _measured("apparent_temperature_c", "Felt temperature.", "°C", -120, 80),
        _measured("relative_humidity_pct", "Relative humidity 2 m above ground.", "%", 0, 100),
        _measured("precipitation_mm", "Rain, showers and snow of the hour before.", "mm", 0, 500),
        _measured("wind_speed_kmh", "Wind speed 10 m above ground.", "km/h", 0, 450),
        Column(
            "weather_code",
            ColumnType.INTEGER,
            "WMO weather interpretation code (table 4677).",
            unit="WMO code",
            nullable=True,
            minimum=0,
            maximum=99,
        ),
    ),
    key=("location", "observed_at"),
    entity="location",
    partition_set=PartitionSet.DAYS,
    day_column="observed_at",
    day_sql="CAST(at_timezone(with_timezone(observed_at, 'UTC'), 'America/New_York') AS DATE)",
    rows_per_entity=hours_in,
)
