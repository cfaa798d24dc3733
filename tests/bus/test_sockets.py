"""Sockets between the processes."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from socket import AF_UNIX, socket

import gevent
import pytest

from amoc_gevent.bus import addresses
from amoc_gevent.bus import sockets as bus
from amoc_gevent.bus.addresses import SocketWatch
from amoc_gevent.bus.directory import SocketDirectory
from amoc_gevent.bus.sockets import Puller, Pusher, Subscriber
from amoc_gevent.errors import AmocError
from tests.worker.crowd import until

SOCKETS = {
    "bound": lambda address: Puller(address).close(),
    "bound for orders": lambda address: bus.Publisher(address).close(),
    "connected": lambda address: Pusher(address, linger=0).close(),
    "connected for orders": lambda address: Subscriber(address).close(),
    "connected for plans": lambda address: bus.Listener(address, ()).close(),
}


@pytest.mark.parametrize("kind", SOCKETS)
@pytest.mark.parametrize("fault", ["entered by others", "a link", "no directory", "not there"])
def test_a_socket_directory_that_others_can_enter_is_refused(
    tmp_path: Path, kind: str, fault: str
) -> None:
    directory = tmp_path / "sockets"
    if fault == "entered by others":
        directory.mkdir(mode=0o700)
        directory.chmod(0o710)
    elif fault == "a link":
        (tmp_path / "own").mkdir(mode=0o700)
        directory.symlink_to(tmp_path / "own")
    elif fault == "no directory":
        directory.touch()
    with pytest.raises(AmocError, match=r"/sockets.*: .*(with mode 0710; chmod 700 /.*|irectory)$"):
        SOCKETS[kind](f"ipc://{directory}/plans")


def test_a_socket_stays_in_its_directory_whatever_becomes_of_the_path(tmp_path: Path) -> None:
    """Somebody who may rename what the path leads through has what is sent lead nowhere else."""
    deep = tmp_path / ("x" * 120)
    deep.mkdir(mode=0o700)
    address = f"ipc://{deep}/reports"
    pusher = Pusher(address)
    other = tmp_path / "mismatch"
    deep.rename(other)
    deep.mkdir(mode=0o700)
    false, true = Puller(address), Puller(f"ipc://{other}/reports")
    pusher.push(b"report")
    with gevent.Timeout(20):
        assert true.pull() == b"report"
    assert not false._socket.poll(0)
    for one in (pusher, false, true):
        one.close()


def remove_the_directory(directory: Path) -> None:
    shutil.rmtree(directory)


def remove_the_files(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()


def replace_the_directory(directory: Path) -> None:
    directory.rename(directory.with_name("before"))
    directory.mkdir(mode=0o700)


@pytest.mark.parametrize("fault", [remove_the_directory, remove_the_files, replace_the_directory])
def test_sockets_whose_files_were_removed_are_reopened_at_both_ends(
    fault: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(addresses, "CHECK_S", 0.0)
    sockets = tmp_path / "sockets"
    sockets.mkdir(mode=0o700)
    reports, plans = f"ipc://{sockets}/reports", f"ipc://{sockets}/plans"
    pusher, puller, publisher = Pusher(reports), Puller(reports), bus.Publisher(plans)
    here, there = SocketWatch(puller, publisher), SocketWatch(pusher)
    fault(sockets)
    late = [] if not sockets.exists() else [Pusher(reports)]  # of a process that starts now

    def comes() -> bool:
        for watch in (here, there):
            watch.check()
        for one in (pusher, *late):
            one.push(b"report")
        return all(puller._socket.poll(100) and puller.pull() for _ in (pusher, *late))

    with caplog.at_level(logging.WARNING):
        until(comes)
        here.check()
    assert sockets.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in sockets.iterdir()) == ["plans", "reports"]
    told = [f"sockets in {sockets} were removed or replaced and have been reopened"]
    sides = 1 if fault is remove_the_files else 2
    assert [record.getMessage() for record in caplog.records] == told * sides
    for one in (pusher, *late, puller, publisher):
        one.close()
    assert list(sockets.iterdir()) == []


def test_a_closed_socket_leaves_the_file_of_the_next_one(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/reports"
    first, second = Puller(address), Puller(address)
    first.close()
    assert (tmp_path / "reports").is_socket()
    second.close()


def test_a_directory_that_is_not_private_is_logged_once_and_used_once_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(addresses, "CHECK_S", 0.0)
    sockets = tmp_path / "sockets"
    sockets.mkdir(mode=0o700)
    puller = Puller(f"ipc://{sockets}/reports")
    watch = SocketWatch(puller)
    replace_the_directory(sockets)
    sockets.chmod(0o755)
    watch.check()
    watch.check()
    assert [one.getMessage().rpartition("; ")[2] for one in caplog.records] == [
        f"chmod 700 {sockets}"
    ]
    assert list(sockets.iterdir()) == []
    sockets.chmod(0o700)
    watch.check()
    assert (sockets / "reports").is_socket()
    puller.close()


def test_a_socket_file_of_a_killed_process_is_replaced(place: Path) -> None:
    sockets = SocketDirectory()
    address = sockets.endpoint("reports")
    with socket(AF_UNIX) as stale:
        stale.bind(address.removeprefix("ipc://"))
    pusher = Pusher(address)
    pusher.push(b"report")
    puller = Puller(address)
    with gevent.Timeout(20):
        assert puller.pull() == b"report"
    pusher.close()
    puller.close()
    sockets.close()


def test_reports_pushed_before_the_bind_arrive_in_order(place: Path) -> None:
    sockets = SocketDirectory()
    pusher = Pusher(sockets.endpoint("reports"))
    for number in range(5):
        assert pusher.push(b"%d" % number)
    puller = Puller(sockets.endpoint("reports"))
    with gevent.Timeout(20):
        assert [puller.pull() for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    pusher.close()
    puller.close()
    sockets.close()


def test_other_greenlets_run_during_a_flood_of_reports(place: Path) -> None:
    sockets = SocketDirectory()
    puller = Puller(sockets.endpoint("reports"))
    pusher = Pusher(sockets.endpoint("reports"))
    for _ in range(10 * bus.BURST):
        assert pusher.push(b"one")
    assert puller.pull() == b"one"
    until(lambda: puller._socket.poll(0), "more to be at hand")
    turns: list[int] = []
    taken = 0

    def take_turns() -> None:
        while True:
            turns.append(taken)
            gevent.sleep(0)

    other = gevent.spawn(take_turns)
    with gevent.Timeout(20):
        for taken in range(1, 10 * bus.BURST):  # noqa: B007  # the other one reads it
            assert puller.pull() == b"one"
    other.kill()
    assert len({turn // bus.BURST for turn in turns}) >= 9
    pusher.close()
    puller.close()
    sockets.close()


def test_a_late_subscriber_gets_only_the_newest_plan(place: Path) -> None:
    sockets = SocketDirectory()
    publisher = bus.Publisher(sockets.endpoint("plans"))
    subscriber = Subscriber(sockets.endpoint("plans"))
    heard: list[bytes] = []
    listening = gevent.spawn(lambda: [heard.append(subscriber.receive()) for _ in range(10_000)])

    def publish_until_heard() -> bool:
        publisher.publish(b"now")
        return bool(heard)

    until(publish_until_heard)
    listening.kill()
    for number in range(100):
        publisher.publish(b"%d" % number)
    until(lambda: subscriber._socket.poll(0))

    def newest() -> bytes:
        with gevent.Timeout(20):
            return subscriber.receive()

    until(lambda: newest() == b"99")
    publisher.close()
    subscriber.close()
    sockets.close()
