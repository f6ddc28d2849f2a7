"""DORA Metrics: how often, how fast and how safely one service is delivered, over the last 30 days."""

from .alerts import alerts_now
from .frame import Board, Row, board, choice
from .panels import BLUE, GREEN, ORANGE, RED, YELLOW, Column, Panel, Query, heat, ranking, series, single, table
from .queries import JOB, fact, recorded, since

HOUR, DAY = 3600, 86_400
HERE = ('service="$service"', 'environment="$environment"')
# The buckets of dora.dev's Quick Check, 2026. Change fail rate and rework rate have none.
TIMES = (GREEN, (DAY, YELLOW), (7 * DAY, ORANGE), (30 * DAY, RED))
MONTH = "2592000.0|2.592e.06"  # as Prometheus 2 and 3 write the bound of 30 days
TIERS = "Colours are the buckets of dora.dev's Quick Check (2026)"
OWN_TIMES = "Computed from the rows' own times, as `/dora` gives it: imported history shows where it belongs."
NONE = "No deployment in 30 days"
NO_COMMIT = "No new commit in 30 days"
NO_RECOVERY = "No recovery in 30 days"


def build() -> Board:
    """The dashboard, as Grafana reads it."""
    return board(
        "bambisleep-dora",
        "DORA Metrics",
        "The five delivery measures of one service in one environment, as dora.dev words them (2026).",
        [
            Row("", _measures()),
            Row("Now", _now()),
            Row("Over time", _trends()),
            Row("As recorded in this window", _recorded()),
            Row("What the measures stand on", _ground()),
        ],
        variables=[
            choice(
                "service",
                "Service",
                f"label_values(deployment_frequency_total{{{JOB}}}, service)",
                default="bambisleep",
            ),
            choice(
                "environment",
                "Environment",
                f'label_values(deployment_frequency_total{{{JOB}, service="$service"}}, environment)',
                default="production",
            ),
        ],
        last="30d",
        refresh="1m",
        deployments=", ".join(HERE),
    )


def _measures() -> list[Panel]:
    return [
        single(
            101,
            "Deployments per day",
            Query(_gauge("dora_deployments_per_day")),
            about=(
                f"Finished deployments, whatever their kind and result, ÷ 30 days. {TIERS}: once a day or more is "
                f"green. {OWN_TIMES}"
            ),
            unit="none",
            empty=NONE,
            steps=(RED, (1 / 30, ORANGE), (1 / 7, YELLOW), (1, GREEN)),
            decimals=2,
        ),
        single(
            102,
            "Lead time (median)",
            Query(_gauge("dora_change_lead_time_seconds", 'quantile="0.5"')),
            about=f"From a commit's authoring to the end of the deployment that first brought it. {TIERS}. {OWN_TIMES}",
            unit="s",
            empty=NO_COMMIT,
            steps=TIMES,
        ),
        single(
            12,
            "Change failure rate",
            Query(_gauge("change_failure_rate")),
            about=(
                "Per cent of the finished deployments that failed, were rolled back or caused an incident. "
                "HighChangeFailureRate fires above 15 %, given five deployments. Look at what the failed ones have in "
                "common. dora.dev's clusters are not monotonic here, so the colours are the alert's alone."
            ),
            unit="percent",
            empty=NONE,
            steps=(GREEN, (15, RED)),
            decimals=1,
        ),
        single(
            103,
            "Recovery time (median)",
            Query(_gauge("dora_recovery_time_seconds", 'quantile="0.5"')),
            about=f"From start to resolution of the incidents that a change caused. {TIERS}. {OWN_TIMES}",
            unit="s",
            empty=NO_RECOVERY,
            steps=(GREEN, (HOUR, YELLOW), (DAY, ORANGE), (7 * DAY, RED)),
        ),
        single(
            104,
            "Rework rate",
            Query(_gauge("dora_rework_rate")),
            about="Share of hotfixes and rollbacks in the finished deployments. dora.dev publishes no buckets for it.",
            unit="percentunit",
            empty=NONE,
            steps=(BLUE,),
            decimals=1,
        ),
        single(
            11,
            "Since the last deployment",
            Query(since(f"max({_gauge('deployment_last_timestamp_seconds')})")),
            about=(
                "How long ago the last deployment finished. LowDeploymentFrequency fires after seven days: has the "
                "pipeline stopped, or only its reports (`record_deploy`)?"
            ),
            unit="s",
            empty="No deployment recorded yet",
            steps=(GREEN, (4 * DAY, YELLOW), (7 * DAY, RED)),
        ),
    ]


def _now() -> list[Panel]:
    oldest = _gauge("incident_oldest_open_timestamp_seconds")
    return [
        single(
            13,
            "Oldest open incident",
            Query(since(f"min({oldest})")),
            about=(
                "How long the incident open longest has been open. SlowIncidentRecovery fires after four hours: is it "
                "over, and was only never resolved (`resolve_incident`, or the admin)?"
            ),
            unit="s",
            empty="No open incident",
            steps=(YELLOW, (4 * HOUR, RED)),
            width=4,
        ),
        single(
            105,
            "Open incidents",
            Query(f"sum({_gauge('incidents_open')})"),
            about="Incidents not yet resolved, of every severity. Normal is 0.",
            unit="none",
            empty="The application is not scraped",
            steps=(GREEN, (1, RED)),
            width=4,
        ),
        table(
            106,
            "Open incidents by severity",
            [Query(f"{_gauge('incidents_open')} > 0"), Query(since(oldest))],
            [
                Column("severity", "Severity"),
                Column("Value #A", "Open", unit="none", width=80),
                Column("Value #B", "Oldest open for", unit="s", steps=(YELLOW, (4 * HOUR, RED)), width=150),
            ],
            about="Each severity with an open incident. Who, when and why stands in the admin, under Incidents.",
            empty="No open incident",
            sort="Open",
            width=6,
            height=4,
        ),
        alerts_now(107, 'category="dora", service="$service"', of="delivery", width=10, height=4),
    ]


def _trends() -> list[Panel]:
    return [
        series(
            111,
            "Deployments per day",
            Query(_gauge("dora_deployments_per_day"), "deployments per day"),
            about="Over the 30 days before each moment. The marks are the deployments themselves.",
            unit="none",
            empty=NONE,
            decimals=2,
        ),
        series(
            112,
            "Change lead time",
            [
                Query(_gauge("dora_change_lead_time_seconds", 'quantile="0.5"'), "median"),
                Query(_gauge("dora_change_lead_time_seconds", 'quantile="0.9"'), "p90"),
            ],
            about=(
                "Over the 30 days before each moment. Median and p90 far apart: some changes wait long for their "
                "release."
            ),
            unit="s",
            empty=NO_COMMIT,
            colours={"^median$": GREEN, "^p90$": ORANGE},
        ),
        series(
            113,
            "Change failure rate and rework rate",
            [
                Query(_gauge("change_failure_rate"), "change failure rate"),
                Query(f"100 * {_gauge('dora_rework_rate')}", "rework rate"),
            ],
            about="Over the 30 days before each moment. Both up together: changes are too large, or tested too late.",
            unit="percent",
            empty=NONE,
            limits=(GREEN, (15, RED)),
            colours={"^change": RED, "^rework": ORANGE},
        ),
        series(
            114,
            "Recovery time",
            [
                Query(_gauge("dora_recovery_time_seconds", 'quantile="0.5"'), "median"),
                Query(_gauge("dora_recovery_time_seconds", 'quantile="0.9"'), "p90"),
            ],
            about="Over the 30 days before each moment, of the incidents that a change caused.",
            unit="s",
            empty=NO_RECOVERY,
            colours={"^median$": GREEN, "^p90$": ORANGE},
        ),
    ]


def _recorded() -> list[Panel]:
    day = "$__interval"
    every = "1d"
    return [
        series(
            121,
            "Deployments recorded each day",
            [
                Query(_count("deployment_frequency_total", window=day), "finished"),
                Query(_count("deployment_failures_total", window=day), "failed changes"),
            ],
            about=(
                "Each bar is the day that ends there (UTC). Counted when it was recorded: an import of last year's "
                "history stands at the day of the import."
            ),
            unit="none",
            empty="No deployment in this window",
            bars=True,
            every=every,
            decimals=0,
            colours={"^finished$": GREEN, "^failed": RED},
        ),
        heat(
            122,
            "Lead times",
            Query(_count("deployment_lead_time_seconds_bucket", by="le", window=day, whole=False), "{{le}}"),
            about=(
                "How many commits were deployed with which lead time, each day. A band that climbs is a queue that "
                "grows."
            ),
            unit="s",
            empty="No commit deployed in this window",
            every=every,
        ),
        ranking(
            123,
            "Lead times, spread",
            [
                Query(_commits(None, "3600.0"), "less than an hour"),
                Query(_commits("3600.0", "86400.0"), "less than a day"),
                Query(_commits("86400.0", "604800.0"), "less than a week"),
                Query(_commits("604800.0", MONTH), "less than a month"),
                Query(_commits(MONTH, "[+]Inf"), "a month or more"),
            ],
            about="Commits deployed in the window, by lead time.",
            unit="none",
            empty="No commit deployed in this window",
            decimals=0,
        ),
        series(
            124,
            "Recoveries recorded each day",
            Query(_count("mttr_seconds_count", window=day), "resolved"),
            about="Incidents caused by a change that were resolved, each day (UTC), when it was recorded.",
            unit="none",
            empty="No recovery in this window",
            bars=True,
            every=every,
            decimals=0,
        ),
    ]


def _ground() -> list[Panel]:
    return [
        table(
            131,
            "Rows behind each measure",
            Query(f"max by (measure) ({_gauge('dora_samples')})"),
            [Column("measure", "Measure"), Column("Value", "Rows", unit="none", decimals=0, width=120)],
            about=(
                "How many deployments, commits or incidents a measure of the last 30 days stands on. Few rows: trust "
                "it little."
            ),
            empty="Nothing recorded yet",
            sort="Rows",
            height=7,
        ),
        table(
            132,
            "Left out, and why",
            Query(f"max by (measure, reason) ({_gauge('dora_excluded')})"),
            [
                Column("measure", "Measure"),
                Column("reason", "Reason"),
                Column("Value", "Rows", unit="none", decimals=0, steps=(GREEN, (1, YELLOW)), width=120),
            ],
            about=(
                "Rows of the last 30 days that a measure does not count: commits of a first deployment, of rollbacks, "
                "deployed before, with a negative time; incidents not caused by a change, or not resolved yet."
            ),
            empty="Nothing recorded yet",
            sort="Rows",
            height=7,
        ),
    ]


def _gauge(metric: str, *matchers: str) -> str:
    return fact(metric, *HERE, *matchers)


def _count(counter: str, *, by: str = "", window: str, whole: bool = True) -> str:
    grown = recorded(counter, *HERE, by=by, window=window)
    return f"round({grown})" if whole else grown


def _commits(above: str | None, upto: str) -> str:
    all_below = recorded("deployment_lead_time_seconds_bucket", *HERE, f'le=~"{upto}"')
    if above is None:
        return f"round({all_below})"
    less = recorded("deployment_lead_time_seconds_bucket", *HERE, f'le=~"{above}"')
    return f"round({all_below} - {less})"
