"""The benchmarks `http` and `saturation` for Locust: the same as scenarios/rounds.py.

Start it as `locust -f locust_rounds.py CLASS` with GETS and TURNS in the environment. Certificates
are not verified. This saves Locust little, because only handshakes verify them.
"""

import os
from typing import Any

from locust import FastHttpUser, HttpUser, constant, task

from benchmarks.peers.busy import work

GETS = int(os.environ["GETS"])
TURNS = int(os.environ["TURNS"])


def do_round(client: Any) -> None:
    """Do one round on the connection that the user keeps."""
    for _ in range(GETS):
        client.get("/")
        if TURNS:
            work(TURNS)


class Fast(FastHttpUser):
    """On geventhttpclient."""

    wait_time = constant(0)

    @task
    def round(self) -> None:
        """Do one round."""
        do_round(self.client)


class Plain(HttpUser):
    """On requests."""

    wait_time = constant(0)

    @task
    def round(self) -> None:
        """Do one round."""
        do_round(self.client)
