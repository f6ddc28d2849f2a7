"""SECURITY.md names tests that exist, for every requirement that it must speak of."""

import ast
import csv
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "SECURITY.md").read_text()
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(test_\w+)`", DOCUMENT)))
ASVS = DOCUMENT[DOCUMENT.index("## ASVS 5.0") : DOCUMENT.index("## Key rotation")]
ROWS = re.findall(r"^\| (\d+\.\d+\.\d+(?:, \d+\.\d+\.\d+)*) .*\|(.*)\|$", ASVS, re.M)

# The numbers and levels of OWASP ASVS 5.0.0, levels 1 and 2, from its release's 5.0/docs_en/
# OWASP_Application_Security_Verification_Standard_5.0.0_en.csv (github.com/OWASP/ASVS): 70 and 183 of 345.
with open(Path(__file__).with_name("asvs.csv"), newline="") as file:
    LEVELS = {row["requirement"]: int(row["level"]) for row in csv.DictReader(file)}
SECRETS = re.findall(r"^([A-Z_]*(?:SECRET|KEY|TOKEN|PASSWORD)[A-Z_]*)=", (ROOT / ".env.example").read_text(), re.M)


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


def mentions() -> Iterator[str]:
    """Every requirement that the ASVS part speaks of, as often as it does; `10.*` stands for all of a chapter."""
    for number, wildcard in re.findall(r"(?<![\w.])(\d+\.\d+\.\d+|(\d+\.(?:\d+\.)?)\*)(?![\w])", ASVS):
        if wildcard:
            yield from (requirement for requirement in LEVELS if requirement.startswith(wildcard))
        else:
            yield number


def test_the_list_is_that_of_the_standard() -> None:
    assert Counter(LEVELS.values()) == {1: 70, 2: 183}
    assert {requirement.split(".")[0] for requirement in LEVELS} == {str(chapter) for chapter in range(1, 18)}


def test_every_requirement_of_levels_1_and_2_stands_in_it_exactly_once() -> None:
    times = Counter(mentions())
    assert [requirement for requirement in LEVELS if times[requirement] == 0] == []
    assert [requirement for requirement, number in times.items() if number > 1] == []


def test_every_row_has_its_proof() -> None:
    assert len(ROWS) > 100
    assert [requirements for requirements, proof in ROWS if "::test_" not in proof] == []


def test_every_file_that_stands_for_a_proof_exists() -> None:
    files = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]+)`", ASVS))
    assert len(files) > 10
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_its_table_of_keys_has_every_secret_that_is_set() -> None:
    kinds = [name for name in SECRETS if not name.startswith("SLACK_WEBHOOK_URL_")]
    assert len(kinds) > 5
    assert [name for name in kinds if f"`{name}`" not in ASVS] == []


def part(title: str) -> str:
    """One part of the document, by its heading."""
    return DOCUMENT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_it_says_of_every_secret_how_it_is_replaced() -> None:
    rows = part("Key rotation")
    ends = ("_FALLBACKS", "_KEY_ID")
    kinds = [name for name in SECRETS if not name.startswith("SLACK_WEBHOOK_URL_") and not name.endswith(ends)]
    assert [name for name in kinds if f"`{name}`" not in rows] == []


@pytest.mark.parametrize("title", ["OWASP Top 10 (2021)", "OWASP Top 10 (2025)"])
def test_each_of_the_top_ten_has_its_proof(title: str) -> None:
    rows = re.findall(r"^\| (A\d\d) .*\|(.*)\|$", part(title), re.M)
    assert [name for name, _ in rows] == [f"A{number:02}" for number in range(1, 11)]
    assert [name for name, proof in rows if "::test_" not in proof] == []


def test_each_threat_has_its_answer_and_proof() -> None:
    rows = [line for line in part("Threat model").splitlines() if line.startswith("| ")][1:]
    kinds = ("spoofing", "tampering", "repudiation", "information disclosure", "denial of service", "elevation")
    assert [kind for kind in kinds if not any(row.startswith(f"| {kind}") for row in rows)] == []
    assert [row for row in rows if "::test_" not in row] == []


def test_every_command_that_it_names_exists() -> None:
    named = set(re.findall(r"manage\.py (\w+)", DOCUMENT))
    assert len(named) > 8
    assert named - set(get_commands()) == set()


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
