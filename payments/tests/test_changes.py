"""What members change themselves, against the stand-in: cancel, keep, another plan, the portal; and every refusal."""

import re
from typing import Any

import pytest

from accounts.membership import may_see_members_content
from accounts.models import User
from accounts.tests.browser import Browser, text_of
from e2e.stripe.wire import Object
from payments import changes, customers, processing, standing, stripe_api
from payments.models import Subscription
from payments.tests.pages import browser_of, press, words
from payments.tests.shop import Shop

pytestmark = pytest.mark.django_db

CANCEL, RESUME, CHANGE, PORTAL = (f"/billing/{name}/" for name in ("cancel", "resume", "change", "portal"))


@pytest.fixture
def browser(shop: Shop, member: User) -> Browser:
    """The member's."""
    return browser_of(member)


@pytest.fixture
def active(shop: Shop, member: User) -> str:
    """The id of a subscription that the member pays for."""
    return known(shop.subscribe(member))


@pytest.fixture
def on_trial(shop: Shop, member: User) -> str:
    """The id of a subscription that is on trial."""
    return known(shop.subscribe(member, trial_days=7))


def known(subscription_id: str) -> str:
    processing.synchronise("subscription", subscription_id)
    return subscription_id


def at_stripe(subscription_id: str) -> Object:
    return stripe_api.as_dict(stripe_api.client().v1.subscriptions.retrieve(subscription_id))


def follow(browser: Browser, page: Any, text: str) -> Any:
    """Follow a link of the page by its text."""
    for address, link in re.findall(r'<a [^>]*href="([^"]+)"[^>]*>(.*?)</a>', text_of(page), re.S):
        if text in link:
            return browser.get(address.replace("&amp;", "&"))
    raise AssertionError(f"The page has no link “{text}”: {words(page)}")


# Cancelling, and keeping it after all


def test_cancelling_says_first_what_it_means_and_then_ends_it_with_the_period(
    browser: Browser, member: User, active: str
) -> None:
    page = follow(browser, browser.get("/billing/"), "Cancel…")
    assert "which is paid for. Then it ends, and you are not charged again." in words(page)
    assert at_stripe(active)["cancel_at_period_end"] is False

    answer = press(browser, page, CANCEL, follow=True)
    assert answer.redirect_chain == [("/billing/", 303)]
    assert "Your membership is cancelled: it stays until the end" in words(answer)
    assert "It ends on" in words(answer)
    assert at_stripe(active)["cancel_at_period_end"] is True
    assert may_see_members_content(member)


def test_cancelling_a_trial_costs_nothing(browser: Browser, shop: Shop, member: User, on_trial: str) -> None:
    page = follow(browser, browser.get("/billing/"), "Cancel…")
    assert "then it ends, and you pay nothing" in words(page)
    press(browser, page, CANCEL)
    shop.stripe.advance(days=8)
    known(on_trial)
    assert Subscription.objects.get().status == "canceled"
    assert not may_see_members_content(member)
    assert not stripe_api.client().v1.charges.list().data


def test_what_was_cancelled_can_be_kept(browser: Browser, shop: Shop, member: User, active: str) -> None:
    press(browser, follow(browser, browser.get("/billing/"), "Cancel…"), CANCEL)
    answer = press(browser, browser.get("/billing/"), RESUME, follow=True)
    assert "Your membership goes on." in words(answer)
    assert "renews on" in words(answer)
    shop.stripe.advance(days=32)
    known(active)
    assert Subscription.objects.get().status == "active"


def test_what_was_cancelled_in_the_portal_can_be_kept_here(
    browser: Browser, shop: Shop, member: User, active: str
) -> None:
    portal = press(browser, browser.get("/billing/"), PORTAL)["Location"].rpartition("/")[2]
    shop.stripe.portal(portal, action="cancel", subscription=active)
    known(active)
    answer = press(browser, browser.get("/billing/"), RESUME, follow=True)
    assert "Your membership goes on." in words(answer)
    assert at_stripe(active)["cancel_at"] is None


def test_one_that_is_not_paid_ends_at_once(browser: Browser, shop: Shop, member: User) -> None:
    subscription = known(shop.subscribe(member, card="declined_later", trial_days=1))
    shop.stripe.advance(days=2)
    known(subscription)
    assert Subscription.objects.get().status == "past_due"
    page = follow(browser, browser.get("/billing/"), "Cancel…")
    assert "It ends at once" in words(page)
    answer = press(browser, page, CANCEL, follow=True)
    assert "Your membership has ended. You are not charged again." in words(answer)
    assert not may_see_members_content(member)
    shop.stripe.advance(days=40)
    assert at_stripe(subscription)["status"] == "canceled"


def test_what_no_payment_opens_any_more_says_what_does(browser: Browser, shop: Shop, member: User) -> None:
    shop.stripe.configure(dunning_end="unpaid")
    subscription = shop.subscribe(member, card="declined_later", trial_days=1)

    def after(days: int) -> str:
        shop.stripe.advance(days=days)
        for invoice in shop.get("/v1/invoices")["data"]:
            processing.synchronise("invoice", invoice["id"])
        return words(browser.get("/billing/"))

    page = after(20)
    assert at_stripe(subscription)["status"] == "unpaid"
    assert "It opens again as soon as it is paid. Pay €9.00" in page

    page = after(20)
    assert "Another period has begun since, and paying for the old one does not open it any more." in page
    assert "To come back, cancel this membership" in page
    assert "It opens again" not in page
    assert "Pay €9.00" not in page

    press(browser, follow(browser, browser.get("/billing/"), "Cancel…"), CANCEL)
    assert not may_see_members_content(member)
    known(shop.subscribe(member))
    assert may_see_members_content(member)


def test_what_was_paid_just_now_is_not_ended_though_the_page_said_at_once(
    browser: Browser, shop: Shop, member: User
) -> None:
    subscription = known(shop.subscribe(member, card="declined_later", trial_days=1))
    shop.stripe.advance(days=2)
    known(subscription)
    page = follow(browser, browser.get("/billing/"), "Cancel…")
    assert "It ends at once" in words(page)
    shop.stripe.card(customers.get_or_create(member).customer_id, "good")
    shop.stripe.advance(days=4)  # it is tried again, and paid; the event is late

    answer = press(browser, page, CANCEL, follow=True)

    assert "Your membership has changed meanwhile." in words(answer)
    assert "renews on" in words(answer)
    assert at_stripe(subscription)["status"] == "active"
    assert at_stripe(subscription)["cancel_at_period_end"] is False


def test_what_was_not_paid_meanwhile_does_not_end_at_once_where_the_page_said_later(
    browser: Browser, shop: Shop, member: User, active: str
) -> None:
    page = browser.get(f"{CANCEL}?subscription={active}")
    assert "You keep everything until" in words(page)
    shop.stripe.card(customers.get_or_create(member).customer_id, "declined")
    shop.stripe.advance(days=32)  # the event is late

    answer = press(browser, page, CANCEL, follow=True)
    assert "Your membership has changed meanwhile." in words(answer)
    assert "is still to be paid" in words(answer)
    assert at_stripe(active)["status"] == "past_due"

    answer = press(browser, page, CANCEL, follow=True)  # by the button of before, though our row is right by now
    assert "Your membership has changed meanwhile." in words(answer)
    assert at_stripe(active)["status"] == "past_due"


def test_a_form_that_does_not_say_what_was_told_is_shown_again(browser: Browser, active: str) -> None:
    answer = browser.send_from(browser.get(f"{CANCEL}?subscription={active}"), CANCEL, subscription=active)
    assert "You keep everything until" in words(answer)
    assert at_stripe(active)["cancel_at_period_end"] is False


# Another plan


def test_changing_the_plan_says_first_what_will_happen_and_then_does_it(
    browser: Browser, shop: Shop, member: User, active: str
) -> None:
    choice = follow(browser, browser.get("/billing/"), "Change plan")
    assert "Now you have Membership, €9.00 a month." in words(choice)
    assert "€90.00 a year You save 16%." in words(choice)
    assert "JP¥" not in words(choice)
    page = follow(browser, choice, "Choose")
    assert "Now Membership, €9.00 a month Then Membership, €90.00 a year" in words(page)
    assert "€81.00 is charged to your card now: the new price, less what is left" in words(page)
    assert Subscription.objects.get().price_id == shop.plans.monthly

    answer = press(browser, page, CHANGE, follow=True)
    assert "Your plan is now Membership, €90.00 a year." in words(answer)
    assert "It costs €90.00 a year" in words(answer)
    assert Subscription.objects.get().price_id == shop.plans.yearly
    assert len(at_stripe(active)["items"]["data"]) == 1
    assert may_see_members_content(member)


def test_changing_twice_charges_once(browser: Browser, shop: Shop, active: str) -> None:
    page = browser.get(f"{CHANGE}?subscription={active}&plan={shop.plans.yearly}")
    press(browser, page, CHANGE)
    charges = len(stripe_api.client().v1.charges.list().data)
    subscription = Subscription.objects.get()
    assert changes.change_plan(subscription, plan=subscription.plan)
    press(browser, page, CHANGE)
    assert len(stripe_api.client().v1.charges.list().data) == charges


def test_what_is_charged_is_what_the_page_said(browser: Browser, shop: Shop, active: str) -> None:
    shop.stripe.advance(days=10)
    page = browser.get(f"{CHANGE}?subscription={active}&plan={shop.plans.yearly}")
    said = re.search(r"€([\d.]+) is charged to your card now", words(page))
    assert said
    shop.stripe.advance(hours=12)  # and nobody pays for having thought about it
    press(browser, page, CHANGE)
    charge = stripe_api.client().v1.charges.list({"limit": 1}).data[0]
    assert charge.amount == int(said[1].replace(".", ""))
    assert 8_100 < charge.amount < 9_000


def test_a_shorter_period_is_paid_by_what_is_left_of_the_longer_one(browser: Browser, shop: Shop, member: User) -> None:
    subscription = known(shop.subscribe(member, price=shop.plans.yearly))
    page = browser.get(f"{CHANGE}?subscription={subscription}&plan={shop.plans.monthly}")
    assert "Nothing is charged now: what is left of what you paid for the old one is more" in words(page)
    assert "Your plan is now Membership, €9.00 a month." in words(press(browser, page, CHANGE, follow=True))


def test_a_change_that_nobody_was_told_the_cost_of_is_told_first(
    browser: Browser, shop: Shop, member: User, active: str
) -> None:
    other = known(shop.subscribe(member))
    page = browser.get(f"{CHANGE}?subscription={active}&plan={shop.plans.yearly}")
    seen = re.search(r'name="seen" value="([^"]+)"', text_of(page))
    assert seen
    for forged in ("", "nonsense", f"{seen[1]}x"):
        answer = browser.send_from(page, CHANGE, subscription=active, plan=shop.plans.yearly, seen=forged)
        assert "Some time has passed: look at the sum again." in words(answer)
    answer = browser.send_from(page, CHANGE, subscription=other, plan=shop.plans.yearly, seen=seen[1])
    assert "look at the sum again" in words(answer)
    assert {at_stripe(one)["items"]["data"][0]["price"]["id"] for one in (active, other)} == {shop.plans.monthly}


def test_a_trial_goes_on_with_the_new_plan(browser: Browser, shop: Shop, on_trial: str) -> None:
    page = browser.get(f"{CHANGE}?subscription={on_trial}&plan={shop.plans.yearly}")
    assert "Nothing is charged before" in words(page)
    assert "Your trial lasts until" in words(press(browser, page, CHANGE, follow=True))
    assert not stripe_api.client().v1.charges.list().data


def test_another_plan_with_the_same_period_is_settled_with_the_next_invoice(
    browser: Browser, shop: Shop, active: str
) -> None:
    price = stripe_api.client().v1.prices.create(
        {
            "product": shop.plans.product,
            "currency": "eur",
            "unit_amount": 1_900,
            "recurring": {"interval": "month"},
            "lookup_key": "large",
        }
    )
    processing.synchronise("price", price.id)
    page = browser.get(f"{CHANGE}?subscription={active}&plan={price.id}")
    assert "comes to €29.00 : the new price, and the difference for the days until then." in words(page)
    answer = press(browser, page, CHANGE, follow=True)
    assert "Your plan is now Membership, €19.00 a month." in words(answer)


def test_a_card_that_is_declined_leaves_the_plan_as_it_was(
    browser: Browser, shop: Shop, member: User, active: str
) -> None:
    customer = customers.get_or_create(member)
    shop.stripe.card(customer.customer_id, "declined")
    page = browser.get(f"{CHANGE}?subscription={active}&plan={shop.plans.yearly}")
    answer = press(browser, page, CHANGE, follow=True)
    assert "The bank declined the card, so your plan stays as it was." in words(answer)
    assert "It costs €9.00 a month" in words(answer)
    assert at_stripe(active)["items"]["data"][0]["price"]["id"] == shop.plans.monthly
    assert may_see_members_content(member)


def test_a_bank_that_wants_to_ask_is_told_apart_from_one_that_declines(
    browser: Browser, shop: Shop, member: User, active: str
) -> None:
    shop.stripe.card(customers.get_or_create(member).customer_id, "authentication")
    page = browser.get(f"{CHANGE}?subscription={active}&plan={shop.plans.yearly}")
    answer = press(browser, page, CHANGE, follow=True)
    assert "The bank wants you to confirm this payment, and cannot ask you here" in words(answer)
    assert "Replace the card on your page at Stripe" in words(answer)
    assert "declined" not in words(answer)
    assert at_stripe(active)["items"]["data"][0]["price"]["id"] == shop.plans.monthly


@pytest.mark.parametrize("plan", ["price_none", "demo_year", "yen", "present", "nul"])
def test_it_can_be_changed_only_to_another_plan_on_sale_in_its_currency(
    browser: Browser, shop: Shop, active: str, plan: str
) -> None:
    asked = {"yen": shop.plans.yen, "present": shop.plans.monthly, "nul": "%00"}.get(plan, plan)
    page = browser.get(f"{CHANGE}?subscription={active}&plan={asked}")
    assert "Change your plan Now you have" in words(page)
    answer = browser.send_from(page, CHANGE, subscription=active, plan=asked)
    assert "Now you have" in words(answer)
    assert at_stripe(active)["items"]["data"][0]["price"]["id"] == shop.plans.monthly


def test_a_subscription_of_several_parts_is_left_to_people(browser: Browser, shop: Shop, member: User) -> None:
    stripe, recurring = stripe_api.client().v1, {"interval": "month"}
    wanted = {"product": shop.plans.product, "currency": "eur", "unit_amount": 100, "recurring": recurring}
    donation = stripe.prices.create(wanted)  # type: ignore[arg-type]
    session = stripe.checkout.sessions.create(
        {
            "mode": "subscription",
            "customer": customers.get_or_create(member).customer_id,
            "line_items": [{"price": price, "quantity": 1} for price in (shop.plans.monthly, donation.id)],
            "success_url": "https://example.org/",
        }
    )
    subscription = known(shop.stripe.complete_checkout(session.id)["subscription"])
    answer = browser.get(f"{CHANGE}?subscription={subscription}&plan={shop.plans.yearly}", follow=True)
    assert "This membership has several parts." in words(answer)
    assert len(at_stripe(subscription)["items"]["data"]) == 2


# The portal


def test_the_portal_opens_for_the_member_s_own_customer(
    browser: Browser, shop: Shop, member: User, active: str
) -> None:
    answer = press(browser, browser.get("/billing/"), PORTAL)
    assert answer.status_code == 303
    assert answer["Location"].startswith(f"{shop.stripe.url}/p/session/")


def test_replacing_the_card_begins_there(browser: Browser, shop: Shop, member: User) -> None:
    subscription = known(shop.subscribe(member, card="declined_later", trial_days=1))
    shop.stripe.advance(days=2)
    known(subscription)
    page = browser.get("/billing/")
    assert "Replace the card" in words(page)
    answer = press(browser, page, PORTAL)
    assert answer["Location"].startswith(f"{shop.stripe.url}/p/session/")
    customer = customers.get_or_create(member)
    asked: list[Any] = []
    client = stripe_api.client().v1.billing_portal.sessions
    original = client.create
    client.create = lambda params: asked.append(params) or original(params)  # type: ignore[method-assign, assignment]
    changes.portal(customer, return_to="https://example.org/", part="card")
    assert asked[0]["flow_data"]["type"] == "payment_method_update"


def test_without_a_customer_the_portal_is_the_plans_page(browser: Browser) -> None:
    answer = browser.send_from(browser.get("/billing/plans/"), PORTAL)
    assert answer.redirect_chain == [("/billing/plans/", 303)]
    assert "before you have chosen a plan" in words(answer)


# Refusals


@pytest.mark.parametrize("path", [CANCEL, RESUME, CHANGE])
@pytest.mark.parametrize("whose", ["another's", "none", "nonsense", "missing"])
def test_what_is_not_one_s_own_is_as_good_as_none(
    browser: Browser, shop: Shop, staff: User, active: str, path: str, whose: str
) -> None:
    other = known(shop.subscribe(staff))
    asked = {"another's": other, "none": "sub_none", "nonsense": "\0../v1", "missing": ""}[whose]
    page = browser.get("/billing/")
    answer = browser.send_from(page, path, subscription=asked, plan=shop.plans.yearly)
    assert answer.redirect_chain == [("/billing/", 303)]
    assert "That cannot be done now." in words(answer)
    if path != RESUME:
        assert browser.get(path, {"subscription": asked})["Location"] == "/billing/"
    for untouched in (other, active):
        found = at_stripe(untouched)
        assert found["cancel_at_period_end"] is False
        assert found["items"]["data"][0]["price"]["id"] == shop.plans.monthly


def test_what_cannot_be_done_in_that_state_is_not_done(browser: Browser, shop: Shop, active: str) -> None:
    page = browser.get("/billing/")
    assert "That cannot be done now." in words(browser.send_from(page, RESUME, subscription=active))
    press(browser, browser.get(f"{CANCEL}?subscription={active}"), CANCEL)
    assert browser.get(f"{CANCEL}?subscription={active}").status_code == 303
    assert browser.get(f"{CHANGE}?subscription={active}").status_code == 303


@pytest.mark.parametrize("path", [CANCEL, CHANGE])
def test_what_has_ended_at_stripe_meanwhile_is_shown_as_it_stands(
    browser: Browser, shop: Shop, member: User, active: str, path: str
) -> None:
    page = browser.get(f"{path}?subscription={active}&plan={shop.plans.yearly}")
    stripe_api.client().v1.subscriptions.cancel(active)
    answer = press(browser, page, path, follow=True)
    assert "Your membership has changed meanwhile." in words(answer)
    assert "It ended on" in words(answer)
    assert not may_see_members_content(member)


# Stripe fails


@pytest.mark.parametrize("fault", ["down", "error_500", "nonsense", "rate_limited", "lost"])
def test_a_member_is_told_to_look_before_trying_again(
    browser: Browser, shop: Shop, member: User, active: str, fault: str
) -> None:
    pages = {
        CANCEL: browser.get(f"{CANCEL}?subscription={active}"),
        CHANGE: browser.get(f"{CHANGE}?subscription={active}&plan={shop.plans.yearly}"),
    }
    shop.stripe.misbehave(fault)
    for path, page in pages.items():
        answer = press(browser, page, path)
        assert answer.status_code == 503
        assert "It may have been done all the same: look at your membership" in words(answer)
    assert press(browser, browser.get("/billing/"), PORTAL).status_code == 503
    assert "renews on" in words(browser.get("/billing/"))
    assert may_see_members_content(member)


def test_what_was_done_though_its_answer_was_lost_shows_when_the_event_comes(
    browser: Browser, shop: Shop, asgi: Any, active: str
) -> None:
    shop.news()
    page = browser.get(f"{CANCEL}?subscription={active}")
    shop.stripe.misbehave("lost", methods="POST")
    assert press(browser, page, CANCEL).status_code == 503
    shop.stripe.misbehave(None)
    assert {answer.status for answer in shop.tell(asgi)} == {200}
    assert "It ends on" in words(browser.get("/billing/"))


def test_what_was_done_and_cannot_be_shown_yet_is_said_to_be_done(
    browser: Browser, shop: Shop, member: User, active: str
) -> None:
    page = browser.get(f"{CANCEL}?subscription={active}")
    real = processing.synchronise

    def silent(kind: str, object_id: str) -> None:
        shop.stripe.misbehave("down")
        real(kind, object_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processing, "synchronise", silent)
        answer = press(browser, page, CANCEL, follow=True)
    assert "Your membership is cancelled" in words(answer)
    assert "This page will show it in a moment." in words(answer)
    shop.stripe.misbehave(None)
    known(active)
    assert standing.of(member)[0].state == "ending"
