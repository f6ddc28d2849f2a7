"""Reading Stripe's objects: ids that may be expanded, times in seconds, amounts that may be fractions of a cent."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, overload

Object = Mapping[str, Any]


def id_of(value: Any) -> str:
    """The id in a field that holds one, or the whole object; "" where it is null."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return value if isinstance(value, str) else ""


@overload
def moment(seconds: int) -> datetime: ...
@overload
def moment(seconds: int | None) -> datetime | None: ...
def moment(seconds: int | None) -> datetime | None:
    """A time of Stripe's, in seconds since 1970."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def number(text: Any) -> int:
    """The whole number that a text holds, as metadata does; 0 where it holds none."""
    return int(text) if isinstance(text, str) and re.fullmatch(r"-?[0-9]{1,18}", text) else 0


def items(value: Any) -> list[Any]:
    """What a list object holds, or a plain list; [] where it is null."""
    found = value.get("data") if isinstance(value, Mapping) else value
    return list(found or [])


def unit_amount(price: Object) -> int:
    """What one unit costs, in minor units; 0 where it depends on the quantity (tiers)."""
    if price.get("unit_amount") is not None:
        return int(price["unit_amount"])
    return int(Decimal(price.get("unit_amount_decimal") or 0).to_integral_value(ROUND_HALF_EVEN))
