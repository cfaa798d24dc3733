"""A master's service answers `summary`, the only command that needs an output."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from amoc_gevent.control.service import MasterService
from amoc_gevent.core.answers import (
    Answer,
    IdleStatus,
    RunLine,
    RunList,
    TextReport,
)
from amoc_gevent.core.run.commands import Command, Status, Summary
from amoc_gevent.core.run_summary import SummaryAnswer
from amoc_gevent.errors import AmocError, UsageError
from amoc_gevent.output.summary import summary_of
from tests.output.runs import full_run


def service(*, readable: bool = True) -> MasterService:
    """Return the service of a master with one run."""
    run = full_run()

    def find_run(run_id: str) -> Any:
        if run_id not in {"", run.id} or not readable:
            raise AmocError(f"no run {run_id}")
        return run

    def handle(command: Command) -> Answer:
        runs = RunList((RunLine(run.id, run.scenario, run.status),))
        return IdleStatus("idle", 3) if isinstance(command, Status) else runs

    master = SimpleNamespace(find_run=find_run, handle=handle)
    return MasterService(cast("Any", master), cast("Any", None))


def test_a_summary_is_answered_like_other_commands() -> None:
    assert service().handle(Summary()) == SummaryAnswer(summary_of(full_run()))
    assert service().handle(Status()) == IdleStatus("idle", 3)
    assert [*service().services] == ["watch"]


def test_a_report_has_the_requested_width_within_limits() -> None:
    widths = []
    for asked in (-5, 60, 10**9):
        answer = service().handle(Summary(form="text", width=asked))
        assert isinstance(answer, TextReport)
        assert "shop" in answer.report
        widths.append(max(map(len, answer.report.splitlines())))
    assert widths[0] < widths[1] <= 60 < widths[2] <= 1000


def test_an_unknown_run_is_a_usage_error_and_an_unreadable_one_is_not() -> None:
    with pytest.raises(UsageError, match="there is no run 7a; `runs` lists them"):
        service().handle(Summary("7a"))
    with pytest.raises(AmocError, match="no run 5f0c") as caught:
        service(readable=False).handle(Summary(full_run().id))
    assert not isinstance(caught.value, UsageError)
    with pytest.raises(UsageError, match="summary: form must be one of: json, text"):
        service().handle(Summary(form="page"))
