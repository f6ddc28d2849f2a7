"""`manage.py sync_stripe`: what Stripe has comes in, once, against the stand-in for its API."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import membership
from accounts.models import User
from observability.models import FactSample
from payments import listing, processing, stripe_api, syncing
from payments.models import Customer, Plan, Subscription
from payments.tests.shop import Here, Shop

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAUSES_SECONDS", (0.0, 0.0))


@pytest.fixture
def subscribed(shop: Shop, member: User) -> str:
    """A subscription at Stripe of which nothing was told here."""
    return shop.subscribe(member)


def run(*arguments: str) -> str:
    output = StringIO()
    call_command("sync_stripe", *arguments, stdout=output, stderr=output)
    return output.getvalue()


def calls(stripe_standin: Here, *arguments: str) -> list[str]:
    """The paths that a run asks for."""
    stripe_standin.forget_calls()
    run(*arguments)
    return [path for _, path in stripe_standin.calls()]


def test_everything_that_stripe_has_comes_in(stripe_standin: Here, member: User) -> None:
    shop = Shop(stripe_standin)
    subscription_id = shop.subscribe(member)
    Plan.objects.all().delete()
    Customer.objects.all().delete()
    told = run()
    assert "subscriptions: 1 (1 brought in)" in told
    assert Plan.objects.filter(active=True).count() == 4
    assert Customer.objects.get().user == member
    assert Subscription.objects.get().subscription_id == subscription_id
    assert membership.may_see_members_content(member)


def test_a_run_again_changes_nothing_and_fetches_nothing_twice(stripe_standin: Here, subscribed: str) -> None:
    run()
    before = list(Subscription.objects.values())
    told = run()
    assert "brought in" not in told
    assert "subscriptions: 1 (1 unchanged)" in told
    assert list(Subscription.objects.values()) == before
    assert set(calls(stripe_standin)) == {"/v1/products", "/v1/prices", "/v1/customers", "/v1/subscriptions"}


def test_what_changed_at_stripe_is_fetched(stripe_standin: Here, subscribed: str) -> None:
    run()
    stripe_api.client().v1.subscriptions.update(subscribed, {"cancel_at_period_end": True})
    assert "subscriptions: 1 (1 brought in)" in run()
    assert Subscription.objects.get().cancels_at is not None


def test_again_fetches_what_is_unchanged_too(
    stripe_standin: Here, subscribed: str, member: User, settings: Any
) -> None:
    run()
    until = member.memberships.get().ends_at
    settings.PAYMENT_GRACE_DAYS += 3
    run()
    assert member.memberships.get().ends_at == until
    assert "subscriptions: 1 (1 brought in)" in run("--again")
    assert member.memberships.get().ends_at == until + timezone.timedelta(days=3)


def test_rows_that_are_missing_are_made_though_the_mirror_has_them(stripe_standin: Here, subscribed: str) -> None:
    run()
    Subscription.objects.all().delete()
    run()
    assert Subscription.objects.get().subscription_id == subscribed


def test_many_pages_are_gone_through(stripe_standin: Here, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe_api, "PAGE", 2)
    for number in range(7):
        stripe_api.client().v1.customers.create({"email": f"m{number}@example.org"})
    assert "customers: 7 (7 brought in)" in run("--only", "customer")
    assert Customer.objects.count() == 7


def test_only_the_kinds_that_were_asked_for_come_in(stripe_standin: Here, subscribed: str) -> None:
    told = run("--only", "customer", "--only", "product")
    assert "customers: 1" in told
    assert "subscriptions" not in told
    assert not Subscription.objects.exists()


def test_since_leaves_out_what_is_older(stripe_standin: Here, shop: Shop, member: User) -> None:
    stripe_api.client().v1.customers.create({"email": "old@example.org"})
    stripe_standin.advance(days=30)
    new = stripe_api.client().v1.customers.create({"email": "new@example.org"})
    since = f"{timezone.now() + timezone.timedelta(days=20):%Y-%m-%d}"
    assert "customers: 1 (1 brought in)" in run("--since", since)
    assert Customer.objects.get().customer_id == new.id


def test_a_plan_that_is_gone_at_stripe_goes_off_sale(shop: Shop) -> None:
    plan = Plan.objects.create(
        price_id="price_gone", product_id="prod_gone", name="Former", currency="eur", amount_minor=1, interval="month"
    )
    demo = Plan.objects.create(
        price_id="demo_month", name="Demo membership", currency="eur", amount_minor=1, interval="month"
    )
    run("--since", "1d")
    plan.refresh_from_db()
    assert plan.active
    assert "1 gone" in run()
    plan.refresh_from_db()
    demo.refresh_from_db()
    assert (plan.active, demo.active) == (False, True)
    assert Plan.objects.filter(active=True, price_id__in=[shop.plans.monthly, shop.plans.yearly]).count() == 2


def test_a_plan_that_was_archived_goes_off_sale(shop: Shop) -> None:
    stripe_api.client().v1.prices.update(shop.plans.monthly, {"active": False})
    run()
    assert not Plan.objects.get(price_id=shop.plans.monthly).active


def test_a_customer_that_was_deleted_at_stripe_is_noted(shop: Shop, subscribed: str) -> None:
    run()
    customer_id = Customer.objects.get().customer_id
    stripe_api.client().v1.customers.delete(customer_id)
    assert "customers: 1 (1 gone)" in run()
    assert Customer.objects.get().deleted_at is not None
    assert "customers: 0" in run()


def test_one_that_cannot_be_stored_is_told_and_keeps_no_other(
    stripe_standin: Here, shop: Shop, member: User, staff: User
) -> None:
    broken, good = shop.subscribe(member), shop.subscribe(staff)
    stripe_standin.engine.state.objects["subscription"][broken]["items"]["data"] = []
    output = StringIO()
    with pytest.raises(CommandError, match="1 could not be brought in"):
        call_command("sync_stripe", stdout=output, stderr=output)
    assert f"subscription {broken}: ValueError: {broken} has no items." in output.getvalue()
    assert "subscriptions: 2 (1 brought in, 1 failed)" in output.getvalue()
    assert Subscription.objects.get().subscription_id == good


def test_a_short_failure_of_stripes_is_waited_out(stripe_standin: Here, subscribed: str) -> None:
    stripe_standin.misbehave("rate_limited", paths="/v1/subscriptions", times=2)
    assert "subscriptions: 1 (1 brought in)" in run()


def test_a_long_one_ends_the_run_in_plain_words_and_the_next_goes_on(stripe_standin: Here, subscribed: str) -> None:
    stripe_standin.misbehave("error_500", paths="/v1/subscriptions")
    with pytest.raises(CommandError, match=r"Run it again to go on"):
        run()
    assert Customer.objects.exists()
    stripe_standin.misbehave(None)
    assert "customers: 1 (1 unchanged)" in run()
    assert Subscription.objects.exists()


def test_a_refused_key_is_not_tried_again(stripe_standin: Here, db: None, settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = "sk_test_refused" + "a" * 24
    with pytest.raises(CommandError, match="Stripe refuses the key"):
        run()
    assert len(stripe_standin.calls()) == 1


def test_an_interruption_says_how_to_go_on(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(kind: str, object_id: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(processing, "synchronise", interrupted)
    with pytest.raises(CommandError, match=r"Interrupted\. Run it again to go on") as stopped:
        run("--again")
    assert stopped.value.returncode == 130


def test_a_new_subscription_stands_in_the_metrics_at_once(subscribed: str) -> None:
    run()
    samples = [sample for row in FactSample.objects.all() for sample in row.samples]
    assert "Membership" in str(samples)


@pytest.mark.parametrize("time", ["yesterday", "14x", "2026-13-01", ""])
def test_a_time_that_is_none_is_refused(time: str) -> None:
    with pytest.raises(CommandError, match="is no time: give a date"):
        run("--since", time)


def test_a_kind_that_is_none_is_refused() -> None:
    with pytest.raises(CommandError, match="invalid choice: 'payouts'"):
        run("--only", "payouts")


def test_without_a_key_it_says_so(settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = ""
    with pytest.raises(CommandError, match=r"no Stripe key is configured\.$"):
        run()


def test_every_kind_is_mirrored_by_name() -> None:
    assert set(syncing.KINDS) <= set(processing.mirror.MODELS)
