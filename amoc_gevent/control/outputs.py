"""Connects a master to its outputs."""

from collections.abc import Callable, Mapping

from amoc_gevent.master.master import Master
from amoc_gevent.output.base import Output
from amoc_gevent.output.feed import RunFeed
from amoc_gevent.output.option_types import Chosen


def run_feed(
    master: Master,
    outputs: Mapping[str, Output | Chosen] | None = None,
    say: Callable[[str], None] = print,
    *,
    keep: bool = True,
) -> RunFeed:
    """Connect these outputs, by name, to the master's runs until the feed is closed.

    With `keep`, their pending data is stored with the runs, and pending data of an earlier master's
    other outputs is dropped. `say` prints the lines of an output.
    """
    feed = RunFeed(lambda: master.run, master.note)
    feed.restore(master.pending())
    for name, one in (outputs or {}).items():
        feed.add(one if isinstance(one, Output) else one.open(say), name)
    if keep:
        master.attach(feed)
    master.subscribe(feed.poll)
    return feed
