"""Where an object stands in Stripe's own dashboard."""

from urllib.parse import quote

BASE = "https://dashboard.stripe.com"
# Refunds and disputes are shown on the page of their payment.
PAGES = {
    "customer": "customers",
    "subscription": "subscriptions",
    "invoice": "invoices",
    "charge": "payments",
    "price": "prices",
    "product": "products",
    "event": "events",
}


def url(kind: str, object_id: str, *, livemode: bool) -> str:
    """The page of an object, such as url("customer", "cus_123", livemode=False); empty where there is none to show."""
    if not object_id:
        return ""
    return f"{BASE}/{'' if livemode else 'test/'}{PAGES[kind]}/{quote(object_id, safe='')}"
