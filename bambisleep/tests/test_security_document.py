"""SECURITY.md names tests that exist, for every requirement that it must speak of."""

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "SECURITY.md").read_text()
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(test_\w+)`", DOCUMENT)))
ROWS = re.findall(r"^\| (\d+\.\d+\.\d+(?:, \d+\.\d+\.\d+)*) .*\|(.*)\|$", DOCUMENT, re.M)

# Of ASVS 5.0 up to level 2, what bites on a site with accounts, an API, an admin and tokens.
REQUIRED = [
    "3.2.1",
    "3.3.1",
    "3.3.2",
    "3.3.3",
    "3.3.4",
    "3.4.1",
    "3.4.3",
    "3.4.4",
    "3.4.5",
    "3.4.6",
    "3.5.1",
    "3.5.3",
    "3.7.2",
    "4.1.3",
    "4.2.1",
    "5.2.1",
    "5.3.2",
    "6.1.1",
    "6.2.1",
    "6.2.3",
    "6.2.4",
    "6.2.8",
    "6.2.12",
    "6.3.1",
    "6.3.4",
    "6.3.8",
    "6.4.3",
    "6.4.4",
    "6.5.1",
    "6.6.3",
    "7.2.4",
    "7.3.1",
    "7.3.2",
    "7.4.1",
    "7.4.2",
    "7.4.3",
    "7.4.4",
    "7.4.5",
    "7.5.1",
    "7.5.2",
    "8.2.1",
    "8.2.2",
    "8.2.3",
    "9.1.1",
    "9.1.2",
    "9.1.3",
    "9.2.1",
    "9.2.2",
    "9.2.3",
    "13.2.3",
    "13.3.1",
    "13.4.2",
    "13.4.4",
    "13.4.5",
    "14.2.1",
    "14.3.2",
    "15.1.2",
    "15.3.3",
    "15.3.4",
    "16.2.1",
    "16.2.5",
    "16.3.1",
    "16.3.2",
    "16.3.3",
    "16.4.1",
    "16.5.1",
    "16.5.2",
    "16.5.3",
]


@lru_cache
def functions_in(file: str) -> frozenset[str]:
    """The names of the tests in a file; empty where there is no such file."""
    path = ROOT / file
    if not path.exists():
        return frozenset()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, functions))


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_every_test_that_it_names_exists(file: str, test: str) -> None:
    assert test in functions_in(file)


def test_it_has_a_row_for_every_requirement_each_with_its_proof() -> None:
    listed = {requirement: proof for requirements, proof in ROWS for requirement in requirements.split(", ")}
    assert set(REQUIRED) - set(listed) == set()
    assert [requirement for requirement, proof in listed.items() if "::test_" not in proof] == []


def test_no_row_names_a_test_in_another_form() -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("|") and "test_" in line]
    for line in rows:
        assert line.count("::test_") == len(re.findall(r"`[\w/]+\.py::test_\w+`", line)), line


def test_every_dependency_is_pinned_exactly() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        lines = (ROOT / name).read_text().splitlines()
        packages = [line for line in lines if line and not line.startswith((" ", "#", "-"))]
        assert len(packages) > 20
        assert [line for line in packages if not re.match(r"[\w.\[\],-]+==\S+", line)] == []
