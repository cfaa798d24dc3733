"""The benchmarks `http` and `saturation` for amoc: rounds of GETs on a connection per user.

In `saturation` users do CPU work after each answer.
"""

from amoc_gevent import http, settings
from benchmarks.peers.busy import work

url = settings.declare("url", "http://127.0.0.1:8080", "the server")
client = settings.declare("client", "Session", "the client", verify=["Session", "RequestsSession"])
ca = settings.declare("ca", "", "file of the certificate authority, for https")
gets = settings.declare("gets", 100, "requests per round")
turns = settings.declare("turns", 0, "turns of CPU work after each answer")

Sessions = dict[int, "http.Session | http.RequestsSession"]


def init() -> Sessions:
    """Begin with no sessions."""
    return {}


def start(user_id: int, sessions: Sessions) -> None:
    """Do one round."""
    if user_id not in sessions:
        if client.value == "Session":
            sessions[user_id] = http.Session(url.value, verify=ca.value or True)
        else:
            sessions[user_id] = http.RequestsSession(url.value)
    session, busy = sessions[user_id], turns.value
    for _ in range(gets.value):
        session.get("/")
        if busy:
            work(busy)
