"""The rules, each on a small package that breaks it."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from checks.exceptions import EXCEPTIONS
from checks.rules import (
    FUNCTION_LINES,
    MODULE_LINES,
    PACKAGE_MODULES,
    find_violations,
    read_modules,
    timed_waits,
)

ROOT = Path(__file__).parents[2]

Check = Callable[..., list[str]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Return a function that writes a package `pkg` and returns its violations as lines."""

    def check(files: dict[str, str], exceptions: dict[tuple[str, str], str] | None = None):
        for name, text in {"__init__": "", **files}.items():
            path = tmp_path / "pkg" / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text('"""A module."""\n' + textwrap.dedent(text))
        return [
            str(violation)
            for violation in find_violations(read_modules(tmp_path / "pkg"), exceptions or {})
        ]

    return check


@pytest.mark.parametrize(
    "back",
    [
        "import pkg.a",
        "from pkg import a",
        "from pkg.a import x",
        "from . import a",
        "from .a import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pkg.a import x",
        "def f():\n    from pkg.a import x",
    ],
)
def test_a_cycle_is_found_however_it_is_imported(check: Check, back: str) -> None:
    violations = check({"a": "from pkg.b import y", "b": back})
    assert violations == ["cycle: pkg.a: pkg.a -> pkg.b; pkg.b -> pkg.a"]


def test_a_cycle_through_a_third_module_names_each_arrow(check: Check) -> None:
    violations = check({"a": "import pkg.b", "b": "import pkg.c", "c": "import pkg.a"})
    assert violations == ["cycle: pkg.a: pkg.a -> pkg.b; pkg.b -> pkg.c; pkg.c -> pkg.a"]


def test_a_name_of_the_package_itself_goes_through_its_init(check: Check) -> None:
    violations = check(
        {"inner/__init__": "from pkg.inner.a import x", "inner/a": "from .. import inner"}
    )
    assert violations == ["cycle: pkg.inner: pkg.inner -> pkg.inner.a; pkg.inner.a -> pkg.inner"]


def test_arrows_that_all_point_downwards_are_no_cycle(check: Check) -> None:
    assert not check({"a": "import pkg.b, pkg.c", "b": "import pkg.c", "c": "import os"})


@pytest.mark.parametrize("over", [0, 1])
def test_a_module_has_a_largest_size(check: Check, over: int) -> None:
    violations = check({"a": "x = 1\n" * (MODULE_LINES - 1 + over)})
    assert violations == ["module size: pkg.a: 351 lines, at most 350"] * over


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_function_has_a_largest_size(check: Check, kind: str, over: int) -> None:
    body = "        x = 1\n" * (FUNCTION_LINES - 1 + over)
    violations = check({"a": f"class C:\n    {kind} f(self):\n{body}"})
    assert violations == ["function size: pkg.a:f: 51 lines, at most 50"] * over


@pytest.mark.parametrize("over", [0, 1])
def test_a_package_has_a_largest_number_of_modules(check: Check, over: int) -> None:
    modules = {f"inner/m{number}": "" for number in range(PACKAGE_MODULES + over)}
    violations = check({"inner/__init__": "", "inner/__main__": "", **modules})
    assert violations == ["package size: pkg.inner: 17 modules, at most 16"] * over


def test_a_class_name_occurs_once(check: Check) -> None:
    violations = check({"a": "class C: pass", "b": "def f():\n    class C: pass"})
    assert violations == ["class name: C: occurs in pkg.a, pkg.b"]


@pytest.mark.parametrize("foreign", ["Exception", "ValueError", "gevent.GreenletExit"])
def test_all_errors_have_one_root(check: Check, foreign: str) -> None:
    root = "class AmocError(Exception): pass\nclass Below(AmocError, ValueError): pass\n"
    violations = check({"errors": root, "a": f"class Other({foreign}): pass"})
    base = foreign.rpartition(".")[2]
    assert violations == [f"error root: pkg.a:Other: derives from {base}, not from AmocError"]


def test_a_module_has_a_docstring(check: Check, tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "bare.py").write_text("x = 1\n")
    assert check({}) == ["docstring: pkg.bare: the module has none"]


@pytest.mark.parametrize(
    ("text", "clock"),
    [
        ("import time\ntime.monotonic()", "time.monotonic"),
        ("from time import perf_counter", "time.perf_counter"),
        ("from datetime import datetime\ndatetime.now()", "datetime.now"),
        ("import datetime\ndatetime.date.today()", "date.today"),
    ],
)
def test_one_module_reads_the_clock(check: Check, text: str, clock: str) -> None:
    (violation,) = check({"clock": text, "a": text})
    assert violation.startswith("clock: pkg.a: ")
    assert violation.endswith(f" reads {clock}")


def test_sleeping_and_formatting_do_not_read_a_clock(check: Check) -> None:
    assert not check({"a": "import time\ntime.sleep(1)\ntime.strftime('%H')"})


def test_a_test_waits_for_a_condition_and_not_for_a_time(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(
        "def test_waits():\n    with x:\n        gevent.sleep(0.1)\n"
        "def test_yields():\n    gevent.sleep(0)\n    while y:\n        gevent.sleep(0.1)\n"
        "def test_user():\n    def start():\n        gevent.sleep(60)\n"
    )
    (violation,) = find_violations(read_modules(tmp_path), {}, [timed_waits])
    assert str(violation).endswith(".test_a:test_waits: gevent.sleep(0.1)")


def test_an_exception_covers_one_violation_and_is_reported_when_stale(check: Check) -> None:
    exceptions = {("class name", "C"): "why", ("clock", "pkg.a"): "why"}
    violations = check({"a": "class C: pass", "b": "class C: pass\nclass D: pass"}, exceptions)
    assert violations == ["clock: pkg.a: the exception is no longer needed; remove it"]


def test_the_package_keeps_the_rules() -> None:
    assert not find_violations(read_modules(ROOT / "amoc_gevent"), EXCEPTIONS)
    assert not find_violations(read_modules(ROOT / "tests"), {}, [timed_waits])
    assert all(EXCEPTIONS.values())
