"""Users on the hub of the test, with records of their iterations, states and errors."""

from collections import Counter
from collections.abc import Callable

from amoc_gevent import clock
from amoc_gevent.core.messages import UserCounts
from amoc_gevent.core.run.placement import Share
from amoc_gevent.core.run.plan import Batch, Options, Removal
from amoc_gevent.metrics import Recorder
from amoc_gevent.user import set_load_over
from amoc_gevent.worker.killer import UserKiller
from amoc_gevent.worker.scheduler import UserScheduler
from tests.servers import wait_for

AT_ONCE = 1e9
"""A rate at which no user waits."""


def until(condition: Callable[[], object], what: str = "the condition to hold") -> None:
    """Let the hub run until `condition()` is true."""
    wait_for(condition, 20.0, what)


_crowds: "list[Crowd]" = []


def disperse() -> None:
    """Stop the users of all crowds of a test, so that none goes on in the next test."""
    while _crowds:
        _crowds.pop().users.stop(force=True)
    set_load_over(False)


class Crowd:
    """Runs `start` for users, and records their iterations, errors and stuck users."""

    def __init__(
        self,
        start: Callable[[int], object],
        kill_grace: float = 5.0,
        **options: float | str,
    ) -> None:
        self.rounds: Counter[int] = Counter()
        self.started_at: dict[int, float] = {}
        self.errors: list[tuple[int, BaseException]] = []
        self.stuck: list[list[int]] = []
        self.killer = UserKiller(self.stuck.append, kill_grace)
        self.recorder = Recorder()
        self._start = start
        self.users = UserScheduler(
            self._round,
            Options(**{"repeat_interval": 3600.0, **options}),  # type: ignore[arg-type]
            self.recorder,
            lambda user_id, error: self.errors.append((user_id, error)),
            self.killer,
        )
        self._given = 0
        _crowds.append(self)

    def _round(self, user_id: int) -> None:
        self.rounds[user_id] += 1
        self.started_at.setdefault(user_id, clock.monotonic())
        self._start(user_id)

    def end_load(self) -> None:
        """Let the duration be over, and the master stop the run."""
        self.users.set_clock(0.0, load_ends=clock.monotonic())
        self.users.stop(force=False)

    @property
    def stopped(self) -> int:
        """Whether (1 or 0) all were told to stop and none is left."""
        return int(self.users.stopped.is_set())

    def add(self, count: int, rate: float = AT_ONCE, delay: float = 0.0, step: int = 1) -> Batch:
        """Assign `count` further users: every `step`-th id of a batch."""
        first = self._given + 1
        self._given += count * step
        batch = Batch(first, self._given, clock.monotonic() + delay, rate, ("here",))
        self.users.assign(Share(batch, range(first, self._given + 1, step), 0))
        return batch

    def remove(self, first: int, last: int, *, force: bool = False) -> None:
        """Remove the users `first` to `last`."""
        self.users.remove(Removal(first, last, force))

    @property
    def counts(self) -> UserCounts:
        """The users by state."""
        return self.users.counts()

    def until_counts(self, **expected: int) -> None:
        """Let the hub run until the users are in these states."""
        until(
            lambda: all(getattr(self.counts, state) == n for state, n in expected.items()),
            f"{expected} (it is {self.counts})",
        )
