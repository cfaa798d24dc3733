"""The shortest scenario: every user GETs one page, again and again."""

from amoc_gevent import http, settings, user

url = settings.declare("url", "http://127.0.0.1:8080", "the service to load")
pause = settings.declare("pause", 1.0, "think time between two requests", unit="s")


def init() -> None:
    pass


def start(_user_id: int) -> None:
    session = http.Session(url.value)
    for _ in range(10):
        session.get("/")
        user.sleep(pause.value)
