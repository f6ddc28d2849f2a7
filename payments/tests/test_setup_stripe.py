"""`manage.py setup_stripe`: the key, the webhook endpoint, the first plans, against the stand-in for Stripe's API."""

from io import StringIO
from typing import Any

import pytest
import stripe
from django.core.management import CommandError, call_command
from djstripe.models import Account, APIKey, WebhookEndpoint

from bambisleep.tests.client import AsgiClient
from payments import listing, metrics, setup, stripe_api
from payments.models import Plan
from payments.tests.shop import Here, an_event, post

pytestmark = pytest.mark.django_db
URL = "https://members.example.org/stripe/webhook/"


@pytest.fixture(autouse=True)
def _address(stripe_standin: Here, settings: Any) -> None:
    settings.PUBLIC_URL = "https://members.example.org"
    settings.STRIPE_WEBHOOK_SECRETS = []


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAUSES_SECONDS", (0.0,))


def run(*arguments: str) -> str:
    output = StringIO()
    call_command("setup_stripe", *arguments, stdout=output, stderr=output)
    return output.getvalue()


def endpoints(stripe_standin: Here) -> list[Any]:
    return [found for page in listing.pages("webhook_endpoints") for found in page]


def enabled(stripe_standin: Here) -> list[Any]:
    return [found for found in endpoints(stripe_standin) if found["status"] == "enabled"]


def made_by_hand(**more: Any) -> str:
    asked: Any = {"url": URL, "enabled_events": ["*"], "api_version": "2026-05-27.dahlia", **more}
    return stripe_api.client().v1.webhook_endpoints.create(asked).id


def test_it_says_whose_key_it_is_and_in_which_mode(stripe_standin: Here) -> None:
    account = stripe_api.client().v1.accounts.retrieve_current()
    assert f"The key is good: test mode, {account.settings.dashboard.display_name} ({account.id})." in run()


def test_it_makes_the_rows_that_dj_stripe_would_ask_for_with_every_object(stripe_standin: Here, settings: Any) -> None:
    run()
    key = APIKey.objects.get(secret=settings.STRIPE_SECRET_KEY)
    assert key.livemode is False
    assert key.djstripe_owner_account == Account.objects.get()


def test_it_makes_one_endpoint_for_our_types_and_our_version(stripe_standin: Here, settings: Any) -> None:
    assert f"for {URL}." in run()
    (made,) = endpoints(stripe_standin)
    assert (made["url"], made["status"], made["api_version"]) == (URL, "enabled", settings.STRIPE_API_VERSION)
    assert made["enabled_events"] == list(metrics.HANDLED)
    row = WebhookEndpoint.objects.get()
    assert (row.id, row.url, row.status, row.livemode) == (made["id"], URL, "enabled", False)
    assert row.secret.startswith("whsec_")


def test_events_signed_with_the_secret_it_keeps_are_let_in(stripe_standin: Here, asgi: AsgiClient) -> None:
    run()
    secret = WebhookEndpoint.objects.get().secret
    event = an_event("payout.paid", {"id": "po_1", "object": "payout"})
    assert post(asgi, event, secret=secret).status == 200
    assert post(asgi, event, secret="whsec_another").status == 400


def test_no_secret_is_told(stripe_standin: Here, settings: Any) -> None:
    told = run() + run("--rotate")
    assert "whsec_" not in told
    assert settings.STRIPE_SECRET_KEY not in told


def test_run_again_it_changes_nothing(stripe_standin: Here) -> None:
    run()
    before = endpoints(stripe_standin)
    stripe_standin.forget_calls()
    assert "is as it should be" in run()
    assert endpoints(stripe_standin) == before
    assert {method for method, _ in stripe_standin.calls()} == {"GET"}


def test_an_endpoint_for_other_types_is_put_right(stripe_standin: Here) -> None:
    run()
    (made,) = endpoints(stripe_standin)
    changed: Any = {"enabled_events": ["invoice.paid"]}
    stripe_api.client().v1.webhook_endpoints.update(made["id"], changed)
    assert "now sends the types of events that this site acts on" in run()
    (found,) = endpoints(stripe_standin)
    assert (found["id"], set(found["enabled_events"])) == (made["id"], set(metrics.HANDLED))


def test_an_endpoint_of_another_version_of_the_api_is_replaced(stripe_standin: Here, settings: Any) -> None:
    old = made_by_hand(api_version="2025-03-31.basil")
    WebhookEndpoint.objects.create(id=old, url=URL, status="enabled", secret="whsec_old", enabled_events=["*"])
    run()
    (found,) = enabled(stripe_standin)
    assert found["api_version"] == settings.STRIPE_API_VERSION
    assert WebhookEndpoint.objects.get(status="enabled").id == found["id"]


def test_an_endpoint_whose_secret_is_lost_is_replaced(stripe_standin: Here) -> None:
    run()
    WebhookEndpoint.objects.all().delete()
    assert "Disabled the webhook endpoint" in run()
    (found,) = enabled(stripe_standin)
    assert WebhookEndpoint.objects.exclude(secret="").get().id == found["id"]


def test_an_endpoint_that_was_disabled_is_replaced(stripe_standin: Here) -> None:
    run()
    (made,) = endpoints(stripe_standin)
    stripe_api.client().v1.webhook_endpoints.update(made["id"], {"disabled": True})
    assert "Deleted the webhook endpoint" in run()
    assert [found["status"] for found in endpoints(stripe_standin)] == ["enabled"]


def test_one_that_was_made_by_hand_stays_where_its_secret_may_be_in_the_settings(
    stripe_standin: Here, settings: Any
) -> None:
    by_hand = made_by_hand()
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_of_it"]
    told = run()
    assert "has to be in STRIPE_WEBHOOK_SECRETS" in told
    assert [found["id"] for found in enabled(stripe_standin)] == [by_hand]


def test_endpoints_of_other_sites_are_none_of_its_business(stripe_standin: Here) -> None:
    other = made_by_hand(url="https://shop.example.org/stripe/webhook/", enabled_events=["invoice.paid"])
    run()
    run("--rotate")
    found = {each["id"]: each for each in enabled(stripe_standin)}
    assert found[other]["enabled_events"] == ["invoice.paid"]
    assert len(found) == 2


def test_rotating_makes_the_new_one_before_the_old_one_goes(stripe_standin: Here) -> None:
    run()
    old = WebhookEndpoint.objects.get()
    stripe_standin.forget_calls()
    told = run("--rotate")
    assert f"Disabled the webhook endpoint {old.id}." in told
    posts = [path for _, path in stripe_standin.calls("POST /v1/webhook_endpoints")]
    assert posts == ["/v1/webhook_endpoints", f"/v1/webhook_endpoints/{old.id}"]
    new = WebhookEndpoint.objects.get(status="enabled")
    assert new.secret not in {"", old.secret}
    assert [found["id"] for found in enabled(stripe_standin)] == [new.id]


def test_rotating_often_leaves_no_more_than_one_old_endpoint(stripe_standin: Here) -> None:
    for _ in range(4):
        run("--rotate")
    assert sorted(found["status"] for found in endpoints(stripe_standin)) == ["disabled", "enabled"]
    assert WebhookEndpoint.objects.count() == 2


def test_a_rotation_that_was_interrupted_is_finished_by_the_next_run(stripe_standin: Here) -> None:
    run()
    for sentence in setup.ensure_webhook(rotate=True):
        if sentence.startswith("Made"):
            break  # killed before the old one was disabled
    assert len(enabled(stripe_standin)) == 2
    run()
    (found,) = enabled(stripe_standin)
    assert WebhookEndpoint.objects.get(status="enabled").id == found["id"]


def test_an_endpoint_whose_secret_never_got_here_is_no_lasting_harm(stripe_standin: Here) -> None:
    run()
    first = WebhookEndpoint.objects.get()
    made_by_hand()
    run()
    assert [found["id"] for found in enabled(stripe_standin)] == [first.id]


def test_with_a_live_key_the_address_has_to_be_https(stripe_standin: Here, settings: Any) -> None:
    settings.STRIPE_LIVE_MODE = True
    settings.PUBLIC_URL = "http://members.example.org"
    with pytest.raises(CommandError, match="PUBLIC_URL has to be https, not http://members"):
        run()
    assert endpoints(stripe_standin) == []


def test_without_a_key_it_says_so(settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = ""
    with pytest.raises(CommandError, match="no Stripe key is configured"):
        run()


def test_a_key_that_stripe_refuses_is_named_as_such(stripe_standin: Here, settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = "sk_test_refused" + "a" * 24
    with pytest.raises(CommandError, match="Stripe refuses the key in STRIPE_SECRET_KEY") as refused:
        run()
    assert settings.STRIPE_SECRET_KEY not in str(refused.value)
    assert not APIKey.objects.exists()


def test_no_connection_is_named_as_such(stripe_standin: Here) -> None:
    stripe_standin.misbehave("down")
    with pytest.raises(CommandError, match=r"http://127\.0\.0\.1:\d+ does not answer"):
        run()


@pytest.mark.parametrize("mode", ["error_500", "nonsense", "rate_limited"])
def test_an_api_that_fails_is_named_as_such(stripe_standin: Here, mode: str) -> None:
    stripe_standin.misbehave(mode)
    with pytest.raises(CommandError):
        run()
    stripe_standin.misbehave(mode, paths="webhook_endpoints")
    with pytest.raises(CommandError):
        run()
    stripe_standin.misbehave(None)
    assert endpoints(stripe_standin) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (stripe.PermissionError("rak_webhook_write is required"), "lacks a right: rak_webhook_write is required"),
        (stripe.InvalidRequestError("Invalid URL", "url"), "stripe listen --forward-to"),
        (stripe.InvalidRequestError("Invalid currency: xyz", "currency"), "Invalid currency: xyz"),
    ],
)
def test_what_stripe_does_not_allow_is_told_with_a_way_out(error: stripe.StripeError, said: str) -> None:
    assert said in setup.explained(error)


def test_a_restricted_key_may_not_say_whose_it_is_and_works(stripe_standin: Here, settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = "rk_test_" + "a" * 24
    assert "The key is good: test mode" in run()
    assert len(enabled(stripe_standin)) == 1


def test_objects_of_another_account_are_pointed_out(stripe_standin: Here) -> None:
    Account.objects.create(id="acct_former", stripe_data={})
    assert "This database also holds objects of acct_former" in run()


def test_with_plans_makes_a_monthly_and_a_yearly_price_once(stripe_standin: Here) -> None:
    run("--with-plans")
    plans = {(plan.interval, plan.amount_minor, plan.currency, plan.active) for plan in Plan.objects.all()}
    assert plans == {("month", 900, "eur", True), ("year", 9000, "eur", True)}
    run("--with-plans")
    assert Plan.objects.count() == 2
    assert len([found for page in listing.pages("products") for found in page]) == 1


def test_a_currency_without_decimals_has_none(stripe_standin: Here) -> None:
    run("--with-plans", "--currency", "JPY")
    assert set(Plan.objects.values_list("amount_minor", "currency")) == {(9, "jpy"), (90, "jpy")}


def test_what_a_run_that_was_interrupted_left_out_is_made_by_the_next(stripe_standin: Here) -> None:
    for sentence in setup.make_plans():
        if sentence.startswith("Made the price"):
            break
    run("--with-plans")
    assert set(Plan.objects.values_list("interval", flat=True)) == {"month", "year"}


def test_where_stripe_has_plans_none_is_made(stripe_standin: Here) -> None:
    stripe_standin.plans()
    assert "Stripe has plans already" in run("--with-plans")
    assert len([found for page in listing.pages("products") for found in page]) == 1
