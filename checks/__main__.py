"""Check the rules of the house: print each breach on one line, and exit 1 if there is one."""

import sys
from pathlib import Path

from checks.exceptions import EXCEPTIONS
from checks.house import judge, read, timed_waits

ROOT = Path(__file__).parent.parent

breaches = judge(read(ROOT / "amoc_gevent"), EXCEPTIONS)
breaches += judge(read(ROOT / "tests"), {}, [timed_waits])
for breach in breaches:
    sys.stdout.write(f"{breach}\n")
sys.exit(bool(breaches))
