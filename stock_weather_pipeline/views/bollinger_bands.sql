-- Bollinger bands 20, 2: the mean of 20 adjusted closes and two population standard deviations around it.
--
-- Key: ticker, trade_date
-- Reads: stock_prices_adjusted
--
-- ticker: Ticker as the vendor spells it.
-- trade_date: NYSE session in New York.
-- close: Adjusted close. [USD]
-- middle_band: Mean of the last 20 adjusted closes, this one included; NULL in the first 19 rows. [USD]
-- upper_band: middle_band + 2 x population standard deviation of the same 20 closes. [USD]
-- lower_band: middle_band - 2 x population standard deviation of the same 20 closes. [USD]

WITH windows AS (
    SELECT
        ticker,
        trade_date,
        close,
        row_number() OVER (PARTITION BY ticker ORDER BY trade_date) AS row_count,
        avg(close) OVER (PARTITION BY ticker ORDER BY trade_date ROWS BETWEEN 19 PRECEDING AND CURRENT ROW) AS mean,
        stddev_pop(close) OVER (
            PARTITION BY ticker ORDER BY trade_date ROWS BETWEEN 19 PRECEDING AND CURRENT ROW
        ) AS deviation
    FROM stock_prices_adjusted
)
SELECT
    ticker,
    trade_date,
    close,
    CASE WHEN row_count >= 20 THEN mean END AS middle_band,
    CASE WHEN row_count >= 20 THEN mean + 2 * deviation END AS upper_band,
    CASE WHEN row_count >= 20 THEN mean - 2 * deviation END AS lower_band
FROM windows
