"""Messages with something in every field, and messages in which one thing is wrong."""

from typing import Any

import msgpack
from hypothesis import strategies as st

from amoc_gevent.core.manifest import DeclaredSetting, Manifest
from amoc_gevent.core.measure.snapshot import Gauge, Snapshot, UserError
from amoc_gevent.core.messages import (
    Ack,
    Beat,
    Clock,
    Event,
    Failure,
    Health,
    Order,
    Report,
    UserCounts,
    encode,
)
from amoc_gevent.core.run.plan import UNRELEASED, Batch, Move, Options, Plan, Removal


def full_snapshot() -> Snapshot:
    snapshot = Snapshot(
        counters={"orders": 7},
        gauges={"open": Gauge(2.5, "carts")},
        started=3,
        iterations=2,
        failed=1,
    )
    operation = snapshot.operation("GET /")
    operation.count, operation.interrupted = 4, 1
    operation.latency.record(1_234_567)
    operation.phase("connect").record(250)
    operation.fail("timeout", 2)
    snapshot.histograms["size"] = ("bytes", type(operation.latency)({5: 2}))
    snapshot.add_error(UserError("KeyError", "s.py:3", "m", "trace", 2, 1.5, 2.5))
    snapshot.lag.record(40)
    return snapshot


PLAN = Plan(
    version=7,
    run="r1",
    status="running",
    force=True,
    scenario="/s/hello.py",
    code="5e9d",
    settings={"url": "http://x"},
    options=Options(5.0, 0.0, 3, "stop", 1.0),
    batches=(Batch(1, 10, 99.5, 2.0, ("a", "b")), Batch(11, 11, UNRELEASED, 2.0, ("b",))),
    moves=(Move(("b", "d"), ("a", "c"), 3, 120.5, 2.0, 1, ((2, 2),)),),
    removals=(Removal(9, 10, force=True), Removal(1, 7, force=False, step=2)),
    pauses=((110.0, 112.5), (130.0, UNRELEASED)),
)
CLOCK = Clock(77.25, -0.5, 0.0005)
ORDER = Order(PLAN, "a", 2, "/s/hello.py", CLOCK, 99.5, ((1, 3), (5, 5)))
MANIFEST = Manifest(
    "hello",
    "Says hello.",
    ("init()", "start(user_id)"),
    (DeclaredSetting("mode", "fast", "s", "str", "how", ("fast", "slow"), update=True),),
    ("GET /",),
    "profile",
    ("throttle",),
    ("expectation",),
    ("feeder",),
)
REPORT = Report(
    source="a",
    incarnation="inc",
    sequence=42,
    run="r1",
    state="ready",
    oldest=40,
    plan_version=7,
    users=UserCounts(1, 2, 3, 4),
    seconds=((1234, full_snapshot()), (1235, Snapshot())),
    health=(Health("a", 0, 1234, 4321, 0.5, 100, 200, 10**8, 30, 1024, -0.5),),
    events=(Event(1.0, "stop", "gently"),),
    ended=((1, 2),),
    failure=Failure("no", "trace", usage=True),
    workers=2,
    sent=98.5,
    place="host:/home",
    wants="5e9d",
    left=True,
    clock=CLOCK,
    manifest=MANIFEST,
)
BEAT = Beat("life", 1234.5, 7)
ACK = Ack("inc", 41, 98.5, 1234.0, 1234.5, 12.0, "r1", 7, "no")


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def spoiled(packed: Any, draw: st.DrawFn) -> Any:
    """Return `packed` with one value, at any depth, replaced by another."""
    if not isinstance(packed, list | dict) or not packed or draw(st.integers(0, 9)) == 0:
        return draw(junk)
    if isinstance(packed, dict):
        key = draw(st.sampled_from(sorted(packed, key=repr)))
        if draw(st.booleans()):
            return {**packed, key: spoiled(packed[key], draw)}
        return {**packed, draw(st.text(max_size=3) | st.integers(-(2**63), 2**64 - 1)): packed[key]}
    at = draw(st.integers(0, len(packed) - 1))
    return [*packed[:at], spoiled(packed[at], draw), *packed[at + 1 :]]


@st.composite
def nearly(draw: st.DrawFn, message: Plan | Order | Report) -> bytes:
    """Bytes of a message with one thing in it wrong."""
    whole = msgpack.unpackb(encode(message), strict_map_key=False)
    return bytes(msgpack.packb(spoiled(whole, draw)))
