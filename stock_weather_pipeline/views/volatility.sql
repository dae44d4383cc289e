-- How much prices move: over the last 20 sessions, and within the day.
--
-- Key: ticker, trade_date
-- Reads: stock_prices_adjusted
--
-- ticker: Ticker as the vendor spells it.
-- trade_date: NYSE session in New York.
-- volatility_20: Sample standard deviation of the last 20 log returns ln(close / close of the session before) of adjusted
--   closes, x sqrt(252); NULL in the first 20 rows, until 20 returns exist. [fraction per year]
-- range_pct: 100 x (high - low) / close of the day. [%]

WITH returns AS (
    SELECT
        ticker,
        trade_date,
        row_number() OVER (PARTITION BY ticker ORDER BY trade_date) AS row_count,
        ln(close / lag(close) OVER (PARTITION BY ticker ORDER BY trade_date)) AS log_return,
        1e2 * (high - low) / close AS range_pct
    FROM stock_prices_adjusted
)
SELECT
    ticker,
    trade_date,
    CASE WHEN row_count >= 21
        THEN sqrt(252e0) * stddev_samp(log_return) OVER (
            PARTITION BY ticker ORDER BY trade_date ROWS BETWEEN 19 PRECEDING AND CURRENT ROW
        )
    END AS volatility_20,
    range_pct
FROM returns
