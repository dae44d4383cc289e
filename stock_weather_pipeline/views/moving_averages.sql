-- Simple moving averages of the adjusted close over sessions, not calendar days.
--
-- Key: ticker, trade_date
-- Reads: stock_prices_adjusted
--
-- ticker: Ticker as the vendor spells it.
-- trade_date: NYSE session in New York.
-- close: Adjusted close. [USD]
-- sma_7: Mean of the last 7 adjusted closes, this one included; NULL in the first 6 rows. [USD]
-- sma_30: Mean of the last 30 adjusted closes, this one included; NULL in the first 29 rows. [USD]

SELECT
    ticker,
    trade_date,
    close,
    CASE WHEN row_number() OVER (PARTITION BY ticker ORDER BY trade_date) >= 7
        THEN avg(close) OVER (PARTITION BY ticker ORDER BY trade_date ROWS BETWEEN 6 PRECEDING AND CURRENT ROW)
    END AS sma_7,
    CASE WHEN row_number() OVER (PARTITION BY ticker ORDER BY trade_date) >= 30
        THEN avg(close) OVER (PARTITION BY ticker ORDER BY trade_date ROWS BETWEEN 29 PRECEDING AND CURRENT ROW)
    END AS sma_30
FROM stock_prices_adjusted
