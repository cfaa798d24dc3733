"""SleekXMPP's older names: each camelCase name means the name_with_underscores that slixmpp has."""

import re

_CAPITALS = re.compile(r"(?<=[a-z0-9])([A-Z]+)")
_IRREGULAR = {"getNewId": "new_id", "getId": "new_id", "get_id": "new_id"}


def snake_case(name: str) -> str:
    """Return the name by which slixmpp knows it: joinMUC is join_muc, getRoster get_roster."""
    return _IRREGULAR.get(name) or _CAPITALS.sub(r"_\1", name).lower()
