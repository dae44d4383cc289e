"""Contract: daily bars of US stocks, unadjusted.

Source: Polygon.io / Massive aggregates with `adjusted=false`. Adjustment for splits is a view, never stored, so that a
split does not rewrite history.
"""

from stock_weather_pipeline.datasets.contract import Column, ColumnType, Dataset, Rule, Suspicion
from stock_weather_pipeline.partitions import PartitionSet

# Above any price ever paid on a US exchange (Berkshire Hathaway A: under one million dollars); the vendor once
# sent binary junk with prices of 1e13.
_MAX_PRICE_USD = 1e7


def _price(name: str, comment: str) -> Column:
    return Column(name, ColumnType.DOUBLE, comment, unit="USD", minimum=1e-6, maximum=_MAX_PRICE_USD)


STOCK_PRICES = Dataset(
    name="stock_prices",
    description="Daily bars of US stocks as traded: not adjusted for splits or dividends. One row per ticker and NYSE "
    "session; regular and extended hours, as the vendor aggregates them.",
    source="https://massive.com/docs/rest/stocks/aggregates/custom-bars",
    columns=(
        Column(
            "ticker",
            ColumnType.STRING,
            "Ticker as the vendor spells it; case matters (KIMpL is a preferred share).",
            pattern="^[A-Za-z][A-Za-z0-9.]{0,15}$",
        ),
        Column("trade_date", ColumnType.DATE, "NYSE session in New York."),
        _price("open", "First price of the session."),
        _price("high", "Highest price of the session."),
        _price("low", "Lowest price of the session."),
        _price("close", "Last price of the session."),
        Column(
            "volume",
            ColumnType.DOUBLE,
            "Shares traded; fractional since fractional shares are reported.",
            unit="shares",
            minimum=0,
            maximum=1e12,
        ),
        Column(
            "vwap",
            ColumnType.DOUBLE,
            "Volume-weighted average price. Counts odd lots and may lie outside low..high.",
            unit="USD",
            nullable=True,
        ),
        Column(
            "transactions", ColumnType.BIGINT, "Number of trades in the bar.", unit="trades", nullable=True, minimum=0
        ),
    ),
    key=("ticker", "trade_date"),
    entity="ticker",
    rules=(
        Rule("low is above open or close", "low <= open AND low <= close"),
        Rule("high is below open or close", "high >= open AND high >= close"),
    ),
    partition_set=PartitionSet.SESSIONS,
    day_column="trade_date",
    day_sql="trade_date",
    suspicions=(
        Suspicion(
            "no_jump_without_split",
            "No close is more than half above, or a third below, the one before without a split on that day.",
            """
            SELECT closes.ticker, closes.trade_date, closes.previous_close, closes.close,
                   closes.close / closes.previous_close AS measure, closes.trade_date AS partition_day
            FROM (
                SELECT ticker, trade_date, close,
                       lag(close) OVER (PARTITION BY ticker ORDER BY trade_date) AS previous_close
                FROM stock_weather.stock_prices
            ) closes
            LEFT JOIN stock_weather.stock_splits splits
                ON splits.ticker = closes.ticker AND splits.execution_date = closes.trade_date
            WHERE splits.ticker IS NULL
            """,
            edges=(2 / 3, 0.8, 0.9, 0.95, 0.98, 1.0, 1.02, 1.05, 1.1, 1.2, 1.5),
            unit="closes / close before",
        ),
    ),
)
