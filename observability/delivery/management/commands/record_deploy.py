"""manage.py record_deploy: record a deployment, from CI or by hand, here or in another installation."""

import json
import sys
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from observability.delivery import ci, deployments
from observability.delivery.deployments import Commit
from observability.delivery.git import Checkout, GitError
from observability.delivery.management.shell import NOTHING, instant, moment, plain_errors
from observability.delivery.models import Kind, Status
from observability.delivery.remote import Remote, RemoteError
from observability.refresh import refresh


class Command(BaseCommand):
    """Reads what CI and git know, and records it."""

    help = (
        "Record a deployment. In GitHub Actions, GitLab CI, Jenkins, CircleCI and Buildkite the commit, the version, "
        "the link and the actor are found by themselves, in a git checkout the commits since the last succeeded "
        "deployment too. The same deployment told twice is one row; one recorded as started may be finished later."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Django's own --version tells Django's version, which nobody asks here; ours replaces it."""
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--service", default=settings.DEPLOY_SERVICE, help="default: %(default)s")
        parser.add_argument(
            "--environment", help=f"default: DEPLOY_ENVIRONMENT, else CI's, else {settings.DEPLOY_ENVIRONMENT}"
        )
        parser.add_argument("--version", metavar="VERSION", help="default: CI's tag, else git describe --tags")
        parser.add_argument("--commit", metavar="SHA", help="the deployed commit (default: CI's, else HEAD)")
        parser.add_argument(
            "--external-id",
            default="",
            help="names the deployment (default: CI's run and attempt, else version+commit)",
        )
        parser.add_argument("--status", choices=Status.values, default=Status.SUCCEEDED.value)
        parser.add_argument("--kind", choices=Kind.values, default=Kind.PLANNED.value)
        parser.add_argument("--started", metavar="TIME", type=moment, help="ISO 8601, or seconds since 1970")
        parser.add_argument("--finished", metavar="TIME", type=moment, help="the same (default: now)")
        parser.add_argument("--url", default="", help="link to the run (default: CI's)")
        parser.add_argument("--actor", default="", help="who or what deployed (default: CI's)")
        parser.add_argument("--previous", metavar="SHA", help="begin the range here instead of at the last deployment")
        parser.add_argument(
            "--commits-from",
            metavar="FILE",
            help="read the commits from FILE (- for standard input), one a line: sha, blank, ISO 8601 author time",
        )
        parser.add_argument("--no-commits", action="store_true", help="record no commits, and so no lead time")
        parser.add_argument("--repository", type=Path, help="the checkout (default: here)")
        parser.add_argument(
            "--remote",
            metavar="URL",
            help="record in the installation at URL, with the token in DEPLOY_TOKEN or in the file DEPLOY_TOKEN_FILE",
        )
        parser.add_argument("--dry-run", action="store_true", help="show what would be recorded, and record nothing")
        parser.add_argument("--json", action="store_true", help="answer in JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Record, and say what became of it."""
        try:
            variables = ci.variables()
            remote = Remote(options["remote"], ci.token(variables)) if options["remote"] else None
            told = self._told(options, variables, remote)
            if options["dry_run"]:
                shown = {name: value for name, value in told.items() if name != "commits"}
                self._answer("would be recorded", shown, len(told["commits"]), as_json=options["json"])
            elif remote:
                answer = remote.record(_entry(told))
                shown = {**told, **answer.get("deployment", {})}
                shown = {name: shown[name] for name in ("id", *told) if name != "commits" and name in shown}
                self._answer(str(answer.get("outcome")), shown, len(told["commits"]), as_json=options["json"])
            else:
                self._record_here(told, as_json=options["json"])
        except (GitError, RemoteError, ci.NoToken) as error:
            raise CommandError(f"{error}\n{NOTHING}") from None

    def _record_here(self, told: dict[str, Any], *, as_json: bool) -> None:
        with plain_errors():
            recorded = deployments.record(**told)
        refresh()
        row = recorded.deployment
        shown = {name: getattr(row, name) for name in ("id", *told) if name != "commits"}
        self._answer(recorded.outcome, shown, row.commits.count(), as_json=as_json)

    def _told(self, options: dict[str, Any], variables: ci.Variables, remote: Remote | None) -> dict[str, Any]:
        run = ci.run(variables)
        # CI speaks of the commit that it checked out, and of no other repository or commit.
        known = run.commit if options["repository"] is None else ""
        wanted = options["commit"] or known
        tag = run.version if wanted and wanted == known else ""
        version = options["version"] or tag
        from_git = not (options["no_commits"] or options["commits_from"])
        checkout = Checkout(options["repository"] or Path.cwd()) if from_git or not (wanted and version) else None
        sha = checkout.commit(wanted or "HEAD") if checkout else wanted
        version = version or (checkout.describe(sha) if checkout else sha)
        external_id = options["external_id"] or run.external_id
        external_id = external_id or deployments.default_external_id(version=version, sha=sha)
        environment = settings.DEPLOY_ENVIRONMENT
        if not variables.get("DEPLOY_ENVIRONMENT"):
            environment = run.environment or environment
        pipeline = {"service": options["service"], "environment": options["environment"] or environment}
        previous = options["previous"] or ""
        self._asked = not previous and (remote is None or from_git)
        if self._asked:
            asked = remote or deployments
            previous = asked.previous_commit(**pipeline, external_id=external_id)
            if previous == sha:
                previous, self._asked = "", False  # the same commit deployed again brings none
        commits = self._commits(options, checkout, previous, sha)
        if checkout and from_git and previous:
            previous = checkout.commit(previous)  # --previous may name a tag
        return {
            **pipeline,
            "version": version,
            "sha": sha,
            "external_id": external_id,
            "status": options["status"],
            "kind": options["kind"],
            "started_at": options["started"],
            "finished_at": options["finished"],
            "url": options["url"] or run.url,
            "actor": options["actor"] or run.actor,
            "previous_sha": previous,
            "commits": commits,
        }

    def _commits(self, options: dict[str, Any], checkout: Checkout | None, previous: str, sha: str) -> list[Commit]:
        if options["commits_from"]:
            return read_commits(options["commits_from"])
        if options["no_commits"] or checkout is None:
            return []
        checkout.refuse_if_shallow()
        # The first deployment of a service brings its whole history; none of that counts as lead time.
        return checkout.commits_between(previous, sha) if previous else []

    def _answer(self, outcome: str, shown: dict[str, Any], commits: int, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps({"outcome": outcome, **shown, "commits": commits}, cls=DjangoJSONEncoder))
            return
        since = ""
        if shown["previous_sha"]:
            since = f", {commits} commit{'' if commits == 1 else 's'} since {shown['previous_sha'][:12]}"
        elif not commits and self._asked:
            since = ", the first there: lead time counts from the next one on"
        self.stdout.write(
            f"{shown['service']} {shown['version']} → {shown['environment']}: {shown['status']}{since} ({outcome})"
        )


def _entry(told: dict[str, Any]) -> dict[str, Any]:
    """The import format. The time is ours and set once, so that an attempt that comes late tells the same."""
    finished_at = told["finished_at"] or (None if told["status"] == Status.STARTED else datetime.now(UTC))
    entry = {name: told[name] for name in ("service", "environment", "version", "sha", "external_id", "status", "kind")}
    times = {"started_at": told["started_at"], "deployed_at": finished_at}
    return {
        **entry,
        **{name: at.isoformat() for name, at in times.items() if at},
        **{name: told[name] for name in ("url", "actor") if told[name]},
        **({"previous": told["previous_sha"]} if told["previous_sha"] else {}),
        "commits": [{"sha": commit.sha, "authored_at": commit.authored_at.isoformat()} for commit in told["commits"]],
    }


def read_commits(name: str) -> list[Commit]:
    """Read `sha author-time` lines from a file, or from standard input where `name` is "-".

    Raises:
        CommandError: naming the line that cannot be read.
    """
    try:
        lines = sys.stdin.read().splitlines() if name == "-" else Path(name).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{name} cannot be read ({error}). Nothing was recorded.") from None
    commits = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                sha, authored_at = line.split(maxsplit=1)
                commits.append(Commit(sha, instant(authored_at.strip())))
            except ValueError:
                raise CommandError(
                    f"{name}, line {number}: expected a commit and its author time, not {line[:80]!r}. "
                    "Nothing was recorded."
                ) from None
    return commits
