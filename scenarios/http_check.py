"""Users identify themselves to the demo server. Its counts show that no user ran twice at once."""

import time
import uuid

from amoc_gevent import http, settings, user

url = settings.declare("url", "http://127.0.0.1:8080", "the demo server (amoc demo http)")
pause = settings.declare(
    "pause",
    "150ms",
    "pause between two requests of a user",
    type=settings.duration,
    update=True,
)
requests = settings.declare(
    "requests",
    50,
    "requests in one iteration",
    verify=lambda count: count > 0 or (False, "must be above 0"),
)


def init() -> None:
    pass


def start(user_id: int) -> None:
    iteration = uuid.uuid4().hex
    with http.Session(url.value) as session:
        for number in range(1, requests.value + 1):
            query = f"user={user_id}&life={iteration}&number={number}&sent={time.time():.6f}"
            session.get(f"/check?{query}", name="GET /check")
            user.sleep(pause.value)
            if user.leaving():
                break
