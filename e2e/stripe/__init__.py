"""A stand-in for Stripe: its API, Checkout, portal and webhooks, with a clock that can be moved.

`python -m e2e.stripe --help` serves it; `Stripe` is the same without a network; `e2e.stripe.standin` starts it for
tests. It needs the standard library alone.
"""

from e2e.stripe.engine import Plans, Stripe
from e2e.stripe.wire import Refused

__all__ = ["Plans", "Refused", "Stripe"]
