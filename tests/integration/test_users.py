"""Users in real workers: who runs where, who ends when, and that both sides count the same."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from amoc_gevent.core.json_codec import as_json
from amoc_gevent.core.measure.histogram import Histogram
from amoc_gevent.core.measure.results import Results
from amoc_gevent.core.messages import UserCounts
from amoc_gevent.core.run.commands import Add, Remove, Set, Stop
from amoc_gevent.core.run.plan import Options
from amoc_gevent.errors import UsageError
from tests.integration.clusters import steered
from tests.integration.journal import Journal
from tests.servers import wait_for

SLEEPER = """

def start(user_id):
    note("begun")
    try:
        gevent.sleep(3600)
    finally:
        note("ended")
"""

RESTER = """

def start(user_id):
    note("round")
"""

BUSY = """
rounds = metrics.counter("rounds")
present = metrics.gauge("present", "users")
sizes = metrics.histogram("sizes", "bytes")
seen = set()


def start(user_id):
    if user_id not in seen:
        seen.add(user_id)
        present.add(1)
    with metrics.operation("work") as op:
        user.sleep(0.001)
        if user_id % 5 == 0:
            op.fail("five")
    rounds.add(2)
    sizes.record(user_id * 1000)
    note("round")
    if user_id % 7 == 0:
        note("raised")
        raise ValueError("seven")
"""


def by_worker(journal: Journal) -> list[set[int]]:
    """Return the ids that each worker process ran."""
    found: dict[int, set[int]] = defaultdict(set)
    for line in journal.lines():
        found[line.pid].add(line.user_id)
    return sorted(found.values(), key=min)


def test_users_go_round_robin_over_the_workers_also_those_added_one_by_one(
    tmp_path: Path,
) -> None:
    with steered(tmp_path, RESTER, last=5) as run:
        run.until_counts(resting=5)
        for _ in range(3):
            run.master.handle(Add(1))
        run.until_counts(resting=8)
        assert by_worker(run.journal) == [{1, 3, 5, 7}, {2, 4, 6, 8}]
        run.master.handle(Stop())
        assert run.end().status == "finished"


def test_what_was_measured_is_exactly_what_users_did(tmp_path: Path) -> None:
    options = Options(user_rate=500.0, repeat_interval=0.02)
    with steered(tmp_path, BUSY, last=20, options=options) as run:
        wait_for(lambda: len(run.journal.lines("round")) >= 500, what="500 rounds")
        run.master.handle(Stop())
        results = run.end().results

    ids = Counter(run.journal.ids("round"))
    rounds = ids.total()
    raised = len(run.journal.lines("raised"))
    assert results.total.iterations == rounds
    assert results.total.failed == raised > 0
    assert results.total.started == 20
    assert results.total.counters == {"rounds": 2 * rounds}
    work = results.total.operations["work"]
    assert (work.count, work.errors) == (rounds, sum(n for i, n in ids.items() if i % 5 == 0))
    expected = Histogram()
    for user_id, count in ids.items():
        for _ in range(count):
            expected.record(user_id * 1000)
    assert results.total.histograms["sizes"][1].buckets == expected.buckets
    assert results.gauges["present"].last == results.gauges["present"].max == 20
    assert [(e.type, e.count) for e in results.total.errors.values()] == [("ValueError", raised)]
    assert_rows_sum_to_totals(results)
    assert run.users == UserCounts(done=20)


def assert_rows_sum_to_totals(results: Results) -> None:
    rows, total = results.rows, results.total
    assert sum(row.iterations for row in rows) == total.iterations
    assert sum(row.counters.get("rounds", 0) for row in rows) == total.counters["rounds"]
    operations = [row.operations["work"] for row in rows if "work" in row.operations]
    assert sum(o.count for o in operations) == total.operations["work"].count
    assert results.late_reports == 0


def test_a_gentle_removal_takes_the_highest_ids_and_leaves_the_rest_alone(tmp_path: Path) -> None:
    with steered(tmp_path, RESTER, last=10) as run:
        run.until_counts(resting=10)
        assert as_json(run.master.handle(Remove(4))) == {"removed": 4, "asked": 4}
        run.until_counts(resting=6, done=4)
        assert as_json(run.master.handle(Add(2))) == {"first": 11, "last": 12}
        run.until_counts(resting=8, done=4)
        assert sorted(run.journal.ids()) == list(range(1, 13))


def test_a_removal_by_force_runs_finally_blocks_and_a_gentle_one_waits(tmp_path: Path) -> None:
    with steered(tmp_path, SLEEPER, last=8) as run:
        run.until_counts(running=8)
        run.master.handle(Remove(2))
        run.master.handle(Remove(2, force=True))
        run.until_counts(running=6, done=2)
        assert sorted(run.journal.ids("ended")) == [5, 6]
        run.master.handle(Stop(force=True))
        run.end()
        assert sorted(run.journal.ids("ended")) == list(range(1, 9))


def test_users_that_wait_for_their_slot_are_counted_and_can_be_removed(tmp_path: Path) -> None:
    options = Options(user_rate=0.01)
    with steered(tmp_path, RESTER, last=1_000_000, options=options) as run:
        assert run.users == UserCounts(waiting=1_000_000)
        run.until_counts(waiting=999_999, resting=1)
        assert as_json(run.master.handle(Remove(999_998))) == {"removed": 999_998, "asked": 999_998}
        run.until_counts(waiting=1, resting=1, done=999_998)
        run.master.handle(Stop())
        assert run.end().users == UserCounts(done=1_000_000)
        assert run.journal.ids() == [1]


CHANGING = """
def only_words(old, new):
    if new == "42":
        raise ValueError("that is no word")


word = settings.declare("word", "zero", "what users say", update=only_words)
fixed = settings.declare("fixed", 1, "cannot be changed")
few = settings.declare("few", "a", "one of few", verify=["a", "b"], update=True)


def start(user_id):
    note(word.value)
"""


def test_a_setting_changes_in_all_workers(tmp_path: Path) -> None:
    options = Options(user_rate=500.0, repeat_interval=0.02)
    with steered(tmp_path, CHANGING, last=4, options=options, word="one") as run:
        wait_for(lambda: set(run.journal.ids("one")) == {1, 2, 3, 4}, what="the first word")
        assert as_json(run.master.handle(Set("word", "two"))) == {"word": "two"}
        wait_for(lambda: set(run.journal.ids("two")) == {1, 2, 3, 4}, what="the second word")
        assert run.events("set") == ["word = two"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("word", "42", "setting word: '42' (set): that is no word"),
        ("fixed", "2", "setting fixed cannot be changed during a run; these can: word, few"),
        ("few", "c", "setting few: 'c' (set): allowed are a, b"),
        ("wrod", "x", "there is no setting wrod, did you mean word?"),
    ],
)
def test_a_setting_that_cannot_be_is_answered_with_the_workers_own_words(
    tmp_path: Path, name: str, value: str, said: str
) -> None:
    options = Options(user_rate=500.0, repeat_interval=0.02)
    with steered(tmp_path, CHANGING, last=2, options=options, word="one") as run:
        wait_for(lambda: set(run.journal.ids("one")) == {1, 2}, what="the first word")
        for _ in range(2):
            with pytest.raises(UsageError) as caught:
                run.master.handle(Set(name, value))
            assert said in str(caught.value)
        before = len(run.journal.lines())
        wait_for(lambda: len(run.journal.lines()) > before + 4, what="more rounds")
        assert {line.what for line in run.journal.lines()} == {"one"}
        assert run.run.active
