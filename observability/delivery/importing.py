"""Importing deployments from JSON Lines or CSV: each line wholly or not at all, and told again unchanged."""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from django.db import DataError, IntegrityError, transaction

from ..problems import Problem
from . import deployments
from .entries import DeploymentEntry

Format = Literal["jsonl", "csv"]
LONGEST_CELL = 16 * 1024 * 1024  # characters; the commits of a deployment are one cell
COLUMNS = tuple(DeploymentEntry().fields)


class UnknownColumns(Exception):
    """The header of a CSV file names what no deployment has; the message says which."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the file: the fields it tells, or the reason why it cannot be read."""

    number: int
    fields: dict[str, Any]
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a line: "created", "updated", "unchanged" or "rejected", and then why."""

    number: int
    outcome: str
    reason: str = ""


def read(lines: Iterable[str], format: Format) -> Iterator[Line]:
    """The lines of a file that are not blank, numbered from 1 as an editor does.

    Raises:
        UnknownColumns: for CSV.
    """
    return _read_csv(lines) if format == "csv" else _read_jsonl(lines)


def record(lines: Iterable[Line], *, service: str, environment: str, dry_run: bool = False) -> Iterator[Imported]:
    """Record each line in a transaction of its own.

    Args:
        service, environment: of the lines that name none.
        dry_run: take each back right after.
    """
    for line in lines:
        if line.unreadable:
            yield Imported(line.number, "rejected", line.unreadable)
            continue
        entry = DeploymentEntry(data={"service": service, "environment": environment, **line.fields})
        if not entry.is_valid():
            yield Imported(line.number, "rejected", "; ".join(_reasons(entry.errors)))
            continue
        try:
            with transaction.atomic():
                outcome = deployments.record(**entry.told()).outcome
                transaction.set_rollback(dry_run)
        except Problem as problem:
            yield Imported(line.number, "rejected", "; ".join(_reasons(problem.errors or {})) or problem.detail)
        except (DataError, IntegrityError) as error:
            yield Imported(line.number, "rejected", str(error).strip().splitlines()[0])
        else:
            yield Imported(line.number, outcome)


def _read_jsonl(lines: Iterable[str]) -> Iterator[Line]:
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            text.encode()
            fields = json.loads(text)
        except UnicodeEncodeError:
            yield Line(number, {}, "is not UTF-8")
        except (ValueError, RecursionError) as error:
            yield Line(number, {}, f"is not JSON ({error})")
        else:
            yield Line(number, fields) if isinstance(fields, dict) else Line(number, {}, "is not a JSON object")


def _read_csv(lines: Iterable[str]) -> Iterator[Line]:
    csv.field_size_limit(LONGEST_CELL)
    rows = csv.reader(lines)
    header = [name.strip() for name in next(rows, [])]
    unknown = sorted(set(header) - set(COLUMNS))
    if unknown or len(set(header)) < len(header):
        raise UnknownColumns(
            f"The header names {', '.join(unknown) or 'a column twice'}; the columns are {', '.join(COLUMNS)}."
        )
    while True:
        number = rows.line_num + 1
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Line(number, {}, f"is not CSV ({error})")
            continue
        if any(cells):
            yield _from_cells(number, header, cells)


def _from_cells(number: int, header: list[str], cells: list[str]) -> Line:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return Line(number, {}, "is not UTF-8")
    if len(cells) != len(header):
        return Line(number, {}, f"has {len(cells)} cells, where the header has {len(header)}")
    fields: dict[str, Any] = {name: cell for name, cell in zip(header, cells, strict=True) if cell.strip()}
    if "commits" in fields:
        pairs = [re.split(r"\s+", pair.strip(), maxsplit=1) for pair in fields["commits"].split(";") if pair.strip()]
        if any(len(pair) != 2 for pair in pairs):
            return Line(number, {}, "commits: are told as `sha authored_at;sha authored_at`")
        fields["commits"] = [{"sha": sha, "authored_at": authored_at} for sha, authored_at in pairs]
    return Line(number, fields)


def _reasons(errors: Any, path: str = "") -> Iterator[str]:
    """Every sentence of nested errors, led by where it belongs; the first five will do for one line."""
    for number, (where, sentence) in enumerate(_flat(errors, path)):
        if number == 5:
            yield "and more"
            return
        yield f"{where}: {sentence}" if where else sentence


def _flat(errors: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(errors, dict):
        for name, inner in errors.items():
            yield from _flat(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(errors, list):
        for index, inner in enumerate(errors):
            yield from _flat(inner, f"{path}[{index}]" if isinstance(inner, dict) else path)
    else:
        yield path, str(errors)
