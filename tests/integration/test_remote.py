"""The verbs from the shell and from `amoc attach`: plain clients of a master's control socket.

The master here is scripted, for answers that no real one gives at will; test_daemons has real ones.
"""

import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from gevent import subprocess

from amoc_gevent.control.server import ControlServer
from amoc_gevent.core.answer_types import answer_type
from amoc_gevent.core.answers import (
    Added,
    Answer,
    Changed,
    MasterDaemon,
    NodeLine,
    NodeList,
    Pausing,
    Rebalanced,
    Removed,
    RunLine,
    RunList,
    RunStatus,
    Started,
    Stopping,
    TextReport,
    WatchedLines,
    WatchedStatus,
)
from amoc_gevent.core.json_codec import as_json, from_json
from amoc_gevent.core.run.commands import (
    Add,
    Command,
    Do,
    Nodes,
    Pause,
    Rebalance,
    Remove,
    Resume,
    Runs,
    Set,
    Status,
    Stop,
    Summary,
)
from amoc_gevent.core.run.status import status_of
from amoc_gevent.core.run_summary import RunSummary, SummaryAnswer
from amoc_gevent.daemon.home import Home
from amoc_gevent.errors import AmocError, UsageError
from amoc_gevent.output.summary import summary
from tests.integration.conftest import Amoc
from tests.integration.terminals import Terminal
from tests.output.runs import full_run, run_of
from tests.servers import ROOT

RUNNING = as_json(status_of(run_of(), 2, 0.0)) | {
    "run": "5f0c",
    "elapsed_s": 1.0,
    "workers": 4,
}
SUMMARY = summary(full_run())
NODES = NodeList((NodeLine("east", "ready"), NodeLine("west", "ready")))
RUNS = RunList((RunLine("5f0c", "shop", "running"),))
PROMPT_ENDS = b"\x1b[?2004l"
"""What the prompt tells the terminal last, before the next one is drawn."""

REFUSED = {
    "Do": "there is no scenario broken",
    "Remove": "remove 0: the number of users must be 1 or more",
}
ANSWERS: dict[type, Callable[[Any], Answer]] = {
    Do: lambda do: Started("5f0c", do.last - do.first + 1),
    Add: lambda add: Added(11, 10 + add.count),
    Remove: lambda remove: Removed(remove.count, remove.count),
    Set: lambda set_: Changed(set_.name, set_.value),
    Stop: lambda stop: Stopping("5f0c", "stopping", stop.force),
    Pause: lambda _: Pausing("5f0c", paused=True),
    Resume: lambda _: Pausing("5f0c", paused=False),
    Rebalance: lambda _: Rebalanced("5f0c", 0),
    Nodes: lambda _: NODES,
    Runs: lambda _: RUNS,
    Summary: lambda summary: (
        TextReport(f"report of {summary.run}")
        if summary.form == "text"
        else SummaryAnswer(from_json(RunSummary, SUMMARY))
    ),
}


class ScriptedMaster:
    """Answers at the home's control socket and keeps what it was asked."""

    def __init__(self, home: Home) -> None:
        self.heard: list[Command] = []
        self.status: dict[str, object] = dict(RUNNING)
        self.warning = ""
        services = {
            "daemon": self._describe,
            "watch": self._watch,
        }
        path = home.make().socket("master")
        self._server = ControlServer(path, self._handle, services, lambda: self.warning)

    def close(self) -> None:
        self._server.close()

    def _handle(self, command: Command) -> Answer:
        if isinstance(command, Status):
            return self._status()
        self.heard.append(command)
        if "broken" in str(command) or command == Remove(0):
            raise UsageError(REFUSED[type(command).__name__])
        if isinstance(command, Stop):
            self.status["status"] = "finished"
        return ANSWERS[type(command)](command)

    def _status(self, **changes: object) -> Answer:
        data = {**self.status, **changes}
        return from_json(answer_type("status", data), data)

    def _describe(self, _request: Mapping[str, Any]) -> Answer:
        return MasterDaemon("master", 42, "1", "/home", None, 1.0)

    def _watch(self, request: Mapping[str, Any]) -> Iterator[Answer]:
        if self.status["status"] == "idle":
            raise AmocError("there is no run to watch")
        yield self._part(request, "starting", 0)
        part = self._part(request, "stopping", 1)
        yield replace(part, run="5f0c", ended=self.status["status"])  # type: ignore[arg-type]

    def _part(
        self, request: Mapping[str, Any], line: str, elapsed: int
    ) -> WatchedLines | WatchedStatus:
        if request.get("form") == "json":
            status = self._status(elapsed_s=elapsed)
            assert isinstance(status, RunStatus)
            return WatchedStatus(status)
        return WatchedLines((line,))


@pytest.fixture
def master(amoc: Amoc) -> Iterator[ScriptedMaster]:
    found = ScriptedMaster(Home(amoc.directory / "home"))
    yield found
    found.close()


@pytest.mark.parametrize(
    ("line", "said", "answer"),
    [
        ("do shop 1 5", "run 5f0c: 5 users\n", {"run": "5f0c", "users": 5}),
        ("add 5", "added users 11 to 15\n", {"first": 11, "last": 15}),
        ("remove 2 --nodes east", "removed 2 users\n", {"removed": 2, "asked": 2}),
        ("set pages 2", "pages = 2\n", {"pages": "2"}),
        ("pause", "run 5f0c is paused", {"run": "5f0c", "paused": True}),
        ("resume", "run 5f0c starts users", {"run": "5f0c", "paused": False}),
        ("rebalance", "run 5f0c: its users are", {"run": "5f0c", "moves": 0}),
        (
            "stop --force",
            "run 5f0c is stopping by force\nrun 5f0c finished\n",
            {"run": "5f0c", "status": "finished", "force": True},
        ),
        ("status", "shop running, 1 s on 4 workers of 2 nodes", RUNNING),
        ("nodes", "node  state", as_json(NODES)),
        ("runs", "run   scenario  status", as_json(RUNS)),
        ("summary 5f0c", "report of 5f0c\n", SUMMARY),
    ],
)
def test_a_verb_is_said_for_people_and_for_programs(
    amoc: Amoc, master: ScriptedMaster, line: str, said: str, answer: object
) -> None:
    assert amoc.run(*line.split())[1].startswith(said)
    code, text = amoc.run(*line.split(), "--json")
    assert code == 0
    assert json.loads(text) == answer


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("do", 2, "missing argument 'SCENARIO'"),
        ("do broken 1 2", 2, "amoc: there is no scenario broken"),
        ("do shop one 2", 2, "'one' is not a number: SCENARIO comes first"),
        ("do shop 1 2 --set url", 2, "--set url: write it as NAME=VALUE"),
        ("do shop 1 2 --strategy fair", 2, "'fair' is not one of"),
        ("do shop 1 2 --duration soon", 2, "do: duration: 'soon' is not a time"),
        ("do shop 1 2 --user-rate 0", 2, "user_rate: '0' is not a rate"),
        ("add", 2, "missing argument 'COUNT'"),
        ("add many", 2, "'many' is not a valid integer"),
        ("add 1 --nodes a,a", 2, "add: nodes: a is named twice"),
        ("remove 0", 2, "amoc: remove 0: the number of users must be 1 or more"),
        ("set pages", 2, "missing argument 'VALUE'"),
        ("pause now", 2, "unexpected extra argument"),
        ("resume --force", 2, "no such option"),
        ("rebalance 3", 2, "unexpected extra argument"),
        ("stop gently", 2, "unexpected extra argument"),
        ("status --jsn", 2, "no such option"),
        ("nodes one", 2, "unexpected extra argument"),
        ("runs --all", 2, "no such option"),
        ("summary a b", 2, "unexpected extra argument"),
        ("watch --fast", 2, "no such option"),
        ("shutdown everything", 2, "'everything' is not one of 'master', 'node'"),
        ("keys make now", 2, "unexpected extra argument"),
        ("attach here", 2, "unexpected extra argument"),
        ("master --port 70000", 2, "70000 is not in the range"),
        ("master --bind 0.0.0.0", 2, "make keys with `amoc keys make`, or use --insecure"),
        ("master --bind 127.0.0.1", 2, "leave out --bind, and only the node of this home can join"),
        ("master --bind ::1", 2, "or use --insecure"),
        ("master --port 6000", 2, "amoc: --port needs --bind ADDRESS"),
        ("master --reports-port 6001", 2, "amoc: --reports-port needs --bind ADDRESS"),
        ("master --insecure", 2, "amoc: --insecure needs --bind ADDRESS"),
        ("node --master 192.0.2.1", 2, "or use --insecure"),
        ("node --master 127.0.0.1", 2, "leave out --master to join the master of this home"),
        ("node --master localhost", 2, "or use --insecure"),
        ("node --port 6000", 2, "amoc: --port needs --master HOST"),
        ("node --insecure", 2, "amoc: --insecure needs --master HOST"),
        ("node --name a/b", 2, "--name 'a/b'"),
        ("node --workers 0", 2, "0 is not in the range"),
    ],
)
def test_a_wrong_use_is_a_line_and_code_2(
    amoc: Amoc, master: ScriptedMaster, line: str, code: int, said: str
) -> None:
    found, text = amoc.run(*line.split())
    first, *rest = text.splitlines()
    assert (found, said in first) == (code, True), text
    assert rest == [] or (len(rest) == 1 and rest[0].startswith("See amoc")), text


VERBS = "add 1|remove 1|set a b|pause|resume|rebalance|stop|status|nodes|watch|attach"


@pytest.mark.parametrize("line", VERBS.split("|"))
def test_without_a_master_every_verb_says_how_to_get_one(amoc: Amoc, line: str) -> None:
    home = amoc.directory / "home"
    hint = f"amoc: no master runs in {home}: start one with `amoc master`\n"
    assert amoc.run(*line.split()) == (1, hint)


def test_verbs_load_nothing_that_is_slow(amoc: Amoc, master: ScriptedMaster) -> None:
    program = (
        "import sys\nfrom amoc_gevent.__main__ import main\n"
        "sys.argv[1:] = ['status']\n"
        "try: main()\n"
        "except SystemExit as end: code = end.code\n"
        "slow = {'gevent', 'zmq', 'requests', 'rich', 'ssl', 'asyncio', 'prompt_toolkit'}\n"
        "sys.exit(str(slow & set(sys.modules)) if slow & set(sys.modules) else code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=amoc.environment(),
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


VERBS = (
    *("do shop 1 5", "add 5", "remove 2", "set pages 2", "pause", "resume", "rebalance"),
    *("stop --force", "status", "nodes", "runs", "summary 5f0c"),
)


@pytest.mark.parametrize("line", [*VERBS, "remove 0", "watch"])
def test_each_verb_says_in_a_line_what_is_wrong_with_the_master(
    amoc: Amoc, master: ScriptedMaster, line: str
) -> None:
    master.warning = "the run store cannot be written"
    code, said = amoc.run(*line.split())
    assert said.splitlines().count("amoc: the run store cannot be written") in {1, 2}
    master.warning = ""
    master.status["status"] = "running"
    assert "cannot be written" not in amoc.run(*line.split())[1]
    if line == "remove 0":
        assert code == 2
        return
    master.warning = "the run store cannot be written"
    json_ = subprocess.run(
        [sys.executable, "-m", "amoc_gevent", *line.split(), "--json"],
        env=amoc.environment(),
        check=False,
        capture_output=True,
        text=True,
    )
    assert json_.stderr == "amoc: the run store cannot be written\n"
    answers = json_.stdout.splitlines() if line == "watch" else [json_.stdout]
    for answer in answers:
        assert json.loads(answer)["warning"] == "the run store cannot be written"


def test_the_prompt_says_after_each_line_what_is_wrong_with_the_master(
    amoc: Amoc, master: ScriptedMaster
) -> None:
    master.warning = "no disk"
    code, said = piped(amoc, *VERBS)
    assert code == 0
    assert said.splitlines().count("amoc: no disk") == len(VERBS)


def test_a_table_that_is_watched_shows_what_is_wrong_with_the_master(
    amoc: Amoc, master: ScriptedMaster
) -> None:
    master.warning = "no disk"
    terminal = Terminal(amoc.environment(), "watch")
    try:
        terminal.expect(b"no disk")
    finally:
        terminal.close()


def test_watch_on_a_pipe_writes_lines_and_then_the_report(
    amoc: Amoc, master: ScriptedMaster
) -> None:
    master.status["status"] = "finished"
    assert amoc.run("watch") == (0, "starting\nstopping\nreport of 5f0c\n")
    master.status["status"] = "failed"
    assert amoc.run("watch")[0] == 1


def test_watch_for_programs_is_a_status_a_line(amoc: Amoc, master: ScriptedMaster) -> None:
    master.status["status"] = "finished"
    code, said = amoc.run("watch", "--json")
    assert code == 0
    told = [json.loads(line) for line in said.splitlines()]
    assert told == [{**master.status, "elapsed_s": elapsed} for elapsed in (0, 1)]


def test_watch_without_a_run_is_a_line(amoc: Amoc, master: ScriptedMaster) -> None:
    master.status["status"] = "idle"
    assert amoc.run("watch") == (1, "amoc: there is no run to watch\n")


def test_who_waits_no_more_is_told_that_the_run_goes_on(amoc: Amoc, master: ScriptedMaster) -> None:
    master.status["status"] = "starting"
    process = amoc.start("do", "shop", 1, 5)
    process.expect("run 5f0c: 5 users")
    process.popen.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert process.said().endswith("amoc: stopped waiting; the run goes on, `amoc stop` ends it\n")


def piped(amoc: Amoc, *lines: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "amoc_gevent", "attach"],
        input="".join(f"{line}\n" for line in lines),
        env=amoc.environment(),
        cwd=ROOT,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


def test_lines_can_be_piped_into_attach(amoc: Amoc, master: ScriptedMaster) -> None:
    code, said = piped(amoc, "do shop 1 5", "", "# grow", "add 5", "remove 2", "exit", "add 99")
    assert (code, said) == (0, "run 5f0c: 5 users\nadded users 11 to 15\nremoved 2 users\n")
    assert [type(one) for one in master.heard] == [Do, Add, Remove]


@pytest.mark.parametrize("wrong", ["remove 0", "jump", "add ten", "do broken 1 2", "add 'ten"])
def test_a_piped_line_that_fails_is_code_1_and_the_rest_is_done(
    amoc: Amoc, master: ScriptedMaster, wrong: str
) -> None:
    code, said = piped(amoc, wrong, "add 5")
    assert code == 1
    assert said.endswith("\nadded users 11 to 15\n")
    assert len(said.splitlines()) == 2


def test_attach_is_a_prompt_with_names_that_can_be_left(amoc: Amoc, master: ScriptedMaster) -> None:
    terminal = Terminal(amoc.environment(), "attach")
    try:
        terminal.expect(b"attached to the master, pid 42; `help` lists the commands")
        terminal.expect(b"amoc>")
        terminal.type(b"add 3 --nodes we")
        terminal.expect(b"west")  # what the master said that there is
        terminal.type(b"\t\r")
        terminal.expect(b"added users 11 to 13")
        terminal.expect(b"amoc>")
        terminal.type(b"jump\r")
        terminal.expect(b"there is no verb 'jump'")
        terminal.expect(b"amoc>")
        terminal.type(b"do http_sh")
        terminal.expect(b"http_shop")
        terminal.type(b"\x03")  # Ctrl-C drops the line
        terminal.expect(PROMPT_ENDS)
        terminal.expect(b"amoc>")
        terminal.type(b"\x04")
        terminal.expect(b"detached: run 5f0c of shop goes on; `amoc attach` comes back")
        assert terminal.wait() == 0
    finally:
        terminal.close()
    assert master.heard[-1] == Add(3, ("west",))
    assert "+add 3 --nodes west" in (amoc.directory / "home/history").read_text()


def test_a_master_that_goes_away_is_said_and_one_that_comes_back_is_asked(
    amoc: Amoc, master: ScriptedMaster
) -> None:
    terminal = Terminal(amoc.environment(), "attach")
    try:
        terminal.expect(b"amoc>")
        master.close()
        terminal.type(b"add 1\r")
        terminal.expect(b"no master runs in")
        terminal.expect(b"amoc>")
        again = ScriptedMaster(Home(amoc.directory / "home"))
        terminal.type(b"add 2\r")
        terminal.expect(b"added users 11 to 12")
        terminal.expect(b"amoc>")
        again.close()
        terminal.type(b"\x04")
        terminal.expect(b"detached: no master runs in")
        assert terminal.wait() == 0
    finally:
        terminal.close()
