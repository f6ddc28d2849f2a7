"""The pages that are read: the plans, and how a membership stands, in each state; nothing here asks Stripe."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import membership
from accounts.models import User
from accounts.tests.browser import Browser, text_of
from payments import stripe_api, subscriptions
from payments.models import Customer, Subscription
from payments.tests import rows
from payments.tests.pages import browser_of, words
from payments.tests.rows import days_ago

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _stripe_is_gone(settings: Any) -> Any:
    """A key is set, and nothing listens at its API."""
    settings.STRIPE_SECRET_KEY = "sk_test_" + "a" * 24
    settings.STRIPE_API_BASE, before = "http://127.0.0.1:9", settings.STRIPE_API_BASE
    stripe_api.install()
    yield
    settings.STRIPE_API_BASE = before
    stripe_api.install()


@pytest.fixture
def customer(member: User) -> Customer:
    """Who pays for the member."""
    return Customer.objects.create(user=member, customer_id="cus_of_mara")


def day(days_ahead: float) -> str:
    moment = timezone.now() + timedelta(days=days_ahead)
    return f"{moment.day} {moment:%B %Y}"


def subscribe(customer: Customer, **more: Any) -> Subscription:
    subscription = rows.subscription(customer, rows.plan(), **more)
    subscriptions.give_access(subscription)
    return subscription


def shown(member: User) -> str:
    answer = browser_of(member).get("/billing/")
    assert answer.status_code == 200
    return words(answer)


# The plans


def test_the_plans_page_shows_price_trial_and_what_paying_for_a_year_saves() -> None:
    rows.plan(product_id="prod", trial_days=7, position=1)
    rows.plan(product_id="prod", interval="year", amount_minor=9_000, description="All of it.", position=2)
    page = words(Browser().get("/billing/plans/"))
    monthly, _, yearly = page.partition("Membership, yearly")
    assert "Membership, monthly €9.00 a month The first 7 days are free." in monthly
    assert "You save" not in monthly
    assert "recommended €90.00 a year You save 16%. All of it." in yearly
    assert "days are free" not in yearly


def test_plans_of_two_products_are_not_compared() -> None:
    rows.plan("Small", product_id="small", amount_minor=500)
    rows.plan("Large", product_id="large", amount_minor=5_000, interval="year")
    assert "You save" not in words(Browser().get("/billing/plans/"))


def test_what_is_not_on_sale_or_of_the_other_mode_is_not_shown() -> None:
    rows.plan("Archived", active=False)
    rows.plan("Live", livemode=True)
    page = words(Browser().get("/billing/plans/"))
    assert "Archived" not in page
    assert "Live" not in page
    assert "Nothing is on sale yet" in page


def test_one_currency_is_shown_at_a_time_and_an_unknown_one_is_the_first() -> None:
    rows.plan("In euros", position=1)
    rows.plan("In yen", currency="jpy", amount_minor=1_200, position=2)
    browser = Browser()
    euros, yen = words(browser.get("/billing/plans/")), words(browser.get("/billing/plans/?currency=jpy"))
    assert "€9.00 a month" in euros
    assert "In yen" not in euros
    assert "JP¥1,200 a month" in yen
    assert "In euros" not in yen
    assert "In euros" in words(browser.get("/billing/plans/?currency=%00"))


def test_a_member_sees_the_own_currency_first(member: User, customer: Customer) -> None:
    rows.plan("In euros", position=1)
    yen = rows.plan("In yen", currency="jpy", amount_minor=1_200, position=2)
    rows.subscription(customer, yen)
    assert "In yen" in words(browser_of(member).get("/billing/plans/"))


def test_somebody_without_an_account_is_led_to_make_one_and_back() -> None:
    rows.plan()
    page = text_of(Browser().get("/billing/plans/"))
    assert "/accounts/signup/?next=/billing/plans/" in page
    assert "<form" not in page.partition("<main")[2]


def test_a_member_is_told_which_plan_is_theirs_and_is_sold_no_second_one(member: User, customer: Customer) -> None:
    subscribe(customer)
    rows.plan("Another", amount_minor=2_000)
    page = browser_of(member).get("/billing/plans/")
    assert "Membership, monthly yours €9.00" in words(page)
    assert words(page).count("yours") == 1
    assert "/billing/checkout/" not in text_of(page)


def test_there_is_one_trial_for_a_customer(member: User, customer: Customer) -> None:
    plan = rows.plan(trial_days=7)
    assert "The first 7 days are free." in words(browser_of(member).get("/billing/plans/"))
    rows.subscription(customer, plan, status="canceled", trial_ends_at=days_ago(20), ended_at=days_ago(20))
    page = words(browser_of(member).get("/billing/plans/"))
    assert "days are free" not in page
    assert "Subscribe" in page


# How a membership stands


def test_without_one_it_says_so_and_leads_to_the_plans(member: User) -> None:
    page = shown(member)
    assert "closed What is for members is closed to you now." in page
    assert "No subscription You have none." in page
    assert "Open my page at Stripe" not in page


def test_a_trial_says_when_it_ends_and_what_comes_then(member: User, customer: Customer) -> None:
    subscribe(customer, status="trialing", trial_ends_at=days_ago(-5), period_ends_at=days_ago(-5))
    page = shown(member)
    assert "open You can see everything" in page
    assert f"Your trial lasts until {day(5)}. Then it costs €9.00 a month." in page
    assert "Change plan" in page
    assert "Cancel…" in page


def test_an_active_one_says_when_it_renews(member: User, customer: Customer) -> None:
    subscribe(customer)
    page = shown(member)
    assert f"It costs €9.00 a month and renews on {day(30)}." in page
    assert "Open my page at Stripe" in page


@pytest.mark.parametrize("status", ["active", "trialing"])
def test_a_cancelled_one_says_when_it_ends_and_can_be_kept(member: User, customer: Customer, status: str) -> None:
    subscribe(customer, status=status, cancels_at=days_ago(-9))
    page = shown(member)
    assert f"It ends on {day(9)}. Until then you keep everything" in page
    assert "Keep my membership" in page
    assert "Cancel…" not in page
    assert "Change plan" not in page


def test_one_that_ends_after_more_renewals_says_what_it_costs_until_then(member: User, customer: Customer) -> None:
    subscribe(customer, cancels_at=days_ago(-300))
    page = shown(member)
    assert f"It ends on {day(300)}. Until then it costs €9.00 a month, and is renewed next on {day(30)}." in page
    assert "not charged again" not in page


def test_a_failed_payment_says_why_until_when_and_how_to_pay(member: User, customer: Customer) -> None:
    subscription = subscribe(customer, status="past_due", period_starts_at=days_ago(2))
    rows.failed(subscription, hosted_url="https://invoice.example/1", next_attempt_at=days_ago(-1))
    page = browser_of(member).get("/billing/")
    said = words(page)
    assert "open You can see everything" in said
    assert "There was not enough money in the account. €9.00 is still to be paid." in said
    assert f"You keep everything until {day(5)}. We try the card again on {day(1)}." in said
    assert "Pay €9.00 Replace the card Cancel…" in said
    assert 'href="https://invoice.example/1">Pay €9.00' in text_of(page)


def test_after_the_days_of_grace_it_says_that_access_is_closed(member: User, customer: Customer) -> None:
    subscription = subscribe(customer, status="past_due", period_starts_at=days_ago(8))
    rows.failed(subscription, hosted_url="https://invoice.example/1")
    said = shown(member)
    assert "closed What is for members is closed to you now." in said
    assert "€9.00 was not paid in time" in said
    assert "Pay €9.00" in said


def test_an_unpaid_one_is_closed_until_it_is_paid(member: User, customer: Customer) -> None:
    subscribe(customer, status="unpaid")
    said = shown(member)
    assert "The last payment failed. The amount was not paid in time" in said
    assert "Replace the card" in said


@pytest.mark.parametrize("path", ["/billing/", "/billing/plans/"])
def test_whose_address_is_not_verified_is_asked_to_verify_it(member: User, path: str) -> None:
    browser = browser_of(member)
    assert "not verified" not in words(browser.get(path))

    member.emailaddress_set.update(verified=False)
    page = browser.get(path)
    assert "Your e-mail address is not verified yet." in words(page)
    assert '<a href="/accounts/email/">Verify it now</a>' in text_of(page)
    assert "not verified" not in words(Browser().get("/billing/plans/"))


def test_of_several_that_are_not_paid_the_newest_is_to_be_paid(member: User, customer: Customer) -> None:
    subscription = subscribe(customer, status="past_due", period_starts_at=days_ago(2))
    rows.failed(subscription, hosted_url="https://invoice.example/old", issued_at=days_ago(9))
    rows.failed(subscription, hosted_url="https://invoice.example/new", issued_at=days_ago(2))
    assert 'class="button" href="https://invoice.example/new">Pay €9.00' in text_of(browser_of(member).get("/billing/"))


def test_a_paused_one_asks_for_a_card(member: User, customer: Customer) -> None:
    subscribe(customer, status="paused", trial_ends_at=days_ago(1))
    assert "there was no card to charge. It goes on when you add one. Add a card" in shown(member)


def test_one_whose_first_payment_was_not_completed_can_be_completed_or_given_up(
    member: User, customer: Customer
) -> None:
    subscription = subscribe(customer, status="incomplete")
    rows.invoice(subscription, status="open", paid_at=None, hosted_url="https://invoice.example/1")
    said = shown(member)
    assert "the membership has not begun" in said
    assert "Pay €9.00 Give it up…" in said


def test_one_that_has_ended_says_when_and_invites_back(member: User, customer: Customer) -> None:
    subscribe(customer, status="canceled", ended_at=days_ago(3))
    said = shown(member)
    assert f"It ended on {day(-3)}. You can come back whenever you like. See the plans" in said


def test_what_has_ended_is_left_out_beside_what_stands(member: User, customer: Customer) -> None:
    subscribe(customer, status="canceled", ended_at=days_ago(3), started_at=days_ago(1))
    subscribe(customer)
    said = shown(member)
    assert "It ended on" not in said
    assert "renews on" in said


def test_two_that_stand_are_both_shown_with_a_warning(member: User, customer: Customer) -> None:
    subscribe(customer)
    subscribe(customer)
    said = shown(member)
    assert "You have more than one membership, and each of them is charged." in said
    assert said.count("renews on") == 2


def test_a_membership_given_by_staff_is_shown_too(member: User, staff: User) -> None:
    membership.give(user=member, by=staff, reason="A friend", until=timezone.now() + timedelta(days=10))
    said = shown(member)
    assert "open You can see everything" in said
    assert f"Given by our staff Until {day(10)}. It costs nothing." in said
    assert "A friend" not in said


def test_a_subscription_of_the_other_mode_does_not_stand(member: User, customer: Customer) -> None:
    rows.subscription(customer, rows.plan(), livemode=True)
    assert "No subscription" in shown(member)


def test_invoices_show_amount_status_and_documents_twelve_to_a_page(member: User, customer: Customer) -> None:
    subscription = subscribe(customer)
    rows.invoice(subscription, status="draft", number="", issued_at=days_ago(0))
    links = {"hosted_url": "https://invoice.example/new", "pdf_url": "https://invoice.example/new.pdf"}
    rows.failed(subscription, number="NEW", currency="jpy", amount_due_minor=1_200, issued_at=days_ago(1), **links)
    for number in range(11):
        rows.invoice(subscription, number=f"P-{number}", issued_at=days_ago(2 + number))
    rows.invoice(subscription, number="OLD", status="void", issued_at=days_ago(99))

    browser = browser_of(member)
    first, second = browser.get("/billing/"), browser.get("/billing/?page=2")
    assert "NEW" in words(first)
    assert "JP¥1,200 payment failed Pay invoice NEW PDF of invoice NEW" in words(first)
    assert "P-3" in words(first)
    assert "€9.00 paid" in words(first)
    assert "Page 1 of 2 Older" in words(first)
    assert 'href="https://invoice.example/new.pdf"' in text_of(first)
    assert "OLD" not in words(first)
    assert "OLD" in words(second)
    assert "void" in words(second)
    assert "Newer Page 2 of 2" in words(second)
    assert "NEW" in words(browser.get("/billing/?page=nonsense"))


def test_what_is_open_of_a_subscription_that_ended_is_not_asked_for(member: User, customer: Customer) -> None:
    subscription = subscribe(customer, status="canceled", ended_at=days_ago(1))
    rows.failed(subscription, number="LEFT", hosted_url="https://invoice.example/1")
    assert "€9.00 not asked for View invoice LEFT" in shown(member)


def test_nobody_sees_what_is_another_s(member: User, staff: User) -> None:
    other = Customer.objects.create(user=staff, customer_id="cus_of_sam")
    rows.invoice(subscribe(other), number="OF-SAM")
    said = shown(member)
    assert "OF-SAM" not in said
    assert "No subscription" in said


def test_the_page_costs_the_same_with_many_invoices(
    member: User, customer: Customer, django_assert_max_num_queries: Any
) -> None:
    subscription = subscribe(customer)
    for _ in range(30):
        rows.invoice(subscription)
    browser = browser_of(member)
    with django_assert_max_num_queries(14):
        browser.get("/billing/")


def test_only_the_pages_whose_forms_lead_to_stripe_allow_it(member: User, settings: Any) -> None:
    browser = browser_of(member)
    for path in ("/billing/plans/", "/billing/"):
        policy = browser.get(path)["Content-Security-Policy"]
        assert "form-action 'self' https://checkout.stripe.com https://billing.stripe.com http://127.0.0.1:9;" in policy
        assert "default-src 'none'" in policy
    assert "Content-Security-Policy" not in browser.get("/billing/cancel/")
    settings.STRIPE_API_BASE = "https://api.stripe.com"
    assert "api.stripe.com" not in browser.get("/billing/")["Content-Security-Policy"]
    settings.STRIPE_PAGES = ["https://pay.example.org"]
    assert "form-action 'self' https://pay.example.org;" in browser.get("/billing/")["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["", "done/", "cancel/", "change/"])
def test_a_page_of_members_asks_to_sign_in_and_leads_back(path: str) -> None:
    answer = Browser().get(f"/billing/{path}?subscription=sub_1")
    assert answer.status_code == 302
    assert answer["Location"].startswith(f"/accounts/login/?next=/billing/{path}")


@pytest.mark.parametrize(
    ("path", "back"),
    [("checkout/", "/billing/plans/"), ("portal/", "/billing/"), ("resume/", "/billing/")],
)
def test_a_form_of_somebody_signed_out_leads_to_a_page_that_can_be_opened(path: str, back: str) -> None:
    answer = Browser(headers={"accept": "text/html"}).send("/accounts/login/", to=f"/billing/{path}")
    assert answer.redirect_chain[0][0] == f"/accounts/login/?next={back}"
    assert Browser().get(f"/billing/{path}").status_code == 405


@pytest.mark.parametrize("path", ["checkout/", "portal/", "cancel/", "resume/", "change/"])
def test_no_form_is_taken_without_its_token(member: User, path: str) -> None:
    assert browser_of(member).post(f"/billing/{path}", {"subscription": "sub_1"}).status_code == 403


def test_the_navigation_leads_to_plans_or_to_the_own_membership(member: User) -> None:
    assert 'href="/billing/plans/">Membership' in text_of(Browser().get("/"))
    browser = browser_of(member)
    assert 'href="/billing/">Membership' in text_of(browser.get("/"))
    assert 'href="/billing/" aria-current="page">Membership' in text_of(browser.get("/billing/"))
    assert 'href="/billing/">Membership' in text_of(browser.get("/accounts/data/"))
