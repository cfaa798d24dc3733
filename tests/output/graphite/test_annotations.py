"""Annotations: which events make one, what it says, and where it goes."""

from dataclasses import replace

import pytest

from amoc_gevent.core.messages import Event
from amoc_gevent.core.run.plan import Batch, Removal
from amoc_gevent.core.run.run import Run
from amoc_gevent.errors import UsageError
from amoc_gevent.output.graphite.annotations import Annotation, Annotator, EventsSender
from amoc_gevent.output.graphite.target import EventsAddress
from tests.graphite_servers import GraphiteWeb
from tests.output.runs import START, run_of
from tests.servers import wait_for


def happened(run: Run) -> Run:
    """Have one of each kind of event happen, with one that is none of Graphite's."""
    for after, (kind, text) in enumerate(
        [
            ("start", "shop with users 1 to 10"),
            ("add", "5 users, 11 to 15"),
            ("worker-lost", "worker 1 was killed"),
            ("remove", "3 users"),
            ("node-lost", "node two was not heard for 15 s"),
            ("node-back", "node two is back"),
            ("stop", "gently"),
        ]
    ):
        run.events.append(Event(START + after, kind, text))
    batches = (*run.plan.batches, Batch(11, 15, float(START), 10.0, ("two", "local")))
    removals = (Removal(15, 15, False), Removal(9, 10, False))
    run.plan = replace(run.plan, batches=batches, removals=removals)
    return run


def annotations(run: Run) -> list[Annotation]:
    annotator = Annotator(run)
    return [one for event in run.events if (one := annotator.annotation(event))]


def test_each_event_is_told_once_with_comment_ids_and_nodes() -> None:
    found = annotations(happened(run_of()))

    assert [one["what"] for one in found] == [
        "amoc start", "amoc add", "amoc remove", "amoc node lost", "amoc node back", "amoc stop",
    ]  # fmt: skip
    assert found[0]["tags"] == ["amoc", "start", "shop"]
    assert found[0]["when"] == START
    for one in found:
        assert one["data"].endswith("; nodes local, two; run 5f0c2a9b7d1e of shop; by hand")
    assert found[1]["data"].startswith("5 users, 11 to 15; ")
    assert found[2]["data"].startswith("3 users; ids 15, 9 to 10; ")


def test_graphite_web_has_each_annotation(graphite_web: GraphiteWeb) -> None:
    said: list[str] = []
    sent = annotations(happened(run_of()))
    sender = EventsSender(EventsAddress.of(f"{graphite_web.url}/events/"), said.append)
    sender.put(sent)
    sender.finish(20)

    got = [
        {name: event[name] for name in ("what", "tags", "data", "when")}
        for event in graphite_web.events("-4y")
    ]
    assert got == sent
    assert said == []


def test_what_is_not_taken_is_said_once_and_posted_later(graphite_web: GraphiteWeb) -> None:
    said: list[str] = []
    address = EventsAddress.of(f"{graphite_web.url}/no/such/place")
    sender = EventsSender(address, said.append)
    sender.put(annotations(happened(run_of())))
    wait_for(lambda: said, what="word of it")
    sender.finish(0.0)
    assert "status 404" in said[0]
    assert said[1:] == [f"graphite-web at {address}: 6 annotations were not posted"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://graphite/events/", "http://graphite/events/"),
        ("https://graphite:8443", "https://graphite:8443/events/"),
        ("http://me:secret@graphite/x", "http://graphite/x"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert str(EventsAddress.of(url)) == shown


def test_user_and_password_become_a_header() -> None:
    address = EventsAddress.of("http://me:se%40cret@graphite/")
    assert address.authorization == "Basic bWU6c2VAY3JldA=="


@pytest.mark.parametrize("url", ["graphite:80", "ftp://graphite/", "http://", "http://a:b/"])
def test_what_is_no_address_is_wrong_usage(url: str) -> None:
    with pytest.raises(UsageError, match="--graphite-events"):
        EventsAddress.of(url)
