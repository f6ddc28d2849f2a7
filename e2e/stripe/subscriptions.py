"""Subscriptions: how they begin, go from period to period, change, and end."""

from typing import Any

from e2e.stripe import invoices, money
from e2e.stripe.discounts import redeem
from e2e.stripe.periods import after
from e2e.stripe.state import DAY, State
from e2e.stripe.wire import Object, Refused, flag, listed, required, whole


def period_end(subscription: Object) -> int:
    """When what runs now ends."""
    end: int = subscription["items"]["data"][0]["current_period_end"]
    return end


def create(state: State, params: Object) -> Object:
    """POST /v1/subscriptions."""
    required(params, "customer", "items")
    customer = state.get("customer", params["customer"], param="customer")
    trial_end, days = whole(params, "trial_end"), whole(params, "trial_period_days")
    card = params.get("default_payment_method")
    behaviour = params.get("payment_behavior") or "allow_incomplete"
    chosen = money.card_named(state, card, customer) if card else None
    payer = chosen or money.card_for(state, customer["invoice_settings"]["default_payment_method"])
    trial = trial_end or (state.now + days * DAY if days else None)
    if behaviour == "error_if_incomplete" and payer and not trial:
        _refuse_card(state, payer)
    return start(
        state,
        customer=customer,
        items=[(price_to_bill(state, entry), whole(entry, "quantity") or 1) for entry in params["items"]],
        trial_end=trial,
        card=chosen,
        discounts=params.get("discounts") or [],
        metadata=params.get("metadata") or {},
        collect=behaviour != "default_incomplete",
        missing=(params.get("trial_settings") or {}).get("end_behavior", {}).get("missing_payment_method"),
    )


def price_to_bill(state: State, entry: Object) -> Object:
    """The price that an entry of `items` or `line_items` names."""
    required(entry, "price")
    price = state.get("price", entry["price"], param="price")
    if not price["active"]:
        raise Refused(
            f"The price specified is inactive: {price['id']}. This field only accepts active prices.", param="price"
        )
    if price["type"] != "recurring":
        raise Refused("The price specified is set to `type=one_time`; only recurring ones are accepted.", param="price")
    return price


def _refuse_card(state: State, card: Object) -> None:
    behaviour = state.behaviours[card["id"]]
    if behaviour == "authentication":
        message = "Payment for this subscription requires additional user action before it can be completed."
        code = "subscription_payment_intent_requires_action"
        raise Refused(message, status=402, type="card_error", code=code)
    if behaviour != "good":
        raise money.declined(behaviour)


def start(
    state: State,
    *,
    customer: Object,
    items: list[tuple[Object, int]],
    trial_end: int | None,
    card: Object | None,
    discounts: list[Object],
    metadata: Object,
    collect: bool = True,
    missing: str | None = None,
    session: str | None = None,
) -> Object:
    """Begin a subscription: trialing, or incomplete until its first invoice is paid, which is tried at once."""
    one_currency(state, customer, [price for price, _ in items])
    now, currency = state.now, items[0][0]["currency"]
    stop = trial_end or after(now, items[0][0]["recurring"])
    off = [redeem(state, entry, customer) for entry in discounts]
    found = state.add(
        "subscription",
        "sub_",
        billing_cycle_anchor=trial_end or now,
        currency=currency,
        customer=customer["id"],
        default_payment_method=card["id"] if card else None,
        discounts=[discount["id"] for discount in off],
        metadata=metadata,
        start_date=now,
        status="trialing" if trial_end else "incomplete",
        trial_end=trial_end,
        trial_settings={"end_behavior": {"missing_payment_method": missing or "create_invoice"}},
        trial_start=now if trial_end else None,
    )
    entries = [_item(state, found, price, quantity, now, stop) for price, quantity in items]
    found["items"] = listed(entries, f"/v1/subscription_items?subscription={found['id']}")
    for discount in off:
        discount |= {"subscription": found["id"], "checkout_session": session}
        state.emit("customer.discount.created", discount)
    customer["currency"] = currency
    invoice = invoices.draft(state, found, reason="subscription_create", lines=invoices.period_lines(state, found))
    found["latest_invoice"] = invoice["id"]
    state.emit("customer.subscription.created", found)
    invoices.finalise(state, invoice)
    if invoice["status"] == "open" and collect:
        invoices.pay(state, invoice)
    state.schedule(stop, "renew", found["id"])
    if trial_end:
        state.schedule(max(trial_end - 3 * DAY, now), "remind", found["id"])
    else:
        state.schedule(now + invoices.INCOMPLETE_FOR, "expire", found["id"])
    return found


def one_currency(state: State, customer: Object, prices: list[Object]) -> None:
    """Refuse prices in another currency than that of the customer's living subscriptions, or of one another."""
    others = state.find("subscription", customer=customer["id"])
    currencies = {other["currency"] for other in others if other["status"] in invoices.LIVING}
    if len(currencies | {price["currency"] for price in prices}) > 1:
        raise Refused("You cannot combine currencies on a single customer.", param="items")


def _item(state: State, subscription: Object, price: Object, quantity: int, start: int, end: int) -> Object:
    plan = {"id": price["id"], "object": "plan", "active": price["active"], "amount": price["unit_amount"]}
    plan |= {"currency": price["currency"], "product": price["product"], **price["recurring"]}
    return state.add(
        "subscription_item",
        "si_",
        current_period_end=end,
        current_period_start=start,
        plan=plan,
        price=price,
        quantity=quantity,
        subscription=subscription["id"],
    )


def remind(state: State, id: str, at: int) -> None:
    """Three days before a trial's end."""
    subscription = state.get("subscription", id)
    if subscription["status"] == "trialing":
        state.emit("customer.subscription.trial_will_end", subscription)


def renew(state: State, id: str, at: int) -> None:
    """A period, or the trial, is over: end the subscription if that was asked for, else bill the next one."""
    subscription = state.get("subscription", id)
    if subscription["status"] not in invoices.LIVING - {"incomplete", "paused"} or period_end(subscription) != at:
        return
    if subscription["cancel_at_period_end"] or (subscription["cancel_at"] or at + 1) <= at:
        invoices.end(state, subscription, reason="cancellation_requested")
        return
    if subscription["status"] == "trialing" and not _payer(state, subscription):
        behaviour = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
        if behaviour == "cancel":
            invoices.end(state, subscription, reason="cancellation_requested")
            return
        if behaviour == "pause":
            with state.change(subscription, "customer.subscription.updated", "customer.subscription.paused"):
                subscription["status"] = "paused"
            return
    with state.change(subscription, "customer.subscription.updated"):
        subscription["status"] = "active" if subscription["status"] == "trialing" else subscription["status"]
        next_period(subscription, at)
        invoice = invoices.draft(
            state, subscription, reason="subscription_cycle", lines=invoices.period_lines(state, subscription)
        )
        subscription["latest_invoice"] = invoice["id"]
        wait = state.settings["draft_seconds"]
        invoice["auto_advance"] = subscription["status"] != "unpaid"
        invoice["automatically_finalizes_at"] = at + wait if invoice["auto_advance"] else None
    state.schedule(at + wait, "collect", invoice["id"])
    state.schedule(period_end(subscription), "renew", id)


def next_period(subscription: Object, start: int) -> None:
    """Put its items into the period that begins then."""
    for item in subscription["items"]["data"]:
        periods = 1
        while (end := after(subscription["billing_cycle_anchor"], item["price"]["recurring"], periods)) <= start:
            periods += 1
        item |= {"current_period_start": start, "current_period_end": end}


def _payer(state: State, subscription: Object) -> Object | None:
    customer = state.get("customer", subscription["customer"])
    default = customer["invoice_settings"]["default_payment_method"]
    return money.card_for(state, subscription["default_payment_method"], default)


def cancel(state: State, subscription: Object, params: Object) -> Object:
    """DELETE /v1/subscriptions/{id}: now."""
    if subscription["status"] in {"canceled", "incomplete_expired"}:
        raise Refused(f"No such subscription: '{subscription['id']}'", status=404, code="resource_missing", param="id")
    details = params.get("cancellation_details") or {}
    return invoices.end(state, subscription, reason="cancellation_requested", **details)


def end_as_asked(state: State, id: str, at: int) -> None:
    """The moment named by `cancel_at`, if it still is."""
    subscription = state.get("subscription", id)
    if subscription["status"] in invoices.LIVING and subscription["cancel_at"] == at:
        invoices.end(state, subscription, reason="cancellation_requested")


def update(state: State, subscription: Object, params: Object) -> Object:
    """POST /v1/subscriptions/{id}: another price, an end or none, another card, the end of the trial."""
    if subscription["status"] not in invoices.LIVING and set(params) - {"metadata", "cancellation_details"}:
        raise Refused("A canceled subscription can only update its cancellation_details and metadata.")
    customer = state.get("customer", subscription["customer"])
    with state.change(subscription, "customer.subscription.updated"):
        bill = _change_items(state, subscription, params) if params.get("items") else None
        if "metadata" in params:
            merge_metadata(subscription, params)
        if params.get("default_payment_method"):
            card = money.card_named(state, params["default_payment_method"], customer)
            subscription["default_payment_method"] = card["id"]
        if "discounts" in params:
            off = [redeem(state, entry, customer) for entry in params["discounts"] or []]
            subscription["discounts"] = [discount["id"] for discount in off]
        subscription["cancellation_details"] |= params.get("cancellation_details") or {}
        _set_end(state, subscription, params)
        if params.get("trial_end") == "now" and subscription["status"] == "trialing":
            _end_trial(state, subscription)
    if bill:
        invoice = invoices.draft(state, subscription, reason="subscription_update", lines=bill)
        with state.change(subscription, "customer.subscription.updated"):
            subscription["latest_invoice"] = invoice["id"]
        invoices.finalise(state, invoice)
        if invoice["status"] == "open":
            invoices.pay(state, invoice)
    return subscription


def merge_metadata(found: Object, params: Object) -> None:
    """Add keys, and take away those that are given empty."""
    found["metadata"] = {
        key: value for key, value in {**found["metadata"], **(params.get("metadata") or {})}.items() if value != ""
    }


def _set_end(state: State, subscription: Object, params: Object) -> None:
    """Two ways to end one, each of which takes back itself alone: by the period, or by date, as the portal does."""
    by_period, by_date = params.get("cancel_at_period_end"), params.get("cancel_at")
    if subscription["schedule"] and (by_period, by_date) != (None, None):
        raise Refused(
            f"The subscription is managed by the subscription schedule `{subscription['schedule']}`, and updating any "
            "cancelation behavior directly is not allowed. Please update the schedule instead."
        )
    if by_period == "true":
        subscription |= {"cancel_at_period_end": True, "cancel_at": period_end(subscription)}
    elif by_period == "false" and subscription["cancel_at_period_end"]:
        subscription |= {"cancel_at_period_end": False, "cancel_at": None}
    elif by_date is not None and not subscription["cancel_at_period_end"]:
        subscription["cancel_at"] = whole(params, "cancel_at")
        if subscription["cancel_at"]:
            state.schedule(subscription["cancel_at"], "end_as_asked", subscription["id"])
    else:
        return
    asked = subscription["cancel_at"] is not None
    subscription["canceled_at"] = state.now if asked else None
    subscription["cancellation_details"]["reason"] = "cancellation_requested" if asked else None


def _end_trial(state: State, subscription: Object) -> None:
    subscription |= {"trial_end": state.now, "billing_cycle_anchor": state.now}
    for item in subscription["items"]["data"]:
        item["current_period_end"] = state.now
    state.schedule(state.now, "renew", subscription["id"])


def _change_items(state: State, subscription: Object, params: Object) -> list[Object] | None:
    """Put other prices in; the lines to bill at once, or None where the change waits for the next invoice.

    With `error_if_incomplete` a card that would be declined leaves everything as it was.
    """
    behaviour, items = params.get("proration_behavior") or "create_prorations", subscription["items"]["data"]
    before, anchor = [(item, dict(item)) for item in items], subscription["billing_cycle_anchor"]
    at = whole(params, "proration_date") or state.now
    if not items[0]["current_period_start"] <= at <= items[0]["current_period_end"]:
        raise Refused("The proration date must be within the current period.", param="proration_date")
    lines = [line for entry in params["items"] for line in _change_item(state, subscription, entry, at)]
    lines = lines if behaviour != "none" else []
    bill = None
    if subscription["status"] == "trialing":
        pass  # it is all free still
    elif items[0]["price"]["recurring"] != before[0][1]["price"]["recurring"]:
        subscription["billing_cycle_anchor"] = state.now
        next_period(subscription, state.now)
        bill = [line for line in lines if line["amount"] < 0] + invoices.period_lines(state, subscription)
    elif behaviour == "always_invoice":
        bill = lines
    elif lines:
        state.pending_lines.setdefault(subscription["id"], []).extend(lines)
    payer, balance = _payer(state, subscription), state.get("customer", subscription["customer"])["balance"]
    due = sum(line["amount"] for line in (bill or []) + state.pending_lines.get(subscription["id"], [])) + balance
    if bill and due > 0 and payer and params.get("payment_behavior") == "error_if_incomplete":
        try:
            _refuse_card(state, payer)
        except Refused:
            items[:] = [item for item, _ in before]
            for item, was in before:
                item |= was
            subscription["billing_cycle_anchor"] = anchor
            raise
    if subscription["cancel_at_period_end"]:
        subscription["cancel_at"] = period_end(subscription)
    state.schedule(period_end(subscription), "renew", subscription["id"])
    return bill


def _change_item(state: State, subscription: Object, entry: Object, at: int) -> list[Object]:
    """Put in, change, or take out one item; what that gives back and costs for the rest of the period."""
    items = subscription["items"]["data"]
    known = state.get("subscription_item", entry["id"], param="items[0][id]") if entry.get("id") else None
    price = price_to_bill(state, entry) if "price" in entry or not known else known["price"]
    if price["currency"] != subscription["currency"]:
        raise Refused(
            f"The price specified supports currencies of `{price['currency']}`. "
            f"This doesn't match the expected currency: `{subscription['currency']}`.",
            param="items[0][price]",
        )
    start, stop = items[0]["current_period_start"], items[0]["current_period_end"]

    def line(amount: int, text: str) -> Object:
        part = _share(amount, stop - at, stop - start)
        return invoices.line(subscription, item, part, text, at, stop, proration=True)

    item = known or _item(state, subscription, price, 0, start, stop)
    lines = [line(-item["price"]["unit_amount"] * item["quantity"], "Unused time")] if known else []
    if flag(entry, "deleted"):
        items.remove(item)
        state.remove("subscription_item", item["id"])
        return lines
    if not known:
        items.append(item)
    quantity = whole(entry, "quantity") or item["quantity"] or 1
    _replace(state, subscription, item, {"price": price, "quantity": quantity})
    return [*lines, line(price["unit_amount"] * quantity, "Remaining time")]


def _replace(state: State, subscription: Object, item: Object, new: Object) -> None:
    plan = item["plan"] | {"id": new["price"]["id"], "amount": new["price"]["unit_amount"], **new["price"]["recurring"]}
    item |= {**new, "plan": plan | {"product": new["price"]["product"]}}


def _share(amount: int, part: int, length: int) -> int:
    """`amount` for `part` of `length`, rounded half away from nothing, in whole minor units."""
    sign = -1 if amount < 0 else 1
    return sign * ((2 * abs(amount) * part + length) // (2 * length))


def actions() -> dict[str, Any]:
    """What the clock may have to do for subscriptions and their invoices."""
    own = {"renew": renew, "remind": remind, "end_as_asked": end_as_asked}
    return own | {"expire": invoices.expire, "retry": invoices.retry, "collect": invoices.collect}
