"""Finding items by their words: what is asked, in which index, and what is shown of what was found.

Who may not see members' content searches an index in which nothing of it is (`SearchEntry`). The databases' own full
text does the work, PostgreSQL's or SQLite's FTS5, in English; the question is taken apart here, the same for both.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.utils import timezone
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from accounts import membership

from . import markdown, search_sql
from .models import Item, SearchEntry
from .questions import Term, cleaned, terms

# Of an item's text; PostgreSQL takes no index entry above 1 MiB.
MOST_INDEXED = 200_000
BEGIN, END = "\x02", "\x03"  # around what was found; no text that is indexed holds them
# PostgreSQL makes one word of an address, a path or a number with a point, and none of a tag. So that words are told
# apart by any sign, as in a question, texts are indexed with others in the place of these, which no text holds.
TOLD_APART = str.maketrans("<&/@.:-_~+", "\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17")
TOGETHER = {other: sign for sign, other in TOLD_APART.items()}
WHOLE = f'StartSel="{BEGIN}", StopSel="{END}", HighlightAll=true'
EXCERPT = f'StartSel="{BEGIN}", StopSel="{END}", MaxFragments=2, MaxWords=32, ShortWord=0, FragmentDelimiter=" … "'


@dataclass(frozen=True, slots=True)
class Hit:
    """An item that was found, with what was looked for marked in it, as HTML."""

    item: Item
    title: SafeString
    excerpt: SafeString


@dataclass(frozen=True, slots=True)
class Found:
    """What a question finds, page by page: for Django's Paginator."""

    terms: Sequence[Term]
    everything: bool  # members' texts too

    def count(self) -> int:
        """How many items it finds."""
        if not self.terms:
            return 0
        if connection.vendor == "postgresql":
            statement = search_sql.POSTGRESQL_MEMBERS_COUNT if self.everything else search_sql.POSTGRESQL_EVERYONE_COUNT
        else:
            statement = search_sql.SQLITE_MEMBERS_COUNT if self.everything else search_sql.SQLITE_EVERYONE_COUNT
        number: int = _rows(statement, [_written(self.terms), _now()])[0][0]
        return number

    def __len__(self) -> int:
        return self.count()

    def __getitem__(self, part: slice) -> list[Hit]:
        if not self.terms:
            return []
        first = part.start or 0
        where = [_written(self.terms), _now(), part.stop - first, first]
        if connection.vendor == "postgresql":
            statement = search_sql.POSTGRESQL_MEMBERS if self.everything else search_sql.POSTGRESQL_EVERYONE
            rows = _rows(statement, [WHOLE, WHOLE, EXCERPT, *where])
        else:
            statement = search_sql.SQLITE_MEMBERS if self.everything else search_sql.SQLITE_EVERYONE
            rows = _rows(statement, [BEGIN, END] * (4 if self.everything else 3) + where)
        items = Item.objects.for_lists().defer("body", "transcript").in_bulk([row[0] for row in rows])
        return [_hit(items[pk], *texts) for pk, *texts in rows if pk in items]


def find(question: str, user: Any) -> Found:
    """What `user`, who may be anonymous, finds: all words, "words in a row", and none of the -excluded.

    Drafts and what is scheduled are never among it. Of members' items, title, summary and tags are searched for
    everybody; the text, for who may see it.
    """
    return Found(terms(question), membership.may_see_members_content(user))


def index(item: Item) -> None:
    """Bring the item's entry up to date; called after each change of it (`content.indexing`)."""
    body = _indexed(f"{markdown.plain(item.body)}\n{markdown.plain(item.transcript)}")
    SearchEntry(
        item=item,
        title=_indexed(item.title),
        summary=_indexed(item.summary),
        tags=_indexed(", ".join(item.tags.values_list("name", flat=True))),
        body=body if item.is_public else "",
        members_body="" if item.is_public else body,
    ).save()


def index_all(items: Iterable[Item] | None = None) -> int:
    """Bring the entries of items up to date, by default of all.

    Returns:
        How many they were.
    """
    number = 0
    for number, item in enumerate(Item.objects.iterator() if items is None else items, start=1):  # noqa: B007
        index(item)
    return number


def _written(terms: Sequence[Term]) -> str:
    """The question in the database's own language. The words hold letters and digits alone."""
    if connection.vendor == "postgresql":
        return " ".join(f'{"-" if term.excluded else ""}"{term.words}"' for term in terms)
    wanted = " AND ".join(f'"{term.words}"' for term in terms if not term.excluded)
    unwanted = "".join(f' NOT "{term.words}"' for term in terms if term.excluded)
    return f"({wanted}){unwanted}"


def _rows(statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def _now() -> Any:
    return connection.ops.adapt_datetimefield_value(timezone.now())


def _hit(item: Item, title: str, summary: str, excerpt: str) -> Hit:
    return Hit(item, _marked(title), _marked(excerpt if BEGIN in excerpt else summary))


def _marked(text: str) -> SafeString:
    safe = escape(text.translate(TOGETHER).strip()).replace(BEGIN, "<mark>").replace(END, "</mark>")
    return mark_safe(safe)  # noqa: S308 - escaped


def _indexed(text: str) -> str:
    return cleaned(text)[:MOST_INDEXED].translate(TOLD_APART)
