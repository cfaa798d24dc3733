"""`amoc` and `python -m amoc_gevent`: patches the standard library first where users will run."""

import signal
import sys

PATCHED = frozenset({"run", "console-engine", "try", "worker", "demo"})
"""The commands that hold users or sockets; all others are plain clients that start fast."""

DAEMONS = frozenset({"master", "node"})
"""Those that do it in the foreground; without, they start another process that is patched."""

OWN_INTERRUPT = frozenset({"run"})
"""Those that take Ctrl-C themselves once they are imported; until then it ends them at once."""


def main() -> None:
    """Run the command line. Nothing that gevent patches may be imported before it has."""
    interrupted = signal.getsignal(signal.SIGINT)
    if interrupted is signal.default_int_handler:  # an import that is cut is nobody's traceback
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    patched = command in PATCHED or (command in DAEMONS and "--foreground" in sys.argv)
    if patched and "--help" not in sys.argv:
        from gevent import monkey  # noqa: PLC0415  # only here, and before all others

        monkey.patch_all()
    from amoc_gevent.cli.main import main as amoc  # noqa: PLC0415  # after patching

    if command not in OWN_INTERRUPT:
        signal.signal(signal.SIGINT, interrupted)
    amoc()


if __name__ == "__main__":
    main()
