"""Keep-alive connections: one for each origin, replaced when stale, retried only when safe."""

import gc

import gevent
import pytest

from amoc_gevent import http, metrics
from amoc_gevent.demo.http import DemoServer
from tests.servers import wait_for
from tests.transport.scripted import (
    Scripted,
    always,
    answers,
    read_request,
    reads_then,
    resets,
    response,
)

OK = response(b"ok")


def retries():
    return metrics.recorder.snapshot.counters.get("http_stale_retries", 0)


def count(recorded):
    return sum(operation.count for operation in recorded().values())


def kept(session):
    (connection,) = session._pool._idle.values()
    return connection


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_that_closed_while_idle_is_replaced_before_it_is_used(method, recorded):
    with Scripted(answers(OK)) as server, http.Session(server.url) as session:
        session.get("/")
        wait_for(lambda: kept(session).stream.waiter.unread)
        assert session.request(method, "/").text == "ok"
        assert server.connections == len(server.requests) == 2
    assert retries() == 0
    assert count(recorded) == 2


def close_unnoticed(session):
    """Let the end of the peer's stream arrive without the hub noticing it."""
    stream = kept(session).stream
    wait_for(lambda: stream.waiter.unread)
    stream.waiter.unread = False


def test_a_post_asks_the_kernel_before_it_uses_a_kept_connection(recorded):
    with Scripted(answers(OK)) as server, http.Session(server.url) as session:
        session.get("/")
        close_unnoticed(session)
        assert session.post("/", data=b"once").text == "ok"
        assert [r.split(b" ")[0] for r in server.requests] == [b"GET", b"POST"]
    assert retries() == 0
    assert count(recorded) == 2


DIES = [answers(OK, then=read_request), answers(OK, then=reads_then(resets))]


@pytest.mark.parametrize("dies", DIES)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_an_idempotent_request_is_retried_once_on_a_stale_connection(dies, method, recorded):
    with Scripted(dies, always(OK)) as server, http.Session(server.url) as session:
        session.get("/")
        assert session.request(method, "/", data=b"body").status_code == 200
        assert server.connections == 2
        assert len(server.requests) == 3
    assert retries() == 1
    assert count(recorded) == 2


@pytest.mark.parametrize("dies", DIES)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_another_request_is_not_sent_twice(dies, method, recorded):
    with Scripted(dies, always(OK)) as server, http.Session(server.url) as session:
        session.get("/")
        with pytest.raises(http.ConnectionError):
            session.request(method, "/", data=b"body")
        assert len(server.requests) == 2
    assert retries() == 0
    assert count(recorded) == 2


def test_a_request_is_sent_twice_at_most(recorded):
    dies = answers(OK, then=read_request)
    with Scripted(dies, read_request, always(OK)) as server, http.Session(server.url) as session:
        session.get("/")
        with pytest.raises(http.ConnectionError, match="connection closed"):
            session.get("/")
        assert len(server.requests) == 3
    assert retries() == 1
    assert count(recorded) == 2


def test_a_new_connection_that_breaks_is_not_stale(recorded):
    with Scripted(read_request, always(OK)) as server, http.Session(server.url) as session:
        with pytest.raises(http.ConnectionError):
            session.get("/")
        assert len(server.requests) == 1
    assert retries() == 0
    assert count(recorded) == 1


def test_a_request_is_not_retried_after_the_first_byte_of_its_response():
    begun = answers(OK, then=reads_then(lambda sock: sock.sendall(b"H")))
    with Scripted(begun, always(OK)) as server, http.Session(server.url) as session:
        session.get("/")
        with pytest.raises(http.InvalidResponse, match="incomplete response"):
            session.get("/")
        assert len(server.requests) == 2
    assert retries() == 0


def test_a_body_that_can_be_read_only_once_is_not_sent_twice():
    dies = answers(OK, then=read_request)
    with Scripted(dies, always(OK)) as server, http.Session(server.url) as session:
        session.get("/")
        with pytest.raises(http.ConnectionError):
            session.put("/", data=iter([b"once"]))
        assert len(server.requests) == 2


def test_a_file_is_sent_again_from_its_first_position(tmp_path):
    file = tmp_path / "body"
    file.write_bytes(b"skipped and sent")
    dies = answers(OK, then=read_request)
    with Scripted(dies, always(OK)) as server, http.Session(server.url) as session:
        session.get("/")
        with file.open("rb") as opened:
            opened.seek(len(b"skipped "))
            session.put("/", data=opened)
        assert [r.partition(b"\r\n\r\n")[2] for r in server.requests[1:]] == [b"and sent"] * 2


def test_each_origin_has_its_own_keep_alive_connection():
    with Scripted(always(OK)) as one, Scripted(always(OK)) as two, http.Session() as session:
        for _ in range(3):
            session.get(one.url + "/")
            session.get(two.url + "/")
        assert (one.connections, two.connections) == (1, 1)


def test_greenlets_that_share_a_session_do_not_share_a_response():
    with DemoServer() as server, http.Session(server.url) as session:
        asking = [gevent.spawn(session.get, f"/bytes/{n}") for n in range(1, 21)]
        gevent.joinall(asking, raise_error=True)
        assert [len(a.value.content) for a in asking] == list(range(1, 21))
        session.get("/")
        assert len(session._pool._idle) == 1


def test_a_session_that_is_dropped_closes_its_connection_at_once():
    ended = []

    def until_the_end(sock):
        always(OK)(sock)
        ended.append(True)

    with Scripted(until_the_end) as server:
        gc.disable()
        try:
            session = http.Session(server.url)
            session.get("/")
            del session
            wait_for(lambda: ended)
        finally:
            gc.enable()


def test_a_closed_session_can_be_used_again():
    with Scripted(always(OK)) as server, http.Session(server.url) as session:
        session.get("/")
        session.close()
        session.close()
        assert session.get("/").text == "ok"
        assert server.connections == 2


def test_only_the_first_response_on_a_connection_has_connect_times(recorded):
    with Scripted(always(OK)) as server, http.Session(server.url) as session:
        first, second = session.get("/"), session.get("/")
    assert first.connect_us is not None
    assert first.tls_us is None
    assert first.total_us >= first.connect_us + first.first_byte_us
    assert second.connect_us is None
    operation = recorded()["GET /"]
    assert operation.phases["connect"].count == 1
    assert operation.phases["first_byte"].count == 2
    assert "tls" not in operation.phases
