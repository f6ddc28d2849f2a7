"""Never older over newer: in what order Stripe's objects were fetched, however many processes fetch them at once.

Each fetch takes a number before it begins (`ask`), and is written in a transaction that holds the object's row here:

- a fetch with a higher number was written: it began after this one was asked for, so it saw whatever this one is made
  for. Leave it.
- nothing was written since the number was taken: what was fetched is newer than what stands. Write it.
- one with a lower number was written meanwhile: nobody knows which is newer. Fetch again, with a new number; what was
  asked for first still counts in the first case, so that of many at once few have to fetch more than twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from django.db import connection

from .models import Revision

ASK = """
INSERT INTO payments_revision (object_id, asked, written) VALUES (%s, 1, 0)
ON CONFLICT (object_id) DO UPDATE SET asked = payments_revision.asked + 1 RETURNING asked, written
"""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A fetch that is about to begin: its number, and that of the one written last."""

    object_id: str
    number: int
    written: int


class Turn(Enum):
    """What is to be done with what was fetched."""

    WRITE = auto()
    LEAVE = auto()
    FETCH_AGAIN = auto()


def ask(object_id: str) -> Ticket:
    """Number the fetch that begins next."""
    with connection.cursor() as cursor:
        cursor.execute(ASK, [object_id])
        number, written = cursor.fetchone()
    return Ticket(object_id, number, written)


def turns(tickets: Iterable[Ticket], *, since: Mapping[str, int] | None = None) -> dict[str, Turn]:
    """What is to be done with each, inside the transaction that does it; their rows stay locked until it ends.

    Args:
        since: by object, the number of its first fetch, where this is not the first.
    """
    by_id = {ticket.object_id: ticket for ticket in tickets}
    first = {object_id: ticket.number for object_id, ticket in by_id.items()} | dict(since or {})
    rows = Revision.objects.select_for_update().filter(object_id__in=by_id).order_by("object_id")
    return {row.object_id: _turn(by_id[row.object_id], first[row.object_id], row.written) for row in rows}


def _turn(ticket: Ticket, first: int, written: int) -> Turn:
    if written > first:
        return Turn.LEAVE
    return Turn.WRITE if written == ticket.written else Turn.FETCH_AGAIN


def write(ticket: Ticket) -> None:
    """Note that what was fetched under this number is written."""
    Revision.objects.filter(object_id=ticket.object_id).update(written=ticket.number)
