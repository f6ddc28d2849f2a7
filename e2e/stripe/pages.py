"""What a person sees: Checkout, the portal, an invoice, and the stand-in's own clock. Plain HTML, no script."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from e2e.stripe import checkout
from e2e.stripe.discounts import amount_off, check, find_code
from e2e.stripe.engine import Stripe
from e2e.stripe.invoices import LIVING
from e2e.stripe.state import State
from e2e.stripe.subscriptions import period_end
from e2e.stripe.wire import Object, Refused

DECIMALS = dict.fromkeys(("clp", "jpy", "krw", "vnd", "xaf", "xof"), 0)
DECIMALS |= dict.fromkeys(("bhd", "jod", "kwd", "omr", "tnd"), 3)  # all others have two
CARDS = {
    "good": "4242 — a good card",
    "declined": "0002 — declined at once",
    "declined_later": "0341 — accepted, declined when it is charged",
    "insufficient_funds": "9995 — insufficient funds",
    "expired_card": "0069 — expired",
}
LAYOUT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }}
body {{ color: #1a1a2e; background: #fff }} form.inline {{ display: inline }}
fieldset, section {{ border: 1px solid #767687; border-radius: .5rem; padding: 1rem; margin: 1rem 0 }}
button, select, input {{ font: inherit; padding: .4rem .8rem }} label {{ display: block; margin: .3rem 0 }}
table {{ border-collapse: collapse; width: 100% }} th, td {{ text-align: left; padding: .3rem .6rem }}
[role=alert] {{ border-left: .3rem solid #b00020; padding: .5rem 1rem; background: #fdecee }}
</style></head><body><header><strong>Stand-in for Stripe</strong> — no real money</header><main><h1>{title}</h1>
{body}</main></body></html>"""


@dataclass(frozen=True, slots=True)
class Page:
    """An answer to a browser."""

    html: str = ""
    status: int = 200
    location: str = ""


def answer(stripe: Stripe, method: str, path: str, form: dict[str, str]) -> Page:
    """The page at a path, or what its form does; a refusal is shown above the page itself."""
    for pattern, show, press in PAGES:
        if match := re.fullmatch(pattern, path):
            key = match.groupdict().get("id") or ""
            with stripe.exclusively() as state:
                try:
                    location = press(stripe, state, key, form) if method == "POST" else ""
                    return Page(status=303, location=location) if location else show(state, key, form, "")
                except Refused as refused:
                    alert = f'<p role="alert">{escape(str(refused))}</p>'
                    return _missing() if refused.status == 404 else show(state, key, form, alert, refused.status)
    return _missing()


def money(amount: int, currency: str) -> str:
    """9.00 EUR, out of minor units."""
    decimals = DECIMALS.get(currency, 2)
    text = str(abs(amount)).rjust(decimals + 1, "0")
    sign, point = "-" if amount < 0 else "", f".{text[len(text) - decimals :]}" if decimals else ""
    return f"{sign}{text[: len(text) - decimals]}{point} {currency.upper()}"


def _date(at: int | None) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC") if at else "–"


def _page(title: str, body: str, status: int = 200) -> Page:
    return Page(LAYOUT.format(title=escape(title), body=body), status)


def _missing() -> Page:
    return _page("There is nothing here", "<p>This link is wrong, or no longer valid.</p>", 404)


def _price(state: State, price: Object) -> str:
    name, recurring = state.get("product", price["product"])["name"], price["recurring"]
    count = "" if recurring["interval_count"] == 1 else f"{recurring['interval_count']} "
    return escape(f"{name}, {money(price['unit_amount'], price['currency'])} per {count}{recurring['interval']}")


def _cards() -> str:
    radios = "".join(
        f'<label><input type="radio" name="card" value="{name}"{" checked" if name == "good" else ""}> {text}</label>'
        for name, text in CARDS.items()
    )
    return f"<fieldset><legend>Card</legend>{radios}</fieldset>"


def _show_checkout(state: State, id: str, form: dict[str, str], alert: str, status: int = 200) -> Page:
    session = state.get("checkout.session", id)
    if session["status"] != "open":
        return _page("Checkout", f"<p>This session is {session['status']}.</p>", 410)
    items, days, currency = state.line_items[id], checkout.trial_days(state, session), session["currency"]
    code, due = form.get("promotion_code", ""), session["amount_subtotal"]
    off = ""
    if code and not alert:
        coupon = checkout.coupon_of(state, {"promotion_code": find_code(state, code)["id"]})
        due -= (less := amount_off(coupon, due))
        off = f"<li>Promotion code {escape(code)}: -{money(less, currency)}</li>"
    lines = "".join(f"<li>{item['quantity']} × {_price(state, item['price'])}</li>" for item in items)
    trial = f"<li>{days} days free</li>" if days else ""
    field, verb = "", "Start trial" if days else "Pay"
    if session["allow_promotion_codes"]:
        field = f"""<label>Promotion code
<input name="promotion_code" value="{escape(code)}" autocomplete="off"></label>
<button name="do" value="apply">Apply</button>"""
    today = money(0 if days else due, currency)
    body = f"""{alert}<ul>{lines}{trial}{off}</ul><p>Due today: <strong>{today}</strong></p>
<form method="post">{_cards()}{field}
<p><button name="do" value="pay">{verb}</button>
<button name="do" value="back">Back</button></p></form>"""
    return _page("Checkout", body, status)


def _press_checkout(stripe: Stripe, state: State, id: str, form: dict[str, str]) -> str:
    session, code = state.get("checkout.session", id), form.get("promotion_code", "")
    if form.get("do") == "back":
        return session["cancel_url"] or f"/c/pay/{id}"
    if form.get("do") == "apply":
        if code:
            check(state, find_code(state, code), session["customer"])
        return ""
    checkout.complete(state, id, card=form.get("card", "good"), promotion_code=code)
    return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", id)


def _show_portal(state: State, id: str, form: dict[str, str], alert: str, status: int = 200) -> Page:
    session = state.get("billing_portal.session", id)
    customer = state.get("customer", session["customer"])
    living = [s for s in state.find("subscription", customer=customer["id"]) if s["status"] in LIVING]
    parts = [_subscription(state, session, subscription) for subscription in living] or ["<p>No subscription.</p>"]
    parts.append(f"<form method='post'>{_cards()}<button name='action' value='card'>Replace the card</button></form>")
    rows = "".join(_invoice_row(invoice) for invoice in reversed(state.find("invoice", customer=customer["id"])))
    parts.append(f"<h2>Invoices</h2><table><tr><th>Number<th>Date<th>Amount<th>Status<th></tr>{rows}</table>")
    if session["return_url"]:
        parts.append(f'<p><a href="{escape(session["return_url"])}">Return to the site</a></p>')
    return _page("Billing", alert + "".join(parts), status)


def _subscription(state: State, session: Object, subscription: Object) -> str:
    price = subscription["items"]["data"][0]["price"]
    options = "".join(
        f'<option value="{offer["id"]}"{" selected" if offer is price else ""}>{_price(state, offer)}</option>'
        for offer in checkout.portal_prices(state, session, subscription)
    )
    ends = subscription["cancel_at"]
    when = f"ends on {_date(ends)}" if ends else f"renews on {_date(period_end(subscription))}"
    action, text = ("resume", "Do not cancel") if ends else ("cancel", "Cancel subscription")
    return f"""<section><h2>{_price(state, price)}</h2><p>{subscription["status"]}, {when}</p><form method="post">
<input type="hidden" name="subscription" value="{subscription["id"]}">
<label>Plan <select name="price">{options}</select></label><button name="action" value="change">Change plan</button>
<button name="action" value="{action}">{text}</button></form></section>"""


def _invoice_row(invoice: Object) -> str:
    pay = ""
    if invoice["status"] == "open":
        pay = f"""<form method="post" class="inline"><input type="hidden" name="invoice" value="{invoice["id"]}">
<button name="action" value="pay">Pay</button></form>"""
    return f"""<tr><td><a href="/i/{invoice["id"]}">{invoice["number"] or "draft"}</a><td>{_date(invoice["created"])}
<td>{money(invoice["amount_due"], invoice["currency"])}<td>{invoice["status"]}<td>{pay}</tr>"""


def _press_portal(stripe: Stripe, state: State, id: str, form: dict[str, str]) -> str:
    session = state.get("billing_portal.session", id)
    checkout.act(state, session, form)
    return checkout.leads_to(session, form["action"]) or f"/p/session/{id}"


def _show_invoice(state: State, id: str, form: dict[str, str], alert: str, status: int = 200) -> Page:
    invoice = state.get("invoice", id)
    lines = "".join(
        f"<tr><td>{escape(line['description'])}<td>{money(line['amount'], line['currency'])}</tr>"
        for line in invoice["lines"]["data"]
    )
    total = f"<tr><th>Total<th>{money(invoice['total'], invoice['currency'])}</tr>"
    body = f"{alert}<p>{_date(invoice['created'])}, {invoice['status']}</p><table>{lines}{total}</table>"
    if invoice["status"] == "open":
        body += f"<form method='post'>{_cards()}<button>Pay</button></form>"
    return _page(f"Invoice {invoice['number'] or 'draft'}", body, status)


def _press_invoice(stripe: Stripe, state: State, id: str, form: dict[str, str]) -> str:
    checkout.pay_invoice(state, state.get("invoice", id), card=form.get("card", "good"))
    return f"/i/{id}"


def _show_clock(state: State, id: str, form: dict[str, str], alert: str, status: int = 200) -> Page:
    rows = "".join(
        f"<tr><td>{escape(_who(state, found['customer']))}<td>{found['status']}<td>{_date(period_end(found))}</tr>"
        for found in reversed(state.find("subscription"))
    )
    buttons = "".join(f'<button name="days" value="{days}">{days} days on</button> ' for days in (1, 7, 31, 366))
    body = f"""<p>It is {_date(state.now)}.</p><form method="post">{buttons}</form>
<h2>Subscriptions</h2><table><tr><th>Customer<th>Status<th>Period ends</tr>{rows}</table>"""
    return _page("The clock", alert + body, status)


def _who(state: State, customer: str) -> str:
    return state.get("customer", customer).get("email") or customer


def _press_clock(stripe: Stripe, state: State, id: str, form: dict[str, str]) -> str:
    stripe.advance(days=int(form.get("days", "1")))
    return "/"


Press = Callable[[Stripe, State, str, dict[str, str]], str]  # where to go then; empty: show the page again
PAGES: list[tuple[str, Callable[..., Page], Press]] = [
    (r"/c/pay/(?P<id>\w+)", _show_checkout, _press_checkout),
    (r"/p/session/(?P<id>\w+)", _show_portal, _press_portal),
    (r"/i/(?P<id>\w+)(/pdf)?", _show_invoice, _press_invoice),
    (r"/", _show_clock, _press_clock),
]
