"""Alertmanager's API v2, as far as it is asked: which alerts fire, and since when it has been up."""

import json
from datetime import datetime
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

TIMEOUT_SECONDS = 3.0
MAX_BYTES = 20_000_000


class AlertmanagerUnavailable(Exception):
    """It did not answer, or not as Alertmanager does; the text says what happened."""


class Alertmanager:
    """The API of one Alertmanager.

    Alertmanager("http://localhost:9093").alerts()

    Args:
        url: where it listens, with the path of `--web.route-prefix` if it has one.

    Raises:
        AlertmanagerUnavailable: by every method, and where `url` is no http address.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            good = parts.scheme in {"http", "https"} and bool(parts.hostname)
        except ValueError:
            good = False
        if not good:
            raise AlertmanagerUnavailable(f"{url!r} is no address of an Alertmanager, such as http://localhost:9093.")
        self.url = url.rstrip("/")
        # A neighbour: a proxy for the outside world does not know the way to it.
        self._opener = build_opener(ProxyHandler({}))

    def alerts(self) -> list[dict[str, Any]]:
        """Every alert that fires, the silenced, inhibited and not yet processed ones included."""
        found = self._get("/api/v2/alerts?active=true&silenced=true&inhibited=true&unprocessed=true")
        if not isinstance(found, list) or not all(isinstance(alert, dict) for alert in found):
            raise AlertmanagerUnavailable(f"{self.url} does not answer as Alertmanager does: no list of alerts.")
        return found

    def up_since(self) -> datetime:
        """When it was started (what its API calls uptime)."""
        status = self._get("/api/v2/status")
        try:
            since = datetime.fromisoformat(status["uptime"])
        except (KeyError, TypeError, ValueError):
            since = None
        if since is None or since.tzinfo is None:
            raise AlertmanagerUnavailable(f"{self.url} does not answer as Alertmanager does: no uptime.")
        return since

    def _get(self, path: str) -> Any:
        try:
            with self._opener.open(self.url + path, timeout=TIMEOUT_SECONDS) as answer:
                body = answer.read(MAX_BYTES + 1)
        except (OSError, HTTPException, ValueError) as error:  # URLError and HTTPError are OSErrors
            raise AlertmanagerUnavailable(f"{self.url} does not answer: {error}") from error
        if len(body) > MAX_BYTES:
            raise AlertmanagerUnavailable(f"{self.url} answers with more than {MAX_BYTES} bytes.")
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise AlertmanagerUnavailable(f"{self.url} does not answer as Alertmanager does: no JSON.") from error
