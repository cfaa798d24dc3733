"""Each page and fault of the demo server, over real sockets in this hub."""

import gzip
import json
import ssl
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import Any, Self

import gevent
import pytest
import trustme
from gevent import socket
from gevent.ssl import SSLContext

from amoc_gevent.demo.http import DemoServer
from amoc_gevent.demo.pages import HELLO
from amoc_gevent.demo.reader import BODY_MAX, HEAD_MAX
from amoc_gevent.errors import AmocError

PATIENCE = 10.0


@pytest.fixture
def server() -> Iterator[DemoServer]:
    with DemoServer() as started:
        yield started


class Client:
    """A plain connection that reads answers one by one even if they arrive in one piece."""

    def __init__(self, server: DemoServer, context: ssl.SSLContext | None = None) -> None:
        self.sock = socket.create_connection(server.address, timeout=PATIENCE)
        if context is not None:
            self.sock = context.wrap_socket(self.sock, server_hostname="127.0.0.1")
        self._file = self.sock.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self, method: str = "GET") -> tuple[HTTPResponse, bytes]:
        """Return the next answer and its body."""
        response = HTTPResponse(self, method=method)  # type: ignore[arg-type]
        response.begin()
        return response, response.read()

    def rest(self) -> bytes:
        """Return all bytes until the server closes."""
        return self._file.read()

    def makefile(self, _mode: str) -> "Client":
        """Return a file for HTTPResponse, which closes it. The connection stays open."""
        return self

    def readline(self, limit: int = -1) -> bytes:
        return self._file.readline(limit)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def ask(
    server: DemoServer,
    path: str,
    method: str = "GET",
    body: bytes | None = None,
    **headers: str,
) -> tuple[HTTPResponse, bytes]:
    """Send one request on a new connection and return the response and its body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: demo"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    with Client(server) as client:
        client.send("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))
        return client.answer(method)


def log_in(server: DemoServer, user: str = "user_1") -> str:
    body = json.dumps({"user": user, "password": "secret"}).encode()
    response, _ = ask(server, "/login", "POST", body, Content_Type="application/json")
    return (response.getheader("Set-Cookie") or "").partition(";")[0]


PAGES = [
    ("/", 200, "text/plain; charset=utf-8", HELLO),
    ("/bytes/5", 200, "application/octet-stream", b"xxxxx"),
    ("/bytes/0", 200, "application/octet-stream", b""),
    ("/chunked/2", 200, "text/plain; charset=utf-8", b"chunk 1\nchunk 2\n"),
    ("/chunked/0", 200, "text/plain; charset=utf-8", b""),
    ("/status/503", 503, "application/json", b'{"status": 503}\n'),
    ("/delay/0.01", 200, "application/json", b'{"delay": 0.01}\n'),
    ("/products/3?x=1", 200, "application/json", None),
    ("/products", 200, "application/json", None),
    ("/json", 200, "application/json", None),
    ("/products/0", 404, "application/json", None),
    ("/products/101", 404, "application/json", None),
    ("/nowhere", 404, "application/json", None),
    ("/json/more", 404, "application/json", None),
    ("/status/99", 400, "application/json", None),
    ("/status/2e2", 400, "application/json", None),
    ("/delay/-1", 400, "application/json", None),
    ("/delay/nan", 400, "application/json", None),
    ("/bytes/-1", 400, "application/json", None),
    ("/account", 401, "application/json", None),
    ("/login", 405, "application/json", None),
]


@pytest.mark.parametrize(("path", "status", "kind", "body"), PAGES)
def test_a_page_answers_with_its_status_type_and_body(
    server: DemoServer, path: str, status: int, kind: str, body: bytes | None
) -> None:
    for _ in range(2):  # the second answer may come from the cache
        response, got = ask(server, path)
        assert (response.status, response.getheader("Content-Type")) == (status, kind)
        assert body is None or got == body
        assert kind != "application/json" or json.loads(got)


@pytest.mark.parametrize(("path", "status", "kind", "body"), PAGES)
def test_head_has_the_head_of_get_and_no_body(
    server: DemoServer, path: str, status: int, kind: str, body: bytes | None
) -> None:
    with Client(server) as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: demo\r\n\r\n".encode())
        got, _ = client.answer()
        client.send(f"HEAD {path} HTTP/1.1\r\nHost: demo\r\n\r\n".encode())
        head, nothing = client.answer("HEAD")
        assert (head.status, head.getheaders(), nothing) == (got.status, got.getheaders(), b"")
        client.send(b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n")
        assert client.answer()[1] == HELLO


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_has_no_length(server: DemoServer, status: int) -> None:
    with Client(server) as client:
        client.send(f"GET /status/{status} HTTP/1.1\r\nHost: demo\r\n\r\n".encode() * 2)
        for _ in range(2):
            response, body = client.answer()
            assert (response.status, body) == (status, b"")
            assert response.getheader("Content-Length") is None


def test_echo_returns_the_request_unchanged(server: DemoServer) -> None:
    _, body = ask(server, "/echo?a=1&b=%20", "PUT", "grüß".encode(), X_Test="One", x_test="two")
    told = json.loads(body)
    assert (told["method"], told["path"], told["query"]) == ("PUT", "/echo", "a=1&b=%20")
    assert (told["body"], told["size"]) == ("grüß", 6)
    assert (told["headers"]["X-Test"], told["headers"]["x-test"]) == ("One", "two")
    assert told["client"].startswith("127.0.0.1:")


def test_echo_joins_repeated_headers(server: DemoServer) -> None:
    with Client(server) as client:
        client.send(b"GET /echo HTTP/1.1\r\nHost: demo\r\nX-A: 1\r\nX-A: 2\r\n\r\n")
        assert json.loads(client.answer()[1])["headers"]["X-A"] == "1, 2"


def test_a_chunked_request_body_arrives_whole(server: DemoServer) -> None:
    with Client(server) as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: demo\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b"3\r\nabc\r\n", b"2\r\nde\r", b"\n0\r\n\r\n"):
            client.send(piece)
        assert json.loads(client.answer()[1])["body"] == "abcde"


def test_gzip_is_gzip(server: DemoServer) -> None:
    response, body = ask(server, "/gzip")
    assert response.getheader("Content-Encoding") == "gzip"
    assert json.loads(gzip.decompress(body))["gzipped"] is True


def test_redirects_count_down_to_the_first_page(server: DemoServer) -> None:
    path, seen = "/redirect/3", []
    while True:
        response, _ = ask(server, path)
        if response.status != 302:
            break
        path = response.getheader("Location") or ""
        seen.append(path)
    assert seen == ["/redirect/2", "/redirect/1", "/"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"user": "user_7", "password": "x"}'),
        ("application/x-www-form-urlencoded", b"user=user_7&password=x"),
    ],
)
def test_a_login_by_form_or_json_gives_access_to_the_account(
    server: DemoServer, kind: str, body: bytes
) -> None:
    response, told = ask(server, "/login", "POST", body, Content_Type=kind)
    cookie = (response.getheader("Set-Cookie") or "").partition(";")[0]
    assert cookie == f"session={json.loads(told)['token']}"
    response, account = ask(server, "/account", Cookie=f"theme=dark; {cookie}")
    assert (response.status, json.loads(account)["user"]) == (200, "user_7")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"user": "u", "password": "wrong"}', 401),
        (b'{"user": "u"}', 400),
        (b'{"user": ', 400),
        (b"[1]", 400),
        (b"[" * 100_000, 400),
        (b'{"user": "\\ud800", "password": "x"}', 400),
    ],
)
def test_a_failed_login_gets_no_cookie(server: DemoServer, body: bytes, status: int) -> None:
    response, _ = ask(server, "/login", "POST", body, Content_Type="application/json")
    assert (response.status, response.getheader("Set-Cookie")) == (status, None)


def test_a_forged_session_is_refused(server: DemoServer) -> None:
    mark = log_in(server, "user_1").partition(".")[2]
    forged = f"session={b'user_2'.hex()}.{mark}"
    for cookie in (forged, "session=", "session=zz.zz", "session=."):
        assert ask(server, "/account", Cookie=cookie)[0].status == 401


def test_the_cart_takes_json_from_a_logged_in_user(server: DemoServer) -> None:
    item = b'{"product": 3, "quantity": 2}'
    assert ask(server, "/cart", "POST", item)[0].status == 401
    cookie = log_in(server)
    response, body = ask(server, "/cart", "POST", item, Cookie=cookie)
    assert (response.status, json.loads(body)["added"]) == (201, json.loads(item))
    assert ask(server, "/cart", "POST", b"{", Cookie=cookie)[0].status == 400
    assert ask(server, "/cart", "POST", item, Cookie=cookie)[0].status == 201


def test_pipelined_requests_are_answered_in_order_past_a_delayed_one(server: DemoServer) -> None:
    paths = ["/bytes/1", "/delay/0.02", "/bytes/2", "/delay/0.01", "/bytes/3"]
    with Client(server) as client:
        client.send(b"".join(f"GET {p} HTTP/1.1\r\nHost: d\r\n\r\n".encode() for p in paths))
        bodies = [client.answer()[1] for _ in paths]
    assert bodies == [b"x", b'{"delay": 0.02}\n', b"xx", b'{"delay": 0.01}\n', b"xxx"]


def test_a_request_during_a_delay_waits_its_turn(server: DemoServer) -> None:
    first = b"GET / HTTP/1.1\r\nHost: d\r\n\r\n"
    with Client(server) as client:
        client.send(first)
        client.answer()
        client.send(b"GET /delay/0.05 HTTP/1.1\r\nHost: d\r\n\r\n")
        while server.counts["total"] < 2:
            gevent.sleep(0.001)
        client.send(first)  # its reply is cached and must not overtake
        assert client.answer()[1] == b'{"delay": 0.05}\n'
        assert client.answer()[1] == HELLO


def test_a_delay_holds_up_no_other_client(server: DemoServer) -> None:
    with Client(server) as client:
        client.send(b"GET /delay/60 HTTP/1.1\r\nHost: d\r\n\r\n")
        while not server.counts["total"]:
            gevent.sleep(0.001)
        assert ask(server, "/")[1] == HELLO


def test_a_request_is_read_in_any_pieces(server: DemoServer) -> None:
    whole = b"GET / HTTP/1.1\r\nHost: d\r\n\r\n"
    with Client(server) as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.send(whole)  # to cache its reply
        client.answer()
        for cut in range(1, len(whole)):
            client.send(whole[:cut])
            gevent.sleep(0)
            client.send(whole[cut:])
            assert client.answer()[1] == HELLO
        client.send(b"POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 31\r\n\r\n")
        gevent.sleep(0)
        client.send(whole + b"....")  # bytes of a cached request in a body are body
        assert json.loads(client.answer()[1])["body"] == (whole + b"....").decode()
    assert server.counts["paths"] == {"/": len(whole), "/echo": 1}


def test_http_1_0_is_closed_after_the_answer_unless_it_asks_for_keep_alive(
    server: DemoServer,
) -> None:
    with Client(server) as client:
        client.send(b"GET /chunked/2 HTTP/1.0\r\n\r\n")
        head, _, body = client.rest().partition(b"\r\n\r\n")
    assert body == b"chunk 1\nchunk 2\n"
    assert b"connection: close" in head.lower()
    with Client(server) as client:
        for _ in range(2):
            client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            response, body = client.answer()
            assert (response.getheader("Connection"), body) == ("keep-alive", HELLO)


def test_requests_after_connection_close_are_not_answered(server: DemoServer) -> None:
    with Client(server) as client:
        client.send(
            b"GET / HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
            b"GET /json HTTP/1.1\r\nHost: d\r\n\r\n"
        )
        got = client.rest()
    assert got.endswith(HELLO)
    assert got.count(b"HTTP/1.1 200") == 1


def test_continue_is_sent_before_the_body(server: DemoServer) -> None:
    with Client(server) as client:
        client.send(
            b"POST /echo HTTP/1.1\r\nHost: d\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        assert client.sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"hi")
        assert json.loads(client.answer()[1])["body"] == "hi"


MALFORMED = [
    b"nonsense\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: d\r\nBad Header\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
]


@pytest.mark.parametrize("data", MALFORMED)
def test_a_malformed_request_gets_400_after_earlier_answers_and_is_not_counted(
    server: DemoServer, data: bytes
) -> None:
    with Client(server) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: d\r\n\r\n" + data)
        first, second = client.answer(), client.answer()
        assert first[1] == HELLO
        assert (second[0].status, second[0].getheader("Connection")) == (400, "close")
        assert client.rest() == b""
    assert server.counts["total"] == 1


@pytest.mark.parametrize("cuts", [1, 20])
def test_a_head_over_the_limit_gets_431_and_one_below_passes(server: DemoServer, cuts: int) -> None:
    for size, status in ((HEAD_MAX - 1000, 200), (HEAD_MAX + 100, 431)):
        lines = b"".join(b"X-%04d: %b\r\n" % (i, b"v" * (size // cuts - 10)) for i in range(cuts))
        with Client(server) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: d\r\n" + lines + b"\r\n")
            assert client.answer()[0].status == status


def test_a_head_that_never_ends_gets_431(server: DemoServer) -> None:
    with Client(server) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: d\r\nX-Long: ")
        client.send(b"v" * (2 * HEAD_MAX))
        assert client.answer()[0].status == 431


def test_a_body_over_the_limit_by_its_length_or_its_bytes_gets_413(server: DemoServer) -> None:
    start = b"POST /echo HTTP/1.1\r\nHost: d\r\n"
    with Client(server) as client:
        client.send(start + b"Content-Length: %d\r\n\r\n" % (BODY_MAX + 1))
        assert client.answer()[0].status == 413
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with Client(server) as client:
        client.send(start + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(BODY_MAX // 0x10000 + 1):
            client.send(chunk)
        assert client.answer()[0].status == 413


def test_a_big_answer_reaches_a_slow_reader_whole_and_others_are_served_meanwhile(
    server: DemoServer,
) -> None:
    size = 20 << 20
    with Client(server) as client:
        ask_twice = (
            f"GET /bytes/{size} HTTP/1.1\r\nHost: d\r\n\r\nGET / HTTP/1.1\r\nHost: d\r\n\r\n"
        )
        client.send(ask_twice.encode())
        while server.counts["total"] < 2:
            gevent.sleep(0.001)
        assert ask(server, "/")[1] == HELLO
        assert len(client.answer()[1]) == size
        assert client.answer()[1] == HELLO


def fault(server: DemoServer, path: str) -> bytes:
    with Client(server) as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: d\r\n\r\n".encode())
        return client.rest()


def test_close_closes_without_an_answer(server: DemoServer) -> None:
    assert fault(server, "/close") == b""


def test_reset_resets(server: DemoServer) -> None:
    with pytest.raises(ConnectionResetError):
        fault(server, "/reset")


def test_half_promises_more_than_it_sends(server: DemoServer) -> None:
    head, _, body = fault(server, "/half").partition(b"\r\n\r\n")
    assert b"Content-Length: 1000" in head
    assert len(body) == 500


def test_garbage_is_not_http(server: DemoServer) -> None:
    assert b"HTTP/1.1" not in fault(server, "/garbage")


def test_silent_never_answers_and_frees_the_connection_when_the_client_leaves(
    server: DemoServer,
) -> None:
    with Client(server) as client:
        client.sock.settimeout(0.05)
        client.send(b"GET /silent HTTP/1.1\r\nHost: d\r\n\r\nGET / HTTP/1.1\r\nHost: d\r\n\r\n")
        with pytest.raises(TimeoutError):
            client.sock.recv(1)
    assert open_connections(server) == 0


def test_a_client_that_disconnects_during_a_delay_is_removed(server: DemoServer) -> None:
    with Client(server) as client:
        client.send(b"GET /delay/60 HTTP/1.1\r\nHost: d\r\n\r\n")
    assert open_connections(server) == 0


def open_connections(server: DemoServer) -> int:
    """Wait up to 10 s until all connections are closed and return the number still open."""
    assert server._service is not None
    with gevent.Timeout(PATIENCE, False):
        while server._service.open:
            gevent.sleep(0.001)
    return len(server._service.open)


def test_count_has_requests_by_path_and_method_without_its_own(server: DemoServer) -> None:
    for path, method in (("/?a=1", "GET"), ("/?a=2", "GET"), ("/", "HEAD"), ("/status/500", "PUT")):
        ask(server, path, method)
    ask(server, "/products/7")
    ask(server, "/products/8")
    ask(server, "/nowhere")
    told = json.loads(ask(server, "/count")[1])
    assert told.pop("lives")["requests"] == 0
    expected: dict[str, Any] = {
        "total": 7,
        "paths": {
            "/": 3,
            "/status/500": 1,
            "/products/7": 1,
            "/products/8": 1,
            "/nowhere": 1,
        },
        "methods": {"GET": 5, "HEAD": 1, "PUT": 1},
        "connections": 8,
    }
    assert told == expected
    assert json.loads(ask(server, "/count")[1])["total"] == 7


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/count"), ("POST", "/count/reset")])
def test_a_reset_sets_counts_to_0(server: DemoServer, method: str, path: str) -> None:
    ask(server, "/")
    ask(server, "/")
    assert ask(server, path, method)[0].status == 200
    ask(server, "/")
    assert server.counts["paths"] == {"/": 1}


def test_check_finds_overlapping_iterations_and_recent_users(server: DemoServer) -> None:
    for query in (
        "user=7&life=a&number=1&sent=1000.5",
        "user=7&life=b&number=1&sent=1002.5",
        "user=7&life=a&number=2&sent=1003.5",
        "user=12&life=c&number=3",
    ):
        assert ask(server, f"/check?{query}")[0].status == 200, query
    told = json.loads(ask(server, "/count")[1])
    assert (told["total"], told["paths"]) == (4, {"/check": 4})
    [finding] = told["lives"].pop("findings")
    assert finding.startswith("user 7: iteration a sent at 1003.500, during iteration b from")
    assert told["lives"] == {
        "requests": 4,
        "users": 2,
        "lives": 3,
        "doubled": 0,
        "missing": 2,
        "overlapping": 1,
        "late": 0,
    }
    seen = json.loads(ask(server, "/count/seen?within=60")[1])
    assert seen.keys() == {"7", "12"}
    assert all(client.startswith("127.0.0.1:") for client in seen.values())
    assert json.loads(ask(server, "/count/seen?within=0")[1]) == {}
    ask(server, "/count", "DELETE")
    assert server.counts["lives"]["requests"] == 0
    assert json.loads(ask(server, "/count/seen?within=60")[1]) == {}


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/check", "life="),
        ("/check?user=1&number=1&life=" + "x" * 65, "life="),
        ("/check?life=a&number=1", "'' is not a whole number"),
        ("/check?life=a&user=1&number=0", "'0' is not a whole number"),
        ("/check?life=a&user=1&number=1&sent=nan", "'nan' is not a number of seconds"),
        ("/count/seen", "'' is not a number of seconds"),
        ("/count/seen?within=-1", "'-1' is not a number of seconds"),
    ],
)
def test_check_refuses_invalid_fields_with_the_reason(
    server: DemoServer, path: str, told: str
) -> None:
    response, body = ask(server, path)
    assert response.status == 400
    assert told in json.loads(body)["error"]
    assert server.counts["lives"]["requests"] == 0


def test_a_request_counts_once_its_body_is_read(server: DemoServer) -> None:
    with Client(server) as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\n\r\nab")
        ask(server, "/")
        assert server.counts["paths"] == {"/": 1}
        client.send(b"c")
        client.answer()
    assert server.counts["paths"] == {"/": 1, "/echo": 1}


def test_the_cache_is_bounded_and_counts_stay_right(
    server: DemoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amoc_gevent.demo.connection.CACHE_MAX", 1000)
    for i in range(50):
        ask(server, f"/bytes/{i % 25}")
    assert server._service is not None
    cache = server._service.cache
    assert 0 < sum(len(data) + len(reply.data) for data, (reply, _) in cache.items()) <= 1000
    assert server.counts["paths"] == {f"/bytes/{i}": 2 for i in range(25)}


def test_all_pages_work_over_tls() -> None:
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    trusting = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(trusting)
    with DemoServer(context=context) as server:
        with Client(server, trusting) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: d\r\n\r\n" * 2)
            assert [client.answer()[1] for _ in range(2)] == [HELLO, HELLO]
            client.send(b"GET /bytes/3000000 HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
            assert len(client.answer()[1]) == 3_000_000
            assert client.rest() == b""
        assert server.counts["total"] == 3


def test_a_client_without_tls_is_closed_and_does_not_disturb_others() -> None:
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    with DemoServer(context=context) as server, Client(server) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: d\r\n\r\n")
        assert b"HTTP" not in client.rest()
        assert open_connections(server) == 0


def test_a_port_in_use_is_a_clear_error(server: DemoServer) -> None:
    with pytest.raises(AmocError, match=rf"port {server.address[1]}.*in use"):
        DemoServer(server.address).start()


def test_stop_closes_connections_and_start_serves_again(server: DemoServer) -> None:
    with Client(server) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: d\r\n\r\n")
        client.answer()
        server.stop()
        assert client.sock.recv(1) == b""
    server.start()
    assert ask(server, "/")[1] == HELLO
