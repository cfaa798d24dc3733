"""Check the rules of the house: print each breach on one line, and exit 1 if there is one."""

import sys
from pathlib import Path

from checks.exceptions import EXCEPTIONS
from checks.house import judge, read

PACKAGE = Path(__file__).parent.parent / "amoc_gevent"

breaches = judge(read(PACKAGE), EXCEPTIONS)
for breach in breaches:
    sys.stdout.write(f"{breach}\n")
sys.exit(bool(breaches))
