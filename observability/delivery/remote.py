"""Recording in another installation, over HTTP: tried again until it answers, and the same however often told."""

import http.client
import json
import random
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

PATH = "/dora/deployments"
ATTEMPTS = 6
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
TIMEOUT_SECONDS = 30.0
AGAIN = {408, 425, 429}


class RemoteError(Exception):
    """The other installation did not record it; the message says why. It never holds the token."""


class _NoRedirects(HTTPRedirectHandler):
    """A redirect would carry the token elsewhere, and turn a POST into a GET."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow none: the answer is then an error that names the new address."""
        return


class Remote:
    """Another installation.

    Args:
        url: where it is, such as https://bambisleep.example.
        token: a deploy token of it.
        pause: waits so many seconds.

    Raises:
        RemoteError: where `url` is no plain http or https address.
    """

    def __init__(self, url: str, token: str, *, pause: Callable[[float], None] = time.sleep) -> None:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in {"http", "https"} and parts.hostname and "@" not in parts.netloc
            _ = parts.port
        except ValueError:
            usable = False
        if not usable or not url.isascii() or not url.isprintable() or " " in url:
            raise RemoteError("--remote takes an address such as https://bambisleep.example, without a password.")
        self.endpoint = parts._replace(path=parts.path.rstrip("/").removesuffix(PATH) + PATH, query="", fragment="")
        self._token = token
        self._pause = pause
        self._opener = build_opener(_NoRedirects)

    def previous_commit(self, *, service: str, environment: str, external_id: str) -> str:
        """The commit of the last succeeded deployment there, other than `external_id`; empty where there is none.

        Raises:
            RemoteError: where it does not say.
        """
        asked = {"service": service, "environment": environment, "status": "succeeded", "limit": 5}
        answer = self._ask("GET", query=urlencode(asked))
        others = (row for row in answer.get("results", []) if row.get("external_id") != external_id and row.get("sha"))
        return str(next(others, {"sha": ""})["sha"])

    def record(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Post a deployment in the import format, and return what it answers: `outcome` and `deployment`.

        Raises:
            RemoteError: where it refuses, or does not answer however often it is asked.
        """
        return self._ask("POST", body=json.dumps(entry).encode())

    def _ask(self, method: str, *, query: str = "", body: bytes | None = None) -> dict[str, Any]:
        request = Request(self.endpoint._replace(query=query).geturl(), data=body, method=method)  # noqa: S310 - http(s)
        request.add_header("Accept", "application/json")
        request.add_header("Content-Type", "application/json")
        request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        trouble = ""
        for attempt in range(ATTEMPTS):
            wait = FIRST_PAUSE_SECONDS * 2**attempt * random.uniform(0.75, 1.25)  # noqa: S311 - spreads, hides nothing
            try:
                with self._opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                    return self._read(answer.read())
            except HTTPError as error:
                with error:
                    if error.code < 500 and error.code not in AGAIN:
                        raise RemoteError(self._refusal(method, error)) from None
                    trouble = f"it answered {error.code} {error.reason}"
                    wait = max(wait, _retry_after(error.headers.get("Retry-After")))
            except (URLError, OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", None) or error
                if isinstance(reason, ssl.SSLCertVerificationError):
                    raise RemoteError(f"{self._name} has no valid certificate: {reason.verify_message}.") from None
                trouble = f"{type(reason).__name__}: {reason}"
            if wait > LONGEST_PAUSE_SECONDS:
                raise RemoteError(f"{self._name} asks to wait for {wait:.0f} seconds ({trouble}): run it again then.")
            if attempt + 1 < ATTEMPTS:
                self._pause(wait)
        raise RemoteError(f"{self._name} did not take it in {ATTEMPTS} attempts; the last time: {trouble}.")

    @property
    def _name(self) -> str:
        return self.endpoint.geturl()

    def _read(self, body: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise RemoteError(f"{self._name} does not answer as this application does: is the address right?")
        return answer

    def _refusal(self, method: str, error: HTTPError) -> str:
        if 300 <= error.code < 400:
            return f"{self._name} redirects to {error.headers.get('Location')}: name the address that answers."
        try:
            problem = json.loads(error.read(100_000))
        except (ValueError, OSError, http.client.HTTPException):
            problem = {}
        problem = problem if isinstance(problem, dict) else {}
        said = [f"{self._name} answered {error.code}: {problem.get('detail') or error.reason}"]
        said += [f"  {field}: {told}" for field, told in (problem.get("errors") or {}).items()]
        if error.code == 403 and method == "GET":
            said.append(
                "The last deployment's commit is read with the scope read. Use a token that has it, or tell where the "
                "commits begin with --previous, or use --no-commits."
            )
        if error.code == 413:
            said.append("Tell a later --previous, or raise MAX_BODY_BYTES there.")
        return "\n".join(said).replace(self._token, "…")


def _retry_after(value: str | None) -> float:
    """Seconds, from a number of them or from a date (RFC 9110, section 10.2.3); 0 where it is neither."""
    try:
        return max(0.0, float(value or 0))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(value or "")
    except ValueError:
        return 0.0
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())
