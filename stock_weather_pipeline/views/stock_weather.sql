-- Sessions beside the day's weather at the exchange (location New York) and at the company's headquarters: one row for
-- each of these places, once when they are the same. A session is shown even where its weather is not there yet.
--
-- Key: ticker, trade_date, location
-- Reads: daily_change, locations, weather_daily
--
-- ticker: Ticker as the vendor spells it.
-- trade_date: NYSE session in New York, and the day on the clock of the location.
-- close: Adjusted close. [USD]
-- change_pct: Change of the adjusted close from the session before; NULL on the ticker's first. [%]
-- location: New York, or a place whose headquarters_of names the ticker.
-- temperature_min_c: Lowest hourly temperature of the day; NULL without weather. [°C]
-- temperature_max_c: Highest hourly temperature of the day; NULL without weather. [°C]
-- temperature_mean_c: Mean of the hourly temperatures of the day; NULL without weather. [°C]
-- precipitation_mm: Sum over the hours of the day; NULL without weather. [mm]
-- wind_speed_max_kmh: Highest hourly wind speed of the day; NULL without weather. [km/h]
-- hours: Hours of weather stored for the day; NULL without weather. [hours]

SELECT
    d.ticker,
    d.trade_date,
    d.close,
    d.change_pct,
    l.location,
    w.temperature_min_c,
    w.temperature_max_c,
    w.temperature_mean_c,
    w.precipitation_mm,
    w.wind_speed_max_kmh,
    w.hours
FROM daily_change AS d
JOIN locations AS l
    ON l.location = 'New York' OR contains(split(l.headquarters_of, ' '), d.ticker)
LEFT JOIN weather_daily AS w ON w.location = l.location AND w.local_date = d.trade_date
