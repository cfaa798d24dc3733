"""Hints for a name that is not known: the most similar known name, or all of them."""

from collections.abc import Collection
from difflib import get_close_matches


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return "did you mean NAME?" for the most similar known name, "" where none is similar."""
    close = get_close_matches(name, known, 1)
    return f"did you mean {close[0]}?" if close else ""


def there_are(name: str, known: Collection[str]) -> str:
    """Return the rest of "there is no … NAME": a hint and all known names.

    Return "" where nothing is known.
    """
    if not known:
        return ""
    hint = did_you_mean(name, known)
    return f"{f', {hint} There' if hint else '; there'} are: {', '.join(known)}"
