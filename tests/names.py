"""Names of test cases, which are the same in each process that collects them."""

import re


def without_addresses(value: object) -> str:
    """Return a value as text, without where in memory it is."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))
