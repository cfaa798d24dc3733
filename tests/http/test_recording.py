"""Every operation is recorded exactly once and under the right name, whatever happens."""

import gc

import gevent
import pytest
import requests
from requests.auth import HTTPDigestAuth

from amoc_gevent import clock, http, metrics
from amoc_gevent.errors import UsageError
from amoc_gevent.http import recording
from tests.servers import wait_for
from tests.transport.scripted import (
    Scripted,
    always,
    answers,
    reads_then,
    refused_port,
    response,
    stays_silent,
)

OK = response(b"ok")
DOWN = response(b"down", "503 Service Unavailable")


@pytest.fixture
def ok():
    with Scripted(always(OK)) as server:
        yield server


@pytest.fixture
def down():
    with Scripted(always(DOWN)) as server:
        yield server


@pytest.fixture(params=["Session", "RequestsSession"])
def session(request, demo):
    """Each of the two clients, for a demo server in its own process."""
    with getattr(http, request.param)(demo.url) as made:
        yield made


def summary(operations):
    return {name: (o.count, o.error_groups) for name, o in operations.items()}


def test_an_operation_is_named_by_method_and_path_without_the_query(session, recorded):
    session.get("/json", params={"a": 1})
    session.get("/json?b=2")
    session.post("/echo", data=b"x")
    session.get("/delay/0.001", name="GET /delay/<seconds>")
    assert summary(recorded()) == {
        "GET /json": (2, {}),
        "POST /echo": (1, {}),
        "GET /delay/<seconds>": (1, {}),
    }


def test_a_status_of_400_and_above_is_an_error_of_its_kind(session, recorded):
    for status in (200, 304, 400, 404, 503, 503):
        session.get(f"/status/{status}", name="status")
    assert summary(recorded()) == {
        "status": (6, {"status 400": 1, "status 404": 1, "status 503": 2})
    }


def test_each_request_records_latency_and_first_byte(session, recorded):
    for _ in range(3):
        session.get("/delay/0.01", name="delay")
    operation = recorded()["delay"]
    assert operation.latency.count == operation.phases["first_byte"].count == 3
    assert operation.latency.min >= 10_000
    assert operation.latency.max >= operation.phases["first_byte"].max


def test_the_block_of_a_checked_response_decides_on_its_error(session, recorded):
    with session.get("/json", check=True, name="fine"):
        pass
    with session.get("/status/503", check=True, name="expected"):
        pass
    with session.get("/json", check=True, name="failed") as response:
        response.fail("no token")
        response.fail("nor anything else")
    with pytest.raises(KeyError), session.get("/json", check=True, name="raised"):
        raise KeyError
    assert summary(recorded()) == {
        "fine": (1, {}),
        "expected": (1, {}),
        "failed": (1, {"no token": 1}),
        "raised": (1, {"KeyError": 1}),
    }


def test_nothing_is_recorded_before_the_block_ends(session, recorded):
    with session.get("/json", check=True, name="outer") as outer:
        session.get("/json", name="inner")
        assert summary(recorded()) == {"inner": (1, {})}
        outer.fail("judged late")
    assert summary(recorded()) == {"outer": (1, {"judged late": 1})}


def test_a_block_that_is_entered_twice_counts_once(session, recorded):
    response = session.get("/json", check=True, name="twice")
    with response:
        pass
    with response:
        response.fail("too late")
    assert summary(recorded()) == {"twice": (1, {})}


@pytest.mark.parametrize(
    "end",
    [
        lambda session, response: session.get("/json", name="next"),
        lambda session, response: session.close(),
    ],
)
@pytest.mark.parametrize(("status", "errors"), [(200, {}), (503, {"status 503": 1})])
def test_a_checked_response_without_a_block_is_recorded_by_its_status(
    session, recorded, end, status, errors
):
    response = session.get(f"/status/{status}", check=True, name="unjudged")
    assert recorded() == {}
    end(session, response)
    assert summary(recorded())["unjudged"] == (1, errors)
    with response:
        response.fail("too late")
    assert "unjudged" not in recorded()


def test_a_checked_response_that_is_dropped_with_its_session_is_recorded_at_once(down, recorded):
    gc.disable()
    try:
        session = http.Session(down.url)
        session.get("/", check=True)
        del session
        assert summary(recorded()) == {"GET /": (1, {"status 503": 1})}
    finally:
        gc.enable()


def test_a_response_without_check_cannot_fail(session):
    with pytest.raises(UsageError, match="check=True"):
        session.get("/json").fail("no token")


def test_a_checked_request_without_a_response_is_recorded_once(recorded):
    with (
        http.Session(f"http://127.0.0.1:{refused_port()}") as session,
        pytest.raises(http.ConnectionError),
    ):
        session.get("/", check=True)
    assert summary(recorded()) == {"GET /": (1, {"connection refused": 1})}


INVALID = [
    ("/no/base/url", {}, "invalid URL"),
    ("no-scheme.example/x", {}, "invalid URL"),
    ("ftp://127.0.0.1/x", {}, "invalid URL"),
    ("http://", {}, "invalid URL"),
    ("http://127.0.0.1:port/", {}, "invalid URL"),
    ("http://127.0.0.1:1/", {"headers": {"X": "a\r\nb"}}, "invalid header"),
]


@pytest.mark.parametrize(("url", "arguments", "kind"), INVALID)
@pytest.mark.parametrize("more", [{}, {"params": {"a": 1}}])
def test_an_invalid_request_is_recorded_before_it_raises(
    client, recorded, url, arguments, kind, more
):
    seen = []
    http.observe(seen.append)
    raised = http.RequestError if client is http.Session else requests.RequestException
    with client() as session:
        for name in (None, "mine"):
            with pytest.raises(raised):
                session.get(url, name=name, **arguments, **more)
    assert summary(recorded()) == {f"GET {url}": (1, {kind: 1}), "mine": (1, {kind: 1})}
    assert [(e.name, e.method, e.url, e.status, e.error) for e in seen] == [
        (f"GET {url}", "GET", url, None, kind),
        ("mine", "GET", url, None, kind),
    ]


@pytest.mark.parametrize(
    ("ask", "name"),
    [
        (lambda session: session.request("A B", "/"), "A B /"),
        (lambda session: session.request("A\r\nB", "/"), r"A\r\nB /"),
        (lambda session: session.get("/", cookies={"a": "1;2"}), "GET /"),
        (lambda session: session.post("/", headers={"a b": "1"}), "POST /"),
    ],
)
def test_an_invalid_method_cookie_or_header_is_recorded(ok, recorded, ask, name):
    with http.Session(ok.url) as session, pytest.raises(http.InvalidHeader):
        ask(session)
    assert summary(recorded()) == {name: (1, {"invalid header": 1})}


def test_a_redirect_to_an_invalid_url_is_recorded(httpbin, client, recorded):
    with (
        client(httpbin.url) as session,
        pytest.raises((http.InvalidURL, requests.exceptions.InvalidSchema)),
    ):
        session.get("/redirect-to", params={"url": "ftp://127.0.0.1/x"})
    operations = summary(recorded())
    assert operations.pop("GET /redirect-to") == (1, {})
    assert list(operations.values()) == [(1, {"invalid URL": 1})]


def test_a_forced_stop_during_a_request_interrupts_it(recorded):
    with Scripted(reads_then(stays_silent)) as server:
        session = http.Session(server.url)
        asking = gevent.spawn(session.get, "/", name="cut")
        wait_for(lambda: server.requests)
        asking.kill()
        assert session._pool._idle == {}
    operation = recorded()["cut"]
    assert (operation.count, operation.errors, operation.interrupted) == (0, 0, 1)


def test_a_forced_stop_during_connecting_interrupts_the_request(recorded):
    with Scripted(stays_silent) as server:
        session = http.Session(server.url.replace("http", "https"), verify=False)
        asking = gevent.spawn(session.get, "/", name="cut")
        wait_for(lambda: server.connections)
        asking.kill()
    assert recorded()["cut"].interrupted == 1


def test_a_forced_stop_in_a_block_records_the_response(ok, recorded):
    def user():
        with http.Session(ok.url) as session, session.get("/", check=True, name="judging"):
            gevent.sleep(60)

    running = gevent.spawn(user)
    wait_for(lambda: ok.requests)
    gevent.idle()
    running.kill()
    assert summary(recorded()) == {"judging": (1, {})}


def test_a_timeout_of_the_scenario_is_counted_and_raised(recorded):
    with (
        Scripted(reads_then(stays_silent), always(OK)) as server,
        http.Session(server.url) as session,
    ):
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
            session.get("/")
        assert session.get("/").text == "ok"
    assert summary(recorded()) == {"GET /": (2, {"scenario time-out": 1})}


def test_an_exception_thrown_into_the_wait_is_counted_by_its_type(recorded):
    class EnoughError(Exception):
        pass

    with Scripted(reads_then(stays_silent)) as server:
        asking = gevent.spawn(http.Session(server.url).get, "/")
        wait_for(lambda: server.requests)
        asking.kill(EnoughError)
    assert summary(recorded()) == {"GET /": (1, {"EnoughError": 1})}


def test_a_body_that_raises_while_it_is_sent_is_counted_by_its_type(recorded):
    def body():
        yield b"first"
        raise LookupError("no second")

    with (
        Scripted(always(OK)) as server,
        http.Session(server.url) as session,
        pytest.raises(LookupError),
    ):
        session.post("/", data=body())
    assert summary(recorded()) == {"POST /": (1, {"LookupError": 1})}


def test_an_observer_sees_each_exchange_as_it_was_recorded(session, demo):
    seen = []
    http.observe(seen.append)
    session.get("/json", headers={"X-Mine": "1"}, name="mine")
    with session.get("/status/503", check=True) as response:
        response.fail("as expected")
    session.get("/redirect/1")
    http.observe(None)
    session.get("/json")
    assert [(e.name, e.method, e.status, e.error) for e in seen] == [
        ("mine", "GET", 200, None),
        ("GET /status/503", "GET", 503, "as expected"),
        ("GET /redirect/1", "GET", 302, None),
        ("GET /", "GET", 200, None),
    ]
    assert seen[0].url == f"{demo.url}/json"
    assert ("X-Mine", "1") in seen[0].request_headers
    assert "content-type" in [name.lower() for name, _ in seen[0].response_headers]
    assert seen[0].timings.total >= seen[0].timings.first_byte > 0
    assert len(seen[0].content) > 0


def test_an_observer_sees_an_exchange_without_a_response(recorded):
    seen = []
    http.observe(seen.append)
    with (
        http.Session(f"http://127.0.0.1:{refused_port()}") as session,
        pytest.raises(http.ConnectionError),
    ):
        session.get("/")
    (exchange,) = seen
    assert (exchange.status, exchange.error) == (None, "connection refused")


def test_the_count_of_operations_equals_the_servers(session, demo, recorded):
    for _ in range(5):
        session.get("/json")
    session.get("/redirect/3")
    session.post("/login", data={"user": "u", "password": "p"})
    session.head("/json")
    with session.get("/status/404", check=True):
        pass
    session.get("/status/500", check=True)
    session.close()
    assert sum(o.count for o in recorded().values()) == demo.counts()["total"]


def test_the_count_of_many_users_equals_that_of_nginx(nginx, recorded):
    def user():
        with http.Session(nginx.url) as session:
            for _ in range(20):
                session.get("/")
            session.get("/nothing-here")

    gevent.joinall([gevent.spawn(user) for _ in range(20)], raise_error=True)
    operations = recorded()
    assert operations["GET /"].count == 400
    assert summary(operations)["GET /nothing-here"] == (20, {"status 404": 20})
    assert nginx.requests_logged() == 420
    assert len({request.connection for request in nginx.logged()}) == 20


def test_only_the_first_operation_includes_the_tls_handshake(nginx, ca, recorded):
    with http.Session(nginx.tls_url, verify=str(ca.file)) as session:
        first, second = session.get("/"), session.get("/")
    operation = recorded()["GET /"]
    assert operation.phases["tls"].count == operation.phases["connect"].count == 1
    assert first.total_us >= first.connect_us + first.tls_us + first.first_byte_us
    assert second.tls_us is None
    assert nginx.requests_logged() == 2


def test_a_challenge_is_a_separate_operation(httpbin, client, recorded):
    digest = http.HTTPDigestAuth if client is http.Session else HTTPDigestAuth
    with client(httpbin.url) as session:
        path = "/digest-auth/auth/user/secret"
        assert session.get(path, auth=digest("user", "secret"), name="digest").ok
        assert session.get(path, auth=digest("user", "wrong"), name="wrong").status_code == 401
    assert summary(recorded()) == {
        "digest (challenge)": (1, {}),
        "digest": (1, {}),
        "wrong (challenge)": (1, {}),
        "wrong": (1, {"status 401": 1}),
    }


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_setting_the_wall_clock_does_not_distort_latencies(monkeypatch, recorded, step_s):
    wall_ns = clock.wall_ns
    monkeypatch.setattr(clock, "wall_ns", lambda: wall_ns() + step_s * 10**9)
    monkeypatch.setattr(clock, "wall_origin_until", 0.0)
    with Scripted(always(OK)) as server, http.Session(server.url) as session:
        began = clock.monotonic()
        got = session.get("/")
        elapsed_us = (clock.monotonic() - began) * 1e6
    assert 0 <= got.first_byte_us <= got.total_us <= elapsed_us
    assert recorded()["GET /"].latency.max <= elapsed_us * 1.001


def test_a_connection_with_a_fault_is_dropped_from_the_pool(recorded):
    with (
        Scripted(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")) as server,
        http.Session(server.url) as session,
    ):
        with pytest.raises(http.InvalidResponse):
            session.get("/")
        assert session._pool._idle == {}


@pytest.mark.parametrize("reason", [404, 0])
def test_a_pending_record_accepts_a_status_as_its_reason(reason: int) -> None:
    metrics.recorder.reset()
    pending = recording.PendingRecord("judged", recording.Timings(5), None, None)
    pending.fail(reason)  # type: ignore[arg-type]  # as a scenario might
    pending.leave(None)
    assert metrics.recorder.take().operations["judged"].error_groups == {str(reason): 1}
