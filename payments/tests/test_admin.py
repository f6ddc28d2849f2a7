"""The payments' pages in the admin: lists, filters, the ledger's sums, and nothing to type in."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin as site
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from accounts.models import User
from payments import dashboard, dunning
from payments.dunning import Outcome
from payments.models import Invoice, Movement
from payments.tests import rows

pytestmark = pytest.mark.django_db

USERS = "/admin/accounts/user/"
MODELS = ["plan", "customer", "subscription", "invoice", "movement", "webhookevent"]


@pytest.fixture
def admin(staff: User) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def listed(admin: Client, model: str, query: str = "") -> list[Any]:
    answer = admin.get(f"/admin/payments/{model}/{query}")
    assert answer.status_code == 200, f"{query} leads to {answer.headers.get('location')}"
    return list(answer.context["cl"].result_list)


def some_of_each(number: int) -> None:
    monthly = rows.plan()
    for _ in range(number):
        customer = rows.customer(f"payer{next(rows.numbers)}")
        subscription = rows.subscription(customer, monthly)
        rows.invoice(subscription)
        rows.failed(subscription)
        of = {"customer_id": customer.customer_id}
        charge = rows.movement("charge", 900, price_id=monthly.price_id, **of)
        rows.movement("refund", -100, charge_id=charge.stripe_id, **of)
        rows.event(**of)
        rows.failed_event(**of)
        rows.plan()


def test_who_deactivates_members_that_pay_is_told_that_they_go_on_paying(admin: Client, member: User) -> None:
    def asked(*users: User) -> str:
        chosen = {"action": "deactivate", "_selected_action": [user.pk for user in users]}
        return admin.post(USERS, chosen).content.decode()

    paying, cancelled = rows.customer("pia"), rows.customer("carl")
    rows.subscription(paying, rows.plan())
    rows.subscription(cancelled, rows.plan(), cancels_at=rows.days_ago(-9))
    ended = rows.subscription(rows.customer("edda"), rows.plan(), status="canceled")

    assert "being charged" not in asked(member, cancelled.user, ended.customer.user)
    page = asked(member, paying.user, cancelled.user)
    assert "1 of them goes on being charged for a subscription, which deactivating does not end" in page
    assert "It goes on being charged for a subscription" in asked(paying.user)
    assert "cancel it at Stripe" in page


@pytest.mark.parametrize("model", MODELS)
def test_lists_cost_the_same_however_many_rows(
    admin: Client, model: str, django_assert_max_num_queries: Any, django_assert_num_queries: Any
) -> None:
    some_of_each(1)
    with django_assert_max_num_queries(14) as few:
        assert listed(admin, model)
    some_of_each(15)
    with django_assert_num_queries(len(few)):
        assert len(listed(admin, model)) > 15


@pytest.mark.parametrize("model", MODELS)
def test_nobody_types_in_or_deletes_a_row(admin: Client, model: str) -> None:
    some_of_each(1)
    row = listed(admin, model)[0]
    assert admin.get(f"/admin/payments/{model}/add/").status_code == 403
    assert admin.get(f"/admin/payments/{model}/{row.pk}/delete/").status_code == 403
    assert admin.post(f"/admin/payments/{model}/{row.pk}/change/", {}).status_code == 403
    assert "delete_selected" not in admin.get(f"/admin/payments/{model}/").content.decode()


@pytest.mark.parametrize("model", MODELS)
def test_every_row_has_a_page_that_leads_to_stripe(admin: Client, model: str) -> None:
    some_of_each(1)
    page = admin.get(f"/admin/payments/{model}/{listed(admin, model)[0].pk}/change/").content.decode()
    assert 'href="https://dashboard.stripe.com/test/' in page


@pytest.mark.parametrize("model", MODELS)
def test_who_may_see_no_payments_sees_none(model: str) -> None:
    some_of_each(1)
    clerk = User.objects.create_user("clerk", "clerk@example.org", "a long enough phrase", is_staff=True)
    client = Client()
    client.force_login(clerk)
    assert client.get(f"/admin/payments/{model}/").status_code == 403
    clerk.user_permissions.add(Permission.objects.get(codename=f"view_{model}", content_type__app_label="payments"))
    assert client.get(f"/admin/payments/{model}/").status_code == 200


@pytest.mark.parametrize("model", MODELS)
def test_a_search_finds_by_the_beginning_of_an_id_of_stripes(admin: Client, model: str) -> None:
    some_of_each(2)
    row = listed(admin, model)[0]
    column = {"plan": "price_id", "movement": "stripe_id", "webhookevent": "event_id"}.get(model, f"{model}_id")
    found = listed(admin, model, f"?q={getattr(row, column)}")
    assert row in found
    assert listed(admin, model, "?q=nothing_of_that_name") == []


def test_no_page_of_dj_stripes_is_reachable(admin: Client) -> None:
    models = list(apps.get_app_config("djstripe").get_models())
    assert len(models) > 20
    for model in models:
        assert not site.site.is_registered(model)
        assert admin.get(f"/admin/djstripe/{model._meta.model_name}/").status_code == 404
    assert admin.get("/admin/djstripe/").status_code == 404


@pytest.mark.parametrize(
    ("kind", "livemode", "url"),
    [
        ("customer", False, "https://dashboard.stripe.com/test/customers/x_1"),
        ("customer", True, "https://dashboard.stripe.com/customers/x_1"),
        ("charge", True, "https://dashboard.stripe.com/payments/x_1"),
        ("event", False, "https://dashboard.stripe.com/test/events/x_1"),
    ],
)
def test_each_kind_has_its_page_in_stripes_dashboard(kind: str, livemode: bool, url: str) -> None:
    assert dashboard.url(kind, "x_1", livemode=livemode) == url


def test_a_demo_plan_leads_nowhere_at_stripe(admin: Client) -> None:
    rows.plan(price_id="demo_month")
    assert "dashboard.stripe.com" not in admin.get("/admin/payments/plan/").content.decode()


def test_a_plan_leads_to_its_active_subscriptions(admin: Client) -> None:
    monthly = rows.plan()
    active = rows.subscription(rows.customer(), monthly)
    rows.subscription(rows.customer(), monthly, status="canceled", ended_at=rows.days_ago(1))
    assert listed(admin, "plan")[0].subscriber_number == 1
    assert listed(admin, "subscription", f"?plan__id__exact={monthly.pk}&standing=counted") == [active]


def test_a_customer_whose_account_is_gone_is_listed_by_its_id(admin: Client) -> None:
    customer = rows.customer()
    rows.subscription(customer, None)
    assert f">{customer.customer_id}</a>" in admin.get("/admin/payments/subscription/").content.decode()


def test_subscriptions_are_found_by_what_became_of_them(admin: Client) -> None:
    customer, monthly = rows.customer(), rows.plan()
    active = rows.subscription(customer, monthly)
    ending = rows.subscription(customer, monthly, cancels_at=rows.days_ago(-3))
    gone = rows.subscription(customer, monthly, status="canceled", ended_at=rows.days_ago(1))
    late = rows.subscription(customer, monthly, status="past_due")
    rows.subscription(customer, monthly, status="incomplete_expired", ended_at=rows.days_ago(1))
    assert set(listed(admin, "subscription", "?standing=counted")) == {active, ending}
    assert listed(admin, "subscription", "?standing=ending") == [ending]
    assert listed(admin, "subscription", "?standing=churned") == [gone]
    assert set(listed(admin, "subscription", "?standing=began")) == {active, ending, gone, late}
    assert len(listed(admin, "subscription", "?standing=nonsense")) == 5


def test_a_failed_payment_is_recovered_or_lost_or_tried_again(admin: Client) -> None:
    active = rows.subscription(rows.customer(), rows.plan())
    ended = rows.subscription(rows.customer(), None, status="canceled", ended_at=rows.days_ago(1))
    rows.invoice(active)
    open_still = rows.failed(active)
    recovered = rows.failed(active, status="paid", paid_at=rows.days_ago(0.5))
    lost = [rows.failed(active, status="void"), rows.failed(active, status="uncollectible"), rows.failed(ended)]
    alone = rows.failed(active, subscription=None)
    assert set(listed(admin, "invoice", "?payment=open")) == {open_still, alone}
    assert listed(admin, "invoice", "?payment=recovered") == [recovered]
    assert set(listed(admin, "invoice", "?payment=lost")) == set(lost)
    assert len(listed(admin, "invoice", "?payment=failed")) == 6
    each = [set(dunning.with_outcome(Invoice.objects.all(), outcome)) for outcome in Outcome.values]
    assert sum(len(found) for found in each) == 6
    assert set.union(*each) == set(Invoice.objects.failed())


def test_amounts_are_written_as_their_currency_is(admin: Client) -> None:
    rows.movement("charge", 1400, currency="jpy")
    rows.movement("charge", 3250, currency="kwd")
    page = admin.get("/admin/payments/movement/").content.decode()
    assert "JP¥1,400" in page
    assert "KWD\xa03.250" in page


def test_the_ledger_stands_under_its_sums_by_currency(admin: Client) -> None:
    rows.movement("charge", 900)
    rows.movement("charge", 900)
    rows.movement("refund", -200)
    rows.movement("dispute", -900)
    rows.movement("dispute_won", 900)
    rows.movement("charge", 1400, currency="jpy")
    euros, yen = admin.get("/admin/payments/movement/").context["sums"]
    assert (euros.currency, euros.movements, euros.money.gross, euros.money.refunds, euros.money.disputes) == (
        "eur", 5, 1800, -200, 0,
    )  # fmt: skip
    assert euros.money.net == sum(row.amount_minor for row in Movement.objects.filter(currency="eur"))
    assert (yen.currency, yen.money.net) == ("jpy", 1400)


def test_the_sums_are_of_what_is_filtered(admin: Client) -> None:
    rows.plan()
    rows.movement("charge", 900)
    rows.movement("refund", -200)
    (sums,) = admin.get("/admin/payments/movement/?kind__exact=refund&currency=eur").context["sums"]
    assert (sums.movements, sums.money.net) == (1, -200)


def test_an_empty_ledger_says_so(admin: Client) -> None:
    assert "No movement of money has been recorded yet" in admin.get("/admin/payments/movement/").content.decode()
    assert "matches these filters" in admin.get("/admin/payments/movement/?q=ch_1").content.decode()


def test_a_refund_is_of_the_plan_that_its_charge_was_for(admin: Client) -> None:
    monthly = rows.plan("Patron")
    charge = rows.movement("charge", 900, price_id=monthly.price_id)
    refund = rows.movement("refund", -900, charge_id=charge.stripe_id)
    other = rows.movement("charge", 500)
    assert set(listed(admin, "movement", "?plan=Patron+(month)")) == {charge, refund}
    assert listed(admin, "movement", "?plan=No+plan") == [other]
    assert admin.get("/admin/payments/movement/").content.decode().count(">Patron (month)</td>") == 2


@pytest.mark.parametrize("model", ["customer", "subscription", "invoice", "movement", "webhookevent"])
def test_a_list_goes_from_years_to_days(admin: Client, model: str) -> None:
    some_of_each(1)
    page = admin.get(f"/admin/payments/{model}/?livemode__exact=0")
    assert page.context["cl"].date_hierarchy
    assert admin.get(f"/admin/payments/{model}/?livemode__exact=1").context["cl"].result_count == 0


def test_every_list_and_the_index_lead_to_the_overview(admin: Client) -> None:
    overview = reverse("admin:payments_overview")
    for path in ["/admin/", "/admin/payments/", *(f"/admin/payments/{model}/" for model in MODELS)]:
        assert f'href="{overview}"' in admin.get(path).content.decode(), path
