"""Staff upload files in the admin: with progress, cut off in the middle, and by the keyboard alone."""

import hashlib
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from e2e.browser.site import ADMIN, Account, Site, Visitor
from e2e.servers import wait_for

pytestmark = pytest.mark.needs("chromium", "ffmpeg", "ffprobe")
UPLOADS = "**/admin/content/mediafile/uploads/**"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few megabytes of noise, which no codec makes small."""
    path = tmp_path_factory.mktemp("film") / "Evening walk.webm"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x180:rate=25:duration=8"]
    command += ["-f", "lavfi", "-i", "anoisesrc=duration=8", "-vf", "noise=alls=60:allf=t", "-c:v", "libvpx"]
    subprocess.run([*command, "-b:v", "5M", "-deadline", "realtime", "-c:a", "libvorbis", str(path)], check=True)
    assert 3 * 2**20 < path.stat().st_size < 12 * 2**20
    return path


@pytest.fixture
def staff(visit: Callable[..., Visitor]) -> Visitor:
    visitor = visit()
    visitor.signs_in(Account(ADMIN))
    return visitor


@pytest.fixture
def item(staff: Visitor) -> Iterator[str]:
    """The address of a draft's page, made in the admin as staff do."""
    page = staff.page
    staff.opens("/admin/content/item/add/")
    page.get_by_label("Title:").press_sequentially("Evening walk")
    page.get_by_label("Kind:").select_option("video")
    slug = page.get_by_label("Slug:")
    expect(slug).to_have_value("evening-walk")
    page.get_by_role("button", name="Save and continue editing").first.click()
    page.wait_for_url(re.compile(r"/admin/content/item/\d+/change/"))
    address = page.url
    yield address
    page.unroute_all(behavior="ignoreErrors")
    page.goto(address.replace("/change/", "/delete/"))
    page.get_by_role("button", name="Yes").click()


def kept(site: Site) -> list[Path]:
    """What lies in the library, and nothing that is on its way."""
    library = site.server.log.parent / "library"
    return [path for path in library.rglob("*") if path.is_file() and "incoming" not in path.parts]


def waiting(site: Site) -> list[Path]:
    return list((site.server.log.parent / "library" / "incoming").glob("*"))


def choose(page: Page, film: Path, *, upload: bool = True) -> None:
    page.get_by_label("File:").set_input_files(film)
    if upload:
        page.get_by_role("button", name="Upload").click()


def percent(page: Page) -> float:
    return float(page.locator("progress").evaluate("(bar) => bar.value"))


def is_whole(path: Path, film: Path) -> bool:
    return hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(film.read_bytes()).digest()


def test_a_film_is_uploaded_from_its_items_page_cut_off_and_gone_on_with(
    staff: Visitor, site: Site, item: str, film: Path
) -> None:
    page, before = staff.page, set(kept(site))
    page.get_by_role("link", name="Upload the film").click()
    assert page.get_by_label("Item:").locator("option:checked").inner_text() == "Evening walk"
    chunks: list[str] = []

    def two_chunks(route: Route) -> None:
        if route.request.method == "PATCH":
            chunks.append(route.request.headers["upload-offset"])
        if len(chunks) > 2:
            return  # the third gets no answer: the network hangs
        route.continue_()

    page.route(UPLOADS, two_chunks)
    choose(page, film)
    wait_for(lambda: page.locator(".upload-numbers").inner_text() != "" and len(chunks) > 2, "two chunks have arrived")
    size = film.stat().st_size
    assert percent(page) == pytest.approx(100 * 2 * 2**20 / size)
    numbers = page.locator(".upload-numbers").inner_text()
    assert re.fullmatch(r"\d+ % · 2\.1 MB of \d+\.\d MB · \d+\.\d [kM]B/s · \d+ s left", numbers), numbers

    page.once("dialog", lambda dialog: dialog.accept())  # “leave the page?”
    page.reload()
    page.unroute_all(behavior="ignoreErrors")
    expect(page.locator("section.unfinished")).to_contain_text(film.name)
    offsets: list[str] = []
    page.on("request", lambda request: offsets.append(request.headers.get("upload-offset", "")))
    choose(page, film, upload=False)
    expect(page.get_by_role("status")).to_contain_text("go on where it stood")
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url(re.compile(r"/admin/content/item/\d+/change/"))
    assert next(offset for offset in offsets if offset) == str(2 * 2**20)
    expect(page.locator(".messagelist")).to_contain_text("“Evening walk.webm” is in the library.")
    (path,) = set(kept(site)) - before
    assert is_whole(path, film)
    assert waiting(site) == []
    expect(page.locator(".field-length")).to_contain_text("0:08")


def test_an_upload_is_paused_resumed_and_cancelled_by_the_keyboard(
    staff: Visitor, site: Site, item: str, film: Path
) -> None:
    page = staff.page
    page.get_by_role("link", name="Upload the film").click()
    is_slow = [True]

    def slowly(route: Route) -> None:
        if route.request.method == "PATCH" and is_slow[0] and route.request.headers["upload-offset"] != "0":
            return
        route.continue_()

    page.route(UPLOADS, slowly)
    choose(page, film)
    wait_for(lambda: percent(page) > 0, "a chunk has arrived")
    expect(page.get_by_role("button", name="Pause")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Paused.")
    expect(page.get_by_role("button", name="Resume")).to_be_focused()
    half = percent(page)
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Goes on where it stood.")
    assert percent(page) == half
    page.get_by_role("button", name="Cancel").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Cancelled.")
    wait_for(lambda: waiting(site) == [], "what had arrived is deleted")
    expect(page.get_by_label("File:")).to_be_enabled()


def test_a_network_that_comes_back_is_gone_on_with(staff: Visitor, site: Site, item: str, film: Path) -> None:
    page, failed = staff.page, []

    def failing(route: Route) -> None:
        if route.request.method == "PATCH" and len(failed) < 2 and route.request.headers["upload-offset"] != "0":
            failed.append(route.request.headers["upload-offset"])
            route.abort("connectionreset") if len(failed) == 1 else route.fulfill(status=502, body="Bad gateway")
        else:
            route.continue_()

    page.get_by_role("link", name="Upload the film").click()
    page.route(UPLOADS, failing)
    choose(page, film)
    expect(page.get_by_role("status")).to_contain_text("Tries again in")
    page.wait_for_url(re.compile(r"/admin/content/item/\d+/change/"))
    assert failed == [str(2**20)] * 2
    assert any(is_whole(path, film) for path in kept(site))
    staff.problems[:] = [
        problem for problem in staff.problems if "ERR_CONNECTION_RESET" not in problem and "502" not in problem
    ]


def test_chosen_again_when_nobody_heard_that_it_was_finished_it_is_not_sent_again(
    staff: Visitor, site: Site, item: str, film: Path
) -> None:
    page, before, sent = staff.page, set(kept(site)), []

    def lose_the_last_answer(route: Route) -> None:
        if route.request.url.endswith("/finish/"):
            route.fetch()
            route.abort("connectionreset")
        else:
            route.continue_()

    page.get_by_role("link", name="Upload the film").click()
    page.route(UPLOADS, lose_the_last_answer)
    choose(page, film)
    expect(page.get_by_role("status")).to_contain_text("Tries again in")
    page.once("dialog", lambda dialog: dialog.accept())  # “leave the page?”
    page.reload()
    page.unroute_all(behavior="ignoreErrors")
    page.on("request", lambda request: sent.append(request.method))
    choose(page, film)
    page.wait_for_url(re.compile(r"/admin/content/item/\d+/change/"))
    assert "PATCH" not in sent
    (path,) = set(kept(site)) - before
    assert is_whole(path, film)
    staff.problems[:] = [problem for problem in staff.problems if "ERR_CONNECTION_RESET" not in problem]


@pytest.mark.parametrize("status", [0, 504], ids=["lost", "answered by a proxy"])
def test_an_upload_whose_first_answer_is_lost_is_begun_once(
    staff: Visitor, site: Site, item: str, film: Path, status: int
) -> None:
    page, words, starts = staff.page, staff.page.get_by_role("status"), []

    def lose_the_first_answer(route: Route) -> None:
        if route.request.url.endswith("/uploads/"):
            starts.append(route.request.post_data)
            route.fetch()
            route.fulfill(status=status) if status else route.abort("connectionreset")
        elif route.request.method != "PATCH":
            route.continue_()

    page.get_by_role("link", name="Upload the film").click()
    page.route(UPLOADS, lose_the_first_answer)
    choose(page, film)
    expect(words).to_contain_text("Tries again in 2 s")
    page.get_by_role("button", name="Pause").click()
    expect(words).to_have_text("Paused.")
    page.get_by_role("button", name="Resume").click()
    expect(words).to_contain_text("Tries again in")
    assert len(starts) >= 3
    page.once("dialog", lambda dialog: dialog.accept())  # “leave the page?”
    page.reload()
    expect(page.locator("section.unfinished tbody tr")).to_have_count(1)
    page.unroute_all(behavior="ignoreErrors")
    choose(page, film)
    page.wait_for_url(re.compile(r"/admin/content/item/\d+/change/"))
    assert waiting(site) == []
    staff.problems[:] = [
        problem for problem in staff.problems if "ERR_CONNECTION_RESET" not in problem and "504" not in problem
    ]


BEGIN_FIVE = """async () => {
  const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
  for (const name of ["one", "two", "three", "four", "five"]) {
    const body = new URLSearchParams({ name: `${name}.webm`, size: 5, role: "main" });
    await fetch("/admin/content/mediafile/uploads/", { method: "POST", body, headers: { "X-CSRFToken": token } });
  }
}"""


def test_who_has_too_many_unfinished_uploads_cancels_one_and_begins_another(
    visit: Callable[..., Visitor], staff: Visitor, item: str, film: Path
) -> None:
    page = staff.page
    page.get_by_role("link", name="Upload the film").click()
    page.evaluate(BEGIN_FIVE)
    page.reload()
    rows, status = page.locator("section.unfinished tbody tr"), page.get_by_role("status")
    expect(rows).to_have_count(5)
    choose(page, film)
    expect(status).to_contain_text("finish or cancel one of them first")

    page.get_by_role("button", name="Cancel three.webm").focus()
    page.keyboard.press("Enter")
    expect(status).to_have_text("“three.webm” is cancelled.")
    expect(page.get_by_role("heading", name="Your unfinished uploads")).to_be_focused()
    expect(rows).to_have_count(4)
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url(re.compile(r"/admin/content/item/\d+/change/"))

    page.go_back()
    page.reload()
    expect(rows).to_have_count(4)
    for name in ("one", "two", "four", "five"):
        page.get_by_role("button", name=f"Cancel {name}.webm").press("Enter")
        expect(status).to_have_text(f"“{name}.webm” is cancelled.")
    expect(page.locator("section.unfinished")).to_be_hidden()
    expect(page.get_by_label("File:")).to_be_focused()
    page.reload()
    expect(page.locator("section.unfinished")).to_have_count(0)


def test_an_unfinished_upload_is_cancelled_without_a_script(visit: Callable[..., Visitor], staff: Visitor) -> None:
    staff.opens("/admin/content/mediafile/add/")
    staff.page.evaluate(BEGIN_FIVE)
    plain = visit(javascript=False)
    plain.signs_in(Account(ADMIN))
    plain.opens("/admin/content/mediafile/add/")
    for left in range(4, -1, -1):
        plain.page.locator("section.unfinished").get_by_role("button").first.click()
        expect(plain.page.locator(".messagelist")).to_contain_text("is cancelled.")
        expect(plain.page.locator("section.unfinished tbody tr")).to_have_count(left)


def test_a_file_that_is_refused_is_told_in_words(staff: Visitor, site: Site, item: str, tmp_path: Path) -> None:
    page, before = staff.page, kept(site)
    hostile = tmp_path / "<img src=x onerror=alert(1)>.mp4"
    hostile.write_bytes(b"<!DOCTYPE html><script>alert(1)</script>" + bytes(100_000))
    page.get_by_role("link", name="Upload the film").click()
    choose(page, hostile)
    expect(page.get_by_role("status")).to_contain_text("This is a web page.")
    expect(page.get_by_label("File:")).to_be_focused()
    assert (kept(site), waiting(site)) == (before, [])


def test_an_upload_whose_sign_in_has_ended_says_so(
    staff: Visitor, site: Site, item: str, film: Path, visit: Callable[..., Visitor]
) -> None:
    page = staff.page
    page.get_by_role("link", name="Upload the film").click()
    cookies = page.context.cookies()
    page.context.clear_cookies(name="sessionid")
    choose(page, film)
    expect(page.get_by_role("status")).to_contain_text("not signed in any more")
    page.context.add_cookies(cookies)  # type: ignore[arg-type]


DROP = """(place, names) => {
  const dataTransfer = new DataTransfer();
  for (const name of names) {
    dataTransfer.items.add(new File([name], name));
  }
  place.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
}"""


def test_of_two_files_that_are_dropped_none_is_taken_and_the_page_says_why(staff: Visitor) -> None:
    page = staff.page
    staff.opens("/admin/content/mediafile/add/")
    field, place, words = page.get_by_label("File:"), page.locator(".drop"), page.get_by_role("status")
    place.evaluate(DROP, ["one.webm", "two.webm"])
    expect(words).to_have_text("One file at a time.")
    expect(field).to_have_js_property("files.length", 0)
    place.evaluate(DROP, ["one.webm"])
    expect(field).to_have_value(re.compile(r"one\.webm$"))
    expect(words).to_have_text("")
    place.evaluate(DROP, ["two.webm", "three.webm"])
    expect(words).to_have_text("One file at a time.")
    expect(field).to_have_value(re.compile(r"one\.webm$"))


def test_a_small_picture_comes_in_without_a_script(visit: Callable[..., Visitor], site: Site, tmp_path: Path) -> None:
    from content.tests import samples

    visitor = visit(javascript=False)
    visitor.signs_in(Account(ADMIN))
    visitor.opens("/admin/content/mediafile/add/?role=poster")
    page = visitor.page
    assert "at most" in page.locator("noscript").inner_text()
    page.get_by_label("File:").set_input_files(samples.put(tmp_path, samples.picture(), "moon.png"))
    page.get_by_role("button", name="Upload").click()
    expect(page.locator(".messagelist")).to_contain_text("“moon.png” is in the library.")
    picture = page.locator(".file-preview img")
    wait_for(lambda: picture.evaluate("(picture) => picture.naturalWidth") == 64, "its preview is shown")


@pytest.mark.parametrize(
    "address", ["/admin/content/mediafile/add/", "/admin/content/mediafile/", "/admin/content/item/"]
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_are_accessible_and_fit_a_telephone(
    visit: Callable[..., Visitor], axe: str, address: str, scheme: str
) -> None:
    visitor = visit(color_scheme=scheme, viewport={"width": 375, "height": 700})
    visitor.signs_in(Account(ADMIN))
    visitor.opens(address)
    visitor.page.evaluate(axe)
    found = visitor.page.evaluate("axe.run({ exclude: [['#nav-sidebar']] })")
    assert [f"{rule['id']}: {rule['nodes'][0]['html']}" for rule in found["violations"]] == []
    if address.endswith("/add/"):  # lists are tables, which Django lets grow
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 375
