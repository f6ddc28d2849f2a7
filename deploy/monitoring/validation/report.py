"""What a person reads while the steps run, and what is left of it at the end."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum


class Ground(Enum):
    """What a later step stands on; the value says what is wrong without it."""

    PROMETHEUS = "Prometheus does not answer"
    ALERTMANAGER = "Alertmanager does not answer"
    RULES = "Prometheus does not have the alerts"
    RECEIVERS = "Alertmanager does not reach everybody"
    SITE = "Prometheus does not see the site"


class Outcome(Enum):
    """How a step ended."""

    PASSED = "passed"
    FAILED = "failed"
    LEFT_OUT = "left out"  # because of an earlier failure: counts as one
    WAIVED = "waived"  # by a person's choice, or for want of a tool


@dataclass(slots=True)
class Report:
    """Prints each line as it is found out, and keeps the outcome of every step."""

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    grounds: set[Ground] = field(default_factory=set)
    _step: int = 0

    def begin(self, step: int, title: str) -> None:
        """A step's heading. It passes unless something says otherwise."""
        self._step = step
        self.outcomes[step] = Outcome.PASSED
        _print(f"\n{step}. {title}")

    def passed(self, text: str) -> None:
        """Something is as it should be."""
        _print(f"   ✓ {text}")

    def failed(self, text: str, advice: str) -> None:
        """Something is not; `advice` is a sentence that says what to do."""
        self.outcomes[self._step] = Outcome.FAILED
        _print(f"   ✗ {text}\n     → {advice}")

    def noted(self, text: str) -> None:
        """Something to know, neither good nor bad."""
        _print(f"   – {text}")

    def waited(self, text: str) -> None:
        """What is being waited for."""
        _print(f"   … {text}")

    def waived(self, text: str) -> None:
        """The step is left out, and that is no failure."""
        self.outcomes[self._step] = Outcome.WAIVED
        self.noted(f"skipped: {text}")

    def stands(self, ground: Ground) -> None:
        """A later step may rely on this."""
        self.grounds.add(ground)

    def lacks(self, grounds: Iterable[Ground]) -> bool:
        """Whether one of `grounds` was not found: the step is left out, and the whole has failed."""
        for ground in grounds:
            if ground not in self.grounds:
                self.outcomes[self._step] = Outcome.LEFT_OUT
                self.noted(f"left out: {ground.value}.")
                return True
        return False

    @property
    def is_good(self) -> bool:
        """Whether no step failed, and none had to be left out because of one that did."""
        return not {Outcome.FAILED, Outcome.LEFT_OUT} & set(self.outcomes.values())

    def summarise(self) -> None:
        """The last line."""
        total, passed = len(self.outcomes), self._steps(Outcome.PASSED)
        parts = [f"All {total} steps passed." if len(passed) == total else f"{len(passed)} of {total} steps passed."]
        for outcome, name in (
            (Outcome.FAILED, "Failed"),
            (Outcome.LEFT_OUT, "Left out because of that"),
            (Outcome.WAIVED, "Skipped, which is no failure"),
        ):
            if steps := self._steps(outcome):
                parts.append(f"{name}: {', '.join(map(str, steps))}.")
        _print(f"\n{'✓' if self.is_good else '✗'} {' '.join(parts)}")

    def _steps(self, outcome: Outcome) -> list[int]:
        return [step for step, found in self.outcomes.items() if found is outcome]


def _print(text: str) -> None:
    print(text, flush=True)
