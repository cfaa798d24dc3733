"""`amoc run` from the shell: what it counts, how it stops, what it says of bad input."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest
from gevent import subprocess

from tests.integration.conftest import Amoc
from tests.servers import Demo, Nginx, wait_for

HELLO = """
from amoc_gevent import http, settings

url = settings.declare("url", "http://127.0.0.1:1", "the service")


def start(user_id):
    with http.Session(url.value) as session:
        for _ in range(5):
            session.get("/")
"""

SLOW = """
from amoc_gevent import http, settings

url = settings.declare("url", "http://127.0.0.1:1", "the service")


def start(user_id):
    http.Session(url.value).get("/delay/20", name="slow")
"""

FAST = ("--user-rate", "200/s", "--repeat-interval", "50ms")


def test_what_the_run_counted_is_what_the_demo_server_counted(amoc: Amoc, demo: Demo) -> None:
    summary = amoc.load(
        amoc.scenario(HELLO), 1, 20, *FAST, "--duration", "2s", "--set", f"url={demo.url}"
    )

    operation = summary["operations"]["GET /"]
    assert operation["count"] == demo.counts()["total"] > 100
    assert (operation["errors"], operation["interrupted"]) == (0, 0)
    assert summary["users"]["started"] == summary["users"]["peak"] == 20
    cut = summary["counters"].get("iterations cut short by the duration", 0)
    partial = operation["count"] - summary["users"]["iterations"] * 5
    assert 0 <= partial <= 4 * cut
    assert (
        sum(row["operations"].get("GET /", {"count": 0})["count"] for row in summary["rows"])
        == (operation["count"])
    )


WALK = """
from amoc_gevent import http, settings, user

url = settings.declare("url", "http://127.0.0.1:1", "the service")


def start(user_id):
    with {client}(url.value) as session:
        while True:
            session.get("/")
            user.sleep(0.01 if user_id % 2 else 3600.0)
"""


@pytest.mark.parametrize("client", ["http.Session", "http.RequestsSession"])
def test_a_duration_is_when_load_ends(amoc: Amoc, demo: Demo, client: str) -> None:
    path = amoc.scenario(WALK.format(client=client))
    summary = amoc.load(
        path, 1, 8, *FAST, "--duration", "1s", "--stop-timeout", "50s", "--set", f"url={demo.url}"
    )

    operation = summary["operations"]["GET /"]
    assert operation["count"] == demo.counts()["total"] > 20
    assert (operation["errors"], operation["interrupted"]) == (0, 0)
    assert summary["counters"] == {"iterations cut short by the duration": 8}
    assert (summary["users"]["failed"], summary["errors"]) == (0, [])
    stops = [event["text"] for event in summary["events"] if event["kind"] == "stop"]
    assert stops == ["gently"]
    run = summary["run"]
    assert 1 <= run["load_s"] <= run["duration_s"]
    assert operation["rate"] == pytest.approx(operation["count"] / run["load_s"], rel=0.01)


def test_what_the_run_counted_is_what_nginx_logged(amoc: Amoc, nginx: Nginx) -> None:
    summary = amoc.load(
        amoc.scenario(HELLO), 5, 14, *FAST, "--duration", "1s", "--set", f"url={nginx.url}"
    )

    assert summary["operations"]["GET /"]["count"] == nginx.requests_logged()
    assert (summary["run"]["first"], summary["run"]["last"]) == (5, 14)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("http_hello", ["--duration", "1s", "--stop-timeout", "100ms"]),
        ("http_shop", ["--repeat-num", 1, "--set", "think=10ms"]),
        ("http_requests", ["--repeat-num", 1, "--set", "think=10ms"]),
    ],
)
def test_each_example_scenario_runs_and_its_counts_are_the_servers(
    amoc: Amoc, demo: Demo, name: str, options: list[object]
) -> None:
    summary = amoc.load(name, 1, 6, "--user-rate", "100/s", *options, "--set", f"url={demo.url}")

    operations = summary["operations"].values()
    assert sum(o["count"] for o in operations) == demo.counts()["total"] > 0
    assert sum(o["errors"] for o in operations) == 0
    assert summary["errors"] == []
    assert summary["users"]["started"] == 6


def test_a_run_whose_users_all_end_by_themselves_finishes(amoc: Amoc, demo: Demo) -> None:
    summary = amoc.load(
        *(amoc.scenario(HELLO), 1, 7, *FAST, "--repeat-num", 2, "--set", f"url={demo.url}")
    )

    assert summary["users"]["iterations"] == 14
    assert 1 <= summary["users"]["peak"] <= 7
    assert summary["run"]["status"] == "finished"


def test_a_first_interrupt_lets_users_finish_their_iteration(amoc: Amoc, demo: Demo) -> None:
    process = amoc.start(
        *("run", amoc.scenario(SLOW.replace("delay/20", "delay/1")), 1, 8, "--user-rate", "200/s"),
        *("--set", f"url={demo.url}", "--summary", amoc.summary_path),
    )
    wait_for(lambda: demo.counts()["total"] == 8, what="all users in their first request")

    process.popen.send_signal(signal.SIGINT)

    assert process.wait() == 0, process.said()
    operation = amoc.summary()["operations"]["slow"]
    assert (operation["count"], operation["interrupted"]) == (8, 0)
    amoc.assert_nothing_left(process)


@pytest.mark.parametrize(
    ("signals", "options"),
    [
        ([signal.SIGINT, signal.SIGINT], []),
        ([signal.SIGTERM], ["--stop-timeout", "300ms"]),
    ],
    ids=["second interrupt", "stop time-out"],
)
def test_a_forced_stop_counts_what_it_cut_apart(
    amoc: Amoc, demo: Demo, signals: list[signal.Signals], options: list[str]
) -> None:
    process = amoc.start(
        *("run", amoc.scenario(SLOW), 1, 8, *FAST, *options),
        *("--set", f"url={demo.url}", "--summary", amoc.summary_path),
    )
    wait_for(lambda: demo.counts()["total"] == 8, what="all users in their first request")

    for position, number in enumerate(signals):
        if position:
            process.expect("stopping")  # two signals at once may arrive as one
        process.popen.send_signal(number)

    assert process.wait() == 1, process.said()
    assert process.said().endswith("amoc: no operation ended, 8 were interrupted\n")
    operation = amoc.summary()["operations"]["slow"]
    assert (operation["count"], operation["errors"], operation["interrupted"]) == (0, 0, 8)
    stops = [event["text"] for event in amoc.summary()["events"] if event["kind"] == "stop"]
    assert [text.partition(":")[0] for text in stops] == ["gently", "by force"]
    amoc.assert_nothing_left(process)


def test_the_duration_ends_the_run_and_leaves_nothing_behind(amoc: Amoc, demo: Demo) -> None:
    process = amoc.start(
        *("run", amoc.scenario(HELLO), 1, 4, *FAST, "--duration", "500ms"),
        *("--set", f"url={demo.url}", "--summary", amoc.summary_path, "--workers", 2),
    )

    assert process.wait() == 0, process.said()
    amoc.assert_nothing_left(process)
    assert amoc.summary()["run"]["workers"] == 2


def test_on_user_error_stop_fails_the_run_and_still_writes_the_summary(amoc: Amoc) -> None:
    path = amoc.scenario("def start(user_id):\n    raise ValueError('no coffee')\n")

    code, said = amoc.run(
        "run", path, 1, 3, "--on-user-error", "stop", "--summary", amoc.summary_path
    )

    assert code == 1
    assert "no coffee" in said
    assert amoc.summary()["run"]["status"] == "failed"
    assert amoc.summary()["errors"][0]["type"] == "ValueError"


def test_quiet_prints_nothing(amoc: Amoc, demo: Demo) -> None:
    code, said = amoc.run(
        *("run", amoc.scenario(HELLO), 1, 2, *FAST, "--repeat-num", 1, "--quiet"),
        *("--set", f"url={demo.url}"),
    )

    assert (code, said) == (0, "")


def test_what_a_scenario_prints_is_seen(amoc: Amoc) -> None:
    path = amoc.scenario("def start(user_id):\n    print(f'hello from {user_id}')\n")

    code, said = amoc.run("run", path, 1, 3, *FAST, "--repeat-num", 1)

    assert code == 0
    assert {f"hello from {i}" for i in (1, 2, 3)} <= set(said.splitlines())


BAD_INPUT = {
    "no such scenario": (["nope", 1, 2], 2, "there is no scenario nope"),
    "no Python file": (["/etc/passwd", 1, 2], 2, "/etc/passwd is not a Python file: a scenario is"),
    "no duration": (["{hello}", 1, 2, "--duration", "0s"], 2, "duration 0s: it must be above 0"),
    "ids the wrong way": (["{hello}", 5, 2], 2, "users 5 to 2"),
    "id zero": (["{hello}", 0, 2], 2, "0"),
    "not a time": (["{hello}", 1, 2, "--duration", "soon"], 2, "'soon' is not a time"),
    "not a rate": (["{hello}", 1, 2, "--user-rate", "fast"], 2, "'fast' is not a rate"),
    "two rates": (
        ["{hello}", 1, 2, "--user-rate", "5/s", "--interarrival", "1s"],
        2,
        "--user-rate and --interarrival",
    ),
    "a setting without =": (["{hello}", 1, 2, "--set", "url"], 2, "NAME=VALUE"),
    "an unknown setting": (["{hello}", 1, 2, "--set", "ulr=x"], 2, "did you mean url"),
    "a summary in no directory": (
        ["{hello}", 1, 2, "--summary", "/nonexistent/s.json"],
        2,
        "/nonexistent",
    ),
    "a syntax error": (["{syntax}", 1, 2], 1, "syntax.py:1"),
    "no start": (["{nostart}", 1, 2], 1, "must define start(user_id)"),
    "an init that raises": (["{badinit}", 1, 2], 1, "badinit.py:4: init raised KeyError: 'seed'"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_gets_one_line_and_an_exit_code(amoc: Amoc, case: str) -> None:
    arguments, code, text = BAD_INPUT[case]
    sources = {
        "hello": HELLO,
        "syntax": "def start(user_id) return 1\n",
        "nostart": "x = 1\n",
        "badinit": "def start(user_id):\n    pass\ndef init():\n    {}['seed']\n",
    }
    paths = {name: amoc.scenario(source, name) for name, source in sources.items()}
    filled = [a.format(**paths) if isinstance(a, str) else a for a in arguments]

    process = amoc.start("run", *filled)

    assert process.wait() == code, process.said()
    said = process.said()
    assert text in said
    if case != "an init that raises":  # whose author is shown the traceback
        assert "Traceback" not in said
        assert len(said.splitlines()) <= 3
    amoc.assert_nothing_left(process)


def test_more_users_than_descriptors_are_warned_of(amoc: Amoc, demo: Demo) -> None:
    code, said = amoc.run(
        *("run", amoc.scenario(HELLO), 1, 3_000_000, "--workers", 1, "--duration", "200ms"),
        *("--set", f"url={demo.url}"),
    )

    assert code == 0, said
    assert "warning: 3000000 users with a connection each on 1 worker need 3000064 desc" in said


def test_a_package_is_a_scenario_too(amoc: Amoc, demo: Demo, tmp_path: Path) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "paths.py").write_text("HOME = '/'\n")
    (package / "__init__.py").write_text(
        "from .paths import HOME\n" + HELLO.replace('"/"', "HOME") + "\ndef init():\n    pass\n"
    )

    summary = amoc.load(package, 1, 2, *FAST, "--repeat-num", 1, "--set", f"url={demo.url}")

    assert summary["run"]["scenario"] == "shop"
    assert summary["operations"]["GET /"]["count"] == 10


NOISY = """
from amoc_gevent import user


def start(user_id):
    for _ in range(3000):
        print("noise " * 100)
    user.sleep(3600)
"""


def test_a_run_does_not_wait_for_an_output_that_nobody_reads(amoc: Amoc) -> None:
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "amoc_gevent", "run", amoc.scenario(NOISY), "1", "2"),
            *("--duration", "1s", "--stop-timeout", "60s", "--summary", amoc.summary_path),
        ],
        cwd=amoc.directory,
        env=amoc.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        wait_for(amoc.summary_path.exists, 30, "the summary, though nobody reads the output")
        said = process.stdout.read().decode()
        assert process.wait(30) == 0
    assert amoc.summary()["counters"] == {"iterations cut short by the duration": 2}
    assert re.search(r"amoc: [\d,]+ lines of workers left out: nobody read the output", said)
    assert "The generator kept up" in said


def test_a_closed_pipe_does_not_lose_the_summary(amoc: Amoc) -> None:
    path = amoc.scenario("def start(i): pass\n")
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "amoc_gevent", "run", path, "1", "4", "--user-rate", "100"),
            *("--duration", "2s", "--summary", amoc.summary_path),
        ],
        cwd=amoc.directory,
        env=amoc.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(30) == 1, said
    assert said == b""
    assert amoc.summary()["users"]["started"] == 4


def test_an_interrupt_while_it_imports_is_quiet(amoc: Amoc) -> None:
    process = amoc.start("run", amoc.scenario("def start(i): pass\n"), 1, 2)
    loaded = Path(f"/proc/{process.pid}/maps")
    wait_for(lambda: "/gevent/" in loaded.read_text(), what="the import of gevent")

    os.killpg(process.pid, signal.SIGINT)  # as a terminal does

    assert process.wait() in {-signal.SIGINT, 130}
    assert process.said() == ""
    amoc.assert_nothing_left(process)


INTERRUPTED_BEFORE_THE_RUN = """
from gevent import monkey
monkey.patch_all()
import os, signal, sys
from amoc_gevent.cli import main, run

class Interrupted(run.LocalCluster):
    def _wait_for_node(self):
        os.kill(os.getpid(), signal.SIGINT)
        super()._wait_for_node()

run.LocalCluster = Interrupted
main.main()
"""


def test_an_interrupt_before_the_run_begins_starts_nothing(amoc: Amoc) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-c", INTERRUPTED_BEFORE_THE_RUN),
            *("run", amoc.scenario("def start(i): pass\n"), "1", "2"),
        ],
        cwd=amoc.directory,
        env=amoc.environment(),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
    assert list(amoc.sockets.iterdir()) == []


def test_an_output_that_was_closed_before_is_as_one_that_is_closed(amoc: Amoc) -> None:
    path = amoc.scenario("def start(i): pass\n")
    command = (
        f"exec {sys.executable} -m amoc_gevent run {path} 1 4 --user-rate 100 --repeat-num 1"
        f" --summary {amoc.summary_path} >&-"
    )
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=amoc.directory,
        env=amoc.environment(),
        stderr=subprocess.PIPE,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, b"")
    assert amoc.summary()["users"]["started"] == 4


@pytest.mark.parametrize("columns", ["0", "1"])
def test_a_terminal_that_claims_no_width_gets_the_report_too(amoc: Amoc, columns: str) -> None:
    path = amoc.scenario("def start(i): pass\n")

    code, said = amoc.run(
        *("run", path, 1, 2, *FAST, "--repeat-num", 1, "--workers", 1), env={"COLUMNS": columns}
    )

    assert (code, "Traceback" in said) == (0, False)
    assert "iterations  2" in said


@pytest.mark.parametrize("place", ["/dev/full", "{gone}/s.json"])
def test_a_summary_that_cannot_be_written_does_not_take_the_report_with_it(
    amoc: Amoc, tmp_path: Path, place: str
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    init = f"def init():\n    os.rmdir({str(gone)!r})\n"
    path = amoc.scenario(f"import os\n\n\ndef start(i):\n    pass\n\n\n{init}")

    code, said = amoc.run(
        *("run", path, 1, 2, *FAST, "--repeat-num", 1, "--workers", 1),
        *("--summary", place.format(gone=gone)),
    )

    assert code == 1
    assert "iterations  2, 0 failed" in said
    assert said.splitlines()[-1].startswith("amoc: the summary cannot be written to")


@pytest.mark.parametrize("ready", [r"^starting", r"^init runs"], ids=["at once", "in init"])
def test_an_interrupt_before_the_first_user_is_one_line(amoc: Amoc, ready: str) -> None:
    path = amoc.scenario(
        "import time\n\ndef init():\n    print('init runs')\n    time.sleep(30)\n\n"
        "def start(user_id):\n    pass\n"
    )
    process = amoc.start("run", path, 1, 2, "--workers", 1)
    process.expect(ready)

    os.killpg(process.pid, signal.SIGINT)  # as a terminal does

    assert process.wait() == 0, process.said()
    assert "stopped before any user started" in process.said()
    assert "Traceback" not in process.said()
    amoc.assert_nothing_left(process)
