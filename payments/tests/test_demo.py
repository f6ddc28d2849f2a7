"""Without a key: demo plans that nobody can buy, and how to connect."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from accounts.models import User
from accounts.tests.browser import Browser, text_of
from payments import demo
from payments.models import Plan
from payments.tests import rows
from payments.tests.pages import browser_of, words

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_key(settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = ""


def test_the_plans_page_lists_them_and_says_how_to_connect() -> None:
    demo.load()
    page = words(Browser().get("/billing/plans/"))
    assert "Demo membership, monthly €9.00 a month" in page
    assert "Demo membership, yearly recommended €90.00 a year You save 16%." in page
    for way in ("STRIPE_SECRET_KEY", "manage.py setup_stripe", "make run STRIPE=standin"):
        assert way in page


def test_nothing_can_be_bought(member: User) -> None:
    demo.load()
    browser = browser_of(member)
    page = browser.get("/billing/plans/")
    assert "<form" not in text_of(page).partition("<main")[2]
    answer = browser.send_from(page, "/billing/checkout/", plan="demo_month", attempt="a" * 12)
    assert "That plan is not on sale." in words(answer)


def test_a_plan_of_stripe_s_is_not_sold_without_a_key(member: User) -> None:
    plan = rows.plan()
    assert "Nothing is on sale yet" in words(Browser().get("/billing/plans/"))
    browser = browser_of(member)
    page = browser.get("/billing/plans/")
    answer = browser.send_from(page, "/billing/checkout/", plan=plan.price_id, attempt="a" * 12)
    assert "That plan is not on sale." in words(answer)


def test_what_needs_stripe_says_that_it_is_not_set_up(member: User) -> None:
    customer = rows.customer()
    customer.user = member
    customer.save()
    browser = browser_of(member)
    answer = browser.send_from(browser.get("/billing/"), "/billing/portal/")
    assert answer.status_code == 503
    assert "Payments are not set up on this site." in words(answer)


def test_with_a_key_demo_plans_are_not_offered(settings: Any) -> None:
    demo.load()
    settings.STRIPE_SECRET_KEY = "sk_test_" + "a" * 24
    page = words(Browser().get("/billing/plans/"))
    assert "Nothing is on sale yet" in page
    assert "Demo" not in page


def test_they_come_and_go_with_the_other_demo_content(settings: Any, tmp_path: Any) -> None:
    settings.DATA_DIR = tmp_path
    out = StringIO()
    call_command("load_demo", stdout=out)
    call_command("load_demo", stdout=out)
    assert "2 demo plans" in out.getvalue()
    assert Plan.objects.count() == 2

    call_command("remove_demo", "--dry-run", stdout=out)
    assert "and 2 demo plans would be removed." in out.getvalue()
    assert Plan.objects.count() == 2

    rows.plan()
    call_command("remove_demo", stdout=out)
    assert "and 2 demo plans were removed." in out.getvalue()
    assert not Plan.objects.filter(price_id__startswith="demo_").exists()
    assert Plan.objects.count() == 1
