"""A home that others may write to is not used, and what is in a home is its owner's alone."""

import os
from pathlib import Path

import pytest

from amoc_gevent.daemon.home import Home
from amoc_gevent.daemon.pidfile import PidFile
from amoc_gevent.errors import AmocError
from amoc_gevent.loading.sources import SourceCache, pack
from tests import rights


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


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("way", ["directly", "by a link"])
def test_a_home_below_what_others_may_write_to_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, *, there: bool
) -> None:
    open_ = tmp_path / "open"
    home = open_ / "a/home"
    home.parent.mkdir(parents=True)
    if there:
        home.mkdir(mode=0o700)
    given = home
    if way == "by a link":
        given = tmp_path / "link/home"
        given.parent.symlink_to("open/a")
    open_.chmod(0o777)
    monkeypatch.setenv("AMOC_HOME", str(given))
    told = rf"^others can write to {open_}, .* in its place: chmod go-w {open_}, or set"
    for use in (Home.current, Home(given).make):
        with pytest.raises(AmocError, match=told):
            use()
    open_.chmod(0o1777)  # as /tmp is: nobody removes or renames what is another's
    Home.current().make()


@pytest.mark.processes
def test_a_home_below_a_directory_of_another_user_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rights.OTHER_USER.need()
    theirs = tmp_path / "theirs"
    (theirs / "home").mkdir(parents=True, mode=0o700)
    theirs.chmod(0o1755)
    os.chown(theirs, 65534, 65534)
    monkeypatch.setenv("AMOC_HOME", str(theirs / "home"))
    with pytest.raises(AmocError, match=rf"^{theirs} belongs to user nobody, who can"):
        Home.current()
    assert list((theirs / "home").iterdir()) == []


def test_links_that_lead_in_a_circle_are_one_line(place: Path) -> None:
    place.symlink_to(place)
    with pytest.raises(AmocError):
        Home.current().make()


def test_a_home_that_others_may_look_into_is_used_and_its_files_are_private(place: Path) -> None:
    place.mkdir(mode=0o755)
    home = Home.current().make()
    claim = PidFile(home.pid_file("master"), "master")
    SourceCache(home.path / "sources").put(*pack(Path(__file__)))
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
