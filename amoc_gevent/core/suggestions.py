"""Hints for an unknown name: the most similar known name, or all known names."""

from collections.abc import Collection
from difflib import get_close_matches


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return "did you mean NAME?" with the most similar known name, "" if none is similar."""
    close = get_close_matches(name, known, 1)
    return f"did you mean {close[0]}?" if close else ""


def there_are(name: str, known: Collection[str]) -> str:
    """Return the rest of the message "there is no ... NAME": a hint and all known names.

    Return "" if there are no known names.
    """
    if not known:
        return ""
    hint = did_you_mean(name, known)
    return f"{f', {hint} There' if hint else '; there'} are: {', '.join(known)}"
