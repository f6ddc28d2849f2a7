"""docs/faults.md: each fault that was to be shown has a row, and each row names tests that exist."""

import ast
import re

import pytest

from e2e.servers import ROOT

pytestmark = pytest.mark.once

TABLE = ROOT / "docs" / "faults.md"
FAULTS = (
    "PostgreSQL restarted", "PostgreSQL stopped", "PostgreSQL out of connections", "PostgreSQL slow", "PostgreSQL hung",
    "PostgreSQL killed", "Redis restarted", "Redis stopped", "Redis out of connections", "Redis slow", "Redis hung",
    "Redis killed", "Disk full: database", "Disk full: library", "Disk full: logs", "Application killed",
    "nginx killed", "Prometheus killed", "Alertmanager killed", "Clock an hour forward", "Clock an hour back",
    "Stripe down", "Mail down", "Slack down", "Prometheus away", "File descriptors exhausted", "900 dripping clients",
)  # fmt: skip


def rows() -> list[list[str]]:
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:] if "---" not in line]


def test_each_fault_has_a_row() -> None:
    assert [row[0] for row in rows()] == list(FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_its_row_says_everything_and_names_tests_that_exist(fault: str) -> None:
    (row,) = (row for row in rows() if row[0] == fault)
    _, seen, kept, heals, tests = row
    assert all((seen, kept, heals))
    named = re.findall(r"`([a-z_/0-9]+\.py)::(\w+)`", tests)
    assert named
    for file, test in named:
        tree = ast.parse((ROOT / file).read_text())
        assert test in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, f"{file}::{test}"
