"""Tables of URLs. Some cases are compared with requests."""

import re
from urllib.parse import parse_qsl

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from amoc_gevent.http import InvalidURL
from amoc_gevent.http.wire import urls


@pytest.mark.parametrize(
    ("base", "url", "joined"),
    [
        ("http://h", "/a", "http://h/a"),
        ("http://h/", "/a", "http://h/a"),
        ("http://h/api", "/a", "http://h/api/a"),
        ("http://h/api/", "/a?q", "http://h/api/a?q"),
        ("http://h/api", "", "http://h/api"),
        ("http://h/api", "?q=1", "http://h/api?q=1"),
        ("http://h", "https://other/x", "https://other/x"),
        ("", "https://other/x", "https://other/x"),
    ],
)
def test_a_path_is_appended_to_the_base_and_a_url_is_unchanged(base, url, joined):
    assert urls.join(base, url) == joined


@pytest.mark.parametrize(("base", "url"), [("", "/a"), ("", ""), ("http://h", "a"), ("", "h/a")])
def test_a_url_without_base_or_slash_is_refused_in_one_line(base, url):
    with pytest.raises(InvalidURL) as raised:
        urls.join(base, url)
    assert "\n" not in str(raised.value)
    assert repr(url) in str(raised.value)


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        ("http://h", "h", "/"),
        ("http://h:80/a", "h", "/a"),
        ("https://h:443/a", "h", "/a"),
        ("http://h:443/a", "h:443", "/a"),
        ("http://[::1]:8080/a", "[::1]:8080", "/a"),
        ("HTTP://Host/A", "host", "/A"),
        ("http://h/a b", "h", "/a%20b"),
        ("http://h/ä", "h", "/%C3%A4"),
        ("http://h/a%2fb%41", "h", "/a%2FbA"),
        ("http://h/100%", "h", "/100%25"),
        ("http://h/a?x=[1]&y=ü#fragment", "h", "/a?x=%5B1%5D&y=%C3%BC"),
        ("http://h?x", "h", "/?x"),
        ("http://h/a/./b/../c/", "h", "/a/c/"),
        ("http://h/a/..", "h", "/"),
        ("http://h/.hidden", "h", "/.hidden"),
        ("http://user:pa%40ss@h/a", "h", "/a"),
        ("http://bücher.example/", "xn--bcher-kva.example", "/"),
        ("http://straße.example/", "xn--strae-oqa.example", "/"),
        ("http://BÜCHER.example/", "xn--bcher-kva.example", "/"),
        ("http://bücher。example/", "xn--bcher-kva.example", "/"),
        ("http://ς.example/", "xn--3xa.example", "/"),
    ],
)
def test_a_url_is_split_and_encoded(url, authority, target):
    split = urls.split(url)
    assert (split.authority, split.target) == (authority, target)


@pytest.mark.parametrize(
    "url",
    [
        "http://h/a b/ä?q=ö ü",
        "http://h/%7Euser/%c3%a4?a=%20b",
        "http://h/100%25/5%",
        "http://h/a;b=c,d/(e)!*'$&+=:@",
        "http://h/a/./b/../c",
        "http://h/[x]?[y]",
    ],
)
def test_targets_are_those_of_requests(url):
    theirs = requests.Request("GET", url).prepare().path_url
    assert urls.split(url).target == theirs.replace("/./b/..", "")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/",
        "http:///a",
        "http://h:port/",
        "http://h:99999/",
        "http://[::1/",
        "http://h/a\r\nX: y",
        "http://h/\x00",
        "http://h\r\nX: y/",
        "http://" + "ä" * 70 + "/",
        "http://☃.example/",
    ],
)
def test_an_invalid_url_is_refused_in_one_line(url):
    with pytest.raises(InvalidURL) as raised:
        urls.split(url)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "params",
    [
        {"a": 1, "b": "x y"},
        {"a": [1, 2], "b": None},
        [("a", "ä"), ("a", "&")],
        (("a", 1),),
        {"a": (None, "x")},
        {"a": True},
        "a=1&b=2",
        b"a=1",
        {},
        None,
    ],
)
@pytest.mark.parametrize("url", ["http://h/p", "http://h/p?x=1"])
def test_parameters_are_added_as_requests_adds_them(url, params):
    theirs = requests.Request("GET", url, params=params).prepare().path_url
    assert urls.split(urls.with_query(url, urls.encode(params))).target == theirs


@pytest.mark.parametrize(
    ("location", "to"),
    [
        ("/b", "http://h/b"),
        ("b", "http://h/a/b"),
        ("../b?x", "http://h/b?x"),
        ("//other/b", "http://other/b"),
        ("https://other/b", "https://other/b"),
        ("/\xc3\xa4", "http://h/ä"),
    ],
)
def test_a_redirect_resolves_its_location(location, to):
    assert urls.follow("http://h/a/c", location) == to


@given(st.text(max_size=40), st.sampled_from(["", "http://", "https://h", "http://h/", "http://["]))
def test_any_text_makes_a_valid_request_line_or_is_refused(text, start):
    try:
        split = urls.split(start + text)
    except InvalidURL:
        return
    assert re.fullmatch(r"/[!-~]*", split.target)
    assert re.fullmatch(r"[!-~]+", split.authority)
    assert 0 <= split.port < 65536
    assert urls.requote(split.target) == split.target


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=10), max_size=4))
def test_any_parameters_survive_the_request_line(params):
    query = urls.encode(params)
    assert re.fullmatch(r"[!-~]*", query)
    assert dict(parse_qsl(query, keep_blank_values=True)) == params
