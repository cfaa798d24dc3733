"""Reads a release, the file that `make release` builds."""

import hashlib
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from amoc_gevent.errors import UsageError


@dataclass(frozen=True, slots=True)
class Release:
    """The file's content, its SHA-256, its commit and its Python version, such as "3.11"."""

    data: bytes
    sha256: str
    commit: str
    python: str


def read(path: Path) -> Release:
    """Return the release at `path`. Raises UsageError."""
    try:
        data = path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            commit = archive.read("site-packages/amoc_gevent/COMMIT").decode().strip()
            launch = archive.read("_launch.py").decode()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): `make release`") from error
    except (zipfile.BadZipFile, KeyError) as error:
        raise UsageError(f"{path} is not a release of amoc: `make release` builds one") from error
    python = re.search(r'^BUILT_FOR = "(.+)"', launch, re.MULTILINE)
    return Release(data, hashlib.sha256(data).hexdigest(), commit, python[1] if python else "3.11")
