"""Message tracking, with messages that are dropped, duplicated and reordered."""

from collections.abc import Iterator
from random import Random
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amoc_gevent import clock, metrics
from amoc_gevent.core.measure.deliveries import Balance, balances
from amoc_gevent.xmpp import tracking
from amoc_gevent.xmpp.stanzas.stanza import Stanza
from amoc_gevent.xmpp.tracking import DeliveryRegistry, DeliveryTracker

ONE, TWO = "user_1@localhost", "user_2@localhost"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tracking, "registry", DeliveryRegistry())
    metrics.recorder.reset()
    yield
    metrics.recorder.reset()


def written(tracker: DeliveryTracker, to: str, *, beside: str = "", head: str = "") -> str:
    """Return a message from the tracker's user, counted as sent."""
    room = "groupchat" in head
    outgoing = tracker.to(to, room=room)
    id_, child = outgoing.next()
    outgoing.sent()
    head = head or f"from='{tracker.user}/phone' type='chat'"
    return (
        f"<message xmlns='jabber:client' to='{to}' id='{id_}' {head}><body>hi</body>{child}{beside}"
        "</message>"
    )


def reads(tracker: DeliveryTracker, text: str) -> None:
    tracker.read(Stanza.of(fromstring(text), clock.monotonic()))


def found() -> dict[tuple[str, str], Balance]:
    pairs, strays = balances(metrics.recorder.snapshot.flows)
    assert strays == 0
    return pairs


def deliveries() -> int:
    operation = metrics.recorder.snapshot.operations.get(tracking.DELIVERY)
    return operation.count if operation else 0


@given(st.integers(1, 40), st.randoms(use_true_random=False))
def test_counts_match_what_happened_to_the_messages(count: int, chance: Random) -> None:
    tracking.registry = DeliveryRegistry()
    metrics.recorder.reset()
    one, two = DeliveryTracker(ONE), DeliveryTracker(TWO)
    sent = [(number, written(one, TWO)) for number in range(1, count + 1)]
    kept = [item for item in sent if chance.random() > 0.2]
    arriving = [*kept, *(item for item in kept if chance.random() < 0.2)]
    chance.shuffle(arriving)
    seen: set[int] = set()
    doubled = late = 0
    for number, text in arriving:
        doubled += number in seen
        late += number not in seen and bool(seen) and number < max(seen)
        seen.add(number)
        reads(two, text)
    one.settle()

    assert found() == {
        (ONE, TWO): Balance(
            count, len(seen), lost=count - len(seen), duplicated=doubled, reordered=late
        )
    }
    assert deliveries() == len(seen)


def test_time_to_delivery_lasts_from_send_to_arrival_of_the_bytes() -> None:
    one, two = DeliveryTracker(ONE), DeliveryTracker(TWO)
    text = written(one, TWO)
    at = clock.monotonic() + 3.0  # as if the kernel had received it three seconds later
    two.read(Stanza.of(fromstring(text), at))
    latency = metrics.recorder.snapshot.operations[tracking.DELIVERY].latency
    assert 2_990_000 < latency.max < 3_010_000


def test_a_message_from_a_clock_that_is_ahead_has_latency_zero() -> None:
    one, two = DeliveryTracker(ONE), DeliveryTracker(TWO)
    two.read(Stanza.of(fromstring(written(one, TWO)), clock.monotonic() - 5))
    assert metrics.recorder.snapshot.operations[tracking.DELIVERY].latency.max == 0


def test_a_stored_message_is_delivered_but_has_no_time_to_delivery() -> None:
    one, two = DeliveryTracker(ONE), DeliveryTracker(TWO)
    delay = "<delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/>"
    reads(two, written(one, TWO, beside=delay))
    assert found() == {(ONE, TWO): Balance(1, 1, delayed=1)}
    assert deliveries() == 0


@pytest.mark.parametrize(
    "wrapper",
    [
        "<received xmlns='urn:xmpp:carbons:2'>{}</received>",
        "<sent xmlns='urn:xmpp:carbons:2'>{}</sent>",
        "<result xmlns='urn:xmpp:mam:2' id='1' queryid='q'>{}</result>",
    ],
)
def test_a_copy_is_not_a_delivery(wrapper: str) -> None:
    one, two = DeliveryTracker(ONE), DeliveryTracker(TWO)
    inner = f"<forwarded xmlns='urn:xmpp:forward:0'>{written(one, TWO)}</forwarded>"
    reads(two, f"<message xmlns='jabber:client'>{wrapper.format(inner)}</message>")
    assert found() == {(ONE, TWO): Balance(1, on_the_way=1)}
    assert metrics.recorder.snapshot.counters == {tracking.COPIES: 1}


def test_a_bounced_message_is_lost_even_if_only_its_id_identifies_it() -> None:
    one = DeliveryTracker(ONE)
    written(one, TWO)
    text = written(one, TWO)
    id_ = fromstring(text).get("id")
    reads(
        one,
        f"<message xmlns='jabber:client' type='error' from='{TWO}' to='{ONE}' id='{id_}'>"
        "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
        "</error></message>",
    )
    assert found() == {(ONE, TWO): Balance(2, lost=1, on_the_way=1, bounced=1)}


def test_counts_ignore_resources_and_continue_across_iterations() -> None:
    reads(DeliveryTracker(TWO), written(DeliveryTracker(ONE), f"{TWO}/phone"))
    reads(DeliveryTracker(TWO), written(DeliveryTracker(ONE), f"{TWO}/desk"))
    reads(DeliveryTracker(TWO), written(DeliveryTracker(ONE), TWO))
    assert found() == {(ONE, TWO): Balance(3, 3)}


def test_each_occupant_of_a_room_counts_from_the_first_message_received() -> None:
    room = "talk@conference.localhost"
    head = f"from='{room}/one' type='groupchat'"
    one, two, three = (
        DeliveryTracker(ONE),
        DeliveryTracker(TWO),
        DeliveryTracker("user_3@localhost"),
    )
    texts = [written(one, room, head=head) for _ in range(5)]
    for text in texts:
        reads(two, text)
    for text in (texts[2], texts[4]):
        reads(three, text)
    assert found() == {
        (ONE, f"{room}/{TWO}"): Balance(5, 5),
        (ONE, f"{room}/user_3@localhost"): Balance(3, 2, lost=1),
    }


def test_the_history_of_a_room_is_a_copy() -> None:
    room = "talk@conference.localhost"
    head = f"from='{room}/one' type='groupchat'"
    delay = "<delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/>"
    reads(DeliveryTracker(TWO), written(DeliveryTracker(ONE), room, head=head, beside=delay))
    assert found() == {}
    assert metrics.recorder.snapshot.counters == {tracking.COPIES: 1}


@pytest.mark.parametrize(
    "child",
    [
        "<tracked xmlns='urn:amoc:tracking:0'/>",
        "<tracked xmlns='urn:amoc:tracking:0' sent='a e x 1'/>",
        "<tracked xmlns='urn:amoc:tracking:0' sent='a e -1 1'/>",
        "<tracked xmlns='urn:amoc:tracking:0' sent='a e 99999999999 1'/>",
        "<tracked xmlns='urn:amoc:tracking:0' sent='a b e 1 1'/>",
        "<tracked xmlns='urn:amoc:tracking:0' sent='a 1 1'/>",
        "<tracked xmlns='urn:amoc:tracking:0' sent=' e 1 1'/>",
        "<tracked xmlns='urn:amoc:tracking:0' sent='a  1 1'/>",
    ],
)
def test_foreign_tracking_elements_are_ignored(child: str) -> None:
    reads(DeliveryTracker(TWO), f"<message xmlns='jabber:client' type='chat'>{child}</message>")
    assert [flow.delivered for flow in metrics.recorder.snapshot.flows.values()] in ([], [0])
    assert found() == {}
