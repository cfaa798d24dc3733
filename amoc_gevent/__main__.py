"""`amoc` and `python -m amoc_gevent`: patches the standard library first where users will run."""

import sys

PATCHED = frozenset({"run", "console-engine", "try", "worker", "demo", "master", "node"})
"""The commands that hold users or sockets; all others are plain clients that start fast."""


def main() -> None:
    """Run the command line. Nothing that gevent patches may be imported before it has."""
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    if command in PATCHED and "--help" not in sys.argv:
        from gevent import monkey  # noqa: PLC0415  # only here, and before all others

        monkey.patch_all()
    from amoc_gevent.cli.main import main as amoc  # noqa: PLC0415  # after patching

    amoc()


if __name__ == "__main__":
    main()
