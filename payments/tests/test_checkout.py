"""From a plan to Stripe's page and back, against the stand-in: one session, one subscription, access at once."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from accounts.membership import may_see_members_content
from accounts.models import User
from accounts.tests.browser import Browser, text_of
from e2e.stripe.standin import Handle
from e2e.stripe.wire import Object
from payments import checkout, customers, offers, stripe_api
from payments.models import Customer, Plan, Subscription
from payments.tests.pages import browser_of, press, words
from payments.tests.shop import Shop

pytestmark = pytest.mark.django_db

BUY = "/billing/checkout/"
MONTHLY, YEARLY = 0, 1


@pytest.fixture
def browser(shop: Shop, member: User) -> Browser:
    """The member's, where the shop's plans are on sale."""
    return browser_of(member)


def buy(browser: Browser, number: int = MONTHLY, **more: Any) -> Any:
    return press(browser, browser.get("/billing/plans/"), BUY, number=number, **more)


def session_at(answer: Any) -> str:
    assert answer.status_code == 303, words(answer)
    return str(answer["Location"].rpartition("/")[2])


def sessions(status: str = "open") -> list[Object]:
    found = stripe_api.client().v1.checkout.sessions.list({"limit": 100}).data
    return [stripe_api.as_dict(session) for session in found if session.status == status]


def test_a_plan_leads_to_stripe_s_page(browser: Browser, shop: Shop, member: User) -> None:
    answer = buy(browser)
    assert answer.status_code == 303
    assert answer["Location"].startswith(shop.stripe.url)
    [session] = sessions()
    assert session["client_reference_id"] == str(member.pk)
    assert session["mode"] == "subscription"
    assert session["allow_promotion_codes"] is True
    assert session["customer"] == Customer.objects.get(user=member).customer_id
    assert session["success_url"] == "http://testserver/billing/done/?session_id={CHECKOUT_SESSION_ID}"
    assert session["cancel_url"] == "http://testserver/billing/plans/"


def test_paying_gives_access_at_once_before_any_event(browser: Browser, shop: Shop, member: User) -> None:
    session = session_at(buy(browser))
    shop.stripe.complete_checkout(session)
    assert not may_see_members_content(member)
    answer = browser.get(f"/billing/done/?session_id={session}")
    assert "Your membership has begun." in words(answer)
    assert may_see_members_content(member)
    assert "Your trial lasts until" in words(browser.get("/billing/"))


def test_the_trial_is_the_plan_s_and_given_once(browser: Browser, shop: Shop, member: User) -> None:
    session = session_at(buy(browser))
    shop.stripe.complete_checkout(session)
    browser.get(f"/billing/done/?session_id={session}")
    [subscription] = Subscription.objects.all()
    assert subscription.status == "trialing"
    assert (subscription.trial_ends_at - subscription.started_at).days == 7

    stripe_api.client().v1.subscriptions.cancel(subscription.subscription_id)
    checkout.processing.synchronise("subscription", subscription.subscription_id)
    assert not may_see_members_content(member)
    session = session_at(buy(browser))
    shop.stripe.complete_checkout(session)
    browser.get(f"/billing/done/?session_id={session}")
    assert Subscription.objects.standing().get().status == "active"


def test_a_double_click_makes_one_session(browser: Browser, member: User) -> None:
    page = browser.get("/billing/plans/")
    assert session_at(press(browser, page, BUY)) == session_at(press(browser, page, BUY))
    assert len(sessions()) == 1
    assert not sessions("expired")


def test_another_choice_expires_the_earlier_session(browser: Browser) -> None:
    first, second = session_at(buy(browser, MONTHLY)), session_at(buy(browser, YEARLY))
    assert [session["id"] for session in sessions()] == [second]
    assert [session["id"] for session in sessions("expired")] == [first]


def test_the_button_of_a_page_whose_session_is_over_makes_a_new_one(browser: Browser) -> None:
    page = browser.get("/billing/plans/")
    first = session_at(press(browser, page, BUY))
    stripe_api.client().v1.checkout.sessions.expire(first)
    second = session_at(press(browser, page, BUY))
    assert second != first
    assert [session["id"] for session in sessions()] == [second]


@pytest.mark.django_db(transaction=True)
def test_whatever_is_clicked_at_the_same_time_one_session_stays_open(shop: Shop, member: User) -> None:
    plans = list(offers.on_sale().filter(currency="eur"))
    addresses = checkout.Addresses("https://example.org/{CHECKOUT_SESSION_ID}", "https://example.org/")

    def click(number: int) -> str:
        try:
            attempt, plan = f"attempt-{number // 2}", plans[number // 2 % 2]
            return checkout.start(user=member, plan=plan, attempt=attempt, addresses=addresses)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        urls = list(threads.map(click, range(8)))
    assert len(sessions()) == 1
    assert Customer.objects.count() == 1
    assert sessions()[0]["url"] in urls


def test_a_member_with_a_membership_is_led_to_it(browser: Browser, shop: Shop, member: User) -> None:
    page = browser.get("/billing/plans/")
    session = session_at(press(browser, page, BUY))
    shop.stripe.complete_checkout(session)
    browser.get(f"/billing/done/?session_id={session}")
    answer = press(browser, page, BUY, follow=True)
    assert answer.redirect_chain == [("/billing/", 303)]
    assert "You have a membership already." in words(answer)
    assert not sessions()


def test_one_that_was_paid_for_and_is_not_known_here_yet_is_found(browser: Browser, shop: Shop, member: User) -> None:
    shop.stripe.complete_checkout(session_at(buy(browser)))  # and the window is closed before it leads back
    answer = buy(browser, YEARLY, follow=True)
    assert "Your membership was just brought up to date." in words(answer)
    assert may_see_members_content(member)
    assert not sessions()
    assert Subscription.objects.count() == 1


def test_one_paid_in_another_tab_while_this_one_chooses_is_not_bought_twice(
    browser: Browser, shop: Shop, member: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = session_at(buy(browser))
    expire = checkout._expire

    def paid_just_before(session: Any) -> None:
        if session.id == first:
            shop.stripe.complete_checkout(first)
        expire(session)

    monkeypatch.setattr(checkout, "_expire", paid_just_before)
    answer = buy(browser, YEARLY, follow=True)
    assert "Your membership was just brought up to date." in words(answer)
    assert not sessions()
    assert Subscription.objects.get().status == "trialing"


@pytest.mark.parametrize("plan", ["price_none", "demo_month", "../v1/prices", "\0", ""])
def test_what_is_not_on_sale_cannot_be_bought(browser: Browser, shop: Shop, plan: str) -> None:
    page = browser.get("/billing/plans/")
    shop.stripe.forget_calls()
    answer = browser.send_from(page, BUY, plan=plan, attempt="a" * 12)
    assert "That plan is not on sale. Choose one of these." in words(answer)
    assert not shop.stripe.calls()


def test_a_plan_that_was_taken_off_sale_cannot_be_bought_from_an_old_page(browser: Browser, shop: Shop) -> None:
    page = browser.get("/billing/plans/")
    Plan.objects.update(active=False)
    answer = press(browser, page, BUY, follow=True)
    assert "That plan is not on sale." in words(answer)
    assert not sessions()


def test_taxes_are_left_to_stripe_where_that_is_switched_on(browser: Browser, member: User, settings: Any) -> None:
    plan, customer = offers.on_sale()[0], customers.get_or_create(member)
    addresses = checkout.Addresses("https://example.org/", "https://example.org/")
    wanted = checkout._wanted(user=member, customer=customer, plan=plan, addresses=addresses)
    assert "automatic_tax" not in wanted
    settings.STRIPE_AUTOMATIC_TAX = True
    wanted = checkout._wanted(user=member, customer=customer, plan=plan, addresses=addresses)
    assert wanted["automatic_tax"] == {"enabled": True}
    assert wanted["customer_update"]["address"] == "auto"
    assert buy(browser).status_code == 303


# Coming back


def test_another_person_s_session_is_as_good_as_none(browser: Browser, shop: Shop, staff: User, member: User) -> None:
    session = session_at(buy(browser))
    shop.stripe.complete_checkout(session)
    other = browser_of(staff)
    assert other.get(f"/billing/done/?session_id={session}").status_code == 404
    assert not may_see_members_content(staff)
    assert not may_see_members_content(member)


def test_a_session_that_nobody_began_here_is_as_good_as_none(browser: Browser, shop: Shop) -> None:
    made = stripe_api.client().v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "line_items": [{"price": shop.plans.monthly, "quantity": 1}],
            "success_url": "https://example.org/",
        }
    )
    shop.stripe.complete_checkout(made.id)
    assert browser.get(f"/billing/done/?session_id={made.id}").status_code == 404
    assert browser.get("/billing/done/?session_id=cs_test_none").status_code == 404
    assert not Subscription.objects.exists()


@pytest.mark.parametrize("session", ["", "nonsense", "cs_../../v1/customers", "cs_test_%00"])
def test_what_is_no_session_leads_to_the_membership(browser: Browser, shop: Shop, session: str) -> None:
    shop.stripe.forget_calls()
    answer = browser.get(f"/billing/done/?session_id={session}")
    assert (answer.status_code, answer["Location"]) == (303, "/billing/")
    assert not shop.stripe.calls()


def test_who_comes_back_without_having_paid_can_go_on(browser: Browser) -> None:
    answer = buy(browser)
    page = browser.get(f"/billing/done/?session_id={session_at(answer)}")
    assert "Not finished yet Nothing was charged." in words(page)
    assert f'href="{answer["Location"]}"' in text_of(page)


def test_a_session_that_has_expired_says_so(browser: Browser) -> None:
    session = session_at(buy(browser))
    stripe_api.client().v1.checkout.sessions.expire(session)
    assert "Given up Nothing was charged" in words(browser.get(f"/billing/done/?session_id={session}"))


def test_a_payment_that_the_bank_has_not_confirmed_is_said_to_be_on_its_way(
    browser: Browser, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_at(buy(browser))
    shop.stripe.complete_checkout(session)
    found = checkout.session_of

    def unpaid(**asked: Any) -> Any:
        return {**(found(**asked) or {}), "payment_status": "unpaid"}

    monkeypatch.setattr(checkout, "session_of", unpaid)
    monkeypatch.setattr(checkout.processing, "synchronise", lambda *_: None)
    assert "Your payment is on its way" in words(browser.get(f"/billing/done/?session_id={session}"))


def test_the_page_of_a_membership_that_has_ended_since_leads_to_how_it_stands(browser: Browser, shop: Shop) -> None:
    session = session_at(buy(browser))
    found = shop.stripe.complete_checkout(session)
    stripe_api.client().v1.subscriptions.cancel(found["subscription"])
    answer = browser.get(f"/billing/done/?session_id={session}")
    assert (answer.status_code, answer["Location"]) == (303, "/billing/")


# Stripe fails

FAULTS = ["down", "error_500", "nonsense", "rate_limited"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_member_is_told_that_stripe_does_not_answer(browser: Browser, stripe_standin: Handle, fault: str) -> None:
    page = browser.get("/billing/plans/")
    stripe_standin.misbehave(fault)
    answer = press(browser, page, BUY)
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0
    assert "Stripe, which handles our payments, does not answer. Nothing was charged." in words(answer)
    stripe_standin.misbehave(None)
    assert press(browser, page, BUY).status_code == 303


@pytest.mark.parametrize("fault", ["slow", "drip"])
def test_no_request_is_held_longer_than_the_limit(
    browser: Browser, stripe_standin: Handle, settings: Any, fault: str, installed: Callable[[], None]
) -> None:
    page = browser.get("/billing/plans/")
    settings.STRIPE_TIMEOUT_SECONDS = 0.8
    installed()
    stripe_standin.misbehave(fault, seconds=20)
    began = time.monotonic()
    assert press(browser, page, BUY).status_code == 503
    assert time.monotonic() - began < 2


def test_many_slow_calls_have_one_limit_together(
    browser: Browser, stripe_standin: Handle, settings: Any, installed: Callable[[], None]
) -> None:
    page = browser.get("/billing/plans/")
    settings.STRIPE_TIMEOUT_SECONDS = 0.8
    installed()
    stripe_standin.misbehave("slow", seconds=0.35)  # each in time, the four of them not
    began = time.monotonic()
    assert press(browser, page, BUY).status_code == 503
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("fault", FAULTS)
def test_who_has_paid_while_stripe_fails_is_told_not_to_pay_again(
    browser: Browser, shop: Shop, member: User, fault: str
) -> None:
    session = session_at(buy(browser))
    shop.stripe.complete_checkout(session)
    shop.stripe.misbehave(fault)
    answer = browser.get(f"/billing/done/?session_id={session}")
    assert answer.status_code == 503
    assert "Do not pay again." in words(answer)
    shop.stripe.misbehave(None)
    browser.get(f"/billing/done/?session_id={session}")
    assert may_see_members_content(member)


def test_what_stripe_refuses_is_said_without_its_words(browser: Browser, shop: Shop) -> None:
    customer = customers.get_or_create(User.objects.get(username="mara"))
    stripe_api.client().v1.customers.delete(customer.customer_id)
    answer = buy(browser)
    assert answer.status_code == 502
    assert "refused this. Nothing was charged." in words(answer)
    assert customer.customer_id not in text_of(answer)


@pytest.fixture
def installed() -> Any:
    """Installs the transport anew after a setting has changed; and once more when the setting is back."""
    yield stripe_api.install
    stripe_api.install()
