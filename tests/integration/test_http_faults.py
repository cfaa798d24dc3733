"""Targets that misbehave: each fault under its own name, other users undisturbed, the run ends."""

import pytest

from tests.integration.conftest import Amoc
from tests.servers import Demo

SCENARIO = """
from amoc_gevent import http, settings

url = settings.declare("url", "http://127.0.0.1:1", "the service")
path = settings.declare("path", "/", "what users with even ids ask for")


def start(user_id):
    with http.{session}(url.value, timeout=(5, 0.5)) as session:
        if user_id % 2:
            session.get("/", name="healthy")
        else:
            session.get(path.value, name="sick")
"""

FAULTS = {
    "/close": "connection closed",
    "/half": "incomplete response",
    "/garbage": "invalid response",
    "/reset": "connection reset",
    "/silent": "read time-out",
    "/status/503": "status 503",
    "/redirect/99": "too many redirects",
}


@pytest.mark.parametrize("session", ["Session", "RequestsSession"])
@pytest.mark.parametrize("path", FAULTS)
def test_a_fault_of_the_target_is_counted_under_its_name(
    amoc: Amoc, demo: Demo, path: str, session: str
) -> None:
    summary = amoc.load(
        *(amoc.scenario(SCENARIO.format(session=session)), 1, 10, "--user-rate", "200/s"),
        *("--repeat-num", 2, "--repeat-interval", "50ms"),
        *("--set", f"url={demo.url}", "--set", f"path={path}"),
    )

    sick, healthy = summary["operations"]["sick"], summary["operations"]["healthy"]
    assert (healthy["count"], healthy["errors"]) == (10, 0)
    if path != "/redirect/99":
        assert sick["error_groups"] == {FAULTS[path]: 10}
    else:
        assert FAULTS[path] in str(summary["errors"]).lower().replace("toomany", "too many ")
    assert summary["users"]["failed"] == (0 if path == "/status/503" else 10)
    counted = sum(o["count"] for o in summary["operations"].values())
    retried = summary["counters"].get("http_stale_retries", 0)
    assert demo.counts()["total"] == counted + retried


def test_a_target_that_is_down_is_an_error_of_each_user(amoc: Amoc) -> None:
    code, said = amoc.run(
        *("run", amoc.scenario(SCENARIO.format(session="Session")), 1, 10, "--user-rate", "200/s"),
        *("--repeat-num", 2, "--repeat-interval", "50ms", "--summary", amoc.summary_path),
    )

    assert code == 1
    assert said.endswith("amoc: none of 20 operations succeeded\n")
    summary = amoc.summary()
    assert summary["run"]["failure"] == "none of 20 operations succeeded"
    for name in ("sick", "healthy"):
        assert summary["operations"][name]["error_groups"] == {"connection refused": 10}
    assert [(e["type"], e["count"]) for e in summary["errors"]] in (
        [("ConnectionError", 10), ("ConnectionError", 10)],
        [("ConnectionError", 20)],
    )
    assert summary["run"]["status"] == "failed"
