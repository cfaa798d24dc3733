"""How much is logged: the environment's AMOC_LOG says it to every process."""

import logging
import os

from amoc_gevent.errors import UsageError

VARIABLE = "AMOC_LOG"


def log_level(default: str) -> str:
    """Return the level that AMOC_LOG names, else `default`. Raises UsageError for no level."""
    named = os.environ.get(VARIABLE) or default
    levels = logging.getLevelNamesMapping()
    if named not in levels:
        known = ", ".join(sorted({*levels} - {"NOTSET", "WARN", "FATAL"}, key=levels.__getitem__))
        raise UsageError(f"{VARIABLE}: there is no level {named}; there are {known}")
    return named
