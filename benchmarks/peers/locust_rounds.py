"""Locust's side of the benchmarks `http` and `saturation`, the same as scenarios/rounds.py.

Started as `locust -f locust_rounds.py CLASS` with GETS and TURNS in the environment. Certificates
are not verified, which spares Locust a little: only handshakes would.
"""

import os

from locust import FastHttpUser, HttpUser, constant, task

from benchmarks.peers.busy import work

GETS = int(os.environ["GETS"])
TURNS = int(os.environ["TURNS"])


class Fast(FastHttpUser):
    """On geventhttpclient."""

    wait_time = constant(0)

    @task
    def round(self) -> None:
        """Do one round on the connection that the user keeps."""
        for _ in range(GETS):
            self.client.get("/")
            if TURNS:
                work(TURNS)


class Plain(HttpUser):
    """On requests."""

    wait_time = constant(0)

    @task
    def round(self) -> None:
        """Do one round on the connection that the user keeps."""
        for _ in range(GETS):
            self.client.get("/")
            if TURNS:
                work(TURNS)
