"""`manage.py reconcile_stripe`: every difference is told and mended, against the stand-in for Stripe's API."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import membership
from accounts.models import User
from bambisleep.tests.client import AsgiClient
from observability.models import MaintenanceTask
from payments import listing, processing, stripe_api
from payments.models import Customer, Invoice, Movement, Subscription, WebhookEvent
from payments.tests import rows
from payments.tests.shop import Here, Shop

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAUSES_SECONDS", (0.0, 0.0))


@pytest.fixture
def life(shop: Shop, member: User) -> str:
    """A subscription that was paid twice, refunded in part, and disputed; nothing was told here. Its id."""
    stripe = shop.stripe
    subscription_id = shop.subscribe(member)
    stripe.advance(days=32)
    first, second = reversed([charge["id"] for charge in shop.get("/v1/charges")["data"]])
    stripe_api.client().v1.refunds.create({"charge": first, "amount": 300})
    stripe.close_dispute(stripe.dispute(second)["id"], won=True)
    return subscription_id


def run(*arguments: str) -> str:
    """What it says, on both streams; the period reaches to where the stand-in's clock has gone."""
    output = StringIO()
    until = f"{timezone.now() + timezone.timedelta(days=400):%Y-%m-%d}"
    call_command("reconcile_stripe", "--until", until, *arguments, stdout=output, stderr=output)
    return output.getvalue()


def run_with_rest(*arguments: str) -> tuple[str, str]:
    """The differences that were told, and the error that it ends with."""
    output, until = StringIO(), f"{timezone.now() + timezone.timedelta(days=400):%Y-%m-%d}"
    with pytest.raises(CommandError) as ended:
        call_command("reconcile_stripe", "--until", until, *arguments, stdout=output, stderr=StringIO())
    assert ended.value.returncode == 1
    return output.getvalue(), str(ended.value)


def test_all_that_was_missed_comes_in(life: str, member: User) -> None:
    told = run()
    movements = Movement.objects.order_by("pk").values_list("kind", "amount_minor")
    assert sorted(movements) == [
        ("charge", 900), ("charge", 900), ("dispute", -900), ("dispute_won", 900), ("refund", -300),
    ]  # fmt: skip
    assert Invoice.objects.filter(status="paid").count() == 2
    assert Subscription.objects.get().subscription_id == life
    assert membership.may_see_members_content(member)
    assert "refund" not in told.partition("Compared")[0]  # it came in with its charge, of which it was told first
    assert " – left" not in told
    assert "differences were mended" in told
    task = MaintenanceTask.objects.get(task="reconcile_stripe")
    assert task.succeeded_at is not None
    assert task.detail.endswith("differences were mended.")


def test_then_nothing_differs(stripe_standin: Here, life: str) -> None:
    run()
    before = list(Movement.objects.values())
    stripe_standin.forget_calls()
    told = run()
    assert "Nothing differs." in told
    assert "Compared 2 charges, 1 refund, 1 dispute, 1 subscription, 2 invoices" in told
    assert list(Movement.objects.values()) == before
    assert {path for _, path in stripe_standin.calls()} == {
        f"/v1/{kind}s" for kind in ("charge", "refund", "dispute", "subscription", "invoice")
    }


def test_what_the_webhooks_brought_in_differs_in_nothing(shop: Shop, life: str, asgi: AsgiClient) -> None:
    assert {answer.status for answer in shop.tell(asgi)} == {200}
    assert "Nothing differs." in run()


def test_a_dry_run_tells_the_differences_and_changes_nothing(life: str) -> None:
    told, ended = run_with_rest("--dry-run")
    assert told.count("a charge of €9.00 is not in the ledger") == 2
    assert "a refund of -€3.00 is not in the ledger" in told
    assert "a dispute of -€9.00 is not in the ledger; a dispute won of €9.00 is not in the ledger" in told
    assert f"subscription {life}: it is not here: active" in told
    assert told.count("it is not here: paid, €9.00") == 2
    assert ended == "7 of 7 differences are left: this was a dry run."
    assert not Movement.objects.exists()
    assert not Subscription.objects.exists()


def test_each_difference_is_on_a_line_and_progress_goes_elsewhere(life: str) -> None:
    output, errors = StringIO(), StringIO()
    with pytest.raises(CommandError):
        call_command("reconcile_stripe", "--dry-run", stdout=output, stderr=errors, until=rows.days_ago(-400))
    assert all(": " in line for line in output.getvalue().splitlines())
    assert not MaintenanceTask.objects.exists()  # a dry run is no run
    assert errors.getvalue().startswith("Compared 2 charges, 1 refund, 1 dispute")


def test_a_movement_that_stripe_does_not_know_is_left_for_a_person(shop: Shop) -> None:
    unknown = rows.movement("charge", 900)
    for arguments in ([], ["--dry-run"]):
        told, ended = run_with_rest(*arguments)
        assert f"charge {unknown.stripe_id}: Stripe does not list it" in told
        assert "1 of 1 differences are left" in ended
    assert Movement.objects.get() == unknown


def test_another_amount_is_told_and_the_ledger_left_as_it_is(shop: Shop, member: User) -> None:
    shop.subscribe(member)
    (charge,) = shop.get("/v1/charges")["data"]
    rows.movement("charge", 1000, stripe_id=charge["id"])
    told, ended = run_with_rest()
    assert f"charge {charge['id']}: the charge is €10.00 in the ledger, €9.00 at Stripe – left" in told
    assert "for a person to look at" in ended
    assert Movement.objects.get().amount_minor == 1000


def test_a_refund_that_never_was_is_told(life: str) -> None:
    run()
    refund = Movement.objects.get(kind="refund")
    rows.movement("refund_failed", 300, stripe_id=refund.stripe_id)
    told, _ = run_with_rest()
    assert f"refund {refund.stripe_id}: Stripe knows of no refund failed of €3.00 – left" in told


def test_a_refund_that_failed_later_is_mended(stripe_standin: Here, life: str) -> None:
    run()
    stripe_standin.fail_refund(Movement.objects.get(kind="refund").stripe_id)
    told = run()
    assert "a refund failed of €3.00 is not in the ledger – mended" in told
    assert Movement.objects.get(kind="refund_failed").amount_minor == 300


def test_a_subscription_whose_end_was_missed_is_mended(life: str, member: User) -> None:
    run()
    stripe_api.client().v1.subscriptions.cancel(life)
    assert membership.may_see_members_content(member)
    told = run()
    assert f"subscription {life}: status active here, canceled at Stripe" in told
    assert not membership.may_see_members_content(member)


def test_one_that_ended_though_it_began_before_the_period_is_mended_too(life: str, member: User) -> None:
    run()
    stripe_api.client().v1.subscriptions.cancel(life)
    assert f"subscription {life}: Stripe does not list it – mended" in run("--since", f"{rows.days_ago(-300):%Y-%m-%d}")
    assert Subscription.objects.get().status == "canceled"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"status": "past_due"}, "status past_due here, active at Stripe"),
        ({"cancels_at": rows.days_ago(-3)}, "at Stripe"),
        ({"period_ends_at": None}, "end of the period none here"),
        ({"price_id": "price_former"}, "its price is price_former here, and not at Stripe"),
    ],
)
def test_a_subscription_that_is_otherwise_here_is_mended(life: str, values: dict[str, Any], text: str) -> None:
    run()
    before = Subscription.objects.values().get()
    Subscription.objects.update(**values)
    told = run()
    assert text in told
    assert "1 difference was mended." in told
    after = Subscription.objects.values().get()
    assert {name: after[name] for name in values} == {name: before[name] for name in values}


def test_an_invoice_whose_payment_was_missed_is_mended(life: str) -> None:
    run()
    Invoice.objects.filter(billing_reason="subscription_cycle").update(status="open", amount_paid_minor=0, paid_at=None)
    told = run()
    assert "status open here, paid at Stripe; paid €0.00 here, €9.00 at Stripe – mended" in told
    assert Invoice.objects.filter(status="paid").count() == 2


def test_a_draft_that_is_gone_at_stripe_is_forgotten(shop: Shop) -> None:
    draft = rows.invoice(rows.subscription(rows.customer(), None, status="canceled"), status="draft", paid_at=None)
    assert f"invoice {draft.invoice_id}: Stripe does not list it – mended" in run()
    assert not Invoice.objects.exists()


def test_what_lies_outside_the_period_is_not_asked_for(life: str) -> None:
    Customer.objects.all().delete()
    until = f"{rows.days_ago(400):%Y-%m-%d}"
    output = StringIO()
    call_command("reconcile_stripe", "--since", "2020-01-01", "--until", until, stdout=output, stderr=StringIO())
    assert "charge" not in output.getvalue()


def test_the_other_mode_is_none_of_its_business(shop: Shop) -> None:
    rows.movement("charge", 900, livemode=True)
    rows.subscription(rows.customer(livemode=True), None)
    assert "Nothing differs." in run()


def test_many_pages_are_gone_through(stripe_standin: Here, life: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe_api, "PAGE", 1)
    run()
    assert Movement.objects.filter(kind="charge").count() == 2
    assert "Nothing differs." in run()


def test_one_that_cannot_be_stored_is_told_and_keeps_no_other(stripe_standin: Here, life: str) -> None:
    stripe_standin.engine.state.objects["subscription"][life]["items"]["data"] = []
    told, ended = run_with_rest()
    assert f"subscription {life}: it is not here: active (ValueError: {life} has no items.) – left" in told
    assert Movement.objects.filter(kind="charge").count() == 2
    assert "for a person to look at" in ended


def test_a_long_failure_of_stripes_ends_the_run_and_the_next_goes_on(stripe_standin: Here, life: str) -> None:
    stripe_standin.misbehave("down", paths="/v1/disputes")
    with pytest.raises(CommandError, match=r"does not answer.* Run it again to go on\."):
        run()
    assert Movement.objects.filter(kind="charge").count() == 2
    stripe_standin.misbehave(None)
    run()
    assert Movement.objects.filter(kind="dispute_won").exists()


def test_it_mends_what_a_failed_event_was_about(
    stripe_standin: Here, shop: Shop, member: User, asgi: AsgiClient
) -> None:
    shop.subscribe(member)
    stripe_standin.misbehave("error_500", paths="/v1/charges")
    shop.tell(asgi)
    stripe_standin.misbehave(None)
    assert WebhookEvent.objects.waiting().exists()
    assert not Movement.objects.exists()
    run()
    assert Movement.objects.get().amount_minor == 900


def test_an_interruption_says_how_to_go_on(life: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(kind: str, object_id: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(processing, "synchronise", interrupted)
    with pytest.raises(CommandError, match=r"Interrupted\. Run it again to go on") as stopped:
        run()
    assert stopped.value.returncode == 130


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(CommandError, match="has to lie before --until"):
        call_command("reconcile_stripe", "--since", "2026-02-01", "--until", "2026-01-01")


def test_without_a_key_it_says_so(settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = ""
    with pytest.raises(CommandError, match=r"no Stripe key is configured\.$"):
        call_command("reconcile_stripe")
