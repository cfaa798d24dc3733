"""Check the rules. Print each violation on one line; exit with 1 if there are any."""

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
