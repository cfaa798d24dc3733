"""The customers of http_shop, through requests: for what needs its adapters and extensions.

A scenario imports its neighbours in the directory by name, their settings come along. Requests
costs about 20 times the CPU of `http.Session` for each request; the face is the same.
"""

import http_shop

from amoc_gevent import http

init = http_shop.init


def start(user_id: int, catalogue: list[int]) -> None:
    with http.RequestsSession(http_shop.url.value) as session:
        http_shop.visit(session, user_id, catalogue)
