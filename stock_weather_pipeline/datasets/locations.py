"""Contract: the places of the settings, as a table, so that views can cut local days and find a company's home."""

from stock_weather_pipeline.datasets.contract import Column, ColumnType, Dataset

LOCATIONS = Dataset(
    name="locations",
    description="The configured places: where they are, which clock they keep, and whose headquarters are there.",
    source="setting STOCK_WEATHER_LOCATIONS",
    columns=(
        Column("location", ColumnType.STRING, "Name of the place."),
        Column("latitude", ColumnType.DOUBLE, "North is positive.", unit="degrees", minimum=-90, maximum=90),
        Column("longitude", ColumnType.DOUBLE, "East is positive.", unit="degrees", minimum=-180, maximum=180),
        Column("elevation_m", ColumnType.DOUBLE, "Elevation temperatures are corrected to.", unit="m"),
        Column("time_zone", ColumnType.STRING, "IANA name of the local clock."),
        Column(
            "headquarters_of",
            ColumnType.STRING,
            "Tickers of the companies with headquarters here, separated by one space.",
            nullable=True,
        ),
    ),
    key=("location",),
    entity="location",
)
