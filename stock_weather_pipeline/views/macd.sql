-- MACD 12, 26, 9 of adjusted closes with exact exponential moving averages (EMA), each seeded by its first value:
-- EMA(n) today = EMA(n) of the session before + 2 / (n + 1) x (value - EMA(n) of the session before).
--
-- Key: ticker, trade_date
-- Reads: stock_prices_adjusted
--
-- ticker: Ticker as the vendor spells it.
-- trade_date: NYSE session in New York.
-- close: Adjusted close. [USD]
-- macd: EMA(12) - EMA(26) of the adjusted close; NULL in the first 25 rows. [USD]
-- signal: EMA(9) of the macd line, which counts from the ticker's first row; NULL in the first 33 rows. [USD]
-- histogram: macd - signal; NULL in the first 33 rows. [USD]

-- An EMA is a sum of values weighted by powers of q = 1 - 2 / (n + 1). Powers over a whole history overflow, so it is
-- summed in blocks of 512 rows, and the end of the block before is carried over; what is two blocks away weighs less
-- than q^512 < 1e-16, nothing in a DOUBLE. Every window starts with the ticker, so that a filter on it goes below.
WITH numbered AS (
    SELECT ticker, trade_date, close, row_number() OVER (PARTITION BY ticker ORDER BY trade_date) - 1 AS i
    FROM stock_prices_adjusted
), blocks AS (
    SELECT ticker, trade_date, close, i, i - i % 512 AS block, i % 512 AS offset_in_block
    FROM numbered
), closes_in_block AS (
    SELECT
        ticker,
        trade_date,
        close,
        i,
        block,
        offset_in_block,
        power(11e0 / 13, offset_in_block) * sum(close * CASE WHEN i = 0 THEN 1e0 ELSE 2e0 / 13 END * power(13e0 / 11, offset_in_block)) OVER (
            PARTITION BY ticker, block ORDER BY trade_date ROWS UNBOUNDED PRECEDING
        ) AS fast,
        power(25e0 / 27, offset_in_block) * sum(close * CASE WHEN i = 0 THEN 1e0 ELSE 2e0 / 27 END * power(27e0 / 25, offset_in_block)) OVER (
            PARTITION BY ticker, block ORDER BY trade_date ROWS UNBOUNDED PRECEDING
        ) AS slow
    FROM blocks
), macd_line AS (
    SELECT
        ticker,
        trade_date,
        close,
        i,
        block,
        offset_in_block,
        fast + power(11e0 / 13, offset_in_block + 1)
            * coalesce(lag(fast, offset_in_block + 1) OVER (PARTITION BY ticker ORDER BY trade_date), 0e0)
            - slow - power(25e0 / 27, offset_in_block + 1)
            * coalesce(lag(slow, offset_in_block + 1) OVER (PARTITION BY ticker ORDER BY trade_date), 0e0) AS macd
    FROM closes_in_block
), macd_in_block AS (
    SELECT
        ticker,
        trade_date,
        close,
        i,
        offset_in_block,
        macd,
        power(8e-1, offset_in_block) * sum(macd * CASE WHEN i = 0 THEN 1e0 ELSE 2e-1 END * power(125e-2, offset_in_block)) OVER (
            PARTITION BY ticker, block ORDER BY trade_date ROWS UNBOUNDED PRECEDING
        ) AS smooth
    FROM macd_line
), signals AS (
    SELECT
        ticker,
        trade_date,
        close,
        i,
        macd,
        smooth + power(8e-1, offset_in_block + 1)
            * coalesce(lag(smooth, offset_in_block + 1) OVER (PARTITION BY ticker ORDER BY trade_date), 0e0) AS signal
    FROM macd_in_block
)
SELECT
    ticker,
    trade_date,
    close,
    CASE WHEN i >= 25 THEN macd END AS macd,
    CASE WHEN i >= 33 THEN signal END AS signal,
    CASE WHEN i >= 33 THEN macd - signal END AS histogram
FROM signals
