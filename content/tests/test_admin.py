"""The library in the admin: lists, forms that let nothing out that cannot be played, publishing, and what may go."""

from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin as site
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from content import demo, files, publishing
from content.models import Collection, Item, Kind, MediaFile, Opening, Player, Role, State, Tag, Upload
from content.tests import rows, samples

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("library")]
MODELS = ["item", "mediafile", "collection", "tag", "upload", "viewing"]


@pytest.fixture
def admin(staff: User) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def listed(admin: Client, model: str, query: str = "") -> list[Any]:
    answer = admin.get(f"/admin/content/{model}/{query}")
    assert answer.status_code == 200, f"{query} leads to {answer.headers.get('location')}"
    return list(answer.context["cl"].result_list)


def page_of(admin: Client, row: Any) -> str:
    name = f"admin:content_{row._meta.model_name}_change"
    return admin.get(reverse(name, args=[row.pk])).content.decode()


def some_of_each(owner: User, number: int) -> None:
    for _ in range(number):
        collection, tag = rows.collection(), Tag.objects.create(slug=f"tag-{next(rows.numbers)}", name="Tag")
        item = rows.members_item(kind=Kind.VIDEO, collection=collection)
        item.tags.add(tag)
        rows.media(item, duration_seconds=75.0, uploaded_by=owner)
        rows.media(item, kind="image", content_type="image/png", role=Role.POSTER)
        rows.media(item, kind="image", content_type="image/png", role=Role.ILLUSTRATION)
        rows.media(None)
        rows.viewing(item, user=owner, credited_until=timezone.now())
        Upload.objects.create(owner=owner, item=item, original_name="film.mp4", size_bytes=10)


def form_of(admin: Client, row: Any, **changes: Any) -> dict[str, Any]:
    """What a browser would send from the row's page."""
    page = admin.get(reverse(f"admin:content_{row._meta.model_name}_change", args=[row.pk])).context
    sent: dict[str, Any] = {}
    for form in [page["adminform"].form, *(f.formset.management_form for f in page["inline_admin_formsets"])]:
        for bound in form:
            value = bound.value()
            if hasattr(value, "strftime"):
                sent[f"{bound.html_name}_0"], sent[f"{bound.html_name}_1"] = f"{value:%Y-%m-%d}", f"{value:%H:%M:%S}"
            elif value is not None:
                sent[bound.html_name] = [getattr(v, "pk", v) for v in value] if isinstance(value, list) else value
    return {**sent, **changes}


def save(admin: Client, row: Any, **changes: Any) -> Any:
    return admin.post(
        reverse(f"admin:content_{row._meta.model_name}_change", args=[row.pk]), form_of(admin, row, **changes)
    )


def errors(answer: Any) -> str:
    assert answer.status_code == 200, "it was saved"
    found = [
        answer.context["adminform"].form.errors,
        *(f.formset.errors for f in answer.context["inline_admin_formsets"]),
    ]
    return str(found)


def act(admin: Client, action: str, *items: Item, confirmed: bool = True) -> Any:
    sent = {"action": action, "_selected_action": [item.pk for item in items]}
    if confirmed:
        sent["confirmed"] = "yes"
    return admin.post("/admin/content/item/", sent, follow=True)


# --- Lists ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_lists_cost_the_same_however_many_rows(
    admin: Client, staff: User, model: str, django_assert_max_num_queries: Any, django_assert_num_queries: Any
) -> None:
    some_of_each(staff, 1)
    with django_assert_max_num_queries(16) as few:
        assert listed(admin, model)
    some_of_each(staff, 12)
    with django_assert_num_queries(len(few)):
        assert len(listed(admin, model)) > 12


def test_an_items_page_costs_the_same_however_many_files_it_has(
    admin: Client, django_assert_max_num_queries: Any, django_assert_num_queries: Any
) -> None:
    item = rows.members_item(kind=Kind.VIDEO)
    picture = {"kind": "image", "content_type": "image/png", "role": Role.ILLUSTRATION}
    rows.media(item, **picture)
    page_of(admin, item)  # what is asked once only
    with django_assert_max_num_queries(12) as few:
        page_of(admin, item)
    for _ in range(6):
        rows.media(item, **picture)
    with django_assert_num_queries(len(few)):
        page_of(admin, item)


@pytest.mark.parametrize("model", MODELS)
def test_each_row_has_a_page(admin: Client, staff: User, model: str) -> None:
    some_of_each(staff, 1)
    for row in listed(admin, model):
        assert admin.get(reverse(f"admin:content_{model}_change", args=[row.pk])).status_code == 200


@pytest.mark.parametrize("model", ["upload", "viewing"])
def test_nobody_types_in_what_the_site_records(admin: Client, staff: User, model: str) -> None:
    some_of_each(staff, 1)
    (row,) = listed(admin, model)
    assert admin.get(f"/admin/content/{model}/add/").status_code == 403
    assert admin.post(f"/admin/content/{model}/{row.pk}/change/", {}).status_code == 403
    may_go = admin.get(f"/admin/content/{model}/{row.pk}/delete/").status_code == 200
    assert may_go == (model == "upload")


def test_what_is_only_the_machines_has_no_page() -> None:
    assert not site.site.is_registered(Player)
    assert not site.site.is_registered(Opening)


@pytest.mark.parametrize("model", MODELS)
def test_who_may_not_see_a_list_does_not(staff: User, model: str) -> None:
    some_of_each(staff, 1)
    clerk = User.objects.create_user("clerk", "clerk@example.org", "a long enough phrase", is_staff=True)
    client = Client()
    client.force_login(clerk)
    assert client.get(f"/admin/content/{model}/").status_code == 403
    clerk.user_permissions.add(Permission.objects.get(codename=f"view_{model}", content_type__app_label="content"))
    assert client.get(f"/admin/content/{model}/").status_code == 200


def test_items_are_found_by_their_state(admin: Client) -> None:
    draft, scheduled = rows.item(published_at=None), rows.item(published_at=rows.days_ago(-1))
    published = rows.item()
    assert listed(admin, "item", "?state=draft") == [draft]
    assert listed(admin, "item", "?state=scheduled") == [scheduled]
    assert listed(admin, "item", "?state=published") == [published]
    assert len(listed(admin, "item", "?state=nonsense")) == 3
    page = admin.get("/admin/content/item/").content.decode()
    for word in ('class="state warn">Draft', 'class="state quiet">Scheduled', 'class="state good">Published'):
        assert page.count(word) == 1


def test_the_list_says_how_long_an_item_is_and_how_many_files_it_has(admin: Client) -> None:
    rows.media(rows.item(kind=Kind.AUDIO), duration_seconds=3725.0)
    (row,) = listed(admin, "item")
    assert (row.seconds, row.file_number) == (3725.0, 1)
    assert ">1:02:05<" in admin.get("/admin/content/item/").content.decode()


def test_files_without_an_item_are_found(admin: Client) -> None:
    rows.media(rows.item(kind=Kind.VIDEO))
    alone = rows.media(None)
    assert listed(admin, "mediafile", "?item__isempty=1") == [alone]


def test_collections_and_tags_count_their_items_and_lead_to_them(admin: Client) -> None:
    collection, tag = rows.collection(), Tag.objects.create(slug="sleep", name="Sleep")
    item = rows.item(collection=collection)
    item.tags.add(tag)
    rows.item()
    for model, row in (("collection", collection), ("tag", tag)):
        (shown,) = listed(admin, model)
        assert shown.item_number == 1
        query = f"{'tags' if model == 'tag' else model}__id__exact={row.pk}"
        assert f'href="../item/?{query}">1<' in admin.get(f"/admin/content/{model}/").content.decode()
        assert listed(admin, "item", f"?{query}") == [item]


def test_an_upload_that_is_stuck_is_seen_and_may_be_given_up(
    admin: Client, staff: User, library: Path, django_capture_on_commit_callbacks: Any
) -> None:
    from content import uploads

    upload = uploads.start(by=staff, name="film.mp4", size_bytes=100_000)
    uploads.append(upload.pk, by=staff, offset=0, data=samples.FILM[:25_000])
    assert "25 % of 100,000 bytes" in admin.get("/admin/content/upload/").content.decode()
    with django_capture_on_commit_callbacks(execute=True):
        admin.post(f"/admin/content/upload/{upload.pk}/delete/", {"post": "yes"})
    assert not Upload.objects.exists()
    assert list(library.glob("incoming/*")) == []


# --- Forms ------------------------------------------------------------------------------------------------------------


def test_an_item_is_saved_as_it_stands_on_its_page(admin: Client) -> None:
    item = rows.item("A title")
    assert save(admin, item, title="Another").status_code == 302
    item.refresh_from_db()
    assert (item.title, item.state) == ("Another", State.PUBLISHED)


@pytest.mark.parametrize("kind", [Kind.AUDIO, Kind.VIDEO])
@pytest.mark.parametrize("days", [-1, 1])
def test_a_film_without_its_file_is_neither_published_nor_scheduled(admin: Client, kind: Kind, days: int) -> None:
    item = rows.item(kind=kind, published_at=None)
    at = rows.days_ago(days)
    when = {"published_at_0": f"{at:%Y-%m-%d}", "published_at_1": "12:00:00"}
    assert "once its file is there" in errors(save(admin, item, **when))
    rows.media(item)
    assert save(admin, item, **when).status_code == 302


def test_a_new_film_begins_as_a_draft(admin: Client) -> None:
    empty = {f"{name}-{field}": 0 for name in ("files", "captions") for field in ("TOTAL_FORMS", "INITIAL_FORMS")}
    told = {
        "title": "A film", "slug": "a-film", "kind": "video", "language": "en", "visibility": "members", "position": 0,
        **empty,
    }  # fmt: skip
    published = {"published_at_0": "2026-01-01", "published_at_1": "12:00:00"}
    assert "once its file is there" in errors(admin.post("/admin/content/item/add/", {**told, **published}))
    assert admin.post("/admin/content/item/add/", told).status_code == 302
    assert Item.objects.get(slug="a-film").state == State.DRAFT


def test_a_film_does_not_become_an_article_while_it_has_a_film(admin: Client) -> None:
    assert "An article has no recording or film" in errors(save(admin, rows.film(), kind="article"))


@pytest.mark.parametrize("language", ["english", "en_GB", "en-", "<b>", "e", ""])
def test_a_language_is_written_as_in_html(admin: Client, language: str) -> None:
    assert "language" in errors(save(admin, rows.item(), language=language))


@pytest.mark.parametrize("language", ["de", "pt-BR", "zh-Hant", "gsw"])
def test_a_language_may_be_a_regions(admin: Client, language: str) -> None:
    assert save(admin, rows.item(), language=language).status_code == 302


@pytest.mark.parametrize(("slug", "words"), [("search", "address of the library itself"), ("a/b", "valid “slug”")])
def test_an_address_that_cannot_be_an_items_is_refused(admin: Client, slug: str, words: str) -> None:
    assert words in errors(save(admin, rows.item(), slug=slug))


def captions_of(item: Item, text: str, **more: Any) -> dict[str, Any]:
    told = {
        "purpose": "captions",
        "language": "en",
        "label": "English",
        "text": text,
        "id": "",
        "item": item.pk,
        **more,
    }
    return {"captions-TOTAL_FORMS": 1, **{f"captions-0-{name}": value for name, value in told.items()}}


def test_captions_are_saved_where_players_can_read_them(admin: Client) -> None:
    item = rows.film()
    assert save(admin, item, **captions_of(item, demo.CAPTIONS.replace("\n", "\r\n"))).status_code == 302
    assert item.captions.get().text == demo.CAPTIONS


def test_captions_that_players_cannot_read_are_refused_with_the_line(admin: Client) -> None:
    item = rows.film()
    broken = demo.CAPTIONS.replace("00:08.000 --> 00:12.000", "00:08,000 --> 00:12,000")
    assert "Line 9: " in errors(save(admin, item, **captions_of(item, broken)))
    assert "written as in HTML" in errors(save(admin, item, **captions_of(item, demo.CAPTIONS, language="e")))


def test_a_file_may_be_given_to_an_item_and_described(admin: Client) -> None:
    item = rows.item()
    file = rows.media(None, kind="image", content_type="image/png", role=Role.POSTER)
    assert save(admin, file, item=item.pk, role="illustration", description="The moon").status_code == 302
    file.refresh_from_db()
    assert (file.item, file.role, file.description) == (item, Role.ILLUSTRATION, "The moon")


@pytest.mark.parametrize(
    ("kind", "role", "words"),
    [
        ("image", "main", "This is a picture"),
        ("video", "poster", "must be a picture"),
        ("video", "main", "An article has"),
    ],
)
def test_a_file_gets_no_role_that_it_does_not_fit(admin: Client, kind: str, role: str, words: str) -> None:
    file = rows.media(None, kind=kind, role=Role.ILLUSTRATION)
    assert words in errors(save(admin, file, item=rows.item().pk, role=role))


def test_a_role_that_is_taken_is_told_by_what(admin: Client) -> None:
    item = rows.film()
    assert "“film.webm” in this role" in errors(save(admin, rows.media(None), item=item.pk))


def test_a_file_is_not_taken_from_an_item_that_plays_it(admin: Client) -> None:
    item = rows.film()
    assert "is what" in errors(save(admin, item.media, item=""))


# --- An item's page ---------------------------------------------------------------------------------------------------


def test_an_items_page_leads_to_its_previews_and_its_audience(admin: Client) -> None:
    item = rows.item(published_at=None)
    page = page_of(admin, item)
    for address in (f"/content/{item.slug}/?as=member", f"/content/{item.slug}/?as=visitor", f"{item.pk}/audience/"):
        assert address in page


@pytest.mark.parametrize(("kind", "roles"), [("article", "poster illustration"), ("video", "main poster illustration")])
def test_an_items_page_leads_to_the_upload_of_what_it_may_have(admin: Client, kind: str, roles: str) -> None:
    item = rows.item(kind=kind)
    page = page_of(admin, item)
    for role in Role.values:
        assert (f"?item={item.pk}&amp;role={role}" in page) == (role in roles.split())


def test_an_illustration_comes_with_what_to_write_for_it(admin: Client) -> None:
    item = rows.item()
    picture = {"kind": "image", "content_type": "image/png", "role": Role.ILLUSTRATION}
    file = rows.media(item, description="A [full] <moon>", **picture)
    for row in (item, file):
        assert f"![A (full) &lt;moon&gt;](media:{file.key})" in page_of(admin, row)


def test_pictures_are_shown_small_by_an_address_for_who_looks(admin: Client) -> None:
    item = rows.members_item()
    file = rows.media(item, kind="image", content_type="image/png", role=Role.ILLUSTRATION)
    for page in (page_of(admin, item), page_of(admin, file), admin.get("/admin/content/mediafile/").content.decode()):
        assert f'<img src="/watch/media/{file.key}/' in page


# --- Publishing -------------------------------------------------------------------------------------------------------


def test_publishing_asks_first(admin: Client) -> None:
    item = rows.item(published_at=None)
    page = act(admin, "publish", item, confirmed=False).content.decode()
    assert "Publish these items now?" in page
    assert Item.objects.get().state == State.DRAFT


def test_items_are_published_now(admin: Client) -> None:
    draft, scheduled = rows.item(published_at=None), rows.item(published_at=rows.days_ago(-5))
    before = timezone.now()
    act(admin, "publish", draft, scheduled)
    for item in Item.objects.all():
        assert before <= item.published_at <= timezone.now()


def test_what_is_published_already_keeps_its_date(admin: Client) -> None:
    item = rows.item()
    assert "nothing to change" in act(admin, "publish", item).content.decode()
    assert Item.objects.get().published_at == item.published_at


def test_a_film_without_its_file_is_not_published_and_the_others_are(admin: Client) -> None:
    film, article = rows.item(kind=Kind.VIDEO, published_at=None), rows.item(published_at=None)
    page = act(admin, "publish", film, article).content.decode()
    assert publishing.NO_FILE in page
    assert [Item.objects.get(pk=row.pk).state for row in (film, article)] == [State.DRAFT, State.PUBLISHED]


def test_items_become_drafts_again(admin: Client) -> None:
    item = rows.item()
    assert "Nobody but staff will see them." in act(admin, "unpublish", item, confirmed=False).content.decode()
    act(admin, "unpublish", item)
    assert Item.objects.get().state == State.DRAFT


def test_who_may_only_look_publishes_nothing() -> None:
    clerk = User.objects.create_user("clerk", "clerk@example.org", "a long enough phrase", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_item", content_type__app_label="content"))
    client = Client()
    client.force_login(clerk)
    item = rows.item(published_at=None)
    act(client, "publish", item)
    assert Item.objects.get().state == State.DRAFT


# --- What may go ------------------------------------------------------------------------------------------------------


def test_a_file_is_deleted_with_its_bytes(
    admin: Client, library: Path, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        file = files.keep(samples.put(tmp_path, samples.FILM), original_name="a")
    with django_capture_on_commit_callbacks(execute=True):
        admin.post(f"/admin/content/mediafile/{file.pk}/delete/", {"post": "yes"})
    assert not MediaFile.objects.exists()
    assert [path for path in library.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("way", ["its page", "the list"])
def test_what_a_published_item_plays_is_not_deleted(admin: Client, way: str) -> None:
    file = rows.film().media
    assert file is not None
    if way == "its page":
        answer = admin.post(f"/admin/content/mediafile/{file.pk}/delete/", {"post": "yes"})
    else:
        sent = {"action": "delete_selected", "_selected_action": [file.pk], "post": "yes"}
        answer = admin.post("/admin/content/mediafile/", sent)
    assert MediaFile.objects.count() == 1
    assert "make the item a draft first" in answer.content.decode()


def test_a_collection_goes_without_its_items(admin: Client) -> None:
    item = rows.item(collection=rows.collection())
    admin.post(f"/admin/content/collection/{item.collection_id}/delete/", {"post": "yes"})
    item.refresh_from_db()
    assert item.collection is None
    assert not Collection.objects.exists()
