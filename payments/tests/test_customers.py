"""Which of Stripe's customers a user is."""

from typing import Any

import pytest

from accounts import membership
from accounts.models import User
from payments import customers, stripe_api
from payments.models import Customer
from payments.tests import rows
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
