"""Local runs in the master's store: listed there, never gone on with, lost with their process."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from amoc_gevent.core.answers import RunList
from amoc_gevent.core.run.commands import Add, Runs, Stop
from amoc_gevent.core.run.run import Run
from amoc_gevent.master import run_saver
from amoc_gevent.master.local_store import LocalStore
from amoc_gevent.master.store import RUNS_KEPT, Store
from tests.master.test_master import Stage
from tests.worker.crowd import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home" / "runs.db"


@pytest.fixture
def local(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """The master of a local run."""
    monkeypatch.setattr(run_saver, "RETRY_S", 0.05)
    found = Stage(tmp_path, lease=60.0, store=LocalStore(path))
    yield found
    found.close()


def told(run: Run, *, status: str = "running", end: bool = False) -> Run:
    """Return another run like `run`, with an id of its own."""
    run.plan = run.plan.__class__(
        **{
            **{name: getattr(run.plan, name) for name in run.plan.__slots__},
            "run": f"{int(run.plan.run, 16) + 1:012x}",
            "status": "finished" if end else status,
        }
    )
    return run


def statuses(path: Path) -> dict[str, str]:
    with Store(path) as store:
        return {line.run: line.status for line in store.list()}


def test_a_local_run_is_listed_and_no_master_goes_on_with_it(local: Stage, path: Path) -> None:
    run = local.running()
    local.nodes[0].say()
    assert statuses(path) == {run.id: "running"}
    with Store(path) as store:
        assert store.active() is None
        assert store.nodes(0.0) == []
        assert store.load(run.id).active
    local.master.handle(Stop(force=True))
    until(lambda: statuses(path)[run.id] == "stopping")


def test_one_whose_process_is_gone_is_lost(local: Stage, path: Path) -> None:
    run = local.running()
    store = local._store
    assert isinstance(store, LocalStore)
    local.master.save()
    store._locks.release()  # as the kernel does for a process that was killed
    assert statuses(path) == {run.id: "lost"}
    with Store(path) as other:
        found = other.load(run.id)
        assert other.active() is None
    assert (found.status, found.active) == ("lost", False)


def test_a_local_store_leaves_pending_data_of_the_master(tmp_path: Path, path: Path) -> None:
    with Store(path) as store, store._db as db:
        db.execute("INSERT INTO pending VALUES ('key', 'bytes')")
        db.execute("INSERT INTO nodes VALUES ('one', x'00')")
    stage = Stage(tmp_path, lease=60.0, store=LocalStore(path))
    try:
        stage.running()
        stage.nodes[0].say()
        stage.master.save()
        assert stage.master.pending() == {}
    finally:
        stage.close()
    with Store(path) as store:
        assert store.pending() == {"key": "bytes"}
        assert store._db.execute("SELECT name FROM nodes").fetchall() == [("one",)]


def test_a_run_goes_on_where_it_cannot_be_stored_and_is_stored_once_it_can(
    local: Stage, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = sqlite3.connect(path)
    with other:
        other.execute("INSERT INTO pending VALUES ('key', 'of a master')")
    other.execute("BEGIN IMMEDIATE")
    run = local.running()
    local.master.handle(Add(5))
    assert run.plan.highest == 15
    assert len([one for one in caplog.records if "cannot be written" in one.message]) == 1
    other.rollback()
    other.close()
    until(lambda: statuses(path) == {run.id: "running"})
    with Store(path) as store:
        assert store.load(run.id).plan.highest == 15
        assert store.code(run.id)
        assert store.pending() == {"key": "of a master"}


def test_a_master_that_makes_room_keeps_a_local_run_that_goes_on(local: Stage, path: Path) -> None:
    run = local.running()
    local.master.save()
    with Store(path) as store:
        other = store.load(run.id)
        first = None
        for _ in range(RUNS_KEPT + 5):
            told(other, end=True)
            first = first or other.id
            store.begin(other, b"code")
        listed = {line.run for line in store.list()}
        assert run.id in listed
        assert first not in listed
        assert store.code(run.id)


def test_its_master_lists_the_runs_of_all(local: Stage, path: Path) -> None:
    run = local.running()
    with Store(path) as store:
        ended = told(store.load(run.id), end=True)
        store.begin(ended, b"code")
    answer = local.master.handle(Runs())
    assert isinstance(answer, RunList)
    assert {one.run: one.status for one in answer.runs} == {run.id: "running", ended.id: "finished"}
