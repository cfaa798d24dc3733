"""Makes the release: amoc, what it needs and the scenarios in one executable file.

It is a zip file that Python runs (PEP 441), made by shiv: unpacked once, it is plain files, so that
compiled modules load and workers start as fast as from an installation.
"""

import os
import platform
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from importlib.metadata import requires
from pathlib import Path
from tempfile import TemporaryDirectory

from shiv import __version__
from shiv.bootstrap.environment import Environment
from shiv.builder import create_archive
from shiv.constants import BUILD_AT_TIMESTAMP_FORMAT

from amoc_gevent.version import commit

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "dist/amoc"
INTERPRETER = "/usr/bin/env python3"
VERSION = "{}.{}".format(*sys.version_info[:2])
GENERATED = shutil.ignore_patterns("__pycache__")
PIP = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")


def main(target: Path) -> None:
    """Write the release to `target` and say what it is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="amoc-release-") as place:
        stage = Path(place) / "site-packages"
        _install(stage)
        for own in ("amoc_gevent", "scenarios"):
            shutil.copytree(ROOT / own, stage / own, ignore=GENERATED)
        (stage / "deploy").mkdir()
        for unit in (ROOT / "deploy").glob("*.service"):
            shutil.copy(unit, stage / "deploy")
        stamp = commit() or "no commit"
        (stage / "amoc_gevent/COMMIT").write_text(f"{stamp}\n")
        _pack(stage, target)
    size = target.stat().st_size / 1e6
    python = f"Python {VERSION} on {platform.machine()}"
    print(f"{os.path.relpath(target)}: {stamp}, {size:.0f} MB, for {python}")


def _install(stage: Path) -> None:
    """Install what amoc and the scenarios need."""
    needed = [found for found in requires("amoc_gevent") or () if "extra ==" not in found]
    wanted = (*needed, "--requirement", str(ROOT / "scenarios/requirements.txt"))
    options = ("--no-warn-conflicts", "--no-compile", "--target", str(stage))
    subprocess.run([*PIP, *options, *wanted], check=True)
    shutil.rmtree(stage / "bin", ignore_errors=True)


def _pack(stage: Path, target: Path) -> None:
    """Write the archive beside its place and then there, so that a running one stays whole."""
    now = datetime(1980, 1, 1, tzinfo=UTC)  # the zip epoch: the same files make the same release
    environment = Environment(
        shiv_version=__version__,
        built_at=now.strftime(BUILD_AT_TIMESTAMP_FORMAT),
        entry_point="amoc_gevent.__main__:main",
        compile_pyc=False,
    )
    new = target.with_name(f"{target.name}.new")
    create_archive([stage], new, INTERPRETER, "_launch:main", environment)
    launch = (ROOT / "deploy/launch.py").read_text()
    launch = launch.replace("@VERSION@", VERSION)
    with zipfile.ZipFile(new, "a", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo("_launch.py", (1980, 1, 1, 0, 0, 0))
        archive.writestr(entry, launch.replace("@MACHINE@", platform.machine()))
    new.replace(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
