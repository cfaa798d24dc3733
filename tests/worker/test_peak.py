"""A worker's peak of users: its reports of one second add up to the highest value."""

from types import SimpleNamespace
from typing import Any

from amoc_gevent.core.measure.snapshot import Snapshot
from amoc_gevent.core.messages import UserCounts
from amoc_gevent.worker.worker import Worker


def test_a_second_reported_twice_has_the_higher_peak_not_the_sum() -> None:
    worker = Worker.__new__(Worker)
    worker._peak = (-1, 0)
    live: Any = SimpleNamespace(
        users=SimpleNamespace(),
        health=SimpleNamespace(take=lambda _second, _lag: SimpleNamespace(rss=0)),
        garbage=SimpleNamespace(check=lambda _rss, _running: None),
    )
    totals: dict[int, Snapshot] = {}
    for second, present in ((7, 2), (7, 3), (7, 1), (8, 3), (8, 3), (9, 0)):
        live.users.counts = lambda present=present: UserCounts(running=present)
        totals.setdefault(second, Snapshot()).merge(worker._measured(second, live)[1])
    assert {second: total.peak for second, total in totals.items()} == {7: 3, 8: 3, 9: 0}
