"""Amounts: as many decimals as the currency has, and not one lost."""

import re

import pytest
from django.template import Context, Template
from hypothesis import given
from hypothesis import strategies as st

from payments import money
from payments.models import Plan

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (900, "eur", "€9.00"),
        (123_456, "USD", "US$1,234.56"),
        (0, "gbp", "£0.00"),
        (-300, "gbp", "-£3.00"),
        (1_200, "jpy", "JP¥1,200"),
        (9_900, "krw", "₩9,900"),
        (3_500, "kwd", "KWD 3.500"),
        (1, "bhd", "BHD 0.001"),
        (50_000, "isk", "ISK 500"),
        (50_050, "isk", "ISK 500.50"),
        (50_000, "ugx", "UGX 500"),
        (1_050, "afn", "AFN 10.50"),
        (5, "mga", "MGA 5"),
    ],
)
def test_an_amount_is_written_with_the_decimals_that_its_currency_has_at_stripe(
    minor: int, currency: str, text: str
) -> None:
    assert money.text(minor, currency).replace("\N{NO-BREAK SPACE}", " ") == text


@given(st.integers(-(2**63), 2**63 - 1), st.sampled_from(["eur", "jpy", "kwd", "isk", "ugx", "clp", "huf", "xaf"]))
def test_no_digit_is_lost(minor: int, currency: str) -> None:
    text = money.text(minor, currency)
    digits = int(re.sub(r"\D", "", text)) * (-1 if "-" in text else 1)
    written_whole = currency in money.WRITTEN_WHOLE and "." not in text
    assert digits * (100 if written_whole else 1) == minor
    assert money.amount(minor, currency) * 10 ** money.decimals(currency) == minor


@pytest.mark.parametrize(
    ("interval", "count", "price", "rhythm"),
    [
        ("month", 1, "€9.00 a month", "monthly"),
        ("year", 1, "€9.00 a year", "yearly"),
        ("month", 3, "€9.00 every 3 months", "every 3 months"),
        ("week", 2, "€9.00 every 2 weeks", "every 2 weeks"),
        ("day", 1, "€9.00 a day", "daily"),
    ],
)
def test_a_price_says_how_often_it_is_paid(interval: str, count: int, price: str, rhythm: str) -> None:
    plan = Plan(amount_minor=900, currency="eur", interval=interval, interval_count=count)
    page = Template("{% load money %}{{ plan|price }}, {{ plan|rhythm }}, {{ 5|money:'jpy' }}")
    assert page.render(Context({"plan": plan})) == f"{price}, {rhythm}, JP¥5"
