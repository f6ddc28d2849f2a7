"""manage.py record_deploy: record a deployment, from CI or by hand."""

import json
import sys
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from observability.delivery import deployments
from observability.delivery.deployments import Commit
from observability.delivery.git import Checkout, GitError
from observability.delivery.models import Kind, Status
from observability.problems import Problem
from observability.refresh import refresh


def moment(text: str) -> datetime:
    """A time from ISO 8601 or from seconds since 1970; without an offset it is UTC. Raises ValueError."""
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except (OverflowError, OSError):
        raise ValueError(f"{text} lies outside of what a date can be.") from None
    except ValueError:
        parsed = datetime.fromisoformat(text)
        return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


class Command(BaseCommand):
    """Reads what git knows, and records it."""

    help = (
        "Record a deployment. Inside a git checkout the commit, the version and the commits since the last succeeded "
        "deployment are found by themselves. The same deployment told twice is one row."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Django's own --version tells Django's version, which nobody asks here; ours replaces it."""
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--service", default=settings.DEPLOY_SERVICE, help="default: %(default)s")
        parser.add_argument("--environment", default=settings.DEPLOY_ENVIRONMENT, help="default: %(default)s")
        parser.add_argument("--version", metavar="VERSION", help="what is deployed (default: git describe --tags)")
        parser.add_argument("--commit", metavar="SHA", help="the deployed commit (default: HEAD)")
        parser.add_argument("--external-id", default="", help="what CI calls it (default: version+commit)")
        parser.add_argument("--status", choices=Status.values, default=Status.SUCCEEDED.value)
        parser.add_argument("--kind", choices=Kind.values, default=Kind.PLANNED.value)
        parser.add_argument("--started", metavar="TIME", type=moment, help="ISO 8601, or seconds since 1970")
        parser.add_argument("--finished", metavar="TIME", type=moment, help="the same (default: now)")
        parser.add_argument("--url", default="", help="link to the CI run")
        parser.add_argument("--actor", default="", help="who or what deployed")
        parser.add_argument("--previous", metavar="SHA", help="begin the range here instead of at the last deployment")
        parser.add_argument(
            "--commits-from",
            metavar="FILE",
            help="read the commits from FILE (- for standard input), one a line: sha, blank, ISO 8601 author time",
        )
        parser.add_argument("--no-commits", action="store_true", help="record no commits, and so no lead time")
        parser.add_argument("--repository", type=Path, default=Path.cwd(), help="the checkout (default: here)")
        parser.add_argument("--dry-run", action="store_true", help="show what would be recorded, and record nothing")
        parser.add_argument("--json", action="store_true", help="answer in JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Record, and say what became of it."""
        try:
            told = self._told(options)
            if options["dry_run"]:
                shown = {name: value for name, value in told.items() if name != "commits"}
                self._answer("would be recorded", shown, len(told["commits"]), as_json=options["json"])
                return
            recorded = deployments.record(**told)
        except GitError as error:
            raise CommandError(f"{error}\nNothing was recorded.") from None
        except Problem as problem:
            details = "".join(f"\n  {field}: {' '.join(texts)}" for field, texts in (problem.errors or {}).items())
            raise CommandError(f"{problem.detail}{details}\nNothing was recorded.") from None
        refresh()
        row = recorded.deployment
        shown = {name: getattr(row, name) for name in ("id", *told) if name != "commits"}
        self._answer(recorded.outcome, shown, row.commits.count(), as_json=options["json"])

    def _told(self, options: dict[str, Any]) -> dict[str, Any]:
        needs_git = not (options["commit"] and options["version"]) or not (
            options["no_commits"] or options["commits_from"]
        )
        checkout = Checkout(options["repository"]) if needs_git else None
        sha = checkout.commit(options["commit"] or "HEAD") if checkout else options["commit"]
        version = options["version"] or (checkout.describe(sha) if checkout else sha)
        external_id = options["external_id"] or deployments.default_external_id(version=version, sha=sha)
        pipeline = {"service": options["service"], "environment": options["environment"]}
        previous = options["previous"] or deployments.previous_commit(**pipeline, external_id=external_id)
        return {
            **pipeline,
            "version": version,
            "sha": sha,
            "external_id": external_id,
            "status": options["status"],
            "kind": options["kind"],
            "started_at": options["started"],
            "finished_at": options["finished"],
            "url": options["url"],
            "actor": options["actor"],
            "previous_sha": previous,
            "commits": self._commits(options, checkout, previous, sha),
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
            self.stdout.write(json.dumps({"outcome": outcome, **shown, "commits": commits}, default=str))
            return
        if shown["previous_sha"]:
            since = f", {commits} commit{'' if commits == 1 else 's'} since {shown['previous_sha'][:12]}"
        else:
            since = ", the first there: lead time counts from the next one on"
        self.stdout.write(
            f"{shown['service']} {shown['version']} → {shown['environment']}: {shown['status']}{since} ({outcome})"
        )


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
                commits.append(Commit(sha, moment(authored_at.strip())))
            except ValueError:
                raise CommandError(
                    f"{name}, line {number}: expected a commit and its author time, not {line[:80]!r}. "
                    "Nothing was recorded."
                ) from None
    return commits
