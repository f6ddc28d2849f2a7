"""The payments of the story, at a stand-in for Stripe: members subscribe and pay in four currencies, money goes back,
cards fail when it is time to renew, and for a while Stripe's API fails, so that events, though signed as they should
be, cannot be processed."""

from dataclasses import dataclass, field

import stripe

from e2e.stripe.standin import KEY, SECRET, Handle

CURRENCIES = ("eur", "jpy", "kwd", "usd")
# Of those who pay monthly in euros: what becomes of their cards. More than a tenth, and three or more.
CARDS = ("declined", "declined", "insufficient_funds", "insufficient_funds", "expired_card", "good", "good", "good")


@dataclass(slots=True)
class Shop:
    """What is sold there, and to whom."""

    stripe: Handle
    monthly: list[str] = field(default_factory=list)  # customers who pay monthly in euros

    @property
    def settings(self) -> dict[str, str]:
        """What the site is told of it."""
        return {"STRIPE_SECRET_KEY": KEY, "STRIPE_API_BASE": self.stripe.url, "STRIPE_WEBHOOK_SECRETS": SECRET}

    @property
    def api(self) -> stripe.StripeClient:
        """Stripe's own client."""
        return self.stripe.api()

    def open(self, site_url: str) -> None:
        """Prices for members, whose events reach the site."""
        self.stripe.send_events_to(f"{site_url}/stripe/webhook/")
        product = self.stripe.plans().product
        self.api.v1.prices.create(
            {"product": product, "currency": "usd", "unit_amount": 1000, "recurring": {"interval": "month"}}
        )
        self.stripe.wait()

    def trade(self) -> None:
        """Subscriptions by every plan and in most states; refunds and disputes, told twice, as Stripe may."""
        self.stripe.deliver(workers=4)
        prices = {(price.currency, price.recurring.interval): price.id for price in self.api.v1.prices.list().data}
        self.monthly = [self.subscribe(prices["eur", "month"]) for _ in CARDS]
        others = [(currency, "month") for currency in CURRENCIES if currency != "eur"]
        paid = [self.subscribe(prices[each]) for each in [*others, *others, ("eur", "year")]]
        self.subscribe(prices["eur", "month"], trial_days=90)
        self.subscribe(prices["eur", "month"], card="pm_card_chargeCustomerFail")  # incomplete
        leaving = self.subscribe(prices["eur", "month"])
        self.api.v1.subscriptions.cancel(self.api.v1.subscriptions.list({"customer": leaving}).data[0].id)
        self.stripe.deliver(repeat=2)
        self.api.v1.refunds.create({"charge": self.charge_of(leaving), "amount": 450})
        self.api.v1.refunds.create({"charge": self.charge_of(paid[0])})
        self.stripe.dispute(self.charge_of(paid[1]))
        self.stripe.wait(seconds=60)
        self.stripe.deliver(repeat=1)
        refused = [delivery for delivery in self.stripe.deliveries() if delivery["state"] != "delivered"]
        assert refused == []

    def subscribe(self, price: str, *, card: str = "pm_card_visa", trial_days: int = 0) -> str:
        """One more member; the customer's id."""
        customer = self.api.v1.customers.create({"email": "member@example.org"}).id
        self.api.v1.customers.update(customer, {"invoice_settings": {"default_payment_method": card}})
        asked: stripe.params.SubscriptionCreateParams = {"customer": customer, "items": [{"price": price}]}
        if trial_days:
            asked["trial_period_days"] = trial_days
        self.api.v1.subscriptions.create(asked)
        return customer

    def charge_of(self, customer: str) -> str:
        """The last charge of a customer."""
        return self.api.v1.charges.list({"customer": customer}).data[0].id

    def let_cards_fail(self) -> None:
        """A month later."""
        for customer, behaviour in zip(self.monthly, CARDS, strict=True):
            self.stripe.card(customer, behaviour)
        self.stripe.advance(days=32)
        self.stripe.wait(seconds=60)

    def let_events_fail(self) -> None:
        """Members change their names, and the API answers the site 500 when it is told of it."""
        self.stripe.hold()
        for number, customer in enumerate(self.monthly):
            self.api.v1.customers.update(customer, {"name": f"Member {number}"})
        self.stripe.misbehave("error_500")
        self.stripe.release()
        self.stripe.wait(seconds=60)

    def mend(self) -> None:
        """Stripe is well again, and so are the cards; what was not taken comes again."""
        self.stripe.misbehave(None)
        for customer in self.monthly:
            self.stripe.card(customer, "good")
        self.stripe.advance(days=4)
        self.stripe.redeliver()
        self.stripe.wait(seconds=60)
