"""The project as an app: its commands, templates and tests."""

from django.apps import AppConfig


class BambisleepConfig(AppConfig):
    """The project."""

    name = "bambisleep"
