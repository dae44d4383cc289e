"""Contract: split events of US stocks. Not partitioned: the list is small and is replaced as a whole."""

from stock_weather_pipeline.datasets.contract import Column, ColumnType, Dataset

STOCK_SPLITS = Dataset(
    name="stock_splits",
    description="Split events: on execution_date every split_from shares became split_to shares. A reverse split has "
    "split_from above split_to. Prices before execution_date are multiplied by split_from / split_to to adjust them.",
    source="https://massive.com/docs/rest/stocks/corporate-actions/splits",
    columns=(
        Column("ticker", ColumnType.STRING, "Ticker as the vendor spells it.", pattern="^[A-Za-z][A-Za-z0-9.]{0,15}$"),
        Column("execution_date", ColumnType.DATE, "First session traded at the new price."),
        Column("split_from", ColumnType.DOUBLE, "Shares before.", unit="shares", minimum=1e-9),
        Column("split_to", ColumnType.DOUBLE, "Shares after.", unit="shares", minimum=1e-9),
    ),
    key=("ticker", "execution_date"),
    entity="ticker",
    may_be_empty=True,
)
