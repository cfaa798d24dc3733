"""Tells whether a method was called by a script or by slixmpp's own code.

SleekXMPP and slixmpp share a few method names (send, reply, connect, ...). The caller's module
decides which behaviour applies, so a script's own plugins and stanza classes get SleekXMPP's API
too.
"""

import sys

_OWN = ("slixmpp", "asyncio")


def called_by_slixmpp() -> bool:
    """Return whether the calling method was called by slixmpp, or by asyncio on its behalf."""
    module: str = sys._getframe(2).f_globals.get("__name__", "")
    return module.startswith(_OWN)
