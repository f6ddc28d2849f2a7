"""What became of payments that failed: paid after all, lost, or tried again still. Each is in one of the three."""

from django.db.models import Q, TextChoices

from .models import InvoiceQuerySet, Status

GIVEN_UP = Q(status__in=("void", "uncollectible")) | Q(
    subscription__status__in=(Status.CANCELED, Status.INCOMPLETE_EXPIRED, Status.UNPAID)
)


class Outcome(TextChoices):
    """What became of a payment that failed."""

    RECOVERED = "recovered"
    LOST = "lost"
    OPEN = "open", "tried again"


def with_outcome(invoices: InvoiceQuerySet, outcome: str) -> InvoiceQuerySet:
    """Those of `invoices` whose payment failed, and of which that became.

    An invoice is lost when it was voided or given up, or when its subscription ended, or was left unpaid, without it.
    """
    failed = invoices.failed()
    if outcome == Outcome.RECOVERED:
        return failed.filter(paid_at__isnull=False)
    unpaid = failed.filter(paid_at=None)
    return unpaid.filter(GIVEN_UP) if outcome == Outcome.LOST else unpaid.exclude(GIVEN_UP)
