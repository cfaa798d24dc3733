"""What is said of the generator, in plain words."""

import pytest

from amoc_gevent.core.messages import Event
from amoc_gevent.core.run.run import Run
from amoc_gevent.output.verdict import marks_in_words, verdict
from tests.output.runs import START, add, run_of


def closed(run: Run) -> Run:
    run.results.close_all()
    return run


def test_a_generator_that_kept_up_is_said_to_with_its_worst_figures() -> None:
    run = run_of()
    add(run, 0, cpu=0.31, timer_lag_us=12_000)
    add(run, 1, cpu=0.415)
    assert verdict(closed(run)) == [
        "The generator kept up in all 2 seconds: lag at most 12.0 ms, CPU at most 42% of a core."
    ]


def test_overload_is_counted_by_its_reasons_and_explained() -> None:
    run = run_of()
    for after in range(30):
        busy = {"cpu": 0.97} if after < 7 else {}
        late = {"timer_lag_us": 51_000} if after < 5 else {}
        add(run, after, **busy, **late)
    (sentence,) = verdict(closed(run))
    assert sentence.startswith(
        "In 7 of 30 seconds the generator was overloaded (lag above 50 ms in 5, CPU above 90% in 7)"
    )
    assert "the load of those seconds was less, or burstier, than asked" in sentence
    assert "http.RequestsSession and metrics.operation in them are the generator's" in sentence
    assert "http.Session are from the kernel's arrival times" in sentence


def test_a_reason_that_did_not_occur_is_not_named() -> None:
    run = run_of()
    add(run, 0, cpu=0.99)
    assert "lag above" not in verdict(closed(run))[0]


def test_a_clock_step_is_no_overload_but_is_said() -> None:
    run = run_of()
    add(run, 0, clock_step_s=0.5)
    kept_up, clock = verdict(closed(run))
    assert kept_up.startswith("The generator kept up in all 1 second:")
    assert clock.startswith("The wall clock was stepped in 1 second:")


def test_lost_workers_are_counted() -> None:
    run = run_of()
    add(run, 0)
    run.events.extend([Event(START, "worker-lost", "x"), Event(START, "worker-back", "x")])
    assert verdict(closed(run))[1].startswith("A worker was lost once:")
    run.events.append(Event(START, "worker-lost", "x"))
    assert verdict(run)[1].startswith("A worker was lost 2 times:")


@pytest.mark.parametrize(("used", "said"), [(921, False), (922, True)])
def test_descriptors_near_their_limit_are_said(used: int, said: bool) -> None:
    run = run_of()
    add(run, 0, descriptors=used)
    sentences = verdict(closed(run))
    assert any("of the 1,024 descriptors" in sentence for sentence in sentences) is said


def test_late_reports_are_said() -> None:
    run = run_of()
    add(run, 0)
    add(run, 20)
    add(run, 1)
    assert verdict(closed(run))[-1].startswith("Reports that came too late for their second: 1;")


def test_a_run_without_measurements_says_so() -> None:
    assert verdict(run_of()) == ["Nothing was measured."]


def test_marks_are_put_in_few_words() -> None:
    assert marks_in_words(()) == []
    assert marks_in_words(("cpu",)) == ["the generator is overloaded (CPU above 90%)"]
    assert marks_in_words(("clock", "cpu", "lag")) == [
        "the generator is overloaded (lag above 50 ms, CPU above 90%)",
        "the wall clock was stepped",
    ]


def test_reports_that_could_not_be_read_are_told() -> None:
    run = run_of()
    run.events.extend([Event(START, "report-refused", "why")] * 2)
    assert verdict(run)[-1].startswith("Reports that could not be read: at least 2; the figures")
