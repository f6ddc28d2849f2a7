"""What a deployment should be told of its library before it goes live."""

import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Tags, register

from . import probing


@register(Tags.files)
def library_is_a_place_of_its_own(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """content.E001: what is in the directory of static files is served to everybody; content.W001: nothing can be
    taken in. (With a bucket the directory still takes what is on its way.)"""
    directory, static = Path(settings.LIBRARY_DIR).resolve(), Path(settings.STATIC_ROOT).resolve()
    found: list[CheckMessage] = []
    if directory == static or static in directory.parents or directory in static.parents:
        found.append(
            checks.Error(
                f"LIBRARY_DIR ({directory}) and the static files ({static}) lie in one another.",
                hint="Static files are served to everybody: give the library a directory that holds nothing else.",
                id="content.E001",
            )
        )
    there = next(path for path in (directory, *directory.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        found.append(
            checks.Warning(
                f"LIBRARY_DIR ({directory}) cannot be written: no file can be taken into the library.",
                hint="Make the directory, and give it to the user that the site runs as.",
                id="content.W001",
            )
        )
    return found


@register(Tags.files, deploy=True)
def ffprobe_is_there(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """content.W002: without ffprobe films are taken by their beginnings; that may be meant so, and is no warning."""
    if probing.is_present():
        return []
    return [
        checks.Info(
            "There is no ffprobe: how long films are is not known, and what is inside them is not looked at.",
            hint="Install ffmpeg (Debian: apt-get install ffmpeg).",
            id="content.W002",
        )
    ]
