"""Real XMPP servers for the tests: Prosody and ejabberd from Debian, each set up from nothing.

Both serve the domain localhost on a port of their own (plain and STARTTLS), on another with direct
TLS, and to an external component, with accounts `user_1` .. `user_2000`, `password_1` ..
`password_2000`. They have stream management, carbons, MAM, MUC, PubSub, PEP and registration
without limits, and offer PLAIN without TLS too. ejabberd has one more port with direct TLS, which
lets in who has a client certificate (SASL EXTERNAL).

A server keeps what was said: archives, and messages for those who were not there. So the tests
share the accounts up to `SHARED` for what does not ask for that; who counts messages takes accounts
that nobody has had (`take`).
"""

import os
import shlex
import shutil
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from amoc_gevent import clock
from tests.servers import Authority, Process, listening_socket, require

ACCOUNTS = 2000
SHARED = 500
ATTEMPTS = 5
START = 30.0
STANZA_MAX = 262_144


class XmppServer(ABC):
    """What both have in common; the ports are free ones of loopback.

    `domain` is what accounts and certificate are for, `anonymous` a domain that lets anybody in
    (SASL ANONYMOUS), `muc` and `pubsub` are services, `component` connects from outside with
    `component_secret` (XEP-0114).
    """

    name: str
    package: str
    executable: str
    domain = "localhost"
    anonymous = "anonymous.localhost"
    muc = "conference.localhost"
    pubsub = "pubsub.localhost"
    component = "component.localhost"
    component_secret = "secret"

    def __init__(self, directory: Path, authority: Authority, accounts: int = ACCOUNTS) -> None:
        self._program = require(self.executable, self.package)
        self.directory = directory
        self.accounts = accounts
        self._taken = SHARED
        self.ca = authority.file
        self.certificate = directory / "server.pem"
        self._certify(authority)
        for attempt in range(1, ATTEMPTS + 1):
            self._take_ports()
            self.process = self._start()
            try:
                self._await()
            except AssertionError:
                self.process.stop()
                if attempt == ATTEMPTS or not self._port_taken():
                    raise
            except BaseException:
                self.process.stop()
                raise
            else:
                break

    def jid(self, number: int) -> str:
        """The bare JID of an account."""
        return f"user_{number}@{self.domain}"

    def password(self, number: int) -> str:
        """Its password."""
        return f"password_{number}"

    def take(self, count: int) -> range:
        """Accounts that no test has used: their archives are empty, and nothing waits for them.

        The first is odd, as scenarios that pair users by their ids want it.
        """
        taken = range(self._taken + 1, self._taken + count + 1)
        assert taken.stop - 1 <= self.accounts, f"too few of {self.accounts} accounts are unused"
        self._taken += count + count % 2
        return taken

    def log(self) -> str:
        """All that it has logged."""
        return self.process.said()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def _certify(self, authority: Authority) -> None:
        """Write one file of key and chain, for a month: ejabberd's timers reach no further."""
        issued = authority.ca.issue_cert(
            self.domain,
            f"*.{self.domain}",
            self.anonymous,  # OpenSSL lets a wildcard stand for no part of so short a name
            "127.0.0.1",
            not_after=datetime.fromtimestamp(clock.wall(), UTC) + timedelta(days=30),
        )
        self.certificate.write_bytes(issued.private_key_and_cert_chain_pem.bytes())

    def _take_ports(self) -> None:
        sockets = [listening_socket() for _ in range(4)]
        self.port, self.tls_port, self.component_port, self.certificate_port = (
            sock.getsockname()[1] for sock in sockets
        )
        for sock in sockets:
            sock.close()

    @property
    def ports(self) -> set[int]:
        """All that it listens on."""
        return {self.port, self.tls_port, self.component_port}

    def _filled(self, template: str, **more: str) -> str:
        """Fill in this server's attributes and `more` by their names."""
        names = {name: getattr(self, name) for name in dir(type(self)) if name[0] != "_"}
        return template.format(**names, **vars(self), **more, stanza_max=STANZA_MAX)

    @abstractmethod
    def _start(self) -> Process:
        """Write the configuration and start a process."""

    @abstractmethod
    def _await(self) -> None:
        """Return when all ports answer and all accounts are there."""

    def _port_taken(self) -> bool:
        """Whether somebody else was faster to take one of the ports."""
        said = self.log().lower()
        return "in use" in said or "eaddrinuse" in said


PROSODY = """
run_as_root = true
daemonize = false
pidfile = "{directory}/prosody.pid"
data_path = "{directory}/data"
certificates = "{directory}"
log = {{ {{ levels = {{ min = "info" }}; to = "console"; timestamps = true }} }}
modules_enabled = {{
    "disco", "roster", "saslauth", "tls", "blocklist", "carbons", "pep", "private", "smacks",
    "vcard4", "vcard_legacy", "csi_simple", "ping", "register", "time", "version", "mam",
    "bookmarks", "posix",
}}
modules_disabled = {{ "s2s" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{ {tls_port} }}
component_ports = {{ {component_port} }}
component_interfaces = {{ "127.0.0.1" }}
s2s_ports = {{ }}
http_ports = {{ }}
https_ports = {{ }}
network_settings = {{ tcp_backlog = 4096 }}
ssl = {{ certificate = "{certificate}", key = "{certificate}" }}
c2s_direct_tls_ssl = {{ certificate = "{certificate}", key = "{certificate}" }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
c2s_stanza_size_limit = {stanza_max}
authentication = "internal_plain"
allow_registration = true
storage = {{ archive = "memory", muc_log = "memory" }}
gc = {{ mode = "incremental", threshold = 1000 }}
max_archive_query_results = 250
smacks_hibernation_time = 120
smacks_max_queue_size = 10000

VirtualHost "{domain}"
VirtualHost "{anonymous}"
    authentication = "anonymous"
    allow_registration = false
Component "{muc}" "muc"
    modules_enabled = {{ "muc_mam" }}
Component "{pubsub}" "pubsub"
    admins = {{ {admins} }}  -- who else may create nodes there
Component "{component}"
    component_secret = "{component_secret}"
"""


class Prosody(XmppServer):
    """Prosody 0.12 with accounts in files, archives in memory.

    By default its garbage collector never rests, which took half of its time under load.
    """

    name = "prosody"
    package = "prosody"
    executable = "prosody"

    def _start(self) -> Process:
        accounts = self.directory / "data" / self.domain / "accounts"
        accounts.mkdir(parents=True, exist_ok=True)
        for number in range(1, self.accounts + 1):
            text = f'return {{ ["password"] = "{self.password(number)}" }};\n'
            (accounts / f"user%5f{number}.dat").write_text(text)
        config = self.directory / "prosody.cfg.lua"
        admins = ", ".join(f'"{self.jid(number)}"' for number in range(1, self.accounts + 1))
        config.write_text(self._filled(PROSODY, admins=admins))
        return Process(
            [self._program, "-F", "--config", str(config)],
            self.directory / f"output-{self.port}",
            env=_PLACE,
        )

    def _await(self) -> None:
        for service in ("c2s", "c2s_direct_tls", "component"):
            self.process.expect(rf"Activated service '{service}' on \[127\.0\.0\.1\]:\d+$", START)


_PLACE = {"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}

EJABBERD = """
hosts: ["{domain}", "{anonymous}"]
loglevel: warning
certfiles: ["{certificate}"]
ca_file: "{ca}"
acme: {{auto: false}}
auth_method: internal
auth_password_format: plain
host_config:
  "{anonymous}":
    auth_method: anonymous
    anonymous_protocol: sasl_anon
disable_sasl_mechanisms: []
default_db: mnesia
listen:
  - {{port: {port}, ip: "127.0.0.1", module: ejabberd_c2s, starttls: true, backlog: 4096,
     max_stanza_size: {stanza_max}, access: all, shaper: none}}
  - {{port: {tls_port}, ip: "127.0.0.1", module: ejabberd_c2s, tls: true, backlog: 4096,
     max_stanza_size: {stanza_max}, access: all, shaper: none}}
  - {{port: {certificate_port}, ip: "127.0.0.1", module: ejabberd_c2s, tls: true,
     tls_verify: true, cafile: "{ca}", access: all, shaper: none}}
  - {{port: {component_port}, ip: "127.0.0.1", module: ejabberd_service,
     hosts: {{"{component}": {{password: "{component_secret}"}}}}}}
shaper_rules:
  max_user_sessions: infinity
  max_user_offline_messages: infinity
modules:
  mod_adhoc: {{}}
  mod_blocking: {{}}
  mod_caps: {{}}
  mod_carboncopy: {{}}
  mod_client_state: {{}}
  mod_disco: {{}}
  mod_last: {{}}
  mod_mam: {{default: always, assume_mam_usage: true, request_activates_archiving: false}}
  mod_muc:
    host: "conference.@HOST@"
    access: all
    access_create: all
    access_persistent: all
    max_user_conferences: 10000
    default_room_options: {{mam: true}}
  mod_offline: {{}}
  mod_ping: {{}}
  mod_privacy: {{}}
  mod_private: {{}}
  # who logs in is not told what an earlier test published
  mod_pubsub: {{host: "pubsub.@HOST@", access_createnode: all, plugins: [flat, pep],
               default_node_config: {{send_last_published_item: never}}}}
  mod_register: {{ip_access: all, access: all, registration_watchers: []}}
  mod_roster: {{versioning: true}}
  mod_stream_mgmt: {{resume_timeout: 120, max_resume_timeout: 600, max_ack_queue: 10000}}
  mod_time: {{}}
  mod_vcard: {{}}
  mod_version: {{}}
registration_timeout: infinity
cache_size: 10000
"""

QUIET = "+sbwt none +sbwtdcpu none +sbwtdio none +K true +P 250000"  # it spins on nobody's core

ACCOUNTS_READY = """
Ready = fun Wait() ->
    case lists:keymember(ejabberd, 1, application:which_applications()) of
        true -> ok;
        false -> timer:sleep(20), Wait()
    end
end,
Ready(),
[{{atomic, ok}} = mnesia:change_table_copy_type(Table, node(), ram_copies)
    || Table <- mnesia:system_info(tables), Table =/= schema,
       mnesia:table_info(Table, storage_type) =/= ram_copies],
[ok = ejabberd_auth:try_register(
    <<"user_", (integer_to_binary(I))/binary>>, <<"{domain}">>,
    <<"password_", (integer_to_binary(I))/binary>>) || I <- lists:seq(1, {accounts})],
io:format("accounts are ready~n").
"""


class Ejabberd(XmppServer):
    """ejabberd 23.01 in a node without a name: no distribution, no port mapper.

    Its tables are moved into memory: on disk, each message that is archived costs more than the one
    before it.
    """

    name = "ejabberd"
    package = "ejabberd"
    executable = "ejabberdctl"

    def _start(self) -> Process:
        shutil.rmtree(self.directory / "spool", ignore_errors=True)  # of an attempt before
        for part in ("spool", "logs"):
            (self.directory / part).mkdir(exist_ok=True)
        config = self.directory / "ejabberd.yml"
        config.write_text(self._filled(EJABBERD))
        prepare = ACCOUNTS_READY.format(domain=self.domain, accounts=self.accounts)
        arguments = f"{QUIET} -noinput -mnesia dir '\"{self.directory}/spool\"' -s ejabberd -eval"
        return Process(
            [require("erl", "erlang-base"), *shlex.split(arguments), prepare],
            self.directory / f"output-{self.port}",
            env={
                **_PLACE,
                "ERL_LIBS": os.pathsep.join(map(str, Path("/usr/lib").glob("*-linux-gnu"))),
                "ERL_CRASH_DUMP_SECONDS": "0",
                "EJABBERD_CONFIG_PATH": str(config),
                "EJABBERD_LOG_PATH": str(self.directory / "logs/ejabberd.log"),
                "HOME": str(self.directory),  # where its cookie goes
            },
        )

    @property
    def ports(self) -> set[int]:
        return {*super().ports, self.certificate_port}

    def log(self) -> str:
        logs = self.directory.glob("logs/*.log")
        return self.process.said() + "".join(log.read_text(errors="replace") for log in logs)

    def _await(self) -> None:
        self.process.expect(r"^accounts are ready", START)
