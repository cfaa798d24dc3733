"""Reports an outage of a server: one line when it fails, one when it recovers."""

from collections.abc import Callable


class Outage:
    """Tracks whether the server `who` works, and reports changes with `say`."""

    def __init__(self, who: str, kept: str, say: Callable[[str], None]) -> None:
        self._who = who
        self._kept = kept
        self._say = say
        self.on = False

    def begin(self, why: object) -> None:
        """Note a failure; report only the first one of an outage."""
        if not self.on:
            self.on = True
            self._say(
                f"{self._who} {_in_words(why)}: {self._kept} are kept and sent when it is back"
            )

    def end(self, what: str) -> None:
        """Note that it works; after an outage, report it together with `what` was done."""
        if self.on:
            self.on = False
            self._say(f"{self._who} is back: {what}")

    def lost(self, what: str) -> None:
        """Report a loss that is final."""
        self._say(f"{self._who}: {what}")


def _in_words(why: object) -> str:
    if isinstance(why, TimeoutError):
        return "does not answer in time"
    reason = getattr(why, "strerror", None) or why
    return f"does not accept data ({str(reason).lower()})"
