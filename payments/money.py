"""Amounts of money: how many decimals a currency has at Stripe, and an amount as people read it.

Amounts are integers in the currency's minor unit everywhere else; nothing here is a float, and nothing else in this
project knows about decimals.
"""

from decimal import Decimal
from typing import Protocol

from babel.numbers import format_currency, get_currency_symbol

LOCALE = "en_GB"  # the language of the pages
# docs.stripe.com/currencies. Stripe's own list, which is not quite ISO 4217's: the ariary has none here.
ZERO_DECIMALS = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf")
)
THREE_DECIMALS = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
# Two decimals in Stripe's amounts, though the currency has none any more: they are always zero.
WRITTEN_WHOLE = frozenset({"isk", "ugx"})


class Recurring(Protocol):
    """What is paid again and again: a plan, or a subscription to one."""

    interval: str
    interval_count: int
    amount_minor: int
    currency: str


def decimals(currency: str) -> int:
    """How many digits of an amount in minor units stand behind the point; `currency` in any case."""
    code = currency.lower()
    return 0 if code in ZERO_DECIMALS else 3 if code in THREE_DECIMALS else 2


def amount(minor: int, currency: str) -> Decimal:
    """The amount in the currency itself: 900 eur are 9.00, 900 jpy are 900."""
    return Decimal(minor).scaleb(-decimals(currency))


def text(minor: int, currency: str) -> str:
    """The amount as it is written for people, such as "€9.00", "JP¥900" or "KWD 9.000"; nothing is rounded away."""
    code = currency.upper()
    places = decimals(currency)
    if currency.lower() in WRITTEN_WHOLE and minor % 10**places == 0:
        minor, places = minor // 10**places, 0
    apart = "\N{NO-BREAK SPACE}" if get_currency_symbol(code, LOCALE).isalpha() else ""
    pattern = f"¤{apart}#,##0" + ("." + "0" * places if places else "")
    return format_currency(Decimal(minor).scaleb(-places), code, pattern, locale=LOCALE, currency_digits=False)


def every(of: Recurring) -> str:
    """The time between two payments: "month", "3 months"."""
    return of.interval if of.interval_count == 1 else f"{of.interval_count} {of.interval}s"


def price(of: Recurring) -> str:
    """What it costs and how often, such as "€9.00 a month" or "€24.00 every 3 months"."""
    often = f"a {of.interval}" if of.interval_count == 1 else f"every {every(of)}"
    return f"{text(of.amount_minor, of.currency)} {often}"


def rhythm(of: Recurring) -> str:
    """How often it is paid: "monthly", "every 3 months"."""
    once = {"day": "daily", "week": "weekly", "month": "monthly", "year": "yearly"}
    return once[of.interval] if of.interval_count == 1 else f"every {every(of)}"
