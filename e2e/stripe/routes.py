"""Which call does what: the table of the endpoints, their parameters, and the lists."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from e2e.stripe import catalogue, checkout, invoices, money, previews, subscriptions
from e2e.stripe.state import State
from e2e.stripe.wire import Object, Refused, known, listed, missing, required, whole

Handler = Callable[[State, Object, Object], Object]  # state, the object that the path names, parameters


@dataclass(frozen=True, slots=True)
class Route:
    """A POST or DELETE: what it works on, what it takes, and the function that does it."""

    method: str
    path: re.Pattern[str]
    kind: str  # of the object whose id is in the path; empty where there is none
    takes: str
    run: Handler


def _create(path: str, takes: str, run: Callable[[State, Object], Object]) -> Route:
    return Route("POST", re.compile(f"/v1/{path}"), "", takes, lambda state, _, params: run(state, params))


def _change(path: str, kind: str, takes: str, run: Handler, verb: str = "") -> Route:
    return Route("POST", re.compile(f"/v1/{path}/(?P<id>[^/]+){verb and '/'}{verb}"), kind, takes, run)


def _delete(path: str, kind: str, takes: str, run: Handler) -> Route:
    return Route("DELETE", re.compile(f"/v1/{path}/(?P<id>[^/]+)"), kind, takes, run)


def _plainly(event: str | None) -> Handler:
    return lambda state, found, params: catalogue.set_plainly(state, found, params, event)


def _pay(state: State, invoice: Object, params: Object) -> Object:
    customer = state.get("customer", invoice["customer"])
    named = params.get("payment_method")
    card = money.card_named(state, named, customer) if named else None
    charge = invoices.pay(state, invoice, card=card, automatic=False)
    if charge is None:
        raise Refused("This customer has no attached payment source or default payment method.", code="missing")
    if charge["status"] == "failed":
        raise money.declined(state.behaviours[charge["payment_method"]], charge=charge["id"])
    return invoice


def _void(state: State, invoice: Object, _: Object) -> Object:
    return invoices.void(state, invoice)


def _finalise(state: State, invoice: Object, _: Object) -> Object:
    invoices.finalise(state, invoice)
    return invoice


def _attach(state: State, card: Object, params: Object) -> Object:
    required(params, "customer")
    return money.attach(state, card, state.get("customer", params["customer"], param="customer"))


def _detach(state: State, card: Object, _: Object) -> Object:
    with state.change(card, "payment_method.detached"):
        card["customer"] = None
    return card


# What a call may say; anything else is refused, as Stripe does.
_PRODUCT = "name active description id metadata images tax_code"
_PRICE = (
    "currency unit_amount product product_data recurring active lookup_key transfer_lookup_key metadata nickname"
    " tax_behavior"
)
_COUPON = "id percent_off amount_off currency duration duration_in_months max_redemptions redeem_by name metadata"
_CODE = "promotion code active customer expires_at max_redemptions metadata restrictions"
_CUSTOMER = "email name description metadata address phone preferred_locales tax_exempt"
_SUBSCRIPTION = (
    "items default_payment_method discounts metadata payment_behavior proration_behavior off_session trial_end"
    " trial_settings automatic_tax description"
)
_CHANGE = f"cancel_at_period_end cancel_at cancellation_details proration_date {_SUBSCRIPTION}"
_CHECKOUT = (
    "mode line_items success_url cancel_url customer customer_email client_reference_id metadata subscription_data"
    " allow_promotion_codes discounts expires_at automatic_tax billing_address_collection customer_update locale"
    " payment_method_collection payment_method_types tax_id_collection ui_mode consent_collection custom_text"
)
_CONFIGURATION = "features business_profile default_return_url metadata name active"
_ENDPOINT = "url enabled_events description metadata"

ROUTES = [
    _create("products", _PRODUCT, catalogue.new_product),
    _change("products", "product", "name active description metadata default_price", _plainly("product.updated")),
    _create("prices", _PRICE, catalogue.new_price),
    _change("prices", "price", "active metadata nickname lookup_key tax_behavior", _plainly("price.updated")),
    _create("coupons", _COUPON, catalogue.new_coupon),
    _create("promotion_codes", _CODE, catalogue.new_promotion_code),
    _change("promotion_codes", "promotion_code", "active metadata", _plainly("promotion_code.updated")),
    _create("customers", _CUSTOMER, catalogue.new_customer),
    _change("customers", "customer", f"{_CUSTOMER} invoice_settings", catalogue.update_customer),
    _delete("customers", "customer", "", catalogue.delete_customer),
    _change("payment_methods", "payment_method", "customer", _attach, "attach"),
    _change("payment_methods", "payment_method", "", _detach, "detach"),
    _create("subscriptions", f"customer trial_period_days {_SUBSCRIPTION}", subscriptions.create),
    _change("subscriptions", "subscription", _CHANGE, subscriptions.update),
    _delete("subscriptions", "subscription", "invoice_now prorate cancellation_details", subscriptions.cancel),
    _change("invoices", "invoice", "payment_method off_session", _pay, "pay"),
    _change("invoices", "invoice", "", _void, "void"),
    _change("invoices", "invoice", "auto_advance", _finalise, "finalize"),
    _create("invoices/create_preview", "subscription subscription_details", previews.create),
    _create("refunds", "charge payment_intent amount reason metadata", money.refund),
    _create("checkout/sessions", _CHECKOUT, checkout.new_session),
    _change("checkout/sessions", "checkout.session", "", checkout.expire, "expire"),
    _create("billing_portal/sessions", "customer return_url configuration flow_data locale", checkout.new_portal),
    _create("billing_portal/configurations", _CONFIGURATION, checkout.new_configuration),
    _change(
        "billing_portal/configurations", "billing_portal.configuration", _CONFIGURATION, checkout.update_configuration
    ),
    _create("webhook_endpoints", f"{_ENDPOINT} api_version", catalogue.new_webhook_endpoint),
    _change("webhook_endpoints", "webhook_endpoint", f"{_ENDPOINT} disabled", catalogue.update_webhook_endpoint),
    _delete("webhook_endpoints", "webhook_endpoint", "", catalogue.delete_webhook_endpoint),
]

# Each list: the kind of its objects, and what it may be filtered by.
LISTS = {
    "/v1/products": ("product", "active"),
    "/v1/prices": ("price", "active product currency type lookup_keys"),
    "/v1/coupons": ("coupon", ""),
    "/v1/promotion_codes": ("promotion_code", "active code coupon customer"),
    "/v1/customers": ("customer", "email"),
    "/v1/payment_methods": ("payment_method", "customer type"),
    "/v1/payment_intents": ("payment_intent", "customer"),
    "/v1/setup_intents": ("setup_intent", "customer"),
    "/v1/subscriptions": ("subscription", "customer status price"),
    "/v1/subscription_items": ("subscription_item", "subscription"),
    "/v1/invoices": ("invoice", "customer status subscription"),
    "/v1/invoice_payments": ("invoice_payment", "invoice status payment"),
    "/v1/charges": ("charge", "customer payment_intent"),
    "/v1/refunds": ("refund", "charge payment_intent"),
    "/v1/disputes": ("dispute", "charge payment_intent"),
    "/v1/balance_transactions": ("balance_transaction", "source type currency"),
    "/v1/checkout/sessions": ("checkout.session", "customer status subscription payment_intent"),
    "/v1/billing_portal/configurations": ("billing_portal.configuration", "active is_default"),
    "/v1/webhook_endpoints": ("webhook_endpoint", ""),
    "/v1/events": ("event", "type types"),
}
KINDS = {path: kind for path, (kind, _) in LISTS.items()}
_PAGING = "limit starting_after ending_before created expand"


def answer_get(state: State, path: str, params: Object) -> Object:
    """A list, or one object; a list of what the stand-in has not is empty, and one object of it is missing."""
    if path in {"/v1/account", "/v1/accounts"} or path.startswith("/v1/accounts/"):
        return catalogue.account(state)
    if path in LISTS:
        kind, filters = LISTS[path]
        known(params, f"{filters} {_PAGING}")
        return page(state, kind, path, params)
    collection, _, last = path.rpartition("/")
    if collection in KINDS:
        known(params, "expand")
        return state.get(KINDS[collection], last)
    owner, _, owner_id = collection.rpartition("/")
    if path.endswith("/line_items") and owner == "/v1/checkout/sessions":
        return checkout.list_line_items(state, state.get("checkout.session", owner_id))
    if path.endswith("/lines") and owner == "/v1/invoices":
        return dict(state.get("invoice", owner_id)["lines"])
    if path.endswith("/payment_methods") and owner == "/v1/customers":
        return page(state, "payment_method", path, params | {"customer": owner_id})
    if re.fullmatch(r"[a-z]+(_[a-z]+)*", last):
        return listed([], path)
    raise missing(collection.rpartition("/")[2].removesuffix("s"), last)


def page(state: State, kind: str, url: str, params: Object) -> Object:
    """The newest first, `limit` of them, after or before the object that a cursor names."""
    limit = whole(params, "limit")
    limit = 10 if limit is None else limit
    if not 1 <= limit <= 100:
        raise Refused("Invalid integer: limit is 1 to 100", param="limit", code="parameter_invalid_integer")
    filters = {key: value for key, value in params.items() if key not in _PAGING.split()}
    if kind == "subscription":
        filters = {"status": "standing"} | filters
    created = params.get("created") or {}
    found = [
        entry
        for entry in reversed(state.objects.get(kind, {}).values())
        if not entry.get("deleted")
        and _within(entry, created)
        and all(_is(entry, *wanted) for wanted in filters.items())
    ]
    ids = [entry["id"] for entry in found]
    if before := params.get("ending_before"):
        found = found[: _position(ids, before, kind, "ending_before")]
        return listed(found[-limit:], url, has_more=len(found) > limit)
    if after := params.get("starting_after"):
        found = found[_position(ids, after, kind, "starting_after") + 1 :]
    return listed(found[:limit], url, has_more=len(found) > limit)


def _position(ids: list[str], id: str, kind: str, param: str) -> int:
    if id not in ids:
        raise missing(kind, id, param=param)
    return ids.index(id)


def _within(entry: Object, created: Any) -> bool:
    at = entry.get("created", 0)
    if isinstance(created, str):
        return bool(at == int(created))
    holds = {"gte": at.__ge__, "gt": at.__gt__, "lte": at.__le__, "lt": at.__lt__}
    return all(holds[bound](int(value)) for bound, value in created.items())


def _is(entry: Object, key: str, wanted: Any) -> bool:
    if entry["object"] == "subscription" and key == "status":
        ended = entry["status"] in {"canceled", "incomplete_expired"}
        return bool({"standing": not ended, "all": True, "ended": ended}.get(wanted, entry["status"] == wanted))
    if entry["object"] == "subscription" and key == "price":
        return any(item["price"]["id"] == wanted for item in entry["items"]["data"])
    if entry["object"] == "invoice" and key == "subscription":
        return bool(entry["parent"]["subscription_details"]["subscription"] == wanted)
    if entry["object"] == "promotion_code" and key == "coupon":
        return bool(entry["promotion"]["coupon"] == wanted)
    if key in {"types", "lookup_keys"}:
        return bool(entry[key.removesuffix("s")] in wanted)
    if isinstance(wanted, dict):
        return all(entry[key].get(inner) == value for inner, value in wanted.items())
    found = entry[key]
    return bool((str(found).lower() if isinstance(found, bool) else found) == wanted)


# What is in no object until it is asked for by `expand`.
EXTRAS: dict[tuple[str, str], Callable[[State, Object], Any]] = {
    ("charge", "refunds"): lambda state, found: page(
        state, "refund", f"/v1/charges/{found['id']}/refunds", {"charge": found["id"]}
    ),
    ("checkout.session", "line_items"): checkout.list_line_items,
    ("coupon", "applies_to"): lambda state, found: None,
    ("customer", "sources"): lambda state, found: listed([], f"/v1/customers/{found['id']}/sources"),
    ("customer", "subscriptions"): lambda state, found: page(
        state, "subscription", f"/v1/customers/{found['id']}/subscriptions", {"customer": found["id"]}
    ),
    ("customer", "tax_ids"): lambda state, found: listed([], f"/v1/customers/{found['id']}/tax_ids"),
    ("invoice", "confirmation_secret"): lambda state, found: None,
    ("invoice", "payments"): lambda state, found: page(
        state, "invoice_payment", "/v1/invoice_payments", {"invoice": found["id"]}
    ),
    ("price", "currency_options"): lambda state, found: {},
    ("price", "tiers"): lambda state, found: None,
    ("", "breakdown"): lambda state, found: {"discounts": [], "taxes": []},
}


def resolve(state: State, node: Object, key: str) -> Any:
    """What stands at `key` of `node` once it is expanded; KeyError where that says nothing."""
    if key not in node:
        return EXTRAS[(node.get("object", ""), key)](state, node)
    value = node[key]
    if isinstance(value, str):
        return state.by_id[value]
    if isinstance(value, list):
        return [state.by_id[entry] if isinstance(entry, str) else entry for entry in value]
    return value
