"""Checkout and the customer portal: their sessions, and what a person does on their pages."""

from e2e.stripe import invoices, money, subscriptions
from e2e.stripe.catalogue import new_customer, set_plainly
from e2e.stripe.discounts import amount_off, check, find_code
from e2e.stripe.state import DAY, State
from e2e.stripe.wire import Object, Refused, flag, known, listed, required, truths, whole


def new_session(state: State, params: Object) -> Object:
    """POST /v1/checkout/sessions, for subscriptions."""
    required(params, "mode", "line_items", "success_url")
    if params["mode"] != "subscription":
        raise Refused("The stand-in's Checkout sells subscriptions only.", param="mode")
    customer = state.get("customer", params["customer"], param="customer") if params.get("customer") else None
    if customer and params.get("customer_email"):
        raise Refused("You may only specify one of these parameters: customer, customer_email.", param="customer_email")
    if flag(params, "allow_promotion_codes") and params.get("discounts"):
        raise Refused(
            "You may only specify one of these parameters: allow_promotion_codes, discounts.", param="discounts"
        )
    now, expires_at = state.now, whole(params, "expires_at")
    if expires_at is not None and not now + 30 * 60 <= expires_at <= now + DAY:
        raise Refused("The `expires_at` timestamp must be 30 minutes to 24 hours from now.", param="expires_at")
    priced = [(subscriptions.price_to_bill(state, entry), entry) for entry in params["line_items"]]
    if customer:
        subscriptions.one_currency(state, customer, [price for price, _ in priced])
    items = [_line_item(state, price, whole(entry, "quantity") or 1) for price, entry in priced]
    for entry in params.get("discounts") or []:
        if entry.get("promotion_code"):
            check(
                state,
                state.get("promotion_code", entry["promotion_code"], param="discounts"),
                (customer or {}).get("id"),
            )
    data = params.get("subscription_data") or {}
    known(data, "trial_end trial_period_days trial_settings metadata description billing_mode default_tax_rates")
    trial_end, days = whole(data, "trial_end"), whole(data, "trial_period_days")
    if trial_end and trial_end < now + 2 * DAY:
        raise Refused(
            "The `trial_end` date has to be at least 2 days in the future.", param="subscription_data[trial_end]"
        )
    total = sum(item["amount_total"] for item in items)
    found = state.add(
        "checkout.session",
        "cs_test_",
        allow_promotion_codes=flag(params, "allow_promotion_codes"),
        amount_subtotal=total,
        amount_total=0 if trial_end or days else total,
        cancel_url=params.get("cancel_url") or None,
        client_reference_id=params.get("client_reference_id") or None,
        currency=priced[0][0]["currency"],
        customer=customer["id"] if customer else None,
        customer_creation=None if customer else "always",
        customer_email=params.get("customer_email") or None,
        discounts=params.get("discounts") or [],
        expires_at=expires_at or now + DAY,
        locale=params.get("locale") or None,
        metadata=params.get("metadata", {}),
        success_url=params["success_url"],
    )
    found["url"] = f"{state.public_url}/c/pay/{found['id']}"
    state.line_items[found["id"]] = items
    state.asked[found["id"]] = data | {"trial_end": trial_end or (days and now + days * DAY), "days": days}
    state.schedule(found["expires_at"], "expire_session", found["id"])
    return found


def _line_item(state: State, price: Object, quantity: int) -> Object:
    amount = price["unit_amount"] * quantity
    found = {
        "id": state.new_id("li_"),
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
    }
    found |= {
        "amount_total": amount,
        "currency": price["currency"],
        "discounts": [],
        "price": price,
        "quantity": quantity,
    }
    return found | {"description": state.get("product", price["product"])["name"]}


def trial_days(state: State, session: Object) -> int:
    """How long nothing is to pay, for the page; 0 without a trial."""
    asked = state.asked[session["id"]]
    return int(asked["days"] or -(-max((asked["trial_end"] or 0) - state.now, 0) // DAY))


def complete(state: State, id: str, *, card: str = "good", promotion_code: str = "") -> Object:
    """What "Pay" does: a customer, a card, a subscription; a card that is declined leaves the session open."""
    session = state.get("checkout.session", id)
    if session["status"] != "open":
        raise Refused(f"This Checkout Session is {session['status']}.")
    items, asked = state.line_items[id], state.asked[id]
    discounts = _discounts(state, session, promotion_code)
    trial_end = state.now + asked["days"] * DAY if asked["days"] else asked["trial_end"]
    due = session["amount_subtotal"]
    for entry in discounts:
        due -= amount_off(coupon_of(state, entry), due)
    payer = money.new_card(state, card)
    _try_card(state, session, payer, 0 if trial_end else due)
    email = session["customer_email"] or "payer@standin.test"
    if session["customer"]:
        customer = state.get("customer", session["customer"], param="customer")
    else:
        customer = new_customer(state, {"email": email})
    money.attach(state, payer, customer)
    subscription = subscriptions.start(
        state,
        customer=customer,
        items=[(item["price"], item["quantity"]) for item in items],
        trial_end=trial_end,
        card=payer,
        discounts=discounts,
        metadata=asked.get("metadata", {}),
        session=id,
        missing=(asked.get("trial_settings") or {}).get("end_behavior", {}).get("missing_payment_method"),
    )
    details = {"address": None, "email": customer["email"] or email, "name": customer["name"], "phone": None}
    with state.change(session, "checkout.session.completed"):
        session |= {"status": "complete", "payment_status": "no_payment_required" if trial_end or not due else "paid"}
        session |= {
            "customer": customer["id"],
            "subscription": subscription["id"],
            "invoice": subscription["latest_invoice"],
        }
        session |= {"customer_details": details | {"tax_exempt": "none", "tax_ids": []}, "url": None}
        session["amount_total"] = 0 if trial_end else due
        session["total_details"]["amount_discount"] = 0 if trial_end else session["amount_subtotal"] - due
    return session


def _discounts(state: State, session: Object, promotion_code: str) -> list[Object]:
    """Those that the session came with, or the code that was typed in."""
    if not promotion_code:
        return list(session["discounts"])
    if not session["allow_promotion_codes"]:
        raise Refused("This Checkout Session takes no promotion codes.", param="promotion_code")
    code = find_code(state, promotion_code)
    check(state, code, session["customer"])
    return [{"promotion_code": code["id"]}]


def coupon_of(state: State, entry: Object) -> Object:
    """The coupon that an entry of `discounts` names, by itself or by its promotion code."""
    if entry.get("promotion_code"):
        return state.get("coupon", state.get("promotion_code", entry["promotion_code"])["promotion"]["coupon"])
    return state.get("coupon", entry["coupon"], param="discounts[0][coupon]")


def _try_card(state: State, session: Object, card: Object, due: int) -> None:
    """Refuse a card that would be declined now, as the bank does: with a failed charge if there is something to pay."""
    behaviour = state.behaviours[card["id"]]
    if behaviour == "good" or (behaviour == "declined_later" and not due):
        return
    if due:
        customer, currency = session["customer"], session["currency"]
        intent = money.new_intent(
            state, amount=due, currency=currency, customer=customer, description="Subscription creation"
        )
        money.charge(state, intent, card)
    raise money.declined(behaviour)


def expire(state: State, session: Object, _: Object | None = None) -> Object:
    """POST /v1/checkout/sessions/{id}/expire."""
    if session["status"] != "open":
        raise Refused(f"Only Checkout Sessions with a status of open can be expired; this one is {session['status']}.")
    with state.change(session, "checkout.session.expired"):
        session |= {"status": "expired", "url": None}
    return session


def expire_session(state: State, id: str, at: int) -> None:
    """A day later nobody has paid."""
    session = state.get("checkout.session", id)
    if session["status"] == "open":
        expire(state, session)


def new_configuration(state: State, params: Object, *, default: bool = False) -> Object:
    """POST /v1/billing_portal/configurations."""
    required(params, "features")
    return state.add(
        "billing_portal.configuration",
        "bpc_",
        business_profile=params.get("business_profile") or {},
        default_return_url=params.get("default_return_url") or None,
        features=truths(params["features"]),
        is_default=default,
        metadata=params.get("metadata", {}),
        name=params.get("name") or None,
        updated=state.now,
    )


def update_configuration(state: State, found: Object, params: Object) -> Object:
    """POST /v1/billing_portal/configurations/{id}; features that are left out stay as they are."""
    features = found["features"] | truths(params.get("features") or {})
    return set_plainly(state, found, params | {"features": features}, None)


def new_portal(state: State, params: Object) -> Object:
    """POST /v1/billing_portal/sessions."""
    required(params, "customer")
    customer = state.get("customer", params["customer"], param="customer")
    chosen = params.get("configuration") or state.find("billing_portal.configuration", is_default=True)[0]["id"]
    configuration = state.get("billing_portal.configuration", chosen, param="configuration")
    found = state.add(
        "billing_portal.session",
        "bps_",
        configuration=configuration["id"],
        customer=customer["id"],
        flow=params.get("flow_data") or None,
        return_url=params.get("return_url") or None,
    )
    return found | {"url": f"{state.public_url}/p/session/{found['id']}"}


def portal_prices(state: State, session: Object, subscription: Object) -> list[Object]:
    """What the portal offers to change to: what its configuration names, or else every price in the same currency."""
    features = state.get("billing_portal.configuration", session["configuration"])["features"]
    products = (features.get("subscription_update") or {}).get("products") or []
    offered = {price for product in products for price in product.get("prices", [])}
    return [
        price
        for price in state.find("price", active=True, type="recurring", currency=subscription["currency"])
        if not offered or price["id"] in offered
    ]


def act(state: State, session: Object, action: Object) -> None:
    """What a button of the portal does, for one of the customer's own subscriptions or invoices."""
    customer = state.get("customer", session["customer"])
    name = action["action"]
    if name == "card":
        _replace_card(state, customer, action["card"])
        return
    if name == "pay":
        charge = invoices.pay(state, _own(state, "invoice", action["invoice"], customer), automatic=False)
        if charge is None or charge["status"] == "failed":
            raise Refused(charge["failure_message"] if charge else "There is no card to pay with.", status=402)
        return
    subscription = _own(state, "subscription", action["subscription"], customer)
    asked: Object
    if name == "cancel":  # flexible billing: the portal sets cancel_at, and leaves cancel_at_period_end false
        asked = {"cancel_at": str(subscriptions.period_end(subscription))}
    elif name == "resume":
        asked = {"cancel_at_period_end": "false"} if subscription["cancel_at_period_end"] else {"cancel_at": ""}
    else:
        item = subscription["items"]["data"][0]["id"]
        asked = {"items": [{"id": item, "price": action["price"]}], "proration_behavior": "always_invoice"}
        asked["payment_behavior"] = "error_if_incomplete"
    subscriptions.update(state, subscription, asked)


def pay_invoice(state: State, invoice: Object, *, card: str) -> None:
    """What "Pay" on an invoice's own page does."""
    payer = money.attach(state, money.new_card(state, card), state.get("customer", invoice["customer"]))
    charge = invoices.pay(state, invoice, card=payer, automatic=False)
    if charge is not None and charge["status"] == "failed":
        raise money.declined(card)


def leads_to(session: Object, action: str) -> str:
    """Where the portal goes after a button: where its flow says, if it was opened for that; empty: nowhere."""
    flow = session["flow"] or {}
    redirect = (flow.get("after_completion") or {}).get("redirect") or {}
    done = {"card": "payment_method_update", "cancel": "subscription_cancel", "change": "subscription_update"}.get(
        action
    )
    return str(redirect.get("return_url") or "") if flow.get("type") == done else ""


def _own(state: State, kind: str, id: str, customer: Object) -> Object:
    found = state.get(kind, id)
    if found["customer"] != customer["id"]:
        raise Refused(f"No such {kind}: '{id}'", status=404, code="resource_missing")
    return found


def _replace_card(state: State, customer: Object, behaviour: str) -> None:
    card = money.attach(state, money.new_card(state, behaviour), customer)
    with state.change(customer, "customer.updated"):
        customer["invoice_settings"]["default_payment_method"] = card["id"]
    for subscription in state.find("subscription", customer=customer["id"]):
        if subscription["status"] in invoices.LIVING:
            with state.change(subscription, "customer.subscription.updated"):
                subscription["default_payment_method"] = card["id"]


def list_line_items(state: State, session: Object) -> Object:
    """What the session sells."""
    return listed(state.line_items[session["id"]], f"/v1/checkout/sessions/{session['id']}/line_items")
