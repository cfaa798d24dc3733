"""Run the named benchmarks, or all, and print a table for each."""

import argparse
import importlib
import sys

from amoc_gevent.errors import EXIT_FAILED, EXIT_FINISHED, EXIT_INTERRUPTED, AmocError
from benchmarks.machine import INSTALL, heading

NAMES = ("http", "xmpp", "saturation", "users", "recording", "cli", "cluster")


def main() -> int:
    """Run the benchmarks. Return 1 if one could not be measured, whatever the figures are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="shorter and fewer rounds")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in NAMES]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}")
    failed = False
    print(heading(), end="\n\n", flush=True)
    for name in given.names or NAMES:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        try:
            print(importlib.import_module(f"benchmarks.{name}").run(given.quick), flush=True)
        except KeyboardInterrupt:
            return EXIT_INTERRUPTED
        except (AmocError, ModuleNotFoundError) as error:
            hint = f"; {INSTALL}" if isinstance(error, ModuleNotFoundError) else ""
            print(f"{name} could not be measured: {error}{hint}", file=sys.stderr, flush=True)
            failed = True
    return EXIT_FAILED if failed else EXIT_FINISHED


if __name__ == "__main__":
    sys.exit(main())
