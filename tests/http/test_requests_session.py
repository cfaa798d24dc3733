"""RequestsSession adds recording to requests and leaves the rest unchanged."""

import sys

import pytest
import requests
from gevent import subprocess

from amoc_gevent import http
from amoc_gevent.errors import UsageError
from amoc_gevent.http import requests_session
from tests.transport.scripted import refused_port


@pytest.fixture
def session(demo):
    with http.RequestsSession(demo.url) as made:
        yield made


def test_it_is_a_requests_session_and_gives_requests_responses(session):
    assert isinstance(session, requests.Session)
    response = session.get("/json")
    assert isinstance(response, requests.Response)
    assert response.raise_for_status() is None
    assert response.elapsed.total_seconds() > 0


def test_absolute_urls_and_the_base_url_both_work(session, demo):
    assert session.get("/json").url == session.get(f"{demo.url}/json").url


def test_there_is_always_a_timeout(session, monkeypatch):
    given = []
    send = requests.adapters.HTTPAdapter.send

    def spy(self, request, **options):
        given.append(options["timeout"])
        return send(self, request, **options)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", spy)
    session.get("/json")
    session.get("/json", timeout=3)
    session.timeout = (1, 2)
    session.get("/redirect/1")
    assert given == [requests_session.DEFAULT_TIMEOUT, 3, (1, 2), (1, 2)]


def test_a_proxy_of_the_environment_is_not_used(session, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{refused_port()}")
    assert session.get("/json").ok


def test_a_user_has_one_connection(session, demo):
    before = demo.counts()["connections"]
    for _ in range(10):
        session.get("/json")
    assert demo.counts()["connections"] - before == 2  # ours, and the one for the counts


def test_latency_includes_reading_the_body(session, recorded):
    session.get("/chunked/20", name="body")
    operation = recorded()["body"]
    assert operation.latency.max >= operation.phases["first_byte"].max


def test_the_scenario_reads_a_streamed_body(session, recorded):
    response = session.get("/bytes/100000", stream=True, name="streamed")
    assert recorded()["streamed"].count == 1
    assert sum(len(part) for part in response.iter_content(1000)) == 100_000


def test_a_response_without_check_cannot_fail(session):
    with pytest.raises(UsageError, match="check=True"):
        session.get("/json").fail("no token")


def test_concurrent_sessions_do_not_mix_their_names(demo, recorded):
    with http.RequestsSession(demo.url) as one, http.RequestsSession(demo.url) as two:

        def hook(response, **_):
            two.get("/json", name="inner")

        one.get("/json", name="outer", hooks={"response": hook})
        one.get("/json", name="after")
    assert {name: o.count for name, o in recorded().items()} == {
        "outer": 1,
        "inner": 1,
        "after": 1,
    }


@pytest.mark.processes
def test_requests_is_imported_only_when_used():
    code = (
        "import sys; from amoc_gevent import http; http.Session; "
        "assert 'requests' not in sys.modules; http.RequestsSession; "
        "assert 'requests' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_an_unknown_name_in_http_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Sesion'"):
        http.Sesion  # noqa: B018
