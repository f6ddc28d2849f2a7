"""`python -m e2e.stripe --port 12111`: serve the stand-in until Ctrl-C."""

import argparse
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from e2e.stripe.server import StandIn


def main() -> None:
    """Parse, serve."""
    parser = argparse.ArgumentParser(
        prog="python -m e2e.stripe", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--port", type=int, default=12111, help="on 127.0.0.1; default %(default)s")
    parser.add_argument("--public-url", help="where browsers reach its pages; default http://127.0.0.1:PORT")
    parser.add_argument("--webhook", metavar="URL", help="where events go")
    parser.add_argument("--secret", metavar="whsec_…", help="what signs them")
    parser.add_argument("--plans", action="store_true", help="begin with a product and its prices")
    parser.add_argument("--seed", type=int, help="for the same ids each time")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="what to remember from one run to the next")
    parser.add_argument("--with-parent", action="store_true", help="end when the process that started it does")
    given = parser.parse_args()
    if bool(given.webhook) != bool(given.secret):
        parser.error("--webhook and --secret go together.")
    server = StandIn(given.port, public_url=given.public_url, seed=given.seed)
    stripe = server.stripe
    if given.keep and given.keep.exists():
        stripe.recall(given.keep)
    if given.webhook:
        stripe.add_endpoint(given.webhook, given.secret)
    if given.plans and not stripe.request("GET", "/v1/products")["data"]:
        stripe.plans()
    for ending in (signal.SIGINT, signal.SIGTERM):  # SIGINT is ignored by what a script starts in the background
        signal.signal(ending, signal.default_int_handler)
    sys.stdout.write(f"The stand-in for Stripe's API listens on {server.url}\n")
    sys.stdout.flush()
    if given.with_parent:
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    with suppress(KeyboardInterrupt), server:
        server.serve_forever()
    if given.keep:
        stripe.keep(given.keep)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main()
