"""The whole API of httpbin gives the same through requests and through both clients."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import requests
from requests.auth import HTTPDigestAuth

from amoc_gevent import http, metrics
from tests.names import without_addresses

ALIKE = {"User-Agent": "alike", "Accept-Encoding": "gzip, deflate, br"}
TOLD = ("content-type", "etag", "location", "allow", "x-more", "content-range", "www-authenticate")

Case = tuple[str, str, dict[str, Any]]


def get(path: str, **arguments: Any) -> Case:
    return "GET", path, arguments


def body_cases() -> list[Case]:
    return [
        (method, path, arguments)
        for method, path in [
            ("POST", "/post"),
            ("PUT", "/put"),
            ("PATCH", "/patch"),
            ("DELETE", "/delete"),
            ("POST", "/anything/below"),
        ]
        for arguments in [
            {},
            {"data": {"a": ["1", "2"], "b": "ä"}},
            {"data": [("a", "1"), ("a", "2")]},
            {"data": b"\0\1binary", "headers": {"Content-Type": "application/octet-stream"}},
            {"data": "text"},
            {"json": {"a": [1, None, "ä"]}},
            {"files": {"f": ("name.txt", b"content", "text/plain")}, "data": {"a": "1"}},
            {"params": {"q": "x y"}, "headers": {"X-Mine": "1"}},
        ]
    ]


CASES: list[Case] = [
    # methods
    get("/get"),
    get("/get", params={"a": ["1", "2"], "b": "x&y=z", "c": None}),
    get("/get?already=1", params={"more": "2"}),
    get("/get", headers={"X-Mine": "a, b", "Accept": "text/html"}),
    ("HEAD", "/get", {}),
    ("HEAD", "/gzip", {}),
    ("HEAD", "/stream-bytes/5000?seed=1", {}),
    ("OPTIONS", "/get", {}),
    ("TRACE", "/anything", {}),
    ("POST", "/get", {}),
    *body_cases(),
    get("/anything", data=b"a body in a GET"),
    ("POST", "/post", {"data": lambda: iter([b"in ", b"chunks"])}),
    ("POST", "/post", {"data": lambda: (b"x" * 5000 for _ in range(20))}),
    # status codes
    *[get(f"/status/{code}") for code in (200, 201, 204, 299, 304, 400, 404, 418, 429, 500, 503)],
    *[get(f"/status/{code}") for code in (301, 302, 303, 305, 307)],
    *[("POST", f"/status/{code}", {"data": b"x"}) for code in (200, 204, 301, 303, 307, 502)],
    get("/no-such-page"),
    # requests inspected
    get("/headers", headers={"X-Mine": "ä".encode("latin-1").decode("latin-1")}),
    get("/ip"),
    get("/user-agent"),
    # responses inspected
    get("/cache"),
    get("/cache", headers={"If-None-Match": "x"}),
    get("/cache/60"),
    get("/etag/abc"),
    get("/etag/abc", headers={"If-None-Match": "abc"}),
    get("/etag/abc", headers={"If-Match": "other"}),
    get("/response-headers", params={"X-More": ["1", "2"], "Content-Type": "text/plain"}),
    ("POST", "/response-headers?X-More=3", {}),
    # formats
    *[get(f"/{path}") for path in ("brotli", "gzip", "deflate", "deny", "encoding/utf8", "html")],
    *[get(f"/{path}") for path in ("json", "robots.txt", "xml", "forms/post", "spec.json")],
    # authentication
    get("/basic-auth/user/secret"),
    get("/basic-auth/user/secret", auth=("user", "secret")),
    get("/basic-auth/user/secret", auth=("user", "wrong")),
    get("/basic-auth/us%3Aer/sec%20ret"),
    get("/hidden-basic-auth/user/secret"),
    get("/hidden-basic-auth/user/secret", auth=("user", "secret")),
    get("/bearer"),
    get("/bearer", headers={"Authorization": "Bearer token"}),
    get("/digest-auth/auth/user/secret"),
    *[
        get(path, digest=given)
        for path in (
            "/digest-auth/auth/user/secret",
            "/digest-auth/auth/user/secret/MD5",
            "/digest-auth/auth/user/secret/SHA-256",
            "/digest-auth/auth/user/secret/SHA-512",
            "/digest-auth/auth/user/secret/MD5/1",
            "/digest-auth/none/user/secret/SHA-256",
        )
        for given in (("user", "secret"), ("user", "wrong"))
    ],
    # cookies
    get("/cookies", cookies={"a": "1", "b": "2"}),
    get("/cookies/set", params={"a": "1", "b": "x y"}),
    get("/cookies/set/name/value"),
    get("/cookies/delete", params={"a": ""}, cookies={"a": "1"}),
    # redirects
    get("/redirect/1"),
    get("/redirect/5"),
    get("/relative-redirect/3"),
    get("/absolute-redirect/3"),
    get("/redirect/2", allow_redirects=False),
    ("HEAD", "/redirect/2", {}),
    ("HEAD", "/redirect/2", {"allow_redirects": True}),
    *[
        (method, f"/redirect-to?url=/anything&status_code={code}", {"data": {"a": "1"}})
        for method in ("POST", "PUT", "PATCH", "DELETE")
        for code in (301, 302, 303, 307, 308)
    ],
    get("/redirect-to", params={"url": "/get?a=b c#part"}),
    get("/links/3"),
    # dynamic data
    get("/base64/SGVsbG8="),
    get("/bytes/1000", params={"seed": 7}),
    get("/bytes/0"),
    get("/delay/0.05"),
    ("POST", "/delay/0.01", {"data": {"a": "1"}}),
    get("/drip", params={"numbytes": 5, "duration": 0.05, "delay": 0, "code": 203}),
    get("/links/5/2"),
    get("/range/100"),
    get("/range/100", headers={"Range": "bytes=10-19"}),
    get("/range/100", headers={"Range": "bytes=200-"}),
    get("/stream/5"),
    get("/stream-bytes/20000", params={"seed": 7, "chunk_size": 999}),
    # images
    *[get(f"/image/{kind}") for kind in ("png", "jpeg", "webp", "svg")],
    get("/image", headers={"Accept": "image/webp"}),
    get("/image", headers={"Accept": "application/json"}),
]


def name_of(case: Case) -> str:
    method, path, arguments = case
    given = (f"{k}={without_addresses(v)[:40]}" for k, v in arguments.items())
    return f"{method} {path} {' '.join(given)}".strip()


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_each_response_equals_that_of_requests(case, client, httpbin, recorded):
    expected = told_by(requests.Session, HTTPDigestAuth, httpbin.url, case)
    digest = http.HTTPDigestAuth if client is http.Session else HTTPDigestAuth
    before = metrics.recorder.take()
    assert not before.operations
    told = told_by(client, digest, httpbin.url, case)
    assert told == expected
    requested = len(expected["history"]) + 1
    assert sum(operation.count for operation in recorded().values()) == requested


def told_by(
    client: Callable[[], Any], digest: Callable[[str, str], Any], url: str, case: Case
) -> dict[str, Any]:
    """Send the request of a case. Return the response without its random parts."""
    method, path, arguments = case
    arguments = {k: v() if callable(v) else v for k, v in arguments.items()}
    if "digest" in arguments:
        arguments["auth"] = digest(*arguments.pop("digest"))
    with client() as session:
        session.headers.update(ALIKE)
        # requests also follows redirects of a HEAD through `request`
        arguments.setdefault("allow_redirects", method != "HEAD")
        response = session.request(method, f"{url}{path}", **arguments)
        return {
            "status": (response.status_code, response.reason, response.ok),
            "url": response.url.partition("#")[0],
            "headers": {k: told(response.headers[k]) for k in TOLD if k in response.headers},
            "encoding": response.encoding,
            "body": body_of(response),
            "text": body_of(response) if response.encoding is None else told(response.text),
            "cookies": names_and_values(response.cookies),
            "session cookies": names_and_values(session.cookies),
            "history": [(r.status_code, r.url, told(r.text)) for r in response.history],
        }


def body_of(response: Any) -> Any:
    """Return the body. For an echoed request, only the parts that must be equal."""
    if response.headers.get("content-type") != "application/json" or not response.content:
        return response.content
    lines = response.content.splitlines() if response.url.endswith("/stream/5") else []
    return [alike(json.loads(line)) for line in lines or [response.content]]


def alike(seen: Any) -> Any:
    """Return an echoed request without parts that are random or may differ."""
    if isinstance(seen, dict) and "headers" in seen:
        headers = {name.lower(): value for name, value in seen["headers"].items()}
        headers.pop("connection", None)
        if headers.get("content-length") == "0":  # optional for DELETE
            del headers["content-length"]
        if "boundary=" in headers.get("content-type", ""):
            headers["content-type"], _, _ = headers["content-type"].partition("boundary=")
        seen["headers"] = headers
    return seen


def told(text: str) -> str:
    """Return a text without nonces and dates, which always differ."""
    if '"headers"' in text:
        return ""  # compared as JSON
    return re.sub(r"(nonce|opaque)=\"\w+\"|[0-9a-f]{32}", "random", text)


def names_and_values(jar: Any) -> dict[str, str]:
    return {name: told(value) for name, value in dict(jar).items()}
