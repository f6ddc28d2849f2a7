"""How `make security` judges what its tools find; the tools themselves run there, and two of them in `make check`."""

from pathlib import Path

import pytest

from deploy.security.findings import Accepted, Finding, Outcome, accepted_findings, table, verdict
from deploy.security.scanning import judge_schemathesis, judge_wapiti

FOUND = Finding("bandit", "B608", "rooms/sql.py:12", "a statement made of a text")
REASON = "Nothing that was sent reaches it."
CASES = {"test_cases": {"generated": 900}, "errors": []}


def test_what_is_found_fails_and_is_named() -> None:
    judged = verdict(Outcome("bandit", "10 lines", [FOUND]), [])
    assert not judged.passes
    assert judged.open == (FOUND,)
    assert "FAILED" in table([judged])


def test_what_is_informational_fails_nothing() -> None:
    told = Finding("wapiti, visitor", "Fingerprint", "/", "a server", informational=True)
    judged = verdict(Outcome("wapiti, visitor", "10 pages", [told]), [])
    assert judged.passes
    assert judged.informational == 1


def test_what_is_accepted_by_rule_and_place_passes() -> None:
    assert verdict(Outcome("bandit", "", [FOUND]), [Accepted("bandit", "B608", "rooms/sql.py:*", REASON)]).passes
    for rule, where in (("B101", "rooms/sql.py:*"), ("B608", "rooms/other.py:*")):
        assert not verdict(Outcome("bandit", "", [FOUND]), [Accepted("bandit", rule, where, REASON)]).passes


def test_an_entry_that_nothing_matches_any_more_fails() -> None:
    judged = verdict(Outcome("bandit"), [Accepted("bandit", "B608", "gone.py:*", REASON)])
    assert not judged.passes
    assert "take the entry out" in judged.open[0].text


def test_a_check_that_did_not_run_is_never_green() -> None:
    assert not verdict(Outcome("bandit", not_run="it is not installed"), []).passes
    away = verdict(Outcome("pip-audit packages", not_run="out of reach", may_be_away=True), [])
    assert away.passes
    assert away.word == "NOT RUN"
    assert "out of reach" in table([away])


def test_vulnerabilities_and_server_errors_count_what_is_additional_does_not() -> None:
    found = {"path": "https://localhost:1/content/?q=1", "info": "told"}
    report = {
        "vulnerabilities": {"SQL Injection": [found], "Backup file": []},
        "anomalies": {"Internal Server Error": [found]},
        "additionals": {"Fingerprint": [found]},
        "infos": {"crawled_pages_nbr": 7},
    }
    outcome = judge_wapiti("wapiti, visitor", report, "https://localhost:1")
    assert [(each.rule, each.where, each.informational) for each in outcome.findings] == [
        ("SQL Injection", "/content/", False),
        ("Internal Server Error", "/content/", False),
        ("Fingerprint", "/content/", True),
    ]
    assert outcome.looked_at == "7 pages"


def test_an_answer_that_the_description_does_not_promise_counts() -> None:
    failure = {"title": "Server error", "operations": ["GET /dora"], "count": 2}
    outcome = judge_schemathesis("schemathesis, member", {**CASES, "failures": [failure]})
    assert [(each.rule, each.where) for each in outcome.findings] == [("Server error", "GET /dora")]


def test_a_scan_that_sent_nothing_did_not_run() -> None:
    report = {**CASES, "failures": [], "test_cases": {"generated": 0}}
    assert judge_schemathesis("schemathesis, member", report).not_run


def test_every_accepted_finding_has_its_reason(tmp_path: Path) -> None:
    assert len(accepted_findings()) > 10
    (tmp_path / "accepted.toml").write_text('[[accepted]]\ncheck = "bandit"\nrule = "*"\nwhere = "*"\nreason = ""\n')
    with pytest.raises(ValueError, match="a reason of a sentence"):
        accepted_findings(tmp_path / "accepted.toml")
