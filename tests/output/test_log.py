"""The lines that a master's log has of its runs."""

import logging

import pytest

from amoc_gevent.core.messages import Event
from amoc_gevent.output.base import RunOutcome
from amoc_gevent.output.log import RunLog
from tests.output.runs import START, measured, run_of


def test_events_and_the_end_are_lines_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    run = run_of("finished", ended_after=12.5)
    run.results.add(START, measured({"GET /": [1, 2, 3]}), [], run.users)
    log = RunLog()
    with caplog.at_level(logging.INFO):
        log.started(run)
        for kind, text in (
            ("add", "5 users, 11 to 15"),
            ("set", "password = hunter2"),
            ("user-error", "ValueError\nTraceback"),
            ("node-lost", "node two was not heard"),
        ):
            log.event(Event(START, kind, text))
        log.ended(RunOutcome(run))
    assert caplog.messages == [
        f"run {run.id}: add: 5 users, 11 to 15",
        f"run {run.id}: set: password",
        f"run {run.id}: user-error: ValueError",
        f"run {run.id} finished after 12.5 s, 3 operations",
    ]
