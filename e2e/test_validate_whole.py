"""The seed's fifth step as written there, and `make validate` after it, beside `make monitoring-native`.

Nothing is hurried: about five minutes."""

import re
import subprocess
from pathlib import Path

import pytest

from e2e.k6 import UNHURRIED, needs_k6
from e2e.monitoring import DEPLOY, monitoring, slack
from e2e.servers import Installation, Server, wait_for
from e2e.test_seed_loop import LOOP
from e2e.validation import start_validation


@pytest.mark.once
@needs_k6
@pytest.mark.needs(
    "prometheus", "prometheus-alertmanager", "prometheus-node-exporter", "promtool", "amtool", "busybox", "bash", "curl"
)
def test_the_seeds_hundred_failures_fire_two_alerts_and_then_every_step_passes(
    installation: Installation, tmp_path: Path
) -> None:
    with (
        slack() as channels,
        installation.serving("daphne") as site,
        monitoring(
            tmp_path,
            application=site.url,
            site_data=installation.data_dir,
            source=DEPLOY,
            SLACK_WEBHOOK_URL_WARNINGS=channels.url("warnings"),
        ) as watch,
    ):
        # What has been counted before Prometheus looks for the first time is no increase to it.
        wait_for(lambda: watch.value('up{job="bambisleep"}'), "a first scrape of the site", seconds=60)

        _fail_a_hundred_times(site)

        wanted = {"HighErrorRate", "HighAuthFailures"}
        wait_for(lambda: watch.firing().keys() >= wanted, f"{wanted} fire", seconds=300)
        found = start_validation(site, watch, **UNHURRIED).finish(420)

        assert found.status == 0, found.output
        assert "✗" not in found.output
        for step in range(1, 8):
            assert "✓" in found.step(step)
        assert "✓ Prometheus has the 12 alerts of bambisleep.yml" in found.step(1)
        assert "✓ #alerts-warnings goes to Slack" in found.step(2)
        for name in wanted:
            assert f"✓ {name} fires, and Alertmanager has it" in found.step(5)
        incidents = re.search(r"✓ the site has (\d+) open incidents", found.step(5))
        assert incidents, found.output
        assert int(incidents[1]) >= len(wanted)  # a busy machine is slow as well, which is an alert of its own
        assert re.search(r"✓ Prometheus counts \d+ requests more, of which k6 sent \d+", found.step(6))
        assert found.summary == "✓ All 7 steps passed."
        for summary in ("More than 5 % of requests fail", "Many sign-ins fail"):
            assert channels.find("warnings", summary, resolved=False), channels.messages


def _fail_a_hundred_times(site: Server) -> None:
    loop = LOOP.replace("localhost:3000", f"localhost:{site.port}")
    done = subprocess.run(["bash", "-c", loop], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert len(re.findall(r'"status": ?(?:401|429)\b', done.stdout)) == 100
