"""Auth & Security: are people able to sign in, and is somebody trying what he should not."""

from .alerts import alerts_now
from .frame import Board, Row, board
from .panels import BLUE, GREEN, ORANGE, RED, YELLOW, Column, Panel, Query, series, single, table
from .queries import fact, increase, or_zero, quantile, rate, share

ATTEMPTS, EVENTS = "auth_attempts_total", "security_events_total"
FAILED, SUCCEEDED = 'success="false"', 'success="true"'
LOGIN, REGISTER = 'type="login"', 'type="register"'
TRAVERSAL = 'type="directory_traversal"'
AUTH_ROUTES = 'route=~"/auth/.*|/accounts/.*|/admin/login.*"'
QUIET = "No sign-in in this window"
NO_EVENT = "No security event in this window"
NOT_SCRAPED = "The application is not scraped"


def build() -> Board:
    """The dashboard, as Grafana reads it."""
    return board(
        "bambisleep-auth",
        "Auth & Security",
        "Sign-ins, sessions, and what looks like an attack.",
        [
            Row("", [*_headline(), alerts_now(110, 'category="security"', of="security", height=5)]),
            Row("Sign-ins", _sign_ins()),
            Row("What looks like an attack", _attacks()),
            Row("Accounts and sessions", _accounts()),
        ],
        last="6h",
    )


def _headline() -> list[Panel]:
    return [
        single(
            101,
            "Failed sign-ins (5 min)",
            Query(f"floor({increase(ATTEMPTS, LOGIN, FAILED, window='5m')})"),
            about="Failed sign-ins of the last five minutes. HighAuthFailures fires above 10.",
            unit="none",
            empty=NOT_SCRAPED,
            steps=(GREEN, (5, YELLOW), (11, RED)),
            sparkline=True,
        ),
        single(
            102,
            "Share of sign-ins that fail",
            Query(share(increase(ATTEMPTS, LOGIN, FAILED), increase(ATTEMPTS, LOGIN))),
            about=(
                "In the whole window. People mistype one in ten or so; far more is guessing, or a sign-in that is "
                "broken."
            ),
            unit="percentunit",
            empty=QUIET,
            steps=(GREEN, (0.3, YELLOW), (0.6, RED)),
            decimals=0,
        ),
        single(
            103,
            "Active sessions",
            Query(fact("auth_active_sessions")),
            about=(
                "Live browser sessions and live families of refresh tokens. A sudden drop signs people out: a new key?"
            ),
            unit="none",
            empty=NOT_SCRAPED,
            steps=(BLUE,),
            sparkline=True,
        ),
        single(
            104,
            "Accounts",
            Query(fact("users", 'state="active"')),
            about="Accounts that may sign in.",
            unit="none",
            empty=NOT_SCRAPED,
            steps=(BLUE,),
            sparkline=True,
        ),
        single(
            105,
            "Security events",
            Query(f"round({increase(EVENTS)})"),
            about=(
                "What looked like an attack, in the whole window. A few each hour are scanners, which every site has."
            ),
            unit="none",
            empty=NOT_SCRAPED,
            steps=(GREEN, (100, YELLOW), (1000, RED)),
        ),
        single(
            106,
            "Events not stored",
            Query(f"round({increase('security_events_dropped_total')})"),
            about=(
                "Security events that were counted but whose who and where was not kept: more than 20 a minute of one "
                "address and type. Normal is 0; above it, the rows in the admin are a sample."
            ),
            unit="none",
            empty=NOT_SCRAPED,
            steps=(GREEN, (1, YELLOW)),
        ),
    ]


def _sign_ins() -> list[Panel]:
    return [
        series(
            11,
            "Failed sign-ins",
            Query(f"floor({increase(ATTEMPTS, LOGIN, FAILED, window='5m')})", "failed in 5 minutes"),
            about=(
                "Failed sign-ins in the five minutes before each moment; HighAuthFailures fires above 10. Look in the "
                "admin's security events for the address or account that stands out; lock-out answers by itself."
            ),
            unit="none",
            empty=NOT_SCRAPED,
            limits=(GREEN, (10, RED)),
            colours={".*": ORANGE},
            decimals=0,
        ),
        series(
            111,
            "Attempts",
            Query(rate(ATTEMPTS, by="type, success"), "{{type}} {{success}}"),
            about=(
                "Attempts a second to sign in (login), to register, and to use a token (jwt: refreshes, and bearer "
                "tokens that failed), by success."
            ),
            unit="reqps",
            empty=NOT_SCRAPED,
            stacked=True,
            colours={" true$": GREEN, " false$": ORANGE},
        ),
        series(
            112,
            "Share of attempts that fail",
            Query(
                share(rate(ATTEMPTS, FAILED, by="type"), rate(ATTEMPTS, by="type"), by="type"),
                "{{type}}",
            ),
            about=(
                "0 where none fails, a gap where nobody tries. All of login failing at once: look at the log, it may "
                "be us."
            ),
            unit="percentunit",
            empty=QUIET,
            top=1,
            width=8,
        ),
        series(
            113,
            "Answers of the sign-in routes",
            Query(rate("http_requests_total", AUTH_ROUTES, by="status"), "{{status}}"),
            about="How the routes of signing in answer. 401 is a wrong password or token, 429 a limit, 5xx our fault.",
            unit="reqps",
            empty=QUIET,
            stacked=True,
            colours={"^2..$": GREEN, "^3..$": BLUE, "^4..$": YELLOW, "^5..$": RED},
            width=8,
        ),
        series(
            114,
            "p95 latency of the sign-in routes",
            Query(quantile(0.95, "http_request_duration_seconds", AUTH_ROUTES, by="route"), "{{route}}"),
            about=(
                "Checking a password takes tens of milliseconds on purpose. Seconds mean that processes wait for a "
                "core."
            ),
            unit="s",
            empty=QUIET,
            limits=(GREEN, (1, RED)),
            width=8,
        ),
    ]


def _attacks() -> list[Panel]:
    quarter = increase(EVENTS, window="15m")
    mean = f"avg_over_time({quarter}[1d:15m] offset 15m)"
    return [
        series(
            12,
            "Traversal attempts",
            Query(f"floor({increase(EVENTS, TRAVERSAL, window='5m')})", "attempts in 5 minutes"),
            about=(
                "Requests of the five minutes before each moment that tried to climb out of their directory; each was "
                "answered 400, and none reached a file. DirectoryTraversalAttempts fires above 5. Block the address "
                "if it goes on."
            ),
            unit="none",
            empty=NOT_SCRAPED,
            limits=(GREEN, (5, RED)),
            colours={".*": ORANGE},
            decimals=0,
        ),
        series(
            13,
            "Security events against their own day",
            [
                Query(quarter, "in 15 minutes"),
                Query(mean, "mean of the day before"),
                Query(f"clamp_min(5 * ({or_zero(mean)}), 20)", "alert"),
            ],
            about=(
                "SecurityEventSpike fires where the events of 15 minutes are 20 or more, and more than five times the "
                "mean of the day before. The table says of which type, the admin from where."
            ),
            unit="none",
            empty=NOT_SCRAPED,
            colours={"^in": ORANGE, "^mean": BLUE, "^alert$": RED},
            decimals=1,
        ),
        series(
            121,
            "Security events by type",
            Query(f"{rate(EVENTS, by='type')} > 0", "{{type}}"),
            about="What was noticed, a second, by type. TELEMETRY.md says what each type means.",
            unit="cps",
            empty=NO_EVENT,
            stacked=True,
        ),
        table(
            122,
            "Security events in this window",
            Query(f"round({increase(EVENTS, by='type')}) > 0"),
            [Column("type", "Type"), Column("Value", "Events", unit="short", decimals=0, width=120)],
            about="How many of each type. From where and at what stands in the admin, under Security events.",
            empty=NO_EVENT,
            sort="Events",
        ),
        series(
            123,
            "Events stored and not stored",
            [
                Query(f"{rate(EVENTS)} - {rate('security_events_dropped_total')}", "stored"),
                Query(rate("security_events_dropped_total"), "not stored"),
            ],
            about="A flood is counted in full and kept as a sample, so that it cannot fill the database.",
            unit="cps",
            empty=NOT_SCRAPED,
            colours={"^stored$": BLUE, "^not": ORANGE},
            width=24,
            height=6,
        ),
    ]


def _accounts() -> list[Panel]:
    return [
        series(
            131,
            "Active sessions",
            Query(fact("auth_active_sessions"), "sessions"),
            about="Live browser sessions and live families of refresh tokens.",
            unit="none",
            empty=NOT_SCRAPED,
            decimals=0,
            width=8,
        ),
        series(
            132,
            "Accounts by state",
            Query(fact("users"), "{{state}}"),
            about="Accounts, by whether they may sign in.",
            unit="none",
            empty=NOT_SCRAPED,
            decimals=0,
            width=8,
        ),
        series(
            133,
            "Registrations",
            Query(f"round({increase(ATTEMPTS, REGISTER, window='1h', by='success')})", "{{success}}"),
            about="Registrations of the hour before each moment, by success. A burst of successes may be a robot.",
            unit="none",
            empty=NOT_SCRAPED,
            decimals=0,
            colours={"^true$": GREEN, "^false$": ORANGE},
            width=8,
        ),
    ]
