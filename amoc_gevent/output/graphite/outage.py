"""When a server that is not answering is spoken of: once when it fails, once when it is back."""

from collections.abc import Callable


class Outage:
    """Whether `who` answers, told to people by `say` where that changes."""

    def __init__(self, who: str, kept: str, say: Callable[[str], None]) -> None:
        self._who = who
        self._kept = kept
        self._say = say
        self.on = False

    def begin(self, why: object) -> None:
        """Note that it failed; only the first time is said."""
        if not self.on:
            self.on = True
            self._say(
                f"{self._who} {_in_words(why)}: {self._kept} are kept and sent when it is back"
            )

    def end(self, what: str) -> None:
        """Note that it works, and say `what` was done if it had failed."""
        if self.on:
            self.on = False
            self._say(f"{self._who} is back: {what}")

    def lost(self, what: str) -> None:
        """Say what was lost for good."""
        self._say(f"{self._who}: {what}")


def _in_words(why: object) -> str:
    if isinstance(why, TimeoutError):
        return "does not answer in time"
    reason = getattr(why, "strerror", None) or why
    return f"does not take what is sent ({str(reason).lower()})"
