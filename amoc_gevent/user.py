"""The current user: its id, pauses and helper greenlets.

A scenario uses `user.id`, `user.sleep`, `user.leaving` and `user.spawn`. An operation that a user
begins after the duration of the run raises `UserLeaving`.

The engine runs each iteration of a user in a `UserGreenlet`. All greenlets that it spawns, with
`user.spawn` or with gevent itself, belong to the same user. A user without any has no cost.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

import gevent
from gevent.event import Event
from greenlet import getcurrent, greenlet

from amoc_gevent.core.setting import hint_of
from amoc_gevent.errors import AmocError, UsageError

P = ParamSpec("P")
T = TypeVar("T")

_KEY = "amoc_user"


class _EndRequest(Event):
    """Set when the user is asked to end. `asked`: whether its scenario ever looked."""

    asked = False


_ALREADY_SET = _EndRequest()
_ALREADY_SET.set()

id: int  # noqa: A001  # read as user.id; __getattr__ below finds the calling user
"""The id of the running user (int). Raises AmocError outside a user's greenlets."""


class UserLeaving(BaseException):
    """The duration of the run is over, and a user began an operation.

    It ends the iteration without an error. `except Exception` does not catch it. It is not raised
    in iterations that ask `leaving`: they decide themselves how to end.
    """


class _Woken(BaseException):
    """Ends an EndableWait because the duration of the run is over."""


class _HelperGroup:
    """Data that the greenlets of one user share: its id, and the helpers of its iteration.

    `end_requested` is set when the user is asked to end. A helper is removed from `helpers` when it
    is done, unless it raised and its `get` was not called. `waiting`: the helpers and greenlets of
    gevent itself that are in an `EndableWait`.
    """

    __slots__ = ("end_requested", "helpers", "user_id", "waiting")

    def __init__(self, user_id: int, end_requested: _EndRequest) -> None:
        self.user_id = user_id
        self.end_requested = end_requested
        self.helpers: dict[Helper, None] = {}  # in start order
        self.waiting: dict[greenlet, EndableWait] = {}


class Helper(gevent.Greenlet):  # type: ignore[type-arg]  # it takes no subscript at run time
    """A greenlet that works for a user, made by `user.spawn`.

    `get` returns its result or raises its exception. An exception that no `get` raised becomes the
    user's own at the end of the iteration, so gevent does not print it.
    """

    _failure: BaseException | None = None

    def __init__(self, group: _HelperGroup, function: Callable[[], object]) -> None:
        super().__init__(self._work, function)
        self._group = group
        self._group.helpers[self] = None

    @property
    def exception(self) -> BaseException | None:
        """The exception that the helper raised, or None."""
        return self._failure

    def successful(self) -> bool:
        """Return whether the helper has ended without an exception."""
        return self.ready() and self._failure is None

    def _raise_exception(self) -> None:
        """Raise the helper's exception, if any; `get` and `gevent.joinall` call this."""
        self._group.helpers.pop(self, None)
        if self._failure is not None:
            raise self._failure

    def _work(self, function: Callable[[], object]) -> object:
        try:
            result = function()
        except UserLeaving as leaving:
            self._failure = leaving
            return None
        except gevent.GreenletExit as killed:
            result = killed
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # the boundary around a helper
            self._failure = error
            return None
        self._group.helpers.pop(self, None)
        return result


class UserGreenlet(greenlet):
    """One iteration of one user. Its creator sets `user_id` before it runs.

    It costs no more than a greenlet: it has no dictionary unless it spawns helpers.
    """

    __slots__ = ("_end_requested", "_locals", "user_id", "waiting")

    user_id: int
    waiting: "EndableWait | None"
    _locals: dict[str, Any]
    _end_requested: _EndRequest

    @property
    def spawn_tree_locals(self) -> dict[str, Any]:
        """The dictionary that gevent passes on to all greenlets spawned from this one."""
        try:
            return self._locals
        except AttributeError:
            self._locals = {_KEY: _HelperGroup(self.user_id, self.own_end_request())}
            return self._locals

    @property
    def end_requested(self) -> _EndRequest:
        """The event that is set when the user is asked to end, created on first use."""
        try:
            return self._end_requested
        except AttributeError:
            self._end_requested = _EndRequest()
            return self._end_requested

    @property
    def polls_leaving(self) -> bool:
        """Whether the iteration has ever asked if it should end."""
        return hasattr(self, "_end_requested") and self._end_requested.asked

    def own_end_request(self) -> _EndRequest:
        """Return the event that is set when the user is asked to end, shared with no other user."""
        event = self.end_requested
        if event is _ALREADY_SET:
            event = self._end_requested = _EndRequest()
            event.set()
        return event

    def ask_to_end(self) -> None:
        """Ask the user to end its iteration soon."""
        try:
            self._end_requested.set()
        except AttributeError:
            self._end_requested = _ALREADY_SET

    def wake(self) -> None:
        """End each EndableWait that the iteration is in; call this from the hub."""
        waits = {**self._locals[_KEY].waiting} if hasattr(self, "_locals") else {}
        if wait := getattr(self, "waiting", None):
            waits[self] = wait
        for one, wait in waits.items():
            if wait.ends_early or not self.polls_leaving:
                one.throw(_Woken)

    def kill_now(self) -> None:
        """Kill the iteration and its helpers before returning; call this from the hub."""
        for helper in tuple(self._locals[_KEY].helpers) if hasattr(self, "_locals") else ():
            helper.throw(gevent.GreenletExit)
        self.throw(gevent.GreenletExit)

    def end_helpers(self) -> BaseException | None:
        """End the helpers; return the first exception of theirs that no `get` raised.

        Running helpers are killed at the hub's next turn. The call never waits.
        """
        try:
            group: _HelperGroup = self._locals[_KEY]
        except AttributeError:
            return None
        helpers, group.helpers = group.helpers, {}
        failed: BaseException | None = None
        for helper in helpers:
            if not helper.ready():
                helper.kill(block=False)
            elif failed is None or isinstance(failed, UserLeaving):
                failed = helper.exception or failed
        return failed


def __getattr__(name: str) -> Any:
    if name != "id":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    current = getcurrent()
    if isinstance(current, UserGreenlet):
        return current.user_id
    return _current_group("id").user_id


def sleep(seconds: float) -> None:
    """Pause the user for `seconds` (think time), at most until the duration of the run is over.

    Raises UsageError if `seconds` is negative or no number.
    """
    try:
        if seconds < 0:
            raise UsageError(f"user.sleep({seconds}): a pause cannot be negative")
    except TypeError:
        told = f"user.sleep({seconds!r}): give a number of seconds{hint_of(seconds)}"
        raise UsageError(told) from None
    with _PAUSE:
        gevent.sleep(seconds)


class EndableWait:
    """A block in which a user waits between two operations. The end of the load ends it.

    That raises UserLeaving. For an iteration that asks `leaving`, the block just ends if
    `ends_early`, else it goes on.
    """

    __slots__ = ("ends_early",)

    def __init__(self, *, ends_early: bool = False) -> None:
        self.ends_early = ends_early

    def __enter__(self) -> None:
        check_load()
        self._mark(self)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._mark(None)
        if kind is not _Woken:
            return False
        check_load()
        return True

    def _mark(self, wait: "EndableWait | None") -> None:
        current = getcurrent()
        if isinstance(current, UserGreenlet):
            current.waiting = wait
        elif (group := _group_of(current)) is not None:
            if wait is not None:
                group.waiting[current] = wait
            else:
                group.waiting.pop(current, None)


_PAUSE, STANZA_WAIT = EndableWait(ends_early=True), EndableWait()


def check_load() -> None:
    """Raise UserLeaving if the duration is over and the calling user never asked `leaving`.

    Clients call this before each operation. Greenlets that are no user's may go on.
    """
    if _load_over and _never_asks(getcurrent()):
        gevent.sleep(REFUSAL_S)  # a loop that catches everything must not hold the worker
        raise UserLeaving("the duration of the run is over")


def set_load_over(over: bool) -> None:
    """Set for this process whether the run's duration is over."""
    global _load_over  # noqa: PLW0603  # one run in a worker; a look-up per operation must be cheap
    _load_over = over


_load_over = False

REFUSAL_S = 0.001
"""The time that a refused operation takes."""


def _never_asks(current: object) -> bool:
    """Return whether the greenlet is a user's whose iteration never asked `leaving`."""
    if isinstance(current, UserGreenlet):
        return not current.polls_leaving
    group = _group_of(current)
    return group is not None and not group.end_requested.asked


def _group_of(current: object) -> _HelperGroup | None:
    return (getattr(current, "spawn_tree_locals", None) or {}).get(_KEY)


def leaving(within: float = 0.0) -> bool:
    """Return whether the user was asked to end: by a gentle removal or stop, or by the duration.

    Wait up to `within` seconds for that. A session that lasts as long as the run can then end
    cleanly: `while not user.leaving(within=1.0): ...`.
    """
    current = getcurrent()
    if isinstance(current, UserGreenlet):
        end_requested = current.own_end_request()
    else:
        end_requested = _current_group("leaving").end_requested
    end_requested.asked = True
    return end_requested.wait(within) if within > 0 else end_requested.is_set()


def spawn(function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> Helper:
    """Run `function` concurrently with `start`, as a browser fetches several files at once.

    The helper has the same `user.id`, and is killed when the user's iteration ends. `get()` on it
    raises its exception; if `get()` is not called, the exception counts as raised by `start`.
    """
    current = getcurrent()
    group = (
        current.spawn_tree_locals[_KEY]
        if isinstance(current, UserGreenlet)
        else _current_group("spawn")
    )
    helper = Helper(group, partial(function, *args, **kwargs))
    helper.start()
    return helper


def spawner() -> Callable[[Callable[[], object]], gevent.Greenlet]:  # type: ignore[type-arg]
    """Return a function that starts greenlets of the present user, wherever it is called from.

    Clients use it for callbacks on the hub. Outside a user it starts plain greenlets.
    """
    current = getcurrent()
    inherited = getattr(current, "spawn_tree_locals", None)
    group: _HelperGroup | None = inherited.get(_KEY) if inherited else None
    if group is None:
        return gevent.spawn

    def start(function: Callable[[], object]) -> gevent.Greenlet:  # type: ignore[type-arg]
        helper = Helper(group, function)
        helper.start()
        return helper

    return start


def _current_group(asked: str) -> _HelperGroup:
    found = _group_of(getcurrent())
    if found is None:
        raise AmocError(f"user.{asked} works only inside start, where a user runs")
    return found
