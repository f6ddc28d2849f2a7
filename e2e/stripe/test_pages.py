"""The stand-in's pages, by their forms alone: Checkout, the portal, invoices and the clock."""

import re
from typing import Any

import httpx
import pytest
import stripe

from e2e.stripe import Plans
from e2e.stripe.conftest import subscribe
from e2e.stripe.pages import money
from e2e.stripe.standin import Handle


@pytest.fixture
def browser() -> Any:
    with httpx.Client(trust_env=False) as browser:
        yield browser


def checkout(client: stripe.StripeClient, price: str, **more: Any) -> stripe.checkout.Session:
    asked: Any = {
        "mode": "subscription",
        "line_items": [{"price": price, "quantity": 1}],
        "success_url": "https://site.test/done?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://site.test/plans",
        **more,
    }
    return client.v1.checkout.sessions.create(asked)


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (900, "eur", "9.00 EUR"),
        (5, "usd", "0.05 USD"),
        (-1_250, "eur", "-12.50 EUR"),
        (1_200, "jpy", "1200 JPY"),
        (3_500, "kwd", "3.500 KWD"),
    ],
)
def test_money_is_written_with_the_decimals_of_its_currency(amount: int, currency: str, text: str) -> None:
    assert money(amount, currency) == text


def test_paying_leads_back_to_the_site_with_a_customer_and_a_subscription(
    client: stripe.StripeClient, plans: Plans, browser: httpx.Client
) -> None:
    session = checkout(client, plans.monthly, customer_email="ann@example.org", client_reference_id="7")
    page = browser.get(str(session.url)).text
    assert "Membership, 9.00 EUR per month" in page
    assert "Due today: <strong>9.00 EUR</strong>" in page

    answer = browser.post(str(session.url), data={"do": "pay", "card": "good"})

    assert (answer.status_code, answer.headers["Location"]) == (303, f"https://site.test/done?session={session.id}")
    done = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["customer", "subscription"]}).to_dict()
    assert (done["status"], done["payment_status"], done["client_reference_id"]) == ("complete", "paid", "7")
    assert done["customer"]["email"] == "ann@example.org"
    assert done["subscription"]["status"] == "active"
    assert browser.get(str(session.url)).status_code == 410


def test_a_declined_card_is_told_and_another_one_may_be_tried(
    client: stripe.StripeClient, plans: Plans, browser: httpx.Client
) -> None:
    session = checkout(client, plans.monthly, subscription_data={"trial_period_days": 7})
    assert "7 days free" in browser.get(str(session.url)).text

    refused = browser.post(str(session.url), data={"do": "pay", "card": "declined"})
    assert '<p role="alert">Your card was declined.</p>' in refused.text
    assert "Start trial" in refused.text
    answer = browser.post(str(session.url), data={"do": "pay", "card": "declined_later"})

    assert answer.status_code == 303
    assert client.v1.checkout.sessions.retrieve(session.id).payment_status == "no_payment_required"


def test_a_promotion_code_is_shown_before_it_is_paid(
    client: stripe.StripeClient, plans: Plans, browser: httpx.Client
) -> None:
    coupon = client.v1.coupons.create({"percent_off": 50, "duration": "once"})
    client.v1.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "HALF"})
    session = checkout(client, plans.monthly, allow_promotion_codes=True)

    wrong = browser.post(str(session.url), data={"do": "apply", "promotion_code": '"><script>'})
    assert "No such promotion code: &#x27;&quot;&gt;&lt;script&gt;" in wrong.text
    assert "<script" not in wrong.text
    applied = browser.post(str(session.url), data={"do": "apply", "promotion_code": "half"})
    assert "Due today: <strong>4.50 EUR</strong>" in applied.text
    browser.post(str(session.url), data={"do": "pay", "card": "good", "promotion_code": "half"})

    assert client.v1.checkout.sessions.retrieve(session.id).amount_total == 450


def test_going_back_leads_to_the_plans_and_a_day_later_the_page_is_gone(
    fake: Handle, client: stripe.StripeClient, plans: Plans, browser: httpx.Client
) -> None:
    session = checkout(client, plans.monthly)
    assert browser.post(str(session.url), data={"do": "back"}).headers["Location"] == "https://site.test/plans"

    fake.advance(days=1)

    assert client.v1.checkout.sessions.retrieve(session.id).status == "expired"
    assert browser.post(str(session.url), data={"do": "pay"}).status_code == 410
    assert fake.events()[-1]["type"] == "checkout.session.expired"


def test_the_portal_cancels_as_flexible_billing_does_and_resumes(
    fake: Handle, client: stripe.StripeClient, plans: Plans, browser: httpx.Client
) -> None:
    member = subscribe(fake, client, plans.monthly)
    url = client.v1.billing_portal.sessions.create(
        {"customer": member.customer, "return_url": "https://site.test/"}
    ).url
    assert '<a href="https://site.test/">Return to the site</a>' in browser.get(url).text

    browser.post(url, data={"action": "cancel", "subscription": member.subscription})
    canceled = client.v1.subscriptions.retrieve(member.subscription)
    assert canceled.cancel_at == canceled["items"].data[0].current_period_end
    assert canceled.cancel_at_period_end is False
    assert "ends on" in browser.get(url).text
    browser.post(url, data={"action": "resume", "subscription": member.subscription})

    assert client.v1.subscriptions.retrieve(member.subscription).cancel_at is None


def test_the_portal_changes_the_plan_and_the_card_and_pays_what_is_open(
    fake: Handle, client: stripe.StripeClient, plans: Plans, browser: httpx.Client
) -> None:
    member = subscribe(fake, client, plans.monthly)
    url = client.v1.billing_portal.sessions.create({"customer": member.customer}).url
    browser.post(url, data={"action": "change", "subscription": member.subscription, "price": plans.yearly})
    assert client.v1.subscriptions.retrieve(member.subscription)["items"].data[0].price.id == plans.yearly

    fake.card(member.customer, "declined")
    fake.advance(days=366)
    assert "past_due" in browser.get(url).text
    invoice = client.v1.invoices.list({"customer": member.customer}).data[0].id
    refused = browser.post(url, data={"action": "pay", "invoice": str(invoice)})
    assert 'role="alert"' in refused.text
    browser.post(url, data={"action": "card", "card": "good"})
    browser.post(url, data={"action": "pay", "invoice": str(invoice)})

    assert client.v1.subscriptions.retrieve(member.subscription).status == "active"


def test_a_portal_that_was_opened_for_the_card_leads_back_once_it_is_replaced(
    fake: Handle, client: stripe.StripeClient, plans: Plans, browser: httpx.Client
) -> None:
    member = subscribe(fake, client, plans.monthly)
    back = {"type": "redirect", "redirect": {"return_url": "https://site.test/billing"}}
    asked: Any = {"customer": member.customer, "flow_data": {"type": "payment_method_update", "after_completion": back}}
    url = client.v1.billing_portal.sessions.create(asked).url

    assert browser.post(url, data={"action": "card", "card": "declined"}).status_code == 402
    answer = browser.post(url, data={"action": "card", "card": "good"})

    assert answer.headers["Location"] == "https://site.test/billing"


def test_one_customer_s_portal_touches_nothing_of_another(
    fake: Handle, client: stripe.StripeClient, plans: Plans, browser: httpx.Client
) -> None:
    ann, bob = (subscribe(fake, client, plans.monthly) for _ in range(2))
    url = client.v1.billing_portal.sessions.create({"customer": ann.customer}).url

    answer = browser.post(url, data={"action": "cancel", "subscription": bob.subscription})

    assert answer.status_code == 404
    assert client.v1.subscriptions.retrieve(bob.subscription).cancel_at is None


def test_an_invoice_has_a_page_and_the_clock_has_one_too(
    fake: Handle, client: stripe.StripeClient, plans: Plans, browser: httpx.Client
) -> None:
    member = subscribe(fake, client, plans.monthly)
    invoice = client.v1.invoices.list({"customer": member.customer}).data[0]
    assert "9.00 EUR" in browser.get(str(invoice.hosted_invoice_url)).text

    browser.post(f"{fake.url}/", data={"days": "31"})
    browser.post(f"{fake.url}/", data={"days": "1"})

    assert len(client.v1.invoices.list({"customer": member.customer}).data) == 2
    assert "ann@example.org" in browser.get(f"{fake.url}/").text


def test_no_page_has_a_script_and_every_one_has_a_title_and_a_language(
    fake: Handle, client: stripe.StripeClient, plans: Plans, browser: httpx.Client
) -> None:
    member = subscribe(fake, client, plans.monthly)
    portal = client.v1.billing_portal.sessions.create({"customer": member.customer}).url
    for url in (str(checkout(client, plans.monthly).url), portal, f"{fake.url}/", f"{fake.url}/nothing"):
        page = browser.get(url).text
        assert "<script" not in page
        assert re.search(r'<html lang="en">.*<title>[^<]+</title>.*<main><h1>', page, re.DOTALL)
