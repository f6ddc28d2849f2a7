"""What an expression of PromQL does to which metrics, from its syntax tree."""

from collections.abc import Iterator
from dataclasses import dataclass

import promql_parser as promql

COUNTER_FUNCTIONS = frozenset({"rate", "irate", "increase", "resets"})
ADDING_UP = frozenset({"sum", "avg", "count", "stddev", "stdvar", "group", "quantile", "count_values"})
PROCESS = {"instance", "pod"}


@dataclass(frozen=True, slots=True)
class Use:
    """A metric as an expression uses it; what is done to it, from the inside out."""

    metric: str
    matchers: frozenset[tuple[str, str, str]]  # label, operator, value
    functions: tuple[str, ...]
    aggregations: tuple["Aggregation", ...]

    @property
    def counted(self) -> bool:
        """Whether it is taken for a counter."""
        return bool(COUNTER_FUNCTIONS & set(self.functions))

    @property
    def one_of_all_processes(self) -> bool:
        """Whether of the series that differ by process alone one is taken, as is right for a fact."""
        return self._first_over_processes() in {"max", "min"}

    @property
    def added_up_over_processes(self) -> bool:
        """Whether the series of all processes are added up, as is right for an event."""
        return self._first_over_processes() in ADDING_UP

    def _first_over_processes(self) -> str:
        losing = (one.operation for one in self.aggregations if one.loses(PROCESS))
        return next((operation for operation in losing if operation in ADDING_UP | {"max", "min"}), "")


@dataclass(frozen=True, slots=True)
class Aggregation:
    """sum, max, … and the labels that it keeps (by) or drops (without)."""

    operation: str
    by: bool
    labels: frozenset[str]

    def loses(self, labels: set[str]) -> bool:
        """Whether any of the labels is gone afterwards."""
        return bool(labels - self.labels) if self.by else bool(labels & self.labels)


def uses(expression: str) -> list[Use]:
    """Every use of a metric in an expression.

    Raises:
        ValueError: where it is not PromQL.
    """
    return list(_walk(promql.parse(expression), (), ()))


def _walk(node: promql.Expr, functions: tuple[str, ...], aggregations: tuple[Aggregation, ...]) -> Iterator[Use]:
    if isinstance(node, promql.VectorSelector):
        matchers = node.matchers.matchers + [one for group in node.matchers.or_matchers for one in group]
        found = frozenset((one.name, str(one.op).removeprefix("MatchOp."), one.value) for one in matchers)
        yield Use(node.name or "", found, functions, aggregations)
    elif isinstance(node, promql.MatrixSelector):
        yield from _walk(node.vector_selector, functions, aggregations)
    elif isinstance(node, promql.AggregateExpr):
        modifier = node.modifier
        by = modifier is None or "By" in str(modifier.type)
        labels = frozenset(modifier.labels if modifier else ())
        this = Aggregation(str(node.op).rpartition(".")[2].lower(), by, labels)
        if node.param is not None:
            yield from _walk(node.param, functions, aggregations)
        yield from _walk(node.expr, functions, (this, *aggregations))
    elif isinstance(node, promql.Call):
        for argument in node.args:
            yield from _walk(argument, (node.func.name, *functions), aggregations)
    elif isinstance(node, promql.BinaryExpr):
        yield from _walk(node.lhs, functions, aggregations)
        yield from _walk(node.rhs, functions, aggregations)
    elif isinstance(node, promql.SubqueryExpr | promql.ParenExpr | promql.UnaryExpr):
        yield from _walk(node.expr, functions, aggregations)
