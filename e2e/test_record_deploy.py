"""manage.py record_deploy in a real git repository: what it records is what the endpoints and the admin show."""

import json
import os
import statistics
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from e2e.servers import Installation, Server, installed, wait_for

pytestmark = pytest.mark.needs("git")

PASSWORD = "a long enough phrase"
NOW = datetime.now(UTC).replace(microsecond=0)
FIRST_DEPLOYED, SECOND_DEPLOYED = NOW - timedelta(days=2), NOW - timedelta(hours=1)
TABLES = ("delivery_deployment", "delivery_deployedcommit", "delivery_pipeline")
FACTS_DELAY_SECONDS = 15  # the house's promise


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository of its own, with commits authored when we say."""

    directory: Path

    def git(self, *arguments: str, **environment: str) -> str:
        """Run git here, untouched by anyone's configuration."""
        identity = {
            f"GIT_{role}_{part}": value
            for role in ("AUTHOR", "COMMITTER")
            for part, value in (("NAME", "Ada"), ("EMAIL", "ada@example.org"))
        }
        clean = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.directory,
            env={**clean, **identity, **environment},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        return done.stdout.strip()

    def commit(self, *, authored: datetime, zone: str = "+0000") -> str:
        """An empty commit authored at that time, written in that zone; its id."""
        date = f"{int(authored.timestamp())} {zone}"
        self.git("commit", "-q", "--allow-empty", "-m", "A change", GIT_AUTHOR_DATE=date)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with two commits, authored three and four days ago."""
    directory = tmp_path / "repository"
    directory.mkdir()
    made = Repository(directory)
    made.git("init", "-q", "--initial-branch", "main")
    made.commit(authored=NOW - timedelta(days=4))
    made.commit(authored=NOW - timedelta(days=3))
    return made


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    """An installation that has no deployment yet."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    with installed(data_dir) as installation:
        yield installation


def test_what_it_records_is_what_everything_shows(here: Installation, repository: Repository) -> None:
    account = {"DJANGO_SUPERUSER_PASSWORD": PASSWORD, "DJANGO_SUPERUSER_EMAIL": "sam@example.org"}
    made = here.manage("createsuperuser", "--noinput", "--username", "sam", **account)
    assert made.returncode == 0, made.stderr
    with here.serving("daphne") as server:
        first = _record(here, repository, "--finished", FIRST_DEPLOYED.isoformat())
        assert "the first there" in first
        repository.commit(authored=NOW - timedelta(hours=30), zone="+0530")
        repository.commit(authored=NOW - timedelta(hours=7), zone="-0800")
        second = _record(here, repository, "--finished", SECOND_DEPLOYED.isoformat())
        assert "2 commits since" in second
        lead_times = _lead_times_by_hand(repository)
        assert sorted(lead_times) == [6 * 3600, 29 * 3600]

        _assert_dora_shows(server, lead_times)
        _assert_metrics_show(server, lead_times)
        _assert_admin_shows(server, repository)

        rows = _rows(here)
        assert "unchanged" in _record(here, repository)
        assert "unchanged" in _record(here, repository, "--finished", NOW.isoformat())
        assert _rows(here) == rows
        _assert_dora_shows(server, lead_times)
        _assert_metrics_show(server, lead_times)


def test_a_deployment_without_a_time_is_one_of_now(here: Installation, repository: Repository) -> None:
    _record(here, repository)
    authored = datetime.now(UTC) - timedelta(hours=5)
    repository.commit(authored=authored)

    _record(here, repository)

    with here.serving("daphne") as server:
        lead_time = server.json("/dora")["measures"]["change_lead_time"]
        assert lead_time["samples"] == 1
        assert 5 * 3600 <= lead_time["value"] < 5 * 3600 + 60


def test_it_answers_in_json(here: Installation, repository: Repository) -> None:
    head = repository.git("rev-parse", "HEAD")

    told = json.loads(_record(here, repository, "--json"))

    assert told["outcome"] == "created"
    assert told["sha"] == head
    assert (told["service"], told["environment"], told["status"]) == ("bambisleep", "production", "succeeded")
    assert told["finished_at"], "what was recorded has a time, so what is told of it has"
    assert datetime.now(UTC) - datetime.fromisoformat(told["finished_at"]) < timedelta(minutes=1)


def test_a_dry_run_records_nothing(here: Installation, repository: Repository) -> None:
    said = _record(here, repository, "--dry-run")

    assert "would be recorded" in said
    assert _rows(here) == dict.fromkeys(TABLES, 0)


def test_a_tag_names_the_version(here: Installation, repository: Repository) -> None:
    repository.git("tag", "v1.2.0")

    assert "bambisleep v1.2.0" in _record(here, repository)


def test_a_shallow_clone_is_told_how_to_get_the_history(
    here: Installation, repository: Repository, tmp_path: Path
) -> None:
    clone = tmp_path / "shallow"
    repository.git("clone", "-q", "--depth", "1", f"file://{repository.directory}", str(clone))

    message = _refused(here, clone)

    assert "shallow" in message
    assert "fetch-depth: 0" in message
    assert "--no-commits" in message


def test_a_shallow_clone_may_record_without_commits(here: Installation, repository: Repository, tmp_path: Path) -> None:
    clone = tmp_path / "shallow"
    repository.git("clone", "-q", "--depth", "1", f"file://{repository.directory}", str(clone))

    _record(here, Repository(clone), "--no-commits")

    assert here.count("delivery_deployment") == 1


def test_outside_git_it_says_what_to_tell_it(here: Installation, tmp_path: Path) -> None:
    message = _refused(here, tmp_path)

    assert "not inside a git checkout" in message
    assert "--repository" in message
    assert "--no-commits" in message


def test_outside_git_it_records_what_it_is_told(here: Installation, tmp_path: Path) -> None:
    done = here.manage("record_deploy", "--version", "2.0", "--commit", "a" * 40, "--no-commits", directory=tmp_path)

    assert done.returncode == 0, done.stderr
    assert here.count("delivery_deployment") == 1


def test_an_unknown_previous_commit_is_named_with_the_way_out(here: Installation, repository: Repository) -> None:
    message = _refused(here, repository.directory, "--previous", "deadbeef")

    assert "deadbeef" in message
    assert "git fetch" in message
    assert "--no-commits" in message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--commit", "no-such-branch"), "no-such-branch"),
        (("--commit", "--output=/tmp/never"), "--commit"),
        (("--status", "fine"), "invalid choice"),
        (("--finished", "yesterday"), "--finished"),
        (("--finished", "2999-01-01T00:00:00Z"), "future"),
        (("--finished", "9" * 30), "--finished"),
        (("--commits-from", "/no/such/file"), "/no/such/file"),
        (("--repository", "/no/such/directory"), "/no/such/directory"),
        (("--version", "v" * 201), "version"),
    ],
)
def test_a_mistake_is_named_and_records_nothing(
    here: Installation, repository: Repository, options: tuple[str, ...], said: str
) -> None:
    assert said in _refused(here, repository.directory, *options)


def _record(here: Installation, repository: Repository, *options: str) -> str:
    done = here.manage("record_deploy", *options, directory=repository.directory)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _refused(here: Installation, directory: Path, *options: str) -> str:
    """What it says on refusing, which it must do without a traceback and without leaving a row."""
    done = here.manage("record_deploy", *options, directory=directory)
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stderr, done.stderr
    assert _rows(here) == dict.fromkeys(TABLES, 0)
    return done.stderr


def _rows(here: Installation) -> dict[str, int]:
    return {table: here.count(table) for table in TABLES}


def _lead_times_by_hand(repository: Repository) -> list[float]:
    authored = repository.git("log", "--format=%aI", "HEAD~2..HEAD").splitlines()
    return [(SECOND_DEPLOYED - datetime.fromisoformat(at)).total_seconds() for at in authored]


def _assert_dora_shows(server: Server, lead_times: list[float]) -> None:
    measures = server.json("/dora")["measures"]
    assert measures["deployment_frequency"]["samples"] == 2
    assert measures["change_lead_time"]["value"] == statistics.median(lead_times)
    assert measures["change_lead_time"]["p90"] == pytest.approx(_ninetieth(lead_times))
    assert measures["change_lead_time"]["samples"] == len(lead_times)
    assert measures["change_fail_rate"]["value"] == 0
    assert measures["failed_deployment_recovery_time"]["value"] is None


def _assert_metrics_show(server: Server, lead_times: list[float]) -> None:
    pipeline = {"service": "bambisleep", "environment": "production"}

    def counted() -> bool:
        return server.metric("deployment_lead_time_seconds_count", **pipeline) == len(lead_times)

    wait_for(counted, "the second deployment is on /metrics", seconds=FACTS_DELAY_SECONDS)
    assert server.metric("deployment_frequency_total", **pipeline) == 2
    assert server.metric("deployment_failures_total", **pipeline) == 0
    assert server.metric("deployment_lead_time_seconds_sum", **pipeline) == sum(lead_times)
    median = server.metric("dora_change_lead_time_seconds", quantile="0.5", **pipeline)
    assert median == statistics.median(lead_times)
    assert server.metric("deployment_last_timestamp_seconds", **pipeline) == SECOND_DEPLOYED.timestamp()


def _assert_admin_shows(server: Server, repository: Repository) -> None:
    assert server.sign_in_to_admin("sam", PASSWORD).url.path == "/admin/"
    listed = server.http.get("/admin/delivery/deployment/")
    assert "2 deployments" in listed.text
    found = server.http.get("/admin/delivery/deployment/", params={"q": repository.git("rev-parse", "HEAD")})
    assert "1 result" in found.text
    pages = [line for line in found.text.split('"') if line.startswith("/admin/delivery/deployment/")]
    page = server.http.get(next(link for link in pages if "/change/" in link)).text
    for sha in repository.git("log", "--format=%H", "HEAD~2..HEAD").splitlines():
        assert sha in page
    assert "6\xa0hours" in page
    assert "1\xa0day, 5\xa0hours" in page


def _ninetieth(values: list[float]) -> float:
    """The 90th percentile by linear interpolation, as dora's definitions here say."""
    ordered = sorted(values)
    position = 0.9 * (len(ordered) - 1)
    below = int(position)
    return ordered[below] + (ordered[below + 1] - ordered[below]) * (position - below)
