"""A customer's life at Stripe, told in any order, any number of times, with failures in between: what stands here in
the end is what stands for a twin of theirs who was told everything at once and in order, and what a model says."""

import json
from collections import Counter
from random import Random
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts import membership
from accounts.models import User
from bambisleep.tests.client import AsgiClient
from bambisleep.tests.environment import LONG
from e2e.stripe.wire import Object
from payments import processing
from payments.metrics import HANDLED
from payments.models import Subscription, WebhookEvent
from payments.tests.rows import balance
from payments.tests.shop import URL, Here, post
from payments.tests.twins import Twin, differences

pytestmark = pytest.mark.django_db

FAULTS = ("error_500", "down", "nonsense", "rate_limited", "lost")
PRICES = st.sampled_from(["monthly", "yearly", "yen", "dinar"])
TRIALS = st.sampled_from([0, 0, 7])
CARDS = st.sampled_from(["good", "good", "good", "declined_later"])
seeds = st.integers(0, 2**16)


class Life(RuleBasedStateMachine):
    """What may happen, to both; and how one of them is told of it."""

    stripe: Here
    asgi: AsgiClient

    def __init__(self) -> None:
        super().__init__()
        self._rolled_back = transaction.atomic()
        self._rolled_back.__enter__()
        engine = self.stripe.engine
        engine.reset()
        self.plans = engine.plans()
        processing.synchronise("product", self.plans.product)
        users = [User.objects.create_user(name, f"{name}@example.org") for name in ("orderly", "chaotic")]
        self.orderly, self.chaotic = (Twin(engine, user) for user in users)
        self._seen = len(engine.events())
        self.delivered: set[str] = set()

    @initialize(price=PRICES, trial_days=TRIALS, card=CARDS)
    def begin(self, price: str, trial_days: int, card: str) -> None:
        self._to_both(Twin.begin)
        self.buy(price, trial_days, card)

    @precondition(lambda self: not self.orderly.standing())
    @rule(price=PRICES, trial_days=TRIALS, card=CARDS)
    def buy(self, price: str, trial_days: int, card: str) -> None:
        self._to_both(Twin.buy, getattr(self.plans, price), trial_days=trial_days, card=card)

    @precondition(lambda self: not self.orderly.standing())
    @rule()
    def begin_unpaid(self) -> None:
        self._to_both(Twin.begin_unpaid, self.plans.monthly)

    @rule(days=st.sampled_from([1, 4, 8, 31, 31]))
    def time_passes(self, days: int) -> None:
        self.stripe.engine.advance(days=days)
        self._sort_news()

    @rule(behaviour=st.sampled_from(["good", "declined", "insufficient_funds", "expired_card"]))
    def the_card_changes(self, behaviour: str) -> None:
        for twin in (self.orderly, self.chaotic):
            self.stripe.engine.card(twin.customer_id, behaviour)

    @precondition(lambda self: self.orderly.standing())
    @rule(price=st.sampled_from(["monthly", "yearly"]))
    def the_plan_changes(self, price: str) -> None:
        self._to_both(Twin.change_plan, getattr(self.plans, price))

    @precondition(lambda self: self.orderly.standing())
    @rule(ends=st.booleans())
    def it_is_to_end_or_not(self, ends: bool) -> None:
        self._to_both(Twin.update, cancel_at_period_end=ends)

    @precondition(lambda self: self.orderly.standing())
    @rule()
    def it_is_cancelled(self) -> None:
        self._to_both(Twin.cancel)

    @precondition(lambda self: any(one["status"] == "open" for one in self.orderly.own("invoice")))
    @rule()
    def it_is_paid_by_hand(self) -> None:
        self._to_both(Twin.pay_by_hand)

    @precondition(lambda self: self.orderly.own("charge"))
    @rule(number=seeds, amount=st.sampled_from([1, 250, 900]))
    def money_is_given_back(self, number: int, amount: int) -> None:
        self._to_both(Twin.refund, number, amount)

    @precondition(lambda self: self.orderly.own("refund"))
    @rule(number=seeds)
    def a_refund_comes_back(self, number: int) -> None:
        self._to_both(Twin.fail_refund, number)

    @precondition(lambda self: self.orderly.own("charge"))
    @rule(number=seeds)
    def a_payment_is_disputed(self, number: int) -> None:
        self._to_both(Twin.dispute, number)

    @precondition(lambda self: self.orderly.own("dispute"))
    @rule(won=st.booleans())
    def the_bank_decides(self, won: bool) -> None:
        self._to_both(Twin.close_disputes, won=won)

    @rule(seed=seeds)
    def the_chaotic_one_is_told_something(self, seed: int) -> None:
        self._tell_some(Random(seed), fault=None)

    @rule(seed=seeds, fault=st.sampled_from(FAULTS))
    def the_chaotic_one_is_told_something_while_stripe_fails(self, seed: int, fault: str) -> None:
        self._tell_some(Random(seed), fault=fault)

    @rule(seed=seeds)
    def somebody_forges_an_event(self, seed: int) -> None:
        """One that tells of an active subscription, signed by somebody else or not at all."""
        chance = Random(seed)
        for one in self.chaotic.own("subscription")[-1:]:
            told = {**one, "status": "active"}
            event = {"id": f"evt_forged{seed}", "object": "event", "type": "customer.subscription.updated"}
            event |= {"created": one["created"], "livemode": False, "data": {"object": told}}
            if chance.random() < 0.5:
                assert post(self.asgi, event, secret="whsec_of_a_stranger").status == 400
            else:
                assert self.asgi.post(URL, body=json.dumps(event).encode()).status == 400
            assert not WebhookEvent.objects.filter(event_id=event["id"]).exists()

    @invariant()
    def the_orderly_one_is_right_at_once(self) -> None:
        if self.orderly.customer_id:
            self._is_right(self.orderly)

    @invariant()
    def nobody_is_let_in_who_never_paid_nor_tried(self) -> None:
        for twin in (self.orderly, self.chaotic):
            if twin.customer_id and membership.may_see_members_content(twin.user):
                assert twin.was_ever_good()

    def teardown(self) -> None:
        try:
            if self.chaotic.customer_id:
                self._tell_the_rest()
                self._is_right(self.chaotic)
                assert differences(self.orderly.rows(), self.chaotic.rows()) == []
                assert not WebhookEvent.objects.waiting().exists()
        finally:
            transaction.set_rollback(True)
            self._rolled_back.__exit__(None, None, None)

    def _tell_some(self, chance: Random, *, fault: str | None) -> None:
        """Some events, in any order, some again; Stripe's API may fail at any call of theirs."""
        events = self.chaotic.events
        for event in chance.choices(events, k=min(len(events), 6)) if events else []:
            if fault:
                self.stripe.misbehave(fault, paths=chance.choice([".*", "/v1/(charges|invoices|refunds)", "/v1/pr"]))
            answer = post(self.asgi, event)
            self.stripe.misbehave(None)
            assert answer.status == 200 or (fault and answer.status == 503), answer.body
            if answer.status == 200:
                self.delivered.add(event["id"])

    def _tell_the_rest(self) -> None:
        """As Stripe does, until each event was taken once; backwards, which is the worst of orders."""
        for event in reversed(self.chaotic.events):
            if event["id"] not in self.delivered:
                assert post(self.asgi, event).status == 200

    def _is_right(self, twin: Twin) -> None:
        assert twin.stored_movements() == twin.movements()
        stored: Counter[str] = Counter()
        for (_, amount, currency), number in twin.stored_movements().items():
            stored[currency] += amount * number
        assert dict(stored) == twin.balance()
        stored_statuses = dict(
            Subscription.objects.filter(customer__customer_id=twin.customer_id).values_list("subscription_id", "status")
        )
        assert stored_statuses == {one["id"]: one["status"] for one in twin.own("subscription")}
        assert membership.may_see_members_content(twin.user) == twin.may_see()

    def _to_both(self, act: Any, *given: Any, **named: Any) -> None:
        for twin in (self.orderly, self.chaotic):
            act(twin, *given, **named)
            self._sort_news()

    def _sort_news(self) -> None:
        """Tell the orderly one at once; keep the chaotic one's events."""
        events = self.stripe.engine.events()
        news, self._seen = events[self._seen :], len(events)
        for event in news:
            if event["type"] not in HANDLED:
                continue
            if self._belongs_to(self.chaotic, event):
                self.chaotic.events.append(event)
            else:
                assert post(self.asgi, event).status == 200

    def _belongs_to(self, twin: Twin, event: Object) -> bool:
        about = event["data"]["object"]
        if about["object"] in {"refund", "dispute"}:
            about = self.stripe.engine.state.get("charge", about["charge"])
        return twin.customer_id in (about["id"], about.get("customer")) if twin.customer_id else False


def test_whatever_happens_and_however_it_is_told_the_rows_are_right(stripe_standin: Here, asgi: AsgiClient) -> None:
    Life.stripe, Life.asgi = stripe_standin, asgi
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Life,
        settings=settings(
            max_examples=10 if LONG else 3,
            stateful_step_count=30,
            deadline=None,
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
    assert balance("eur") == 0
