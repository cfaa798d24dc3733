"""The scenarios that ship, and those of the documentation, do what they say."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from amoc_gevent import metrics, settings, user
from amoc_gevent.loading import loader
from amoc_gevent.loading.catalogue import scenario_directories
from tests.rounds import as_user
from tests.servers import Demo

ROOT = Path(__file__).parent.parent
SHIPPED = [path.stem for path in sorted((ROOT / "scenarios").glob("*.py"))]
DOCUMENTED = [
    block
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
]


@pytest.fixture(autouse=True)
def _a_fresh_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin without settings and figures, in the checkout, and let users not think for long."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(user, "sleep", lambda _seconds: None)
    metrics.recorder.reset()
    yield
    metrics.recorder.reset()
    settings.registry.reset()


def test_every_shipped_scenario_is_listed_with_what_it_does() -> None:
    listed = {scenario.name: scenario.summary for scenario in loader.listing()}
    assert set(SHIPPED) <= set(listed)
    assert all(listed[name].endswith(".") for name in SHIPPED), listed


@pytest.mark.parametrize("name", [name for name in SHIPPED if name.startswith("http_")])
def test_what_a_shipped_scenario_counts_is_what_the_server_counts(name: str, demo: Demo) -> None:
    scenario = loader.load(loader.find(name, scenario_directories()))
    settings.registry.configure({"url": demo.url}, {})
    state = scenario.init()
    for user_id in (1, 2, 3):
        given = (user_id, state) if scenario.has_state else (user_id,)
        assert as_user(user_id, lambda given=given: scenario.start(*given)) == (None, None)
    scenario.terminate(state)
    operations = metrics.recorder.take().operations
    assert sum(operation.count for operation in operations.values()) == demo.counts()["total"] > 0
    assert sum(operation.errors for operation in operations.values()) == 0
    assert len(operations) <= 5, "parametrised paths need name="


def test_the_shop_is_the_same_through_requests() -> None:
    names = [s.name for s in _settings_of("http_shop")]
    assert names == [s.name for s in _settings_of("http_requests")]


def _settings_of(name: str) -> list[settings.SettingDescription]:
    loader.load(loader.find(name))
    return settings.registry.described()


def test_every_link_of_the_documentation_leads_somewhere() -> None:
    pages = (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    for page in pages:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


@pytest.mark.parametrize("block", DOCUMENTED)
def test_every_example_of_the_documentation_is_python(block: str) -> None:
    ast.parse(block if not block.startswith(" ") else f"if True:\n{block}")


WHOLE = [block for block in DOCUMENTED if block.startswith('"""')]


@pytest.mark.parametrize("block", [block for block in WHOLE if "xmpp" in block])
def test_every_xmpp_scenario_of_the_documentation_can_be_loaded(block: str, tmp_path: Path) -> None:
    path = tmp_path / "documented.py"
    path.write_text(block)
    loader.load(path)
    settings.registry.configure({"host": "xmpp.example"}, {})


@pytest.mark.parametrize("block", [block for block in WHOLE if "xmpp" not in block])
def test_every_whole_scenario_of_the_documentation_runs(
    block: str, demo: Demo, tmp_path: Path
) -> None:
    path = tmp_path / "documented.py"
    path.write_text(block)
    scenario = loader.load(path)
    settings.registry.configure({"url": demo.url}, {})
    scenario.init()
    assert as_user(7, lambda: scenario.start(7)) == (None, None)
    operations = metrics.recorder.take().operations
    assert sum(operation.count for operation in operations.values()) == demo.counts()["total"] == 2


def test_the_documented_settings_are_as_described(tmp_path: Path) -> None:
    (block,) = (b for b in DOCUMENTED if "settings.rate" in b)
    path = tmp_path / "documented.py"
    path.write_text(block + "\ndef init(): ...\ndef start(user_id): ...\n")
    loader.load(path)
    settings.registry.configure({"size": "100", "mode": "write"}, {"AMOC_ORDERS": "60/min"})
    assert settings.get("orders").value == 1.0
    with pytest.raises(settings.UsageError, match="must be 1 to 100"):
        settings.registry.configure({"size": "101"}, {})
