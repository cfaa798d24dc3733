"""Runs an unmodified SleekXMPP script: python -m amoc_gevent.xmpp.sleek script.py ARGS."""

from gevent import monkey

monkey.patch_all()

import builtins  # noqa: E402  # the imports below need the patched standard library
import runpy  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import NoReturn  # noqa: E402

import gevent  # noqa: E402

from amoc_gevent.errors import EXIT_USAGE  # noqa: E402
from amoc_gevent.xmpp.sleek import connection, install  # noqa: E402

USAGE = "usage: python -m amoc_gevent.xmpp.sleek [--server HOST:PORT] script.py [ARGS]"


def main() -> None:
    """Run the script named by the first argument; wait for its streams to end.

    With `--server`, streams without an address of their own connect there.
    """
    arguments = sys.argv[1:]
    if arguments[:1] == ["--server"]:
        host, _, port = "".join(arguments[1:2]).rpartition(":")
        if not host or not port.isdigit():
            _refuse(USAGE)
        connection.default_address = (host, int(port))
        del arguments[:2]
    if not arguments or arguments[0].startswith("-"):
        _refuse(USAGE)
    script = Path(arguments[0])
    if not script.is_file():
        _refuse(f"there is no script {script}")
    install()
    builtins.input = _input
    sys.argv = arguments
    sys.path[0] = str(script.parent)
    runpy.run_path(str(script), run_name="__main__")
    connection.join_all()


_read = builtins.input


def _input(prompt: object = "") -> str:
    """Read a line like `input`, in a thread, so that the script's streams keep running."""
    line: str = gevent.get_hub().threadpool.apply(_read, (prompt,))
    return line


def _refuse(why: str) -> NoReturn:
    print(why, file=sys.stderr)
    raise SystemExit(EXIT_USAGE)


if __name__ == "__main__":
    main()
