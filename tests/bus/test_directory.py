"""The directory that the sockets between processes live in."""

import fcntl
import os
from pathlib import Path

import pytest

from amoc_gevent.bus.directory import PREFIX, SocketDirectory, remove_abandoned
from amoc_gevent.bus.sockets import Puller


def test_the_directory_is_the_owners_alone_and_goes_when_it_is_closed(place: Path) -> None:
    sockets = SocketDirectory()
    assert sockets.path.parent == place
    assert sockets.path.stat().st_mode & 0o777 == 0o700
    (sockets.path / "plans").touch()
    sockets.close()
    sockets.close()
    assert list(place.iterdir()) == []


def test_a_directory_whose_process_has_died_goes_and_one_in_use_stays(place: Path) -> None:
    abandoned = place / f"{PREFIX}dead"
    abandoned.mkdir()
    (abandoned / "plans").touch()
    in_use = SocketDirectory()
    assert not abandoned.exists()
    other = SocketDirectory()
    assert in_use.path.exists()
    other.close()
    in_use.close()


def test_other_directories_are_not_removed(place: Path) -> None:
    (place / "amoc-console-x").mkdir()
    (place / f"{PREFIX}file").touch()
    (place / f"{PREFIX}link").symlink_to(place / "amoc-console-x")
    SocketDirectory().close()
    assert sorted(path.name for path in place.iterdir()) == [
        "amoc-console-x",
        f"{PREFIX}file",
        f"{PREFIX}link",
    ]


def test_a_lock_of_another_process_is_respected(place: Path) -> None:
    used = place / f"{PREFIX}used"
    used.mkdir()
    lock = os.open(used, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    remove_abandoned(place)
    assert used.exists()
    os.close(lock)
    remove_abandoned(place)
    assert not used.exists()


@pytest.mark.parametrize("bad", ["/nonexistent/directory", "x" * 200])
def test_where_sockets_cannot_be_they_go_elsewhere(
    bad: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = bad if bad.startswith("/") else str(tmp_path / bad)
    monkeypatch.setenv("XDG_RUNTIME_DIR", given)
    sockets = SocketDirectory()
    try:
        assert not sockets.path.is_relative_to(given)
        puller = Puller(sockets.endpoint("local.reports"))
        puller.close()
    finally:
        sockets.close()
