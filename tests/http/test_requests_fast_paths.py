"""The fast paths of RequestsSession give the same results as requests."""

import http.client
import io

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from requests.auth import HTTPDigestAuth

from amoc_gevent import http as amoc_http
from amoc_gevent.http.requests_fast_paths import parse_headers
from tests.names import without_addresses

HEADS = [
    b"\r\n",
    b"",
    b"Server: nginx\r\nContent-Length: 35\r\n\r\n",
    b"Server: nginx\nX: bare line feeds\n\n",
    b"Set-Cookie: a=1\r\nset-cookie: b=2\r\n\r\n",
    b"X-Empty:\r\nX-Spaces: \t a b \t \r\n\r\n",
    b"X-Latin: caf\xe9 \x85 \x0b\r\n\r\n",
    b"X-Folded: one\r\n two\r\nX-After: 1\r\n\r\n",
    b"No colon\r\nX: 1\r\n\r\n",
    b": no name\r\n\r\n",
    b"Bad name: 1\r\nX: 1\r\n\r\n",
    b"X: a\rY: b\r\n\r\n",
    b"From the start\r\nX: 1\r\n\r\n",
    b"Content-Type: multipart/mixed; boundary=b\r\nX: 1\r\n\r\n",
    b"content-type:message/delivery-status\r\n\r\n",
    b"X: without an end",
]


@pytest.mark.parametrize("head", HEADS)
def test_header_fields_equal_those_of_the_standard_library(head):
    assert _described(parse_headers, head) == _described(http.client.parse_headers, head)


@given(st.lists(st.text("Aa-: \t\r\n\x0b\x85;/multipart", max_size=12), max_size=6))
def test_any_header_fields_equal_those_of_the_standard_library(lines):
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    assert _described(parse_headers, head) == _described(http.client.parse_headers, head)


def test_too_many_and_too_long_header_fields_are_refused():
    for head in (b"X: 1\r\n" * 101, b"X" * 70_000):
        with pytest.raises(http.client.HTTPException):
            parse_headers(io.BytesIO(head + b"\r\n\r\n"))


def _described(parse, head):
    message = parse(io.BytesIO(head))
    defects = [type(defect) for defect in message.defects]
    return message.items(), _printed(message), defects, message.get_content_type()


def _printed(message):
    try:
        return message.as_string()
    except Exception as error:  # noqa: BLE001  # it cannot print all that it can read
        return type(error)


def _hook(response, **_):
    return response


def _jar():
    jar = requests.cookies.RequestsCookieJar()
    jar.set("a", "jar", domain="host.test", path="/")
    return jar


REQUESTS = [
    {},
    {"method": "get"},
    {"url": "http://host.test"},
    {"url": "http://Ümlaut.test/a b/%7e?q=ä&x=%#part"},
    {"url": "http://user:pass@host.test/"},
    {"url": b"http://host.test/bytes"},
    {"params": {"a": 1}},
    {"headers": {"accept": "text/plain", "X-One": b"1"}},
    {"headers": {"Accept": None, "User-Agent": None}},
    {"cookies": {"a": "request", "b": "2"}},
    {"cookies": _jar()},
    {"headers": {"Cookie": "own=1"}, "cookies": {"b": "2"}},
    {"method": "POST", "data": {"a": ["1", "2"]}},
    {"method": "POST", "data": "text"},
    {"method": "PUT", "json": {"a": 1}},
    {"method": "POST", "data": iter([b"a", b"b"])},
    {"method": "POST", "data": {"a": "1"}, "files": {"f": ("name", b"text")}},
    {"auth": ("user", "pass")},
    {"hooks": {"response": _hook}},
]
SESSIONS = {
    "as it was made": {},
    "headers": {"headers": {"X-Session": "1", "Accept": None}},
    "no headers": {"headers": {"Accept": None}},
    "params": {"params": {"s": "1"}},
    "auth": {"auth": ("session", "pass")},
    "digest": {"auth": HTTPDigestAuth("user", "pass")},
    "hooks": {"hooks": {"response": [_hook]}},
    "cookies": {"cookies": requests.cookies.cookiejar_from_dict({"a": "session", "c": "3"})},
}


@pytest.mark.parametrize("has", SESSIONS)
@pytest.mark.parametrize("asked", REQUESTS, ids=without_addresses)
def test_a_request_is_prepared_as_in_requests(asked, has, monkeypatch):
    monkeypatch.setattr("urllib3.filepost.choose_boundary", lambda: "boundary")
    with requests.Session() as theirs, amoc_http.RequestsSession() as ours:
        theirs.trust_env = False
        for session in (theirs, ours):
            for name, value in SESSIONS[has].items():
                setattr(session, name, value)
        assert _prepared(ours, asked) == _prepared(theirs, asked)


def _prepared(session, asked):
    request = requests.Request(**{"method": "GET", "url": "http://host.test/a", **asked})
    made = session.prepare_request(request)
    body = made.body if isinstance(made.body, bytes | str | None) else "an iterator"
    cookies = sorted((c.name, c.value, c.domain, c.path) for c in made._cookies)
    return made.method, made.url, list(made.headers.items()), body, made.hooks, cookies


@pytest.mark.parametrize("url", ["", "host.test/a", "http://", "http://*.test/", "http://[::1/"])
def test_a_url_that_requests_refuses_is_refused(url):
    asked = requests.Request("GET", url)
    with requests.Session() as theirs, amoc_http.RequestsSession() as ours:
        for _ in range(2):
            with pytest.raises(requests.RequestException) as error:
                theirs.prepare_request(asked)
            with pytest.raises(type(error.value), match=r".") as same:
                ours.prepare_request(asked)
            assert str(same.value) == str(error.value)


def test_the_environment_is_used_with_trust_env(demo, monkeypatch):
    monkeypatch.setenv("http_proxy", demo.url)
    with amoc_http.RequestsSession() as session:
        session.trust_env = True
        assert session.get("http://nowhere.invalid/json").ok


def test_proxies_of_the_session_and_of_a_request_are_used(demo):
    with amoc_http.RequestsSession() as session:
        assert session.get("http://nowhere.invalid/json", proxies={"http": demo.url}).ok
        session.proxies = {"http": demo.url}
        assert session.get("http://nowhere.invalid/json").ok


def test_a_closed_session_opens_a_new_connection(demo):
    session = amoc_http.RequestsSession(demo.url)
    assert session.get("/json").ok
    session.close()
    assert session.get("/json").ok
    session.close()


def test_two_origins_each_get_their_own_requests(demo):
    other = demo.url.replace("127.0.0.1", "localhost")
    with amoc_http.RequestsSession() as session:
        before = demo.counts()["connections"]
        hosts = [session.get(f"{url}/json").url for url in (demo.url, other) * 2]
        assert hosts == [f"{url}/json" for url in (demo.url, other) * 2]
        assert demo.counts()["connections"] - before == 3  # with the one for the counts


def test_cookies_of_a_response_are_available_and_sent(demo):
    with amoc_http.RequestsSession(demo.url) as session:
        assert session.get("/account").status_code == 401
        answer = session.post("/login", data={"user": "ann", "password": "right"})
        assert list(answer.cookies.keys()) == list(session.cookies.keys()) == ["session"]
        assert session.get("/account").json()["user"] == "ann"
