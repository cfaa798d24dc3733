"""Tables of cookies (RFC 6265): which responses may set them, which requests send them."""

import re

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from amoc_gevent import clock
from amoc_gevent.http import InvalidHeader
from amoc_gevent.http.cookies import Cookies, parse

HOST, PATH = "www.shop.example", "/cart/items"


def carried(field, host=HOST, path=PATH, secure=False, set_by=HOST):
    jar = Cookies()
    jar.store([field], set_by, PATH, secure=True)
    return jar.header(host, path, secure).decode()


@pytest.mark.parametrize(
    ("field", "host", "path", "secure", "sent"),
    [
        ("a=1", HOST, "/cart/items", False, True),
        ("a=1", HOST, "/cart", False, True),  # the default path is the directory
        ("a=1", HOST, "/cart/other", False, True),
        ("a=1", HOST, "/", False, False),
        ("a=1", HOST, "/cartoon", False, False),
        ("a=1; Path=/", HOST, "/", False, True),
        ("a=1; Path=/cart", HOST, "/cart/x", False, True),
        ("a=1; Path=/cart", HOST, "/cartoon", False, False),
        ("a=1; Path=nonsense", HOST, "/cart/x", False, True),
        ("a=1; Path=/", "shop.example", "/", False, False),  # only the host, without Domain
        ("a=1; Path=/; Domain=shop.example", "shop.example", "/", False, True),
        ("a=1; Path=/; Domain=.shop.example", "api.shop.example", "/", False, True),
        ("a=1; Path=/; Domain=SHOP.example", "a.b.shop.example", "/", False, True),
        ("a=1; Path=/; Domain=shop.example", "workshop.example", "/", False, False),
        ("a=1; Path=/; Secure", HOST, "/", False, False),
        ("a=1; Path=/; Secure", HOST, "/", True, True),
        ("a=1; Path=/; HttpOnly; SameSite=Lax", HOST, "/", False, True),
    ],
)
def test_a_cookie_is_sent_where_it_matches(field, host, path, secure, sent):
    assert carried(field, host, path, secure) == ("a=1" if sent else "")


@pytest.mark.parametrize(
    "field",
    [
        "",
        "no equals sign",
        "=value",
        "a=1; Domain=example",  # a top-level domain
        "a=1; Domain=other.example",
        "a=1; Domain=api.www.shop.example",  # a subdomain
    ],
)
def test_a_forbidden_cookie_is_ignored(field):
    assert parse(field, HOST, PATH) is None


def test_an_address_has_no_subdomains():
    jar = Cookies()
    jar.store(["a=1; Domain=0.0.1", "b=2; Domain=127.0.0.1"], "127.0.0.1", "/", secure=False)
    assert jar.header("127.0.0.1", "/", secure=False) == b"b=2"


def test_a_secure_cookie_cannot_be_set_over_plain_http():
    jar = Cookies()
    jar.store(["a=1; Secure"], HOST, "/", secure=False)
    assert len(jar) == 0


@pytest.mark.parametrize(
    "gone",
    [
        "a=; Max-Age=0",
        "a=; Max-Age=-1",
        "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "a=; Expires=Thu, 01-Jan-1970 00:00:00 GMT",
        "a=; Max-Age=0; Expires=Fri, 01 Jan 2100 00:00:00 GMT",
    ],
)
def test_an_expired_cookie_is_deleted(gone):
    jar = Cookies()
    jar.store(["a=1", "b=2"], HOST, "/", secure=False)
    jar.store([gone], HOST, "/", secure=False)
    assert jar.get_dict() == {"b": "2"}


def test_a_cookie_is_sent_until_it_expires(monkeypatch):
    jar = Cookies()
    jar.store(["a=1; Max-Age=100", "b=2; Max-Age=200", "c=3"], HOST, "/", secure=False)
    now = clock.wall()
    assert jar.header(HOST, "/", secure=False) == b"a=1; b=2; c=3"
    monkeypatch.setattr(clock, "wall", lambda: now + 150)
    assert jar.header(HOST, "/", secure=False) == b"b=2; c=3"
    monkeypatch.setattr(clock, "wall", lambda: now + 250)
    assert jar.header(HOST, "/", secure=False) == b"c=3"
    assert dict(jar) == {"c": "3"}


def test_an_unreadable_expiry_is_ignored():
    assert carried("a=1; Expires=tomorrow; Max-Age=soon; Path=/", path="/") == "a=1"


def test_longer_paths_come_first():
    jar = Cookies()
    jar.store(["a=1; Path=/", "b=2; Path=/cart"], HOST, PATH, secure=False)
    assert jar.header(HOST, "/cart/x", secure=False) == b"b=2; a=1"


def test_cookies_are_distinguished_by_path():
    jar = Cookies()
    jar.store(["a=1; Path=/", "a=2; Path=/cart", "a=3; Path=/"], HOST, PATH, secure=False)
    assert jar.header(HOST, "/cart", secure=False) == b"a=2; a=3"


def test_a_cached_header_changes_with_a_cookie():
    jar = Cookies()
    jar["a"] = "1"
    assert jar.header(HOST, "/", secure=False) == b"a=1"
    jar["a"] = "2"
    assert jar.header(HOST, "/", secure=False) == b"a=2"
    del jar["a"]
    assert jar.header(HOST, "/", secure=False) == b""


def test_a_cookie_set_by_name_is_sent_to_every_host():
    jar = Cookies({"a": "1"})
    assert jar.header("any.example", "/x", secure=False) == b"a=1"


def test_only_cookies_beyond_latin_1_are_sent_as_utf_8():
    jar = Cookies()
    jar.store([b"a=\xc3\xbc; Path=/".decode("latin-1")], HOST, "/", secure=False)
    jar["b"] = "\u20ac"
    assert jar.header(HOST, "/", secure=False) == b"a=\xc3\xbc; b=\xe2\x82\xac"


def test_a_jar_is_updated_from_jars_with_all_their_attributes():
    theirs, ours = requests.cookies.RequestsCookieJar(), Cookies()
    theirs.set("a", "1", domain="here.example", path="/")
    ours.update(theirs)
    ours.update(ours.copy())
    ours.update({"b": "2"}, c="3")
    assert ours.header("here.example", "/", secure=False) == b"a=1; b=2; c=3"
    assert ours.header("there.example", "/", secure=False) == b"b=2; c=3"


def test_the_jar_is_a_dict():
    jar = Cookies({"a": "1"})
    jar.update({"b": "2"})
    assert (jar["a"], jar.get("c"), "b" in jar, len(jar), bool(jar)) == ("1", None, True, 2, True)
    assert dict(jar) == {"a": "1", "b": "2"} == jar.get_dict()
    copied = jar.copy()
    jar.clear()
    assert not jar
    assert copied.pop("a") == "1"
    with pytest.raises(KeyError):
        jar["a"]
    with pytest.raises(KeyError):
        del jar["a"]


def test_setting_none_deletes_as_in_requests():
    jar = Cookies({"a": "1"})
    jar["a"] = None
    jar["never"] = None
    assert dict(jar) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [("a\r\nX", "1"), ("a", "1\r\nX: y"), ("a", "1; b=2"), ("", "1"), ("a=b", "")],
)
def test_a_cookie_that_could_inject_a_header_is_refused(name, value):
    with pytest.raises(InvalidHeader):
        Cookies().set(name, value)


def test_the_size_of_a_jar_is_bounded():
    jar = Cookies()
    for n in range(3100):
        jar.set(f"n{n}", "1")
    assert len(jar) == 3000
    assert "n3099" in jar


@given(st.lists(st.text(st.characters(codec="latin-1"), max_size=40), max_size=5))
def test_any_set_cookie_fields_give_a_one_line_header(fields):
    jar = Cookies()
    jar.store(fields, HOST, "/", secure=True)
    assert not re.search(rb"[\r\n\0]", jar.header(HOST, "/", secure=True))
