"""Users: their ids, their greenlets and their helpers."""

import traceback
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

import gevent
import pytest
from gevent.event import AsyncResult, Event

from amoc_gevent import user
from amoc_gevent.errors import AmocError, UsageError
from amoc_gevent.settings import declare, duration
from amoc_gevent.user import UserGreenlet, UserLeaving
from tests.rounds import as_user


def test_a_user_knows_its_id() -> None:
    assert as_user(42, lambda: user.id) == (42, None)


def test_users_that_run_at_once_each_know_their_own_id() -> None:
    seen: dict[int, int] = {}

    def run(expected: int) -> None:
        user.sleep(0)
        seen[expected] = user.id

    hub = gevent.get_hub()
    for user_id in range(5):
        greenlet = UserGreenlet(run, hub)
        greenlet.user_id = user_id
        hub.loop.run_callback(greenlet.switch, user_id)
    with gevent.Timeout(10):
        while len(seen) < 5:
            gevent.sleep(0.001)
    assert seen == {user_id: user_id for user_id in range(5)}


@pytest.fixture
def load_over() -> Iterator[None]:
    """The duration of the run is over."""
    user.set_load_over(True)
    yield
    user.set_load_over(False)


@pytest.mark.usefixtures("load_over")
@pytest.mark.parametrize("begin", [user.check_load, lambda: user.sleep(3600.0)])
def test_after_the_duration_a_user_begins_nothing(begin: Callable[[], None]) -> None:
    def run() -> str:
        try:
            user.spawn(begin).get()
        except UserLeaving:
            try:
                gevent.spawn(begin).get()
                begin()
            except UserLeaving as leaving:
                return str(leaving)
        return "it began"

    assert as_user(1, run) == ("the duration of the run is over", None)
    user.check_load()  # nobody's greenlet may go on


def ended(user_id: int, run: Callable[[], Any]) -> Any:
    """Run `run` in a user that was asked to end before it began; return its result."""
    done: AsyncResult = AsyncResult()
    greenlet = UserGreenlet(lambda: done.set(run()), gevent.get_hub())
    greenlet.user_id = user_id
    greenlet.ask_to_end()
    gevent.get_hub().loop.run_callback(greenlet.switch)
    return done.get(timeout=10)


def refused() -> bool:
    """Return whether an operation that begins now is refused."""
    try:
        user.check_load()
    except UserLeaving:
        return True
    return False


@pytest.mark.usefixtures("load_over")
def test_a_user_that_asks_leaving_speaks_for_itself_and_its_helpers_only() -> None:
    def asks_in_a_helper() -> list[bool]:
        user.spawn(user.leaving).get()
        return [refused(), user.spawn(refused).get()]

    def asks_after_a_helper_began() -> list[bool]:
        asked = Event()
        helper = user.spawn(lambda: asked.wait() and refused())
        user.leaving()
        asked.set()
        return [refused(), helper.get()]

    assert ended(1, asks_in_a_helper) == [False, False]
    assert ended(2, asks_after_a_helper_began) == [False, False]
    assert ended(3, refused)


@pytest.mark.usefixtures("load_over")
def test_a_user_that_catches_everything_does_not_hold_its_worker() -> None:
    turns: list[int] = []
    ticking = gevent.spawn(lambda: [turns.append(gevent.sleep(0) or n) for n in range(100)])

    def stubborn() -> int:
        for _ in range(100):
            refused()
        return len(turns)

    assert ended(1, stubborn) == 100
    ticking.get(timeout=10)


@pytest.mark.usefixtures("load_over")
def test_a_refusal_is_raised_through_greenlets_of_gevent_itself() -> None:
    def run() -> str:
        try:
            return str(gevent.spawn(user.check_load).get())
        except UserLeaving:
            return "raised"

    assert ended(1, run) == "raised"


@pytest.mark.parametrize("order", ["refused first", "refused last"])
def test_an_error_of_a_helper_is_not_hidden_by_a_refused_one(order: str) -> None:
    def refuse() -> None:
        raise UserLeaving

    def fail() -> None:
        raise ValueError("real")

    def run() -> None:
        for function in (refuse, fail) if order == "refused first" else (fail, refuse):
            user.spawn(function)
        gevent.sleep(0.01)

    _, raised = as_user(1, run)
    assert isinstance(raised, ValueError)


@pytest.mark.usefixtures("load_over")
def test_an_iteration_that_asks_leaving_decides_itself_how_to_end() -> None:
    def run() -> bool:
        user.leaving()
        user.check_load()
        user.spawn(user.check_load).get()
        user.sleep(0.001)
        return True

    assert as_user(1, run) == (True, None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("1s", r"user\.sleep\('1s'\): give a number of seconds$"),
        (
            declare("pause_of_users", "1s", "", type=duration),
            r"such as that of setting pause_of_users: \.value",
        ),
        (-1, "a pause cannot be negative"),
    ],
    ids=["text", "setting", "negative"],
)
def test_a_pause_is_a_number_of_seconds(given: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        as_user(1, partial(user.sleep, given))


@pytest.mark.parametrize("seconds", [0, 0.001, Decimal("0.001"), Fraction(1, 1000)])
def test_a_pause_can_be_a_number_of_any_kind(seconds: Any) -> None:
    assert as_user(1, partial(user.sleep, seconds)) == (None, None)


def test_outside_of_a_user_there_is_no_id() -> None:
    with pytest.raises(AmocError, match="only inside start"):
        _ = user.id


def test_a_greenlet_of_no_user_has_no_id() -> None:
    with pytest.raises(AmocError, match="only inside start"):
        gevent.spawn(lambda: user.id).get(timeout=10)


def test_an_unknown_attribute_of_the_module_is_an_attribute_error() -> None:
    assert not hasattr(user, "ident")


def test_nested_greenlets_of_a_user_know_its_id() -> None:
    def run() -> list[int]:
        child = user.spawn(lambda: gevent.spawn(lambda: user.id).get())
        return [child.get(), gevent.spawn(lambda: user.spawn(lambda: user.id).get()).get()]

    assert as_user(7, run) == ([7, 7], None)


def test_a_user_without_helpers_has_no_dictionary() -> None:
    def run() -> tuple[bool, bool]:
        _ = user.id
        greenlet = gevent.getcurrent()
        return hasattr(greenlet, "_locals"), bool(vars(greenlet))

    assert as_user(7, run) == ((False, False), None)


def test_a_pause_cannot_be_negative() -> None:
    with pytest.raises(UsageError, match="cannot be negative"):
        as_user(1, lambda: user.sleep(-1))


def test_helpers_outside_of_a_user_are_refused() -> None:
    with pytest.raises(AmocError, match="only inside start"):
        user.spawn(print)


def test_a_helper_gets_arguments_and_gives_its_result() -> None:
    def run() -> Any:
        return user.spawn(lambda a, *, b: (a, b), 1, b=2).get()

    assert as_user(1, run) == ((1, 2), None)


def test_a_running_helper_is_killed_at_the_end_of_the_iteration() -> None:
    cleaned = Event()

    def forever() -> None:
        try:
            gevent.sleep(3600)
        finally:
            cleaned.set()

    def run() -> None:
        user.spawn(forever)
        gevent.sleep(0)

    assert as_user(1, run) == (None, None)
    assert cleaned.wait(timeout=10)


def test_a_helper_killed_before_its_first_turn_never_runs() -> None:
    ran: list[int] = []
    as_user(1, lambda: user.spawn(ran.append, 1))
    gevent.sleep(0)
    gevent.sleep(0)
    assert ran == []


@pytest.mark.parametrize("raised", [ValueError("x"), SystemExit(1), gevent.Timeout(1)])
def test_an_exception_without_get_is_the_users_and_is_not_printed(
    raised: BaseException, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise raised

    def run() -> None:
        helper = user.spawn(fail)
        helper.join()
        assert helper.exception is raised
        assert not helper.successful()

    assert as_user(1, run) == (None, raised)
    assert capfd.readouterr().err == ""


def test_the_traceback_of_a_helper_leads_to_its_own_line() -> None:
    def fail() -> None:
        raise ValueError("x")

    def run() -> None:
        user.spawn(fail).join()

    _, error = as_user(1, run)
    assert error is not None
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)] == ["_work", "fail"]


def test_joinall_raises_the_exception_of_a_helper() -> None:
    def run() -> None:
        gevent.joinall([user.spawn(int, "x")], raise_error=True)

    with pytest.raises(ValueError, match="invalid literal"):
        as_user(1, run)


def test_of_several_exceptions_that_of_the_first_helper_counts() -> None:
    def run() -> None:
        gevent.joinall([user.spawn(int, "x"), user.spawn(lambda: {}["k"])])

    _, error = as_user(1, run)
    assert isinstance(error, ValueError)


def test_an_exception_raised_by_get_is_not_raised_again() -> None:
    def run() -> str:
        try:
            user.spawn(int, "x").get()
        except ValueError:
            return "handled"
        return "not raised"

    assert as_user(1, run) == ("handled", None)


def test_a_get_that_timed_out_does_not_take_the_exception() -> None:
    def fail_later() -> None:
        gevent.sleep(0)
        gevent.sleep(0)
        raise KeyError("x")

    def run() -> None:
        helper = user.spawn(fail_later)
        with pytest.raises(gevent.Timeout):
            helper.get(block=False)
        helper.join()

    _, error = as_user(1, run)
    assert isinstance(error, KeyError)


def test_a_killed_helper_is_no_error() -> None:
    def run() -> None:
        helper = user.spawn(gevent.sleep, 3600)
        gevent.sleep(0)
        helper.kill()

    assert as_user(1, run) == (None, None)


def test_finished_helpers_are_not_kept() -> None:
    def run() -> int:
        for _ in range(100):
            user.spawn(int).join()
        greenlet = gevent.getcurrent()
        assert isinstance(greenlet, UserGreenlet)
        return len(greenlet.spawn_tree_locals["amoc_user"].helpers)

    assert as_user(1, run) == (0, None)


def test_leaving_is_true_after_a_request_to_end_with_and_without_waiting() -> None:
    def run() -> list[bool]:
        asker = user.spawn(lambda: (user.sleep(0.01), me.ask_to_end()))
        seen = [user.leaving(), user.leaving(within=0.001), user.leaving(within=20)]
        asker.get()
        return [*seen, user.leaving(), user.spawn(user.leaving).get()]

    me = UserGreenlet(lambda: None)
    with gevent.Timeout(10):
        me = _running(7, lambda: done.set(run()))
        done: AsyncResult[list[bool]] = AsyncResult()
        assert done.get() == [False, False, True, True, True]


def test_leaving_is_true_if_the_request_came_first() -> None:
    done: AsyncResult[bool] = AsyncResult()
    me = _running(1, lambda: done.set(user.leaving(within=20)))
    me.ask_to_end()
    assert done.get(timeout=10) is True


def test_leaving_outside_of_a_user_is_refused() -> None:
    with pytest.raises(AmocError, match=r"user\.leaving works only inside start"):
        user.leaving()


def _running(user_id: int, function: Callable[[], object]) -> UserGreenlet:
    """Start an iteration at the hub's next turn."""
    hub = gevent.get_hub()
    greenlet = UserGreenlet(function, hub)
    greenlet.user_id = user_id
    hub.loop.run_callback(greenlet.switch)
    return greenlet
