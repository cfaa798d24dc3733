"""Who calls: a script, which finds SleekXMPP's methods, or slixmpp's own code, which finds its own.

The methods that both have under one name are few (send, reply, connect, ...), and their caller's
module tells which is meant. So a script's own plugins and stanza classes have the face too.
"""

import sys

_OWN = ("slixmpp", "asyncio")


def called_by_slixmpp() -> bool:
    """Say whether what asks was called by slixmpp, or by asyncio on its behalf."""
    module: str = sys._getframe(2).f_globals.get("__name__", "")
    return module.startswith(_OWN)
