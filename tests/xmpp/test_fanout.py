"""What one user tells many: listeners count from the first that they hear, and miss nothing."""

from xml.etree.ElementTree import fromstring

from amoc_gevent import clock, metrics
from amoc_gevent.xmpp.fanout import Ear, Source
from amoc_gevent.xmpp.stanzas.stanza import Stanza


def heard(ear: Ear, told: str) -> bool:
    """Whether there is news in a presence with this child."""
    text = f"<presence xmlns='jabber:client'><show>away</show>{told}</presence>"
    return ear.hear(Stanza.of(fromstring(text), clock.monotonic()))


def figures() -> tuple[int, int]:
    """How many deliveries were timed, and how many are missing."""
    taken = metrics.recorder.take()
    operation = taken.operations.get("delivery")
    return (0 if operation is None else operation.count), taken.counters.get("lost", 0)


def test_all_but_the_first_of_each_source_are_timed_and_gaps_are_lost() -> None:
    ear, sources = Ear("delivery", "lost"), [Source(), Source()]
    told = [[source.next() for _ in range(8)] for source in sources]
    assert [heard(ear, told[0][n]) for n in (2, 3, 4, 7)] == [False, True, True, True]
    assert [heard(ear, told[1][n]) for n in (0, 1)] == [False, True]
    assert figures() == (4, 2)


def test_what_is_told_again_or_was_overtaken_counts_once() -> None:
    ear, source = Ear("delivery", "lost"), Source()
    told = [source.next() for _ in range(4)]
    assert [heard(ear, told[n]) for n in (0, 1, 1, 0, 3, 2)] == [
        *(False, True, False, False, True, False)
    ]
    assert figures() == (2, 1)


def test_several_in_one_stanza_count_each() -> None:
    ear, source = Ear("delivery", "lost"), Source()
    assert heard(ear, source.next() + "<x>" + source.next() + "</x>" + source.next())
    assert figures() == (2, 0)


def test_what_nobody_of_ours_wrote_is_not_counted() -> None:
    ear = Ear("delivery", "lost")
    for wrong in ("", "<told xmlns='urn:amoc:fanout:0' n='x' at='1'/>", "<told n='1' at='1'/>"):
        assert not heard(ear, wrong)
    far = "<told xmlns='urn:amoc:fanout:0' by='a' n='{}' at='1'/>"
    assert not heard(ear, far.format(1))
    heard(ear, far.format(10**12))
    assert figures() == (1, 0)


def test_what_comes_from_another_machine_is_timed_by_the_masters_clock() -> None:
    metrics.recorder.take()
    ear, source = Ear("delivery", "lost"), Source()
    assert not heard(ear, source.next())
    text = source.next()
    clock.correct(3.0)
    try:
        assert heard(ear, text)
    finally:
        clock.correct(0.0)
    assert metrics.recorder.take().operations["delivery"].latency.min > 2_900_000
