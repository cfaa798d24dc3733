"""Redirects: method, body and credentials of the next request, and the records."""

import re
from functools import partial

import pytest
import requests
from gevent import get_hub

from amoc_gevent import http
from tests.transport.scripted import Scripted, always, answers, read_request, response

OK = response(b"arrived")


def leads(to, status="302 Found", *fields):
    return response(b"", status, f"Location: {to}", *fields)


def summary(operations):
    return {name: (o.count, o.error_groups) for name, o in operations.items()}


def head_of(request):
    return request.partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
def test_a_redirect_changes_method_and_body_as_in_requests(status, method):
    hop = leads("/next", f"{status} Moved")
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    with Scripted(answers(hop, final)) as server, http.Session(server.url) as session:
        session.request(method, "/", data=b"body", allow_redirects=True)
        ours = [r.partition(b" HTTP/1.1\r\n")[0] for r in server.requests]
        body = server.requests[1].partition(b"\r\n\r\n")[2]
    theirs = requests.Session()
    prepared = requests.Request(method, "http://h/", data=b"body").prepare()
    answer = requests.Response()
    answer.status_code = status
    theirs.rebuild_method(prepared, answer)
    assert ours == [f"{method} /".encode(), f"{prepared.method} /next".encode()]
    assert body == (b"body" if status in {307, 308} else b"")


def test_each_hop_is_an_operation_of_its_own_and_in_the_history(recorded):
    hops = [leads("/b", "301 Moved"), leads("/c"), OK]
    with Scripted(answers(*hops)) as server, http.Session(server.url) as session:
        got = session.get("/a")
    assert got.text == "arrived"
    assert got.url == f"{server.url}/c"
    assert [(r.status_code, r.url) for r in got.history] == [
        (301, f"{server.url}/a"),
        (302, f"{server.url}/b"),
    ]
    assert summary(recorded()) == {"GET /a": (1, {}), "GET /b": (1, {}), "GET /c": (1, {})}


def test_the_hops_of_a_named_request_have_their_own_name(recorded):
    with (
        Scripted(answers(leads("/b"), leads("/c"), OK)) as server,
        http.Session(server.url) as session,
    ):
        session.get("/a", name="walk")
    assert summary(recorded()) == {"walk": (1, {}), "walk (redirect)": (2, {})}


def test_only_the_last_response_of_a_chain_is_checked(recorded):
    with (
        Scripted(answers(leads("/b"), OK)) as server,
        http.Session(server.url) as session,
        session.get("/a", check=True) as got,
    ):
        got.fail("wrong place")
    assert summary(recorded()) == {"GET /a": (1, {}), "GET /b": (1, {"wrong place": 1})}


def test_an_unfollowed_redirect_is_the_response(recorded):
    with Scripted(always(leads("/b"))) as server, http.Session(server.url) as session:
        got = session.get("/a", allow_redirects=False)
        assert (got.status_code, got.is_redirect, got.history) == (302, True, [])
        assert session.head("/a").status_code == 302
    assert len(server.requests) == 2
    assert summary(recorded()) == {"GET /a": (1, {}), "HEAD /a": (1, {})}


def test_a_redirect_without_location_is_the_response():
    with (
        Scripted(always(response(b"", "302 Found"))) as server,
        http.Session(server.url) as session,
    ):
        assert session.get("/a").status_code == 302


def test_an_endless_chain_is_an_error_after_30_hops(client, demo, recorded):
    errors = (http.TooManyRedirects, requests.TooManyRedirects)
    with client(demo.url) as session, pytest.raises(errors):
        session.get("/redirect/50", name="chain")
    operations = recorded()
    assert summary(operations) == {
        "chain": (1, {}),
        "chain (redirect)": (30, {"too many redirects": 1}),
    }
    assert demo.counts()["total"] == 31


@pytest.mark.parametrize("place", ["ftp://elsewhere/", "http://[x", "http://h:port/"])
def test_a_redirect_to_an_invalid_place_is_recorded_then_refused(place, recorded):
    with (
        Scripted(answers(leads(place))) as server,
        http.Session(server.url) as session,
        pytest.raises(http.InvalidURL, match=re.escape(place)),
    ):
        session.get("/a")
    assert summary(recorded()) == {
        "GET /a": (1, {}),
        f"GET {place}": (1, {"invalid URL": 1}),
    }


def test_credentials_are_sent_to_the_same_host_only():
    with Scripted(always(OK)) as other:
        elsewhere = other.url.replace("127.0.0.1", "localhost")
        with (
            Scripted(answers(leads("/b"), leads(f"{elsewhere}/c"))) as server,
            http.Session(server.url, auth=("user", "secret")) as session,
        ):
            session.headers["X-Kept"] = "1"
            session.get("/a", headers={"Cookie": "mine=1"})
        assert all(b"Authorization: Basic" in r for r in server.requests)
        assert b"mine=1" in server.requests[0]
        assert b"mine=1" not in server.requests[1]
        assert b"Authorization" not in other.requests[0]
        assert b"X-Kept: 1" in other.requests[0]


@pytest.mark.parametrize("where", ["session", "request"])
def test_an_authorization_header_does_not_reach_another_port(where):
    token = {"Authorization": "Bearer token"}
    with Scripted(always(OK)) as other, Scripted(answers(leads(f"{other.url}/c"))) as server:
        with http.Session(server.url, headers=token if where == "session" else None) as session:
            session.get("/a", headers=token if where == "request" else None)
        assert b"Bearer token" in server.requests[0]
        assert b"Bearer token" not in other.requests[0]


SESSIONS = {
    "Authorization": "Bearer mine",
    "Content-Type": "text/mine",
    "Cookie": "mine=1",
    "Proxy-Authorization": "Basic mine",
    "X-Mine": "1",
}


@pytest.mark.parametrize("where", ["session", "call"])
@pytest.mark.parametrize("to", ["same host", "other port", "and back"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_after_a_redirect_the_same_headers_are_sent_as_by_requests(status, to, where):
    hop = f"{status} Moved"
    seen = []
    for make in (http.Session, requests.Session):

        def send_back(sock):
            read_request(sock)
            sock.sendall(leads(f"{server.url}/c", hop))

        with (
            Scripted(send_back if to == "and back" else always(OK)) as other,
            Scripted(answers(leads(next_of(to, other), hop), OK), always(OK)) as server,
            make() as session,
        ):
            session.headers.update(SESSIONS if where == "session" else {})
            session.cookies.set("jar", "2")
            headers = SESSIONS if where == "call" else None
            call = partial(session.post, f"{server.url}/a", data=b"body", headers=headers)
            if make is requests.Session:
                get_hub().threadpool.apply(call)
            else:
                call()
            seen.append([fields_of(request) for request in server.requests + other.requests])
    assert seen[0] == seen[1]


@pytest.mark.parametrize("to", ["/b", "user:other@{host}/b"])
def test_the_credentials_of_a_url_are_sent_to_the_same_host_and_those_of_a_location_never(to):
    seen = []
    for make in (http.Session, requests.Session):

        def lead(sock):
            read_request(sock)
            place = to.format(host=f"127.0.0.1:{server.port}")
            to_there = place if place.startswith("/") else f"http://{place}"
            sock.sendall(leads(to_there, "302 Found", "Connection: close"))

        with Scripted(lead, always(OK)) as server, make() as session:
            url = server.url.replace("http://", "http://user:secret@")
            call = partial(session.get, f"{url}/a")
            if make is requests.Session:
                get_hub().threadpool.apply(call)
            else:
                call()
            seen.append([fields_of(request) for request in server.requests])
    assert seen[0] == seen[1]


def next_of(to, other):
    return "/b" if to == "same host" else f"{other.url.replace('127.0.0.1', 'localhost')}/b"


def fields_of(request):
    """Return the method and the sorted fields of a raw request, without the client's own."""
    line, *lines = head_of(request).decode().split("\r\n")
    own = ("host", "user-agent", "accept", "accept-encoding", "connection")
    fields = [one.lower() for one in lines if one.lower().partition(":")[0] not in own]
    return line.partition(" ")[0], sorted(fields)


def test_a_cookie_set_by_a_hop_is_sent_with_the_next():
    hop = leads("/b", "302 Found", "Set-Cookie: seen=1")
    with Scripted(answers(hop, OK)) as server, http.Session(server.url) as session:
        got = session.get("/a")
        assert b"Cookie: seen=1" in server.requests[1]
        assert got.history[0].cookies.get_dict() == {"seen": "1"}
        assert got.cookies.get_dict() == {}
        assert session.cookies["seen"] == "1"


def test_a_consumed_stream_cannot_be_sent_again_on_307(recorded):
    with Scripted(answers(leads("/b", "307 Temporary"), OK)) as server:
        with (
            http.Session(server.url) as session,
            pytest.raises(http.RequestError, match="body cannot be sent again"),
        ):
            session.post("/a", data=iter([b"once"]))
        assert len(server.requests) == 1
        assert summary(recorded()) == {
            "POST /a": (1, {}),
            f"POST {server.url}/b": (1, {"body cannot be sent again": 1}),
        }


def test_a_body_is_sent_again_on_307():
    with Scripted(answers(leads("/b", "307 Temporary"), OK)) as server:
        with http.Session(server.url) as session:
            session.post("/a", json={"k": 1})
        assert [r.partition(b"\r\n\r\n")[2] for r in server.requests] == [b'{"k": 1}'] * 2
        assert b"Content-Type: application/json" in head_of(server.requests[1])
