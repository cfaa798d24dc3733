"""Parses and formats times, rates and figures: `30s`, `1200/min`, `12.3 ms`.

The `parse_` functions read options and settings as people type them. The `format_` functions return
text for tables. `parse_duration` reads the output of `format_duration`.
"""

import re
from math import isfinite

_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_BARE = re.compile(_NUMBER)
_DURATION = re.compile(
    rf"(?:{_NUMBER}\s*h)?\s*(?:{_NUMBER}\s*m)?\s*(?:{_NUMBER}\s*s)?\s*(?:{_NUMBER}\s*ms)?"
)
_RATE = re.compile(rf"{_NUMBER}\s*(?:/\s*(\w+))?")
_DURATION_FORMS = "write it as 500ms, 30s, 5m, 1h or 1m30s; a bare number is seconds"
_RATE_FORMS = "write it as 20/s, 1200/min or 5/h; a bare number is per second"
_SECONDS = (3600.0, 60.0, 1.0, 0.001)
_PERIODS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "hour": 3600.0}


def parse_duration(text: str) -> float:
    """Return the seconds in `text`, such as "500ms", "30s", "5m", "1h", "1m30s" or "15".

    Raises ValueError, with the valid forms, for anything else, including a negative time.
    """
    stripped = text.strip()
    if _BARE.fullmatch(stripped):
        return _finite(float(stripped), text)
    found = _DURATION.fullmatch(stripped)
    if not stripped or found is None:
        raise ValueError(f"{text!r} is not a time: {_DURATION_FORMS}")
    parts = zip(found.groups(), _SECONDS, strict=True)
    return _finite(sum(float(number) * seconds for number, seconds in parts if number), text)


def _finite(value: float, text: str) -> float:
    """Return `value`, or raise ValueError if the number in `text` is too large for a float."""
    if not isfinite(value):
        raise ValueError(f"{text[:20]!r}... is too large a number")
    return value


def parse_rate(text: str) -> float:
    """Return the rate per second in `text`, such as "20/s", "1200/min", "5/h" or "20".

    Raises ValueError, with the valid forms, for anything else, including a rate of zero.
    """
    found = _RATE.fullmatch(text.strip())
    period = _PERIODS.get(found[2] or "s") if found else None
    if found is None or period is None:
        raise ValueError(f"{text!r} is not a rate: {_RATE_FORMS}")
    rate = _finite(float(found[1]) / period, text)
    if rate == 0:
        raise ValueError(f"{text!r} is not a rate: it must be above zero")
    return rate


def format_duration(seconds: float) -> str:
    """Return `seconds` as "1h 1m 30s", "1.5s" or "250ms", without parts that are zero."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if round(seconds, 3) < 1:
        return f"{round(seconds * 1000)}ms" if seconds else "0s"
    rounded = round(seconds, 1) if seconds < 10 else float(round(seconds))
    minutes, rest = divmod(rounded, 60)
    hours, minutes = divmod(int(minutes), 60)
    parts = (f"{hours}h" if hours else "", f"{minutes}m" if minutes else "")
    last = f"{rest:g}s" if rest else ""
    return " ".join(part for part in (*parts, last) if part)


def format_us(us: float) -> str:
    """Return `us` microseconds with three digits: "850 µs", "12.3 ms", "1.20 s"."""
    if us < 999.5:
        return f"{us:.0f} µs"
    if us < 999_500:
        return f"{_three_digits(us / 1000)} ms"
    return f"{_three_digits(us / 1_000_000)} s"


def format_count(count: float) -> str:
    """Return a whole number as "12,345", a fraction below 100 with three digits as "7.25"."""
    if count == int(count) or abs(count) >= 99.95:
        return f"{count:,.0f}"
    return _three_digits(count)


def counted(count: float, what: str) -> str:
    """Return a count with its noun: "1 second" or "1,200 seconds"."""
    return f"{format_count(count)} {what}" + ("" if count == 1 else "s")


def _three_digits(value: float) -> str:
    """Return `value` with the decimals that make three digits, none from 100 on."""
    size = abs(value)
    decimals = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f"{value:.{decimals}f}"
