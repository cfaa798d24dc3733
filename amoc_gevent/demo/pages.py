"""The pages of the demo server: functions from a request to an answer, without I/O."""

import gzip
import hashlib
import json
import math
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from amoc_gevent import clock
from amoc_gevent.demo.counts import Counts
from amoc_gevent.demo.messages import JSON, AfterReply, PageAnswer, Reply, Request

DELAY_MAX = 3600.0
CHUNKS_MAX = 10_000
REDIRECTS_MAX = 100
BYTES_MAX = 64 << 20
NAME_MAX = 64
COUNT = "/count"

HELLO = b"Hello from the amoc demo server!\r\n"
HALF = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500
GARBAGE = b"\x16\x03\x01\x00\xa5 220 this is not HTTP\r\n\r\n\x00\xff"

PRODUCTS = [
    {"id": i, "name": f"Product {i}", "price": round(4.99 + i * 1.5, 2), "stock": i * 7 % 50}
    for i in range(1, 101)
]

Page = Callable[["Pages", Request, str], PageAnswer | Reply]


def json_answer(value: Any, status: int = 200, **more: Any) -> PageAnswer:
    """Return `value` as a JSON answer. `more` are other fields of `PageAnswer`."""
    return PageAnswer(status, json.dumps(value).encode() + b"\n", JSON, **more)


def error(status: int, message: str, **more: Any) -> PageAnswer:
    """Return a JSON answer with an error message of one line."""
    return json_answer({"error": message}, status, **more)


class Pages:
    """The pages of one server, its counts and the secret that signs its sessions.

    A session token is a signed user name, so sessions need no memory however many users log in.
    """

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self._secret = secrets.token_bytes(32)

    def answer(self, request: Request) -> PageAnswer | Reply:
        """Return the answer to `request`. The caller has already counted it."""
        name, slash, argument = request.path[1:].partition("/")
        route = _ROUTES.get(name)
        misplaced = not request.path.startswith("/")
        if route is None or misplaced or (slash and not route.arguments):
            return error(404, f"no page {request.path}", cacheable=True)
        if route.methods and request.method not in route.methods:
            allowed = ", ".join(route.methods)
            return error(405, f"{request.path} takes {allowed}", headers=(("Allow", allowed),))
        try:
            return route.page(self, request, argument)
        except (ValueError, RecursionError) as wrong:
            return error(400, f"{request.path}: {wrong}")

    def sign(self, user: str) -> str:
        """Return the session token of `user`."""
        mark = hashlib.blake2b(user.encode(), key=self._secret, digest_size=12).hexdigest()
        return f"{user.encode().hex()}.{mark}"

    def user_of(self, request: Request) -> str | None:
        """Return the user of the request's session cookie, or None without a valid one."""
        token = request.cookie("session") or ""
        try:
            user = bytes.fromhex(token.partition(".")[0]).decode()
        except ValueError:
            return None
        return user if user and secrets.compare_digest(self.sign(user), token) else None


class _Route:
    __slots__ = ("arguments", "methods", "page")

    def __init__(self, page: Page, methods: tuple[str, ...], arguments: bool) -> None:
        self.page = page
        self.methods = methods
        self.arguments = arguments


_ROUTES: dict[str, _Route] = {}


def _page(name: str, *methods: str, arguments: bool = False) -> Callable[[Page], Page]:
    """Register the page at ``/name`` for these methods, or for all if none are given."""

    def register(page: Page) -> Page:
        _ROUTES[name] = _Route(page, methods, arguments)
        return page

    return register


def _whole(text: str, least: int, most: int) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else -1
    if not least <= number <= most:
        raise ValueError(f"{text!r} is not a whole number from {least} to {most}")
    return number


@_page("", "GET", "HEAD")
def _hello(_pages: Pages, _request: Request, _argument: str) -> PageAnswer:
    return PageAnswer(200, HELLO, cacheable=True)


@_page("json", "GET", "HEAD")
def _json(_pages: Pages, _request: Request, _argument: str) -> PageAnswer:
    return json_answer({"message": "hello", "numbers": [1, 2, 3], "ok": True}, cacheable=True)


@_page("delay", arguments=True)
def _delay(_pages: Pages, _request: Request, argument: str) -> PageAnswer:
    try:
        seconds = float(argument)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= DELAY_MAX:
        raise ValueError(f"{argument!r} is not a number of seconds from 0 to {DELAY_MAX:.0f}")
    return json_answer({"delay": seconds}, delay=seconds, cacheable=True)


@_page("status", arguments=True)
def _status(_pages: Pages, _request: Request, argument: str) -> PageAnswer:
    status = _whole(argument, 200, 599)
    return json_answer({"status": status}, status, cacheable=True)


@_page("echo")
def _echo(_pages: Pages, request: Request, _argument: str) -> PageAnswer:
    headers: dict[str, str] = {}
    for name, value in request.headers:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return json_answer(
        {
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "headers": headers,
            "body": request.body.decode(errors="replace"),
            "size": len(request.body),
            "client": request.client,
        }
    )


@_page("login", "POST")
def _login(pages: Pages, request: Request, _argument: str) -> PageAnswer:
    kind = (request.header("content-type") or "").partition(";")[0].strip().lower()
    given: Any
    if kind == JSON:
        given = json.loads(request.body)
    else:
        given = {key: values[0] for key, values in parse_qs(request.body.decode()).items()}
    if not isinstance(given, dict) or not given.get("user") or not given.get("password"):
        raise ValueError("needs user and password, as a form or as JSON")
    if given["password"] == "wrong":  # noqa: S105  # lets scenarios try a failed login
        return error(401, "wrong user or password")
    user = str(given["user"])
    token = pages.sign(user)
    cookie = ("Set-Cookie", f"session={token}; Path=/; HttpOnly")
    return json_answer({"user": user, "token": token}, headers=(cookie,))


@_page("account", "GET", "HEAD")
def _account(pages: Pages, request: Request, _argument: str) -> PageAnswer:
    user = pages.user_of(request)
    if user is None:
        return error(401, "log in first: POST user and password to /login")
    return json_answer({"user": user, "email": f"{user}@example.com"})


@_page("products", "GET", "HEAD", arguments=True)
def _products(_pages: Pages, request: Request, argument: str) -> PageAnswer:
    if not argument:
        return json_answer(PRODUCTS, cacheable=True)
    if argument.isascii() and argument.isdigit() and 1 <= int(argument[:9]) <= len(PRODUCTS):
        return json_answer(PRODUCTS[int(argument[:9]) - 1], cacheable=True)
    return error(404, f"no page {request.path}: products are 1 to {len(PRODUCTS)}", cacheable=True)


@_page("cart", "POST")
def _cart(pages: Pages, request: Request, _argument: str) -> PageAnswer:
    user = pages.user_of(request)
    if user is None:
        return error(401, "log in first: POST user and password to /login")
    return json_answer({"user": user, "added": json.loads(request.body)}, 201)


@_page("chunked", "GET", "HEAD", arguments=True)
def _chunked(_pages: Pages, _request: Request, argument: str) -> PageAnswer:
    count = _whole(argument, 0, CHUNKS_MAX)
    chunks = tuple(b"chunk %d\n" % i for i in range(1, count + 1))
    return PageAnswer(200, chunks=chunks, cacheable=True)


@_page("gzip", "GET", "HEAD")
def _gzip(_pages: Pages, _request: Request, _argument: str) -> PageAnswer:
    plain = json.dumps({"gzipped": True, "text": "amoc " * 200}).encode()
    packed = gzip.compress(plain, mtime=0)
    return PageAnswer(200, packed, JSON, (("Content-Encoding", "gzip"),), cacheable=True)


@_page("redirect", arguments=True)
def _redirect(_pages: Pages, _request: Request, argument: str) -> PageAnswer:
    hops = _whole(argument, 1, REDIRECTS_MAX)
    target = f"/redirect/{hops - 1}" if hops > 1 else "/"
    return PageAnswer(302, b"", headers=(("Location", target),), cacheable=True)


@_page("bytes", "GET", "HEAD", arguments=True)
def _bytes(_pages: Pages, _request: Request, argument: str) -> PageAnswer:
    body = b"x" * _whole(argument, 0, BYTES_MAX)
    return PageAnswer(200, body, "application/octet-stream", cacheable=True)


@_page("check", "GET", "HEAD", "POST")
def _check(pages: Pages, request: Request, _argument: str) -> PageAnswer:
    given = _fields(request.query)
    iteration = given.get("life", "")
    if not 0 < len(iteration) <= NAME_MAX:
        raise ValueError(f"needs life= with 1 to {NAME_MAX} characters that name an iteration")
    user, number = (_whole(given.get(name, ""), 1, 10**11) for name in ("user", "number"))
    sent = _seconds(given["sent"]) if "sent" in given else clock.wall()
    pages.counts.iterations.take(user, iteration, number, sent, clock.monotonic(), request.client)
    return _CHECKED


_CHECKED = PageAnswer(200, b"noted\n")


def _fields(query: str) -> dict[str, str]:
    """Return the fields of a query without escapes, ten times as fast as `parse_qs`."""
    return {name: value for name, _, value in (pair.partition("=") for pair in query.split("&"))}


def _seconds(text: str) -> float:
    """Parse a finite number of seconds, 0 or more."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{text!r} is not a number of seconds")
    return seconds


@_page("count", "GET", "HEAD", "DELETE", "POST", arguments=True)
def _count(pages: Pages, request: Request, argument: str) -> PageAnswer:
    if argument == "seen" and request.method in {"GET", "HEAD"}:
        within = _seconds(_fields(request.query).get("within", ""))
        return json_answer(pages.counts.iterations.seen_since(clock.monotonic() - within))
    resets = request.method == "DELETE" or (request.method == "POST" and argument == "reset")
    if argument not in ("", "reset") or (request.method == "POST" and not resets):
        return error(404, f"no page {request.path}: GET /count, DELETE /count, POST /count/reset")
    if resets:
        pages.counts.reset()
    return json_answer(pages.counts.as_dict())


@_page("close")
def _close(_pages: Pages, _request: Request, _argument: str) -> Reply:
    return Reply(b"", AfterReply.CLOSE)


@_page("reset")
def _reset(_pages: Pages, _request: Request, _argument: str) -> Reply:
    return Reply(b"", AfterReply.RESET)


@_page("half")
def _half(_pages: Pages, _request: Request, _argument: str) -> Reply:
    return Reply(HALF, AfterReply.CLOSE)


@_page("garbage")
def _garbage(_pages: Pages, _request: Request, _argument: str) -> Reply:
    return Reply(GARBAGE, AfterReply.CLOSE)


@_page("silent")
def _silent(_pages: Pages, _request: Request, _argument: str) -> Reply:
    return Reply(b"", AfterReply.SILENCE)
