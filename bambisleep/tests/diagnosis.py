"""What the tests of `manage.py doctor` share: reading findings, and servers that say what they are told to."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bambisleep.doctor.findings import Finding, Level


def levels(found: Iterator[Finding] | Any) -> dict[str, str]:
    """The worst level, by what is said."""
    return {finding.text: finding.level.value for finding in found}


def worst(found: Iterator[Finding] | Any) -> Finding:
    order = list(Level)
    return max(found, key=lambda finding: order.index(finding.level))


@contextmanager
def http_server(answers: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """JSON by path; the address, and what was posted."""
    posted: list[tuple[str, Any]] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            body = answers.get(path)
            self.send_response(200 if body is not None else 404)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        do_HEAD = do_GET  # noqa: N815 - the name that the class asks for

        def do_POST(self) -> None:
            posted.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", posted
        server.shutdown()
