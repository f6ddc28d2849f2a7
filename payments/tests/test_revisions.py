"""The order of fetches: never older over newer, and nothing fetched again without need."""

import pytest

from payments import revisions
from payments.models import Revision
from payments.revisions import Turn

pytestmark = pytest.mark.django_db


def turn(ticket: revisions.Ticket) -> Turn:
    return revisions.turns([ticket])[ticket.object_id]


def test_fetches_are_numbered_as_they_begin() -> None:
    tickets = [revisions.ask("sub_1"), revisions.ask("sub_1"), revisions.ask("sub_2")]

    assert [(ticket.number, ticket.written) for ticket in tickets] == [(1, 0), (2, 0), (1, 0)]


def test_a_fetch_that_nothing_was_written_since_is_written() -> None:
    ticket = revisions.ask("sub_1")

    assert turn(ticket) is Turn.WRITE
    revisions.write(ticket)
    assert turn(revisions.ask("sub_1")) is Turn.WRITE
    assert Revision.objects.get().written == 1


def test_a_fetch_is_left_when_one_that_began_later_is_written() -> None:
    slow, quick = revisions.ask("sub_1"), revisions.ask("sub_1")
    revisions.write(quick)

    assert turn(slow) is Turn.LEAVE


def test_a_fetch_is_made_again_when_one_that_began_earlier_was_written_meanwhile() -> None:
    first, second = revisions.ask("sub_1"), revisions.ask("sub_1")
    revisions.write(first)

    assert turn(second) is Turn.FETCH_AGAIN
    again = revisions.ask("sub_1")
    assert turn(again) is Turn.WRITE


def test_what_was_asked_for_first_is_served_by_any_fetch_that_began_since() -> None:
    first, mine, another = (revisions.ask("sub_1") for _ in range(3))
    revisions.write(first)
    assert turn(another) is Turn.FETCH_AGAIN
    again, of_another = revisions.ask("sub_1"), revisions.ask("sub_1")
    revisions.write(again)

    assert turn(mine) is Turn.LEAVE
    assert turn(of_another) is Turn.FETCH_AGAIN
    assert revisions.turns([of_another], since={"sub_1": another.number}) == {"sub_1": Turn.LEAVE}


def test_each_object_has_an_order_of_its_own() -> None:
    subscription, invoice = revisions.ask("sub_1"), revisions.ask("in_1")
    revisions.write(revisions.ask("sub_1"))

    assert revisions.turns([subscription, invoice]) == {"sub_1": Turn.LEAVE, "in_1": Turn.WRITE}
