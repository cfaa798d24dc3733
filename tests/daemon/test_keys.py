"""The keys of a home: made once, allowed by name, revoked, and never half written or world-read."""

import re
import stat
from pathlib import Path

import pytest
import zmq

from amoc_gevent.daemon import keys
from amoc_gevent.daemon.home import Home
from amoc_gevent.errors import AmocError, UsageError

ONE, TWO = (zmq.curve_keypair()[0].decode() for _ in range(2))


@pytest.fixture
def place(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_a_new_home_has_none(place: Home) -> None:
    assert keys.own_keypair(place) is None
    assert keys.master_key(place) is None
    assert keys.allowed(place) == {}


def test_a_pair_that_was_made_is_a_pair_of_curve(place: Home) -> None:
    public = keys.make(place)
    pair = keys.own_keypair(place)
    assert pair is not None
    assert pair[0] == public
    assert zmq.curve_public(pair[1]) == public
    assert not public.startswith(b"-")


def test_secrets_are_their_owners_alone(place: Home) -> None:
    keys.make(place)
    secret = place.keys / "own.secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.keys.stat().st_mode) == 0o700

    secret.chmod(0o640)
    with pytest.raises(AmocError, match="can be read by others"):
        keys.own_keypair(place)


def test_a_pair_is_not_made_twice(place: Home) -> None:
    public = keys.make(place)
    with pytest.raises(AmocError, match=r"own\.secret exists"):
        keys.make(place)
    assert (place.keys / "own.public").read_bytes() == public + b"\n"


def test_machines_are_allowed_by_name_until_they_are_revoked(place: Home) -> None:
    keys.allow(place, "one", ONE)
    keys.allow(place, "two.example", f" {TWO}\n")
    assert keys.allowed(place) == {ONE: "one", TWO: "two.example"}
    keys.revoke(place, "one")
    assert keys.allowed(place) == {TWO: "two.example"}


def test_a_machine_may_get_another_key(place: Home) -> None:
    keys.allow(place, "one", ONE)
    keys.allow(place, "one", TWO)
    assert keys.allowed(place) == {TWO: "one"}


def test_a_homes_own_node_may_join_its_own_master(place: Home) -> None:
    own = keys.make(place).decode()
    keys.allow(place, "one", ONE)
    assert keys.allowed(place) == {own: keys.THIS_MACHINE, ONE: "one"}


def test_a_node_trusts_one_master(place: Home) -> None:
    keys.trust_master(place, ONE)
    keys.trust_master(place, TWO)
    assert keys.master_key(place) == TWO.encode()


@pytest.mark.parametrize(
    "key",
    ["", "short", ONE + "x", ONE[:-1] + "'", "#" * 40, ONE[:-1] + "é", "x" * 100_000],
    ids=["none", "short", "longer", "a quote", "comments", "an accent", "very long"],
)
def test_an_invalid_key_is_refused_in_one_line(place: Home, key: str) -> None:
    for refuse in (lambda: keys.allow(place, "one", key), lambda: keys.trust_master(place, key)):
        with pytest.raises(UsageError, match="is 40 characters of Z85") as caught:
            refuse()
        assert len(str(caught.value)) < 200
    assert keys.allowed(place) == {}


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "a b", "-x", "x" * 65, "é"])
def test_an_invalid_name_is_refused(place: Home, name: str) -> None:
    with pytest.raises(UsageError, match="is not a machine name"):
        keys.allow(place, name, ONE)


def test_one_key_is_not_two_machines(place: Home) -> None:
    keys.allow(place, "one", ONE)
    with pytest.raises(UsageError, match="is the key of one already"):
        keys.allow(place, "two", ONE)


def test_revoking_an_unknown_machine_lists_the_allowed_ones(place: Home) -> None:
    with pytest.raises(UsageError, match="no machine one is allowed; there is none"):
        keys.revoke(place, "one")
    keys.make(place)
    keys.allow(place, "two", TWO)
    with pytest.raises(UsageError, match="no machine one is allowed; there are two"):
        keys.revoke(place, "one")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"short", b"0" * 41])
def test_a_file_that_holds_no_key_is_named_and_keeps_nobody_else_out(
    place: Home, content: bytes
) -> None:
    keys.allow(place, "one", ONE)
    keys.allow(place, "two", TWO)
    (place.keys / "allowed/one.public").write_bytes(content)
    told: list[str] = []
    assert keys.allowed(place, told.append) == {TWO: "two"}
    (line,) = told
    assert re.search(r"one\.public: a key is 40 characters.*; nobody joins with it", line)


def test_a_key_that_cannot_be_read_is_named(place: Home) -> None:
    (place.make().keys / "allowed/one.public").mkdir(parents=True)
    told: list[str] = []
    assert keys.allowed(place, told.append) == {}
    assert "one.public cannot be read: Is a directory" in told[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_keys_and_is_best_left_out(place: Home, host: str) -> None:
    with pytest.raises(UsageError, match=r"leave out --bind.*`amoc keys make`, or use --insecure"):
        keys.check_master(place, host, insecure=False)
    with pytest.raises(UsageError, match=r"leave out --master .*`amoc keys make` here.*--insecure"):
        keys.check_node(place, host, insecure=False)
    for check in (keys.check_master, keys.check_node):
        check(place, host, insecure=True)
    keys.make(place)
    keys.check_master(place, host, insecure=False)
    with pytest.raises(UsageError, match=r"leave out --master .*trust-master KEY.*--insecure"):
        keys.check_node(place, host, insecure=False)
    keys.trust_master(place, ONE)
    keys.check_node(place, host, insecure=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "fe80::1%lo"])
def test_beyond_loopback_a_master_needs_a_pair(place: Home, host: str) -> None:
    with pytest.raises(UsageError, match=r"make keys with `amoc keys make`, or use --insecure"):
        keys.check_master(place, host, insecure=False)
    keys.check_master(place, host, insecure=True)
    keys.make(place)
    keys.check_master(place, host, insecure=False)


def test_beyond_loopback_a_node_needs_a_pair_and_a_master_to_trust(place: Home) -> None:
    with pytest.raises(UsageError, match="`amoc keys make` here"):
        keys.check_node(place, "192.0.2.1", insecure=False)
    keys.check_node(place, "192.0.2.1", insecure=True)
    keys.make(place)
    with pytest.raises(UsageError, match="`amoc keys trust-master KEY`"):
        keys.check_node(place, "192.0.2.1", insecure=False)
    keys.trust_master(place, ONE)
    keys.check_node(place, "192.0.2.1", insecure=False)


def test_a_name_that_nobody_knows_is_a_wrong_use(place: Home) -> None:
    for check in (keys.check_master, keys.check_node):
        with pytest.raises(UsageError, match=r"no.such.host.invalid is not an address"):
            check(place, "no.such.host.invalid", insecure=False)


def test_with_keys_a_name_need_not_be_known_yet(place: Home) -> None:
    keys.make(place)
    keys.trust_master(place, ONE)
    keys.check_node(place, "no.such.host.invalid", insecure=False)


MAKE, ALLOW, TRUST = "`amoc keys make` here", "`amoc keys allow` on", "`amoc keys trust-master KEY`"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "192.0.2.1"])
@pytest.mark.parametrize(
    ("own", "trusts", "steps"),
    [
        (False, False, {MAKE, ALLOW, TRUST}),
        (False, True, {MAKE, ALLOW}),
        (True, False, {TRUST}),
    ],
)
def test_a_node_is_told_each_step_that_its_keys_lack(
    place: Home, host: str, steps: set[str], *, own: bool, trusts: bool
) -> None:
    if own:
        keys.make(place)
    if trusts:
        keys.trust_master(place, ONE)
    with pytest.raises(UsageError) as caught:
        keys.check_node(place, host, insecure=False)
    assert {step for step in (MAKE, ALLOW, TRUST) if step in str(caught.value)} == steps
    keys.check_node(place, host, insecure=True)


@pytest.mark.parametrize("host", ["one:5710", "10.0.0.1:5710", "[::1]:5710", "tcp://one", "one:"])
@pytest.mark.parametrize("insecure", [False, True])
def test_a_port_in_the_masters_host_is_refused(place: Home, host: str, *, insecure: bool) -> None:
    with pytest.raises(UsageError, match="HOST without port; use --port"):
        keys.check_node(place, host, insecure=insecure)
