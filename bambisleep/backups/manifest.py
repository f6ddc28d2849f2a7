"""What an archive says of itself: its first member, `manifest.json`; and whether this installation can take it."""

import hashlib
from datetime import datetime
from typing import Literal

import msgspec
from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from accounts.keys import fernet_key
from bambisleep import __version__

from .errors import BackupError, Damaged

FORMAT = 1
MOST_BYTES = 64 * 2**20


class Database(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The database, at the moment of the backup. `tables`: how many rows each had. `migrations`: app.name."""

    vendor: Literal["postgresql", "sqlite"]
    server_version: str
    migrations: list[str]
    tables: dict[str, int]


class Library(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The library's files. In a bucket they stay there. `missing`: of which there is a row, but was no file."""

    place: Literal["directory", "bucket"]
    bucket: str
    files: int
    size_bytes: int
    missing: list[str]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of it. `key`: a fingerprint of SECRET_KEY, without which second factors cannot be read."""

    format: int
    created_at: datetime
    version: str
    revision: str
    key: str
    database: Database
    library: Library


class _Format(msgspec.Struct):
    format: int


def written(manifest: Manifest) -> bytes:
    """It as JSON, for people to read too."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def read(data: bytes) -> Manifest:
    """A manifest from its JSON.

    Raises:
        Damaged: it is none.
        BackupError: it is of a newer format.
    """
    try:
        if (found := msgspec.json.decode(data, type=_Format).format) > FORMAT:
            raise BackupError(f"A newer version of the site made this archive (format {found}): restore with that one.")
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Damaged(f"The archive's manifest cannot be read: {error}.") from None


def made(*, at: datetime, database: Database, library: Library) -> Manifest:
    """The manifest of a backup that is made here and now."""
    return Manifest(FORMAT, at, __version__, settings.REVISION, key_fingerprint(), database, library)


def expect_usable(manifest: Manifest) -> None:
    """Raise BackupError where this installation cannot take what the archive holds."""
    here, there = connection.vendor, manifest.database.vendor
    if here != there:
        raise BackupError(
            f"The archive is of a {there} database, and DATABASE_URL names a {here} one. A backup goes back into the "
            "kind of database that it came from."
        )
    if unknown := sorted(set(manifest.database.migrations) - known_migrations()):
        raise BackupError(
            f"The archive is of version {manifest.version}, which has migrations that this one "
            f"({__version__}) does not know ({', '.join(unknown[:3])}…): restore with the version that made it, or a "
            "later one."
        )
    has_bucket = bool(settings.LIBRARY_BUCKET)
    if manifest.library.place == "bucket" and not has_bucket:
        raise BackupError(
            f"The library's files were in the bucket {manifest.library.bucket!r} and are not in the archive: set "
            "LIBRARY_BUCKET to a copy of it, or to the bucket itself where no other installation uses it any more."
        )
    if manifest.library.place == "directory" and has_bucket:
        raise BackupError(
            "The archive holds the library's files, and LIBRARY_BUCKET is set: restore with LIBRARY_BUCKET empty, then "
            "move the files (docs/how-to/object-storage.md)."
        )


def known_migrations() -> set[str]:
    """Every migration that this version has, as app.name."""
    return {f"{app}.{name}" for app, name in MigrationLoader(None).disk_migrations}


def key_fingerprint(secret: str | None = None) -> str:
    """What tells one SECRET_KEY from another, and nothing else about it."""
    key = fernet_key(secret or settings.SECRET_KEY, purpose="fingerprint in backups")
    return hashlib.sha256(key).hexdigest()[:16]


def knows_key(manifest: Manifest) -> bool:
    """Whether this installation has the SECRET_KEY that the archive's one had, as a former one at least."""
    return manifest.key in map(key_fingerprint, [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS])
