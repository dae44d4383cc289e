-- Change of the adjusted close from one session to the next of the same ticker.
--
-- Key: ticker, trade_date
-- Reads: stock_prices_adjusted
--
-- ticker: Ticker as the vendor spells it.
-- trade_date: NYSE session in New York.
-- close: Adjusted close. [USD]
-- change_pct: 100 x (close / close of the ticker's session before - 1); NULL on its first. [%]

SELECT
    ticker,
    trade_date,
    close,
    1e2 * (close / lag(close) OVER (PARTITION BY ticker ORDER BY trade_date) - 1) AS change_pct
FROM stock_prices_adjusted
