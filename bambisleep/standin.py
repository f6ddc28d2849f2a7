"""`make run STRIPE=standin`: a stand-in for Stripe's API beside the site, to click through a whole subscription.

It runs as a process of its own (`python -m e2e.stripe`), and ends with the site.
"""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import NoReturn

from django.conf import settings

KEY = "sk_test_" + "StandIn" * 4  # any that begins so is good for the stand-in, and none is for Stripe
PORT = 12111
SECONDS_TO_START = 15


class DidNotStart(Exception):
    """The stand-in does not run; `log` says why."""

    def __init__(self, log: Path) -> None:
        super().__init__(str(log))
        self.log = log


def is_beside() -> bool:
    """Whether this process has the stand-in for its Stripe."""
    return settings.STRIPE_SECRET_KEY == KEY


def begin_again_beside_it() -> NoReturn:
    """Start the stand-in, and the command that runs anew with its address and keys, for settings are read but once.

    Raises:
        DidNotStart: where it does not come up.
    """
    settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
    api, secret = f"http://127.0.0.1:{_free_port()}", f"whsec_{secrets.token_hex(16)}"
    _start(api, secret)
    stripe = {"STRIPE_SECRET_KEY": KEY, "STRIPE_API_BASE": api, "STRIPE_WEBHOOK_SECRETS": secret}
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **stripe})  # noqa: S606


def _start(api: str, secret: str) -> None:
    command = [sys.executable, "-m", "e2e.stripe", "--port", api.rpartition(":")[2], "--plans", "--with-parent"]
    command += ["--webhook", f"http://127.0.0.1:{settings.PORT}/stripe/webhook/", "--secret", secret]
    command += ["--keep", str(settings.DATA_DIR / "standin.pickle")]
    log = settings.DATA_DIR / "standin.log"
    with log.open("wb") as output:
        standin = subprocess.Popen(
            command, cwd=settings.BASE_DIR, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    deadline = time.monotonic() + SECONDS_TO_START
    while not _answers(f"{api}/_standin/health"):
        if standin.poll() is not None or time.monotonic() > deadline:
            standin.terminate()
            raise DidNotStart(log)
        time.sleep(0.05)


def _free_port() -> int:
    """The usual port, so that bookmarks hold; any other where something listens on that one."""
    for port in (PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("This machine has no free port.")


def _answers(url: str) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
