"""manage.py serve: one process of the site, for production."""

import sys
import threading
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from bambisleep import listening, serving


class Command(BaseCommand):
    """Listens, serves, drains, ends."""

    help = (
        "Serve the site with uvicorn, in this process, until SIGTERM or SIGINT; then drain for DRAIN_SECONDS, and "
        "finish what is under way within SHUTDOWN_SECONDS. A second signal ends it at once. A socket that systemd "
        "passes (LISTEN_FDS) is taken by itself. Several processes behind a proxy, each its own scrape target, "
        "restarted one after the other, lose nothing (DEPLOYMENT.md)."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=settings.PORT, help="the port (default: PORT, %(default)s)")
        parser.add_argument("--uds", metavar="PATH", help="a Unix socket to listen on, instead of an address")
        parser.add_argument("--fd", type=int, metavar="N", help="an open descriptor to listen on, instead of both")

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until told to stop."""
        if settings.DEBUG:
            raise CommandError(
                "`serve` is for production: set DEBUG=false. In development, `make run` serves the site."
            )
        try:
            sockets = listening.sockets(
                host=options["host"], port=options["port"], uds=options["uds"], fd=options["fd"]
            )
        except listening.CannotListen as error:
            raise CommandError(str(error)) from None
        threading.Thread(target=self._warn, name="warnings", daemon=True).start()
        sys.exit(serving.serve(sockets))

    def _warn(self) -> None:
        """Say what will be missed; it serves all the same, for /health/ready keeps requests away meanwhile."""
        if not (settings.STATIC_ROOT / "staticfiles.json").exists():
            self.stderr.write("Static files are not collected: run manage.py collectstatic, or pages fail.")
        try:
            executor = MigrationExecutor(connection)
            missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        except DatabaseError as error:
            self.stderr.write(f"The database does not answer yet: {str(error).strip()[:200]}")
            return
        finally:
            connection.close()
        if missing:
            self.stderr.write(f"{missing} migrations are not applied: run manage.py migrate.")
