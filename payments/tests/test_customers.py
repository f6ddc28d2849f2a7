"""Which of Stripe's customers a user is."""

import re
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import membership
from accounts.models import User
from accounts.tests.browser import Browser
from payments import customers, reconcile, stripe_api
from payments.models import Customer
from payments.reconcile import Difference, Period
from payments.tests import rows
from payments.tests.rows import days_ago
from payments.tests.shop import Shop

pytestmark = pytest.mark.django_db


def stored(user: User | None = None, **more: Any) -> Customer:
    values = {"id": "cus_1", "object": "customer", "livemode": False, "created": 1_800_000_000, "metadata": {}}
    metadata = {"user_id": str(user.pk)} if user else {}
    return customers.store(customer={**values, "metadata": metadata, **more})


def test_a_user_becomes_a_customer_once(shop: Shop, member: User) -> None:
    first = customers.get_or_create(member)

    assert customers.get_or_create(member) == customers.of(member) == first
    (made,) = shop.get("/v1/customers")["data"]
    assert (made["id"], made["email"], made["name"]) == (first.customer_id, member.email, "mara")
    assert made["metadata"] == {"user_id": str(member.pk)}
    assert first.user == member


def test_a_customer_that_was_made_and_not_heard_of_is_the_same_one(shop: Shop, member: User) -> None:
    shop.stripe.misbehave("lost", paths="/v1/customers", times=1)
    with pytest.raises(stripe_api.Unavailable):
        customers.get_or_create(member)

    customers.get_or_create(member)

    assert len(shop.get("/v1/customers")["data"]) == 1


def test_an_address_that_changes_after_a_failure_is_no_trouble(shop: Shop, member: User) -> None:
    shop.stripe.misbehave("lost", paths="/v1/customers", times=1)
    with pytest.raises(stripe_api.Unavailable):
        customers.get_or_create(member)
    member.email = "mara@example.com"

    assert customers.get_or_create(member).user == member


def test_a_failure_that_stripe_keeps_for_a_day_does_not_keep_the_member_away(shop: Shop, member: User) -> None:
    shop.stripe.misbehave("error_500_kept", paths="/v1/customers", times=3)
    for _ in range(2):  # the second asks by the first key again, and by another one
        with pytest.raises(stripe_api.Unavailable):
            customers.get_or_create(member)

    assert customers.get_or_create(member).user == member
    assert len(shop.get("/v1/customers")["data"]) == 1


def test_a_failure_of_the_moment_is_not_repeated_by_another_key(shop: Shop, member: User) -> None:
    shop.stripe.misbehave("error_500", paths="/v1/customers")
    shop.stripe.forget_calls()
    with pytest.raises(stripe_api.Unavailable):
        customers.get_or_create(member)

    assert len(shop.stripe.calls("POST /v1/customers")) == 1


def test_who_was_deleted_at_stripe_becomes_a_customer_anew(shop: Shop, member: User) -> None:
    former = customers.get_or_create(member)
    shop.stripe.engine.request("DELETE", f"/v1/customers/{former.customer_id}")
    customers.store(customer=shop.get(f"/v1/customers/{former.customer_id}"))
    assert customers.of(member) is None

    anew = customers.get_or_create(member)

    assert anew.customer_id != former.customer_id
    assert customers.of(member) == anew
    former.refresh_from_db()
    assert former.user is None


def test_a_customer_of_test_mode_is_none_in_live_mode(member: User, settings: Any) -> None:
    stored(member)
    assert customers.of(member) is not None

    settings.STRIPE_LIVE_MODE = True
    assert customers.of(member) is None


def test_without_a_key_nobody_becomes_a_customer(member: User) -> None:
    with pytest.raises(stripe_api.NotConfigured):
        customers.get_or_create(member)


def test_the_first_customer_that_names_a_user_is_that_users(member: User, staff: User) -> None:
    assert stored(member).user == member
    assert stored(member, id="cus_2").user is None
    assert stored(staff).user == member
    assert stored().user == member


@pytest.mark.parametrize("user_id", ["", "0", "x", "-1", "9" * 40, "999999"])
def test_a_name_of_nobody_is_none(user_id: str, member: User) -> None:
    assert stored(metadata={"user_id": user_id}).user is None


def test_what_a_customer_has_bought_counts_once_it_is_known_whose_it_is(member: User) -> None:
    customer = rows.customer(customer_id="cus_1")
    rows.subscription(customer, rows.plan())
    assert not membership.may_see_members_content(member)

    assert customers.link(user_id=member.pk, customer=customer)

    assert membership.may_see_members_content(member)


def test_a_deleted_customer_stays_as_a_row(db: None) -> None:
    stored()
    gone = {"id": "cus_1", "object": "customer", "deleted": True}

    first = customers.store(customer=gone).deleted_at

    assert first is not None
    assert customers.store(customer=gone).deleted_at == first
    assert Customer.objects.count() == 1


def test_one_that_was_deleted_before_it_was_known_is_stored_so(db: None) -> None:
    customers.store(customer={"id": "cus_9", "object": "customer", "deleted": True})

    assert Customer.objects.get().deleted_at is not None


def test_an_erased_user_is_not_named_by_an_old_customer(member: User) -> None:
    stored(member)
    erased = member.pk
    member.delete()

    assert stored(metadata={"user_id": str(erased)}).user is None


def at_stripe(customer: Customer) -> str:
    return str(stripe_api.client().v1.customers.retrieve(customer.customer_id).email)


def verify_another(user: User, mails: list[Any]) -> None:
    """Change the address at its page, and follow the link in the mail."""
    browser = Browser()
    browser.sign_in()
    browser.send("/accounts/email/", action_add="", email="new@example.org")
    link = re.search(r"/accounts/confirm-email/\S+", mails[-1].body)
    assert link
    browser.send(link[0])
    user.refresh_from_db()
    assert user.email == "new@example.org"


@pytest.mark.django_db(transaction=True)
def test_stripe_writes_to_the_address_that_the_member_has_now(shop: Shop, member: User, mailoutbox: list[Any]) -> None:
    customer = customers.get_or_create(member)

    verify_another(member, mailoutbox)

    assert at_stripe(customer) == "new@example.org"
    customer.refresh_from_db()
    assert customer.address_due_at is None


@pytest.mark.django_db(transaction=True)
def test_an_address_of_which_stripe_cannot_be_told_changes_and_is_told_later(
    shop: Shop, member: User, mailoutbox: list[Any]
) -> None:
    customer = customers.get_or_create(member)
    shop.stripe.misbehave("down")
    verify_another(member, mailoutbox)
    shop.stripe.misbehave(None)
    assert at_stripe(customer) == "mara@example.org"

    said = StringIO()
    with pytest.raises(CommandError, match="1 of 1 differences are left: this was a dry run"):
        call_command("reconcile_stripe", "--dry-run", stdout=said, stderr=StringIO())
    assert f"customer {customer.customer_id}: the account has another e-mail address" in said.getvalue()
    call_command("reconcile_stripe", stdout=said, stderr=StringIO())
    assert "1 difference was mended." in said.getvalue()
    assert at_stripe(customer) == "new@example.org"
    call_command("reconcile_stripe", stdout=said, stderr=StringIO())
    assert "Nothing differs." in said.getvalue()


def change_address(user: User, email: str) -> None:
    """Have it changed, and Stripe still to be told."""
    User.objects.filter(pk=user.pk).update(email=email)
    Customer.objects.filter(user=user).update(address_due_at=timezone.now())


def due(user: User) -> Customer:
    """The customer whose address is to be told, read anew."""
    return Customer.objects.with_another_address().get(user=user)


def differences() -> Iterator[Difference]:
    """What `reconcile_stripe` finds, one by one."""
    found = reconcile.reconcile(period=Period(days_ago(1), days_ago(0)), mend=True)
    return (each for each in found if isinstance(each, Difference))


def test_of_two_addresses_that_are_told_at_the_same_time_the_newer_one_stays(shop: Shop, member: User) -> None:
    customer = customers.get_or_create(member)
    change_address(member, "older@example.org")
    stale = due(member)
    change_address(member, "newer@example.org")
    customers.tell_address(due(member))
    assert not Customer.objects.with_another_address().exists()

    customers.tell_address(stale)  # which was under way already
    assert at_stripe(customer) == "older@example.org"
    assert [found.mended for found in differences()] == [True]
    assert at_stripe(customer) == "newer@example.org"
    assert not list(differences())


def test_one_of_nobody_is_not_due_again(shop: Shop, member: User) -> None:
    customers.get_or_create(member)
    change_address(member, "older@example.org")
    stale = due(member)
    Customer.objects.update(user=None, address_due_at=None)
    customers.tell_address(stale)
    assert Customer.objects.get().address_due_at is None


def test_an_address_that_changes_while_others_are_told_is_told_as_it_is_then(
    shop: Shop, member: User, staff: User
) -> None:
    of = {customers.get_or_create(user).customer_id: user for user in (member, staff)}
    for user in of.values():
        change_address(user, f"older.{user.username}@example.org")
    found = differences()
    first = next(found).object_id
    [(other, user)] = [(customer_id, user) for customer_id, user in of.items() if customer_id != first]
    change_address(user, "newer@example.org")
    customers.tell_address(due(user))

    assert not list(found)
    assert at_stripe(Customer.objects.get(customer_id=other)) == "newer@example.org"


def test_one_that_was_deleted_at_stripe_unheard_has_no_address_to_be_told(shop: Shop, member: User) -> None:
    customer = customers.get_or_create(member)
    stripe_api.client().v1.customers.delete(customer.customer_id)
    change_address(member, "new@example.org")

    assert [(str(found), found.mended) for found in differences()] == [
        (f"customer {customer}: the account has another e-mail address (resource_missing)", True)
    ]
    assert not list(differences())
    customer.refresh_from_db()
    assert customer.deleted_at is not None


def test_one_of_whom_stripe_knows_nothing_is_left_for_a_person(shop: Shop, member: User) -> None:
    Customer.objects.create(user=member, customer_id="cus_none")
    customers.address_changed(member)

    (found,) = differences()

    assert str(found) == "customer cus_none: the account has another e-mail address (resource_missing)"
    assert not found.mended


def test_without_a_key_an_address_changes_all_the_same(member: User, django_capture_on_commit_callbacks: Any) -> None:
    Customer.objects.create(user=member, customer_id="cus_1")
    with django_capture_on_commit_callbacks(execute=True):
        customers.address_changed(member)

    assert Customer.objects.with_another_address().count() == 1
