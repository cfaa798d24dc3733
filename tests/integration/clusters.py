"""A master, a node and real worker processes, steered from the test."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amoc_gevent.control.local import LocalCluster
from amoc_gevent.core.messages import UserCounts
from amoc_gevent.core.run.commands import Do
from amoc_gevent.core.run.plan import Options
from amoc_gevent.core.run.run import Run
from amoc_gevent.master.master import Master
from tests.integration.journal import PRELUDE, Journal
from tests.servers import wait_for

PATIENCE = 20.0


class Steered:
    """One run on a local cluster of real workers, with the journal that its users keep."""

    def __init__(self, cluster: LocalCluster, journal: Journal, output: list[str]) -> None:
        assert cluster.master.run is not None
        self.master: Master = cluster.master
        self.run: Run = cluster.master.run
        self.journal = journal
        self.output = output

    def until_counts(self, **expected: int) -> None:
        """Wait until the master counts the users in these states."""

        def there() -> bool:
            return all(getattr(self.run.users, state) == n for state, n in expected.items())

        wait_for(there, PATIENCE, f"{expected} (it is {self.run.users}; {self.output})")

    @property
    def users(self) -> UserCounts:
        """The users as the master counts them."""
        return self.run.users

    def events(self, kind: str) -> list[str]:
        """Return the texts of the run's events of one kind."""
        return [event.text for event in self.run.events if event.kind == kind]

    def end(self) -> Run:
        """Wait until the run has ended."""
        assert self.master.ended.wait(PATIENCE), f"the run goes on: {self.run}"
        return self.run


@contextmanager
def steered(
    directory: Path,
    source: str,
    last: int = 10,
    workers: int = 2,
    options: Options | None = None,
    **settings: str,
) -> Iterator[Steered]:
    """Run the users 1 to `last` of a scenario that begins with the journal's prelude."""
    journal = Journal(directory)
    scenario = directory / "steered.py"
    init = "" if "def init(" in source else "\n\ndef init():\n    pass\n"
    scenario.write_text(PRELUDE + source + init)
    output: list[str] = []
    with LocalCluster(workers, output.append) as cluster:
        cluster.master.handle(
            Do(
                str(scenario),
                1,
                last,
                settings={"journal": str(journal.path), **settings},
                options=options or Options(user_rate=500.0, stop_timeout=2.0),
            )
        )
        yield Steered(cluster, journal, output)
    assert not cluster.sockets.path.exists()
