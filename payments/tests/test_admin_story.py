"""A customer's whole story on one page of the admin."""

from itertools import pairwise
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts import membership
from accounts.models import User
from payments import admin_story
from payments.models import Customer
from payments.tests import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(staff: User) -> Client:
    client = Client()
    client.force_login(staff)
    return client


@pytest.fixture
def mona(staff: User) -> Customer:
    """Subscribed 40 days ago, paid, failed and paid again, refunded, cancelled; and staff gave her something."""
    customer = rows.customer("mona", created_at=rows.days_ago(41))
    user = customer.user
    assert user is not None
    User.objects.filter(pk=user.pk).update(date_joined=rows.days_ago(50))
    bought = rows.subscription(
        customer,
        rows.plan("Patron"),
        started_at=rows.days_ago(40),
        trial_ends_at=rows.days_ago(33),
        status="canceled",
        canceled_at=rows.days_ago(4),
        ended_at=rows.days_ago(3),
        cancellation_reason="cancellation_requested",
    )
    rows.invoice(bought, issued_at=rows.days_ago(33), paid_at=rows.days_ago(33), billing_reason="subscription_create")
    of = {"customer_id": customer.customer_id}
    charge = rows.movement("charge", 900, occurred_at=rows.days_ago(33), **of)
    rows.failed(bought, issued_at=rows.days_ago(6), failed_at=rows.days_ago(6), paid_at=rows.days_ago(5), status="paid")
    rows.movement("charge", 900, occurred_at=rows.days_ago(5), **of)
    rows.movement("refund", -400, occurred_at=rows.days_ago(2), charge_id=charge.stripe_id, **of)
    rows.event("invoice.paid", created_at=rows.days_ago(33), **of)
    rows.failed_event("charge.refunded", created_at=rows.days_ago(2), **of)
    user.memberships.create(source="subscription", starts_at=rows.days_ago(40), ends_at=rows.days_ago(3))
    membership.give(user=user, by=staff, reason="For the trouble", until=rows.days_ago(-9))
    other = rows.customer("other")
    rows.subscription(other, None)
    rows.event(customer_id=other.customer_id)
    return customer


def test_everything_is_told_the_newest_first(mona: Customer, staff: User) -> None:
    story = admin_story.of(mona, reader=staff)
    assert [(entry.kind, entry.text) for entry in story.entries] == [
        ("Membership", "began by sam: For the trouble"),
        ("Webhook", "charge.refunded – failed: Unavailable: Stripe does not answer."),
        ("Ledger", "refund: -€4.00"),
        ("Membership", "ended"),
        ("Subscription", "ended: cancellation requested"),
        ("Subscription", "its end was asked for"),
        ("Ledger", "charge: €9.00"),
        ("Invoice", "paid: €0.00"),
        ("Invoice", "payment failed: insufficient funds (insufficient_funds)"),
        ("Invoice", "issued: €9.00, for another period"),
        ("Webhook", "invoice.paid"),
        ("Ledger", "charge: €9.00"),
        ("Invoice", "paid: €9.00"),
        ("Invoice", "issued: €9.00, the first of a subscription"),
        ("Subscription", "trial ended"),
        ("Membership", "began"),
        ("Subscription", "began: Patron (month), €9.00"),
        ("Customer", "known here from then on"),
        ("User", "signed up"),
    ]
    assert all(later.at >= earlier.at for later, earlier in pairwise(story.entries))


def test_what_was_paid_is_added_up_by_currency(mona: Customer, staff: User) -> None:
    rows.movement("charge", 1400, currency="jpy", customer_id=mona.customer_id)
    euros, yen = admin_story.of(mona, reader=staff).paid
    assert (euros.gross_minor, euros.net_minor, euros.movements) == (1800, 1400, 3)
    assert (yen.currency, yen.net_minor) == ("jpy", 1400)


def test_the_page_shows_it_with_links_here_and_to_stripe(admin: Client, mona: Customer) -> None:
    page = admin.get(f"/admin/payments/customer/{mona.pk}/change/").content.decode()
    subscription = mona.subscriptions.get()
    assert f"https://dashboard.stripe.com/test/customers/{mona.customer_id}" in page
    assert f"https://dashboard.stripe.com/test/subscriptions/{subscription.subscription_id}" in page
    assert f"/admin/payments/subscription/{subscription.pk}/change/" in page
    assert f"/admin/accounts/user/{mona.user_id}/change/" in page
    assert "charge.refunded" in page
    assert "For the trouble" in page
    assert "€14.00" in page


def test_stripes_events_can_be_left_out(admin: Client, mona: Customer) -> None:
    page = admin.get(f"/admin/payments/customer/{mona.pk}/change/?events=no").content.decode()
    assert "charge.refunded" not in page
    assert "payment failed" in page


def test_what_lies_ahead_is_no_story_yet(mona: Customer, staff: User) -> None:
    rows.subscription(mona, None, trial_ends_at=rows.days_ago(-7))
    assert [entry.text for entry in admin_story.of(mona, reader=staff).entries].count("trial ended") == 1


def test_it_costs_the_same_however_much_happened(
    admin: Client, mona: Customer, django_assert_max_num_queries: Any, django_assert_num_queries: Any
) -> None:
    path = f"/admin/payments/customer/{mona.pk}/change/"
    with django_assert_max_num_queries(25) as few:
        admin.get(path)
    bought = rows.subscription(mona, rows.plan())
    for _ in range(20):
        rows.failed(bought)
        rows.invoice(bought)
        rows.event(customer_id=mona.customer_id)
        rows.movement("charge", 900, customer_id=mona.customer_id)
    with django_assert_num_queries(len(few)):
        assert admin.get(path).content.decode().count(">Invoice</td>") > 60


def test_of_a_very_long_story_the_newest_part_is_told(
    mona: Customer, staff: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin_story, "SHOWN", 2)
    rows.movement("charge", 700, customer_id=mona.customer_id)
    story = admin_story.of(mona, reader=staff)
    assert [entry.text for entry in story.entries if entry.kind == "Ledger"] == ["charge: €7.00", "refund: -€4.00"]
    assert story.cut == ["movements"]


def test_nobody_reads_more_than_they_may(mona: Customer) -> None:
    clerk = User.objects.create_user("clerk", "clerk@example.org", "a long enough phrase", is_staff=True)
    for codename in ("view_customer", "view_invoice"):
        clerk.user_permissions.add(Permission.objects.get(codename=codename, content_type__app_label="payments"))
    client = Client()
    client.force_login(clerk)
    page = client.get(f"/admin/payments/customer/{mona.pk}/change/").content.decode()
    assert "payment failed" in page
    assert "charge.refunded" not in page
    assert "For the trouble" not in page
    assert "€14.00" not in page
    assert "Patron" not in page


def test_a_customer_without_an_account_has_a_story_too(admin: Client) -> None:
    customer = rows.customer(deleted_at=rows.days_ago(1))
    page = admin.get(f"/admin/payments/customer/{customer.pk}/change/").content.decode()
    assert "deleted at Stripe" in page


def test_a_customer_that_is_not_there_is_told_like_any_other_row(admin: Client) -> None:
    assert admin.get("/admin/payments/customer/999/change/").status_code == 302
    assert admin.get("/admin/payments/customer/nonsense/change/").status_code == 302
