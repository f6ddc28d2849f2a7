"""Business Metrics: what members look at, whether there are more of them, and what they bring."""

from .alerts import alerts_now
from .frame import Board, Row, board
from .panels import BLUE, GREEN, ORANGE, YELLOW, Panel, Query, heat, ranking, series, single
from .payments import active_subscriptions, recurring_revenue, subscriptions_by_plan
from .queries import fact, increase, rate, recorded, share

VIEWS, DENIED = "content_access_total", "content_denied_total"
WATCHED = "video_stream_duration_seconds"
REGISTERED = ('type="register"', 'success="true"')
NO_CONTENT = "The library does not report yet"
NO_VIEW = "Nothing was looked at in this window"
NO_STREAM = "Nothing was watched in this window"
NOT_SCRAPED = "The application is not scraped"
DAILY = "1h"


def build() -> Board:
    """The dashboard, as Grafana reads it."""
    return board(
        "bambisleep-business",
        "Business Metrics",
        "Members, what they look at and watch, and what they bring.",
        [
            Row("", _headline()),
            Row("Content", _content()),
            Row("Watching", _watching()),
            Row("Members and subscriptions", [*_members(), alerts_now(110, 'category="business"', of="business")]),
        ],
        last="7d",
        refresh="1m",
    )


def _headline() -> list[Panel]:
    return [
        single(
            101,
            "Accounts",
            Query(fact("users", 'state="active"')),
            about="Accounts that may sign in.",
            unit="none",
            empty=NOT_SCRAPED,
            steps=(BLUE,),
            sparkline=True,
        ),
        single(
            102,
            "New accounts",
            Query(f"round({increase('auth_attempts_total', *REGISTERED)})"),
            about="Registrations that succeeded in the whole window.",
            unit="none",
            empty=NOT_SCRAPED,
            steps=(BLUE,),
        ),
        active_subscriptions(103, about="Of all plans together; Stripe Payments has them by plan."),
        recurring_revenue(104),
        single(
            105,
            "Content views",
            Query(f"round({increase(VIEWS)})"),
            about="Articles, audio and video that were opened in the whole window.",
            unit="short",
            empty=NO_CONTENT,
            steps=(BLUE,),
        ),
        single(
            106,
            "Watched",
            Query(recorded(f"{WATCHED}_sum")),
            about="Time of all finished viewings in the whole window, added up.",
            unit="s",
            empty=NO_CONTENT,
            steps=(BLUE,),
        ),
    ]


def _content() -> list[Panel]:
    return [
        series(
            111,
            "Content views by type",
            Query(f"round({increase(VIEWS, by='type', window='1h')})", "{{type}}"),
            about="Of the hour before each moment. private is for members.",
            unit="short",
            empty=NO_CONTENT,
            stacked=True,
            colours={"^public$": BLUE, "^private$": GREEN},
            width=8,
        ),
        ranking(
            112,
            "Most viewed",
            Query(f"sort_desc(topk(10, round({increase(VIEWS, by='path')}) > 0))", "{{path}}"),
            about="The ten most opened items of this window. `other` is what the catalogue does not name.",
            unit="short",
            empty=NO_VIEW,
            decimals=0,
            width=8,
        ),
        series(
            113,
            "Access denied by reason",
            Query(f"round({increase(DENIED, by='reason', window='1h')})", "{{reason}}"),
            about=(
                "Who wanted to see what he may not, in the hour before each moment. Many whose membership lapsed: see "
                "whether renewals fail (Stripe Payments)."
            ),
            unit="short",
            empty=NO_CONTENT,
            stacked=True,
            width=8,
        ),
        series(
            114,
            "Share of access denied",
            Query(share(rate(DENIED), f"({rate(VIEWS)} + {rate(DENIED)})"), "denied"),
            about="0 where nobody was denied. A step up after a deployment mark: members may be locked out.",
            unit="percentunit",
            empty=NO_VIEW,
            limits=(GREEN, (0.2, ORANGE)),
            top=1,
            width=24,
            height=6,
        ),
    ]


def _watching() -> list[Panel]:
    return [
        series(
            121,
            "Active streams",
            Query(fact("video_streams_active"), "streams"),
            about="Players that have sent a beacon in the last minute.",
            unit="none",
            empty=NO_CONTENT,
            decimals=0,
            width=8,
        ),
        series(
            122,
            "Minutes watched per hour",
            Query(f"{recorded(f'{WATCHED}_sum', window='1h')} / 60", "minutes"),
            about="Minutes of the viewings that ended in the hour before each moment.",
            unit="m",
            empty=NO_CONTENT,
            width=8,
        ),
        series(
            123,
            "Length of a viewing",
            [Query(_watch_quantile(0.5), "median"), Query(_watch_quantile(0.9), "p90")],
            about="How long people watch, over the day before each moment.",
            unit="s",
            empty=NO_STREAM,
            colours={"^median$": GREEN, "^p90$": YELLOW},
            width=8,
        ),
        heat(
            124,
            "Lengths of viewings",
            Query(recorded(f"{WATCHED}_bucket", by="le", window="$__rate_interval"), "{{le}}"),
            about="How many viewings ended after how long. A band at the very bottom: people leave at once.",
            unit="s",
            empty=NO_STREAM,
            width=24,
            every=DAILY,
        ),
    ]


def _members() -> list[Panel]:
    return [
        series(
            131,
            "Accounts by state",
            Query(fact("users"), "{{state}}"),
            about="Accounts, by whether they may sign in.",
            unit="none",
            empty=NOT_SCRAPED,
            decimals=0,
            width=6,
        ),
        series(
            132,
            "New accounts per day",
            Query(f"round({increase('auth_attempts_total', *REGISTERED, window='1d')})", "registered"),
            about="Registrations that succeeded in the day before each moment.",
            unit="none",
            empty=NOT_SCRAPED,
            decimals=0,
            width=6,
        ),
        series(
            133,
            "Active sessions",
            Query(fact("auth_active_sessions"), "sessions"),
            about="Live browser sessions and live families of refresh tokens.",
            unit="none",
            empty=NOT_SCRAPED,
            decimals=0,
            width=6,
        ),
        subscriptions_by_plan(134, width=6),
    ]


def _watch_quantile(q: float) -> str:
    return f"histogram_quantile({q}, {recorded(f'{WATCHED}_bucket', by='le', window='1d')})"
