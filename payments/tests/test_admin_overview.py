"""Revenue and subscribers in the admin: the figures, the charts, and the rows behind each number."""

import re
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import User
from payments import admin_overview, charts, months, revenue, subscribers
from payments.models import Movement, Plan
from payments.revenue import NO_PLAN, Money
from payments.subscribers import Change
from payments.tests import rows

PAGE = "/admin/payments/movement/overview/"


@pytest.fixture
def admin(staff: User) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


SPRING = months.last(3, at("2026-05-20"))  # March, April, May


def test_the_last_months_end_with_the_one_that_runs() -> None:
    found = months.last(3, at("2026-01-31"))
    assert [month.start for month in found] == [at("2025-11-01"), at("2025-12-01"), at("2026-01-01")]
    assert found[-1].end == at("2026-02-01")


@pytest.mark.django_db
class TestRevenue:
    def test_it_is_split_by_currency_month_and_plan(self) -> None:
        monthly, yearly = rows.plan(), rows.plan(interval="year", amount_minor=9000)
        rows.movement("charge", 900, occurred_at=at("2026-03-31T23:59:59"), price_id=monthly.price_id)
        rows.movement("charge", 900, occurred_at=at("2026-04-01"), price_id=monthly.price_id)
        rows.movement("charge", 9000, occurred_at=at("2026-04-02"), price_id=yearly.price_id)
        rows.movement("charge", 1400, occurred_at=at("2026-05-31T23:59:59"), currency="jpy")
        rows.movement("charge", 1, occurred_at=at("2026-02-28"))
        rows.movement("charge", 1, occurred_at=at("2026-06-01"))
        assert revenue.by_month(SPRING) == {
            "eur": {
                0: {"Membership (month)": Money(900)},
                1: {"Membership (month)": Money(900), "Membership (year)": Money(9000)},
            },
            "jpy": {2: {NO_PLAN: Money(1400)}},
        }

    def test_what_was_taken_back_and_given_back_counts_in_its_own_month_and_for_its_charges_plan(self) -> None:
        patron = rows.plan("Patron")
        charge = rows.movement("charge", 900, occurred_at=at("2026-03-02"), price_id=patron.price_id).stripe_id
        rows.movement("refund", -300, occurred_at=at("2026-03-05"), charge_id=charge, stripe_id="re_x")
        rows.movement("refund_failed", 300, occurred_at=at("2026-04-05"), charge_id=charge, stripe_id="re_x")
        rows.movement("dispute", -900, occurred_at=at("2026-04-09"), charge_id=charge, stripe_id="du_x")
        rows.movement("dispute_won", 900, occurred_at=at("2026-05-09"), charge_id=charge, stripe_id="du_x")
        assert revenue.by_month(SPRING)["eur"] == {
            0: {"Patron (month)": Money(900, -300)},
            1: {"Patron (month)": Money(0, 300, -900)},
            2: {"Patron (month)": Money(0, 0, 900)},
        }

    def test_prices_of_one_name_are_one_plan(self) -> None:
        for price in (rows.plan(amount_minor=700, active=False), rows.plan()):
            rows.movement("charge", price.amount_minor, occurred_at=at("2026-03-02"), price_id=price.price_id)
        assert revenue.by_month(SPRING)["eur"] == {0: {"Membership (month)": Money(1600)}}

    def test_one_plan_may_be_looked_at_alone(self) -> None:
        patron = rows.plan("Patron")
        rows.movement("charge", 900, occurred_at=at("2026-03-02"), price_id=patron.price_id)
        rows.movement("charge", 500, occurred_at=at("2026-03-02"))
        assert revenue.by_month(SPRING, plan="Patron (month)")["eur"][0] == {"Patron (month)": Money(900)}

    def test_the_other_mode_is_left_out(self, settings: Any) -> None:
        rows.movement("charge", 900, occurred_at=at("2026-03-02"))
        settings.STRIPE_LIVE_MODE = True
        assert revenue.by_month(SPRING) == {}

    def test_the_net_of_all_months_is_the_ledgers_balance(self) -> None:
        for day in range(1, 28):
            rows.movement("charge", day * 100, occurred_at=at(f"2026-04-{day:02}"))
            rows.movement("refund", -day, occurred_at=at(f"2026-05-{day:02}"))
        found = revenue.by_month(SPRING)["eur"]
        net = sum(money.net for plans in found.values() for money in plans.values())
        assert net == sum(Movement.objects.values_list("amount_minor", flat=True))


@pytest.mark.django_db
class TestSubscribers:
    def test_new_churned_and_recovered_are_counted_by_month_and_plan(self) -> None:
        monthly, customer = rows.plan(), rows.customer()
        first = rows.subscription(customer, monthly, started_at=at("2026-03-01"))
        rows.subscription(customer, monthly, status="canceled", started_at=at("2026-04-01"), ended_at=at("2026-05-30"))
        rows.subscription(customer, None, status="trialing", started_at=at("2026-04-30T23:00"))
        rows.failed(first, failed_at=at("2026-03-30"), paid_at=at("2026-04-02"), status="paid")
        rows.failed(first)
        assert subscribers.by_month(SPRING) == {
            0: {"Membership (month)": Change(new=1)},
            1: {"Membership (month)": Change(new=1, recovered=1), NO_PLAN: Change(new=1)},
            2: {"Membership (month)": Change(churned=1)},
        }

    def test_a_first_payment_that_was_never_made_is_no_subscriber(self) -> None:
        for status in ("incomplete", "incomplete_expired"):
            rows.subscription(
                rows.customer(), rows.plan(), status=status, started_at=at("2026-03-01"), ended_at=at("2026-03-02")
            )
        assert subscribers.by_month(SPRING) == {}

    def test_standing_ones_are_counted_by_plan_and_status(self) -> None:
        monthly = rows.plan()
        for status in ("active", "active", "past_due", "canceled"):
            rows.subscription(rows.customer(), monthly, status=status)
        assert subscribers.standing() == {"Membership (month)": {"active": 2, "past_due": 1}}


class TestCharts:
    def test_what_is_above_zero_stands_on_the_base_line_and_what_is_below_hangs_from_it(self) -> None:
        chart = charts.stacked([(300, -100, 0), (100, 0, -50)])
        assert chart.base == charts.HEIGHT * 300 / 400
        (gross, refunds), (small, disputes) = chart.places
        assert (gross.series, gross.y, gross.height) == (0, 0, chart.base)
        assert (refunds.series, refunds.y, refunds.height) == (1, chart.base, charts.HEIGHT / 4)
        assert (small.height, disputes.series, disputes.y) == (charts.HEIGHT / 4, 2, chart.base)

    def test_series_on_the_same_side_are_stacked(self) -> None:
        ((new, recovered),) = charts.stacked([(3, 0, 1)]).places
        assert recovered.y + recovered.height == new.y

    def test_nothing_draws_nothing_on_the_ground(self) -> None:
        assert charts.stacked([(0, 0), (0, 0)]) == charts.Chart([[], []], charts.HEIGHT)
        assert charts.stacked([]) == charts.Chart([], charts.HEIGHT)

    @given(st.lists(st.lists(st.integers(-(10**15), 10**15), min_size=3, max_size=3), min_size=1, max_size=36))
    def test_no_block_leaves_the_chart(self, places: list[list[int]]) -> None:
        for block in (block for place in charts.stacked(places).places for block in place):
            assert -1 <= block.y <= charts.HEIGHT
            assert block.y + block.height <= charts.HEIGHT + 1.1
            assert 0 <= block.x <= block.x + block.width <= 481


@pytest.mark.django_db
class TestThePage:
    @pytest.fixture
    def monthly(self) -> Plan:
        """With a subscriber of this month, another that left, a charge with a refund, and a recovered payment."""
        monthly, customer = rows.plan(), rows.customer()
        now = timezone.now()
        bought = rows.subscription(customer, monthly, started_at=now)
        rows.subscription(customer, monthly, status="canceled", started_at=rows.days_ago(500), ended_at=now)
        rows.failed(bought, status="paid", failed_at=now, paid_at=now)
        charge = rows.movement("charge", 900, price_id=monthly.price_id, occurred_at=now).stripe_id
        rows.movement("refund", -250, charge_id=charge, occurred_at=now)
        return monthly

    def test_without_any_payment_it_says_how_to_connect(self, admin: Client, settings: Any) -> None:
        page = admin.get(PAGE).content.decode()
        assert "manage.py setup_stripe" in page
        assert "make run STRIPE=standin" in page
        assert "<svg viewBox" not in page
        settings.STRIPE_SECRET_KEY = "sk_test_" + "a" * 24
        assert "manage.py sync_stripe" in admin.get(PAGE).content.decode()

    def test_it_shows_the_figures_in_words_chart_and_table(self, admin: Client, monthly: Plan) -> None:
        page = admin.get(PAGE).content.decode()
        month = f"{timezone.now():%B %Y}"
        assert f"<title>{month}: gross €9.00, refunds -€2.50, disputes €0.00, net €6.50</title>" in page
        assert f"<title>{month}: new 1, churned 1, recovered 1</title>" in page
        assert page.count("<rect") == 5
        assert "in test mode" in page

    def test_each_number_leads_to_as_many_rows(self, admin: Client, monthly: Plan) -> None:
        page = admin.get(PAGE).content.decode()
        links = {
            unescape(url) for url in re.findall(r'href="(/admin/payments/(?:subscription|invoice)/\?[^"]+)">1<', page)
        }
        assert len(links) == 10  # of the period, the month and the plan in it, three each; and the one that stands
        for url in links:
            answer = admin.get(url)
            assert (answer.status_code, answer.context["cl"].result_count) == (200, 1), url

    def test_each_month_leads_to_its_part_of_the_ledger(self, admin: Client, monthly: Plan) -> None:
        rows.movement("charge", 900)
        page = admin.get(PAGE).content.decode()
        urls = [unescape(url) for url in re.findall(r'href="(/admin/payments/movement/\?[^"]+)">Membership', page)]
        assert len(urls) == 1
        assert admin.get(urls[0]).context["sums"][0].money == Money(900, -250)

    def test_the_url_chooses_the_period_and_the_plan(self, admin: Client, monthly: Plan) -> None:
        patron = rows.plan("Patron")
        rows.movement("charge", 5000, price_id=patron.price_id)
        answer = admin.get(f"{PAGE}?months=3&plan=Patron+(month)")
        found = answer.context["overview"]
        assert (found.number, found.plan) == (3, "Patron (month)")
        assert [panel.totals[0].text for panel in found.revenue] == ["€50.00"]
        assert len(found.revenue[0].rows) == 3
        assert [total.text for total in found.changes.totals] == ["0", "0", "0"]

    @pytest.mark.parametrize("query", ["?months=9999", "?months=x", "?plan=%00", "?plan=nobody"])
    def test_nonsense_in_the_url_shows_what_is_usual(self, admin: Client, monthly: Plan, query: str) -> None:
        found = admin.get(PAGE + query).context["overview"]
        assert (found.number, found.plan) == (admin_overview.DEFAULT_MONTHS, "")

    def test_a_period_without_payments_says_so(self, admin: Client) -> None:
        rows.movement("charge", 900, occurred_at=rows.days_ago(800))
        page = admin.get(f"{PAGE}?months=3").content.decode()
        assert "No money moved in this period" in page
        assert "Every subscription has ended." in page

    def test_what_needs_somebody_stands_on_top_and_on_the_home_page(self, admin: Client, monthly: Plan) -> None:
        rows.failed(rows.subscription(rows.customer(), monthly, status="past_due"))
        rows.failed_event()
        rows.failed_event()
        for path in (PAGE, "/admin/"):
            page = admin.get(path).content.decode()
            assert "1 failed payment not made good yet" in page
            assert "2 events of Stripe&#x27;s that could not be processed" in page

    def test_it_costs_the_same_however_much_was_paid(
        self, admin: Client, monthly: Plan, django_assert_max_num_queries: Any, django_assert_num_queries: Any
    ) -> None:
        with django_assert_max_num_queries(20) as few:
            admin.get(PAGE)
        for number in range(20):
            plan = rows.plan(f"Plan {number}")
            rows.subscription(rows.customer(), plan, started_at=rows.days_ago(number * 10))
            rows.movement("charge", 900, price_id=plan.price_id, occurred_at=rows.days_ago(number * 10))
        with django_assert_num_queries(len(few)):
            assert "Plan 19 (month)" in admin.get(PAGE).content.decode()

    def test_it_is_for_those_who_may_see_all_of_it(self, admin: Client, monthly: Plan) -> None:
        clerk = User.objects.create_user("clerk", "clerk@example.org", "a long enough phrase", is_staff=True)
        client = Client()
        client.force_login(clerk)
        assert client.get(PAGE).status_code == 403
        assert PAGE not in client.get("/admin/").content.decode()
        rights = [name.partition(".")[2] for name in admin_overview.RIGHTS]
        clerk.user_permissions.set(Permission.objects.filter(codename__in=rights, content_type__app_label="payments"))
        assert client.get(PAGE).status_code == 200
        assert PAGE in client.get("/admin/").content.decode()
