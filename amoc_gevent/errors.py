"""The root of all errors, and its subclasses that decide the exit code."""

EXIT_FINISHED = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class AmocError(Exception):
    """An error that one line explains: what is wrong, what would be right, and where."""

    exit_code = EXIT_FAILED


class UsageError(AmocError):
    """A command, an argument or a setting is wrong. Nothing was started."""

    exit_code = EXIT_USAGE


class ScenarioError(AmocError):
    """A scenario cannot be loaded, or its ``init`` raised; `detail` is the traceback, if any."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail
