"""Who may see members' content because of a subscription, and until when."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import membership, signals
from accounts.models import Membership, User
from bambisleep.tests.client import AsgiClient
from e2e.stripe.wire import Object
from payments import processing, subscriptions
from payments.models import Customer, Plan, Status, Subscription
from payments.tests.shop import Shop

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
NOW = datetime.now(UTC).replace(microsecond=0)
GRACE = 7 * DAY


@pytest.fixture
def customer(member: User) -> Customer:
    return Customer.objects.create(user=member, customer_id="cus_1")


@pytest.fixture
def plan(db: None) -> Plan:
    return Plan.objects.create(
        price_id="price_1", name="Membership", currency="eur", amount_minor=900, interval="month"
    )


def subscription(*, begins: datetime = NOW - DAY, ends: datetime = NOW + 29 * DAY, **more: Any) -> Object:
    price = {
        "id": "price_1", "object": "price", "currency": "eur", "unit_amount": 900,
        "recurring": {"interval": "month", "interval_count": 1},
    }  # fmt: skip
    item = {
        "id": "si_1", "object": "subscription_item", "price": price, "quantity": 1,
        "current_period_start": int(begins.timestamp()), "current_period_end": int(ends.timestamp()),
    }  # fmt: skip
    return {
        "id": "sub_1", "object": "subscription", "customer": "cus_1", "status": "active", "livemode": False,
        "created": int(begins.timestamp()), "start_date": int(begins.timestamp()), "trial_end": None,
        "cancel_at": None, "cancel_at_period_end": False, "canceled_at": None, "ended_at": None,
        "cancellation_details": {"reason": None}, "items": {"object": "list", "data": [item]}, **more,
    }  # fmt: skip


def until(row: Subscription) -> datetime | None:
    found: datetime | None = row.membership.ends_at if row.membership else None
    return found


@pytest.mark.parametrize("status", ["active", "trialing"])
def test_what_is_paid_or_on_trial_is_good_for_its_period_and_the_grace_period(
    customer: Customer, plan: Plan, member: User, status: str
) -> None:
    row = subscriptions.store(subscription=subscription(status=status))

    assert until(row) == NOW + 29 * DAY + GRACE
    assert row.membership.source == "subscription"
    assert membership.may_see_members_content(member)


@pytest.mark.parametrize("how", ["cancel_at_period_end", "cancel_at"])
def test_what_is_to_end_is_good_until_then(customer: Customer, plan: Plan, how: str) -> None:
    ends = NOW + 29 * DAY
    ending: dict[str, Any] = {"cancel_at_period_end": True} if how == "cancel_at_period_end" else {}
    ending |= {"cancel_at": int(ends.timestamp())} if how == "cancel_at" else {}

    row = subscriptions.store(subscription=subscription(**ending))

    assert row.cancels_at == until(row) == ends


def test_an_end_far_ahead_gives_no_more_than_what_is_paid(customer: Customer, plan: Plan) -> None:
    row = subscriptions.store(subscription=subscription(cancel_at=int((NOW + 300 * DAY).timestamp())))

    assert until(row) == NOW + 29 * DAY + GRACE


def test_what_was_not_paid_is_good_for_the_grace_period_from_when_it_was_due(
    customer: Customer, plan: Plan, member: User
) -> None:
    row = subscriptions.store(subscription=subscription(status="past_due"))
    assert until(row) == NOW - DAY + GRACE
    assert membership.may_see_members_content(member)
    assert not membership.may_see_members_content(member, NOW + 6 * DAY)


def test_what_was_not_paid_for_long_is_good_no_more(customer: Customer, plan: Plan, member: User) -> None:
    subscriptions.store(subscription=subscription())
    late = subscription(status="past_due", begins=NOW - 8 * DAY, ends=NOW + 22 * DAY)

    subscriptions.store(subscription=late)

    assert not membership.may_see_members_content(member)


def test_the_grace_period_does_not_begin_anew_with_each_period(customer: Customer, plan: Plan, member: User) -> None:
    """A plan that is paid by the week, and tried for three."""
    week = 7 * DAY
    subscriptions.store(subscription=subscription(begins=NOW - 10 * DAY, ends=NOW - 3 * DAY))
    for number in range(3):
        begins = NOW - 3 * DAY + number * week
        row = subscriptions.store(subscription=subscription(status="past_due", begins=begins, ends=begins + week))
        assert until(row) == NOW - 3 * DAY + GRACE
    assert not membership.may_see_members_content(member, NOW + 5 * DAY)

    row = subscriptions.store(subscription=subscription(begins=NOW + 11 * DAY, ends=NOW + 18 * DAY))
    assert row.past_due_since is None
    row = subscriptions.store(subscription=subscription(status="past_due", begins=NOW + 18 * DAY, ends=NOW + 25 * DAY))
    assert until(row) == NOW + 18 * DAY + GRACE


def test_what_fails_in_the_middle_of_a_period_has_its_days_of_grace(
    customer: Customer, plan: Plan, member: User
) -> None:
    """Such as the difference to a dearer plan."""
    period = {"begins": NOW - 20 * DAY, "ends": NOW + 10 * DAY}
    subscriptions.store(subscription=subscription(**period))

    row = subscriptions.store(subscription=subscription(status="past_due", **period))

    assert row.past_due_since is not None
    assert abs(row.past_due_since - timezone.now()) < timedelta(minutes=5)
    assert until(row) == row.past_due_since + GRACE
    assert until(subscriptions.store(subscription=subscription(status="past_due", **period))) == until(row)
    assert membership.may_see_members_content(member)


def test_one_that_was_past_due_before_that_was_noted_keeps_its_days(customer: Customer, plan: Plan) -> None:
    subscriptions.store(subscription=subscription(status="past_due"))
    Subscription.objects.update(past_due_since=None)

    row = subscriptions.store(subscription=subscription(status="past_due"))

    assert until(row) == NOW - DAY + GRACE


@pytest.mark.parametrize("status", ["incomplete", "incomplete_expired", "unpaid", "paused", "canceled", "of_tomorrow"])
def test_anything_else_is_good_for_nothing(customer: Customer, plan: Plan, member: User, status: str) -> None:
    subscriptions.store(subscription=subscription(status=status))
    assert not membership.may_see_members_content(member)
    assert not Membership.objects.exists()

    subscriptions.store(subscription=subscription())
    assert membership.may_see_members_content(member)

    subscriptions.store(subscription=subscription(status=status))
    assert not membership.may_see_members_content(member)


def test_it_ended_when_stripe_says(customer: Customer, plan: Plan) -> None:
    subscriptions.store(subscription=subscription())
    ended_at = NOW - timedelta(hours=1)

    row = subscriptions.store(subscription=subscription(status="canceled", ended_at=int(ended_at.timestamp())))

    assert row.ended_at == until(row) == ended_at
    again = subscriptions.store(subscription=subscription(status="canceled", ended_at=int(ended_at.timestamp())))
    assert until(again) == ended_at


def test_it_comes_back_when_it_is_paid(customer: Customer, plan: Plan, member: User) -> None:
    for status, may in (("active", True), ("unpaid", False), ("active", True), ("past_due", True), ("paused", False)):
        subscriptions.store(subscription=subscription(status=status))
        assert membership.may_see_members_content(member) == may
    assert Membership.objects.count() == 1


def test_changes_of_the_answer_are_announced_and_nothing_else(
    customer: Customer, plan: Plan, member: User, django_capture_on_commit_callbacks: Any
) -> None:
    heard: list[int] = []

    def hear(user_id: int, **_: object) -> None:
        heard.append(user_id)

    signals.access_changed.connect(hear)
    try:
        for status, times in (
            ("active", 1),
            ("active", 1),
            ("past_due", 1),
            ("unpaid", 2),
            ("unpaid", 2),
            ("active", 3),
        ):
            with django_capture_on_commit_callbacks(execute=True):
                subscriptions.store(subscription=subscription(status=status))
            assert heard == [member.pk] * times, status
    finally:
        signals.access_changed.disconnect(hear)


def test_whoever_hears_of_it_and_fails_costs_nothing(
    customer: Customer, plan: Plan, member: User, django_capture_on_commit_callbacks: Any
) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("The channel layer is away.")

    signals.access_changed.connect(fail)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            subscriptions.store(subscription=subscription())
    finally:
        signals.access_changed.disconnect(fail)

    assert membership.may_see_members_content(member)


def test_what_staff_gave_stays_when_a_subscription_ends(customer: Customer, plan: Plan, member: User) -> None:
    membership.give(user=member, by=None, reason="a prize")
    subscriptions.store(subscription=subscription())

    subscriptions.store(subscription=subscription(status="canceled"))

    assert membership.may_see_members_content(member)


def test_only_a_plan_makes_a_member(customer: Customer, member: User) -> None:
    row = subscriptions.store(subscription=subscription())

    assert (row.plan, row.price_id) == (None, "price_1")
    assert not membership.may_see_members_content(member)


def test_of_several_items_the_plan_counts(customer: Customer, plan: Plan, member: User) -> None:
    mixed = subscription()
    (item,) = mixed["items"]["data"]
    donation = {**item, "id": "si_0", "price": {**item["price"], "id": "price_donation", "unit_amount": 5}}
    mixed["items"]["data"].insert(0, donation)

    row = subscriptions.store(subscription=mixed)

    assert (row.plan, row.amount_minor) == (plan, 900)
    assert membership.may_see_members_content(member)


def test_what_nobody_is_known_to_own_waits_for_its_owner(customer: Customer, plan: Plan, member: User) -> None:
    Customer.objects.update(user=None)

    row = subscriptions.store(subscription=subscription())

    assert row.membership is None
    assert not Membership.objects.exists()


def test_whose_customer_it_was_loses_access_with_it(customer: Customer, plan: Plan, member: User) -> None:
    """As when a customer was deleted at Stripe, and the member is another one by now."""
    subscriptions.store(subscription=subscription())
    Customer.objects.update(user=None)

    subscriptions.store(subscription=subscription(status="canceled"))

    assert not membership.may_see_members_content(member)


def test_amounts_are_of_the_whole_quantity_and_fractions_of_a_cent_are_rounded(customer: Customer, plan: Plan) -> None:
    several = subscription()
    (item,) = several["items"]["data"]
    item["quantity"] = 3
    assert subscriptions.store(subscription=several).amount_minor == 2700

    item["price"] |= {"unit_amount": None, "unit_amount_decimal": "12.5"}
    assert subscriptions.store(subscription=several).amount_minor == 36


def test_shapes_of_before_2025_are_read_as_well(customer: Customer, plan: Plan) -> None:
    old = subscription(current_period_start=1_800_000_000, current_period_end=1_802_592_000)
    (item,) = old["items"]["data"]
    del item["current_period_start"], item["current_period_end"]

    row = subscriptions.store(subscription=old)

    assert row.period_ends_at == datetime.fromtimestamp(1_802_592_000, UTC)


def test_a_life_at_the_stand_in(shop: Shop, member: User, asgi: AsgiClient) -> None:
    """Trial, payment, failure, recovery, cancellation and its being taken back, the end."""
    subscription_id = shop.subscribe(member, trial_days=7)
    path = f"/v1/subscriptions/{subscription_id}"
    customer_id = shop.event("customer.created")["data"]["object"]["id"]

    def told() -> Subscription:
        assert {answer.status for answer in shop.tell(asgi)} <= {200}
        return Subscription.objects.select_related("membership").get()

    assert (told().status, membership.may_see_members_content(member)) == ("trialing", True)
    shop.stripe.advance(days=8)
    assert told().status == "active"
    shop.stripe.card(customer_id, "declined")
    shop.stripe.advance(days=31)
    row = told()
    assert row.status == "past_due"
    assert until(row) == row.period_starts_at + GRACE
    shop.stripe.card(customer_id, "good")
    shop.stripe.advance(days=4)
    assert told().status == "active"
    shop.stripe.engine.request("POST", path, {"cancel_at_period_end": True})
    row = told()
    assert until(row) == row.period_ends_at == row.cancels_at
    shop.stripe.engine.request("POST", path, {"cancel_at_period_end": False})
    row = told()
    assert (row.cancels_at, until(row)) == (None, row.period_ends_at + GRACE)
    shop.stripe.engine.request("DELETE", path)
    row = told()
    assert (row.status, row.ended_at is None) == (Status.CANCELED, False)
    assert until(row) <= timezone.now()
    assert not membership.may_see_members_content(member)


def test_a_first_payment_that_fails_makes_nobody_a_member(shop: Shop, member: User, asgi: AsgiClient) -> None:
    customer = shop.stripe.engine.request("POST", "/v1/customers", {"metadata": {"user_id": str(member.pk)}})
    card = shop.stripe.engine.request(
        "POST", "/v1/payment_methods/pm_card_chargeCustomerFail/attach", {"customer": customer["id"]}
    )
    made = shop.stripe.engine.request(
        "POST", "/v1/subscriptions",
        {"customer": customer["id"], "items": [{"price": shop.plans.monthly}], "default_payment_method": card["id"],
         "payment_behavior": "allow_incomplete"},
    )  # fmt: skip
    assert made["status"] == "incomplete"
    shop.tell(asgi)

    assert Subscription.objects.get().status == "incomplete"
    assert not membership.may_see_members_content(member)
    shop.stripe.advance(days=2)
    shop.tell(asgi)
    assert Subscription.objects.get().status == "incomplete_expired"
    assert not membership.may_see_members_content(member)


def test_a_plan_that_changes_is_seen(shop: Shop, member: User, asgi: AsgiClient) -> None:
    subscription_id = shop.subscribe(member)
    (item,) = shop.get("/v1/subscription_items", subscription=subscription_id)["data"]
    items = [{"id": item["id"], "price": shop.plans.yearly}]
    shop.stripe.engine.request("POST", f"/v1/subscriptions/{subscription_id}", {"items": items})

    processing.synchronise("subscription", subscription_id)

    row = Subscription.objects.get()
    assert (row.plan.price_id, row.interval, row.amount_minor) == (shop.plans.yearly, "year", 9000)
