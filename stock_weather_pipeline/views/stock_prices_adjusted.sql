-- Daily bars adjusted for every split after the day, so that prices of different days compare; dividends are not
-- adjusted. The stored prices stay as traded: a new split changes this view, not the history.
--
-- Key: ticker, trade_date
-- Reads: stock_prices, stock_splits
--
-- ticker: Ticker as the vendor spells it.
-- trade_date: NYSE session in New York.
-- open: First price of the session times split_factor. [USD]
-- high: Highest price of the session times split_factor. [USD]
-- low: Lowest price of the session times split_factor. [USD]
-- close: Last price of the session times split_factor. [USD]
-- volume: Shares traded divided by split_factor. [shares]
-- vwap: Volume-weighted average price times split_factor. [USD]
-- transactions: Number of trades in the bar; splits do not change it. [trades]
-- split_factor: Product of split_from / split_to over the splits with execution_date after trade_date; 1 when there is
--   none. Holds up to 128 splits of one ticker. [ratio]

-- Neither engine has a product aggregate, and exp(sum(ln(x))) would turn a factor of 0.1 into 0.10000000000000002:
-- doubling how many splits ahead are multiplied keeps products of whole numbers exact.
WITH next_2 AS (
    SELECT
        ticker,
        execution_date,
        split_from * lead(split_from, 1, 1e0) OVER (PARTITION BY ticker ORDER BY execution_date) AS split_from,
        split_to * lead(split_to, 1, 1e0) OVER (PARTITION BY ticker ORDER BY execution_date) AS split_to
    FROM stock_splits
), next_4 AS (
    SELECT
        ticker,
        execution_date,
        split_from * lead(split_from, 2, 1e0) OVER (PARTITION BY ticker ORDER BY execution_date) AS split_from,
        split_to * lead(split_to, 2, 1e0) OVER (PARTITION BY ticker ORDER BY execution_date) AS split_to
    FROM next_2
), next_8 AS (
    SELECT
        ticker,
        execution_date,
        split_from * lead(split_from, 4, 1e0) OVER (PARTITION BY ticker ORDER BY execution_date) AS split_from,
        split_to * lead(split_to, 4, 1e0) OVER (PARTITION BY ticker ORDER BY execution_date) AS split_to
    FROM next_4
), next_16 AS (
    SELECT
        ticker,
        execution_date,
        split_from * lead(split_from, 8, 1e0) OVER (PARTITION BY ticker ORDER BY execution_date) AS split_from,
        split_to * lead(split_to, 8, 1e0) OVER (PARTITION BY ticker ORDER BY execution_date) AS split_to
    FROM next_8
), next_32 AS (
    SELECT
        ticker,
        execution_date,
        split_from * lead(split_from, 16, 1e0) OVER (PARTITION BY ticker ORDER BY execution_date) AS split_from,
        split_to * lead(split_to, 16, 1e0) OVER (PARTITION BY ticker ORDER BY execution_date) AS split_to
    FROM next_16
), next_64 AS (
    SELECT
        ticker,
        execution_date,
        split_from * lead(split_from, 32, 1e0) OVER (PARTITION BY ticker ORDER BY execution_date) AS split_from,
        split_to * lead(split_to, 32, 1e0) OVER (PARTITION BY ticker ORDER BY execution_date) AS split_to
    FROM next_32
), next_128 AS (
    SELECT
        ticker,
        execution_date,
        split_from * lead(split_from, 64, 1e0) OVER (PARTITION BY ticker ORDER BY execution_date) AS split_from,
        split_to * lead(split_to, 64, 1e0) OVER (PARTITION BY ticker ORDER BY execution_date) AS split_to
    FROM next_64
), factors AS (
    SELECT
        ticker,
        lag(execution_date, 1, DATE '1000-01-01') OVER (PARTITION BY ticker ORDER BY execution_date) AS valid_from,
        execution_date AS valid_until,
        split_from / split_to AS split_factor
    FROM next_128
)
SELECT
    p.ticker,
    p.trade_date,
    p.open * coalesce(f.split_factor, 1e0) AS open,
    p.high * coalesce(f.split_factor, 1e0) AS high,
    p.low * coalesce(f.split_factor, 1e0) AS low,
    p.close * coalesce(f.split_factor, 1e0) AS close,
    p.volume / coalesce(f.split_factor, 1e0) AS volume,
    p.vwap * coalesce(f.split_factor, 1e0) AS vwap,
    p.transactions,
    coalesce(f.split_factor, 1e0) AS split_factor
FROM stock_prices AS p
LEFT JOIN factors AS f
    ON p.ticker = f.ticker AND p.trade_date >= f.valid_from AND p.trade_date < f.valid_until
