"""A simulated market and simulated weather: plausible, invented, and the same for everybody.

Every number is a pure function of (ticker, day) or of (place, hour), so one day and ten years give the same values, and
any day can be computed without the days before it. Random numbers are a counter-based hash (splitmix64) and not a
generator's stream: they do not depend on the version of NumPy. No HTTP here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from stock_weather_pipeline.partitions import is_session, sessions
from stock_weather_pipeline.sandbox.feed import NVDA_SPLITS, Bar, Number, Split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]

DEFAULT_MARKET_SIZE = 400
_EPOCH = date(1970, 1, 1)
_FIRST_DAY = date(1999, 1, 4)
_REFERENCE_DAY = date(2024, 1, 2)
# Since late February 2026 the vendor counts fractions of shares.
_FRACTIONAL_VOLUME_FROM = date(2026, 2, 23)


@dataclass(frozen=True)
class _Known:
    """A well-known ticker: its price on the reference day, adjusted, and its growth a year (both roughly real)."""

    price_usd: float
    growth: float = 0.07
    first_day: date = _FIRST_DAY


_KNOWN = {
    "NVDA": _Known(49.5, 0.1, date(1999, 1, 22)),
    "AAPL": _Known(187.0, 0.25),
    "MSFT": _Known(372.0, 0.11),
    "AMZN": _Known(150.0, 0.17),
    "GOOGL": _Known(138.0, 0.16, date(2004, 8, 19)),
    "GOOG": _Known(139.0, 0.16, date(2014, 3, 27)),
    "META": _Known(346.0, 0.2, date(2012, 5, 18)),
    "TSLA": _Known(248.0, 0.3, date(2010, 6, 29)),
    "AVGO": _Known(108.0, 0.25, date(2009, 8, 6)),
    "SPY": _Known(472.0, 0.07),
    "QQQ": _Known(402.0, 0.09, date(1999, 3, 10)),
    "DIA": _Known(377.0, 0.06),
    "IWM": _Known(198.0, 0.06, date(2000, 5, 26)),
    "JPM": _Known(172.0, 0.06),
    "BAC": _Known(34.0, 0.02),
    "WFC": _Known(49.0, 0.04),
    "GS": _Known(385.0, 0.07, date(1999, 5, 4)),
    "C": _Known(52.0, -0.08),
    "V": _Known(259.0, 0.17, date(2008, 3, 19)),
    "MA": _Known(423.0, 0.2, date(2006, 5, 25)),
    "BRK.A": _Known(546_000.0, 0.08),
    "BRK.B": _Known(361.0, 0.08),
    "UNH": _Known(532.0, 0.16),
    "JNJ": _Known(160.0, 0.05),
    "PFE": _Known(29.0, 0.01),
    "MRK": _Known(113.0, 0.03),
    "LLY": _Known(592.0, 0.1),
    "ABBV": _Known(160.0, 0.14, date(2013, 1, 2)),
    "XOM": _Known(102.0, 0.04),
    "CVX": _Known(150.0, 0.05),
    "WMT": _Known(53.0, 0.07),
    "COST": _Known(649.0, 0.13),
    "HD": _Known(344.0, 0.09),
    "MCD": _Known(297.0, 0.09),
    "KO": _Known(59.0, 0.03),
    "PEP": _Known(169.0, 0.06),
    "PG": _Known(148.0, 0.06),
    "DIS": _Known(90.0, 0.05),
    "NFLX": _Known(468.0, 0.3, date(2002, 5, 23)),
    "CRM": _Known(256.0, 0.2, date(2004, 6, 23)),
    "ORCL": _Known(103.0, 0.08),
    "ADBE": _Known(580.0, 0.15),
    "INTC": _Known(47.0, 0.02),
    "AMD": _Known(138.0, 0.12),
    "QCOM": _Known(141.0, 0.08),
    "CSCO": _Known(50.0, 0.02),
    "IBM": _Known(161.0, 0.03),
    "GE": _Known(102.0, -0.03),
    "BA": _Known(251.0, 0.07),
    "CAT": _Known(293.0, 0.1),
    "T": _Known(17.0, -0.01),
    "VZ": _Known(38.0, 0.01),
    "CMG": _Known(45.0, 0.2, date(2006, 1, 26)),
    "F": _Known(12.0, 0.0),
    "KIMpL": _Known(22.0, 0.0, date(2017, 8, 8)),
}
_KNOWN_SPLITS = (
    *NVDA_SPLITS,
    Split("AAPL", date(2000, 6, 21), 1, 2),
    Split("AAPL", date(2005, 2, 28), 1, 2),
    Split("AAPL", date(2014, 6, 9), 1, 7),
    Split("AAPL", date(2020, 8, 31), 1, 4),
    Split("AMZN", date(2022, 6, 6), 1, 20),
    Split("AVGO", date(2024, 7, 15), 1, 10),
    Split("C", date(2011, 5, 9), 10, 1),
    Split("CMG", date(2024, 6, 26), 1, 50),
    Split("GE", date(2021, 8, 2), 8, 1),
    Split("GOOG", date(2022, 7, 18), 1, 20),
    Split("GOOGL", date(2022, 7, 18), 1, 20),
    Split("NFLX", date(2015, 7, 15), 1, 7),
    Split("TSLA", date(2020, 8, 31), 1, 5),
    Split("TSLA", date(2022, 8, 25), 1, 3),
    Split("WMT", date(2024, 2, 26), 1, 3),
)
# NVDA's real price level, adjusted for all its splits: the simulation swings around the line through these.
_NVDA_LEVELS_USD = (
    (date(1999, 1, 22), 0.041),
    (date(2000, 6, 27), 0.30),
    (date(2001, 12, 31), 0.56),
    (date(2002, 10, 8), 0.066),
    (date(2007, 10, 17), 0.95),
    (date(2008, 11, 20), 0.15),
    (date(2015, 7, 1), 0.50),
    (date(2018, 10, 1), 7.2),
    (date(2018, 12, 24), 3.2),
    (date(2021, 7, 20), 18.7),
    (date(2021, 11, 29), 33.4),
    (date(2022, 10, 14), 11.2),
    (date(2024, 1, 2), 48.2),
    (date(2024, 3, 8), 88.0),
    (date(2024, 6, 7), 120.9),
    (date(2024, 8, 7), 100.0),
    (date(2025, 1, 6), 149.0),
    (date(2025, 4, 4), 94.0),
    (date(2025, 10, 29), 207.0),
)
_GENERATED_RATIOS = ((1, 2), (1, 3), (2, 3), (1, 4), (4, 1), (10, 1))

# Spans of the random walk, in half days: how long until it meets the trend again.
_SPAN = 4096
_NVDA_SPAN = 128


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _hash(seed: Hashes, counter: Integers) -> Hashes:
    """splitmix64's output number `counter` for each seed; the arrays broadcast."""
    import numpy as np

    state = seed + (counter.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Hashes = state ^ (state >> np.uint64(31))
    return mixed


def _uniform(seed: Hashes, counter: Integers) -> Floats:
    """Uniform on [0, 1)."""
    import numpy as np

    uniform: Floats = (_hash(seed, counter) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniform


def _normal(seed: Hashes, counter: Integers) -> Floats:
    """Standard deviation 1, mean 0, bell-shaped, within 3.5: the sum of the four quarters of one hash."""
    import numpy as np

    bits = _hash(seed, counter)
    quarters = [((bits >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.float64) for shift in (0, 16, 32, 48)]
    normal: Floats = (sum(quarters) / 65536.0 - 2.0) * math.sqrt(3.0)
    return normal


def _stream(seed: Hashes, number: int) -> Hashes:
    """A seed of its own for one purpose."""
    import numpy as np

    return _hash(seed, np.full(1, -number - 1, dtype=np.int64))


def _brownian(seed: Hashes, tick: Integers, span: Integers) -> Floats:
    """A Brownian motion with variance 1 a tick, tied to 0 at every multiple of `span` (a power of 2).

    Levy's construction: each halving of the span adds one tent, so a tick costs log2(span) hashes and needs no others.
    """
    import numpy as np

    path = np.zeros(np.broadcast_shapes(seed.shape, tick.shape), dtype=np.float64)
    step = int(span.max())
    while step >= 2:
        knot, inside = np.divmod(tick, step)
        tent = np.minimum(inside, step - inside) / (step / 2)
        weight = np.where(span >= step, math.sqrt(step) / 2, 0.0)
        path += weight * tent * _normal(_stream(seed, step), knot)
        step //= 2
    return path


def _wave(seed: Hashes, tick: Integers, period: int) -> Floats:
    """Smooth noise that takes a new random value every `period` ticks; standard deviation about 1 at those."""
    import numpy as np

    knot, inside = np.divmod(tick, period)
    share = inside / period
    share = share * share * (3 - 2 * share)
    return _normal(seed, knot) * (1 - share) + _normal(seed, knot + 1) * share


def _day_number(day: date) -> int:
    return (day - _EPOCH).days


class SimulatedMarket:
    """Well-known tickers, and invented ones up to `size` tickers in all (never fewer than the well-known).

    Invented tickers are Z and three letters; some are spelt like preferred shares (ZAABpA) or share classes (ZAAC.B).
    """

    def __init__(self, size: int = DEFAULT_MARKET_SIZE) -> None:
        self.tickers: tuple[str, ...] = (*_KNOWN, *(_invented(n) for n in range(max(0, size - len(_KNOWN)))))
        self._position = {ticker: n for n, ticker in enumerate(self.tickers)}

    def bars(self, ticker: str, first: date, last: date) -> list[Bar]:
        position = self._position.get(ticker)
        if position is None:
            return []
        listed = _EPOCH + timedelta(days=int(self._parameters.first_day[position]))
        days = sessions(max(first, listed), last)
        return self._bars([position], days) if days else []

    def grouped(self, day: date) -> list[tuple[str, Bar]]:
        if not is_session(day):
            return []
        listed = (self._parameters.first_day <= _day_number(day)).nonzero()[0].tolist()
        if not listed:
            return []
        return [(self.tickers[n], bar) for n, bar in zip(listed, self._bars(listed, [day]), strict=True)]

    def splits(self) -> Sequence[Split]:
        return self._splits

    @cached_property
    def _splits(self) -> tuple[Split, ...]:
        import numpy as np

        candidates = sessions(date(2005, 1, 3), date(2025, 12, 31))
        seeds = self._parameters.seed
        draws = _hash(_stream(seeds, 1), np.zeros(1, dtype=np.int64)).tolist()
        invented: list[Split] = []
        for n in range(len(_KNOWN), len(self.tickers)):
            if draws[n] % 8 == 0:
                day = candidates[(draws[n] >> 8) % len(candidates)]
                if _day_number(day) > self._parameters.first_day[n]:
                    invented.append(Split(self.tickers[n], day, *_GENERATED_RATIOS[(draws[n] >> 40) % 6]))
        return (*_KNOWN_SPLITS, *invented)

    @cached_property
    def _parameters(self) -> _Parameters:
        return _Parameters.of(self.tickers)

    def _multiples(self, positions: Integers, days: Integers) -> Floats:
        """How many of today's shares one share was, for each position and day (broadcast)."""
        import numpy as np

        if positions.size == 1:
            multiples: Floats = np.ones(days.shape, dtype=np.float64)
            for day, ratio in self._split_days.get(int(positions[0]), ()):
                multiples[days < day] *= ratio
            return multiples
        multiples = np.ones(len(self.tickers))
        for position, events in self._split_days.items():
            for day, ratio in events:
                if days[0] < day:
                    multiples[position] *= ratio
        return multiples[positions]

    @cached_property
    def _split_days(self) -> dict[int, list[tuple[int, float]]]:
        by_position: dict[int, list[tuple[int, float]]] = {}
        for split in self._splits:
            event = (_day_number(split.execution_date), split.split_to / split.split_from)
            by_position.setdefault(self._position[split.ticker], []).append(event)
        return by_position

    def _bars(self, wanted: Sequence[int], days: Sequence[date]) -> list[Bar]:
        """Bars of many tickers on one day or of one ticker on many days."""
        import numpy as np

        positions = np.asarray(wanted, dtype=np.int64)
        day = np.asarray([_day_number(d) for d in days], dtype=np.int64)
        p = self._parameters.take(positions)
        multiple = self._multiples(positions, day)

        # Two ticks a day: the open and the close.
        open_ = np.exp(p.trend(day) + p.volatility * _brownian(p.seed, 2 * day - 1, p.span))
        close = np.exp(p.trend(day) + p.volatility * _brownian(p.seed, 2 * day, p.span))
        reach = 0.6 * p.volatility
        high = np.maximum(open_, close) * np.exp(reach * np.abs(_normal(_stream(p.seed, 2), day)))
        low = np.minimum(open_, close) * np.exp(-reach * np.abs(_normal(_stream(p.seed, 3), day)))
        mean = (open_ + close + high + low) / 4
        draw = _uniform(_stream(p.seed, 4), day)
        # Odd lots count in the vendor's average price, which therefore leaves low..high now and then.
        mean = np.where(p.invented & (draw > 0.95), high * 1.002, mean)
        busy = np.exp(p.log_volume + 0.35 * _normal(_stream(p.seed, 5), day) + 8 * np.abs(np.log(close / open_)))
        volume = np.floor(busy / multiple) + 1
        fraction = np.round(_uniform(_stream(p.seed, 6), day), 6)
        volume = np.where(day >= _day_number(_FRACTIONAL_VOLUME_FROM), volume + fraction, volume)
        trades = np.maximum(1, np.floor(volume / (60 + 90 * draw))).astype(np.int64)
        # The vendor sends rows without a trade: an old price, volume 0, no average, no count.
        idle = np.broadcast_to(p.invented & (draw < 0.005), volume.shape)
        prices = [np.round(np.where(idle, open_, price) * multiple, 4).tolist() for price in (open_, high, low, close)]
        columns = zip(
            list(days) if len(days) > 1 else list(days) * len(wanted),
            *prices,
            np.where(idle, 0.0, np.round(volume, 6)).tolist(),
            np.round(mean * multiple, 4).tolist(),
            trades.tolist(),
            strict=True,
        )
        return [
            Bar(when, o, h, low_, c, v, None if v == 0 else vwap, None if v == 0 else n)
            for when, o, h, low_, c, v, vwap, n in columns
        ]


@dataclass(frozen=True)
class _Parameters:
    """One value per ticker: what a bar is computed from."""

    seed: Hashes
    log_price: Floats
    growth: Floats
    volatility: Floats  # of half a day
    log_volume: Floats
    first_day: Integers
    span: Integers
    invented: NDArray[np.bool_]
    nvda: NDArray[np.bool_]

    @classmethod
    def of(cls, tickers: Sequence[str]) -> _Parameters:
        import numpy as np

        known = [_KNOWN.get(ticker) for ticker in tickers]
        invented = np.asarray([entry is None for entry in known])
        nvda = np.asarray([ticker == "NVDA" for ticker in tickers])
        seed = np.asarray([_seed(f"market/{ticker}") for ticker in tickers], dtype=np.uint64)
        draws = [_uniform(_stream(seed, 100 + n), np.zeros(1, dtype=np.int64)) for n in range(6)]
        opened = _day_number(_FIRST_DAY) + np.floor(draws[0] * 365 * 24).astype(np.int64)
        return cls(
            seed=seed,
            log_price=np.where(
                invented, math.log(4) + 4.2 * draws[1] ** 1.5, [math.log(k.price_usd) if k else 0.0 for k in known]
            ),
            growth=np.where(invented, -0.02 + 0.11 * draws[2], [k.growth if k else 0.0 for k in known]),
            volatility=np.where(nvda, 0.017, 0.007 + np.where(invented, 0.016, 0.006) * draws[3]),
            log_volume=np.where(
                nvda, math.log(3.2e8), np.where(invented, 8.5, 15.0) + np.where(invented, 6, 3) * draws[4]
            ),
            # One invented company in five went public later.
            first_day=np.where(
                invented,
                np.where(draws[5] < 0.2, opened, _day_number(_FIRST_DAY)),
                [_day_number(k.first_day) if k else 0 for k in known],
            ),
            span=np.where(nvda, _NVDA_SPAN, _SPAN).astype(np.int64),
            invented=invented,
            nvda=nvda,
        )

    def take(self, positions: Integers) -> _Parameters:
        return _Parameters(**{name: values[positions] for name, values in vars(self).items()})

    def trend(self, day: Integers) -> Floats:
        """Logarithm of the adjusted price level in USD."""
        import numpy as np

        years = (day - _day_number(_REFERENCE_DAY)) / 365.25
        level = self.log_price + self.growth * years
        if not self.nvda.any():
            return level
        anchors = [_day_number(anchor) for anchor, _ in _NVDA_LEVELS_USD]
        line = np.interp(day, anchors, [math.log(usd) for _, usd in _NVDA_LEVELS_USD])
        line = line + self.growth * np.maximum(0, day - anchors[-1]) / 365.25
        return np.where(self.nvda, line, level)


def _invented(number: int) -> str:
    letters = "".join(chr(ord("A") + number // 26**place % 26) for place in (2, 1, 0))
    suffix = "pA" if number % 40 == 1 else ".B" if number % 60 == 2 else ""
    return f"Z{letters}{suffix}"


class SimulatedWeather:
    """Weather anywhere on Earth: seasons by latitude, days by local solar time, colder with elevation."""

    def hours(
        self, latitude: float, longitude: float, elevation_m: float, first_hour: int, count: int
    ) -> dict[str, list[Number | None]]:
        import numpy as np

        hour = np.arange(first_hour, first_hour + count, dtype=np.int64)
        seed = np.asarray([_seed(f"weather/{latitude:.4f}/{longitude:.4f}")], dtype=np.uint64)
        solar = hour + longitude / 15
        year = (solar / 24 - 200) / 365.2425 * 2 * math.pi  # 0 on the warmest day in the north, 20 July
        day_wave = np.cos((solar % 24 - 15) / 24 * 2 * math.pi)  # 1 at three in the afternoon

        wetness = 0.75 * _wave(_stream(seed, 1), hour, 60) + 0.5 * _wave(_stream(seed, 2), hour, 7)
        shower = np.maximum(wetness - 1, 0) ** 1.5 * (0.3 + 1.4 * _uniform(_stream(seed, 3), hour))
        rain = np.round(4 * shower, 1)
        cloud = np.clip(0.45 + 0.45 * wetness + 0.2 * _wave(_stream(seed, 4), hour, 5), 0, 1)

        mean = 27.5 - 0.0085 * latitude**2
        season = math.copysign(min(0.29 * abs(latitude), 16), latitude)
        temperature = (
            mean
            + season * np.cos(year)
            + (5.0 - 3.0 * cloud) * day_wave
            + 3.5 * _wave(_stream(seed, 5), hour, 96)
            + 0.6 * _wave(_stream(seed, 6), hour, 4)
            - 0.0065 * elevation_m
        )
        temperature = np.round(temperature, 1)
        wind = np.abs(11 + 6 * _wave(_stream(seed, 7), hour, 36) + 2 * _wave(_stream(seed, 8), hour, 3) + 3 * day_wave)
        wind = np.round(wind, 1)
        humidity = np.clip(68 + 14 * wetness - 14 * day_wave + 5 * _wave(_stream(seed, 9), hour, 8), 8, 100)
        humidity = np.round(humidity).astype(np.int64)
        # Steadman's apparent temperature, wind in m/s.
        vapour_hpa = humidity / 100 * 6.105 * np.exp(17.27 * temperature / (237.7 + temperature))
        apparent = np.round(temperature + 0.33 * vapour_hpa - 0.70 * wind / 3.6 - 4.0, 1)
        return {
            "temperature_2m": temperature.tolist(),
            "apparent_temperature": apparent.tolist(),
            "relative_humidity_2m": humidity.tolist(),
            "precipitation": rain.tolist(),
            "wind_speed_10m": wind.tolist(),
            "weather_code": _weather_code(temperature, rain, cloud, humidity).tolist(),
        }


def _weather_code(temperature: Floats, rain: Floats, cloud: Floats, humidity: Integers) -> Integers:
    """WMO code 4677 as the vendor derives it: snow below freezing, rain, thunderstorm, fog, clouds."""
    import numpy as np

    snow = np.select([rain < 0.5, rain < 1.5], [71, 73], 75)
    drizzle = np.select([rain < 0.3, rain < 0.5], [51, 53], 55)
    wet = np.select([rain < 1.0, rain < 2.5, rain < 7.5], [drizzle, 61, 63], 65)
    wet = np.where((rain >= 10) & (temperature > 15), 95, wet)
    dry = np.select([cloud < 0.2, cloud < 0.45, cloud < 0.75], [0, 1, 2], 3)
    dry = np.where(humidity >= 99, 45, dry)
    return np.where(rain > 0, np.where(temperature <= 0, snow, wet), dry).astype(np.int64)
