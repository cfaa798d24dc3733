"""Users in pairs that play ping-pong, each with a plain slixmpp client, all on one asyncio loop.

Start it as `python slixmpp_pairs.py PORT USERS PAUSE`. It prints `logged in CPU_SECONDS BYTES`, the
cost of the logins, then plays until it is ended. Each message is answered after PAUSE seconds.
"""

import asyncio
import os
import resource
import ssl
import sys
from typing import Any

from slixmpp import ClientXMPP

RAMP = 50  # simultaneous logins
BODY = "a message of some thirty bytes"


class PairUser(ClientXMPP):
    """One user, which answers each message."""

    def __init__(self, number: int, context: ssl.SSLContext, pause: float) -> None:
        allow = {"feature_mechanisms": {"unencrypted_plain": True}}
        super().__init__(
            f"user_{number}@localhost/r",
            f"password_{number}",
            plugin_config=allow,
            sasl_mech="PLAIN",
            ssl_context=context,
        )
        self.enable_plaintext, self.enable_starttls, self.enable_direct_tls = True, False, False
        self.partner = f"user_{number + 1 if number % 2 else number - 1}@localhost/r"
        self.pause = pause
        self.add_event_handler("message", self.later if pause else self.answer)

    def later(self, _message: Any) -> None:
        """Send an answer after the pause."""
        self.loop.call_later(self.pause, self.answer, None)

    def answer(self, _message: Any) -> None:
        """Send an answer."""
        self.send_message(self.partner, BODY, mtype="chat")


async def log_in(client: PairUser, port: int, turn: asyncio.Semaphore) -> None:
    """Log a user in, RAMP users at a time."""
    async with turn:
        client.connect("127.0.0.1", port)
        await client.wait_until("session_start", 60)


async def play(port: int, users: int, pause: float) -> None:
    """Log all users in, print the cost, and send the first message of each pair."""
    context = ssl.create_default_context()
    before, turn = used(), asyncio.Semaphore(RAMP)
    clients = [PairUser(number, context, pause) for number in range(1, users + 1)]
    await asyncio.gather(*(log_in(client, port, turn) for client in clients))
    after = used()
    print("logged in", after[0] - before[0], after[1] - before[1], flush=True)
    for client in clients[::2]:
        client.answer(None)
    await asyncio.get_running_loop().create_future()


def used() -> tuple[float, int]:
    """Return CPU seconds and resident memory (bytes) so far."""
    with open("/proc/self/statm") as statm:  # noqa: PTH123
        pages = int(statm.read().split()[1])
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    asyncio.run(play(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
