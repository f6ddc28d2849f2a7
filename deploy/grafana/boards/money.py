"""Amounts as people read them: Stripe tells them in each currency's smallest unit, and what that is differs."""

from collections.abc import Callable

# docs.stripe.com/currencies. ISK and UGX have no decimals either, but Stripe's amounts of them have two.
NO_DECIMALS = "bif|clp|djf|gnf|jpy|kmf|krw|mga|pyg|rwf|vnd|vuv|xaf|xof|xpf"
THREE_DECIMALS = "bhd|jod|kwd|omr|tnd"

# Grafana's units by the name of the series, which begins with the currency; the others show their code alone.
UNITS = {
    "(?i)^usd": "currencyUSD",
    "(?i)^eur": "currencyEUR",
    "(?i)^gbp": "currencyGBP",
    "(?i)^jpy": "currencyJPY",
    "(?i)^inr": "currencyINR",
}
PLAIN = "locale"


def whole_units(amount: Callable[[str], str]) -> str:
    """An amount in euros, dollars, yen.

    Args:
        amount: gives the amount in smallest units, of the currencies that the matcher it is given selects.
    """
    two = amount(f'currency!~"(?i:{NO_DECIMALS}|{THREE_DECIMALS})"')
    none = amount(f'currency=~"(?i:{NO_DECIMALS})"')
    three = amount(f'currency=~"(?i:{THREE_DECIMALS})"')
    return f"{two} / 100 or {none} or {three} / 1000"
