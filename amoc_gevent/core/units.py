"""Parses and formats times, rates and figures: `30s`, `1200/min`, `12.3 ms`.

The `parse_` functions read options and settings as people type them. The `format_` functions return
text for tables. `parse_duration` reads the output of `format_duration`.
"""

import re

_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_BARE = re.compile(_NUMBER)
_DURATION = re.compile(
    rf"(?:{_NUMBER}\s*h)?\s*(?:{_NUMBER}\s*m)?\s*(?:{_NUMBER}\s*s)?\s*(?:{_NUMBER}\s*ms)?"
)
_RATE = re.compile(rf"{_NUMBER}\s*(?:/\s*(\w+))?")
_DURATION_FORMS = "write it as 500ms, 30s, 5m, 1h or 1m30s; a bare number is seconds"
_RATE_FORMS = "write it as 20/s, 1200/min or 5/h; a bare number is per second"
_SECONDS = (3600.0, 60.0, 1.0, 0.001)
DURATION_MAX_S = 366 * 86400.0
RATE_MAX = 1e6
_PERIODS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "hour": 3600.0}


USER_STATES = ("running", "resting", "waiting", "done")
"""The states of users, in the order in which tables show them."""


def parse_duration(text: str) -> float:
    """Return the seconds in `text`, such as "500ms", "30s", "5m", "1h", "1m30s" or "15".

    Raises ValueError, with the valid forms, for anything else, including a negative time and one
    above 366 days.
    """
    stripped = text.strip()
    found = _DURATION.fullmatch(stripped)
    if _BARE.fullmatch(stripped):
        seconds = float(stripped)
    elif stripped and found is not None:
        parts = zip(found.groups(), _SECONDS, strict=True)
        seconds = sum(float(number) * unit for number, unit in parts if number)
    else:
        raise ValueError(f"{_shortened(text)} is not a time: {_DURATION_FORMS}")
    if seconds > DURATION_MAX_S:
        raise ValueError(f"{_shortened(text)} is too long: a time is at most 366 days, 8784h")
    return seconds


def _shortened(text: str) -> str:
    return repr(text) if len(text) <= 40 else f"{text[:20]!r}..."


def parse_rate(text: str) -> float:
    """Return the rate per second in `text`, such as "20/s", "1200/min", "5/h" or "20".

    Raises ValueError, with the valid forms, for anything else, including a rate of zero and one
    above a million per second.
    """
    found = _RATE.fullmatch(text.strip())
    period = _PERIODS.get(found[2] or "s") if found else None
    if found is None or period is None:
        raise ValueError(f"{_shortened(text)} is not a rate: {_RATE_FORMS}")
    rate = float(found[1]) / period
    if rate == 0:
        raise ValueError(f"{_shortened(text)} is not a rate: it must be above zero")
    if rate > RATE_MAX:
        raise ValueError(f"{_shortened(text)} is too high a rate: {RATE_MAX:,.0f}/s at most")
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


def format_users(users: object) -> list[str]:
    """Return "12 running" and so on, for an object with an attribute for each state."""
    return [f"{format_count(getattr(users, state))} {state}" for state in USER_STATES]


def user_ids(first: int, last: int) -> str:
    """Return "users 3 to 9", or "user 3" for one."""
    return f"users {first} to {last}" if first != last else f"user {first}"


def counted(count: float, what: str) -> str:
    """Return a count with its noun: "1 second" or "1,200 seconds"."""
    return f"{format_count(count)} {what}" + ("" if count == 1 else "s")


def _three_digits(value: float) -> str:
    """Return `value` with the decimals that make three digits, none from 100 on."""
    size = abs(value)
    decimals = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f"{value:.{decimals}f}"
