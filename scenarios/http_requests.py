"""The customers of http_shop use the requests library, for its adapters and extensions.

A scenario imports another one in its directory by name and gets its settings too. The API of
requests is the same as that of `http.Session`, but each request costs about 20 times the CPU.
"""

import http_shop

from amoc_gevent import http

init = http_shop.init


def start(user_id: int, catalogue: list[int]) -> None:
    with http.RequestsSession(http_shop.url.value) as session:
        http_shop.visit(session, user_id, catalogue)
