"""What is exported about a person, and what becomes of payments when the account is erased."""

import json
import time
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from djstripe import models as djstripe

from accounts import deletion, personal_data
from accounts.membership import may_see_members_content
from accounts.models import Membership, User
from accounts.tests.browser import Browser, text_of
from bambisleep.tests.client import AsgiClient
from payments import changes, customers, processing, stripe_api, syncing
from payments.models import Customer, Invoice, Movement, Subscription
from payments.tests import rows
from payments.tests.pages import browser_of, press, words
from payments.tests.shop import Shop, post

pytestmark = pytest.mark.django_db


def wish(user: User) -> User:
    User.objects.filter(pk=user.pk).update(deletion_requested_at=timezone.now() - timedelta(days=15))
    user.refresh_from_db()
    return user


def test_subscriptions_invoices_and_payments_are_exported(member: User) -> None:
    customer = Customer.objects.create(user=member, customer_id="cus_of_mara")
    subscription = rows.subscription(customer, rows.plan("Membership"))
    rows.invoice(subscription, number="B-1")
    rows.movement("charge", 900, customer_id="cus_of_mara")
    rows.movement("charge", 700, customer_id="cus_of_another")
    found = json.loads(json.dumps(personal_data.export(member)["payments"]))
    assert found["customer"] == "cus_of_mara"
    assert [(one["plan"], one["status"]) for one in found["subscriptions"]] == [("Membership", "active")]
    assert [(one["number"], one["amount_paid_minor"], one["currency"]) for one in found["invoices"]] == [
        ("B-1", 900, "eur")
    ]
    assert [(one["kind"], one["amount_minor"]) for one in found["payments"]] == [("charge", 900)]


def test_who_never_paid_has_nothing_to_export(member: User) -> None:
    assert personal_data.export(member)["payments"] == {}


def test_erasing_an_account_keeps_the_records_and_parts_them_from_the_person(member: User) -> None:
    customer = Customer.objects.create(user=member, customer_id="cus_of_mara")
    subscription = rows.subscription(customer, rows.plan(), status="canceled")
    rows.invoice(subscription)
    rows.movement("charge", 900, customer_id="cus_of_mara")
    deletion.erase(wish(member))
    assert not User.objects.exists()
    customer.refresh_from_db()
    assert customer.user is None
    assert (Subscription.objects.count(), Invoice.objects.count(), Movement.objects.count()) == (1, 1, 1)


def test_what_would_still_be_charged_is_ended_at_stripe_first(shop: Shop, member: User) -> None:
    subscription = shop.subscribe(member)
    processing.synchronise("subscription", subscription)
    customer = customers.of(member)
    call_command("erase_accounts", stdout=StringIO())
    assert Subscription.objects.standing().count() == 1  # nobody asked for it

    wish(member)
    call_command("erase_accounts", stdout=StringIO())
    assert not User.objects.exists()
    assert not Membership.objects.exists()
    assert stripe_api.client().v1.subscriptions.retrieve(subscription).status == "canceled"
    assert Subscription.objects.get().status == "canceled"
    assert Customer.objects.get() == customer


def test_an_account_whose_subscription_cannot_be_ended_waits_for_the_next_run(shop: Shop, member: User) -> None:
    processing.synchronise("subscription", shop.subscribe(member))
    wish(member)
    shop.stripe.misbehave("down")
    errors = StringIO()
    with pytest.raises(CommandError, match="the next run tries again"):
        call_command("erase_accounts", stdout=StringIO(), stderr=errors)
    assert "Unavailable" in errors.getvalue()
    assert User.objects.get() == member
    shop.stripe.misbehave(None)
    call_command("erase_accounts", stdout=StringIO())
    assert not User.objects.exists()


def test_one_that_ended_at_stripe_without_our_knowing_does_not_keep_the_account(shop: Shop, member: User) -> None:
    subscription = shop.subscribe(member)
    processing.synchronise("subscription", subscription)
    stripe_api.client().v1.subscriptions.cancel(subscription)
    wish(member)
    call_command("erase_accounts", stdout=StringIO())
    assert not User.objects.exists()
    assert Subscription.objects.get().status == "canceled"


def test_a_wish_that_was_taken_back_ends_nothing(shop: Shop, member: User) -> None:
    subscription = shop.subscribe(member)
    processing.synchronise("subscription", subscription)
    stale = wish(member)
    deletion.cancel(user=User.objects.get(pk=member.pk))
    deletion.erase(stale)
    assert User.objects.exists()
    assert stripe_api.client().v1.subscriptions.retrieve(subscription).status == "active"


def test_what_our_rows_know_nothing_of_is_ended_too(shop: Shop, member: User) -> None:
    subscription = shop.subscribe(member)  # its events have not come yet
    customer_id = customers.get_or_create(member).customer_id
    session = stripe_api.client().v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "customer": customer_id,
            "line_items": [{"price": shop.plans.monthly, "quantity": 1}],
            "success_url": "https://example.org/",
        }
    )
    wish(member)
    call_command("erase_accounts", stdout=StringIO())
    assert stripe_api.client().v1.subscriptions.retrieve(subscription).status == "canceled"
    assert stripe_api.client().v1.checkout.sessions.retrieve(session.id).status == "expired"
    assert not User.objects.exists()


def test_what_stripe_tells_after_the_erasing_brings_nobody_back(shop: Shop, member: User, asgi: AsgiClient) -> None:
    shop.subscribe(member)
    shop.tell(asgi)
    assert djstripe.Customer.objects.get().email == member.email
    wish(member)
    call_command("erase_accounts", stdout=StringIO())
    assert not djstripe.Customer.objects.exists()

    events = shop.news()
    assert "customer.subscription.deleted" in [event["type"] for event in events]
    assert {post(asgi, event).status for event in events} == {200}
    assert {(one.kind, one.outcome) for one in syncing.sync(kinds=["customer"])} == {("customer", "unchanged")}
    for _ in syncing.sync():
        pass
    for model in (djstripe.Customer, djstripe.Subscription, djstripe.Invoice, djstripe.Charge):
        assert not model.objects.exists(), model
    assert Subscription.objects.get().status == "canceled"
    assert (Customer.objects.get().user, Invoice.objects.count(), Movement.objects.count()) == (None, 1, 1)


@pytest.mark.parametrize("key", ["", "of test mode"])
def test_an_account_that_is_charged_where_no_key_reaches_waits(
    member: User, staff: User, settings: Any, key: str
) -> None:
    settings.STRIPE_SECRET_KEY = key and "sk_test_" + "0" * 24
    customer = Customer.objects.create(user=member, customer_id="cus_of_mara", livemode=True)
    subscription = rows.subscription(customer, rows.plan())
    wish(member)
    errors = StringIO()
    with pytest.raises(CommandError, match="1 of them could not be erased"):
        call_command("erase_accounts", stdout=StringIO(), stderr=errors)
    assert "NotConfigured: The customer cus_of_mara is charged, and no key here reaches it." in errors.getvalue()
    assert User.objects.filter(pk=member.pk).exists()

    Subscription.objects.filter(pk=subscription.pk).update(status="canceled")
    call_command("erase_accounts", stdout=StringIO())
    assert list(User.objects.all()) == [staff]


def test_a_former_customer_that_is_charged_for_the_member_is_reached_too(member: User) -> None:
    former = Customer.objects.create(customer_id="cus_former", livemode=True)
    access = Membership.objects.create(user=member, source="subscription")
    rows.subscription(former, rows.plan(), membership=access)
    with pytest.raises(stripe_api.NotConfigured):
        personal_data.prepare(member)


def test_what_was_tried_in_test_mode_keeps_no_account_on_a_live_site(member: User, settings: Any) -> None:
    settings.STRIPE_SECRET_KEY, settings.STRIPE_LIVE_MODE = "sk_live_" + "0" * 24, True
    rows.subscription(Customer.objects.create(user=member, customer_id="cus_of_mara"), rows.plan())
    deletion.erase(wish(member))
    assert not User.objects.exists()


# From the wish to the erasing


def ask(user: User) -> Any:
    """Ask for the deletion, at its page, which wants a fresh sign-in."""
    browser = Browser(headers={"accept": "text/html"})
    browser.sign_in(user.username)
    assert "it is renewed as before, unless it has ended by then." in words(browser.get("/accounts/data/delete/"))
    return browser.send("/accounts/data/delete/", confirm="on")


def keep(user: User) -> Any:
    page = browser_of(User.objects.get(pk=user.pk)).send("/accounts/data/", to="/accounts/data/keep/")
    assert "Your account stays." in words(page)
    return page


def charges() -> int:
    return len(stripe_api.client().v1.charges.list().data)


@pytest.fixture
def paying(shop: Shop, member: User) -> str:
    """The id of a subscription that the member pays for."""
    subscription = shop.subscribe(member)
    processing.synchronise("subscription", subscription)
    return subscription


def test_who_asks_for_deletion_is_not_charged_for_a_renewal_within_the_grace(
    shop: Shop, member: User, paying: str, mailoutbox: list[Any]
) -> None:
    shop.stripe.advance(days=20)
    page = ask(member)
    assert "If you pay for a membership, it is not renewed." in words(page)
    assert "A membership that you pay for is not renewed" in mailoutbox[-1].body
    assert may_see_members_content(member)  # it is paid for
    shop.stripe.advance(days=13)
    assert charges() == 1
    assert stripe_api.client().v1.subscriptions.retrieve(paying).status == "canceled"


def test_who_keeps_the_account_goes_on_paying(shop: Shop, member: User, paying: str) -> None:
    ask(member)
    assert Subscription.objects.get().cancels_at is not None
    keep(member)
    assert Subscription.objects.get().cancels_at is None
    assert changes.STOPPED not in stripe_api.as_dict(stripe_api.client().v1.subscriptions.retrieve(paying))["metadata"]
    shop.stripe.advance(days=32)
    assert charges() == 2


def test_who_keeps_the_account_while_stripe_is_being_told_goes_on_paying(
    shop: Shop, member: User, paying: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = dict(personal_data.KEEPERS)
    monkeypatch.setattr(personal_data, "KEEPERS", {})
    nothing: dict[str, Any] = {"export": lambda user: None, "erase": lambda user: None}
    personal_data.register("before the others", **nothing, requested=keep)
    personal_data.KEEPERS.update(others)
    ask(member)
    found = stripe_api.as_dict(stripe_api.client().v1.subscriptions.retrieve(paying))
    assert (found["cancel_at_period_end"], found["metadata"].get(changes.STOPPED)) == (False, None)
    assert Subscription.objects.get().cancels_at is None


def test_who_keeps_the_account_when_the_membership_has_ended_is_told_so_and_led_to_the_plans(
    shop: Shop, member: User, paying: str, mailoutbox: list[Any]
) -> None:
    ask(member)
    assert "is renewed as before, unless it has ended by then" in mailoutbox[-1].body
    shop.stripe.advance(days=33)
    page = keep(member)
    assert "Your membership has ended meanwhile. To come back, choose a plan." in words(page)
    assert '<a href="/billing/plans/">choose a plan</a>' in text_of(page)
    assert not may_see_members_content(member)


def test_who_keeps_the_account_in_time_is_not_told_that_the_membership_has_ended(member: User, paying: str) -> None:
    ask(member)
    assert "has ended" not in words(keep(member))


@pytest.mark.parametrize("when", ["before", "meanwhile", "after resuming it at Stripe", "on top"])
def test_keeping_the_account_does_not_renew_what_the_member_cancelled(
    shop: Shop, member: User, paying: str, when: str
) -> None:
    if when == "before":
        changes.cancel(Subscription.objects.get(), at_once=False)
    ask(member)
    if when == "meanwhile":
        changes.resume(Subscription.objects.get())
    if when == "after resuming it at Stripe":
        portal = changes.portal(Customer.objects.get(), return_to="https://example.org/").rpartition("/")[2]
        shop.stripe.portal(portal, action="resume", subscription=paying)
        processing.synchronise("subscription", paying)
        assert Subscription.objects.get().cancels_at is None
    if when != "before":
        changes.cancel(Subscription.objects.get(), at_once=False)
    keep(member)
    assert Subscription.objects.get().cancels_at is not None
    assert stripe_api.client().v1.subscriptions.retrieve(paying).cancel_at_period_end


def test_the_page_of_the_membership_says_when_the_account_goes_and_how_to_keep_it(
    shop: Shop, member: User, paying: str
) -> None:
    ask(member)
    member.refresh_from_db()
    browser, erased_at = browser_of(member), deletion.erased_at(member)
    page = browser.get("/billing/")
    assert f"Your account will be deleted on {erased_at.day} {erased_at:%B %Y}" in words(page)
    assert "Keep my membership" not in words(page)
    assert "Your account stays." in words(press(browser, page, "/accounts/data/keep/", follow=True))
    page = browser.get("/billing/")
    assert "will be deleted" not in words(page)
    assert "renews on" in words(page)


def test_what_is_paid_for_longer_than_the_grace_ends_with_the_account(shop: Shop, member: User) -> None:
    processing.synchronise("subscription", shop.subscribe(member, price=shop.plans.yearly))
    ask(member)
    member.refresh_from_db()
    erased_at = deletion.erased_at(member)
    said = words(browser_of(member).get("/billing/"))
    assert f"It ends with your account, on {erased_at.day} {erased_at:%B %Y}. Until then you keep everything" in said
    assert "It ends on" not in said


@pytest.mark.parametrize("path", ["resume", "change"])
def test_who_is_about_to_be_deleted_keeps_the_account_before_a_membership_goes_on(
    shop: Shop, member: User, paying: str, path: str
) -> None:
    ask(member)
    shop.stripe.forget_calls()
    browser = browser_of(User.objects.get())
    answer = browser.send("/billing/", to=f"/billing/{path}/", subscription=paying, plan=shop.plans.yearly)
    assert answer.redirect_chain == [("/accounts/data/", 303)]
    assert "Your account is about to be deleted: keep it first." in words(answer)
    assert not shop.stripe.calls()
    assert Subscription.objects.get().cancels_at is not None


def test_who_is_about_to_be_deleted_is_sold_nothing(shop: Shop, member: User) -> None:
    old = browser_of(member).get("/billing/plans/")
    ask(member)
    browser = browser_of(User.objects.get())
    page = browser.get("/billing/plans/")
    assert "Your account will be deleted on" in words(page)
    assert ("Try it free" in words(old), "Try it free" in words(page)) == (True, False)
    shop.stripe.forget_calls()
    answer = browser.send_from(page, "/billing/checkout/", plan=shop.plans.monthly, attempt=old.context["attempt"])
    assert "Your account is about to be deleted: keep it first." in words(answer)
    assert not shop.stripe.calls()


def ends_in(days: int, subscription_id: str) -> int:
    """Have it end then, as the operator may at Stripe; the moment."""
    at = int(time.time()) + days * 24 * 60 * 60
    stripe_api.client().v1.subscriptions.update(subscription_id, {"cancel_at": at})
    processing.synchronise("subscription", subscription_id)
    return at


def manage_by_a_schedule(shop: Shop, subscription_id: str, schedule: str | None = "sub_sched_1") -> None:
    """Have Stripe refuse to change its end."""
    shop.stripe.engine.state.get("subscription", subscription_id)["schedule"] = schedule


def test_what_is_to_end_only_after_more_renewals_is_not_renewed_either(shop: Shop, member: User, paying: str) -> None:
    ends_in(100, paying)
    assert personal_data.charged([member]) == {member.pk}
    ask(member)
    assert personal_data.charged([member]) == set()
    shop.stripe.advance(days=33)
    assert charges() == 1
    assert stripe_api.client().v1.subscriptions.retrieve(paying).status == "canceled"


def test_who_keeps_the_account_keeps_the_end_that_was_fixed_before(shop: Shop, member: User, paying: str) -> None:
    at = ends_in(100, paying)
    ask(member)
    keep(member)
    found = stripe_api.as_dict(stripe_api.client().v1.subscriptions.retrieve(paying))
    assert (found["cancel_at"], found["metadata"].get(changes.STOPPED)) == (at, None)
    shop.stripe.advance(days=33)
    assert charges() == 2


def test_an_end_that_was_taken_back_at_stripe_meanwhile_does_not_come_back(
    shop: Shop, member: User, paying: str
) -> None:
    ends_in(100, paying)
    ask(member)
    portal = changes.portal(Customer.objects.get(), return_to="https://example.org/").rpartition("/")[2]
    shop.stripe.portal(portal, action="resume", subscription=paying)
    keep(member)
    found = stripe_api.as_dict(stripe_api.client().v1.subscriptions.retrieve(paying))
    assert (found["cancel_at"], found["metadata"].get(changes.STOPPED)) == (None, None)


def test_what_ends_with_the_period_anyway_is_left_as_it_is(shop: Shop, member: User, paying: str) -> None:
    at = ends_in(20, paying)
    assert personal_data.charged([member]) == set()
    ask(member)
    found = stripe_api.as_dict(stripe_api.client().v1.subscriptions.retrieve(paying))
    assert (found["cancel_at"], found["metadata"].get(changes.STOPPED)) == (at, None)


def test_what_stripe_refuses_to_end_is_told_every_day_and_keeps_nothing_else_from_ending(
    shop: Shop, member: User, paying: str
) -> None:
    other = shop.subscribe(member)
    manage_by_a_schedule(shop, other)
    page = ask(member)
    assert "could not be told yet: we tell it every day until it is." in words(page)
    assert stripe_api.client().v1.subscriptions.retrieve(paying).cancel_at_period_end
    errors = StringIO()
    with pytest.raises(CommandError, match="For 1 accounts that are about to be deleted"):
        call_command("erase_accounts", stdout=StringIO(), stderr=errors)
    assert f"account {member.pk} may still be charged: Changed" in errors.getvalue()

    manage_by_a_schedule(shop, other, None)
    call_command("erase_accounts", stdout=StringIO())
    assert stripe_api.client().v1.subscriptions.retrieve(other).cancel_at_period_end


def test_what_stripe_refuses_to_renew_is_said_to_who_keeps_the_account(shop: Shop, member: User, paying: str) -> None:
    ask(member)
    manage_by_a_schedule(shop, paying)
    assert "could not be taken up again: look at your membership" in words(keep(member))


def test_what_stripe_knows_nothing_of_is_not_said_to_be_stopped(shop: Shop, member: User, paying: str) -> None:
    Customer.objects.update(customer_id="cus_of_another_account")
    shop.stripe.engine.state.remove("subscription", paying)
    assert "could not be told yet" in words(ask(member))
    assert "could not be taken up again" in words(keep(member))


def test_one_that_ended_at_stripe_without_our_knowing_is_settled(shop: Shop, member: User, paying: str) -> None:
    stripe_api.client().v1.subscriptions.cancel(paying)
    assert "it is not renewed" in words(ask(member))
    assert Subscription.objects.get().status == "canceled"


def test_a_purchase_that_was_begun_comes_to_nothing(shop: Shop, member: User) -> None:
    subscription = shop.subscribe(member, card="good")
    session = stripe_api.client().v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "customer": customers.get_or_create(member).customer_id,
            "line_items": [{"price": shop.plans.monthly, "quantity": 1}],
            "success_url": "https://example.org/",
        }
    )
    ask(member)
    assert stripe_api.client().v1.checkout.sessions.retrieve(session.id).status == "expired"
    assert stripe_api.client().v1.subscriptions.retrieve(subscription).cancel_at_period_end  # not known here before


def test_while_stripe_is_away_the_wish_is_noted_and_stripe_is_told_the_next_day(
    shop: Shop, member: User, paying: str
) -> None:
    shop.stripe.misbehave("down")
    page = ask(member)
    assert "could not be told yet: we tell it every day until it is." in words(page)
    member.refresh_from_db()
    assert member.deletion_requested_at is not None
    errors = StringIO()
    with pytest.raises(CommandError, match="For 1 accounts that are about to be deleted"):
        call_command("erase_accounts", stdout=StringIO(), stderr=errors)
    assert f"account {member.pk} may still be charged: Unavailable" in errors.getvalue()

    shop.stripe.misbehave(None)
    call_command("erase_accounts", stdout=StringIO())
    assert stripe_api.client().v1.subscriptions.retrieve(paying).cancel_at_period_end
    assert User.objects.get() == member


def test_while_stripe_is_away_whoever_keeps_the_account_is_told_what_is_left_to_do(
    shop: Shop, member: User, paying: str
) -> None:
    ask(member)
    shop.stripe.misbehave("down")
    assert "could not be taken up again: look at your membership" in words(keep(member))
    shop.stripe.misbehave(None)
    assert "Keep my membership" in words(browser_of(User.objects.get()).get("/billing/"))


def test_without_a_purchase_stripe_is_not_asked(member: User) -> None:
    page = ask(member)
    assert "it is not renewed" in words(page)
