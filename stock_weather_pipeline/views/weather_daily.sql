-- Hourly weather cut into days of each location's own clock: 24 hours, 23 when clocks go forward and 25 when they go
-- back. Hours without a value are left out of minimum, maximum, mean and sum; only configured locations are shown.
--
-- Key: location, local_date
-- Reads: weather, locations
--
-- location: Name of the place.
-- local_date: Day on the clock of the place, by the start of the hour.
-- temperature_min_c: Lowest hourly temperature; NULL when no hour has one. [°C]
-- temperature_max_c: Highest hourly temperature; NULL when no hour has one. [°C]
-- temperature_mean_c: Mean of the hourly temperatures; NULL when no hour has one. [°C]
-- precipitation_mm: Sum over the hours; NULL when no hour has a value. [mm]
-- wind_speed_max_kmh: Highest hourly wind speed; NULL when no hour has one. [km/h]
-- hours: Hours stored for the day; fewer than 23 is a day at the edge of the history or one with gaps. [hours]

WITH local_hours AS (
    SELECT
        w.location,
        CAST(at_timezone(with_timezone(w.observed_at, 'UTC'), l.time_zone) AS DATE) AS local_date,
        w.temperature_c,
        w.precipitation_mm,
        w.wind_speed_kmh
    FROM weather AS w
    JOIN locations AS l ON w.location = l.location
)
SELECT
    location,
    local_date,
    min(temperature_c) AS temperature_min_c,
    max(temperature_c) AS temperature_max_c,
    -- A sum of DOUBLE depends on the order of its rows, which is each engine's own; one of DECIMAL does not.
    CAST(sum(CAST(temperature_c AS DECIMAL(18, 6))) AS DOUBLE) / count(temperature_c) AS temperature_mean_c,
    CAST(sum(CAST(precipitation_mm AS DECIMAL(18, 6))) AS DOUBLE) AS precipitation_mm,
    max(wind_speed_kmh) AS wind_speed_max_kmh,
    count(*) AS hours
FROM local_hours
GROUP BY location, local_date
