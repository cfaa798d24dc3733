"""Customers log in to a shop, look at products, put some into the cart and check their account.

This scenario shows log-in by form and cookie, JSON bodies, think times, checks of an answer's
content, one name for many paths, and metrics of your own. `amoc demo http` serves the shop.
"""

import random

from amoc_gevent import http, metrics, settings, user

url = settings.declare("url", "http://127.0.0.1:8080", "the shop to load")
think = settings.declare(
    "think",
    "1s",
    "mean think time before each page",
    type=settings.duration,
    update=True,
)
looks = settings.declare(
    "looks",
    5,
    "products that a customer looks at",
    verify=lambda count: 1 <= count <= 100 or (False, "must be 1 to 100"),
)

sold = metrics.counter("products_sold")
carts = metrics.histogram("cart_value", "cents")


def init() -> list[int]:
    """Read the catalogue once in each worker; `start` of every user gets the returned list."""
    with http.Session(url.value) as session:
        answer = session.get("/products")
        answer.raise_for_status()
        return [product["id"] for product in answer.json()]


def start(user_id: int, catalogue: list[int]) -> None:
    with http.Session(url.value) as session:
        visit(session, user_id, catalogue)


def visit(
    session: "http.Session | http.RequestsSession", user_id: int, catalogue: list[int]
) -> None:
    """Visit the shop as one customer."""
    name = f"user_{user_id}"
    log_in(session, name, f"password_{user_id}")
    cents = 0
    for number in random.sample(catalogue, min(looks.value, len(catalogue))):
        pause()
        # One name for all products, or each would be an operation of its own.
        product = session.get(f"/products/{number}", name="GET /products/<id>").json()
        if random.random() < 0.3:
            pause()
            session.post("/cart", json={"product": product["id"], "quantity": 1})
            sold.add()
            cents += round(product["price"] * 100)
    carts.record(cents)
    pause()
    with session.get("/account", check=True) as answer:
        if not answer.ok:
            answer.fail(f"status {answer.status_code}")
        elif answer.json()["user"] != name:
            answer.fail("another customer's account")


def log_in(session: "http.Session | http.RequestsSession", name: str, password: str) -> None:
    """Log in; the session keeps the cookie. `check=True` leaves success to the code below."""
    form = {"user": name, "password": password}
    with session.post("/login", data=form, check=True) as answer:
        if not answer.ok:
            answer.fail(f"status {answer.status_code}")
        elif not answer.json().get("token"):
            answer.fail("no token")


def pause() -> None:
    """Think as people do: mostly for a short time, sometimes for long."""
    user.sleep(random.expovariate(1 / think.value) if think.value else 0)
