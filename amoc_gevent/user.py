"""Who runs: the id of the current user, its pauses and its helper greenlets.

A scenario uses `user.id`, `user.sleep` and `user.spawn`. The engine runs each round of a user in a
`UserGreenlet`; whatever that greenlet spawns, by `user.spawn` or by gevent itself, belongs to the
same user. A user that spawns nothing pays for none of this.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

import gevent
from gevent.event import Event
from greenlet import getcurrent, greenlet

from amoc_gevent.errors import AmocError, UsageError

P = ParamSpec("P")
T = TypeVar("T")

_KEY = "amoc_user"

_TOLD = Event()
_TOLD.set()

id: int  # noqa: A001  # read as user.id; __getattr__ below finds whose greenlet asks
"""The id of the user whose greenlet runs. Raises AmocError outside of one."""


class _Family:
    """What the greenlets of one user share: its id, and the helpers that end with its round.

    `told` is set when the user is asked to end. A helper leaves `helpers` once it is done, unless
    it raised and nobody has called its `get`.
    """

    __slots__ = ("helpers", "told", "user_id")

    def __init__(self, user_id: int, told: Event) -> None:
        self.user_id = user_id
        self.told = told
        self.helpers: dict[Helper, None] = {}  # in the order of their start


class Helper(gevent.Greenlet):  # type: ignore[type-arg]  # it takes no subscript at run time
    """A greenlet that works for a user: `user.spawn` makes it.

    Whoever calls `get` receives its result or its exception. An exception that nobody got is the
    user's own when the round ends, so gevent need not print it as one that would be lost.
    """

    _failure: BaseException | None = None

    def __init__(self, family: _Family, function: Callable[[], object]) -> None:
        super().__init__(self._work, function)
        self._family = family
        self._family.helpers[self] = None

    @property
    def exception(self) -> BaseException | None:
        """What the helper raised, None where it did not."""
        return self._failure

    def successful(self) -> bool:
        """Say whether the helper has ended without an exception."""
        return self.ready() and self._failure is None

    def _raise_exception(self) -> None:
        """Hand over what the helper raised: `get` and `gevent.joinall` ask for it here."""
        self._family.helpers.pop(self, None)
        if self._failure is not None:
            raise self._failure

    def _work(self, function: Callable[[], object]) -> object:
        try:
            result = function()
        except gevent.GreenletExit as killed:
            result = killed
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # the boundary around a helper
            self._failure = error
            return None
        self._family.helpers.pop(self, None)
        return result


class UserGreenlet(greenlet):
    """One round of one user; who makes it (a function and the hub) sets `user_id` before it runs.

    It costs what a greenlet costs: no dictionary is made unless it spawns.
    """

    __slots__ = ("_locals", "_told", "user_id")

    user_id: int
    _locals: dict[str, Any]
    _told: Event

    @property
    def spawn_tree_locals(self) -> dict[str, Any]:
        """What gevent hands on to every greenlet that this one spawns, and they to theirs."""
        try:
            return self._locals
        except AttributeError:
            self._locals = {_KEY: _Family(self.user_id, self.told)}
            return self._locals

    @property
    def told(self) -> Event:
        """What is set when the user is asked to end, made when somebody asks for it."""
        try:
            return self._told
        except AttributeError:
            self._told = Event()
            return self._told

    @property
    def listens(self) -> bool:
        """Whether the round looks at whether it should end."""
        return hasattr(self, "_told")

    def ask_to_end(self) -> None:
        """Let the round know that it should come to its end."""
        try:
            self._told.set()
        except AttributeError:
            self._told = _TOLD

    def throw_out(self) -> None:
        """End the round and its helpers here and now; to be called from the hub."""
        for helper in tuple(self._locals[_KEY].helpers) if hasattr(self, "_locals") else ():
            helper.throw(gevent.GreenletExit)
        self.throw(gevent.GreenletExit)

    def end_helpers(self) -> BaseException | None:
        """End the round's helpers; return the first exception of one that nobody got.

        Those still running are killed at the hub's next turn; the call never waits.
        """
        try:
            family: _Family = self._locals[_KEY]
        except AttributeError:
            return None
        helpers, family.helpers = family.helpers, {}
        failed: BaseException | None = None
        for helper in helpers:
            if not helper.ready():
                helper.kill(block=False)
            elif failed is None:
                failed = helper.exception
        return failed


def __getattr__(name: str) -> Any:
    if name != "id":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    current = getcurrent()
    if isinstance(current, UserGreenlet):
        return current.user_id
    return _family("id").user_id


def sleep(seconds: float) -> None:
    """Pause the user for `seconds`, as people pause to think; the other users go on."""
    if seconds < 0:
        raise UsageError(f"user.sleep({seconds}): a pause cannot be negative")
    gevent.sleep(seconds)


def leaving(within: float = 0.0) -> bool:
    """Whether the user has been asked to end, by a gentle removal or stop; wait for it if it must.

    It returns at the latest after `within` seconds, so that a session that goes on for as long as
    the run can end in order: `while not user.leaving(within=1.0): ...`.
    """
    current = getcurrent()
    told = current.told if isinstance(current, UserGreenlet) else _family("leaving").told
    return told.wait(within) if within > 0 else told.is_set()


def spawn(function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> Helper:
    """Run `function` beside `start`, as a browser fetches several things at once.

    The helper has the same `user.id`, and is killed when the user's round ends. Its exception goes
    to whoever calls `get()` on it; where nobody does, it counts as raised by `start`.
    """
    current = getcurrent()
    family = (
        current.spawn_tree_locals[_KEY] if isinstance(current, UserGreenlet) else _family("spawn")
    )
    helper = Helper(family, partial(function, *args, **kwargs))
    helper.start()
    return helper


def spawner() -> Callable[[Callable[[], object]], gevent.Greenlet]:  # type: ignore[type-arg]
    """Return what starts greenlets of the present user from now on, from wherever it is called.

    A client that hears of something on the hub uses it; outside a user they are plain greenlets.
    """
    current = getcurrent()
    inherited = getattr(current, "spawn_tree_locals", None)
    family: _Family | None = inherited.get(_KEY) if inherited else None
    if family is None:
        return gevent.spawn

    def start(function: Callable[[], object]) -> gevent.Greenlet:  # type: ignore[type-arg]
        helper = Helper(family, function)
        helper.start()
        return helper

    return start


def _family(asked: str) -> _Family:
    inherited = getattr(getcurrent(), "spawn_tree_locals", None)
    if not inherited or _KEY not in inherited:
        raise AmocError(f"user.{asked} is known only inside start, where a user runs")
    found: _Family = inherited[_KEY]
    return found
