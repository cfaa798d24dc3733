"""The customers of http_shop use requests instead of http.Session.

Choose requests when you need its adapters or extensions. The API is the same, but a request costs
about 20 times the CPU of `http.Session`. A scenario imports its neighbours in the directory by
name and gets their settings too.
"""

import http_shop

from amoc_gevent import http

init = http_shop.init


def start(user_id: int, catalogue: list[int]) -> None:
    with http.RequestsSession(http_shop.url.value) as session:
        http_shop.visit(session, user_id, catalogue)
