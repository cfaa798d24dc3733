"""A home that others may write to is not used, and what is in a home is its owner's alone."""

from pathlib import Path

import pytest

from amoc_gevent.daemon.home import Home
from amoc_gevent.daemon.pidfile import PidFile
from amoc_gevent.errors import AmocError
from amoc_gevent.loading.sources import Shelf, pack


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the home is."""
    monkeypatch.setenv("AMOC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_home_is_its_owners_alone(place: Path) -> None:
    home = Home.current().make()
    assert [mode(path) for path in (home.path, home.sockets, home.logs)] == [0o700] * 3


@pytest.mark.parametrize("others", [0o775, 0o757, 0o777, 0o1777])
def test_a_home_that_others_may_write_to_is_not_used(place: Path, others: int) -> None:
    place.mkdir()
    place.chmod(others)
    for use in (Home.current, Home(place).make):
        with pytest.raises(AmocError, match=r"^others can write to AMOC_HOME .*: chmod 700 /"):
            use()
    assert list(place.iterdir()) == []


def test_a_home_that_others_may_look_into_is_used_and_its_files_are_private(place: Path) -> None:
    place.mkdir(mode=0o755)
    home = Home.current().make()
    claim = PidFile(home.pid_file("master"), "master")
    Shelf(home.path / "sources").put(*pack(Path(__file__)))
    assert {path.name: mode(path) & 0o077 for path in home.path.iterdir()} == {
        "master.pid": 0,
        "sockets": 0,
        "log": 0,
        "sources": 0,
    }
    claim.release()


def test_a_link_of_ones_own_to_a_home_is_followed(place: Path, tmp_path: Path) -> None:
    place.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    assert Home.current().make().path == place
    assert (tmp_path / "elsewhere/sockets").is_dir()
