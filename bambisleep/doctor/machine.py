"""This machine: versions, descriptors, disks, and who may read what is on them."""

import os
import platform
import resource
import shutil
import stat
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import django
from django.conf import settings

from content import probing, storage

from .findings import Finding, check, error, note, ok, warning

DJANGO_SUPPORTED_UNTIL = {(5, 2): date(2028, 4, 30)}
DESCRIPTORS, FEWEST_DESCRIPTORS = 4096, 1024
LOW_SHARE, LEAST_SHARE = 0.10, 0.03  # of a disk that is free
LOW_BYTES, LEAST_BYTES = 2**30, 256 * 2**20


@check("versions")
def versions_are_supported() -> Iterator[Finding]:
    """Of what the site runs on; the servers' are with the servers."""
    yield ok(f"Python {platform.python_version()}, Django {django.get_version()}, {_nginx()}.")
    until = DJANGO_SUPPORTED_UNTIL.get(django.VERSION[:2])
    if until is not None and date.today() > until:  # noqa: DTZ011 - a day more or less
        yield warning(f"Django {django.get_version()} is mended no more since {until}.", "Upgrade the site.")
    if not probing.is_present():
        yield note(
            "There is no ffprobe: how long films are is not known, and what is inside them is not looked at.",
            "Install ffmpeg (apt-get install ffmpeg).",
        )
    if os.geteuid() == 0 and not settings.DEBUG:
        yield note(
            "This runs as root, who may read and write everything: what the site itself may is not seen.",
            "Run it as the site's own user: runuser -u bambisleep -- …",
        )


def _nginx() -> str:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        return "no nginx here"
    said = subprocess.run([program, "-v"], capture_output=True, text=True, timeout=3, check=False).stderr
    return f"nginx {said.strip().rpartition('/')[2] or '?'}"


@check("descriptors")
def descriptors_are_enough() -> Iterator[Finding]:
    """Each connection is one. The limit is that of who runs this; a unit's is its LimitNOFILE."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    remedy = "Raise it: LimitNOFILE=65536 in the unit, or ulimit -n."
    if soft < FEWEST_DESCRIPTORS:
        yield error(f"A process may have {soft} files and connections open: people are turned away.", remedy)
    elif soft < DESCRIPTORS:
        yield note(f"A process started from here may have {soft} files and connections open.", remedy)
    else:
        yield ok(f"A process may have {soft:,} files and connections open.")


@check("disks")
def disks_have_room() -> Iterator[Finding]:
    """The directories that the site writes: there, writable, not everybody's, with room and inodes left."""
    directories = {"DATA_DIR": Path(settings.DATA_DIR), "BACKUP_DIR": Path(settings.BACKUP_DIR)}
    if storage.in_bucket() is None:
        directories["LIBRARY_DIR"] = Path(settings.LIBRARY_DIR)
    for name, directory in directories.items():
        yield from _directory(name, directory)
    data, backups = directories["DATA_DIR"], directories["BACKUP_DIR"]
    if not settings.DEBUG and data.exists() and backups.exists() and data.stat().st_dev == backups.stat().st_dev:
        yield warning(
            "BACKUP_DIR is on the disk of DATA_DIR: who loses the one loses both.",
            "Mount another disk there, or carry each backup elsewhere.",
        )


def _directory(name: str, directory: Path) -> Iterator[Finding]:
    if not directory.is_dir():
        made = "It is made when it is first needed; make it before, to say whose it is."
        yield note(f"{name} ({directory}) is not there yet.", made)
        return
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        yield error(
            f"{name} ({directory}) cannot be written by who runs this.",
            f"chown -R bambisleep: {directory}, if it is the site.",
        )
    if not settings.DEBUG and directory.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        yield warning(f"Everybody on this machine may look into {name} ({directory}).", f"chmod 750 {directory}")
    disk = os.statvfs(directory)
    free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    share, inodes = free / (total or 1), disk.f_favail / disk.f_files if disk.f_files else 1.0
    said = f"{name} ({directory}): {free / 2**30:.1f} GiB free, {share:.0%}"
    remedy = "Make room, or a larger disk; manage.py prune deletes what need not be kept."
    if min(share, inodes) < LEAST_SHARE or free < LEAST_BYTES:
        yield error(f"{said}, and {inodes:.0%} of the inodes: it is nearly full.", remedy)
    elif min(share, inodes) < LOW_SHARE or free < LOW_BYTES:
        yield warning(f"{said}, and {inodes:.0%} of the inodes.", remedy)
    else:
        yield ok(f"{said}.")
