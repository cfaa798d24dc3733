"""Users' exceptions are grouped by type and place, with one traceback."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from amoc_gevent.loading.loader import Scenario, load
from amoc_gevent.metrics import Recorder
from amoc_gevent.worker.user_errors import DETAIL_MAX, MESSAGE_MAX, UserErrors
from tests.worker.crowd import until

SOURCE = """
class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def init():
    pass


def start(user_id):
    if user_id < 10:
        raise ValueError(f"number {user_id}")
    raise {10: Mute, 11: KeyError}[user_id]("x")
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    path = tmp_path / "raising.py"
    path.write_text(SOURCE)
    return load(path)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def fail(scenario: Scenario, recorder: Recorder) -> Callable[[int], str]:
    """Return a function that runs `start` and records its exception."""
    errors = UserErrors(scenario, recorder)

    def raised(user_id: int) -> str:
        try:
            scenario.start(user_id)
        except Exception as error:  # noqa: BLE001  # the scenario's
            return errors.record(user_id, error)
        raise AssertionError("start did not raise")

    return raised


def groups(recorder: Recorder) -> list[Any]:
    return list(recorder.snapshot.errors.values())


def test_errors_of_one_type_and_place_are_one_group_with_the_first_ones_traceback(
    fail: Callable[[int], str], recorder: Recorder
) -> None:
    for user_id in (3, 1, 2):
        fail(user_id)
    (group,) = groups(recorder)
    assert (group.type, group.count) == ("ValueError", 3)
    assert group.place.endswith("raising.py:13")
    assert group.message == "user 3: number 3"
    assert group.detail.endswith("ValueError: number 3")
    assert "run_start" not in group.detail
    assert group.first <= group.last


def test_other_types_and_places_are_other_groups(
    fail: Callable[[int], str], recorder: Recorder
) -> None:
    fail(1)
    fail(11)
    assert sorted(group.type for group in groups(recorder)) == ["KeyError", "ValueError"]


def test_an_exception_whose_str_raises_is_recorded(
    fail: Callable[[int], str], recorder: Recorder
) -> None:
    line = fail(10)
    (group,) = groups(recorder)
    assert group.type == "Mute"
    assert group.message == "user 10: (no text: __str__ raised RuntimeError)"
    assert line.endswith(group.message)


def test_each_second_has_its_own_groups(fail: Callable[[int], str], recorder: Recorder) -> None:
    fail(1)
    first = recorder.take()
    fail(2)
    assert [e.count for e in first.errors.values()] == [e.count for e in groups(recorder)] == [1]


@pytest.fixture
def hub() -> Iterator[Any]:
    """The hub of the test; its error handler is restored afterwards."""
    found: Any = gevent.get_hub()
    yield found
    del found.handle_error


def test_failing_greenlets_of_no_user_do_not_end_the_process(
    scenario: Scenario, recorder: Recorder, hub: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    UserErrors(scenario, recorder).watch(hub)

    def fail_with(error: BaseException) -> None:
        raise error

    for error in (SystemExit(3), KeyboardInterrupt(), ValueError("x"), gevent.GreenletExit()):
        gevent.spawn(fail_with, error)
    until(lambda: len(groups(recorder)) == 3)
    assert {g.type for g in groups(recorder)} == {"SystemExit", "KeyboardInterrupt", "ValueError"}
    assert all(g.message.startswith("a greenlet of no user") for g in groups(recorder))
    assert capfd.readouterr().err == ""


def test_errors_of_the_hub_itself_are_still_printed(
    scenario: Scenario, recorder: Recorder, hub: Any
) -> None:
    shown: list[object] = []
    watched = SimpleNamespace(handle_error=lambda *what: shown.append(what[0]))
    UserErrors(scenario, recorder).watch(watched)
    watched.handle_error("a timer", ValueError, ValueError("x"), None)
    assert shown == ["a timer"]
    assert groups(recorder) == []
    UserErrors(scenario, recorder).watch(hub)


def test_long_exception_texts_are_shortened(tmp_path: Path) -> None:
    path = tmp_path / "wordy.py"
    path.write_text(
        "def init():\n    pass\n\n\ndef start(user_id):\n    raise OSError('x' * 10**6)\n"
    )
    scenario = load(path)
    recorder = Recorder()
    try:
        scenario.start(3)
    except OSError as error:
        UserErrors(scenario, recorder).record(3, error)
    (kept,) = recorder.take().errors.values()
    assert kept.message.startswith("user 3: xxx")
    assert len(kept.message) == len("user 3: ") + MESSAGE_MAX
    assert "wordy.py" in kept.detail
    assert len(kept.detail) == DETAIL_MAX
