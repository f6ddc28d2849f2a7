"""Chromium plays a real film: what is counted is what was really played, whatever happens on the way.

The truth is measured in the page by itself, from the frames that are shown: not by the player's own count.
"""

import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect

from e2e.library import PASSWORD, in_library
from e2e.servers import PRODUCTION, Installation, Server, wait_for

pytestmark = pytest.mark.needs("chromium", "ffmpeg")

SECONDS = 40  # of the film
IDLE_SECONDS = 8  # then a viewing is over
SETTINGS = {**PRODUCTION, "VIEWING_IDLE_SECONDS": str(IDLE_SECONDS), "FACTS_INTERVAL_SECONDS": "1"}

# For how long the clock went on while frames followed each other; kept over reloads.
TRUTH = """
addEventListener("DOMContentLoaded", () => {
  const video = document.querySelector("video");
  if (!video) return;
  let before = null;
  const seen = (now, frame) => {
    const went = before && now - before.now < 400 && frame.mediaTime > before.time ? now - before.now : 0;
    sessionStorage.truth = Number(sessionStorage.truth || 0) + went / 1000;
    before = { now, time: frame.mediaTime };
    video.requestVideoFrameCallback(seen);
  };
  video.requestVideoFrameCallback(seen);
  video.addEventListener("waiting", () => { sessionStorage.stalls = Number(sessionStorage.stalls || 0) + 1; });
});
"""

FILMS = """
import pathlib
from django.utils import timezone
for slug, visibility in (("public", "public"), ("private", "members"), ("captioned", "public")):
    film = rows.item(title=slug, slug=slug, visibility=visibility, kind=Kind.VIDEO)
    media = rows.media(film, pathlib.Path({path!r}).read_bytes(), duration_seconds={seconds}.0, width=320, height=180)
    told[slug] = str(media.key)
film.body = "    a long line of code\\n"
film.save()
film.captions.create(language="en", label="English", text="WEBVTT\\n\\n00:00.000 --> 00:30.000\\nHello\\n")
told["member"] = person("mara", member=True).pk
"""


@dataclass(slots=True)
class Cinema:
    """The served site with its films."""

    installation: Installation
    server: Server
    keys: dict[str, Any]

    @property
    def observed(self) -> tuple[float, float]:
        """How many viewings are finished, and how many seconds they lasted."""
        name = "video_stream_duration_seconds"
        return self.server.metric(f"{name}_count"), self.server.metric(f"{name}_sum")


@dataclass(slots=True)
class Seat:
    """A page with a film."""

    page: Page
    developer_tools: CDPSession

    def has_network(self, *, bytes_a_second: int = -1, offline: bool = False) -> None:
        """So fast, or slow, is the network from now on; -1: as fast as it is."""
        speed = {"downloadThroughput": bytes_a_second, "uploadThroughput": -1, "latency": 0, "offline": offline}
        self.developer_tools.send("Network.emulateNetworkConditions", speed)

    @property
    def truth(self) -> float:
        """Seconds that were played, over all page loads in this tab."""
        return float(self.page.evaluate("Number(sessionStorage.truth || 0)"))

    @property
    def position(self) -> float:
        """Where the film stands."""
        return float(self.page.evaluate("document.querySelector('video').currentTime"))

    def sees(self, seconds: float) -> None:
        """Watch for that long, whatever is in the way."""
        until = self.truth + seconds
        wait_for(lambda: self.truth >= until, f"{seconds} s were played", seconds=60)

    def leaves(self) -> float:
        """Go to another page; returns what was really played."""
        truth = self.truth
        self.page.goto("/health/live")
        return truth


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film with sound, of about 120 kB a second."""
    path = tmp_path_factory.mktemp("film") / "film.webm"
    sources = [f"testsrc2=size=320x180:rate=25:duration={SECONDS}", f"sine=frequency=440:duration={SECONDS}"]
    inputs = [word for source in sources for word in ("-f", "lavfi", "-i", source)]
    video = ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "1M", "-minrate", "1M", "-g", "50"]
    command = ["ffmpeg", "-v", "error", *inputs, *video, "-c:a", "libvorbis", "-shortest", str(path)]
    subprocess.run(command, check=True, timeout=120)
    return path


@pytest.fixture(scope="module")
def served(installation: Installation, film: Path) -> Iterator[Cinema]:
    """A site with films."""
    installation.collect_static()
    keys = in_library(installation, FILMS.format(path=str(film), seconds=SECONDS))
    with installation.serving("daphne", **SETTINGS) as server:
        yield Cinema(installation, server, keys)


@pytest.fixture
def seat(chromium: Browser, served: Cinema) -> Iterator[Callable[..., Seat]]:
    """Somebody who opens a film: seat("public"); at the end, nothing may have gone wrong in the page."""
    problems: list[str] = []
    context = chromium.new_context(base_url=f"http://localhost:{served.server.port}")
    context.set_default_timeout(15_000)  # milliseconds
    context.add_init_script(TRUTH)
    page = context.new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))

    def opened(slug: str, *, bytes_a_second: int = -1) -> Seat:
        somebody = Seat(page, context.new_cdp_session(page))
        somebody.developer_tools.send("Network.enable")
        somebody.developer_tools.send("Network.setCacheDisabled", {"cacheDisabled": True})
        somebody.has_network(bytes_a_second=bytes_a_second)
        page.goto(f"/content/{slug}/")
        return somebody

    yield opened
    context.close()
    assert problems == []


def signs_in(page: Page) -> None:
    """As the member."""
    page.goto("/accounts/login/")
    page.locator("main [name=login]").fill("mara")
    page.locator("main [name=password]").fill(PASSWORD)
    page.locator("main").get_by_role("button", name=re.compile("Sign in")).first.click()
    page.locator("header").get_by_role("button", name="Sign out").wait_for()


def expired(cinema: Cinema, slug: str) -> str:
    """The member's link to a film, as it was yesterday."""
    code = f"""
import time
from django.core.signing import Signer
from content import links
media = MediaFile.objects.get(key={cinema.keys[slug]!r})
signed = Signer(salt=links.SALT).sign(f"{{media.key.hex}}-{cinema.keys["member"]}-{{int(time.time()) - 86400}}")
told["address"] = f"/watch/media/{{media.key}}/?{{links.PARAMETER}}={{signed}}"
"""
    return str(in_library(cinema.installation, code)["address"])


def use(page: Page, address: str) -> None:
    """Have the film come from another address from now on."""
    page.evaluate("(address) => { document.querySelector('video').src = address; }", address)


def address_of(page: Page) -> str:
    """The address that the film comes from."""
    return page.locator("video").get_attribute("src") or ""


def test_watch_time_is_what_was_really_played_and_one_viewing(seat: Callable[..., Seat], served: Cinema) -> None:
    number, seconds = served.observed
    somebody = seat("public", bytes_a_second=60_000)  # half of what the film needs
    page = somebody.page
    page.keyboard.press("k")
    wait_for(lambda: page.evaluate("Number(sessionStorage.stalls || 0)") >= 2, "it stalls again and again", seconds=60)
    somebody.has_network()
    somebody.sees(3)

    page.keyboard.press("7")  # seeks
    somebody.sees(2)
    page.keyboard.press("ArrowLeft")
    somebody.sees(1)
    with page.expect_response("**/watch/beacons/") as pausing:
        page.keyboard.press("k")
    assert pausing.value.status == 200

    page.locator("[data-speed]").select_option("2")
    page.locator("video").focus()
    page.keyboard.press("1")
    page.keyboard.press("k")
    somebody.sees(3)

    page.reload()
    assert page.locator("[data-speed]").input_value() == "2"
    page.keyboard.press("<")
    page.keyboard.press("k")
    somebody.sees(2)
    somebody.has_network(offline=True)
    somebody.sees(3)  # of what was loaded
    somebody.has_network()
    somebody.sees(2)
    truth = somebody.leaves()

    wait_for(lambda: served.observed[0] == number + 1, "the viewing is over", seconds=30)
    assert served.server.metric("video_streams_active") >= 1  # a beacon came within the last minute
    assert truth > 15
    assert abs(served.observed[1] - seconds - truth) < 2, (served.observed, truth)
    assert served.observed[0] == number + 1


def test_a_film_whose_network_went_away_goes_on_where_it_was(seat: Callable[..., Seat]) -> None:
    somebody = seat("captioned", bytes_a_second=200_000)
    page = somebody.page
    page.keyboard.press("k")
    somebody.sees(2)
    somebody.has_network(bytes_a_second=200_000, offline=True)
    page.locator(".player-status").get_by_text("There is no network").wait_for()
    page.keyboard.press("7")  # is not loaded
    wait_for(lambda: somebody.position >= SECONDS * 0.7, "it stands where it was put")
    before = somebody.truth
    somebody.has_network()
    somebody.sees(2)
    assert somebody.truth >= before + 2
    assert SECONDS * 0.7 <= somebody.position < SECONDS * 0.7 + 10
    expect(page.locator(".player-status")).to_have_text("")


def test_a_film_that_fails_is_tried_again_and_goes_on_where_it_was(seat: Callable[..., Seat]) -> None:
    somebody = seat("captioned")
    page = somebody.page
    page.keyboard.press("k")
    somebody.sees(1)
    page.keyboard.press("5")
    somebody.sees(1)
    page.route("**/watch/media/**", lambda route: route.abort())
    use(page, address_of(page))
    page.locator(".player-status").get_by_text("The connection is lost. It is tried again in").wait_for()
    page.unroute("**/watch/media/**")
    somebody.sees(2)
    assert SECONDS / 2 <= somebody.position < SECONDS / 2 + 10
    expect(page.locator(".player-status")).to_have_text("")


def test_a_member_whose_link_expired_gets_another_and_sees_on(seat: Callable[..., Seat], served: Cinema) -> None:
    somebody = seat("private")
    page = somebody.page
    expect(page.locator("video")).to_have_count(0)
    signs_in(page)
    page.goto("/content/private/")
    assert "link=" in address_of(page)
    page.keyboard.press("k")
    somebody.sees(2)
    page.keyboard.press("5")
    somebody.sees(1)

    old = expired(served, "private")
    use(page, old)
    wait_for(lambda: address_of(page) not in ("", old), "another link")
    somebody.sees(2)
    assert SECONDS / 2 <= somebody.position < SECONDS / 2 + 15

    page.reload()  # and later
    page.get_by_text("Goes on at").wait_for()
    assert SECONDS / 2 <= somebody.position < SECONDS / 2 + 15
    page.get_by_role("button", name="From the beginning").click()
    wait_for(lambda: somebody.position < 1, "it begins anew")

    in_library(served.installation, "from accounts.models import Membership\nMembership.objects.all().delete()")
    use(page, expired(served, "private"))
    page.locator(".player-status").get_by_role("link", name="See the plans").wait_for()


def test_a_page_whose_watch_time_is_taken_no_more_says_so(seat: Callable[..., Seat]) -> None:
    somebody = seat("public")
    page = somebody.page
    other = page.context.new_page()
    signs_in(other)  # so that the page is of nobody who is here
    other.close()
    page.keyboard.press("k")
    somebody.sees(2)
    page.keyboard.press("k")
    expect(page.locator(".player-status")).to_contain_text("The page was opened by somebody else")
    page.locator(".player-status").get_by_role("link", name="Reload the page").click()
    expect(page.locator(".player-status")).to_have_text("")


def test_keys_do_what_the_list_says_and_only_while_nothing_else_takes_them(seat: Callable[..., Seat]) -> None:
    somebody = seat("captioned")
    page = somebody.page
    page.keyboard.press("k")
    somebody.sees(1)
    page.keyboard.press("c")
    wait_for(lambda: page.evaluate("document.querySelector('video').textTracks[0].cues?.length"), "the captions show")
    page.keyboard.press("m")
    assert page.evaluate("document.querySelector('video').muted") is True
    page.keyboard.press("k")
    assert page.evaluate("document.querySelector('video').paused") is True

    page.locator("pre").focus()  # in which arrows, and space, scroll
    for key in ("m", " ", "ArrowRight"):
        page.keyboard.press(key)
    assert page.evaluate("(({ muted, paused }) => [muted, paused])(document.querySelector('video'))") == [True, True]

    page.get_by_text("Keys", exact=True).click()
    page.get_by_label("Use these keys anywhere on this page").uncheck()
    page.locator("h1").click()
    page.keyboard.press("m")
    assert page.evaluate("document.querySelector('video').muted") is True
    page.locator("video").focus()
    page.keyboard.press("m")
    assert page.evaluate("document.querySelector('video').muted") is False
