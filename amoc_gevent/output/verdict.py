"""Sentences about the load generator itself: whether it kept up, and what it lost."""

from collections.abc import Container

from amoc_gevent.core.measure.results import CPU_LIMIT, LAG_LIMIT_US
from amoc_gevent.core.run.run import Run
from amoc_gevent.core.units import counted, format_count, format_us
from amoc_gevent.output.terminal.figures import overload_of, rows_of

DESCRIPTORS_SHARE = 0.9

OVERLOAD_MARKS = {
    "lag": f"lag above {LAG_LIMIT_US / 1000:.0f} ms",
    "cpu": f"CPU above {CPU_LIMIT:.0%}",
}
"""The meaning of the marks for overload."""

WHAT_OVERLOAD_MEANS = (
    "the load of those seconds was less, or burstier, than asked; latencies of"
    " http.RequestsSession and metrics.operation in them are the generator's, those of"
    " http.Session are from the kernel's arrival times"
)


def verdict(run: Run) -> list[str]:
    """Return the sentences on the generator, to read before the figures of the run."""
    sentences = (
        _load(run),
        _clock(run),
        _workers(run),
        _descriptors(run),
        _late(run),
        _refused(run),
    )
    return [sentence for sentence in sentences if sentence]


def marks_in_words(marks: Container[str]) -> list[str]:
    """Return the marks of some seconds in a few words, for a line of the live output."""
    why = ", ".join(text for mark, text in OVERLOAD_MARKS.items() if mark in marks)
    words = [f"the generator is overloaded ({why})"] if why else []
    return [*words, "the wall clock was stepped"] if "clock" in marks else words


def _load(run: Run) -> str:
    found = overload_of(run)
    if not found.seconds:
        known = run.active and run.results.newest
        return "No second is complete yet." if known else "Nothing was measured."
    if not found.total:
        rows = rows_of(run)
        lag, cpu = max(row.lag_us for row in rows), max(row.cpu for row in rows)
        return (
            f"The generator kept up in all {counted(found.seconds, 'second')}: lag at most"
            f" {format_us(lag)}, CPU at most {cpu:.0%} of a core."
        )
    counts = {"lag": found.lag, "cpu": found.cpu}
    why = ", ".join(f"{OVERLOAD_MARKS[m]} in {count}" for m, count in counts.items() if count)
    return (
        f"In {found.total} of {counted(found.seconds, 'second')} the generator was overloaded"
        f" ({why}): {WHAT_OVERLOAD_MEANS}."
    )


def _clock(run: Run) -> str:
    stepped = overload_of(run).clock
    if not stepped:
        return ""
    return (
        f"The wall clock was stepped in {counted(stepped, 'second')}: latencies of http.Session"
        " that span the step are off by it."
    )


def _workers(run: Run) -> str:
    lost = sum(event.kind == "worker-lost" for event in run.events)
    if not lost:
        return ""
    times = "once" if lost == 1 else f"{lost} times"
    return f"A worker was lost {times}: its figures since its last report are missing each time."


def _descriptors(run: Run) -> str:
    limit = min((one.descriptor_limit for one in run.results.health.values()), default=0)
    used = run.results.worst["descriptors"]
    if not limit or used < limit * DESCRIPTORS_SHARE:
        return ""
    return (
        f"A worker had {format_count(used)} of the {format_count(limit)} descriptors that it may"
        " open: raise the limit (ulimit -n) or use more workers."
    )


def _late(run: Run) -> str:
    late = run.results.late_reports
    if not late:
        return ""
    return f"Reports that came too late for their second: {late}; they count in the totals only."


def _refused(run: Run) -> str:
    refused = sum(event.kind == "report-refused" for event in run.events)
    if not refused:
        return ""
    return (
        f"Reports that could not be read: at least {refused}; the figures in them are lost, those"
        " shown are too low."
    )
