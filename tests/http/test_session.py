"""The API of a session: the bytes sent for its arguments, and the attributes of responses."""

import io
import ssl
from datetime import timedelta
from itertools import product
from pathlib import PurePosixPath

import pytest
import requests

from amoc_gevent import http, transport
from amoc_gevent.core.setting import Setting
from amoc_gevent.demo.http import DemoServer
from amoc_gevent.errors import AmocError, UsageError
from amoc_gevent.http.timeouts import Timeouts, timeouts
from tests.servers import wait_for
from tests.transport.scripted import Scripted, always, response

OK = response(b"ok")


def parts(request):
    """Return the request line, the fields by lower-case name, and the body of a raw request."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    fields = [one.split(": ", 1) for one in lines]
    assert len({name.lower() for name, _ in fields}) == len(fields), "a field is repeated"
    return line, {name.lower(): value for name, value in fields}, body


@pytest.fixture
def server():
    with Scripted(always(OK)) as made:
        yield made


@pytest.fixture
def session(server):
    with http.Session(server.url) as made:
        yield made


def sent(server):
    return parts(server.requests[-1])


def test_a_get_is_a_request_line_a_host_and_the_sessions_fields(server, session):
    session.get("/a?b=c")
    line, fields, body = sent(server)
    assert line == "GET /a?b=c HTTP/1.1"
    assert fields["host"] == f"127.0.0.1:{server.port}"
    assert fields["accept-encoding"] == "gzip, deflate, br"
    assert set(fields) == {"host", "user-agent", "accept-encoding", "accept"}
    assert body == b""


@pytest.mark.parametrize(
    ("method", "length"),
    [
        ("GET", None),
        ("HEAD", None),
        ("OPTIONS", "0"),
        ("DELETE", "0"),
        ("POST", "0"),
        ("PUT", "0"),
        ("PATCH", "0"),
    ],
)
def test_each_verb_sends_its_method_and_only_some_an_empty_body(server, session, method, length):
    getattr(session, method.lower())("/")
    line, fields, _ = sent(server)
    assert line.startswith(f"{method} / ")
    assert fields.get("content-length") == length


def test_any_method_can_be_requested(server, session):
    session.request("propfind", "/")
    assert sent(server)[0] == "PROPFIND / HTTP/1.1"


BODIES = [
    {"data": {"a": 1, "b": ["x y", "ä"], "c": None}},
    {"data": [("a", 1), ("a", 2)]},
    {"data": "text ä"},
    {"data": b"\0bytes"},
    {"data": ""},
    {"data": {}},
    {"json": {"a": [1, None, "ä"]}},
    {"json": []},
    {"json": 0},
    {"data": {"a": 1}, "json": {"b": 2}},
]


@pytest.mark.parametrize("arguments", BODIES)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_body_is_encoded_as_requests_encodes_it(server, session, method, arguments):
    session.request(method, "/", **arguments)
    _, fields, body = sent(server)
    theirs = requests.Request(method, "http://h/", **arguments).prepare()
    expected = theirs.body or b""
    assert body == (expected.encode() if isinstance(expected, str) else expected)
    assert fields.get("content-type") == theirs.headers.get("Content-Type")
    assert fields.get("content-length") == theirs.headers.get("Content-Length")


@pytest.mark.parametrize(
    ("files", "data"),
    [
        ({"f": b"content"}, None),
        ({"f": ("name.txt", b"content")}, {"a": ["1", "2"], "b": "x"}),
        ({"f": ("name.txt", io.BytesIO(b"content"), "text/plain")}, None),
        ({"f": ("ä.txt", "text", "text/plain", {"X-More": "1"})}, [("a", "1")]),
        ([("f", ("1", b"a")), ("f", ("2", b"b"))], None),
    ],
)
def test_files_are_encoded_as_requests_encodes_them(server, session, files, data):
    session.post("/", files=files, data=data)
    for _, given in files.items() if isinstance(files, dict) else files:
        if isinstance(given, tuple) and hasattr(given[1], "seek"):
            given[1].seek(0)
    _, fields, body = sent(server)
    boundary = fields["content-type"].partition("boundary=")[2]
    theirs = requests.Request("POST", "http://h/", files=files, data=data).prepare()
    their_boundary = theirs.headers["Content-Type"].partition("boundary=")[2]
    assert body == theirs.body.replace(their_boundary.encode(), boundary.encode())


def test_a_file_is_streamed_with_its_length_from_its_position(server, session, tmp_path):
    path = tmp_path / "body"
    path.write_bytes(b"skip" + bytes(200_000))
    with path.open("rb") as file:
        file.seek(4)
        session.post("/", data=file)
    _, fields, body = sent(server)
    assert fields["content-length"] == "200000"
    assert body == bytes(200_000)


def test_a_text_file_is_sent_as_utf_8(server, session):
    session.post("/", data=io.StringIO("ä"))
    assert sent(server)[2] == "ä".encode()


def test_an_iterator_is_sent_in_chunks(server, session):
    session.post("/", data=iter([b"one", b"", "two"]))
    _, fields, body = sent(server)
    assert fields["transfer-encoding"] == "chunked"
    assert "content-length" not in fields
    assert body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


def test_a_body_beyond_one_packet_arrives_whole(server, session):
    session.post("/", data=b"x" * 300_000)
    assert sent(server)[2] == b"x" * 300_000


def test_headers_of_a_request_override_the_sessions(server, session):
    session.headers.update({"X-One": "session", "X-Two": "session"})
    session.get("/", headers={"x-one": "request", "Accept": None})
    _, fields, _ = sent(server)
    assert (fields["x-one"], fields["x-two"]) == ("request", "session")
    assert "accept" not in fields
    session.get("/")
    _, fields, _ = sent(server)
    assert (fields["x-one"], fields["accept"]) == ("session", "*/*")


GIVEN = [
    {},
    {"Content-Type": "text/x"},
    {"Cookie": "given=1"},
    {"Authorization": "Bearer given"},
    {"Host": "given.example", "X-One": "1"},
    {"Content-Type": None, "Cookie": None, "Authorization": None},
]
WITH_BODY = [
    {"json": {"a": 1}},
    {"data": {"a": 1}},
    {"data": b"bytes"},
    {"files": {"f": b"content"}},
]
ARGUMENTS = [{}, {"cookies": {"call": "2"}}, {"auth": ("me", "secret")}, *WITH_BODY]


LENGTH = {"content-type": "text/x", "CONTENT-LENGTH": "99"}
"""Only for requests with a body: without one, the server would wait for it."""


@pytest.mark.parametrize(
    ("sessions", "others", "arguments"),
    [
        *product(GIVEN, [GIVEN], ARGUMENTS),
        *product([LENGTH], [[{}, LENGTH]], WITH_BODY),
        *product([{}], [[LENGTH]], WITH_BODY),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_each_header_is_sent_once_and_as_requests_sends_it(
    server, session, method, sessions, others, arguments
):
    theirs = requests.Session()
    for client in (session, theirs):
        client.headers.update(sessions)
        client.cookies.set("jar", "3")
    for headers in others:
        session.request(method, "/", headers=headers, **arguments)
        asked = requests.Request(method, f"{server.url}/", headers=headers, **arguments)
        expected = {k.lower(): str(v) for k, v in theirs.prepare_request(asked).headers.items()}
        expected.setdefault("host", f"127.0.0.1:{server.port}")
        assert _comparable(sent(server)[1]) == _comparable(expected), headers


def _comparable(fields):
    """Return fields without those that differ between clients, and without the boundary."""
    own = {"user-agent", "accept", "accept-encoding", "connection"}
    return {k: v.partition("boundary")[0] for k, v in fields.items() if k not in own}


def test_a_body_sent_in_chunks_has_no_length(server, session):
    session.headers["Content-Length"] = "3"
    session.post("/", data=iter([b"one"]), headers={"Transfer-Encoding": "gzip"})
    _, fields, body = sent(server)
    assert fields["transfer-encoding"] == "chunked"
    assert "content-length" not in fields
    assert body == b"3\r\none\r\n0\r\n\r\n"


def test_a_session_header_set_to_none_is_not_sent(server, session):
    session.headers["Accept"] = None
    session.get("/")
    session.get("/", headers={"X": "1"})
    assert all("accept" not in parts(request)[1] for request in server.requests)


def test_an_unknown_argument_is_refused_by_name(server, session):
    with pytest.raises(UsageError, match="no argument stream, tiemout; it takes allow_redirects"):
        session.get("/", tiemout=3, stream=True)
    assert server.connections == 0


def test_an_attribute_that_only_requests_has_is_refused_by_name(session):
    missing = [name for name in requests.Session.__attrs__ if not hasattr(session, name)]
    assert {"params", "proxies", "max_redirects", "hooks", "stream", "trust_env"} <= set(missing)
    for name in missing:
        with pytest.raises(
            UsageError, match=f"no setting {name}; its settings are auth, base_url, "
        ):
            setattr(session, name, {})


def test_a_subclass_can_set_its_own_attributes(server):
    class Shopper(http.Session):
        def __init__(self, url):
            super().__init__(url)
            self.cart = self._seen = 1

    with Shopper(server.url) as session:
        assert session.get("/").ok
        assert (session.cart, session._seen) == (1, 1)


def test_a_given_content_type_or_host_is_sent(server, session):
    session.post("/", json={}, headers={"content-type": "text/x", "Host": "virtual.example"})
    _, fields, _ = sent(server)
    assert (fields["content-type"], fields["host"]) == ("text/x", "virtual.example")


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.headers.update({"Authorization": "Basic dTpw"}),
        lambda s: s.headers.__setitem__("authorization", "Basic dTpw"),
        lambda s: setattr(s, "headers", {"Authorization": "Basic dTpw"}),
        lambda s: setattr(s, "auth", ("u", "p")),
        lambda s: setattr(s, "auth", ["u", "p"]),
        lambda s: setattr(s, "auth", requests.auth.HTTPBasicAuth("u", "p")),
        lambda s: setattr(s, "auth", http.HTTPBasicAuth("u", "p")),
    ],
)
def test_a_changed_setting_takes_effect_with_the_next_request(server, session, change):
    session.get("/")
    assert "authorization" not in sent(server)[1]
    change(session)
    session.get("/")
    assert sent(server)[1]["authorization"] == "Basic dTpw"


def test_sessions_with_the_same_settings_share_a_template(server):
    with http.Session(server.url) as one, http.Session(server.url) as two:
        first, second = one.get("/"), two.get("/")
        assert first.target is second.target
        two.headers["X-Mine"] = "1"
        assert two.get("/").target is not first.target
        assert one.get("/").target is first.target


def test_the_cache_of_requests_is_bounded(server, session):
    for n in range(1100):
        session.get(f"/{n}", name="each its own")
    assert len(session._template.cache) <= 512


@pytest.mark.parametrize(
    ("auth", "url", "header"),
    [
        (("u", "p"), "/", "Basic dTpw"),
        (("ü", "p:q"), "/", "Basic w7w6cDpx"),
        (["u", "p"], "/", "Basic dTpw"),
        (http.HTTPBasicAuth("u", "p"), "/", "Basic dTpw"),
        (requests.auth.HTTPBasicAuth("u", "p"), "/", "Basic dTpw"),
        (None, "http://u:p@{authority}/", "Basic dTpw"),
    ],
)
def test_basic_authentication_can_be_given_for_one_request(server, session, auth, url, header):
    session.get(url.format(authority=f"127.0.0.1:{server.port}"), auth=auth)
    assert sent(server)[1]["authorization"] == header
    session.get("/")
    assert "authorization" not in sent(server)[1]


def test_an_unknown_authentication_is_refused_before_anything_is_sent(server, session):
    with pytest.raises(UsageError, match="auth= takes"):
        session.get("/", auth="u:p")
    with pytest.raises(UsageError, match="auth= takes"):
        session.auth = "u:p"
    assert server.connections == 0


@pytest.mark.parametrize("where", ["session", "request"])
def test_a_digest_object_of_requests_is_challenged_once_as_in_requests(
    httpbin, client, recorded, where
):
    digest = requests.auth.HTTPDigestAuth("user", "secret")
    with client(httpbin.url) as session:
        session.auth = digest if where == "session" else None
        for _ in range(2):
            auth = digest if where == "request" else None
            assert session.get("/digest-auth/auth/user/secret", auth=auth, name="digest").ok
    counts = {name: operation.count for name, operation in recorded().items()}
    assert counts == {"digest (challenge)": 1, "digest": 2}


def test_cookies_of_the_session_and_of_the_request_are_sent(server, session):
    session.cookies["a"] = "1"
    session.get("/")
    assert sent(server)[1]["cookie"] == "a=1"
    session.get("/", cookies={"b": "2"})
    assert sent(server)[1]["cookie"] == "a=1; b=2"
    session.post("/", cookies={"b": "3"})
    assert sent(server)[1]["cookie"] == "a=1; b=3"
    session.get("/", headers={"Cookie": "mine=1"})
    assert sent(server)[1]["cookie"] == "mine=1"
    assert dict(session.cookies) == {"a": "1"}
    session.post("/")
    _, fields, _ = sent(server)
    assert (fields["cookie"], fields["content-length"]) == ("a=1", "0")


@pytest.mark.parametrize("set_by", ["hand", "server"])
def test_a_cookie_of_the_request_overrides_the_sessions_as_in_requests(httpbin, client, set_by):
    def carried(made):
        with made() as session:
            if set_by == "hand":
                session.cookies.update({"a": "1", "b": "1"})
            else:
                session.get(f"{httpbin.url}/cookies/set/a/1")
            seen = session.get(f"{httpbin.url}/headers", cookies={"c": "3", "a": "2"}).json()
            return seen["headers"]["Cookie"]

    assert carried(client) == carried(requests.Session)
    if set_by == "hand":
        assert carried(client) == "a=2; b=1; c=3"


@pytest.mark.parametrize("raw", [b"\xc3\xbc", b"\xfc", b"\xff\xfe"])
def test_the_bytes_of_a_cookie_are_sent_back_unchanged(raw):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=%b; Path=/\r\n\r\n" % raw
    with Scripted(always(answer)) as server, http.Session(server.url) as session:
        session.get("/")
        session.get("/")
        session.get("/", cookies={"b": "1"})
    assert b"\r\nCookie: a=%b\r\n" % raw in server.requests[1]
    assert b"\r\nCookie: a=%b; b=1\r\n" % raw in server.requests[2]


def test_a_cookie_set_by_a_response_is_sent_with_the_next_request(demo):
    with http.Session(demo.url) as session:
        session.post("/login", data={"user": "u", "password": "p"})
        assert session.get("/account").json()["user"] == "u"
        session.cookies.clear()
        assert session.get("/account").status_code in {401, 403}


@pytest.mark.parametrize(
    ("content_type", "body", "encoding", "text"),
    [
        ("text/html; charset=utf-8", "ä".encode(), "utf-8", "ä"),
        ('text/html; charset="ISO-8859-15"', b"\xa4", "ISO-8859-15", "€"),
        ("text/plain", b"\xe4", "ISO-8859-1", "ä"),
        ("application/json", '"ä"'.encode(), "utf-8", '"ä"'),
        ("application/octet-stream", "ä".encode(), None, "ä"),
        ("text/plain; charset=nonsense", "ä".encode(), "nonsense", "ä"),
        ("text/plain; charset=utf-8", b"\xff", "utf-8", "\ufffd"),
    ],
)
def test_text_is_decoded_by_the_encoding_of_the_response(content_type, body, encoding, text):
    with (
        Scripted(always(response(body, "200 OK", f"Content-Type: {content_type}"))) as server,
        http.Session(server.url) as session,
    ):
        got = session.get("/")
    assert (got.encoding, got.text) == (encoding, text)
    got.encoding = "latin-1"
    assert got.text == body.decode("latin-1")


def test_json_is_parsed_and_invalid_json_is_a_one_line_error(demo):
    with http.Session(demo.url) as session:
        assert isinstance(session.get("/json").json(), dict)
        with pytest.raises(http.JSONDecodeError) as raised:
            session.get("/").json()
    assert isinstance(raised.value, ValueError)
    assert isinstance(raised.value, AmocError)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content_type", "body", "value"),
    [
        ("application/json", '"ä"'.encode("utf-8-sig"), "ä"),
        ("application/json", '"ä"'.encode("utf-16"), "ä"),
        ("application/json; charset=latin-1", '"ä"'.encode("latin-1"), "ä"),
        ("application/json; charset=UTF-8", '"ä"'.encode(), "ä"),
        ("text/plain", '"ä"'.encode(), "ä"),
        ("application/json", b'"\xff"', None),
        ("application/json", b"{1}", None),
        ("application/json", b"", None),
    ],
)
def test_json_is_read_in_its_declared_or_found_encoding(content_type, body, value):
    with (
        Scripted(always(response(body, "200 OK", f"Content-Type: {content_type}"))) as server,
        http.Session(server.url) as session,
    ):
        got = session.get("/")
    if value is not None:
        assert got.json() == value
    else:
        with pytest.raises(http.JSONDecodeError) as raised:
            got.json()
        assert (raised.value.doc, raised.value.kind) == (got.text, "invalid JSON")
        assert raised.value.msg in str(raised.value)
        assert "\n" not in str(raised.value)


def test_a_url_object_that_changes_is_read_anew_and_needs_no_hash(server, session):
    class Url:
        __hash__ = None

        def __init__(self):
            self.path = "/a"

        def __str__(self):
            return self.path

    url = Url()
    for path in ("/a", "/b"):
        url.path = path
        session.get(url)
        assert sent(server)[0] == f"GET {path} HTTP/1.1"


def test_a_setting_without_its_value_is_named():
    url = Setting("target", "http://h", "", parse=str, unit="", verify=None, update=False)
    with pytest.raises(UsageError, match=r"a URL must be text, .* setting target: \.value"):
        http.Session(url)
    with http.Session() as session, pytest.raises(UsageError, match=r"setting target: \.value"):
        session.get(url)


def test_the_name_of_a_header_can_be_bytes(server, session):
    session.get("/", headers={b"X-One": b"1"})
    assert sent(server)[1]["x-one"] == "1"


@pytest.mark.parametrize("convert", [str.encode, PurePosixPath, str])
def test_a_url_can_be_bytes_or_an_object_with_a_text(server, session, convert):
    session.get(convert("/a"))
    assert sent(server)[0] == "GET /a HTTP/1.1"
    session.get(convert("/a"), params={"b": "c"}, headers={"Accept": "x"})
    assert sent(server)[0] == "GET /a?b=c HTTP/1.1"


def test_the_cookies_of_a_session_can_be_replaced_by_a_dict_or_a_jar(server, session):
    session.cookies = {"a": "1"}
    session.get("/")
    assert sent(server)[1]["cookie"] == "a=1"
    theirs = requests.Session()
    theirs.cookies.set("b", "2", domain="127.0.0.1")
    theirs.cookies.set("elsewhere", "3", domain="example.com")
    session.cookies = theirs.cookies
    session.get("/")
    assert sent(server)[1]["cookie"] == "b=2"
    session.get("/", cookies=theirs.cookies)
    assert sent(server)[1]["cookie"] == "b=2"
    assert session.cookies["elsewhere"] == "3"


def test_a_file_whose_seek_returns_nothing_is_sent_whole(server, session):
    class File(io.BytesIO):
        def seek(self, *args):
            super().seek(*args)

    session.post("/", data=File(b"content"))
    _, fields, body = sent(server)
    assert (fields["content-length"], body) == ("7", b"content")


def test_a_response_has_the_attributes_of_requests(demo):
    with http.Session(demo.url) as session:
        got = session.get("/status/404")
        assert (got.ok, bool(got), got.status_code, got.reason) == (False, False, 404, "Not Found")
        assert (got.method, got.url) == ("GET", f"{demo.url}/status/404")
        assert repr(got) == "<Response [404]>"
        assert got.elapsed >= timedelta(microseconds=got.first_byte_us)
        with pytest.raises(http.HTTPError, match="status 404") as raised:
            got.raise_for_status()
        assert raised.value.response is got
        fine = session.get("/json")
        fine.raise_for_status()
        assert fine.ok
        assert fine.history == []


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (None, Timeouts(10, 60, float("inf"))),
        (3, Timeouts(3, 3, float("inf"))),
        ((1, 2), Timeouts(1, 2, float("inf"))),
        ((1, 2, 3), Timeouts(1, 2, 3)),
        ((None, 2, None), Timeouts(float("inf"), 2, float("inf"))),
    ],
)
def test_timeouts_are_a_number_a_pair_or_three_numbers(given, meant):
    assert timeouts(given, Timeouts()) == meant


@pytest.mark.parametrize("given", [0, -1, (1,), (1, 2, 3, 4), (1, 0)])
def test_invalid_timeouts_are_refused(given):
    with pytest.raises(UsageError, match="timeout="):
        timeouts(given, Timeouts())


def test_by_default_every_wait_has_a_limit():
    assert Timeouts().connect < float("inf")
    assert Timeouts().read < float("inf")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_ipv6_and_ipv4_addresses_are_requested(host):
    with Scripted(always(OK), host=host) as server, http.Session(server.url) as session:
        assert session.get("/").text == "ok"
        assert sent(server)[1]["host"] == server.url.removeprefix("http://")


def test_a_source_address_is_used():
    seen = []

    def handler(sock):
        seen.append(sock.getpeername()[0])
        always(OK)(sock)

    with Scripted(handler) as server:
        with http.Session(server.url, source_address="127.0.0.9") as session:
            session.get("/")
        wait_for(lambda: seen == ["127.0.0.9"])


def test_tls_is_verified_by_default(ca, recorded):
    with DemoServer(context=ca.server_context()) as server, http.Session(server.url) as session:
        with pytest.raises(http.SSLError, match="TLS: unable to get local issuer") as raised:
            session.get("/json")
        assert isinstance(raised.value, http.ConnectionError)
        assert raised.value.response is None
        assert session.get("/json", verify=str(ca.file)).ok
        rooted = server.url.replace("localhost", "localhost.")
        assert session.get(f"{rooted}/json", verify=str(ca.file)).ok
        assert session.get("/json", verify=False).ok
        session.verify = str(ca.file)
        assert session.get("/json").ok
    assert recorded()["GET /json"].error_groups == {
        "TLS: unable to get local issuer certificate": 1
    }


def test_a_client_certificate_can_be_given_for_the_session_or_a_request(ca):
    cert = tuple(map(str, ca.certificate("client.example")))
    context = ca.server_context(want_client_certificate=True)
    with DemoServer(context=context) as server:
        with http.Session(server.url, verify=str(ca.file), cert=cert) as session:
            assert session.get("/json").ok
        with http.Session(server.url, verify=str(ca.file)) as session:
            with pytest.raises(http.ConnectionError, match=r"TLS: .*certificate required"):
                session.get("/json")
            assert session.get("/json", cert=cert).ok


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_user_that_connects_again_resumes_its_tls_session(ca, version):
    context = ca.server_context(minimum_version=version, maximum_version=version)
    with (
        DemoServer(context=context) as server,
        http.Session(server.url, verify=str(ca.file)) as session,
    ):
        resumed = []
        for _ in range(3):
            assert session.get("/json").ok
            (connection,) = session._pool._idle.values()
            resumed.append(connection.stream.resumed)
            session.close()
    assert resumed == [False, True, True]


def test_all_users_share_one_context(ca):
    with DemoServer(context=ca.server_context()) as server:
        peers = []
        for _ in range(3):
            with http.Session(server.url, verify=str(ca.file)) as session:
                peers.append(session.get("/json").target.route.peer)
    assert len({id(peer.context) for peer in peers}) == 1
    assert peers[0].context is transport.context(str(ca.file), None, ("http/1.1",))


def test_an_unusable_certificate_file_is_a_one_line_error():
    with (
        http.Session("https://127.0.0.1:1", verify="/no/such/file") as session,
        pytest.raises(
            UsageError, match=r"unreadable certificate file: verify=/no/such/file: No such"
        ),
    ):
        session.get("/")
