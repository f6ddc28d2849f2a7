"""The app's configuration: what must be declared before the first request."""

from importlib import import_module
from importlib.util import find_spec

from django.apps import AppConfig, apps


class ObservabilityConfig(AppConfig):
    """Loads every app's `metrics` and `facts`, so that the first scrape is complete, and its `retention`."""

    name = "observability"
    verbose_name = "Observability"

    def ready(self) -> None:
        """Load them."""
        from . import build, cache, checks, maintenance, memory, security  # noqa: F401
        from .http import metrics  # noqa: F401

        for app in apps.get_app_configs():
            for module in ("metrics", "facts", "retention"):
                if find_spec(f"{app.name}.{module}") is not None and not app.name.startswith("django"):
                    import_module(f"{app.name}.{module}")
