"""Reads a scenario's `requirements.txt` and gives advice on missing packages."""

import re
import sys
from importlib import metadata
from pathlib import Path

from amoc_gevent.loading.places import shown

FILE = "requirements.txt"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def advice(module: str, scenario: Path) -> str:
    """Return what to do about `module`, which the scenario imports and which is not installed.

    Names the matching requirement, or the missing ones that may provide it under another name.
    """
    wanted = module.partition(".")[0]
    file = requirements_file(scenario)
    command = f"pip install -r {shown(file)}"
    listed = _listed(file)
    for requirement in listed:
        if _normal(_distribution(requirement)) == _normal(wanted):
            return f"needs {requirement} of {shown(file)}, which is not installed: run {command}"
    missing = [requirement for requirement in listed if not _installed(requirement)]
    if missing:
        return (
            f"needs the module {wanted}, which is not installed, nor is "
            f"{', '.join(missing)} of {shown(file)}: run {command}"
        )
    return (
        f"needs the module {wanted}, which is not installed: add its package to {shown(file)}, "
        f"then run {command}"
    )


def requirements_file(scenario: Path) -> Path:
    """Return the requirements file of a scenario: beside it, or beside its package's directory."""
    beside = scenario.parent / FILE
    if scenario.name == "__init__.py" and not beside.exists():
        return scenario.parent.parent / FILE
    return beside


def is_missing(module: str) -> bool:
    """Return whether the import of `module` failed because its whole package is missing."""
    return module.partition(".")[0] not in sys.modules


def _listed(file: Path) -> list[str]:
    """Return the requirements in `file`, without comments, options and markers."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return []
    bare = (re.split(r"\s#|;", line)[0].strip() for line in lines)
    return [line for line in bare if _NAME.match(line)]


def _distribution(requirement: str) -> str:
    found = _NAME.match(requirement)
    return found[0] if found else requirement


def _installed(requirement: str) -> bool:
    try:
        metadata.version(_distribution(requirement))
    except metadata.PackageNotFoundError:
        return False
    return True


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
