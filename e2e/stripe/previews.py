"""What a change of a subscription would bill: made in a copy of everything, which is thrown away."""

from copy import deepcopy

from e2e.stripe import invoices, subscriptions
from e2e.stripe.state import State
from e2e.stripe.wire import Object, required


def create(state: State, params: Object) -> Object:
    """POST /v1/invoices/create_preview, for a subscription and other items of it."""
    required(params, "subscription")
    copy = State(now=lambda: state.now, public_url=state.public_url)
    copy.remember(deepcopy(state.remembered()) | {"_offset_seconds": 0})
    subscription = copy.get("subscription", params["subscription"], param="subscription")
    before, asked = subscription["latest_invoice"], params.get("subscription_details") or {}
    subscriptions.update(copy, subscription, asked)
    if subscription["latest_invoice"] == before:  # it waits for the next invoice
        subscription["status"] = "active"
        subscriptions.next_period(subscription, subscriptions.period_end(subscription))
        lines = invoices.period_lines(copy, subscription)
        invoices.finalise(copy, invoices.draft(copy, subscription, reason="upcoming", lines=lines))
    invoice = list(copy.objects["invoice"].values())[-1]
    invoice["parent"]["subscription_details"]["subscription_proration_date"] = state.now
    return invoice | {"id": f"upcoming_{invoice['id']}", "status": "draft", "billing_reason": "upcoming"}
