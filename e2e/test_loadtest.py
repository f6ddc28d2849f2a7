"""The load test, run by the real k6 for a few seconds against the real site."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.chat import make_rooms
from e2e.k6 import K6, PATH, UNHURRIED, needs_k6
from e2e.refusing import refusing
from e2e.servers import PRODUCTION, ROOT, Installation, Server, free_port, installed, prometheus, query, wait_for

SCRIPT = ROOT / "deploy" / "k6" / "loadtest.js"
REQUESTS = 'sum(http_requests_total{job="bambisleep"})'
ACTIONS = re.compile(r"const ACTIONS = \[.*?^\];", re.MULTILINE | re.DOTALL)
MEDIA = "/watch/media/<uuid:key>/"
THRESHOLDS_CROSSED, ABORTED = 99, 108  # k6's exit codes

pytestmark = needs_k6


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one run of k6."""

    status: int
    output: str
    metrics: dict[str, dict[str, float]]  # by name, what --summary-export tells

    def count(self, metric: str) -> float:
        return self.metrics[metric]["count"]


@pytest.fixture
def site(installation: Installation) -> Iterator[Server]:
    """A process of its own for each test, so that what it counts begins at 0."""
    with installation.serving("daphne") as server:
        yield server


@pytest.mark.needs("prometheus")
def test_thresholds_hold_and_prometheus_counts_what_k6_counts(site: Server, tmp_path: Path) -> None:
    with prometheus(tmp_path, site) as monitor:
        site.http.get("/").raise_for_status()  # something to count from
        before = wait_for(lambda: query(monitor, REQUESTS), "a first scrape")

        run = _k6(tmp_path, site.url, vus=5, seconds=10)

        assert run.status == 0, run.output
        assert run.count("http_reqs") > 15  # five users for ten seconds, on whatever machine
        expected = before + run.count("http_reqs")
        wait_for(lambda: (query(monitor, REQUESTS) or 0.0) >= expected, "Prometheus has scraped the last request")
        assert query(monitor, REQUESTS) == expected


def test_it_opens_one_account_and_each_user_signs_in_once(
    site: Server, installation: Installation, tmp_path: Path
) -> None:
    opened = installation.count("accounts_user")

    run = _k6(tmp_path, site.url, vus=3, iterations=25)

    assert run.status == 0, run.output
    assert installation.count("accounts_user") == opened + 1
    name = installation.rows("SELECT username, email FROM accounts_user ORDER BY id DESC LIMIT 1")[0]
    assert re.fullmatch(r"k6-[0-9a-f]{12}", name[0])
    assert name[1] == f"{name[0]}@example.invalid"
    assert 1 <= site.metric("auth_attempts_total", type="login", success="true") <= 3
    assert site.metric("auth_attempts_total", success="false") == 0


def test_an_account_that_is_there_may_be_used(site: Server, installation: Installation, tmp_path: Path) -> None:
    account = {"username": "steady", "password": "a long enough phrase"}
    site.http.post("/auth/register", json={**account, "email": "steady@example.org"}).raise_for_status()
    opened = installation.count("accounts_user")

    run = _k6(
        tmp_path,
        site.url,
        seconds=2,
        LOADTEST_USERNAME=account["username"],
        LOADTEST_PASSWORD=account["password"],
    )

    assert run.status == 0, run.output
    assert installation.count("accounts_user") == opened
    assert site.metric("auth_attempts_total", type="login", success="true") >= 1


def test_an_account_that_cannot_sign_in_is_a_sentence(site: Server, tmp_path: Path) -> None:
    run = _k6(tmp_path, site.url, LOADTEST_USERNAME="nobody", LOADTEST_PASSWORD="wrong")

    assert run.status == ABORTED
    assert "LOADTEST_USERNAME and LOADTEST_PASSWORD do not sign in (401)" in run.output


@pytest.mark.needs("nginx")
def test_where_sign_ins_are_limited_users_go_on_as_guests(site: Server, tmp_path: Path) -> None:
    with refusing(tmp_path, site, "/auth/login", 429) as limited:
        run = _k6(tmp_path, limited.url, vus=3, iterations=30)

    assert run.status == 0, run.output
    assert 1 <= run.count("sign_ins_limited") <= 3
    assert site.metric("http_requests_total", route="/auth/login") == 0
    assert site.metric("http_requests_total", route="/") > 3


def test_it_opens_what_the_library_has_and_watches_its_films(tmp_path: Path) -> None:
    with installed(tmp_path) as installation:
        installation.collect_static()
        loaded = installation.manage("load_demo", directory=ROOT, **PRODUCTION)
        assert loaded.returncode == 0, loaded.stderr
        with installation.serving("daphne", **PRODUCTION) as site:
            chosen = _only(tmp_path, "library", "item", "item", "item", "search")
            run = _k6(tmp_path, site.url, vus=4, iterations=80, script=chosen)

            assert run.status == 0, run.output
            assert run.metrics["checks"]["fails"] == 0
            assert run.count("films_watched") > 0
            assert site.metric("content_access_total", type="public") > run.count("films_watched")
            assert site.metric("content_denied_total", reason="sign_in") > 0  # members' items, opened by guests
            assert site.metric("http_requests_total", route="/content/search/", status="200") > 0
            parts = site.metric("http_requests_total", route=MEDIA, status="206")
            assert parts == 2 * run.count("films_watched")
            beacons = site.metric("http_requests_total", route="/watch/beacons/", status="200")
            assert beacons == run.count("films_watched") == installation.count("content_player")
            assert site.metric("video_stream_duration_seconds_count") == 0


def test_an_empty_library_is_no_failure(site: Server, installation: Installation, tmp_path: Path) -> None:
    assert installation.count("content_item") == 0

    run = _k6(tmp_path, site.url, iterations=16, script=_only(tmp_path, "library", "item", "search"))

    assert run.status == 0, run.output
    assert run.metrics["checks"]["fails"] == 0
    assert site.metric("http_requests_total", route="/content/", status="200") > 2


def test_members_speak_in_the_room_that_is_open_to_all(tmp_path: Path) -> None:
    with installed(tmp_path) as installation:
        installation.collect_static()
        make_rooms(installation, **PRODUCTION)
        with installation.serving("daphne", **PRODUCTION) as site:
            run = _k6(tmp_path, site.url, vus=3, iterations=15, script=_only(tmp_path, "chat"))

            assert run.status == 0, run.output
            assert run.metrics["checks"]["fails"] == 0
            assert run.count("chats_spoken") > 0
            spoken = installation.rows("SELECT r.slug FROM realtime_entry e JOIN realtime_room r ON r.id = e.room_id")
            assert len(spoken) == run.count("chats_spoken")
            assert {slug for (slug,) in spoken} == {"lobby"}
            assert site.metric("websocket_messages_total", type="ping") >= run.count("chats_spoken")
            assert site.metric("websocket_disconnects_total", reason="client") == run.count("ws_sessions")
            wait_for(lambda: site.metric("websocket_connections_total") == 0, "everybody has left")


def test_whoever_is_told_to_be_slower_is_no_failure(tmp_path: Path) -> None:
    limits = {**PRODUCTION, "CHAT_BURST": "1", "CHAT_MESSAGES_PER_MINUTE": "1"}
    with installed(tmp_path) as installation:
        installation.collect_static()
        make_rooms(installation, **PRODUCTION)
        with installation.serving("daphne", **limits) as site:
            run = _k6(tmp_path, site.url, iterations=8, script=_only(tmp_path, "chat"))

    assert run.status == 0, run.output
    assert run.metrics["checks"]["fails"] == 0
    assert 1 == run.count("chats_spoken") < run.count("ws_sessions")


def test_a_site_without_a_room_is_no_failure(site: Server, installation: Installation, tmp_path: Path) -> None:
    assert installation.count("realtime_room") == 0

    run = _k6(tmp_path, site.url, iterations=4, script=_only(tmp_path, "chat"))

    assert run.status == 0, run.output
    assert run.metrics["checks"]["fails"] == 0
    assert site.metric("http_requests_total", route="/chat/", status="200") >= 2


def test_what_is_missing_on_purpose_fails_no_threshold(site: Server, tmp_path: Path) -> None:
    run = _k6(tmp_path, site.url, iterations=4, script=_only(tmp_path, "missing"))

    assert run.status == 0, run.output
    assert site.metric("http_requests_total", status="404") >= 2


def test_a_site_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}"

    run = _k6(tmp_path, address)

    assert run.status == ABORTED
    assert f"No answer from {address}/ " in run.output
    assert "Start the site with `make run`" in run.output
    assert run.count("http_reqs") == 1


def test_a_site_that_answers_wrongly_crosses_the_thresholds(site: Server, tmp_path: Path) -> None:
    run = _k6(tmp_path, f"{site.url}/nowhere", seconds=2)

    assert run.status == THRESHOLDS_CROSSED
    assert run.metrics["http_req_failed"]["value"] > 0.5
    assert "thresholds on metrics 'checks, http_req_failed' have been crossed" in run.output


def _only(directory: Path, *actions: str) -> Path:
    """The same script, with no other actions than these, each as likely."""
    listed = ", ".join(f"[1, {action}]" for action in actions)
    script = directory / "only.js"
    text, replaced = ACTIONS.subn(f"const ACTIONS = [{listed}];", SCRIPT.read_text())
    assert replaced == 1
    script.write_text(text)
    return script


def _k6(
    directory: Path,
    url: str,
    *,
    vus: int = 2,
    seconds: int = 1,
    iterations: int | None = None,
    script: Path = ROOT / "loadtest.js",
    **settings: str,
) -> Run:
    """Run k6 as the manual says; only usage reports and the port of its own API are switched off.

    For so many seconds, or for so many actions however long they take: a busy machine comes to few in a few seconds.
    """
    summary = directory / "summary.json"
    if iterations is None:
        extent = ["--duration", f"{seconds}s"]
    else:
        seconds = 120  # at most
        extent = ["--duration", f"{seconds}s", "--iterations", str(iterations)]
    command = [str(K6), "run", "--vus", str(vus), *extent, "--summary-export", str(summary)]
    done = subprocess.run(
        [*command, "--no-usage-report", "--address", "", "--no-color", "--quiet", str(script)],
        env={"PATH": PATH, "HOME": str(directory), "BASE_URL": url, **UNHURRIED, **settings},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds + 60,
    )
    return Run(done.returncode, done.stdout, json.loads(summary.read_text())["metrics"])
