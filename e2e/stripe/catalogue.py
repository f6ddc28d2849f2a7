"""What is made by calls alone: products, prices, coupons, promotion codes, customers, webhook endpoints."""

from e2e.stripe import money
from e2e.stripe.invoices import LIVING, end
from e2e.stripe.shapes import SHAPES
from e2e.stripe.state import ACCOUNT, State
from e2e.stripe.subscriptions import merge_metadata
from e2e.stripe.wire import VERSION, Object, Refused, flag, required, whole


def account(state: State) -> Object:
    """Whose key it is."""
    return {"id": ACCOUNT, "object": "account", **SHAPES["account"]}


def set_plainly(state: State, found: Object, params: Object, event: str | None) -> Object:
    """Take over what a call says, for the keys that mean nothing more than what they say."""
    with state.change(found, *filter(None, [event])):
        for key, value in params.items():
            if key == "metadata":
                merge_metadata(found, params)
            elif isinstance(found.get(key), bool):
                found[key] = flag(params, key)
            else:
                found[key] = value if value != "" else None
    return found


def new_product(state: State, params: Object) -> Object:
    """POST /v1/products."""
    required(params, "name")
    if params.get("id") in state.objects.get("product", {}):
        raise Refused(f"Product already exists: {params['id']}", code="resource_already_exists")
    return state.add(
        "product",
        "prod_",
        "product.created",
        id=params.get("id"),
        active=flag(params, "active", True),
        description=params.get("description") or None,
        metadata=params.get("metadata", {}),
        name=params["name"],
        updated=state.now,
    )


def new_price(state: State, params: Object) -> Object:
    """POST /v1/prices."""
    required(params, "currency")
    amount, lookup_key = whole(params, "unit_amount"), params.get("lookup_key") or None
    if amount is None or amount < 0:
        raise Refused("One of unit_amount and unit_amount_decimal is required.", param="unit_amount")
    if "product_data" in params:
        product = new_product(state, params["product_data"])
    else:
        required(params, "product")
        product = state.get("product", params["product"], param="product")
    if taken := lookup_key and state.find("price", lookup_key=lookup_key):
        if not flag(params, "transfer_lookup_key"):
            raise Refused(f"A price (`{taken[0]['id']}`) already uses that lookup key.", param="lookup_key")
        with state.change(taken[0], "price.updated"):
            taken[0]["lookup_key"] = None
    return state.add(
        "price",
        "price_",
        "price.created",
        active=flag(params, "active", True),
        currency=params["currency"].lower(),
        lookup_key=lookup_key,
        metadata=params.get("metadata", {}),
        nickname=params.get("nickname") or None,
        product=product["id"],
        recurring=_recurring(params.get("recurring")),
        type="recurring" if params.get("recurring") else "one_time",
        unit_amount=amount,
        unit_amount_decimal=str(amount),
    )


def _recurring(asked: Object | None) -> Object | None:
    if not asked:
        return None
    required(asked, "interval")
    if asked["interval"] not in {"day", "week", "month", "year"}:
        raise Refused(
            "Invalid recurring[interval]: must be one of day, month, week, or year", param="recurring[interval]"
        )
    count = whole(asked, "interval_count") or 1
    plain = {"interval": asked["interval"], "interval_count": count, "meter": None, "usage_type": "licensed"}
    return plain | {"trial_period_days": whole(asked, "trial_period_days")}


def new_coupon(state: State, params: Object) -> Object:
    """POST /v1/coupons."""
    percent, amount = params.get("percent_off") or None, whole(params, "amount_off")
    if (percent is None) == (amount is None):
        raise Refused("You must pass either a percent_off or an amount_off.", param="percent_off")
    if amount is not None:
        required(params, "currency")
    duration, months = params.get("duration", "once"), whole(params, "duration_in_months")
    if (duration == "repeating") != (months is not None):
        raise Refused("duration_in_months goes with the duration repeating.", param="duration_in_months")
    return state.add(
        "coupon",
        "",
        "coupon.created",
        id=params.get("id"),
        amount_off=amount,
        currency=params.get("currency") or None,
        duration=duration,
        duration_in_months=months,
        max_redemptions=whole(params, "max_redemptions"),
        metadata=params.get("metadata", {}),
        name=params.get("name") or None,
        percent_off=float(percent) if percent else None,
        redeem_by=whole(params, "redeem_by"),
    )


def new_promotion_code(state: State, params: Object) -> Object:
    """POST /v1/promotion_codes; the coupon stands in `promotion` since 2025-09-30."""
    required(params, "promotion")
    coupon = state.get("coupon", params["promotion"].get("coupon", ""), param="promotion[coupon]")
    text, restrictions = params.get("code") or state.new_id("", 8).upper(), params.get("restrictions") or {}
    if any(other["code"].lower() == text.lower() for other in state.find("promotion_code", active=True)):
        raise Refused("An active promotion code with that code already exists.", param="code")
    once = {"first_time_transaction": flag(restrictions, "first_time_transaction")}
    return state.add(
        "promotion_code",
        "promo_",
        "promotion_code.created",
        active=flag(params, "active", True),
        code=text,
        customer=params.get("customer") or None,
        expires_at=whole(params, "expires_at"),
        max_redemptions=whole(params, "max_redemptions"),
        metadata=params.get("metadata", {}),
        promotion={"type": "coupon", "coupon": coupon["id"]},
        restrictions={**once, "minimum_amount": None, "minimum_amount_currency": None},
    )


def new_customer(state: State, params: Object) -> Object:
    """POST /v1/customers."""
    return state.add(
        "customer",
        "cus_",
        "customer.created",
        address=params.get("address") or None,
        description=params.get("description") or None,
        email=params.get("email") or None,
        invoice_prefix=state.new_id("", 8).upper(),
        metadata=params.get("metadata", {}),
        name=params.get("name") or None,
    )


def update_customer(state: State, found: Object, params: Object) -> Object:
    """POST /v1/customers/{id}."""
    plain = {key: value for key, value in params.items() if key != "invoice_settings"}
    asked = (params.get("invoice_settings") or {}).get("default_payment_method")
    with state.change(found, "customer.updated"):
        set_plainly(state, found, plain, None)
        if asked:
            found["invoice_settings"]["default_payment_method"] = money.card_named(state, asked, found)["id"]
    return found


def delete_customer(state: State, found: Object, _: Object) -> Object:
    """DELETE /v1/customers/{id}: its subscriptions end at once."""
    for subscription in state.find("subscription", customer=found["id"]):
        if subscription["status"] in LIVING:
            end(state, subscription, reason="cancellation_requested")
    state.emit("customer.deleted", found)
    gone = {"id": found["id"], "object": "customer", "deleted": True}
    for card in state.find("payment_method", customer=found["id"]):
        card["customer"] = None
    state.by_id[found["id"]] = state.objects["customer"][found["id"]] = gone
    return gone


def new_webhook_endpoint(state: State, params: Object, *, secret: str | None = None) -> Object:
    """POST /v1/webhook_endpoints: the one answer that shows its secret."""
    required(params, "url", "enabled_events")
    found = state.add(
        "webhook_endpoint",
        "we_",
        api_version=params.get("api_version") or VERSION,
        description=params.get("description") or None,
        enabled_events=params["enabled_events"],
        metadata=params.get("metadata", {}),
        url=params["url"],
    )
    state.secrets[found["id"]] = secret or state.new_id("whsec_", 32)
    return found | {"secret": state.secrets[found["id"]]}


def delete_webhook_endpoint(state: State, found: Object, _: Object) -> Object:
    """DELETE /v1/webhook_endpoints/{id}."""
    return state.remove("webhook_endpoint", found["id"])


def update_webhook_endpoint(state: State, found: Object, params: Object) -> Object:
    """POST /v1/webhook_endpoints/{id}."""
    plain = {key: value for key, value in params.items() if key != "disabled"}
    if "disabled" in params:
        found["status"] = "disabled" if flag(params, "disabled") else "enabled"
    return set_plainly(state, found, plain, None)
