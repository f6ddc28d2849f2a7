"""manage.py lint_migrations: would the last release's code live through the migrations that came since?"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management import BaseCommand, CommandError
from django.db.migrations.loader import MigrationLoader

from bambisleep.migration_rules import HOW, findings

RELEASED = Path(__file__).resolve().parents[2] / "released_migrations.txt"
HEAD = "# The migrations of the last release; `manage.py lint_migrations --release` writes this, when one is made.\n"


class Command(BaseCommand):
    """Looks at each migration that is not of the last release."""

    help = (
        "Look at each migration since the last release, without a database: whether that release's processes, which "
        f"still serve while it is applied, would live through it. The rules are in {HOW}."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--release", action="store_true", help="a release is made: from now on, hold later migrations against it"
        )
        parser.add_argument(
            "--released", type=Path, default=RELEASED, metavar="FILE", help="the list of its migrations (%(default)s)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Look, or write the list."""
        loader = MigrationLoader(None)
        ours = sorted(key for key in loader.graph.nodes if _is_ours(key[0]))
        path: Path = options["released"]
        if options["release"]:
            path.write_text(HEAD + "".join(f"{app} {name}\n" for app, name in ours))
            self.stdout.write(f"{len(ours)} migrations are released.")
            return
        released = _read(path)
        state = loader.project_state([key for key in ours if key in released])
        new = [key for key in ours if key not in released]
        wrong = 0
        for key in new:
            before = loader.project_state(key, at_end=False)
            for finding in findings(loader.graph.nodes[key], before=before, released=state):
                wrong += 1
                self.stderr.write(f"{key[0]} {key[1]}: {finding}")
        if wrong:
            raise CommandError(f"{wrong} steps would not be safe while the last release serves.")
        self.stdout.write(f"{len(new)} migrations since the last release; it would live through all of them.")


def _is_ours(label: str) -> bool:
    path = Path(apps.get_app_config(label).path)
    return path.is_relative_to(settings.BASE_DIR) and ".venv" not in path.parts


def _read(path: Path) -> set[tuple[str, str]]:
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
    pairs = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    if any(len(pair) != 2 for pair in pairs):
        raise CommandError(f"{path}: each line is the name of an app and of a migration.")
    return {(app, name) for app, name in pairs}
