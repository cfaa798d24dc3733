"""The log level of every process, from the environment variable AMOC_LOG."""

import logging
import os

from amoc_gevent.errors import UsageError

VARIABLE = "AMOC_LOG"


def log_level(default: str) -> str:
    """Return the level in AMOC_LOG, else `default`. Raises UsageError for an unknown level."""
    named = os.environ.get(VARIABLE) or default
    levels = logging.getLevelNamesMapping()
    if named not in levels:
        known = ", ".join(sorted({*levels} - {"NOTSET", "WARN", "FATAL"}, key=levels.__getitem__))
        raise UsageError(f"{VARIABLE}: there is no level {named}; there are {known}")
    return named
