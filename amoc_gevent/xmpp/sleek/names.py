"""SleekXMPP's older camelCase names, mapped to slixmpp's snake_case names."""

import re

_CAPITALS = re.compile(r"(?<=[a-z0-9])([A-Z]+)")
_IRREGULAR = {"getNewId": "new_id", "getId": "new_id", "get_id": "new_id"}


def snake_case(name: str) -> str:
    """Return slixmpp's name: join_muc for joinMUC, get_roster for getRoster."""
    return _IRREGULAR.get(name) or _CAPITALS.sub(r"_\1", name).lower()
