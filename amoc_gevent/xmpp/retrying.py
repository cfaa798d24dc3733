"""The pause between two attempts at a request that the server may accept a moment later."""

import gevent

from amoc_gevent import clock
from amoc_gevent.xmpp.errors import XmppError

PAUSE_S = 0.05


def pause_or_raise(error: XmppError, deadline: float) -> None:
    """Pause before the next attempt, or raise `error` if it would be after `deadline`.

    `deadline` is in monotonic seconds.
    """
    if clock.monotonic() + PAUSE_S > deadline:
        raise error
    gevent.sleep(PAUSE_S)
    if clock.monotonic() >= deadline:  # on a busy machine the pause takes longer
        raise error
