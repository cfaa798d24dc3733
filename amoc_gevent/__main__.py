"""Entry point of `amoc`. Patches the standard library first, for commands that run users."""

import signal
import sys

PATCHED = frozenset({"run", "console-engine", "try", "worker", "demo"})
"""Commands that hold users or sockets. All others are plain clients and start fast."""

DAEMONS = frozenset({"master", "node"})
"""Commands patched only with --foreground; otherwise they start a process that is patched."""

OWN_INTERRUPT = frozenset({"run"})
"""Commands that handle Ctrl-C once imported. Until then it ends them at once."""


def main() -> None:
    """Run the command line. No module that gevent patches may be imported before it has patched."""
    interrupted = signal.getsignal(signal.SIGINT)
    if interrupted is signal.default_int_handler:  # Ctrl-C during the imports shows no traceback
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    patched = command in PATCHED or (command in DAEMONS and "--foreground" in sys.argv)
    if patched and "--help" not in sys.argv:
        from gevent import monkey  # noqa: PLC0415  # only here, before all other imports

        monkey.patch_all()
    from amoc_gevent.cli.main import main as amoc  # noqa: PLC0415  # after patching

    if command not in OWN_INTERRUPT:
        signal.signal(signal.SIGINT, interrupted)
    amoc()


if __name__ == "__main__":
    main()
