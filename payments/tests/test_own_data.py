"""What is exported about a person, and what becomes of payments when the account is erased."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import deletion, personal_data
from accounts.models import Membership, User
from payments import customers, processing, stripe_api
from payments.models import Customer, Invoice, Movement, Subscription
from payments.tests import rows
from payments.tests.shop import Shop

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
