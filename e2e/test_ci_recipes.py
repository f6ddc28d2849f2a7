"""The recipes in deploy/ci, run as a CI runs them, against a served application."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.servers import GIT, ROOT, Installation, Server, installed

pytestmark = [pytest.mark.once, pytest.mark.needs("git")]

RECIPES = ROOT / "deploy" / "ci"
CLEAN = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A checkout that holds this project's manage.py, and an installation that listens elsewhere."""

    directory: Path
    elsewhere: Server
    token: str

    def git(self, *arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(
            command, cwd=self.directory, env={**CLEAN, **GIT}, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self) -> str:
        self.git("commit", "-q", "--allow-empty", "-m", 'A "change" \\ with\nlines')
        return self.git("rev-parse", "HEAD")

    def run(self, script: str, shell: str = "bash", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a recipe's lines with no database in reach: the runner has none."""
        own = {"HOME": str(self.directory), "DATA_DIR": str(self.directory / "no-data")}
        connection = {
            "BAMBISLEEP_URL": self.elsewhere.url,
            "DEPLOY_TOKEN": self.token,
            "DATABASE_URL": "postgres://n@127.0.0.1:1/n",
        }
        done = subprocess.run(
            [shell, "-e", "-c", script],
            cwd=self.directory,
            env={**CLEAN, **own, **connection, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert self.token not in done.stdout + done.stderr
        return done

    def deployments(self) -> list[dict[str, Any]]:
        """What the installation shows of them, last first."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = self.elsewhere.http.get("/dora/deployments", headers=headers).raise_for_status()
        found: list[dict[str, Any]] = answer.json()["results"]
        return found


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    (tmp_path / "data").mkdir()
    with installed(tmp_path / "data") as installation:
        yield installation


@pytest.fixture
def pipeline(here: Installation, tmp_path: Path) -> Iterator[Pipeline]:
    directory = tmp_path / "checkout"
    directory.mkdir()
    scopes = ["deployments:write", "read"]
    issue = f"from observability.delivery import tokens; print(tokens.issue(name='ci', scopes={scopes})[1])"
    token = here.manage("shell", "--no-imports", "-c", issue).stdout.strip()
    with here.serving() as server:
        made = Pipeline(directory, server, token)
        made.git("init", "-q", "--initial-branch", "main")
        (directory / "manage.py").symlink_to(ROOT / "manage.py")
        made.commit()
        yield made


def github_job() -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load((RECIPES / "github-actions.yml").read_text())["jobs"]["deploy"]
    return job


def github_steps(**expressions: str) -> tuple[dict[str, str], dict[str, str]]:
    """The workflow's variables with expressions replaced, and its record_deploy lines by the name of their step."""
    job = github_job()
    fill = lambda text: re.sub(r"\$\{\{ (\S+) \}\}", lambda found: expressions[found[1]], text)  # noqa: E731
    variables = {name: fill(value) for name, value in job["env"].items()}
    lines = {step["name"]: step["run"] for step in job["steps"] if "record_deploy" in step.get("run", "")}
    return variables, lines


def github_variables(pipeline: Pipeline, run: str) -> dict[str, str]:
    return {
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_SHA": pipeline.git("rev-parse", "HEAD"),
        "GITHUB_REF_TYPE": "branch",
        "GITHUB_REF_NAME": "main",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "octo-org/web",
        "GITHUB_RUN_ID": run,
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_ACTOR": "octocat",
    }


def test_the_github_workflow_records_start_and_end(pipeline: Pipeline, here: Installation) -> None:
    own, lines = github_steps(
        **{
            "vars.BAMBISLEEP_URL": pipeline.elsewhere.url,
            "secrets.DEPLOY_TOKEN": pipeline.token,
            "github.event.repository.name": "web",
        }
    )
    for run, end in (("1", "Record the success"), ("2", "Record the success"), ("3", "Record the failure")):
        if run != "1":
            pipeline.commit()
        for step in ("Record the start", end):
            done = pipeline.run(lines[step], **{**github_variables(pipeline, run), **own})
            assert done.returncode == 0, done.stderr

    third, second, first = pipeline.deployments()
    assert [row["external_id"] for row in (first, second, third)] == ["github-1-1", "github-2-1", "github-3-1"]
    assert [row["status"] for row in (first, second, third)] == ["succeeded", "succeeded", "failed"]
    assert second["previous_sha"] == first["sha"]
    assert (first["service"], first["environment"], first["actor"]) == ("web", "production", "octocat")
    assert first["url"] == "https://github.com/octo-org/web/actions/runs/1"
    assert here.count("delivery_deployedcommit") == 2
    assert not list(pipeline.directory.glob("no-data/*.sqlite3"))


def test_the_github_workflow_deploys_where_the_start_cannot_be_recorded() -> None:
    steps = {step.get("name"): step for step in github_job()["steps"]}
    assert [name for name, step in steps.items() if step.get("continue-on-error")] == ["Record the start"]


def gitlab_job(pipeline: Pipeline, deploy: str) -> tuple[dict[str, str], str, str]:
    """The job's variables, its script with `deploy` for deploy.sh, and its after_script."""
    job = yaml.safe_load((RECIPES / "gitlab-ci.yml").read_text())["deploy"]
    told = {
        "CI": "true",
        "GITLAB_CI": "true",
        "CI_COMMIT_SHA": pipeline.git("rev-parse", "HEAD"),
        "CI_JOB_ID": "50",
        "CI_JOB_URL": "https://gitlab.example/web/-/jobs/50",
        "CI_PROJECT_NAME": "web",
        "CI_ENVIRONMENT_NAME": job["environment"],
        "GITLAB_USER_LOGIN": "ada",
    }
    variables = {
        name: re.sub(r"\$(\w+)", lambda found: told[found[1]], value) for name, value in job["variables"].items()
    }
    assert "./deploy.sh" in job["script"]
    script = "\n".join(job["script"]).replace("./deploy.sh", deploy)
    return {**told, **variables}, script, "\n".join(job["after_script"])


def test_the_gitlab_job_records_start_and_end(pipeline: Pipeline) -> None:
    variables, script, after_script = gitlab_job(pipeline, "true")
    for part in (script.partition("\ntrue\n")[0], script, after_script):
        done = pipeline.run(part, **variables)
        assert done.returncode == 0, done.stderr
    [row] = pipeline.deployments()
    assert (row["status"], row["external_id"], row["actor"]) == ("succeeded", "gitlab-50", "ada")
    assert (row["service"], row["environment"], row["url"]) == ("web", "production", variables["CI_JOB_URL"])

    variables, script, after_script = gitlab_job(pipeline, "false")
    assert pipeline.run(script, **{**variables, "CI_JOB_ID": "51"}).returncode == 1
    assert {row["status"] for row in pipeline.deployments()} == {"succeeded", "started"}
    assert pipeline.run(after_script, **{**variables, "CI_JOB_ID": "51"}).returncode == 0
    assert [row["status"] for row in pipeline.deployments()] == ["failed", "succeeded"]


def test_the_gitlab_job_deploys_where_the_start_cannot_be_recorded(pipeline: Pipeline) -> None:
    variables, script, after_script = gitlab_job(pipeline, "touch deployed")
    done = pipeline.run(script, **variables, BAMBISLEEP_URL="https://nobody:listens@127.0.0.1:1")

    assert (pipeline.directory / "deployed").exists()
    assert "The start is not recorded." in done.stderr
    assert done.returncode == 1, "the job fails where the end cannot be recorded"
    assert pipeline.run(after_script, **variables).returncode == 0
    assert pipeline.deployments() == [], "what was deployed did not fail"


@pytest.mark.needs("curl")
def test_without_python_git_and_curl_do(pipeline: Pipeline, here: Installation) -> None:
    script = (RECIPES / "record-deploy.sh").read_text()
    first = pipeline.run(script, "sh", DEPLOY_SERVICE="web")
    assert first.returncode == 0, first.stderr
    pipeline.git("tag", 'v"2')
    shas = {pipeline.commit() for _ in range(3)}
    more = {"DEPLOY_SERVICE": "web", "DEPLOY_ACTOR": 'A "da" \\ é\t', "DEPLOY_URL": "https://ci.example/7"}
    for _ in range(2):
        done = pipeline.run(script, "sh", **more)
        assert done.returncode == 0, done.stderr

    second, before = pipeline.deployments()
    assert second["previous_sha"] == before["sha"]
    assert second["sha"] in shas
    repeated = pipeline.run(script, "sh", DEPLOY_SERVICE="web", DEPLOY_EXTERNAL_ID="again")
    assert repeated.returncode == 0, "the same commit may be deployed again"
    assert second["version"].startswith('v"2-3-g')
    assert (second["actor"], second["url"]) == ('A "da" \\ é', "https://ci.example/7")
    assert here.count("delivery_deployedcommit") == 3


@pytest.mark.needs("curl")
def test_without_python_a_refusal_is_told_and_fails_the_job(pipeline: Pipeline) -> None:
    done = pipeline.run((RECIPES / "record-deploy.sh").read_text(), "sh", DEPLOY_STATUS="done")
    assert done.returncode == 1
    assert "answered 400" in done.stderr
    assert "status" in done.stderr
    assert pipeline.deployments() == []


@pytest.mark.needs("curl")
def test_without_python_a_shallow_checkout_is_refused(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.commit()
    pipeline.git("clone", "-q", "--depth", "1", f"file://{pipeline.directory}", str(tmp_path / "shallow"))
    script = f"cd '{tmp_path / 'shallow'}'\n" + (RECIPES / "record-deploy.sh").read_text()
    done = pipeline.run(script, "sh")
    assert done.returncode == 1
    assert "git fetch --unshallow" in done.stderr
