"""What git knows about a deployment: its commit, its version, and the commits since the last one."""

import re
import subprocess
from datetime import datetime
from pathlib import Path

from .deployments import Commit

SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


class GitError(Exception):
    """git cannot answer; the message says what to do instead."""


class Checkout:
    """A git checkout.

    Args:
        directory: anywhere inside it.

    Raises:
        GitError: where git is missing, or the directory is not inside a checkout.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        try:
            self._git("rev-parse", "--git-dir")
        except GitError as error:
            raise GitError(
                f"{directory} is not inside a git checkout ({error}). Run the command inside one, or name it with "
                "--repository, or tell --commit together with --no-commits or --commits-from."
            ) from None

    def commit(self, reference: str = "HEAD") -> str:
        """The full id of the commit that `reference` names.

        Raises:
            GitError: where there is no such commit.
        """
        try:
            return self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}")
        except GitError:
            raise GitError(f"There is no commit {reference} in this checkout.") from None

    def describe(self, commit: str) -> str:
        """A name for people: the nearest tag, else a short id."""
        return self._git("describe", "--tags", "--always", commit)

    def refuse_if_shallow(self) -> None:
        """Raise GitError where the checkout does not hold the whole history."""
        if self._git("rev-parse", "--is-shallow-repository") == "true":
            raise GitError(
                "This checkout is shallow, so the commits since the last deployment cannot be known. Fetch the whole "
                "history (git fetch --unshallow; in GitHub Actions: fetch-depth: 0), or use --no-commits."
            )

    def commits_between(self, previous: str, this: str) -> list[Commit]:
        """The commits of `git log previous..this`, with their author times.

        Raises:
            GitError: where the checkout is shallow, or does not hold one of the two.
        """
        self.refuse_if_shallow()
        try:
            self.commit(previous)
        except GitError:
            raise GitError(
                f"The previous deployment's commit {previous} is not in this checkout. Fetch it (git fetch --all "
                "--tags), or name where to begin with --previous, or use --no-commits."
            ) from None
        log = self._git("log", "--format=%H %aI", "--end-of-options", f"{previous}..{this}")
        pairs = (line.split(" ", 1) for line in log.splitlines())
        return [Commit(sha, datetime.fromisoformat(authored_at)) for sha, authored_at in pairs]

    def _git(self, *arguments: str) -> str:
        command = ["git", "--no-pager", "-C", str(self.directory), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120)
        except FileNotFoundError:
            raise GitError("git is not installed") from None
        except subprocess.TimeoutExpired:
            raise GitError("git did not answer within two minutes") from None
        if done.returncode:
            raise GitError(done.stderr.strip().splitlines()[0] if done.stderr.strip() else "git failed")
        return done.stdout.strip()
