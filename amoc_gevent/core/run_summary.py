"""The summary of a run as dataclasses. docs/metrics.md describes each field of its JSON form.

Latencies are in µs, time labels are ISO 8601, rates are per second.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from amoc_gevent.core.answers import Answer, UsersByState
from amoc_gevent.core.run.plan import Options, Status

# `Distribution` and its bases have no slots, because Python cannot combine two bases with slots.
# The order of the fields is their order in the JSON.


@dataclass(frozen=True)
class Distribution:
    """Minimum, mean, maximum and percentiles."""

    min: float
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    p999: float
    max: float


@dataclass(frozen=True)
class _Count:
    count: int


@dataclass(frozen=True)
class _Unit:
    unit: str


@dataclass(frozen=True)
class CountedDistribution(Distribution, _Count):
    """A distribution with the number of its values."""


@dataclass(frozen=True)
class HistogramFigures(Distribution, _Count, _Unit):
    """A histogram defined by the scenario, in its `unit`."""


@dataclass(frozen=True, slots=True)
class RunFigures:
    """The run as requested, and its times; fields as in `Run`.

    `load_s`: seconds in which load was made, which rates are over. It is `duration_s` unless users
    still had operations to finish at the end of the duration.
    """

    id: str
    scenario: str
    file: str
    first: int
    last: int
    assigned: int
    removed: int
    status: Status
    failure: str | None
    comment: str
    started_at: str | None
    ended_at: str | None
    duration_s: float
    load_s: float
    asked_duration_s: float | None
    workers: int
    settings: Mapping[str, str]
    options: Options


@dataclass(frozen=True, slots=True)
class UserFigures:
    """Numbers of users started, present at the peak and failed, and iterations of all users."""

    started: int
    peak: int
    failed: int
    iterations: int


@dataclass(frozen=True, slots=True)
class OperationSummary:
    """One operation over the whole run; `error_groups` counts errors by kind."""

    count: int
    errors: int
    interrupted: int
    rate: float
    latency_us: Distribution
    phases_us: Mapping[str, CountedDistribution]
    error_groups: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class GaugeFigures:
    """The last, lowest and highest value of a gauge."""

    last: float
    min: float
    max: float
    unit: str


@dataclass(frozen=True, slots=True)
class UnevenPair:
    """A pair with missing, duplicated or reordered messages; fields as in `Balance`."""

    sender: str = field(metadata={"json": "from"})
    to: str
    sent: int
    delivered: int
    lost: int
    on_the_way: int
    duplicated: int
    reordered: int
    delayed: int
    bounced: int


@dataclass(frozen=True, slots=True)
class MessageFigures:
    """Totals of the tracked messages, as in `Balance`, and the uneven pairs.

    `strays` were not sent by any user of the run.
    """

    sent: int
    delivered: int
    lost: int
    on_the_way: int
    duplicated: int
    reordered: int
    delayed: int
    bounced: int
    strays: int
    pairs: int
    pairs_uneven: int
    uneven: tuple[UnevenPair, ...]


@dataclass(frozen=True, slots=True)
class ErrorSummary:
    """A group of exceptions raised by users; `first` and `last` are time labels."""

    type: str
    place: str
    message: str
    count: int
    first: str
    last: str
    detail: str


@dataclass(frozen=True, slots=True)
class EventLine:
    """One event of the run."""

    time: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class ClockFigures:
    """How far a node's wall clock was behind the master's, and the error bound; None if unknown."""

    offset_us: int | None
    bound_us: int | None


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """A worker in its latest second; fields as in `Health`."""

    node: str
    worker: int
    second: int
    pid: int
    cpu: float
    timer_lag_us: int
    pickup_lag_us: int
    rss: int
    descriptors: int
    descriptor_limit: int
    clock_step_s: float
    silent: bool


@dataclass(frozen=True, slots=True)
class Worst:
    """The highest values of any worker: share of a core, lag in µs, bytes, open descriptors."""

    cpu: float
    lag_us: int
    rss: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class OverloadedSeconds:
    """Seconds in which the generator was at its limit; `total` counts those with lag or cpu."""

    total: int
    lag: int
    cpu: int
    clock: int


@dataclass(frozen=True, slots=True)
class HealthFigures:
    """The health of the generator; `verdict` is a list of sentences."""

    workers: tuple[WorkerHealth, ...]
    worst: Worst
    overloaded_seconds: OverloadedSeconds
    pickup_lag_us: CountedDistribution
    late_reports: int
    verdict: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OperationSecond:
    """One operation in one second."""

    count: int
    errors: int
    interrupted: int
    p50_us: float
    p95_us: float
    p99_us: float
    max_us: float


@dataclass(frozen=True, slots=True)
class SecondRow:
    """One second of the run. `second` counts from 1970; `marks` is as in `Row`."""

    second: int
    time: str
    elapsed_s: int
    users: UsersByState
    started: int
    iterations: int
    failed: int
    operations: Mapping[str, OperationSecond]
    counters: Mapping[str, int]
    gauges: Mapping[str, float]
    cpu: float
    lag_us: int
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The whole summary. `schema` is the version of this format."""

    schema: int
    run: RunFigures
    users: UserFigures
    operations: Mapping[str, OperationSummary]
    counters: Mapping[str, int]
    gauges: Mapping[str, GaugeFigures]
    histograms: Mapping[str, HistogramFigures]
    messages: MessageFigures | None
    errors: tuple[ErrorSummary, ...]
    events: tuple[EventLine, ...]
    clocks: Mapping[str, ClockFigures]
    health: HealthFigures
    rows: tuple[SecondRow, ...]


@dataclass(frozen=True, slots=True)
class SummaryAnswer(Answer):
    """`summary` with `form` json."""

    summary: RunSummary
