"""Revenue as the ledger has it, by currency, month and plan, in minor units."""

from collections import defaultdict
from dataclasses import dataclass

from django.conf import settings
from django.db.models import Case, Count, OuterRef, Q, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce

from . import months
from .models import Movement, Plan
from .months import Month

NO_PLAN = "No plan"
KINDS = {
    "gross": (Movement.Kind.CHARGE,),
    "refunds": (Movement.Kind.REFUND, Movement.Kind.REFUND_FAILED),
    "disputes": (Movement.Kind.DISPUTE, Movement.Kind.DISPUTE_WON),
}


@dataclass(frozen=True, slots=True)
class Money:
    """What was settled. Refunds and disputes are negative, as in the ledger; those that Stripe took back count."""

    gross: int = 0
    refunds: int = 0
    disputes: int = 0

    @property
    def net(self) -> int:
        """What is left."""
        return self.gross + self.refunds + self.disputes

    def __add__(self, other: "Money") -> "Money":
        return Money(self.gross + other.gross, self.refunds + other.refunds, self.disputes + other.disputes)


@dataclass(frozen=True, slots=True)
class Sums:
    """Movements of one currency, added up."""

    currency: str
    money: Money
    movements: int


# By currency, index of the month, and the plan's name.
Revenue = dict[str, dict[int, dict[str, Money]]]


def by_month(over: list[Month], *, plan: str = "") -> Revenue:
    """The revenue of these months, of this mode; only currencies, months and plans in which money moved.

    Args:
        plan: the name of one (`plan_names`), to leave the others out.
    """
    names = plan_names()
    moved = (
        with_price(Movement.objects.filter(livemode=settings.STRIPE_LIVE_MODE))
        .filter(occurred_at__gte=over[0].start, occurred_at__lt=over[-1].end)
        .order_by()
        .annotate(month=months.index_of("occurred_at", over))
        .values_list("currency", "month", "paid_for")
        .annotate(**_sums())
    )
    found: Revenue = defaultdict(lambda: defaultdict(dict))
    for currency, month, price_id, *amounts in moved:
        name = names.get(price_id, NO_PLAN)
        if not plan or plan == name:
            plans = found[currency][month]
            plans[name] = plans.get(name, Money()) + Money(*amounts)
    return found


def with_price(movements: QuerySet[Movement]) -> QuerySet[Movement]:
    """Each with `paid_for`: its price, for a refund or a dispute that of its charge."""
    charge = Movement.objects.filter(kind=Movement.Kind.CHARGE, stripe_id=OuterRef("charge_id")).order_by()
    of_charge = Coalesce(Subquery(charge.values("price_id")), Value(""))
    return movements.annotate(paid_for=Case(When(kind=Movement.Kind.CHARGE, then="price_id"), default=of_charge))


def sums(movements: QuerySet[Movement]) -> list[Sums]:
    """By currency."""
    rows = movements.order_by("currency").values_list("currency").annotate(**_sums(), number=Count("pk"))
    return [Sums(currency, Money(*amounts), number) for currency, *amounts, number in rows]


def plan_names() -> dict[str, str]:
    """By price: the plan as people call it. Prices of one name, such as a former and a present one, are one plan."""
    return {plan.price_id: str(plan) for plan in Plan.objects.filter(livemode=settings.STRIPE_LIVE_MODE)}


def _sums() -> dict[str, Sum]:
    return {name: Sum("amount_minor", filter=Q(kind__in=kinds), default=0) for name, kinds in KINDS.items()}
