"""Answers to challenges, checked against the examples of the RFCs."""

import secrets

import pytest
import requests.auth

from amoc_gevent.errors import UsageError
from amoc_gevent.http.auth import HTTPBasicAuth, HTTPDigestAuth, read

RFC_7616 = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
    'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_example_of_rfc_7616(monkeypatch, algorithm, response):
    monkeypatch.setattr(secrets, "token_hex", lambda _: CNONCE)
    auth = HTTPDigestAuth("Mufasa", "Circle of Life")
    assert auth.header("GET", "/dir/index.html") is None
    assert auth.accept([RFC_7616.format(algorithm=algorithm)])
    header = auth.header("GET", "/dir/index.html")
    assert header.startswith('Digest username="Mufasa", realm="http-auth@example.org"')
    assert f'response="{response}"' in header
    assert 'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"' in header
    assert "nc=00000001" in header
    assert "nc=00000002" in auth.header("GET", "/other")


def test_the_example_of_rfc_2069_without_qop():
    auth = HTTPDigestAuth("Mufasa", "CircleOfLife")
    auth.accept(['Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"'])
    header = auth.header("GET", "/dir/index.html")
    assert 'response="1949323746fe6a43ef61f9606e7febea"' in header
    assert "qop" not in header


@pytest.mark.parametrize(
    "challenges",
    [
        [],
        ['Basic realm="x"'],
        ['Digest realm="x"'],
        ['Digest realm="x", nonce="y", algorithm=UNHEARD-OF'],
    ],
)
def test_an_unknown_digest_is_not_answered(challenges):
    auth = HTTPDigestAuth("u", "p")
    assert not auth.accept(challenges)
    assert auth.header("GET", "/") is None


def test_the_first_supported_challenge_is_answered():
    auth = HTTPDigestAuth("u", "p")
    assert auth.accept(['Basic realm="b"', 'Digest realm="d", nonce="n"'])
    assert 'realm="d"' in auth.header("GET", "/")


def test_a_new_challenge_restarts_the_count():
    auth = HTTPDigestAuth("u", "p")
    auth.accept(['Digest realm="r", nonce="one", qop="auth"'])
    auth.header("GET", "/")
    auth.accept(['Digest realm="r", nonce="two", qop="auth"'])
    header = auth.header("GET", "/")
    assert 'nonce="two"' in header
    assert "nc=00000001" in header


def test_passwords_are_not_in_the_repr():
    assert "secret" not in repr(HTTPDigestAuth("u", "secret"))
    assert "secret" not in repr(HTTPBasicAuth("u", "secret"))


def test_a_pair_is_basic_authentication():
    for pair in (("Aladdin", "open sesame"), ["Aladdin", "open sesame"]):
        assert read(pair) == HTTPBasicAuth("Aladdin", "open sesame")
    assert HTTPBasicAuth("Aladdin", "open sesame").header == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert read(None) is None


def test_objects_of_requests_are_converted():
    assert read(requests.auth.HTTPBasicAuth("u", "p")) == HTTPBasicAuth("u", "p")
    assert read(requests.auth.HTTPDigestAuth("u", "p")) == HTTPDigestAuth("u", "p")


@pytest.mark.parametrize(
    "given",
    [
        "u:p",
        "",
        (),
        ("u", "p", "q"),
        {"u": "p"},
        lambda request: request,
        requests.auth.HTTPProxyAuth("u", "p"),
    ],
)
def test_an_unknown_authentication_is_refused_in_one_line(given):
    with pytest.raises(UsageError, match=r"^auth= takes \(name, password\), .*, not \w+$"):
        read(given)
