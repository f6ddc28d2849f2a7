"""Coupons, promotion codes, and discounts: a coupon that somebody redeemed."""

from decimal import ROUND_HALF_UP, Decimal

from e2e.stripe.periods import after
from e2e.stripe.state import State
from e2e.stripe.wire import Object, Refused, missing


def redeem(state: State, entry: Object, customer: Object) -> Object:
    """A discount out of an entry of `discounts`, which names a coupon or a promotion code."""
    code = None
    if entry.get("promotion_code"):
        code = state.get("promotion_code", entry["promotion_code"], param="discounts[0][promotion_code]")
        check(state, code, customer["id"])
    coupon_id = code["promotion"]["coupon"] if code else entry.get("coupon") or ""
    coupon = state.get("coupon", coupon_id, param="discounts[0][coupon]")
    if not coupon["valid"]:
        raise Refused(f"Coupon expired: {coupon['id']}", code="coupon_expired", param="coupon")
    for redeemed in filter(None, (coupon, code)):
        redeemed["times_redeemed"] += 1
        if redeemed["times_redeemed"] == redeemed["max_redemptions"]:
            redeemed["valid" if redeemed is coupon else "active"] = False
    months = coupon["duration_in_months"]
    end = after(state.now, {"interval": "month", "interval_count": months}) if months else None
    found = state.add(
        "discount",
        "di_",
        customer=customer["id"],
        end=end,
        promotion_code=code["id"] if code else None,
        source={"type": "coupon", "coupon": coupon["id"]},
        start=state.now,
    )
    del found["created"]
    return found


def check(state: State, code: Object, customer_id: str | None) -> None:
    """Refuse a promotion code that this customer may not redeem now."""
    expired = code["expires_at"] is not None and code["expires_at"] <= state.now
    if not code["active"] or expired or not state.get("coupon", code["promotion"]["coupon"])["valid"]:
        raise Refused(
            "This promotion code is no longer active.", code="promotion_code_inactive", param="promotion_code"
        )
    if code["customer"] not in {None, customer_id}:
        raise Refused("This promotion code is for another customer.", param="promotion_code")
    if code["restrictions"]["first_time_transaction"] and state.find(
        "charge", customer=customer_id, status="succeeded"
    ):
        raise Refused("This promotion code is for a first payment only.", param="promotion_code")


def find_code(state: State, text: str) -> Object:
    """The active promotion code that a person typed; case does not matter."""
    for code in state.find("promotion_code", active=True):
        if code["code"].lower() == text.strip().lower():
            return code
    raise missing("promotion code", text.strip(), param="promotion_code")


def amount_off(coupon: Object, amount: int) -> int:
    """What a coupon takes off an amount, in minor units, rounded half up."""
    if coupon["percent_off"] is None:
        return min(int(coupon["amount_off"]), amount)
    exact = Decimal(amount) * Decimal(str(coupon["percent_off"])) / 100
    return int(exact.quantize(Decimal(1), ROUND_HALF_UP))
