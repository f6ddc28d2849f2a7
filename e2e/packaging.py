"""What the packages of the site lean on: the settings' variables, the commands, and how files of each kind are read."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from django.conf import settings
from django.core.management import get_commands, load_command_class

from e2e.servers import ROOT

PORT = 3000
SYSTEMD = ROOT / "deploy" / "systemd"
KUBERNETES = ROOT / "deploy" / "kubernetes"


@cache
def known_variables() -> frozenset[str]:
    """What .env.example lists, which is what the settings read (a test of theirs)."""
    listed = re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    return frozenset(listed) | {f"{name}_FILE" for name in listed}


def refused(command: list[str]) -> str:
    """Why `python manage.py …` could not be run, as argparse says it; empty where it could."""
    assert command[:2] == ["python", "manage.py"], command
    name, *arguments = command[2:]
    application = get_commands().get(name)
    if application is None:
        return f"there is no command {name}"
    found = load_command_class(application, name) if isinstance(application, str) else application
    parser = found.create_parser("manage.py", name)
    _, unknown = parser.parse_known_args(arguments)
    return f"{name} does not take {unknown}" if unknown else ""


def stopping_seconds() -> float:
    """How long `serve` may take from SIGTERM to its end: draining, first words, what is under way, background, exit."""
    from bambisleep import serving

    first_word = serving.FIRST_WORD_TURNS * serving.TURN_SECONDS
    rest = first_word + serving.BACKGROUND_SECONDS + serving.LAST_RESORT_SECONDS
    return settings.DRAIN_SECONDS + settings.SHUTDOWN_SECONDS + rest


def unit(name: str) -> dict[str, list[str]]:
    """The words of a unit with what is dropped into it; each key's values in order."""
    found: dict[str, list[str]] = {}
    prefix = [SYSTEMD / "bambisleep-.service.d"] if re.match(r"bambisleep-.*\.service$", name) else []
    dropped = sorted((p for d in [*prefix, SYSTEMD / f"{name}.d"] for p in d.glob("*.conf")), key=lambda p: p.name)
    for path in [SYSTEMD / name, *dropped]:
        for line in path.read_text().splitlines():
            key, separator, value = line.partition("=")
            if separator and not line.startswith("#"):
                found.setdefault(key, []).append(value)
    return found


def environment_of(words: dict[str, list[str]]) -> set[str]:
    """The variables that a unit sets."""
    return {word.partition("=")[0] for line in words.get("Environment", []) for word in shlex.split(line)}


def manifests(directory: Path) -> Iterator[dict[str, Any]]:
    """Every object of the files that a folder's kustomization lists."""
    kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text())
    for name in kustomization["resources"]:
        if (directory / name).is_file():
            yield from yaml.safe_load_all((directory / name).read_text())


def pod_of(manifest: dict[str, Any]) -> dict[str, Any] | None:
    """The pod that a manifest makes, if it makes one."""
    spec = manifest.get("spec", {})
    if manifest["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    template: dict[str, Any] | None = spec.get("template", {}).get("spec")
    return template


def strings(value: Any) -> Iterator[str]:
    """Every text in it."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
