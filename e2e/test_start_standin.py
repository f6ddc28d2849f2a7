"""`make run STRIPE=standin`: the site with a stand-in for Stripe beside it, which ends with it and remembers."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from e2e.servers import ROOT, Installation, Server, free_port, running, wait_for

FORM = re.compile(r'<form method="post" action="/billing/checkout/">(.*?)</form>', re.S)


@contextmanager
def started(installation: Installation) -> Iterator[tuple[Server, str]]:
    """The site, and the address of the stand-in that it prints."""
    port = free_port()
    command = [sys.executable, str(ROOT / "manage.py"), "start", "--stripe=standin"]
    log = installation.data_dir / f"start-{port}.log"
    environment = installation.environment(PORT=str(port))
    with running(command, environment=environment, port=port, log=log, ready="/health", seconds=60) as server:
        address = re.search(r"Stripe +(http://127\.0\.0\.1:\d+)/", server.output)
        assert address, server.output
        yield server, address[1]


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/_standin/health", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def signed_in(server: Server, installation: Installation) -> None:
    password = (installation.data_dir / "admin-password").read_text().strip()
    assert server.sign_in_to_admin("admin", password).status_code == 200


def test_a_subscription_can_be_clicked_through_and_is_there_after_a_restart(own_installation: Installation) -> None:
    with started(own_installation) as (server, stripe):
        signed_in(server, own_installation)
        form = FORM.search(server.http.get("/billing/plans/").text)
        assert form, "the plans of the stand-in are on sale"
        fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]+)"', form[1]))
        checkout = server.http.post("/billing/checkout/", data=fields, headers={"Referer": str(server.http.base_url)})
        assert checkout.headers["location"].startswith(f"{stripe}/c/pay/")
        with httpx.Client(trust_env=False, timeout=20) as visitor:
            back = visitor.post(checkout.headers["location"], data={"do": "pay", "card": "good"}).headers["location"]
        assert "Your membership has begun." in server.http.get(back).text
        query = "SELECT count(*) FROM payments_webhookevent WHERE type = 'checkout.session.completed'"
        wait_for(lambda: own_installation.rows(query)[0][0] == 1, "the event of the purchase arrives")
        assert own_installation.count("payments_plan") == 2 + 4  # the demo plans, and the stand-in's

    wait_for(lambda: not answers(stripe), "the stand-in ends with the site")

    with started(own_installation) as (server, stripe):
        signed_in(server, own_installation)
        assert "Your trial lasts until" in server.http.get("/billing/").text
        assert own_installation.count("payments_plan") == 2 + 4
        httpx.post(f"{stripe}/_standin/clock", json={"advance": 8 * 86_400}, trust_env=False)
        wait_for(lambda: "renews on" in server.http.get("/billing/").text, "the trial becomes a paid subscription")


def test_another_site_s_stand_in_is_left_alone(own_installation: Installation) -> None:
    with started(own_installation) as (server, stripe):
        second = own_installation.manage("start", "--stripe=standin", PORT=str(server.port))
        assert second.returncode != 0
        assert "already in use" in second.stderr
        assert answers(stripe)
        assert server.interrupt(seconds=10) == 0
        wait_for(lambda: not answers(stripe), "the stand-in ends with the site")
