"""Every user gets one page twice a second. This is the shortest scenario."""

from amoc_gevent import http, settings, user

url = settings.declare("url", "http://127.0.0.1:8080", "the service to load")


def init() -> None:
    pass


def start(_user_id: int) -> None:
    session = http.Session(url.value)
    for _ in range(30):
        session.get("/")
        user.sleep(0.5)
