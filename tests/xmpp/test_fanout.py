"""Fan-out: each receiver counts from the first stanza it hears."""

from xml.etree.ElementTree import fromstring

from amoc_gevent import clock, metrics
from amoc_gevent.xmpp.fanout import Receiver, Source
from amoc_gevent.xmpp.stanzas.stanza import Stanza


def heard(receiver: Receiver, told: str) -> bool:
    """Return whether a presence with this child holds a new number."""
    text = f"<presence xmlns='jabber:client'><show>away</show>{told}</presence>"
    return receiver.record(Stanza.of(fromstring(text), clock.monotonic()))


def figures() -> tuple[int, int]:
    """Return how many deliveries were timed and how many are missing."""
    taken = metrics.recorder.take()
    operation = taken.operations.get("delivery")
    return (0 if operation is None else operation.count), taken.counters.get("lost", 0)


def test_all_but_the_first_of_each_source_are_timed_and_gaps_are_lost() -> None:
    receiver, sources = Receiver("delivery", "lost"), [Source(), Source()]
    told = [[source.next() for _ in range(8)] for source in sources]
    assert [heard(receiver, told[0][n]) for n in (2, 3, 4, 7)] == [False, True, True, True]
    assert [heard(receiver, told[1][n]) for n in (0, 1)] == [False, True]
    assert figures() == (4, 2)


def test_repeated_and_overtaken_stanzas_count_once() -> None:
    receiver, source = Receiver("delivery", "lost"), Source()
    told = [source.next() for _ in range(4)]
    assert [heard(receiver, told[n]) for n in (0, 1, 1, 0, 3, 2)] == [
        *(False, True, False, False, True, False)
    ]
    assert figures() == (2, 1)


def test_each_of_several_elements_in_one_stanza_counts() -> None:
    receiver, source = Receiver("delivery", "lost"), Source()
    assert heard(receiver, source.next() + "<x>" + source.next() + "</x>" + source.next())
    assert figures() == (2, 0)


def test_foreign_elements_are_not_counted() -> None:
    receiver = Receiver("delivery", "lost")
    for wrong in ("", "<told xmlns='urn:amoc:fanout:0' n='x' at='1'/>", "<told n='1' at='1'/>"):
        assert not heard(receiver, wrong)
    far = "<told xmlns='urn:amoc:fanout:0' by='a' n='{}' at='1'/>"
    assert not heard(receiver, far.format(1))
    heard(receiver, far.format(10**12))
    assert figures() == (1, 0)


def test_stanzas_from_another_machine_are_timed_by_the_masters_clock() -> None:
    metrics.recorder.take()
    receiver, source = Receiver("delivery", "lost"), Source()
    assert not heard(receiver, source.next())
    text = source.next()
    clock.set_cluster_offset(3.0)
    try:
        assert heard(receiver, text)
    finally:
        clock.set_cluster_offset(0.0)
    assert metrics.recorder.take().operations["delivery"].latency.min > 2_900_000
