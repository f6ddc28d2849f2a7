"""HTTP RED Metrics: is the site up, fast and free of errors, and if not, on which route."""

from .alerts import alerts_now
from .frame import Board, Row, board, choice
from .panels import BLUE, GREEN, ORANGE, RED, YELLOW, Column, Panel, Query, heat, series, single, states, table
from .platform import database, host, platform, processes
from .queries import JOB, buckets, increase, or_zero, quantile, rate, share

# Requests are counted by the durations' own count: its series stand at 0 from the start, while those of a status are
# there from its first answer on, which no rate sees.
TIMED = "http_request_duration_seconds"
REQUESTS = f"{TIMED}_count"
ERRORS = "http_requests_errors_total"
THESE = ('instance=~"$instance"', 'route=~"$route"')
BY_ROUTE = "method, route"
NO_TRAFFIC = "No request in this window"
LATENCY = (GREEN, (0.5, YELLOW), (1, RED))
STATUS_COLOURS = {"^2..$": GREEN, "^3..$|^1..$": BLUE, "^4..$": YELLOW, "^5..$": RED}
AVAILABILITY_BUDGET, LATENCY_BUDGET = 0.001, 0.01


def build() -> Board:
    """The dashboard, as Grafana reads it."""
    return board(
        "bambisleep-http",
        "HTTP RED Metrics",
        "Rate, errors and duration of every request; below, the host and the platform under it.",
        [
            Row("", [*_headline(), alerts_now(110, 'category!="none"', of="anything", height=5)]),
            Row("Rate, errors, duration", _red()),
            Row("Routes", _routes()),
            Row("Availability and error budgets", _budgets()),
            Row("Host", host()),
            Row("Platform", platform()),
            Row("Processes and database", [*processes(), *database()]),
        ],
        variables=[
            choice("instance", "Process", f"label_values({REQUESTS}{{{JOB}}}, instance)", several=True),
            choice("route", "Route", f"label_values({REQUESTS}{{{JOB}}}, route)", several=True),
        ],
        last="3h",
    )


def _headline() -> list[Panel]:
    failed = share(rate(ERRORS, *THESE), rate(REQUESTS, *THESE))
    return [
        single(
            101,
            "Requests",
            Query(or_zero(rate(REQUESTS, *THESE))),
            about="Requests a second, all processes together. Zero while people are about: is the proxy in front up?",
            unit="reqps",
            empty=NO_TRAFFIC,
            steps=(BLUE,),
            sparkline=True,
        ),
        single(
            102,
            "Errors",
            Query(failed),
            about=(
                "Share of requests answered 4xx or 5xx. A few per cent of 4xx is life on the internet; from 5 % on, "
                "HighErrorRate fires. The tables below say on which routes."
            ),
            unit="percentunit",
            empty=NO_TRAFFIC,
            steps=(GREEN, (0.02, YELLOW), (0.05, RED)),
            decimals=1,
            sparkline=True,
        ),
        single(
            103,
            "p95 latency",
            Query(quantile(0.95, TIMED, *THESE)),
            about=(
                "Nineteen of twenty requests are faster than this. From 1 s on for five minutes, SlowResponseTime "
                "fires."
            ),
            unit="s",
            empty=NO_TRAFFIC,
            steps=LATENCY,
            sparkline=True,
        ),
        single(
            104,
            "Processes",
            [Query(f"sum(up{{{JOB}}})", "up"), Query(f"sum(1 - up{{{JOB}}})", "down")],
            about="Application processes that Prometheus can scrape, and those that it cannot. Normal is none down.",
            unit="none",
            empty="Prometheus knows of no process",
            steps=(RED, (1, GREEN)),
            others={"down": (GREEN, (1, RED))},
        ),
        _budget_left(
            105, "Availability budget left", "failed", AVAILABILITY_BUDGET, "99.9 % of requests not answered 5xx"
        ),
        _budget_left(106, "Latency budget left", "slow", LATENCY_BUDGET, "99 % of requests answered within a second"),
    ]


def _red() -> list[Panel]:
    return [
        series(
            111,
            "Requests by status",
            Query(rate("http_requests_total", *THESE, by="status"), "{{status}}"),
            about="What is asked and how it is answered. 499 is a client that hung up before the end.",
            unit="reqps",
            empty=NO_TRAFFIC,
            stacked=True,
            colours=STATUS_COLOURS,
            width=8,
        ),
        series(
            11,
            "Error rate",
            [
                Query(share(rate(ERRORS, *THESE), rate(REQUESTS, *THESE)), "4xx and 5xx"),
                Query(share(rate(ERRORS, 'type="server_error"', *THESE), rate(REQUESTS, *THESE)), "5xx alone"),
            ],
            about=(
                "Share of requests that fail. HighErrorRate fires above 5 % for two minutes, given at least one "
                "request in five seconds. 5xx is our fault: look at the log by route. 4xx is mostly a client's: a "
                "wrong link, a scanner, or sign-ins that fail (Auth & Security)."
            ),
            unit="percentunit",
            empty=NO_TRAFFIC,
            limits=(GREEN, (0.05, RED)),
            colours={"^5xx": RED, "^4xx": ORANGE},
            width=8,
        ),
        series(
            12,
            "Latency",
            [
                Query(quantile(0.5, TIMED, *THESE), "p50"),
                Query(quantile(0.95, TIMED, *THESE), "p95"),
                Query(quantile(0.99, TIMED, *THESE), "p99"),
            ],
            about=(
                "How long requests take to their last byte (to the first, on routes that stream media). "
                "SlowResponseTime fires while p95 is above 1 s for five minutes. Look for the route in the table "
                "below, then at the database. Bounds of the buckets: 10 ms to 10 s; between two of them it is "
                "interpolated."
            ),
            unit="s",
            empty=NO_TRAFFIC,
            limits=(GREEN, (1, RED)),
            colours={"^p50$": GREEN, "^p95$": YELLOW, "^p99$": ORANGE},
            width=8,
        ),
        heat(
            112,
            "Durations",
            Query(buckets(TIMED, *THESE), "{{le}}", exemplars=True),
            about=(
                "How many requests a second fall into each bucket of duration. Two bands mean two kinds of request, "
                "or one kind that sometimes waits. The dots are single requests: their request_id stands in the log, "
                "too."
            ),
            unit="s",
            empty=NO_TRAFFIC,
            width=16,
        ),
        series(
            113,
            "In progress",
            Query("sum(http_requests_in_progress{" + ", ".join((JOB, THESE[0])) + "})", "in progress"),
            about=(
                "Requests being answered now. It climbs when something behind the site is slow: database, disk, Stripe."
            ),
            unit="none",
            empty="The application is not scraped",
            decimals=0,
            width=8,
        ),
    ]


def _routes() -> list[Panel]:
    whole = rate("http_requests_total", *THESE, by=BY_ROUTE)
    failed = f"clamp_max({share(rate(ERRORS, *THESE, by=BY_ROUTE), whole, by=BY_ROUTE)}, 1)"
    return [
        table(
            121,
            "Routes",
            [Query(f"{whole} > 0"), Query(failed), Query(f"{quantile(0.95, TIMED, *THESE, by=BY_ROUTE)} >= 0")],
            [
                Column("method", "Method", width=90),
                Column(
                    "route",
                    "Route",
                    link="/d/bambisleep-http?var-route=${__value.raw:percentencode}&${__url_time_range}",
                ),
                Column("Value #A", "Requests", unit="reqps", width=110),
                Column("Value #B", "Errors", unit="percentunit", decimals=1, steps=(GREEN, (0.05, RED)), width=90),
                Column("Value #C", "p95", unit="s", steps=LATENCY, width=100),
            ],
            about="Routes asked for just now, the busiest first. A click on one shows it alone.",
            empty=NO_TRAFFIC,
            sort="Requests",
            height=10,
        ),
        table(
            122,
            "Errors by route",
            Query(f"round({increase(ERRORS, *THESE, by='method, route, type')}) > 0"),
            [
                Column("method", "Method", width=90),
                Column("route", "Route"),
                Column("type", "Type", width=130),
                Column("Value", "Errors", unit="short", decimals=0, width=100),
            ],
            about=(
                "How many requests were answered 4xx (client_error) or 5xx (server_error) in the window. `unmatched` "
                "is what no route knows: scanners, or a broken link."
            ),
            empty="No error in this window",
            sort="Errors",
            height=10,
        ),
        series(
            123,
            "Requests by route",
            Query(f"topk(10, {rate('http_requests_total', *THESE, by='route')})", "{{route}}"),
            about="The ten busiest routes at each moment.",
            unit="reqps",
            empty=NO_TRAFFIC,
            stacked=True,
            width=8,
        ),
        series(
            124,
            "Error share by route",
            Query(failed, "{{method}} {{route}}"),
            about="Share of each route's requests that fail; 0 where none does, a gap where nobody asks.",
            unit="percentunit",
            empty=NO_TRAFFIC,
            limits=(GREEN, (0.05, RED)),
            top=1,
            width=8,
        ),
        series(
            125,
            "p95 latency by route",
            Query(quantile(0.95, TIMED, *THESE, by="route"), "{{route}}"),
            about="Nineteen of twenty requests of each route are faster than this.",
            unit="s",
            empty=NO_TRAFFIC,
            limits=(GREEN, (1, RED)),
            width=8,
        ),
    ]


def _budgets() -> list[Panel]:
    return [
        states(
            13,
            "Processes up",
            Query(f"min by (instance) (up{{{JOB}}})", "{{instance}}"),
            about=(
                "Whether each process answers its scrape. ApplicationDown is a warning when one does not, critical "
                "when none does. A short red stretch at a deployment mark is that restart."
            ),
            empty="Prometheus knows of no process",
            words={"1": ("up", GREEN), "0": ("down", RED)},
            width=8,
        ),
        _burn(
            14, "Availability error budget", "availability", AVAILABILITY_BUDGET, "answered 5xx, of which 0.1 % may be"
        ),
        _burn(15, "Latency error budget", "latency", LATENCY_BUDGET, "slower than a second, of which 1 % may be"),
    ]


def _budget_left(id: int, title: str, what: str, budget: float, aim: str) -> Panel:
    spent = f"sum_over_time(slo:http_requests_{what}:rate5m[30d]) / (sum_over_time(slo:http_requests:rate5m[30d]) > 0)"
    return single(
        id,
        title,
        Query(f"1 - {spent} / {budget}"),
        about=(
            f"How much of what may go wrong in 30 days is still left; the aim is {aim}. Below 0 the aim is missed: let "
            "reliability come before features until it recovers."
        ),
        unit="percentunit",
        empty="No request in 30 days",
        steps=(RED, (0, ORANGE), (0.25, YELLOW), (0.5, GREEN)),
        decimals=1,
    )


def _burn(id: int, title: str, what: str, budget: float, share_of: str) -> Panel:
    windows = ("5m", "1h", "6h", "3d")
    return series(
        id,
        title,
        [Query(f"slo:http_{what}:error_ratio_{window} / {budget}", window) for window in windows],
        about=(
            f"How fast the budget burns: the share of requests {share_of}, divided by that share, over several "
            "windows. At 1 the budget of 30 days lasts 30 days. The alert fires when an hour and five minutes are "
            "both above 14.4 (2 % of the budget gone in an hour), and for slower burns: 6 over six hours, 3 over a "
            "day, 1 over three days."
        ),
        unit="none",
        empty=NO_TRAFFIC,
        limits=(GREEN, (1, YELLOW), (14.4, RED)),
        decimals=1,
        width=8,
    )
