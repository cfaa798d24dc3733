"""The summary: its figures from known values, its schema, and how it is written."""

import json
import re
import stat
from pathlib import Path

import pytest

from amoc_gevent.core.messages import Clock, Event, Failure
from amoc_gevent.errors import AmocError, UsageError
from amoc_gevent.output.summary import check_writable, summary, write
from tests.output.runs import LONG_NAME, START, add, full_run, measured, run_of


def test_it_has_exactly_the_documented_sections() -> None:
    found = summary(full_run())
    assert list(found) == [
        "schema", "run", "users", "operations", "counters", "gauges", "histograms", "messages",
        "errors", "events", "clocks", "health", "rows",
    ]  # fmt: skip
    assert found["schema"] == 1


def test_the_run_says_what_was_asked_for_and_when() -> None:
    run = summary(full_run())["run"]
    assert run["id"] == "5f0c2a9b7d1e"
    assert (run["scenario"], run["file"]) == ("shop", "/scenarios/shop.py")
    assert (run["first"], run["last"], run["workers"]) == (1, 10, 2)
    assert (run["status"], run["comment"], run["failure"]) == ("finished", "by hand", None)
    assert run["started_at"] == "2023-11-14T22:13:20.000+00:00"
    assert run["ended_at"] == "2023-11-14T22:13:30.000+00:00"
    assert (run["duration_s"], run["asked_duration_s"]) == (10.0, 10.0)
    assert run["settings"] == {"base_url": "http://127.0.0.1:8080"}
    assert run["options"]["user_rate"] == 10.0


def test_users_are_summed_and_the_peak_is_not() -> None:
    users = summary(full_run())["users"]
    assert users == {"started": 10, "peak": 5, "failed": 20, "iterations": 50}


def test_percentiles_are_of_all_values_and_no_mean_of_the_seconds() -> None:
    operation = summary(full_run())["operations"]["GET /"]
    # 1..1000 once each: values below 1024 are kept exactly.
    assert operation["latency_us"] == {
        "min": 1.0, "mean": 500.5, "p50": 500.0, "p90": 900.0, "p95": 950.0, "p99": 990.0,
        "p999": 999.0, "max": 1000.0,
    }  # fmt: skip


def test_an_operation_counts_errors_in_and_interruptions_apart() -> None:
    operations = summary(full_run())["operations"]
    get, reviews = operations["GET /"], operations[LONG_NAME]
    assert (get["count"], get["errors"], get["interrupted"], get["rate"]) == (1000, 0, 1, 100.0)
    assert (reviews["count"], reviews["errors"], reviews["rate"]) == (10, 10, 1.0)
    assert reviews["error_groups"] == {"status 503": 10}
    assert get["phases_us"]["first_byte"]["count"] == 10
    assert get["phases_us"]["first_byte"]["p99"] == 700.0
    assert reviews["phases_us"] == {}


def test_error_groups_come_most_frequent_first() -> None:
    run = run_of()
    add(run, 0, measured({"a": [1] * 9}, {"a": {"timeout": 2, "status 500": 6, "reset": 1}}))
    groups = summary(run)["operations"]["a"]["error_groups"]
    assert list(groups.items()) == [("status 500", 6), ("timeout", 2), ("reset", 1)]


def test_counters_gauges_and_histograms_are_of_the_whole_run() -> None:
    found = summary(full_run())
    assert found["counters"] == {"logins": 30}
    assert found["gauges"] == {"basket": {"last": 9.0, "min": 0.0, "max": 9.0, "unit": "items"}}
    assert found["histograms"]["size"]["unit"] == "bytes"
    assert found["histograms"]["size"]["count"] == 10
    assert found["histograms"]["size"]["max"] == 64.0


def test_user_errors_are_grouped_with_their_first_and_last_time() -> None:
    (error,) = summary(full_run())["errors"]
    assert (error["type"], error["place"], error["count"]) == ("ValueError", "shop.py:12", 20)
    assert error["message"] == "user 3: no basket"
    assert error["first"] == "2023-11-14T22:13:20.000+00:00"
    assert error["last"] == "2023-11-14T22:13:29.500+00:00"
    assert error["detail"].startswith("Traceback")


def test_health_counts_each_overloaded_second_once() -> None:
    found = summary(full_run())["health"]
    assert found["overloaded_seconds"] == {"total": 2, "lag": 1, "cpu": 2, "clock": 0}
    assert found["worst"] == {
        "cpu": 0.95, "lag_us": 80_000, "rss": 50_000_000, "descriptors": 20,
    }  # fmt: skip
    assert [worker["pid"] for worker in found["workers"]] == [100]
    assert found["pickup_lag_us"]["count"] == 10
    assert found["pickup_lag_us"]["p99"] == 400.0
    assert found["verdict"][0].startswith("In 2 of 10 seconds the generator was overloaded")


def test_a_row_holds_what_was_measured_in_its_second() -> None:
    rows = summary(full_run())["rows"]
    assert [row["elapsed_s"] for row in rows] == list(range(10))
    row = rows[4]
    assert row["second"] == START + 4
    assert row["time"] == "2023-11-14T22:13:24.000+00:00"
    assert row["users"] == {"waiting": 1, "running": 2, "resting": 3, "done": 4}
    assert row["operations"]["GET /"] == {
        "count": 100, "errors": 0, "interrupted": 0,
        "p50_us": 450.0, "p95_us": 495.0, "p99_us": 499.0, "max_us": 500.0,
    }  # fmt: skip
    assert (row["counters"], row["gauges"]) == ({"logins": 3}, {"basket": 4.0})
    assert (row["started"], row["iterations"], row["failed"]) == (1, 5, 2)
    assert (row["cpu"], row["lag_us"], row["marks"]) == (0.95, 80_000, ["cpu", "lag"])


def test_what_workers_reported_before_the_first_user_is_in_no_row() -> None:
    run = run_of("finished", ended_after=2.0)
    for after in (-2, -1, 0, 1):
        add(run, after, cpu=0.99 if after < 0 else 0.1)
    run.results.close_all()
    found = summary(run)
    assert [row["elapsed_s"] for row in found["rows"]] == [0, 1]
    assert found["health"]["overloaded_seconds"]["total"] == 0
    assert found["health"]["worst"]["cpu"] == 0.1


def test_a_run_that_failed_before_it_started_has_a_summary_without_rates() -> None:
    run = run_of("failed")
    run.started_at = 0.0
    run.failure = Failure("init raised ValueError", "Traceback ...")
    found = summary(run)
    assert found["run"]["started_at"] is None
    assert found["run"]["duration_s"] == 0.0
    assert found["run"]["failure"] == "init raised ValueError"
    assert found["rows"] == []
    json.dumps(found)


@pytest.mark.parametrize("seconds", [3, 15])
def test_a_run_that_goes_on_has_rates_over_all_that_is_reported(seconds: int) -> None:
    run = run_of()
    for after in range(seconds):
        add(run, after, measured({"a": [1] * 10}))
    found = summary(run)
    assert found["run"]["duration_s"] == seconds
    assert (found["operations"]["a"]["count"], found["operations"]["a"]["rate"]) == (
        10 * seconds,
        10.0,
    )
    assert len(found["rows"]) == max(0, seconds - 11)  # the others may still get reports
    assert found["run"]["ended_at"] is None


def test_events_are_labelled_with_their_time_and_in_its_order() -> None:
    run = full_run()
    run.events.append(Event(START + 0.25, "stuck", "users 4"))
    assert summary(run)["events"][1] == {
        "time": "2023-11-14T22:13:20.250+00:00", "kind": "stuck", "text": "users 4",
    }  # fmt: skip


def test_the_file_holds_the_summary_and_replaces_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    run = full_run()
    check_writable(path)
    write(run, path)
    assert json.loads(path.read_text()) == json.loads(json.dumps(summary(run)))
    assert [file.name for file in tmp_path.iterdir()] == ["out.json"]


def test_the_file_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    plain = tmp_path / "plain"
    plain.touch()
    write(full_run(), path)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_link_is_followed_rather_than_replaced(tmp_path: Path) -> None:
    link, target = tmp_path / "latest.json", tmp_path / "real.json"
    link.symlink_to(target)
    check_writable(link)
    write(full_run(), link)
    assert link.is_symlink()
    assert json.loads(target.read_text())["schema"] == 1


def test_a_device_is_written_to_and_stays_a_device() -> None:
    path = Path("/dev/null")
    check_writable(path)
    write(full_run(), path)
    assert stat.S_ISCHR(path.stat().st_mode)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("missing/out.json", "no directory"),
        (".", "is a directory"),
        ("file/x.json", "no directory"),
    ],
)
def test_a_wrong_path_is_refused_before_the_run(tmp_path: Path, path: str, why: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=why):
        check_writable(tmp_path / path)


def test_a_directory_that_went_away_is_an_error_of_one_line(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "out.json"
    with pytest.raises(
        AmocError, match=r"cannot be written to .*out\.json: No such file"
    ) as raised:
        write(full_run(), path)
    assert "\n" not in str(raised.value)


def test_each_row_of_the_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write(full_run(), path)
    rows = [line for line in path.read_text().splitlines() if line.startswith('  {"second"')]
    assert [json.loads(row.rstrip(","))["elapsed_s"] for row in rows] == list(range(10))


def test_a_file_without_rows_is_json_too(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write(run_of(), path)
    assert json.loads(path.read_text())["rows"] == []


def test_every_field_is_described_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    described = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", page))))
    found = summary(full_run())
    sections = [found, found["run"], found["users"], *found["operations"].values()]
    sections += [found["operations"]["GET /"]["latency_us"], found["gauges"]["basket"]]
    sections += [found["histograms"]["size"], *found["errors"], *found["events"], found["health"]]
    sections += [*found["health"]["workers"], found["health"]["worst"], *found["rows"]]
    sections += [found["health"]["overloaded_seconds"], *found["rows"][0]["operations"].values()]
    assert {name for section in sections for name in section} - described == set()


def test_half_a_surrogate_pair_is_escaped_rather_than_a_failure(tmp_path: Path) -> None:
    run = full_run()
    run.comment = "by \udcff"
    path = tmp_path / "x.json"
    write(run, path)
    assert json.loads(path.read_text(encoding="utf-8"))["run"]["comment"] == "by \udcff"


def test_the_clocks_of_nodes_are_told_with_their_bounds() -> None:
    run = full_run()
    run.clocks = {"b": Clock(5.0, -0.0025, 0.0004), "a": Clock()}
    assert summary(run)["clocks"] == {
        "a": {"offset_us": None, "bound_us": None},
        "b": {"offset_us": -2500, "bound_us": 400},
    }
