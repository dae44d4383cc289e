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
-- The signal needs no windows of its own: an EMA with weights q of an EMA with weights p, both seeded by their first
-- value, is ((1 - q) p EMA_p - (1 - p) q EMA_q) / (p - q). With the 4 / 5 of EMA(9) for q that is
-- (11 EMA(12) - 8 EMA(9)) / 3 of the fast and (25 EMA(26) - 8 EMA(9)) / 17 of the slow average.
WITH numbered AS (
    SELECT ticker, trade_date, close, row_number() OVER (PARTITION BY ticker ORDER BY trade_date) - 1 AS i
    FROM stock_prices_adjusted
), blocks AS (
    SELECT ticker, trade_date, close, i, i - i % 512 AS block, i % 512 AS offset_in_block
    FROM numbered
), sums_in_block AS (
    SELECT
        ticker,
        trade_date,
        close,
        i,
        offset_in_block,
        power(125e-2, -offset_in_block) * sum(close * CASE WHEN i = 0 THEN 1e0 ELSE 2e-1 END * power(125e-2, offset_in_block)) OVER (
            PARTITION BY ticker, block ORDER BY trade_date ROWS UNBOUNDED PRECEDING
        ) AS ema_9,
        power(13e0 / 11, -offset_in_block) * sum(close * CASE WHEN i = 0 THEN 1e0 ELSE 2e0 / 13 END * power(13e0 / 11, offset_in_block)) OVER (
            PARTITION BY ticker, block ORDER BY trade_date ROWS UNBOUNDED PRECEDING
        ) AS ema_12,
        power(27e0 / 25, -offset_in_block) * sum(close * CASE WHEN i = 0 THEN 1e0 ELSE 2e0 / 27 END * power(27e0 / 25, offset_in_block)) OVER (
            PARTITION BY ticker, block ORDER BY trade_date ROWS UNBOUNDED PRECEDING
        ) AS ema_26
    FROM blocks
), averages AS (
    SELECT
        ticker,
        trade_date,
        close,
        i,
        ema_9 + power(125e-2, -offset_in_block - 1)
            * coalesce(lag(ema_9, offset_in_block + 1) OVER (PARTITION BY ticker ORDER BY trade_date), 0e0) AS ema_9,
        ema_12 + power(13e0 / 11, -offset_in_block - 1)
            * coalesce(lag(ema_12, offset_in_block + 1) OVER (PARTITION BY ticker ORDER BY trade_date), 0e0) AS ema_12,
        ema_26 + power(27e0 / 25, -offset_in_block - 1)
            * coalesce(lag(ema_26, offset_in_block + 1) OVER (PARTITION BY ticker ORDER BY trade_date), 0e0) AS ema_26
    FROM sums_in_block
), signals AS (
    SELECT
        ticker,
        trade_date,
        close,
        i,
        ema_12 - ema_26 AS macd,
        (11 * ema_12 - 8 * ema_9) / 3 - (25 * ema_26 - 8 * ema_9) / 17 AS signal
    FROM averages
)
SELECT
    ticker,
    trade_date,
    close,
    CASE WHEN i >= 25 THEN macd END AS macd,
    CASE WHEN i >= 33 THEN signal END AS signal,
    CASE WHEN i >= 33 THEN macd - signal END AS histogram
FROM signals
