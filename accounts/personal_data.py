"""What each room knows about a person: where it is exported from, and how it is erased.

A room that keeps personal data registers both in its `AppConfig.ready`:

    personal_data.register("payments", export=payments_of, erase=anonymise_payments)

`export(user)` returns what goes into the JSON file; `erase(user)` deletes or anonymises, before the user's row goes.
What has to be done elsewhere, and may fail, runs with no transaction open: `requested(user)` when the deletion is asked
for, and every day until it is carried out; `kept(user)` when the wish is taken back; `prepare(user)` before erasing.
Who takes money from people says in `charged(users)` from which of them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from .models import User


@dataclass(frozen=True, slots=True)
class Keeper:
    """Something that keeps personal data, under the name by which it stands in the export."""

    name: str
    export: Callable[[User], Any]
    erase: Callable[[User], None]
    prepare: Callable[[User], None] | None = None
    requested: Callable[[User], None] | None = None
    kept: Callable[[User], None] | None = None
    charged: Callable[[Iterable[User]], set[int]] | None = None


KEEPERS: dict[str, Keeper] = {}


def register(
    name: str,
    *,
    export: Callable[[User], Any],
    erase: Callable[[User], None],
    prepare: Callable[[User], None] | None = None,
    requested: Callable[[User], None] | None = None,
    kept: Callable[[User], None] | None = None,
    charged: Callable[[Iterable[User]], set[int]] | None = None,
) -> None:
    """Have `name` exported and erased with every account.

    Raises:
        ValueError: where the name is taken.
    """
    if name in KEEPERS:
        raise ValueError(f"{name} is registered twice.")
    KEEPERS[name] = Keeper(name, export, erase, prepare, requested, kept, charged)


def export(user: User, *, at: datetime | None = None) -> dict[str, Any]:
    """Everything that is kept about a user, for a JSON file."""
    exported_at = (at or timezone.now()).isoformat()
    return {"exported_at": exported_at, **{keeper.name: keeper.export(user) for keeper in KEEPERS.values()}}


def requested(user: User) -> None:
    """Have every keeper do what an account's being about to be deleted asks for; it may be done again."""
    for keeper in KEEPERS.values():
        if keeper.requested is not None:
            keeper.requested(user)


def kept(user: User) -> None:
    """Have every keeper take back what it did when the deletion was asked for."""
    for keeper in KEEPERS.values():
        if keeper.kept is not None:
            keeper.kept(user)


def charged(users: Iterable[User]) -> set[int]:
    """The numbers of those who are charged for something again and again."""
    return {pk for keeper in KEEPERS.values() if keeper.charged is not None for pk in keeper.charged(users)}


def prepare(user: User) -> None:
    """Have every keeper do what comes before erasing; what one raises keeps the account whole."""
    for keeper in KEEPERS.values():
        if keeper.prepare is not None:
            keeper.prepare(user)


def erase(user: User) -> None:
    """Have every keeper erase, the account's own last."""
    for keeper in reversed(KEEPERS.values()):
        keeper.erase(user)
