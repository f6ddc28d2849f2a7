"""manage.py start: everything that `make run` does once the packages are installed."""

import errno
import os
import secrets
import socket
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from accounts.models import User
from bambisleep import standin
from observability.delivery.models import Pipeline
from observability.http.docker import bridge_address
from observability.refresh import refresh

ADMIN = "admin"


class Command(BaseCommand):
    """Migrates, makes the first superuser, loads the demo content, and becomes daphne."""

    help = "Prepare the database and serve the site on PORT, on loopback and on docker's bridge."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--stripe", choices=["standin"], help="run a stand-in for Stripe's API beside the site")

    def handle(self, *args: Any, **options: Any) -> None:
        """Prepare, say where things are, and serve."""
        if not settings.DEBUG:
            raise CommandError("`start` is for development. In production run the ASGI application (DEPLOYMENT.md).")
        if options["stripe"] and not standin.is_beside():
            try:
                standin.begin_again_beside_it()
            except standin.DidNotStart as error:
                raise CommandError(f"The stand-in for Stripe did not start: see {_shown(error.log)}.") from None
        addresses = ["127.0.0.1", *bridge_address()]
        for address in addresses:
            self._refuse_if_taken(address)
        self._migrate()
        password_file = settings.DATA_DIR / "admin-password"
        self._ensure_superuser(password_file)
        if not Pipeline.objects.filter(service="demo").exists() and not (settings.DATA_DIR / "no-demo").exists():
            call_command("load_demo", stdout=self.stdout)
        if standin.is_beside():
            call_command("sync_stripe", stdout=self.stdout)
        refresh()
        base = f"http://localhost:{settings.PORT}"
        self.stdout.write(
            f"""
  Site       {base}/
  Admin      {base}/admin/      user {ADMIN}, password in {_shown(password_file)}
  Metrics    {base}/metrics
  Health     {base}/health
  DORA       {base}/dora        (demo data: {base}/dora?service=demo)
  API docs   {base}/api/docs
  Library    {base}/content/
  Chat       {base}/chat/
  Plans      {base}/billing/plans/
{_about_stripe()}  Watch it   make monitoring, or make monitoring-native

  Listening on {" and ".join(f"{address}:{settings.PORT}" for address in addresses)}. Ctrl-C ends it.
"""
        )
        self.stdout.flush()
        connection.close()
        os.chdir(settings.BASE_DIR)
        endpoints = [f"tcp:port={settings.PORT}:interface={address}" for address in addresses]
        arguments = [flag for endpoint in endpoints for flag in ("--endpoint", endpoint)]
        os.execv(  # noqa: S606
            sys.executable,
            [
                sys.executable,
                "-m",
                "daphne",
                "--verbosity",
                "0",
                "--no-server-name",
                *arguments,
                "bambisleep.asgi:application",
            ],
        )

    def _refuse_if_taken(self, address: str) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, settings.PORT))
            except OSError as error:
                taken = error.errno == errno.EADDRINUSE
                reason = "Address already in use: choose another, such as PORT=3001 make run." if taken else str(error)
                raise CommandError(f"Port {settings.PORT} of {address} cannot be had. {reason}") from None

    def _migrate(self) -> None:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            self.stdout.write("Preparing the database …")
            call_command("migrate", verbosity=0, interactive=False)

    def _ensure_superuser(self, password_file: Path) -> None:
        """A superuser with a random password, kept in a file that only its owner can read."""
        if User.objects.filter(is_superuser=True).exists():
            return
        password = secrets.token_urlsafe(18)
        password_file.unlink(missing_ok=True)
        with open(os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(password + "\n")
        User.objects.create_superuser(ADMIN, "admin@localhost.localdomain", password)


def _about_stripe() -> str:
    if not standin.is_beside():
        return ""
    return f"  Stripe     {settings.STRIPE_API_BASE}/       a stand-in for Stripe, and its clock to move\n"


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
