"""`settle`: how long a user waits for messages in transit at the end of its session."""

import gevent

from amoc_gevent import clock
from tests.servers import wait_for
from tests.xmpp.clients import online
from tests.xmpp_servers import XmppServer

QUIET = 0.2


def test_settle_returns_after_a_quiet_period(prosody: XmppServer) -> None:
    with online(prosody, *prosody.take(2)) as (one, two):
        began = clock.monotonic()
        settling = gevent.spawn(two.settle, QUIET)
        wait_for(lambda: clock.monotonic() > began + QUIET / 2, what="half of that time")
        one.send_tracked(two.bare, "late")
        arrived = two.wait_for("message", 5).received_at
        settling.get(timeout=10)
        assert clock.monotonic() - arrived >= QUIET


def test_settle_returns_even_if_messages_never_stop(prosody: XmppServer) -> None:
    with online(prosody, *prosody.take(2)) as (one, two):
        settling = gevent.spawn(two.settle, QUIET / 10)

        def ended() -> bool:
            one.send_tracked(two.bare, "one more")
            two.wait_for("message", 5)
            return settling.ready()

        wait_for(ended, what="the end of it")
        settling.get()
