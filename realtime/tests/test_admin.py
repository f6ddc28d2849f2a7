"""The chat in the admin: what lists tell, what moderators do there, and who may."""

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib import admin as site
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import deletion, history
from accounts.models import User
from realtime import access
from realtime.models import (
    AccessChange,
    Action,
    Attendance,
    Entry,
    EntryKind,
    ModerationAction,
    Report,
    Resolution,
    Restriction,
    RestrictionKind,
    Room,
)
from realtime.tests import rows

pytestmark = pytest.mark.django_db
MODELS = ["room", "entry", "restriction", "report", "moderationaction"]


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def kim() -> User:
    return rows.moderator("kim")


@pytest.fixture
def admin(kim: User) -> Client:
    """As a moderator sees it, who has no other permission."""
    return signed_in(kim)


@pytest.fixture
def room() -> Room:
    return rows.room("lobby")


def listed(admin: Client, model: str, query: str = "") -> list[Any]:
    answer = admin.get(f"/admin/realtime/{model}/{query}")
    assert answer.status_code == 200, f"{query} leads to {answer.headers.get('location')}"
    return list(answer.context["cl"].result_list)


def page_of(admin: Client, row: Any) -> str:
    answer = admin.get(reverse(f"admin:realtime_{row._meta.model_name}_change", args=[row.pk]))
    assert answer.status_code == 200
    return answer.content.decode()


def act(admin: Client, action: str, *chosen: Any, confirmed: bool = True, **more: Any) -> Any:
    sent = {"action": action, "_selected_action": [row.pk for row in chosen], **more}
    if confirmed:
        sent["confirmed"] = "yes"
    return admin.post(f"/admin/realtime/{chosen[0]._meta.model_name}/", sent, follow=True)


def some_of_each(number: int) -> None:
    by = rows.moderator()
    for _ in range(number):
        room = rows.room()
        entry = rows.entry(room)
        rows.entry(room, deleted_at=timezone.now(), deleted_by=by, text="")
        rows.report(entry)
        rows.report(entry, resolution=Resolution.DISMISSED, resolved_by=by, resolved_at=timezone.now())
        rows.restriction(rows.person(), room, created_by=by)
        rows.ban(rows.person(), lifted_at=timezone.now(), lifted_by=by)
        rows.action(by, room=room, subject=entry.author, entry_number=entry.number)
        Attendance.objects.create(process=f"p{room.pk}", room=room, people=[by.pk], guests=1)


# --- Lists ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_lists_cost_the_same_however_many_rows(
    admin: Client, model: str, django_assert_max_num_queries: Any, django_assert_num_queries: Any
) -> None:
    some_of_each(2)
    with django_assert_max_num_queries(18) as few:
        assert listed(admin, model)
    number = len(few)
    some_of_each(12)
    with django_assert_num_queries(number):
        assert len(listed(admin, model)) > 12


@pytest.mark.parametrize("model", MODELS)
def test_each_row_has_a_page(admin: Client, model: str) -> None:
    some_of_each(1)
    for row in listed(admin, model):
        page_of(admin, row)


@pytest.mark.parametrize("model", MODELS)
def test_each_list_can_be_searched(admin: Client, model: str) -> None:
    some_of_each(1)
    assert listed(admin, model, "?q=nothing-of-the-kind") == []


@pytest.mark.parametrize("model", ["accesschange", "attendance"])
def test_what_is_only_the_machines_has_no_page(model: str) -> None:
    names = {registered._meta.model_name for registered in site.site._registry}
    assert model not in names


def test_the_list_of_rooms_tells_who_is_there_what_is_said_and_what_waits(admin: Client, room: Room) -> None:
    Attendance.objects.create(process="one", room=room, people=[1, 2], guests=1)
    Attendance.objects.create(process="two", room=room, people=[2, 3], guests=1)
    Attendance.objects.create(process="gone", room=room, people=[9], seen_at=timezone.now() - timedelta(minutes=1))
    first, _, old = rows.entries(room, 3)
    Entry.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=1))
    rows.report(first)
    rows.report(first, resolution=Resolution.ACTED)
    rows.room("quiet")
    page = admin.get("/admin/realtime/room/").content.decode()
    assert "3 + 2 guests" in page
    assert page.count("nobody") == 1
    assert f'<a href="/admin/realtime/entry/?room__id__exact={room.pk}">2</a>' in page
    assert f'<a href="/admin/realtime/report/?entry__room__id__exact={room.pk}&amp;resolution__exact=">1</a>' in page
    assert len(listed(admin, "report", f"?entry__room__id__exact={room.pk}&resolution__exact=")) == 1


@pytest.mark.parametrize(
    ("query", "texts"),
    [
        ("", ["four", "three", "two", "one"]),
        ("?kind__exact=message", ["three", "two", "one"]),
        ("?kind__exact=notice", ["four"]),
        ("?deleted_at__isempty=0", ["two"]),
        ("?q=thr", ["three"]),
        ("?q=ash", ["three", "two"]),
        ("?author__id__exact=nonsense", []),
        ("?author__id__exact=99999999999999999999", []),
    ],
)
def test_entries_are_found(admin: Client, room: Room, query: str, texts: list[str]) -> None:
    ash = rows.person("ash")
    rows.entry(room, rows.person("mara"), "one")
    rows.entry(room, ash, "two", deleted_at=timezone.now())
    rows.entry(room, ash, "three")
    rows.entry(room, text="four", kind=EntryKind.NOTICE, author=rows.person("zoe"))
    assert [entry.text for entry in listed(admin, "entry", query)] == texts


def test_entries_are_found_by_author_and_room(admin: Client, room: Room) -> None:
    mara = rows.person("mara")
    mine = rows.entry(room, mara)
    rows.entry(rows.room(), mara)
    rows.entry(room)
    assert len(listed(admin, "entry", f"?author__id__exact={mara.pk}")) == 2
    assert listed(admin, "entry", f"?author__id__exact={mara.pk}&room__id__exact={room.pk}") == [mine]


def test_restrictions_are_told_apart_by_whether_they_hold(admin: Client) -> None:
    past = timezone.now() - timedelta(hours=1)
    holds = rows.restriction(rows.person())
    lifted = rows.ban(rows.person(), lifted_at=past)
    over = rows.restriction(rows.person(), until=past)
    found = {state: listed(admin, "restriction", f"?state={state}") for state in ("in_force", "lifted", "over")}
    assert found == {"in_force": [holds], "lifted": [lifted], "over": [over]}


def test_the_queue_has_the_oldest_open_report_first_and_the_last_resolved_after_all_open(
    admin: Client, room: Room
) -> None:
    now = timezone.now()
    made = []
    for hours, resolved in ((1, None), (3, None), (5, 4), (9, 2)):
        at = None if resolved is None else now - timedelta(hours=resolved)
        became = Resolution.OPEN if resolved is None else Resolution.DISMISSED
        more = {"created_at": now - timedelta(hours=hours), "resolved_at": at, "resolution": became}
        made.append(rows.report(rows.entry(room), **more))
    assert listed(admin, "report") == [made[1], made[0], made[3], made[2]]


# --- A message --------------------------------------------------------------------------------------------------------


def test_a_report_shows_the_message_with_five_before_and_after(admin: Client, room: Room) -> None:
    for number in range(1, 15):
        rows.entry(room, text=f"text-{number:02}")
    report = rows.report(Entry.objects.get(room=room, number=8))
    page = page_of(admin, report)
    shown = [number for number in range(1, 15) if f'<td class="said">text-{number:02}</td>' in page]
    assert shown == list(range(3, 14))
    assert page.count('aria-current="true"') == 1


def test_a_message_that_its_author_took_back_is_shown_as_it_was_reported(admin: Client, room: Room) -> None:
    entry = rows.entry(room, text="hateful")
    report = rows.report(entry)
    Entry.objects.filter(pk=entry.pk).update(text="", deleted_at=timezone.now(), deleted_by=entry.author)
    assert "as it was: hateful" in page_of(admin, report)
    assert "hateful" not in page_of(admin, entry).replace("as it was: hateful", "")


def test_what_was_said_is_text_on_every_page(admin: Client, room: Room) -> None:
    entry = rows.entry(room, text="<img src=x onerror=alert(1)>")
    report = rows.report(entry, reason="<b>bad</b>")
    pages = [page_of(admin, entry), page_of(admin, report)]
    pages += [admin.get(f"/admin/realtime/{model}/").content.decode() for model in ("entry", "report")]
    pages.append(act(admin, "delete_messages", report, confirmed=False).content.decode())
    assert all("<img src=x" not in page and "<b>bad" not in page for page in pages)
    assert all("&lt;img src=x" in page for page in pages)


def test_a_messages_page_says_what_is_known_of_its_author(admin: Client, room: Room, kim: User) -> None:
    entry = rows.entry(room, rows.person("ash"))
    rows.report(entry)
    rows.restriction(entry.author, room)
    rows.action(kim, action=Action.DELETE, subject=entry.author, room=room)
    page = page_of(admin, entry)
    assert "Mutes and bans in force: 1" in page
    assert "Mutes and bans in all: 1" in page
    assert "Messages deleted by moderators: 1" in page
    assert "Reports of their messages: 1" in page
    (section,) = re.findall(r'aria-labelledby="author-title">(.*?)</section>', page, re.DOTALL)
    addresses = [unescape(address) for address in re.findall(r'href="([^"]+)"', section)]
    assert len(addresses) == 4
    for address in addresses:
        answer = admin.get(address)
        assert (answer.status_code, answer.context["cl"].result_count) == (200, 1), address


def test_deleting_asks_for_a_reason_first(admin: Client, room: Room) -> None:
    entry = rows.entry(room)
    asked = act(admin, "delete_messages", entry, confirmed=False)
    assert b'name="reason"' in asked.content
    refused = act(admin, "delete_messages", entry, reason="  ")
    assert b"This field is required" in refused.content or b"Say why" in refused.content
    entry.refresh_from_db()
    assert entry.deleted_at is None
    assert not ModerationAction.objects.exists()


def test_deleting_takes_the_text_settles_reports_and_tells_the_room(admin: Client, room: Room, kim: User) -> None:
    entry = rows.entry(room, text="hateful")
    report = rows.report(entry)
    answer = act(admin, "delete_messages", report, reason="hate")
    assert b"deleted." in answer.content
    entry.refresh_from_db()
    report.refresh_from_db()
    assert (entry.text, entry.deleted_by) == ("", kim)
    assert (report.resolution, report.resolved_by, report.text) == (Resolution.ACTED, kim, "hateful")
    last = Entry.objects.get(room=room, number=2)
    assert (last.kind, last.target) == (EntryKind.DELETION, 1)
    noted = ModerationAction.objects.get()
    assert (noted.action, noted.actor, noted.subject, noted.reason) == (Action.DELETE, kim, entry.author, "hate")
    assert LogEntry.objects.filter(user=kim).count() == 1


def test_of_two_reports_of_one_message_deleting_it_once_settles_both(admin: Client, room: Room) -> None:
    entry = rows.entry(room)
    act(admin, "delete_messages", rows.report(entry), rows.report(entry), reason="hate")
    assert set(Report.objects.values_list("resolution", flat=True)) == {Resolution.ACTED}
    assert ModerationAction.objects.count() == 1
    assert Entry.objects.filter(kind=EntryKind.DELETION).count() == 1


def test_only_messages_are_deleted(admin: Client, room: Room) -> None:
    notice = rows.entry(room, kind=EntryKind.NOTICE, text="Slow mode is on.")
    act(admin, "delete_messages", notice, reason="tidy")
    notice.refresh_from_db()
    assert notice.text == "Slow mode is on."
    assert not ModerationAction.objects.exists()


def test_dismissing_leaves_the_message_and_notes_why(admin: Client, room: Room, kim: User) -> None:
    report = rows.report(rows.entry(room, text="mild"))
    act(admin, "dismiss", report, reason="fair enough")
    report.refresh_from_db()
    assert (report.resolution, report.resolved_by) == (Resolution.DISMISSED, kim)
    assert report.entry.text == "mild"
    assert ModerationAction.objects.get().reason == "fair enough"
    again = act(admin, "dismiss", report)
    assert b"nothing to change" in again.content


# --- Mutes and bans ---------------------------------------------------------------------------------------------------


def restrict(admin: Client, **fields: Any) -> Any:
    sent = {"name": "ash", "room": "", "kind": "mute", "until": "", "reason": "flood", **fields}
    return admin.post("/admin/realtime/restriction/add/", sent)


def errors(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, "it was saved"
    return dict(answer.context["adminform"].form.errors)


@pytest.fixture
def ash() -> User:
    return rows.person("ash")


def test_a_ban_of_one_room_is_told_there_and_noted(admin: Client, room: Room, ash: User, kim: User) -> None:
    day = timezone.now() + timedelta(days=3)
    assert restrict(admin, room=room.pk, kind="ban", until=f"{day:%Y-%m-%dT%H:%M:%S}").status_code == 302
    made = Restriction.objects.get()
    assert (made.user, made.room, made.kind, made.created_by) == (ash, room, RestrictionKind.BAN, kim)
    assert access.rights(room, ash).refusal == "banned"
    assert Entry.objects.get(room=room).text == "ash was banned for 3 days."
    assert ModerationAction.objects.get().action == Action.BAN
    assert AccessChange.objects.filter(user_id=ash.pk).exists()


def test_once_the_person_is_erased_the_history_says_that_it_was_done_and_not_to_whom(
    admin: Client, room: Room, ash: User, kim: User
) -> None:
    restrict(admin, room=room.pk)
    act(admin, "lift", Restriction.objects.get())
    assert [entry.object_repr for entry in LogEntry.objects.all()] == ["mute of ash"] * 2
    deletion.erase(ash)
    found = [(entry.user, entry.object_repr) for entry in LogEntry.objects.all()]
    assert found == [(kim, history.ERASED)] * 2


def test_a_mute_of_all_rooms_is_told_in_none(admin: Client, room: Room, ash: User) -> None:
    assert restrict(admin).status_code == 302
    assert not access.rights(room, ash).may_write
    assert not access.rights(rows.room(), ash).may_write
    assert not Entry.objects.exists()
    assert ModerationAction.objects.get().detail == "in all rooms, until it is lifted"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "nobody-of-that-name"}, "name"),
        ({"name": "kim"}, "name"),
        ({"name": "a\x00sh"}, "name"),
        ({"name": ""}, "name"),
        ({"reason": " "}, "reason"),
        ({"reason": "x" * 301}, "reason"),
        ({"kind": "exile"}, "kind"),
        ({"until": "2020-01-01T00:00"}, "until"),
        ({"room": "999999"}, "room"),
    ],
)
def test_a_form_that_makes_no_sense_is_refused(admin: Client, ash: User, fields: dict[str, str], field: str) -> None:
    assert list(errors(restrict(admin, **fields))) == [field]
    assert not Restriction.objects.exists()


def test_from_a_message_the_form_is_filled_in(admin: Client, room: Room, ash: User) -> None:
    page = page_of(admin, rows.entry(room, ash))
    url = f"/admin/realtime/restriction/add/?name=ash&room={room.pk}&reason=Message+1"
    assert url.replace("&", "&amp;") in page
    form = admin.get(url).context["adminform"].form
    assert (form["name"].value(), form["room"].value()) == ("ash", str(room.pk))


def test_lifting_asks_first_and_holds_once(admin: Client, room: Room, ash: User, kim: User) -> None:
    made = rows.ban(ash, room, created_by=kim)
    act(admin, "lift", made, confirmed=False)
    assert access.rights(room, ash).refusal == "banned"
    act(admin, "lift", made)
    assert access.rights(room, ash).may_write
    assert Entry.objects.get(room=room).text == "ash is no longer banned."
    assert b"nothing to change" in act(admin, "lift", made).content
    assert ModerationAction.objects.count() == 1


def test_only_what_holds_can_be_lifted(admin: Client, ash: User) -> None:
    button = 'value="lift"'
    assert button in page_of(admin, rows.ban(ash))
    assert button not in page_of(admin, rows.ban(ash, lifted_at=timezone.now()))


# --- Rooms ------------------------------------------------------------------------------------------------------------


def form_of(admin: Client, room: Room, **changes: Any) -> dict[str, Any]:
    """What a browser would send from the room's page."""
    form = admin.get(reverse("admin:realtime_room_change", args=[room.pk])).context["adminform"].form
    sent = {bound.html_name: bound.value() for bound in form if bound.value() is not False}
    return {**sent, **changes}


def save(admin: Client, room: Room, **changes: Any) -> Any:
    return admin.post(reverse("admin:realtime_room_change", args=[room.pk]), form_of(admin, room, **changes))


def test_a_form_that_was_open_while_people_talked_takes_nothing_back(admin: Client, room: Room) -> None:
    sent = form_of(admin, room, slow_mode_seconds=10)
    rows.entries(room, 3)
    assert admin.post(reverse("admin:realtime_room_change", args=[room.pk]), sent).status_code == 302
    room.refresh_from_db()
    assert (room.slow_mode_seconds, room.last_number) == (10, 4)
    assert rows.entry(room).number == 5


def test_what_concerns_people_is_told_in_the_room(admin: Client, room: Room, kim: User) -> None:
    save(admin, room, slow_mode_seconds=10, topic="Tea", audience="members")
    texts = list(Entry.objects.filter(room=room).order_by("number").values_list("text", flat=True))
    assert sorted(texts) == [
        "Slow mode is on: one message every 10 seconds.",
        "This room is for members from now on.",
    ]
    noted = ModerationAction.objects.get()
    assert (noted.action, noted.actor, noted.room) == (Action.ROOM, kim, room)
    assert sorted(noted.detail.split("; ")) == [
        "audience: public → members",
        "slow mode: 0 → 10",
        "topic: nothing → Tea",
    ]


def test_a_form_without_changes_leaves_no_trace(admin: Client, room: Room) -> None:
    before = Room.objects.get(pk=room.pk).updated_at
    assert save(admin, room).status_code == 302
    assert Room.objects.get(pk=room.pk).updated_at == before
    assert not ModerationAction.objects.exists()


def test_rooms_are_archived_and_opened_again(admin: Client, room: Room) -> None:
    act(admin, "archive", room)
    room.refresh_from_db()
    assert room.is_archived
    act(admin, "open_again", room)
    room.refresh_from_db()
    assert not room.is_archived
    texts = list(Entry.objects.order_by("number").values_list("text", flat=True))
    assert texts == ["This room was archived.", "This room is open again."]


@pytest.mark.parametrize(("seconds", "is_set"), [("30", True), ("0", False), ("-1", False), ("x", False)])
def test_slow_mode_is_set_for_several(admin: Client, room: Room, seconds: str, is_set: bool) -> None:
    other = rows.room()
    act(admin, "slow_mode", room, other, seconds=seconds)
    expected = {30} if is_set else {0}
    assert set(Room.objects.values_list("slow_mode_seconds", flat=True)) == expected


def test_a_new_room_is_noted(room: Room) -> None:
    owner = User.objects.create_superuser("root", "root@example.org", rows.PASSWORD)
    sent = {"name": "Tea", "slug": "tea", "audience": "members", "slow_mode_seconds": "0", "position": "0"}
    assert signed_in(owner).post("/admin/realtime/room/add/", sent).status_code == 302
    noted = ModerationAction.objects.get()
    assert (noted.room, noted.detail) == (Room.objects.get(slug="tea"), "opened it for members")


def test_a_room_in_which_something_was_said_stays(room: Room) -> None:
    owner = signed_in(User.objects.create_superuser("root", "root@example.org", rows.PASSWORD))
    rows.entry(room)
    empty = rows.room("empty")
    for one, status in ((room, 403), (empty, 302)):
        answer = owner.post(reverse("admin:realtime_room_delete", args=[one.pk]), {"post": "yes"})
        assert answer.status_code == status
    assert [one.slug for one in Room.objects.all()] == ["lobby"]
    assert "deleted empty" in ModerationAction.objects.get().detail


# --- The trail --------------------------------------------------------------------------------------------------------


def test_the_trail_is_found_by_moderator_action_and_room(admin: Client, room: Room, kim: User) -> None:
    mine = rows.action(kim, room=room, action=Action.BAN)
    rows.action(rows.moderator("lee"), room=rows.room(), action=Action.MUTE)
    for query in (f"?actor__id__exact={kim.pk}", "?action__exact=ban", f"?room__id__exact={room.pk}", "?q=kim"):
        assert listed(admin, "moderationaction", query) == [mine]


def test_the_trail_leads_to_the_message(admin: Client, room: Room, kim: User) -> None:
    entry = rows.entry(room)
    rows.action(kim, room=room, entry_number=entry.number)
    page = admin.get("/admin/realtime/moderationaction/").content.decode()
    url = f"/admin/realtime/entry/?room__id__exact={room.pk}&number__exact={entry.number}"
    assert url.replace("&", "&amp;") in page
    assert listed(admin, "entry", url.partition("/entry/")[2]) == [entry]


# --- Who may ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["entry", "restriction", "report", "moderationaction"])
def test_nobody_rewrites_what_happened(model: str) -> None:
    owner = signed_in(User.objects.create_superuser("root", "root@example.org", rows.PASSWORD))
    some_of_each(1)
    row = listed(owner, model)[0]
    if model != "restriction":
        assert owner.get(f"/admin/realtime/{model}/add/").status_code == 403
    assert owner.post(f"/admin/realtime/{model}/{row.pk}/change/", {"reason": "x"}).status_code == 403
    assert owner.post(f"/admin/realtime/{model}/{row.pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("model", MODELS)
def test_whoever_may_look_may_do_nothing_else(model: str) -> None:
    viewer = signed_in(rows.colleague("vic", *(f"view_{name}" for name in MODELS)))
    some_of_each(1)
    row = listed(viewer, model)[0]
    page_of(viewer, row)
    page = viewer.get(f"/admin/realtime/{model}/").content.decode()
    assert not any(f'value="{action}"' in page for action in ("delete_messages", "dismiss", "lift", "archive"))
    assert 'name="_save"' not in page_of(viewer, row)
    assert viewer.get("/admin/realtime/restriction/add/").status_code == 403
    for action in ("delete_messages", "dismiss", "lift", "archive", "slow_mode"):
        act(viewer, action, row, reason="no", seconds="9")
    noted = ModerationAction.objects.filter(actor__username="vic")
    assert not noted.exists()
    assert not Room.objects.filter(is_archived=True).exists()


@pytest.mark.parametrize("model", MODELS)
def test_staff_without_permission_see_nothing(model: str) -> None:
    assert signed_in(rows.colleague()).get(f"/admin/realtime/{model}/").status_code == 403


def test_permissions_to_change_rows_make_nobody_a_moderator(room: Room) -> None:
    names = ["view_report", "change_report", "view_restriction", "add_restriction", "change_restriction"]
    colleague = signed_in(rows.colleague("col", *names))
    report, made = rows.report(rows.entry(room)), rows.ban(rows.person("ash"), room)
    act(colleague, "dismiss", report)
    act(colleague, "lift", made)
    assert colleague.get("/admin/realtime/restriction/add/").status_code == 403
    report.refresh_from_db()
    made.refresh_from_db()
    assert report.resolution == Resolution.OPEN
    assert made.lifted_at is None


def test_whoever_may_change_rooms_does_without_being_a_moderator(room: Room) -> None:
    host = signed_in(rows.colleague("host", "view_room", "change_room"))
    save(host, room, slow_mode_seconds=5)
    room.refresh_from_db()
    assert room.slow_mode_seconds == 5
    assert ModerationAction.objects.get().actor_name == "host"


# --- The home page ----------------------------------------------------------------------------------------------------


def test_the_home_page_tells_moderators_what_waits(admin: Client, room: Room) -> None:
    assert "in the chat" not in admin.get("/admin/").content.decode()
    rows.report(rows.entry(room))
    assert '<a href="/admin/realtime/report/?resolution__exact=">1 open report in the chat</a>' in (
        admin.get("/admin/").content.decode()
    )
    assert "in the chat" not in signed_in(rows.colleague("col", "view_report")).get("/admin/").content.decode()


def test_the_permission_has_a_name_that_says_what_it_is() -> None:
    assert "delete messages, mute and ban" in Permission.objects.get(codename="moderate_room").name
