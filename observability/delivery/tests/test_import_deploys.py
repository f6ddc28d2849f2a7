"""manage.py import_deploys: each line wholly or not at all, and told again unchanged."""

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from observability.delivery.models import DeployedCommit, Deployment
from observability.models import FactSample

pytestmark = pytest.mark.django_db

HISTORY = Path(__file__).parent / "data" / "release-history.jsonl"
GOOD: dict[str, Any] = {
    "version": "1.0",
    "sha": "a" * 40,
    "deployed_at": "2026-03-02T12:00:00+01:00",
    "commits": [
        {"sha": "a" * 40, "authored_at": "2026-03-02T09:00:00Z"},
        {"sha": "b" * 40, "authored_at": "2026-03-01T23:00:00-08:00"},
    ],
}


def lines(path: Path, *rows: Any) -> str:
    path.write_bytes(b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows))
    return str(path)


def rows() -> list[Any]:
    deployments = Deployment.objects.order_by("pk").values_list("service", "environment", "external_id", "finished_at")
    commits = DeployedCommit.objects.order_by("pk").values_list("deployment", "sha", "authored_at", "standing")
    return [list(deployments), list(commits)]


def test_it_records_a_projects_real_history(capsys: pytest.CaptureFixture[str]) -> None:
    told = [json.loads(line) for line in HISTORY.read_text().splitlines()]

    call_command("import_deploys", str(HISTORY), service="project")

    assert capsys.readouterr().out == "110 lines: 110 created, 0 updated, 0 unchanged, 0 rejected\n"
    assert Deployment.objects.filter(service="project").count() == len(told)
    assert DeployedCommit.objects.count() == sum(len({c["sha"] for c in row["commits"]}) for row in told)
    assert Deployment.objects.filter(version="%s").count() == 1


def test_it_brings_the_facts_up_to_date_at_the_end(tmp_path: Path) -> None:
    call_command("import_deploys", lines(tmp_path / "a.jsonl", GOOD, {**GOOD, "version": "1.1"}), service="web")
    samples = [sample for row in FactSample.objects.all() for sample in row.samples]
    assert ["deployment_frequency_total", ["web", "production"], 2] in samples


def test_an_import_run_again_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = lines(tmp_path / "part.jsonl", GOOD)
    whole = lines(tmp_path / "whole.jsonl", GOOD, {**GOOD, "version": "1.1"})
    call_command("import_deploys", first)
    call_command("import_deploys", whole)
    before = rows()
    call_command("import_deploys", whole)
    assert rows() == before
    assert [line.split(": ")[1] for line in capsys.readouterr().out.splitlines()] == [
        "1 created, 0 updated, 0 unchanged, 0 rejected",
        "1 created, 0 updated, 1 unchanged, 0 rejected",
        "0 created, 0 updated, 2 unchanged, 0 rejected",
    ]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"{", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"version": "\xff"}', "is not UTF-8"),
        ({"sha": "a" * 40}, "version: "),
        ({**GOOD, "version": "2", "deployed_at": "yesterday"}, "deployed_at: "),
        ({**GOOD, "version": "2", "deployed_at": "2999-01-01T00:00:00Z"}, "future"),
        ({**GOOD, "version": "2", "started_at": "2026-03-03T00:00:00Z"}, "finished_at: Lies before the start."),
        ({**GOOD, "version": "2", "commits": [{"sha": "c" * 40}]}, "commits.0.authored_at: "),
        ({**GOOD, "version": "nul\0"}, "version: "),
    ],
)
def test_a_bad_line_is_told_by_number_and_spoils_no_other(
    bad: Any, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = lines(tmp_path / "a.jsonl", GOOD, b"", bad, {**GOOD, "version": "3"})

    with pytest.raises(CommandError, match="1 of 3 lines were rejected") as caught:
        call_command("import_deploys", file)

    assert caught.value.returncode == 1
    assert set(Deployment.objects.values_list("version", flat=True)) == {"1.0", "3"}
    assert not DeployedCommit.objects.exclude(deployment__version__in=["1.0", "3"]).exists()
    said = capsys.readouterr()
    assert said.err.startswith("line 3: ")
    assert reason in said.err
    assert said.out == "3 lines: 2 created, 0 updated, 0 unchanged, 1 rejected\n"


def test_csv_tells_the_same_as_json_lines(tmp_path: Path) -> None:
    told = [GOOD, {**GOOD, "version": '2, "quoted"\nand broken', "kind": "hotfix", "commits": []}]
    call_command("import_deploys", lines(tmp_path / "a.jsonl", *told))
    call_command("import_deploys", _csv(tmp_path, told))
    assert Deployment.objects.count() == 2
    first = [row[1:] for row in rows()[1]]
    Deployment.objects.all().delete()
    call_command("import_deploys", _csv(tmp_path, told))
    assert [row[1:] for row in rows()[1]] == first
    assert Deployment.objects.filter(kind="hotfix", version=told[1]["version"]).count() == 1


def _csv(directory: Path, told: list[dict[str, Any]]) -> str:
    names = ["version", "sha", "deployed_at", "kind", "commits"]
    with (directory / "a.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for row in told:
            pairs = ";".join(f"{commit['sha']} {commit['authored_at']}" for commit in row["commits"])
            writer.writerow({**row, "commits": pairs})
    return str(directory / "a.csv")


def test_a_csv_line_is_numbered_as_an_editor_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text(f'version,sha\n"1\n2",{"a" * 40}\n3,{"a" * 40},more\n4,zz\n')
    with pytest.raises(CommandError, match="2 of 3"):
        call_command("import_deploys", str(tmp_path / "a.csv"))
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == ["line 4", "line 5"]


def test_an_unknown_column_is_named_before_anything_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"version,sha,enviroment\n1,{'a' * 40},staging\n")
    with pytest.raises(CommandError, match="enviroment; the columns are version"):
        call_command("import_deploys", str(tmp_path / "a.csv"))
    assert not Deployment.objects.exists()


def test_a_line_wins_over_the_defaults(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", GOOD, {**GOOD, "service": "api", "environment": "staging"})
    call_command("import_deploys", file, service="web", environment="test")
    assert set(Deployment.objects.values_list("service", "environment")) == {("web", "test"), ("api", "staging")}


def test_a_dry_run_records_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("import_deploys", lines(tmp_path / "a.jsonl", GOOD), dry_run=True)
    assert rows() == [[], []]
    assert "1 created" in capsys.readouterr().out


class Input:
    """Standard input."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


def test_it_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Input(json.dumps(GOOD).encode()))
    call_command("import_deploys", "-")
    assert Deployment.objects.count() == 1


def test_a_missing_file_is_named() -> None:
    with pytest.raises(CommandError, match=r"/no/such/file cannot be read \(No such file"):
        call_command("import_deploys", "/no/such/file")


class Terminal(io.StringIO):
    """A terminal that remembers."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_it_draws_its_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    call_command("import_deploys", lines(tmp_path / "a.jsonl", GOOD))
    assert "100% 1 lines" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[K"), "and takes it away"
