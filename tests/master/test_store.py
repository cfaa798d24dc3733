"""What a run has is never lost to a store that cannot be written, whatever keeps it from that."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from amoc_gevent import clock
from amoc_gevent.core.json_codec import as_json
from amoc_gevent.core.measure.snapshot import Operation, Snapshot
from amoc_gevent.core.messages import Event
from amoc_gevent.core.output_state import StateChanges
from amoc_gevent.core.run.commands import Add, Runs, Set, Status, Stop
from amoc_gevent.core.run.run import Run
from amoc_gevent.errors import AmocError
from amoc_gevent.master import run_saver
from amoc_gevent.master.database import StoreError
from amoc_gevent.master.store import RUNS_KEPT, Store
from tests.master.test_master import Stage
from tests.worker.crowd import until

LONG = "x" * 20_000
"""An event that does not fit into what is free in the pages that a database has."""


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A master that waits for long and tries again soon, with a run store in a directory alone."""
    monkeypatch.setattr(run_saver, "RETRY_S", 0.05)
    (tmp_path / "home").mkdir()
    found = Stage(tmp_path, lease=60.0, store=Store(path_in(tmp_path)))
    yield found
    found.close()


def path_in(directory: Path) -> Path:
    return directory / "home" / "runs.db"


def store_of(stage: Stage) -> Store:
    assert stage._store is not None
    return stage._store


class Refusing:
    """A connection on which one statement cannot be carried out."""

    def __init__(self, db: sqlite3.Connection, words: str) -> None:
        self.db = db
        self._words = words

    def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        if self._words in statement:
            raise sqlite3.OperationalError("database is locked")
        return self.db.execute(statement, *arguments)

    def executemany(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        if self._words in f"{statement};":
            raise sqlite3.OperationalError("database is locked")
        return self.db.executemany(statement, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.db, name)

    def __enter__(self) -> Any:
        return self.db.__enter__()

    def __exit__(self, *error: Any) -> Any:
        return self.db.__exit__(*error)


@contextmanager
def refused(store: Store, words: str) -> Iterator[None]:
    database: Any = store._database
    database.connection = Refusing(database.connection, words)
    yield
    database.connection = database.connection.db


@contextmanager
def full(store: Store) -> Iterator[None]:
    """Have no page more: SQLite says what it says of a full disk."""
    store._db.execute("PRAGMA max_page_count = 1")
    yield
    store._db.execute(f"PRAGMA max_page_count = {2**30}")


@contextmanager
def locked(store: Store) -> Iterator[None]:
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def refusing(words: str) -> Callable[[Store], Any]:
    return lambda store: refused(store, words)


FAILURES: list[Any] = [
    pytest.param(full, id="full"),
    pytest.param(locked, id="locked"),
    pytest.param(refusing("DELETE FROM parts WHERE run IN"), id="prune parts"),
    pytest.param(refusing("DELETE FROM runs"), id="prune runs"),
    pytest.param(refusing("'code'"), id="code"),
]


def counted(count: int) -> Snapshot:
    operation = Operation()
    operation.count = count
    return Snapshot(operations={"GET /": operation})


def say(stage: Stage, second: int, count: int) -> None:
    """Have the node tell of so many operations, and wait until the figures have them."""
    run = stage.run
    total = run.results.operations + count
    event = Event(clock.wall(), "note", f"{second} {LONG}")
    node = stage.nodes[0]
    report = node.report(seconds=((second, counted(count)),), events=(event,))

    def is_counted() -> bool:
        if run.results.operations != total:
            node.send(report)  # again: one that was sent to a master that ends is lost
        return run.results.operations == total

    until(is_counted, f"{total} operations")


def end(stage: Stage) -> None:
    stage.nodes[0].obeys = True
    stage.master.handle(Stop(force=True))
    assert stage.master.ended.wait(20)


def assert_stored(stage: Stage, run: Run, count: int) -> None:
    """Fail unless the store comes to have all of the run; whoever reads it finds the same."""
    until(lambda: not stage.master.store_error, "the store to be well")
    with Store(store_of(stage).path) as again:
        found = again.load(run.id)
        assert again.code(run.id)
    assert found.results.operations == run.results.operations == count
    assert found.status == run.status
    assert found.events == run.events
    found.results.close_all()
    if not run.active:
        assert found.results.rows == run.results.rows


@pytest.mark.parametrize("failure", FAILURES)
def test_a_refused_do_costs_the_run_before_it_nothing(
    stage: Stage, failure: Callable[[Store], Any]
) -> None:
    run = stage.running("a")
    say(stage, 1000, 248)
    until(lambda: stage.nodes[0].acks and stage.master.nodes["a"].saved == stage.nodes[0].sequence)
    with failure(store_of(stage)):
        for second in range(1001, 1005):
            say(stage, second, 138)
        end(stage)
        for _ in range(3):
            with pytest.raises(
                AmocError, match=r"the run store .* cannot be written.*no run was started"
            ):
                stage.do()
        assert stage.master.run is run
        assert stage.master.find_run(run.id).results.operations == 800
        (line,) = as_json(stage.master.handle(Runs()))["runs"]
        assert (line["operations"], line["status"]) == (800, "finished")
    assert_stored(stage, run, 800)
    stage.replace_master(Store(store_of(stage).path))
    assert stage.master.find_run(run.id).results.operations == 800
    assert stage.do().id != run.id


@pytest.mark.parametrize("words", ["'code'", "INSERT OR REPLACE INTO runs", "DELETE FROM runs"])
def test_a_do_that_can_be_written_only_in_part_is_not_written_at_all(
    stage: Stage, words: str
) -> None:
    stage.join("a")
    store = store_of(stage)
    for number in range(RUNS_KEPT + 1):
        store._db.execute(
            "INSERT INTO runs VALUES (?, ?, '', 0, 0, 0, 's', 'finished', 1, 1, '', x'')",
            (f"old{number}", number),
        )
    store._db.commit()
    before = store.list()
    with refused(store, words), pytest.raises(AmocError, match="no run was started"):
        stage.do()
    with Store(store.path) as again:
        assert again.list() == before
        assert again.active() is None
    run = stage.do()
    with Store(store.path) as again:
        assert len(again.list()) == RUNS_KEPT + 1
        assert again.code(run.id)


def test_a_text_that_cannot_be_stored_begins_nothing_and_is_in_nobodys_way(stage: Stage) -> None:
    stage.join("a")
    with pytest.raises(AmocError, match="no run was started"):
        stage.do(comment="\ud800")
    assert as_json(stage.master.handle(Status()))["status"] == "idle"
    until(lambda: not stage.master.store_error)
    assert stage.do().comment == ""


# The files go away while they are open


def remove(path: Path) -> None:
    path.unlink()


def remove_all(path: Path) -> None:
    for one in path.parent.iterdir():
        one.unlink()


def remove_log(path: Path) -> None:
    path.with_name("runs.db-wal").unlink()


def replace_by_nothing(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"")
    other.replace(path)


def replace_by_another(path: Path) -> None:
    other = path.with_name("other")
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE theirs (value BLOB)")
        db.executemany("INSERT INTO theirs VALUES (?)", [(b"x" * 1000,) for _ in range(100)])
    db.close()
    other.replace(path)


def replace_by_earlier(path: Path) -> None:
    other = path.with_name("other")
    with sqlite3.connect(path) as db:
        db.execute("VACUUM INTO ?", (str(other),))
    db.close()
    with sqlite3.connect(other) as db:
        db.execute("DELETE FROM parts WHERE kind != 'code'")
    db.close()
    other.replace(path)


@pytest.mark.parametrize(
    "harm",
    [remove, remove_all, remove_log, replace_by_nothing, replace_by_another, replace_by_earlier],
)
def test_a_file_that_is_removed_or_replaced_is_written_again(
    stage: Stage, harm: Callable[[Path], None]
) -> None:
    first = stage.running("a")
    say(stage, 1000, 100)
    end(stage)
    stage.nodes[0].obeys = False
    run = stage.do()
    until(lambda: stage.nodes[0].plan.run == run.id)
    stage.nodes[0].say()
    until(lambda: run.status == "running")
    for second in range(1000, 1020):
        say(stage, second, 10)
    stage.master._saver.save(checkpoint=True)
    harm(store_of(stage).path)
    say(stage, 1020, 600)
    end(stage)
    assert_stored(stage, run, 800)
    assert store_of(stage)._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    if harm is replace_by_another:
        assert store_of(stage)._db.execute("SELECT count(*) FROM theirs").fetchone() == (100,)
    elif harm is not replace_by_nothing:
        assert stage.master.find_run(first.id).id == first.id
    if harm in {remove, remove_all, remove_log}:
        assert stage.master.find_run(first.id).results.operations == 100
    stage.replace_master(Store(store_of(stage).path))
    assert stage.master.find_run(run.id).results.operations == 800
    assert stage.master.nodes["a"].acknowledged > 0
    assert not [one for one in store_of(stage).path.parent.iterdir() if "runs.db" not in one.name]


def test_a_new_file_is_its_owners_alone_from_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    with Store(tmp_path / "runs.db") as store:
        modes = {path.stat().st_mode & 0o777 for path in store.path.parent.iterdir()}
    assert modes == {0o600}


class Once:
    """An output that leaves one thing: once, and again when everything is rewritten."""

    def __init__(self) -> None:
        self._put = {"whole": b"interval"}

    def pending(self, *, full: bool = False) -> StateChanges:
        return StateChanges({"whole": b"interval"} if full else self._put, ())

    def stored(self) -> None:
        self._put = {}


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("harm", [remove, remove_log, replace_by_nothing, replace_by_earlier])
def test_pending_data_of_an_output_is_rewritten_too(
    stage: Stage, harm: Callable[[Path], None], runs: bool
) -> None:
    if runs:
        stage.running("a")
    else:
        stage.join("a")
    stage.master.attach(Once())
    until(lambda: stage.master.pending() == {"whole": b"interval"}, "it to be stored")
    harm(store_of(stage).path)
    until(lambda: store_of(stage)._database.generation > 1, "the file to be opened again")
    until(lambda: stage.master.pending() == {"whole": b"interval"}, "it to be stored again")
    with Store(store_of(stage).path) as again:
        assert [node.name for node in again.nodes(0.0)] == ["a"]


def test_a_file_that_is_no_database_is_reported_until_it_is_moved_away(stage: Stage) -> None:
    first = stage.running("a")
    say(stage, 1000, 100)
    end(stage)
    stage.nodes[0].obeys = False
    run = stage.do()
    path = store_of(stage).path
    other = path.with_name("other")
    other.write_bytes(b"rubbish" * 1000)
    other.replace(path)
    until(lambda: stage.master.store_error, "the rubbish to be told of")
    for _ in range(3):
        assert not stage.master._saver.save()
    line = stage.master.store_error
    assert line.count("the run store") == 1
    assert ": file is not a database; " in line
    assert line.endswith("; move it away; a new one is then written")
    path.unlink()
    assert_stored(stage, run, 0)
    assert stage.master.find_run(first.id).results.operations == 100


def cut(path: Path) -> None:
    os.truncate(path, 0)


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 8192 * 4096)


def overwrite(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(b"\xff" * size)
    os.truncate(path, size // 2)


@pytest.mark.parametrize("harm", [cut, cut_in_half, overwrite])
def test_a_damaged_file_is_reported_until_it_is_moved_away(
    stage: Stage, harm: Callable[[Path], None]
) -> None:
    run = stage.running("a")
    for second in range(1000, 1020):
        say(stage, second, 10)
    path = store_of(stage).path
    store_of(stage)._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    until(stage.master._saver.save)
    store_of(stage)._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    harm(path)
    say(stage, 1020, 600)
    until(lambda: "move it away" in stage.master.store_error, "the damage to be told of")
    end(stage)
    with pytest.raises(AmocError, match="no run was started"):
        stage.do()
    path.rename(path.with_name("runs.db.damaged"))
    assert_stored(stage, run, 800)
    stage.replace_master(Store(path))
    assert stage.master.find_run(run.id).results.operations == 800


def test_a_directory_that_comes_back_has_all(stage: Stage, tmp_path: Path) -> None:
    run = stage.running("a")
    say(stage, 1000, 300)
    home, away = tmp_path / "home", tmp_path / "away"
    home.rename(away)
    say(stage, 1001, 500)
    until(lambda: stage.master.store_error)
    end(stage)
    away.rename(home)
    assert_stored(stage, run, 800)
    shutil.rmtree(home)
    until(lambda: stage.master.store_error)
    home.mkdir()
    assert_stored(stage, run, 800)


def test_a_damaged_store_keeps_a_master_from_starting_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with Store(path) as store:
        for number in range(200):
            store._db.execute("INSERT INTO nodes VALUES (?, ?)", (str(number), b"\x91" * 1000))
        store._db.commit()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(StoreError, match=r"the run store .*runs\.db cannot be .*: .*malformed"):
        Stage(tmp_path, store=Store(path))


# While it cannot be written


def test_a_run_is_stopped_and_changed_no_more_while_it_cannot_be_stored(stage: Stage) -> None:
    run = stage.running("a")
    version = run.plan.version
    with locked(store_of(stage)):
        for command in (Add(5), Set("user_rate", "5")):
            with pytest.raises(AmocError, match=r"cannot be written since .*; nothing was changed"):
                stage.master.handle(command)
        assert run.plan.version == version
        stage.nodes[0].obeys = True
        assert as_json(stage.master.handle(Stop()))["status"] == "stopping"
        assert "its last changes would be lost with this master" in stage.master.store_error
        assert stage.master.ended.wait(20)
        assert not stage.master.save()
    assert_stored(stage, run, 0)
    assert stage.master.save()


def test_the_line_says_what_is_wrong_how_much_and_what_to_do(stage: Stage) -> None:
    run = stage.running("a")
    say(stage, 1000, 248)
    until(stage.master._saver.save)
    assert stage.master.store_error == ""
    with full(store_of(stage)):
        say(stage, 1001, 552)
        until(lambda: stage.master.store_error)
        line = stage.master.store_error
    assert line.startswith(f"the run store {store_of(stage).path} cannot be written since 20")
    assert line.endswith(
        f" UTC: database or disk is full; run {run.id} goes on in memory, 552 of its 800 "
        "operations would be lost with this master; free some space on its disk"
    )


def test_its_failure_is_a_line_of_the_log_and_its_recovery_another(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.running("a")
    with full(store_of(stage)):
        for second in range(1000, 1004):
            say(stage, second, 1)
            until(lambda: not stage.master._saver.save())
    until(lambda: not stage.master.store_error)
    said = [line.getMessage() for line in caplog.records if "run store" in line.getMessage()]
    assert [line.partition(str(store_of(stage).path))[2] for line in said] == [
        " cannot be written: database or disk is full; free some space on its disk",
        " can be written again: nothing is missing",
    ]


def test_a_master_that_ends_says_in_the_log_what_is_lost(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    run = stage.running("a")
    with locked(store_of(stage)):
        say(stage, 1000, 7)
        end(stage)
        stage.replace_master(Store(store_of(stage).path))
    assert f"run {run.id} is kept in memory, 7 of its 7 operations would be lost" in caplog.text


# Another master goes on


def test_rows_are_kept_however_often_masters_take_turns(stage: Stage) -> None:
    run = stage.running("a")
    for second in range(1000, 1030):
        say(stage, second, 1)
        if second % 5 == 0:
            stage.replace_master(Store(store_of(stage).path))
            stage.master._saver.save(checkpoint=second % 2 == 0)
    end(stage)
    with Store(store_of(stage).path) as again:
        rows = again.load(run.id).results.rows
    assert [row.second for row in rows] == [*range(1000, 1030)]


def test_an_unstored_plan_gets_a_higher_version_and_is_not_confused_with_the_next(
    stage: Stage,
) -> None:
    run = stage.running("a")
    node = stage.nodes[0]
    stored = run.plan.version
    with locked(store_of(stage)):
        for _ in range(5):
            stage.master._state.change(run)
        until(lambda: node.plan.version == stored + 5)
        stage.replace_master(Store(store_of(stage).path))
    assert stage.run.plan.version == stored
    until(lambda: node.say() or stage.run.plan.version > stored + 5)
    assert [event.kind for event in stage.run.events][-1] == "plan-lost"
    until(lambda: node.plan.version > stored + 5)
    stage.master.handle(Add(1))
    assert stage.run.plan.version > stored + 6


def test_a_run_whose_stop_was_not_stored_does_not_start_again(stage: Stage) -> None:
    stage.running("a")
    with locked(store_of(stage)):
        stage.master.handle(Stop())
        until(lambda: stage.nodes[0].plan.status == "stopping")
        stage.replace_master(Store(store_of(stage).path))
    assert stage.run.status == "running"
    told = Event(clock.wall(), "stopped-before", "node a was told before that it stops")
    stage.nodes[0].obeys = True
    until(lambda: stage.nodes[0].say("stopped", events=(told,)) or stage.run.status == "finished")


def test_a_store_in_a_home_that_is_not_ours_is_not_written(tmp_path: Path) -> None:
    """Not for a moment: another master may have made the file that is there now."""
    mine = [True]
    with Store(tmp_path / "runs.db", lambda: mine[0]) as store:
        stage = Stage(tmp_path, store=store)
        try:
            stage.join("one")
            (tmp_path / "runs.db").rename(tmp_path / "before.db")
            mine[0] = False
            with pytest.raises(AmocError, match=r"moved or recreated; .*; this master ends"):
                stage.do(1, 2)
            assert not (tmp_path / "runs.db").exists()
        finally:
            stage.close()
    assert not (tmp_path / "runs.db").exists()
