"""What a CI says about the run it is in: GitHub Actions, GitLab CI, Jenkins, CircleCI and Buildkite.

Its variables are input of a command, not settings of ours; this is the one place that reads them.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Variables = Mapping[str, str]


class NoToken(Exception):
    """There is no usable deploy token; the message says where to put one. It never holds the token."""


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at one run; empty strings where the CI does not say.

    Attributes:
        external_id: names the attempt, so that a run tried again is another deployment.
        version: the tag that is built, if one is.
    """

    commit: str = ""
    version: str = ""
    url: str = ""
    actor: str = ""
    external_id: str = ""
    environment: str = ""


def variables() -> Variables:
    """The environment of this process."""
    return os.environ


def run(told: Variables) -> Run:
    """What `told`, the variables of the first CI that is recognised in it, says; outside of any, who is signed in."""
    for mark, read in SYSTEMS.items():
        if told.get(mark):
            return read(told)
    user = told.get("LOGNAME") or told.get("USER", "")
    return Run(actor="" if user == "root" else user)  # in a container everybody is root


def token(told: Variables) -> str:
    """The deploy token in DEPLOY_TOKEN, or in the file that DEPLOY_TOKEN_FILE names.

    Raises:
        NoToken: where there is none, or it holds what no token does.
    """
    found = told.get("DEPLOY_TOKEN", "").strip()
    if not found and (name := told.get("DEPLOY_TOKEN_FILE", "")):
        try:
            found = Path(name).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise NoToken(f"DEPLOY_TOKEN_FILE cannot be read: {type(error).__name__}.") from None
    if not found:
        raise NoToken("Set DEPLOY_TOKEN, or DEPLOY_TOKEN_FILE to a file that holds it. The admin there issues tokens.")
    if not (found.isascii() and found.isprintable() and " " not in found):
        raise NoToken("The deploy token holds characters that no token has: was it copied whole, and alone?")
    return found


def _github(told: Variables) -> Run:
    repository = "/".join((told.get("GITHUB_SERVER_URL", "https://github.com"), told.get("GITHUB_REPOSITORY", "")))
    number = told.get("GITHUB_RUN_ID", "")
    return Run(
        commit=told.get("GITHUB_SHA", ""),
        version=told.get("GITHUB_REF_NAME", "") if told.get("GITHUB_REF_TYPE") == "tag" else "",
        url=f"{repository}/actions/runs/{number}" if number and told.get("GITHUB_REPOSITORY") else "",
        actor=told.get("GITHUB_TRIGGERING_ACTOR") or told.get("GITHUB_ACTOR", ""),
        external_id=f"github-{number}-{told.get('GITHUB_RUN_ATTEMPT') or 1}" if number else "",
    )


def _gitlab(told: Variables) -> Run:
    # The job, not the pipeline: GitLab's own retry, re-deploy and rollback run the job again in the same pipeline.
    return Run(
        commit=told.get("CI_COMMIT_SHA", ""),
        version=told.get("CI_COMMIT_TAG", ""),
        url=told.get("CI_JOB_URL") or told.get("CI_PIPELINE_URL", ""),
        actor=told.get("GITLAB_USER_LOGIN", ""),
        external_id=_named("gitlab", told.get("CI_JOB_ID")),
        environment=told.get("CI_ENVIRONMENT_NAME", ""),
    )


def _jenkins(told: Variables) -> Run:
    number = f"{told['JOB_NAME']}-{told['BUILD_NUMBER']}" if told.get("JOB_NAME") and told.get("BUILD_NUMBER") else ""
    return Run(
        commit=told.get("GIT_COMMIT", ""),
        version=told.get("TAG_NAME", ""),
        url=told.get("BUILD_URL", ""),
        actor=told.get("BUILD_USER_ID") or told.get("CHANGE_AUTHOR", ""),  # both come from plugins
        external_id=told.get("BUILD_TAG") or _named("jenkins", number),
    )


def _circleci(told: Variables) -> Run:
    return Run(
        commit=told.get("CIRCLE_SHA1", ""),
        version=told.get("CIRCLE_TAG", ""),
        url=told.get("CIRCLE_BUILD_URL", ""),
        actor=told.get("CIRCLE_USERNAME", ""),
        external_id=_named("circleci", told.get("CIRCLE_WORKFLOW_JOB_ID") or told.get("CIRCLE_BUILD_NUM")),
    )


def _buildkite(told: Variables) -> Run:
    commit = told.get("BUILDKITE_COMMIT", "")
    job = told.get("BUILDKITE_JOB_ID", "")
    url = told.get("BUILDKITE_BUILD_URL", "")
    return Run(
        commit="" if commit == "HEAD" else commit,  # so says a build that was not yet checked out
        version=told.get("BUILDKITE_TAG", ""),
        url=f"{url}#{job}" if url and job else url,
        actor=told.get("BUILDKITE_BUILD_CREATOR", ""),
        external_id=_named("buildkite", job or told.get("BUILDKITE_BUILD_ID")),
    )


def _named(system: str, number: str | None) -> str:
    return f"{system}-{number}" if number else ""


# The variable that each sets wherever it runs, and how to read the others.
SYSTEMS: dict[str, Callable[[Variables], Run]] = {
    "GITHUB_ACTIONS": _github,
    "GITLAB_CI": _gitlab,
    "CIRCLECI": _circleci,
    "BUILDKITE": _buildkite,
    "JENKINS_URL": _jenkins,
}
