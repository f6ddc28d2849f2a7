"""What a check found, which of it is accepted and why, and the table at the end.

Everything above informational must be mended, or stand in accepted.toml with a reason. An entry of one check that
nothing matches any more is a finding itself, so that the list stays as short as the truth.
"""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

ACCEPTED = Path(__file__).with_name("accepted.toml")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found. `where`: a file with its line, or an address."""

    check: str
    rule: str
    where: str
    text: str
    informational: bool = False

    def __str__(self) -> str:
        return f"{self.check} {self.rule} {self.where}: {self.text}"


@dataclass(frozen=True, slots=True)
class Accepted:
    """Findings that may stay. All but the reason are patterns of fnmatch."""

    check: str
    rule: str
    where: str
    reason: str

    def covers(self, finding: Finding) -> bool:
        """Whether it is about this one."""
        return (
            fnmatchcase(finding.check, self.check)
            and fnmatchcase(finding.rule, self.rule)
            and fnmatchcase(finding.where, self.where)
        )


@dataclass(slots=True)
class Outcome:
    """What came of one check. `not_run`: why it could not be done at all, or not wholly; empty where it was."""

    check: str
    looked_at: str = ""
    findings: list[Finding] = field(default_factory=list)
    not_run: str = ""
    may_be_away: bool = False  # what `not_run` tells of is no fault of this site's


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the table."""

    check: str
    word: str
    passes: bool
    open: tuple[Finding, ...]
    accepted: int
    informational: int
    remark: str


def accepted_findings(path: Path = ACCEPTED) -> list[Accepted]:
    """The committed list.

    Raises:
        ValueError: where an entry lacks its reason, or has a key that means nothing.
    """
    entries = []
    for number, entry in enumerate(tomllib.loads(path.read_text()).get("accepted", []), 1):
        if set(entry) != {"check", "rule", "where", "reason"} or len(entry["reason"]) < 20:
            raise ValueError(f"{path.name}, entry {number}: give it check, rule, where, and a reason of a sentence.")
        entries.append(Accepted(**entry))
    return entries


def verdict(outcome: Outcome, accepted: Iterable[Accepted]) -> Verdict:
    """Judge one check by what is accepted."""
    ours = [entry for entry in accepted if fnmatchcase(outcome.check, entry.check)]
    informational = [finding for finding in outcome.findings if finding.informational]
    weighty = [finding for finding in outcome.findings if not finding.informational]
    open_ = [finding for finding in weighty if not any(entry.covers(finding) for entry in ours)]
    stale = []
    if not outcome.not_run:
        own = [entry for entry in ours if entry.check == outcome.check]
        stale = [entry for entry in own if not any(entry.covers(finding) for finding in outcome.findings)]
        text = "accepted.toml accepts what is not found any more: take the entry out."
        open_ += [Finding(outcome.check, entry.rule, entry.where, text) for entry in stale]
    passes = not open_ and (not outcome.not_run or outcome.may_be_away)
    word = "FAILED" if not passes else ("NOT RUN" if outcome.not_run else "ok")
    return Verdict(
        outcome.check,
        word,
        passes,
        tuple(open_),
        len(weighty) - len(open_) + len(stale),
        len(informational),
        outcome.not_run or outcome.looked_at,
    )


def table(verdicts: Sequence[Verdict]) -> str:
    """One line for each check."""
    lines = [f"{'check':22} {'result':8} {'open':>5} {'accepted':>9} {'informational':>14}  remark"]
    lines += [
        f"{each.check:22} {each.word:8} {len(each.open):5} {each.accepted:9} {each.informational:14}  {each.remark}"
        for each in verdicts
    ]
    return "\n".join(lines)
