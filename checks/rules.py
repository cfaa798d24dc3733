"""The rules: import cycles, sizes, class names, error root, docstrings, clock and timed waits.

`read_modules` parses a package, and `find_violations` returns the violations. Each rule is
a function from modules to violations. An exception names a rule and a place, with a reason.
"""

import ast
import builtins
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MODULE_LINES = 350
FUNCTION_LINES = 50
PACKAGE_MODULES = 16
ERROR_ROOT = "AmocError"
FOREIGN_ROOTS = {"GreenletExit"} | {
    name
    for name, found in vars(builtins).items()
    if isinstance(found, type) and issubclass(found, BaseException)
}
CLOCK = "clock"  # the only module that may read a clock, relative to the package
CLOCK_READS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"}
DATE_READS = {"now", "utcnow", "today"}


@dataclass(frozen=True)
class Module:
    """A module's dotted name, whether it is a package's `__init__`, its text and its tree."""

    name: str
    is_init: bool
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        """The name of the package that contains the module."""
        return self.name if self.is_init else self.name.rpartition(".")[0]


@dataclass(frozen=True)
class Violation:
    """A rule broken at a place: a module, `module:function`, `module:class`, class or package."""

    rule: str
    place: str
    what: str

    def __str__(self) -> str:
        """Return the line to print."""
        return f"{self.rule}: {self.place}: {self.what}"


Modules = Mapping[str, Module]
Rule = Callable[[Modules], Iterator[Violation]]


def read_modules(package: Path) -> dict[str, Module]:
    """Parse all modules below the directory `package`, keyed by dotted name."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        is_init = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_init else parts)
        text = path.read_text(encoding="utf-8")
        modules[name] = Module(name, is_init, text, ast.parse(text))
    return modules


def find_violations(
    modules: Modules,
    exceptions: Mapping[tuple[str, str], str],
    rules: Sequence[Rule] | None = None,
) -> list[Violation]:
    """Return the violations without an exception, and the exceptions without a violation.

    The default `rules` are `RULES`.
    """
    violations = [violation for rule in rules or RULES for violation in rule(modules)]
    covered = {(violation.rule, violation.place) for violation in violations} & set(exceptions)
    stale = [
        Violation(rule, place, "the exception is no longer needed; remove it")
        for rule, place in exceptions
        if (rule, place) not in covered
    ]
    return [b for b in violations if (b.rule, b.place) not in covered] + stale


def cycles(modules: Modules) -> Iterator[Violation]:
    """Report each cycle of imports.

    Imports for types only and imports inside functions count. The implicit import of a parent
    package does not, because every `__init__` that re-exports names would form a cycle.
    """
    graph = {module.name: _imports(module, modules) for module in modules.values()}
    for group in _strong_components(graph):
        members = sorted(group)
        arrows = [
            f"{source} -> {target}"
            for source in members
            for target in sorted(graph[source] & group)
        ]
        yield Violation("cycle", members[0], "; ".join(arrows))


def module_size(modules: Modules) -> Iterator[Violation]:
    """Report each module of more than `MODULE_LINES` lines."""
    for module in modules.values():
        lines = len(module.text.splitlines())
        if lines > MODULE_LINES:
            yield Violation("module size", module.name, f"{lines} lines, at most {MODULE_LINES}")


def function_size(modules: Modules) -> Iterator[Violation]:
    """Report each function of more than `FUNCTION_LINES` lines, decorators excluded."""
    for module in modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    place = f"{module.name}:{node.name}"
                    yield Violation(
                        "function size", place, f"{lines} lines, at most {FUNCTION_LINES}"
                    )


def package_size(modules: Modules) -> Iterator[Violation]:
    """Report each package of more than `PACKAGE_MODULES` modules.

    `__init__` and `__main__` do not count.
    """
    counts: dict[str, int] = defaultdict(int)
    for module in modules.values():
        if not module.is_init and not module.name.endswith(".__main__"):
            counts[module.package] += 1
    for package, count in counts.items():
        if count > PACKAGE_MODULES:
            yield Violation("package size", package, f"{count} modules, at most {PACKAGE_MODULES}")


def class_names(modules: Modules) -> Iterator[Violation]:
    """Report each class name that is used more than once."""
    places: dict[str, list[str]] = defaultdict(list)
    for module in modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module.name)
    for name, owners in sorted(places.items()):
        if len(owners) > 1:
            yield Violation("class name", name, f"occurs in {', '.join(owners)}")


def one_error_root(modules: Modules) -> Iterator[Violation]:
    """Report each exception class that does not derive from `ERROR_ROOT`."""
    classes = {
        node.name: (module.name, {ast.unparse(base).rpartition(".")[2] for base in node.bases})
        for module in modules.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    }
    for name, (place, bases) in classes.items():
        if name != ERROR_ROOT and bases & FOREIGN_ROOTS and not bases & set(classes):
            what = f"derives from {', '.join(sorted(bases))}, not from {ERROR_ROOT}"
            yield Violation("error root", f"{place}:{name}", what)


def docstrings(modules: Modules) -> Iterator[Violation]:
    """Report each module without a docstring."""
    for module in modules.values():
        if not ast.get_docstring(module.tree):
            yield Violation("docstring", module.name, "the module has none")


def one_clock(modules: Modules) -> Iterator[Violation]:
    """Report each place outside the module `CLOCK` that reads a clock."""
    for module in modules.values():
        if module.name.partition(".")[2] == CLOCK:
            continue
        for node in ast.walk(module.tree):
            if clock := _clock_read(node):
                line = getattr(node, "lineno", 0)
                yield Violation("clock", module.name, f"line {line} reads {clock}")


def timed_waits(modules: Modules) -> Iterator[Violation]:
    """Report each test that sleeps for a time instead of waiting for a condition.

    A sleep in a loop, or in a function inside the test, is part of the tested behaviour. A sleep of
    0 only yields. Tests that need a fault to last use the helpers in `tests.lasting`.
    """
    for module in modules.values():
        for test in ast.walk(module.tree):
            if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
                for call in _calls_once(test.body):
                    text = ast.unparse(call)
                    if ast.unparse(call.func).endswith("sleep") and not text.endswith("(0)"):
                        yield Violation("timed wait", f"{module.name}:{test.name}", text)


RULES: list[Rule] = [
    cycles,
    module_size,
    function_size,
    package_size,
    class_names,
    one_error_root,
    docstrings,
    one_clock,
]


def _calls_once(statements: Iterable[ast.stmt]) -> Iterator[ast.Call]:
    """Yield the calls that are statements, outside loops and inner functions."""
    for statement in statements:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            yield statement.value
        elif isinstance(statement, ast.With | ast.If | ast.Try):
            inner = [*statement.body]
            if not isinstance(statement, ast.With):
                inner += statement.orelse
            if isinstance(statement, ast.Try):
                inner += statement.finalbody
            yield from _calls_once(inner)


def _clock_read(node: ast.AST) -> str:
    """Return the name of the clock that `node` reads or imports, "" if none."""
    if isinstance(node, ast.ImportFrom) and node.module == "time":
        return next((f"time.{each.name}" for each in node.names if each.name in CLOCK_READS), "")
    if isinstance(node, ast.Attribute):
        owner = ast.unparse(node.value).rpartition(".")[2]
        reads = {"time": CLOCK_READS, "datetime": DATE_READS, "date": DATE_READS}.get(owner, set())
        return f"{owner}.{node.attr}" if node.attr in reads else ""
    return ""


def _imports(module: Module, modules: Modules) -> set[str]:
    """Return the modules of the package that `module` imports anywhere."""
    found = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(node, module)
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                found.add(inner if inner in modules else origin)
    return (found & set(modules)) - {module.name}


def _origin(node: ast.ImportFrom, module: Module) -> str:
    """Return the absolute dotted name after `from`, relative imports resolved."""
    if not node.level:
        return node.module or ""
    base = module.package.split(".")
    base = base[: len(base) - (node.level - 1)]
    return ".".join([*base, *([node.module] if node.module else [])])


def _strong_components(graph: Mapping[str, set[str]]) -> Iterator[set[str]]:
    """Yield the groups of two or more nodes that can all reach each other."""
    reach = {node: _reachable(node, graph) for node in graph}
    seen: set[str] = set()
    for node in sorted(graph):
        if node in reach[node] and node not in seen:
            group = {other for other in reach[node] if node in reach[other]}
            seen |= group
            yield group


def _reachable(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    """Return the nodes reachable from `start` over one or more edges."""
    found: set[str] = set()
    pending = [start]
    while pending:
        for target in graph[pending.pop()] - found:
            found.add(target)
            pending.append(target)
    return found
