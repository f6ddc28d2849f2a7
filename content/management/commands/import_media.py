"""manage.py import_media: take files of this machine into the library, of gigabytes too."""

import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError
from django.template.defaultfilters import filesizeformat
from django.urls import reverse

from content import importing
from content.formats import Inspected
from content.importing import Brought, Draft
from content.models import Collection, FileKind, Item, Kind, Role
from content.templatetags.library import clock
from observability.management.progress import Progress
from observability.problems import Problem

AGAIN = "Run the same command again to go on where it stopped."
MEGABYTE = 1_000_000


class Command(BaseCommand):
    """Copies, looks, and says what became of each file."""

    help = (
        "Take files of this machine into the library: MP4, M4A, WebM, Ogg, MP3, FLAC, WAV, JPEG, PNG, WebP. The files "
        "stay where they are. With --item each becomes a file of that item; with --title, --kind or --collection a "
        "draft is made for each; with none of them it waits for an item. A copy that was interrupted goes on when the "
        "same command is run again within two days, and what is in the library already is not copied twice. Run it as "
        "the user that the site runs as."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file")
        parser.add_argument("--item", metavar="SLUG", help="the item that the files belong to")
        parser.add_argument(
            "--role",
            choices=Role.values,
            default=Role.MAIN.value,
            help="main: the recording or film; poster: the picture in lists; illustration: a picture in the text. A "
            "new main file or poster takes the place of the old one (default: %(default)s)",
        )
        parser.add_argument("--title", help="of the draft that is made (by default after the file's name)")
        parser.add_argument("--kind", choices=[Kind.AUDIO.value, Kind.VIDEO.value], help="of the draft that is made")
        parser.add_argument("--collection", metavar="SLUG", help="of the drafts that are made")
        parser.add_argument("--dry-run", action="store_true", help="look at the files, take none")

    def handle(self, *args: Any, paths: list[Path], dry_run: bool, **options: Any) -> None:
        """One after the other; one that is refused keeps none of the others out."""
        role, item = Role(options["role"]), _found(Item, options["item"])
        draft = _draft(options)
        if draft is not None and (item is not None or role != Role.MAIN):
            raise CommandError("A draft is made for a recording or film alone: leave --item and --role, or the others.")
        if len(paths) > 1 and (options["title"] or (item is not None and role != Role.ILLUSTRATION)):
            raise CommandError("That is for one file: the others would take its place, or its title.")
        failed = 0
        for path in paths:
            try:
                if dry_run:
                    found = importing.look(path, item=item, role=role, draft=draft)
                    self.stdout.write(f"{path}: {_described(path, found)} would be taken.")
                else:
                    self._bring(path, item, role, draft)
            except Problem as problem:
                failed += 1
                self.stderr.write(self.style.ERROR(f"{path}: {problem.detail}"))
            except (OperationalError, InterfaceError) as error:
                raise CommandError(f"The database failed ({str(error).strip().splitlines()[0]}). {AGAIN}") from None
            except OSError as error:
                failed += 1
                self.stderr.write(self.style.ERROR(f"{path}: {error.strerror or error}."))
        if failed:
            raise CommandError(f"{failed} of {len(paths)} {'file' if len(paths) == 1 else 'files'} not taken.")

    def _bring(self, path: Path, item: Item | None, role: Role, draft: Draft | None) -> None:
        progress = Progress(self.stderr)
        began, first = time.monotonic(), -1

        def draw(done: int, total: int) -> None:
            nonlocal first
            first = done if first < 0 else first
            rate = (done - first) / max(time.monotonic() - began, 0.001) / MEGABYTE
            part = 100 * done // total if total else 100
            progress.draw(f"{path.name}: {part} %, {filesizeformat(done)} of {filesizeformat(total)}, {rate:.0f} MB/s")

        try:
            brought = importing.bring(path, item=item, role=role, draft=draft, progress=draw)
        except KeyboardInterrupt:
            progress.clear()
            raise CommandError(f"Interrupted. {AGAIN}", returncode=130) from None
        finally:
            progress.clear()
        self.stdout.write(f"{path}: {_told(brought)}")


def _found(model: Any, slug: str | None) -> Any:
    """The item or collection of that slug; raises CommandError where there is none."""
    if slug is None:
        return None
    found = model.objects.filter(slug=slug).first()
    if found is None:
        raise CommandError(f"There is no {model._meta.verbose_name} with the slug {slug!r}.")
    return found


def _draft(options: dict[str, Any]) -> Draft | None:
    title, kind, collection = options["title"], options["kind"], options["collection"]
    if title is None and kind is None and collection is None:
        return None
    return Draft((title or "").strip(), Kind(kind) if kind else None, _found(Collection, collection))


def _described(path: Path, found: Inspected) -> str:
    parts = [found.content_type, filesizeformat(path.stat().st_size)]
    if found.duration_seconds is not None:
        parts.append(clock(found.duration_seconds))
    if found.kind != FileKind.AUDIO and found.width:
        parts.append(f"{found.width} × {found.height}")
    return ", ".join(parts).replace("\xa0", " ")


def _told(brought: Brought) -> str:
    file = brought.file
    word = "in the library" if brought.is_new else "in the library already"
    if file.item is None:
        page = reverse("admin:content_mediafile_change", args=[file.pk])
        return f"{word}, without an item yet: {settings.PUBLIC_URL}{page}"
    page = reverse("admin:content_item_change", args=[file.item.pk])
    return f"{word}, {file.get_role_display()} of “{file.item}” ({file.item.state}): {settings.PUBLIC_URL}{page}"
