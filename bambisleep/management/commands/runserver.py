"""manage.py runserver: daphne's, listening on PORT, with the same application as in production."""

from typing import Any

from daphne.management.commands.runserver import Command as DaphneCommand
from daphne.management.commands.runserver import get_default_application
from django.conf import settings


class Command(DaphneCommand):
    """The development server, restarted when code changes."""

    default_port = str(settings.PORT)

    def get_application(self, options: dict[str, Any]) -> Any:
        """The application as it is: WhiteNoise serves the static files, so that the edge sees every request."""
        return get_default_application()  # type: ignore[no-untyped-call]
