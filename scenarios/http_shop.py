"""Customers of a shop log in, look at products, put some into the cart and check their account.

This example shows a login with form and cookie, JSON bodies, think times, checks of a response's
content, one name for many paths, and custom metrics. `amoc demo http` serves the shop.
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
    "products that each customer looks at",
    verify=lambda count: 1 <= count <= 100 or (False, "must be 1 to 100"),
)

sold = metrics.counter("products_sold")
carts = metrics.histogram("cart_value", "cents")


def init() -> list[int]:
    """Read the catalogue once in each worker. Every user gets the returned value."""
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
    """Go through the shop as one customer."""
    name = f"user_{user_id}"
    log_in(session, name, f"password_{user_id}")
    cents = 0
    for number in random.sample(catalogue, min(looks.value, len(catalogue))):
        pause()
        # One name for all products. Without it, each product would be a separate operation.
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
    """Get the session cookie. With `check=True` the scenario judges the response."""
    form = {"user": name, "password": password}
    with session.post("/login", data=form, check=True) as answer:
        if not answer.ok:
            answer.fail(f"status {answer.status_code}")
        elif not answer.json().get("token"):
            answer.fail("no token")


def pause() -> None:
    """Think as people do: mostly for a short time, sometimes for a long one."""
    user.sleep(random.expovariate(1 / think.value) if think.value else 0)
