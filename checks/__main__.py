"""Check the rules of the house: print each violation on one line, and exit 1 if there is one."""

import sys
from pathlib import Path

from checks.exceptions import EXCEPTIONS
from checks.rules import find_violations, read_modules, timed_waits

ROOT = Path(__file__).parent.parent

violations = find_violations(read_modules(ROOT / "amoc_gevent"), EXCEPTIONS)
violations += find_violations(read_modules(ROOT / "tests"), {}, [timed_waits])
for violation in violations:
    sys.stdout.write(f"{violation}\n")
sys.exit(bool(violations))
