"""Stripe's events, as they are dealt with."""

from observability.metrics import counter, histogram

# What this site acts on; every other type is accepted, noted, and counted as "other".
HANDLED = (
    "charge.captured",
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.funds_reinstated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.updated",
    "charge.failed",
    "charge.refund.updated",
    "charge.refunded",
    "charge.succeeded",
    "charge.updated",
    "checkout.session.async_payment_failed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.completed",
    "checkout.session.expired",
    "customer.created",
    "customer.deleted",
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.trial_will_end",
    "customer.subscription.updated",
    "customer.updated",
    "invoice.created",
    "invoice.finalized",
    "invoice.marked_uncollectible",
    "invoice.paid",
    "invoice.payment_action_required",
    "invoice.payment_failed",
    "invoice.payment_succeeded",
    "invoice.updated",
    "invoice.voided",
    "price.created",
    "price.deleted",
    "price.updated",
    "product.created",
    "product.deleted",
    "product.updated",
    "refund.created",
    "refund.failed",
    "refund.updated",
)
OUTCOMES = ("processed", "duplicate", "failed", "rejected")

EVENTS = counter(
    "stripe_webhook_events_total",
    "Requests to the webhook endpoint, by the event's type and what came of it; rejected ones are of the type other.",
    type=(*HANDLED, "other"),
    outcome=OUTCOMES,
)
DURATION = histogram(
    "stripe_webhook_duration_seconds",
    "From an event's arrival to the answer that Stripe gets.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)


def event(type: str, outcome: str, *, seconds: float) -> None:
    """Count one request to the endpoint; `type` is bounded here."""
    EVENTS.labels(type if type in HANDLED else "other", outcome).inc()
    DURATION.observe(seconds)
