"""Finding, listing and loading scenarios, and locating errors in them."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import gevent
import pytest

from amoc_gevent import settings
from amoc_gevent.errors import AmocError, ScenarioError, UsageError
from amoc_gevent.loading import loader
from amoc_gevent.loading.catalogue import guessed_settings
from amoc_gevent.loading.loader import Scenario, load, place_of, trimmed_traceback
from amoc_gevent.loading.places import shown

GOOD = '''\
"""Does nothing.

At length.
"""

def init():
    return None

def start(user_id):
    return user_id
'''


class Workspace:
    """The test's working directory, with scenarios in it."""

    def __init__(self, root: Path) -> None:
        self.scenarios = root / "scenarios"
        self.scenarios.mkdir()

    def write(self, name: str, text: str = GOOD) -> Path:
        path = self.scenarios / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(text))
        return path

    def load(self, text: str, name: str = "probe.py") -> Scenario:
        return load(self.write(name, text))

    def refused(self, text: str, name: str = "probe.py") -> ScenarioError:
        """Return the error, one line, with which the scenario does not load."""
        with pytest.raises(ScenarioError) as caught:
            self.load(text, name)
        assert "\n" not in str(caught.value)
        return caught.value


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Workspace(tmp_path)
    settings.registry.reset()


# Finding


def test_a_name_finds_a_file_and_a_package(here: Workspace) -> None:
    file = here.write("one.py")
    package = here.write("two/__init__.py")
    assert loader.find("one") == file
    assert loader.find("two") == package


def test_the_working_directorys_scenarios_come_before_those_of_the_package(
    here: Workspace,
) -> None:
    assert loader.find("http_hello").name == "http_hello.py"
    mine = here.write("http_hello.py")
    assert loader.find("http_hello") == mine


@pytest.mark.parametrize("written", ["elsewhere/x.py", "./elsewhere/x.py", "elsewhere/x"])
def test_a_path_finds_a_scenario_anywhere(here: Workspace, written: str) -> None:
    path = Path("elsewhere/x.py")
    path.parent.mkdir()
    path.write_text(GOOD)
    assert loader.find(written).resolve() == path.resolve()


def test_a_path_to_a_package_finds_its_module(here: Workspace) -> None:
    package = here.write("two/__init__.py")
    assert loader.find("scenarios/two/").resolve() == package
    assert load(package).name == "two"


def test_an_unknown_name_gets_a_suggestion(here: Workspace) -> None:
    here.write("shop.py")
    here.write("hello.py")
    with pytest.raises(UsageError) as caught:
        loader.find("shp", [here.scenarios])
    assert str(caught.value) == (
        "there is no scenario shp in scenarios, did you mean shop? There are: hello, shop"
    )


def test_a_missing_path_is_named(here: Workspace) -> None:
    with pytest.raises(UsageError, match=r"no scenario at scenarios/nope\.py"):
        loader.find("scenarios/nope.py")


def test_without_a_scenario_directory_the_error_asks_for_a_path(here: Workspace) -> None:
    with pytest.raises(UsageError, match="give a path"):
        loader.find("shop", [])


# Listing


@pytest.mark.parametrize(
    "name", ["a\0b", "a\0b/x.py", "~a\0b/x.py", "\udcff", "~nobody-is-so/x.py"]
)
def test_an_impossible_path_is_a_usage_error(here: Workspace, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        loader.find(name)
    assert "\n" not in str(caught.value)


def test_code_that_is_nested_too_deeply_does_not_break_the_list(here: Workspace) -> None:
    path = here.write("deep.py", f"{'-' * 200_000}1\n")
    (listed,) = loader.listing([here.scenarios])
    assert listed.summary.startswith("error: ")
    assert guessed_settings(path) == {}


def test_in_a_directory_that_is_gone_a_path_is_found_and_a_name_is_not(
    here: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = here.write("one.py")
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert loader.find(str(path)) == path
    with pytest.raises(UsageError, match="no scenario at /nowhere/x"):
        loader.find("/nowhere/x.py")
    with pytest.raises(AmocError, match="the working directory is gone"):
        loader.find("one")


def test_the_list_shows_names_and_first_lines_and_imports_nothing(here: Workspace) -> None:
    here.write("b.py", '"""Says hello.\n\nMore."""\nraise SystemExit\ndef start(user_id): ...')
    here.write("a/__init__.py", "from .impl import start")
    assert [(s.name, s.summary) for s in loader.listing()[:2]] == [("a", ""), ("b", "Says hello.")]


def test_a_broken_file_is_listed_with_its_error(here: Workspace) -> None:
    here.write("broken.py", "\ndef start(:\n")
    here.write("binary.py", "\0")
    listed = {s.name: s.summary for s in loader.listing([here.scenarios])}
    assert listed["broken"] == "error: line 2: invalid syntax"
    assert listed["binary"].startswith("error: ")


def test_modules_without_start_are_not_listed(here: Workspace) -> None:
    here.write("helpers.py", "def log_in(): ...")
    here.write("_private.py")
    here.write("notes.txt", "start")
    (here.scenarios / "data").mkdir()
    assert loader.listing([here.scenarios]) == []


def test_of_two_equal_names_the_one_that_find_returns_is_listed(
    here: Workspace, tmp_path: Path
) -> None:
    first = here.write("same.py")
    other = tmp_path / "other"
    other.mkdir()
    (other / "same.py").write_text(GOOD)
    (listed,) = loader.listing([here.scenarios, other])
    assert listed.path == loader.find("same", [here.scenarios, other]) == first


# Loading


def test_a_scenario_knows_its_name_docstring_and_callbacks(here: Workspace) -> None:
    scenario = here.load(GOOD, "hello.py")
    assert scenario.name == "hello"
    assert scenario.docstring == "Does nothing.\n\nAt length."
    assert scenario.callbacks() == ["init()", "start(user_id)"]
    assert scenario.start(5) == 5


@pytest.mark.parametrize(
    ("start", "has_state"),
    [
        ("def start(user_id): ...", False),
        ("def start(user_id, state): ...", True),
        ("def start(user_id, state=None): ...", True),
        ("def start(*args): ...", True),
        ("def start(user_id, *, verbose=False): ...", False),
        ("start = print", True),
        ("start = lambda user_id: None", False),
    ],
)
def test_start_gets_the_state_if_it_has_a_parameter_for_it(
    here: Workspace, start: str, has_state: bool
) -> None:
    assert here.load(f"def init(): ...\n{start}\n").has_state is has_state


def test_init_returns_the_state_and_terminate_may_take_it(here: Workspace) -> None:
    scenario = here.load("""\
        ended = []
        def init(): return {"n": 1}
        def start(user_id, state): ...
        def terminate(state): ended.append(state)
        """)
    scenario.terminate(scenario.init())
    assert scenario.module.ended == [{"n": 1}]


def test_terminate_may_take_nothing_or_be_left_out(here: Workspace) -> None:
    scenario = here.load("""\
        ended = []
        def init(): ...
        def start(user_id): ...
        def terminate(): ended.append(1)
        """)
    scenario.terminate("state")
    assert scenario.module.ended == [1]
    here.load(GOOD, "other.py").terminate("state")


def test_a_scenario_imports_its_neighbours(here: Workspace) -> None:
    here.write("neighbour_a.py", "VALUE = 1")
    scenario = here.load("import neighbour_a\ndef init(): return neighbour_a.VALUE\n" + START)
    assert scenario.init() == 1


START = "def start(user_id): ...\n"


def test_a_package_imports_its_own_modules_and_its_neighbours(here: Workspace) -> None:
    here.write("neighbour_b.py", "B = 2")
    here.write("pack/part.py", "A = 1")
    scenario = here.load(
        "from neighbour_b import B\nfrom .part import A\ndef init(): return A, B\n" + START,
        "pack/__init__.py",
    )
    assert scenario.init() == (1, 2)


def test_loading_again_reimports_the_neighbours_with_their_settings(here: Workspace) -> None:
    text = "import neighbour_c\ndef init(): return neighbour_c.VALUE\n" + START
    here.write(
        "neighbour_c.py",
        "from amoc_gevent import settings\nsettings.declare('url', 'a', 'x')\nVALUE = 1",
    )
    here.load(text, "first.py")
    here.write("neighbour_c.py", (here.scenarios / "neighbour_c.py").read_text() + "0")
    assert here.load(text, "second.py").init() == 10
    assert [setting.name for setting in settings.registry.described()] == ["url"]


def test_loading_forgets_the_settings_of_the_previous_scenario(here: Workspace) -> None:
    declaring = "from amoc_gevent import settings\nsettings.declare('a', 1, 'x')\n"
    here.load(declaring + GOOD, "first.py")
    here.load(GOOD, "second.py")
    assert settings.registry.described() == []


@pytest.mark.parametrize("name", ["json.py", "http.py", "amoc_gevent.py", "settings.py"])
def test_a_scenario_named_like_another_module_shadows_nothing(here: Workspace, name: str) -> None:
    here.write("string.py", "raise RuntimeError('shadowed')")
    scenario = here.load(
        "import json, string, http.client\nfrom amoc_gevent import settings, metrics\n"
        "def init(): return json.dumps([string.digits[0]])\n" + START,
        name,
    )
    assert scenario.init() == '["0"]'


# What is wrong with a scenario


def test_a_scenario_needs_no_init(here: Workspace) -> None:
    scenario = here.load(START)
    assert scenario.callbacks() == ["start(user_id)"]
    assert scenario.init() is None
    scenario.terminate(None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import os\ndef start(x:\n  ...", "scenarios/probe.py:2: '(' was never closed: def st"),
        ("\n\n1 / 0", "scenarios/probe.py:3: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)", "scenarios/probe.py:2: SystemExit: sys.exit(3)"),
        ("raise ValueError", "scenarios/probe.py:1: ValueError"),
        ("raise ValueError('a\\nb')", "scenarios/probe.py:1: ValueError: a"),
        ("def init(): ...", "scenarios/probe.py:1: a scenario must define start(user_id) or"),
        (
            "def inti(): ...\n" + START,
            "scenarios/probe.py:1: inti is never called, did you mean init?",
        ),
        (
            START + "def Terminate(): ...",
            "scenarios/probe.py:2: Terminate is never called, did you mean terminate?",
        ),
        ("def init(): ...\nstart = 5", "scenarios/probe.py:1: start must be a function"),
        ("def init(a): ...\n" + START, "scenarios/probe.py:1: init must be init()"),
        ("def init(): ...\ndef start(): ...", "scenarios/probe.py:2: start must be start(user_id)"),
        ("def init(): ...\ndef start(a, b, c): ...", "scenarios/probe.py:2: start must be start("),
        ("def init(): ...\ndef start(a, *, b): ...", "scenarios/probe.py:2: start must be start("),
        ("def init(): ...\nasync def start(a): ...", "scenarios/probe.py:2: start is an async"),
        ("def init(): ...\ndef start(a): yield", "scenarios/probe.py:2: start is a generator"),
        (
            "def init(): ...\n" + START + "def terminate(a, b): ...",
            "scenarios/probe.py:3: terminate must be terminate() or terminate(state)",
        ),
        ("from amoc_gevent import htp", "scenarios/probe.py:1: ImportError: cannot import name"),
        (
            "from amoc_gevent import settings\nsettings.declare('X', 1, '')",
            "scenarios/probe.py:2: setting 'X': use small letters",
        ),
        (
            "from amoc_gevent import settings\nx = settings.declare('x', 1, '').value",
            "scenarios/probe.py:2: setting x has no value yet",
        ),
    ],
)
def test_each_mistake_is_one_line_with_its_place(here: Workspace, text: str, says: str) -> None:
    assert str(here.refused(text)).startswith(says)


def test_a_misspelt_callback_is_recognised(here: Workspace) -> None:
    error = here.refused("def init(): ...\ndef strat(user_id): ...")
    assert str(error).endswith("(did you mean strat?)")


def test_a_mistake_in_a_neighbour_is_placed_there(here: Workspace) -> None:
    here.write("neighbour_d.py", "\ndef broken(:\n")
    assert str(here.refused("import neighbour_d")).startswith("scenarios/neighbour_d.py:2: invalid")


def test_an_error_deep_in_a_library_is_placed_at_the_scenarios_own_line(here: Workspace) -> None:
    error = here.refused("import json\n\ndef load():\n    json.loads('{')\n\nload()")
    assert str(error).startswith("scenarios/probe.py:4: JSONDecodeError")
    first, second, *_ = error.detail.splitlines()
    assert first.startswith("Traceback")
    assert "scenarios/probe.py" in second
    assert "importlib" not in error.detail
    assert "json/decoder.py" in error.detail


def test_a_file_that_is_not_python_is_refused(here: Workspace) -> None:
    assert "a Python file" in str(here.refused("hello", "notes.txt"))


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        ("ValueError('no')", "ValueError: no"),
        ("SystemExit(2)", "SystemExit: sys.exit(2)"),
        ("gevent.Timeout(5)", "Timeout: 5 seconds"),
    ],
)
def test_an_init_that_raises_is_one_error_with_its_traceback(
    here: Workspace, raised: str, says: str
) -> None:
    scenario = here.load(f"import gevent\ndef init():\n    raise {raised}\n" + START)
    with pytest.raises(ScenarioError) as caught:
        scenario.init()
    assert str(caught.value) == f"scenarios/probe.py:3: init raised {says}"
    assert caught.value.detail.splitlines()[1].endswith('probe.py", line 3, in init')


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "gevent.GreenletExit"])
def test_an_interrupt_is_not_an_error_of_the_scenario(here: Workspace, raised: str) -> None:
    scenario = here.load(f"import gevent\ndef init():\n    raise {raised}\n" + START)
    with pytest.raises((KeyboardInterrupt, gevent.GreenletExit)):
        scenario.init()


def test_a_terminate_that_raises_says_so(here: Workspace) -> None:
    scenario = here.load(GOOD + "\ndef terminate():\n    1 / 0\n")
    with pytest.raises(ScenarioError, match=r"probe\.py:13: terminate raised ZeroDivisionError"):
        scenario.terminate(None)


# Requirements


def test_a_missing_requirement_is_named_with_the_command_that_installs_it(
    here: Workspace,
) -> None:
    here.write("requirements.txt", "# fakes\nAmoc_Not.There[extra]>=2 ; python_version > '3'\n")
    assert str(here.refused("\nimport amoc_not_there.sub")) == (
        "scenarios/probe.py:2: needs Amoc_Not.There[extra]>=2 of scenarios/requirements.txt, "
        "which is not installed: run pip install -r scenarios/requirements.txt"
    )


def test_an_unknown_module_names_all_missing_requirements(
    here: Workspace,
) -> None:
    here.write("requirements.txt", "pytest\nsome-package-nobody-has\n-r more.txt\n")
    says = str(here.refused("import amoc_not_there"))
    assert "nor is some-package-nobody-has of scenarios/requirements.txt" in says
    assert "pytest" not in says


def test_a_module_without_a_requirement_is_to_be_added(here: Workspace) -> None:
    says = str(here.refused("import amoc_not_there"))
    assert "needs the module amoc_not_there" in says
    assert "add its package to scenarios/requirements.txt" in says


def test_a_packages_requirements_are_beside_its_directory(here: Workspace) -> None:
    here.write("requirements.txt", "amoc_not_there\n")
    says = str(here.refused("import amoc_not_there", "pack/__init__.py"))
    assert "of scenarios/requirements.txt" in says


def test_a_missing_part_of_an_installed_package_is_not_a_missing_requirement(
    here: Workspace,
) -> None:
    says = str(here.refused("import json.nothing"))
    assert "requirements.txt" not in says
    assert "No module named 'json.nothing'" in says


# Places of errors


def raised_by(scenario: Scenario) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever the scenario raises
        scenario.start(1)
    return caught.value


def test_an_error_of_start_is_placed_in_the_scenarios_deepest_own_frame(here: Workspace) -> None:
    scenario = here.load("""\
        import json
        def init(): ...
        def start(user_id):
            inner()
        def inner():
            json.loads("{")
        """)
    error = raised_by(scenario)
    assert place_of(error, scenario.path) == "scenarios/probe.py:6"
    trace = trimmed_traceback(error, scenario)
    assert trace.splitlines()[1].strip().endswith("line 4, in start")
    assert __file__ not in trace


def test_an_error_without_a_frame_of_the_scenario_is_placed_where_it_was_raised(
    here: Workspace,
) -> None:
    scenario = here.load(GOOD)
    with pytest.raises(ValueError, match="base") as caught:
        int("x", 99)
    assert place_of(caught.value, scenario.path).startswith(f"{os.path.realpath(__file__)}:")
    assert place_of(ValueError(), scenario.path) == "scenarios/probe.py"


def test_installed_packages_below_the_scenarios_directory_are_not_its_own(
    here: Workspace,
) -> None:
    here.write("site-packages/__init__.py", "")
    library = here.scenarios / "site-packages" / "lib_e.py"
    library.write_text("def fail():\n    raise KeyError('x')\n")
    scenario = here.load(f"""\
        import sys
        sys.path.append({str(library.parent)!r})
        import lib_e
        def init(): ...
        def start(user_id):
            lib_e.fail()
        """)
    assert place_of(raised_by(scenario), scenario.path) == "scenarios/probe.py:6"


def test_a_cause_is_shown_trimmed_too(here: Workspace) -> None:
    scenario = here.load("""\
        def init(): ...
        def start(user_id):
            try:
                {}["x"]
            except KeyError as error:
                raise ValueError("no x") from error
        """)
    trace = trimmed_traceback(raised_by(scenario), scenario)
    assert "direct cause" in trace
    assert trace.endswith("ValueError: no x")


def test_settings_are_read_without_running_the_scenario(tmp_path: Path) -> None:
    path = tmp_path / "shop.py"
    path.write_text(
        "from amoc_gevent import settings\n"
        "from amoc_gevent.settings import declare\n"
        "url = settings.declare('url', 'http://a', 'the service')\n"
        "think = declare('think', '1s', 'a pause', type=settings.duration, update=True)\n"
        "fixed = declare('fixed', 1, 'a number', update=False)\n"
        "raise ValueError\n"
    )
    assert guessed_settings(path) == {"url": False, "think": True, "fixed": False}
    path.write_text("def start(\n")
    assert guessed_settings(path) == {}
    assert guessed_settings(tmp_path / "none.py") == {}


def test_a_scenario_without_a_name_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no scenario"):
        loader.find("")


def test_a_path_is_shown_if_the_working_directory_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert shown("/scenarios/shop.py") == "/scenarios/shop.py"


def test_the_manifest_describes_the_scenario_and_contains_no_values(here: Workspace) -> None:
    path = here.write(
        "shop.py",
        """\
        'Buys.'
        from amoc_gevent import settings
        for name in ("one", "two"):
            settings.declare(name, 1, "a number", unit="items", update=True)
        def init(): ...
        def start(user_id, state): ...
        """,
    )
    loaded = loader.load(path)
    settings.registry.configure({"one": "12345"}, {})
    manifest = loaded.manifest(["GET /"])
    assert (manifest.scenario, manifest.docstring) == ("shop", "Buys.")
    assert manifest.callbacks == ("init()", "start(user_id, state)")
    assert [(s.name, s.default, s.type, s.unit) for s in manifest.settings] == [
        ("one", "1", "int", "items"),
        ("two", "1", "int", "items"),
    ]
    assert manifest.operations == ("GET /",)
    assert "12345" not in str(manifest)


def test_a_scenario_that_declares_too_much_is_named_in_the_error(here: Workspace) -> None:
    path = here.write(
        "shop.py",
        """\
        from amoc_gevent import settings
        for number in range(1001):
            settings.declare(f"n{number}", 1, "a number")
        def init(): ...
        def start(user_id): ...
        """,
    )
    loaded = loader.load(path)
    with pytest.raises(ScenarioError, match="scenario shop declares too much: it has 1,001 sett"):
        loaded.manifest()
