"""Stripe Payments: what comes in, who stays, and do Stripe's events reach us."""

from .alerts import alerts_now
from .frame import Board, Row, board
from .money import PLAIN, UNITS, whole_units
from .panels import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    VALUE_AND_NAME,
    YELLOW,
    Column,
    Panel,
    Query,
    heat,
    ranking,
    series,
    single,
    table,
)
from .queries import buckets, fact, increase, quantile, rate, recorded, share, since, total

NOT_YET = "Payments are not connected yet"
WEBHOOKS, WEBHOOK_SECONDS = "stripe_webhook_events_total", "stripe_webhook_duration_seconds"
FAILURES, RENEWALS = "stripe_subscription_failures_total", "stripe_subscription_renewals_total"
FAILED = 'outcome="failed"'
OUTCOMES = {"^processed$": GREEN, "^duplicate$": BLUE, "^failed$": RED, "^rejected$": ORANGE}


def build() -> Board:
    """The dashboard, as Grafana reads it."""
    return board(
        "bambisleep-stripe",
        "Stripe Payments",
        "Revenue, subscriptions, and the events that Stripe sends. Amounts are in whole units of each currency.",
        [
            Row("", [*_headline(), alerts_now(110, 'alertname=~"Subscription.*|Stripe.*"', of="payments", height=5)]),
            Row("Money", _money()),
            Row("Subscriptions", _subscriptions()),
            Row("Webhooks", _webhooks()),
        ],
        last="24h",
        refresh="1m",
    )


def recurring_revenue(id: int) -> Panel:
    """Monthly recurring revenue, in whole units of each currency."""
    return single(
        id,
        "Monthly recurring revenue",
        Query(_recurring(), "{{currency}}"),
        about="What the active subscriptions bring in a month.",
        unit=PLAIN,
        empty=NOT_YET,
        steps=(BLUE,),
        text=VALUE_AND_NAME,
        units=UNITS,
    )


def active_subscriptions(id: int, *, about: str) -> Panel:
    """How many there are."""
    return single(
        id,
        "Active subscriptions",
        Query(_subscribers()),
        about=about,
        unit="none",
        empty=NOT_YET,
        steps=(BLUE,),
        sparkline=True,
    )


def subscriptions_by_plan(id: int, *, width: int) -> Panel:
    """How many of each plan, over time."""
    return series(
        id,
        "Active subscriptions by plan",
        Query(_subscribers("plan"), "{{plan}}"),
        about="Who may see members' content because he pays, by plan.",
        unit="none",
        empty=NOT_YET,
        stacked=True,
        decimals=0,
        width=width,
    )


def _headline() -> list[Panel]:
    return [
        single(
            101,
            "Revenue",
            Query(_grown("stripe_payment_value_total", "$__range"), "{{currency}}"),
            about="Settled charges of the whole window, gross: refunds and disputes are not taken off.",
            unit=PLAIN,
            empty=NOT_YET,
            steps=(BLUE,),
            text=VALUE_AND_NAME,
            units=UNITS,
        ),
        recurring_revenue(102),
        active_subscriptions(103, about="Of all plans together."),
        single(
            104,
            "Renewals that fail (1 h)",
            Query(_failing("1h")),
            about=(
                "Share of the last hour's renewals that failed. SubscriptionFailures fires above 10 %, given three of "
                "them."
            ),
            unit="percentunit",
            empty="No renewal in the last hour",
            steps=(GREEN, (0.05, YELLOW), (0.1, RED)),
            decimals=1,
        ),
        single(
            105,
            "Failed webhooks (15 min)",
            Query(f"floor({increase(WEBHOOKS, FAILED, window='15m')})"),
            about=(
                "Events of Stripe that we could not process. StripeWebhookErrors fires from 3 on: who paid is not let "
                "in."
            ),
            unit="none",
            empty=NOT_YET,
            steps=(GREEN, (1, YELLOW), (3, RED)),
        ),
        single(
            106,
            "Since the last webhook",
            Query(since(f"max({fact('stripe_webhook_last_processed_timestamp_seconds')})")),
            about=(
                "How long ago an event was last processed. Longer than usual for the hour: is the endpoint still "
                "enabled in Stripe's dashboard?"
            ),
            unit="s",
            empty=NOT_YET,
            steps=(GREEN, (86_400, YELLOW), (3 * 86_400, RED)),
        ),
    ]


def _money() -> list[Panel]:
    return [
        series(
            111,
            "Revenue per hour",
            Query(_grown("stripe_payment_value_total", "1h"), "{{currency}}"),
            about="Settled charges of the hour before each moment, gross.",
            unit=PLAIN,
            empty=NOT_YET,
            units=UNITS,
            width=8,
        ),
        series(
            112,
            "Monthly recurring revenue",
            Query(_recurring(), "{{currency}}"),
            about="What the active subscriptions bring in a month. A step down is a plan that lost members at once.",
            unit=PLAIN,
            empty=NOT_YET,
            units=UNITS,
            width=8,
        ),
        series(
            113,
            "Refunds and disputes per day",
            [
                Query(_grown("stripe_payment_refunds_total", "1d"), "{{currency}} refunded"),
                Query(_grown("stripe_payment_disputes_total", "1d"), "{{currency}} disputed"),
            ],
            about=(
                "Of the day before each moment. Disputes cost a fee each and endanger the account: answer them in "
                "Stripe."
            ),
            unit=PLAIN,
            empty=NOT_YET,
            units=UNITS,
            colours={"disputed$": RED, "refunded$": ORANGE},
            width=8,
        ),
    ]


def _subscriptions() -> list[Panel]:
    return [
        subscriptions_by_plan(121, width=8),
        series(
            122,
            "Subscriptions by status",
            Query(f"sum by (status) ({fact('stripe_subscriptions')})", "{{status}}"),
            about=(
                "Every subscription, by Stripe's status. Many past_due: cards expire; many incomplete: checkouts "
                "break off."
            ),
            unit="none",
            empty=NOT_YET,
            decimals=0,
            colours={"^active$": GREEN, "^past_due$|^unpaid$": RED, "^trialing$": BLUE},
            width=8,
        ),
        series(
            11,
            "Subscription failures",
            [
                Query(f"floor({recorded(FAILURES, by='reason', window='1h')})", "{{reason}}"),
                Query(f"floor({recorded(RENEWALS, window='1h')})", "renewed"),
            ],
            about=(
                "Renewals of the hour before each moment that failed, by reason, and those that went well. "
                "SubscriptionFailures fires where more than a tenth fail, three or more. card_declined alone is the "
                "cards'; all reasons at once is us or Stripe."
            ),
            unit="none",
            empty=NOT_YET,
            decimals=0,
            colours={"^renewed$": GREEN},
            width=8,
        ),
        ranking(
            123,
            "Failures by reason",
            Query(f"sort_desc(round({recorded(FAILURES, by='reason')}) > 0)", "{{reason}}"),
            about="Why subscriptions failed in this window; an invoice counts once, however often it is tried.",
            unit="none",
            empty="No failure in this window",
            steps=(ORANGE,),
            decimals=0,
        ),
        series(
            124,
            "Share of renewals that fail",
            Query(_failing("1h"), "share"),
            about="Of the hour before each moment. The line is where SubscriptionFailures fires.",
            unit="percentunit",
            empty="No renewal in this window",
            limits=(GREEN, (0.1, RED)),
            top=1,
        ),
    ]


def _webhooks() -> list[Panel]:
    return [
        series(
            12,
            "Webhook errors",
            Query(f"floor({increase(WEBHOOKS, FAILED, by='type', window='15m')}) > 0", "{{type}}"),
            about=(
                "Events of the 15 minutes before each moment that failed, by type. StripeWebhookErrors fires from 3 "
                "on, all types together. Stripe repeats each for three days; the traceback is in the log."
            ),
            unit="none",
            empty="No webhook failed in this window",
            limits=(GREEN, (3, RED)),
            decimals=0,
            width=8,
        ),
        series(
            131,
            "Webhooks by outcome",
            Query(rate(WEBHOOKS, by="outcome"), "{{outcome}}"),
            about=(
                "Events a second. duplicate: Stripe told it twice, normal. rejected: not signed by Stripe, a stranger."
            ),
            unit="reqps",
            empty=NOT_YET,
            stacked=True,
            colours=OUTCOMES,
            width=8,
        ),
        series(
            132,
            "Webhook duration",
            [Query(quantile(0.5, WEBHOOK_SECONDS), "p50"), Query(quantile(0.95, WEBHOOK_SECONDS), "p95")],
            about="How long an event takes. Stripe gives up after some seconds and repeats: stay well below 5 s.",
            unit="s",
            empty="No webhook in this window",
            limits=(GREEN, (5, RED)),
            colours={"^p50$": GREEN, "^p95$": YELLOW},
            width=8,
        ),
        table(
            133,
            "Webhooks in this window",
            Query(f"round({increase(WEBHOOKS, by='type, outcome')}) > 0"),
            [
                Column("type", "Type"),
                Column("outcome", "Outcome", width=120),
                Column("Value", "Events", unit="short", decimals=0, width=100),
            ],
            about="How many events of each type came, and what became of them.",
            empty="No webhook in this window",
            sort="Events",
        ),
        heat(
            134,
            "Webhook durations",
            Query(buckets(WEBHOOK_SECONDS), "{{le}}"),
            about="How many events a second fall into each bucket of duration.",
            unit="s",
            empty="No webhook in this window",
        ),
    ]


def _failing(window: str) -> str:
    failed, renewed = recorded(FAILURES, window=window), recorded(RENEWALS, window=window)
    return share(failed, f"({failed} + {renewed})")


def _grown(counter: str, window: str) -> str:
    return whole_units(lambda currencies: recorded(counter, currencies, by="currency", window=window))


def _recurring() -> str:
    return whole_units(lambda currencies: fact("stripe_monthly_recurring_revenue", currencies))


def _subscribers(by: str = "") -> str:
    return total(fact("stripe_subscriptions_active"), by)
