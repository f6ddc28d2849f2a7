"""ci: what each CI's own variables say about a run."""

from pathlib import Path

import pytest

from observability.delivery import ci
from observability.delivery.ci import NoToken, Run

SHA = "ffac537e6cbbf934b08745a378932722df287a53"

GITHUB = {
    "CI": "true",
    "GITHUB_ACTIONS": "true",
    "GITHUB_SHA": SHA,
    "GITHUB_REF_TYPE": "tag",
    "GITHUB_REF_NAME": "v1.4.0",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "octo-org/web",
    "GITHUB_RUN_ID": "1658821493",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_ACTOR": "octocat",
    "GITHUB_TRIGGERING_ACTOR": "hubot",
}
GITLAB = {
    "CI": "true",
    "GITLAB_CI": "true",
    "CI_COMMIT_SHA": SHA,
    "CI_COMMIT_TAG": "v1.4.0",
    "CI_JOB_ID": "50",
    "CI_PIPELINE_ID": "1000",
    "CI_JOB_URL": "https://gitlab.example/web/-/jobs/50",
    "CI_ENVIRONMENT_NAME": "staging",
    "GITLAB_USER_LOGIN": "ada",
}
JENKINS = {
    "JENKINS_URL": "https://jenkins.example/",
    "GIT_COMMIT": SHA,
    "TAG_NAME": "v1.4.0",
    "JOB_NAME": "web/main",
    "BUILD_NUMBER": "7",
    "BUILD_TAG": "jenkins-web-main-7",
    "BUILD_URL": "https://jenkins.example/job/web/job/main/7/",
    "BUILD_USER_ID": "ada",
}
CIRCLECI = {
    "CI": "true",
    "CIRCLECI": "true",
    "CIRCLE_SHA1": SHA,
    "CIRCLE_TAG": "v1.4.0",
    "CIRCLE_BUILD_NUM": "12",
    "CIRCLE_WORKFLOW_JOB_ID": "0a1b",
    "CIRCLE_BUILD_URL": "https://circleci.com/gh/octo-org/web/12",
    "CIRCLE_USERNAME": "ada",
}
BUILDKITE = {
    "CI": "true",
    "BUILDKITE": "true",
    "BUILDKITE_COMMIT": SHA,
    "BUILDKITE_TAG": "v1.4.0",
    "BUILDKITE_BUILD_ID": "b-1",
    "BUILDKITE_JOB_ID": "j-1",
    "BUILDKITE_BUILD_URL": "https://buildkite.com/octo-org/web/builds/8",
    "BUILDKITE_BUILD_CREATOR": "Ada",
}


@pytest.mark.parametrize(
    ("variables", "url", "actor", "external_id", "environment"),
    [
        (GITHUB, "https://github.com/octo-org/web/actions/runs/1658821493", "hubot", "github-1658821493-2", ""),
        (GITLAB, "https://gitlab.example/web/-/jobs/50", "ada", "gitlab-50", "staging"),
        (JENKINS, "https://jenkins.example/job/web/job/main/7/", "ada", "jenkins-web-main-7", ""),
        (CIRCLECI, "https://circleci.com/gh/octo-org/web/12", "ada", "circleci-0a1b", ""),
        (BUILDKITE, "https://buildkite.com/octo-org/web/builds/8#j-1", "Ada", "buildkite-j-1", ""),
    ],
    ids=["GitHub Actions", "GitLab CI", "Jenkins", "CircleCI", "Buildkite"],
)
def test_it_reads_the_variables_of(
    variables: dict[str, str], url: str, actor: str, external_id: str, environment: str
) -> None:
    assert ci.run(variables) == Run(SHA, "v1.4.0", url, actor, external_id, environment)


def test_a_branch_is_no_version() -> None:
    assert ci.run({**GITHUB, "GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "main"}).version == ""


@pytest.mark.parametrize(
    ("variables", "name"),
    [(GITHUB, "GITHUB_RUN_ATTEMPT"), (GITLAB, "CI_JOB_ID"), (BUILDKITE, "BUILDKITE_JOB_ID")],
)
def test_a_run_tried_again_is_another_deployment(variables: dict[str, str], name: str) -> None:
    assert ci.run(variables).external_id != ci.run({**variables, name: "99"}).external_id


@pytest.mark.parametrize("mark", list(ci.SYSTEMS))
def test_a_ci_that_says_only_that_it_is_one_leaves_all_else_open(mark: str) -> None:
    assert ci.run({mark: "true"}) == Run()


def test_a_commit_that_buildkite_does_not_know_yet_is_left_to_git() -> None:
    assert ci.run({**BUILDKITE, "BUILDKITE_COMMIT": "HEAD"}).commit == ""


def test_outside_of_a_ci_the_actor_is_who_is_signed_in() -> None:
    assert ci.run({"LOGNAME": "ada"}) == Run(actor="ada")


def test_in_a_container_nobody_is() -> None:
    assert ci.run({"USER": "root"}) == Run()


def test_a_token_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("bsd_secret\n")
    assert ci.token({"DEPLOY_TOKEN_FILE": str(tmp_path / "token")}) == "bsd_secret"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "DEPLOY_TOKEN"),
        ({"DEPLOY_TOKEN_FILE": "/no/such/file"}, "DEPLOY_TOKEN_FILE"),
        ({"DEPLOY_TOKEN": "bsd_one bsd_two"}, "copied"),
        ({"DEPLOY_TOKEN": "bsd_one\nX-Evil: yes"}, "copied"),
    ],
)
def test_an_unusable_token_is_refused_without_being_told(variables: dict[str, str], said: str) -> None:
    with pytest.raises(NoToken, match=said) as caught:
        ci.token(variables)
    assert "bsd_" not in str(caught.value)
