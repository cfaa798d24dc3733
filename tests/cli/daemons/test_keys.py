"""`amoc keys`: what is listed, and how keys come in."""

import json
from pathlib import Path

import zmq
from click.testing import CliRunner, Result

from amoc_gevent.cli import main as cli

PAIRS = iter(zmq.curve_keypair, ())
KEY = next(public for public, _ in PAIRS if not public.startswith(b"-")).decode()


def amoc(*args: str, given: str = "") -> Result:
    return CliRunner().invoke(cli.main, ["keys", *args], prog_name="amoc", input=given)


def test_a_new_home_is_told_what_to_do(home: Path) -> None:
    assert (
        amoc().output
        == "own     none: `amoc keys make` makes a pair\nmaster  none is trusted yet\n"
    )
    assert json.loads(amoc("--json").output) == {"own": None, "master": None, "allowed": {}}


def test_keys_are_made_allowed_trusted_listed_and_revoked(home: Path) -> None:
    own = amoc("make").output.strip()
    assert amoc("allow", "one", KEY).output == f"one may join the master of {home}\n"
    assert amoc("trust-master", KEY).exit_code == 0
    assert amoc().output == f"own     {own}\nmaster  {KEY}\nallowed one {KEY}\n"
    listed = {"own": own, "master": KEY, "allowed": {"one": KEY}}
    assert json.loads(amoc("--json").output) == listed
    assert amoc("revoke", "one").output == "one may no longer join\n"
    assert json.loads(amoc("--json").output)["allowed"] == {}


def test_a_key_can_be_piped_in(home: Path) -> None:
    assert amoc("allow", "one", "-", given=f"{KEY}\n").exit_code == 0
    assert amoc("trust-master", "-", given=f"{KEY}\n").exit_code == 0
    listed = {"own": None, "master": KEY, "allowed": {"one": KEY}}
    assert json.loads(amoc("--json").output) == listed


def test_no_secret_is_ever_shown(home: Path) -> None:
    amoc("make")
    secret = (home / "keys/own.secret").read_text().strip()
    assert len(secret) == 40
    for shown in (amoc(), amoc("--json")):
        assert secret not in shown.output


def test_what_is_wrong_is_a_line_and_its_code(home: Path) -> None:
    for args, code, said in (
        (("allow", "one", "abc"), 2, "the public key is 40 characters of Z85"),
        (("allow", "a/b", KEY), 2, "'a/b' is not a machine name"),
        (("revoke", "one"), 2, "no machine one is allowed"),
        (("allow", "one"), 2, "missing argument 'PUBLIC_KEY'"),
    ):
        result = amoc(*args)
        assert result.exit_code == code
        assert said in result.stderr


def test_keys_that_exist_are_kept_and_shown_again(home: Path) -> None:
    key = amoc("make").stdout
    again = amoc("make")
    assert (again.exit_code, again.stdout) == (0, key)
    assert again.stderr == f"amoc: {home / 'keys'} has a pair of keys already\n"
