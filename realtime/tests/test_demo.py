"""The demo rooms: labelled, made once, and taken away with nothing else."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from accounts.models import User
from realtime import demo
from realtime.models import Entry, Room
from realtime.tests import rows
from realtime.tests.pages import browser_of, words

pytestmark = pytest.mark.django_db


def test_they_say_what_they_are() -> None:
    assert demo.load() == 2
    page = words(browser_of().get("/chat/"))
    assert "Lobby (demo)" in page
    assert "Night room (demo)" in page
    lobby = words(browser_of().get("/chat/demo-lobby/"))
    assert "examples that came with the installation" in lobby
    assert "remove_demo" in lobby


def test_their_messages_are_numbered_and_in_order() -> None:
    demo.load()
    for room in Room.objects.all():
        entries = list(Entry.objects.filter(room=room).order_by("number"))
        assert [entry.number for entry in entries] == list(range(1, room.last_number + 1))
        assert [entry.created_at for entry in entries] == sorted(entry.created_at for entry in entries)


def test_nobody_can_sign_in_as_who_wrote_them() -> None:
    demo.load()
    author = User.objects.get(username=demo.AUTHOR)
    assert not author.is_active
    assert not author.has_usable_password()


def test_loading_them_again_changes_nothing_that_was_said() -> None:
    demo.load()
    rows.entry(Room.objects.get(slug="demo-lobby"), text="hello")
    before = list(Entry.objects.values_list("pk", "number", "text"))
    demo.load()
    assert list(Entry.objects.values_list("pk", "number", "text")) == before
    assert demo.present() == Room.objects.count() == 2


def test_removing_them_leaves_other_rooms_and_people(member: User) -> None:
    demo.load()
    room = rows.room("own")
    rows.entry(room, member, "stays")
    rows.entry(Room.objects.get(slug="demo-lobby"), member, "goes")
    assert demo.remove() == 2
    assert [entry.text for entry in Entry.objects.all()] == ["stays"]
    assert list(User.objects.all()) == [member]
    assert demo.remove() == 0


def test_a_person_of_that_name_keeps_it() -> None:
    person = rows.person(demo.AUTHOR)
    demo.load()
    assert not Entry.objects.filter(author=person).exists()
    demo.remove()
    assert User.objects.filter(pk=person.pk).exists()


def test_they_come_and_go_with_the_other_demo_content(settings: Any, tmp_path: Any) -> None:
    settings.DATA_DIR, settings.LIBRARY_DIR = tmp_path, tmp_path / "library"
    out = StringIO()
    call_command("load_demo", stdout=out)
    call_command("load_demo", stdout=out)
    assert "2 demo rooms" in out.getvalue()
    assert Room.objects.count() == 2
    call_command("remove_demo", "--dry-run", stdout=out)
    assert "2 demo rooms and 2 demo plans would be removed." in out.getvalue()
    assert Room.objects.count() == 2
    call_command("remove_demo", stdout=out)
    assert "2 demo rooms and 2 demo plans were removed." in out.getvalue()
    assert not Room.objects.exists()
