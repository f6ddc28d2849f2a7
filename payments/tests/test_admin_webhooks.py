"""The log of webhooks in the admin, and "process again", against the stand-in for Stripe's API."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import User
from payments import admin_webhooks
from payments.models import Movement, WebhookEvent
from payments.tests import rows
from payments.tests.shop import Here, Shop

pytestmark = pytest.mark.django_db
LIST = "/admin/payments/webhookevent/"


@pytest.fixture
def admin(staff: User) -> Client:
    client = Client()
    client.force_login(staff)
    return client


@pytest.fixture
def undone(shop: Shop, member: User) -> WebhookEvent:
    """An event about a charge that Stripe has, which could not be processed when it came."""
    shop.subscribe(member)
    event = shop.event("charge.succeeded")
    return rows.failed_event("charge.succeeded", event_id=event["id"], object_id=event["data"]["object"]["id"])


def process_again(admin: Client, *events: WebhookEvent, confirmed: bool = True, **more: str) -> Any:
    posted: dict[str, Any] = {"action": "process_again", "_selected_action": [event.pk for event in events], **more}
    return admin.post(LIST, {**posted, "confirmed": "yes"} if confirmed else posted, follow=True)


def told(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def test_failed_events_are_named_above_all_others(admin: Client) -> None:
    failed = rows.failed_event("invoice.paid", received_at=rows.days_ago(2))
    for _ in range(60):
        rows.event()
    page = admin.get(LIST)
    assert "1 event could not be processed." in page.content.decode()
    assert 'href="?state=failed"' in page.content.decode()
    assert list(admin.get(f"{LIST}?state=failed").context["cl"].result_list) == [failed]


def test_a_log_without_failures_makes_no_fuss(admin: Client) -> None:
    assert "No event of Stripe’s has arrived yet" in admin.get(LIST).content.decode()
    rows.event()
    assert "could not be processed" not in admin.get(LIST).content.decode()


@pytest.mark.parametrize(
    ("state", "values"),
    [
        ("pending", {"processed_at": None, "attempts": 0}),
        ("repaired", {"attempts": 3}),
        ("mirror", {"mirror_error": "KeyError: 'tax'"}),
    ],
)
def test_events_are_found_by_what_became_of_them(admin: Client, state: str, values: dict[str, Any]) -> None:
    rows.event()
    rows.failed_event()
    event = rows.event("charge.updated", **values)
    assert list(admin.get(f"{LIST}?state={state}").context["cl"].result_list) == [event]
    assert list(admin.get(f"{LIST}?subject=charge.").context["cl"].result_list) == [event]


def test_processing_again_asks_first(admin: Client, undone: WebhookEvent) -> None:
    page = process_again(admin, undone, confirmed=False).content.decode()
    assert "Process again?" in page
    assert f"charge.succeeded {undone.event_id}: Unavailable: Stripe does not answer." in page
    assert not Movement.objects.exists()


def test_once_confirmed_what_the_event_was_about_is_brought_in(admin: Client, undone: WebhookEvent) -> None:
    answer = process_again(admin, undone)
    assert told(answer) == [f"charge.succeeded {undone.event_id}: processed."]
    undone.refresh_from_db()
    assert undone.processed_at is not None
    assert undone.error == ""
    assert Movement.objects.get().amount_minor == 900


def test_what_was_processed_is_left_as_it_is(admin: Client, undone: WebhookEvent) -> None:
    process_again(admin, undone)
    undone.refresh_from_db()
    answer = process_again(admin, undone)
    assert told(answer) == [f"charge.succeeded {undone.event_id}: nothing to change."]
    assert Movement.objects.count() == 1


def test_an_events_own_page_has_the_button_and_comes_back_to_it(admin: Client, undone: WebhookEvent) -> None:
    path = f"{LIST}{undone.pk}/change/"
    assert 'value="process_again"' in admin.get(path).content.decode()
    answer = process_again(admin, undone, origin="row")
    assert answer.redirect_chain[-1][0] == path
    assert 'value="process_again"' not in answer.content.decode()
    assert "processed." in admin.get(f"{LIST}{undone.pk}/history/").content.decode()


def test_while_stripe_is_down_one_event_is_tried_and_the_others_are_left_alone(
    admin: Client, undone: WebhookEvent, stripe_standin: Here
) -> None:
    others = [rows.failed_event("charge.updated", object_id=undone.object_id) for _ in range(3)]
    stripe_standin.forget_calls()
    stripe_standin.misbehave("error_500")
    messages = told(process_again(admin, undone, *others))
    assert len(stripe_standin.calls("/v1/charges/")) == 1
    assert len([message for message in messages if "Left alone, since Stripe does not answer." in message]) == 3
    undone.refresh_from_db()
    assert undone.attempts == 2
    assert WebhookEvent.objects.waiting().count() == 4


def test_what_takes_too_long_is_left_for_another_time(
    admin: Client, undone: WebhookEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin_webhooks, "PATIENCE_SECONDS", -1)
    (message,) = told(process_again(admin, undone))
    assert "Left for another time" in message
    assert not Movement.objects.exists()


def test_one_that_fails_for_a_reason_of_ours_does_not_keep_the_others(admin: Client, undone: WebhookEvent) -> None:
    event = rows.failed_event("payout.paid", object_id="po_1", created_at=rows.days_ago(9))
    messages = told(process_again(admin, event, undone))
    assert sorted(messages) == [
        f"charge.succeeded {undone.event_id}: processed.",
        f"payout.paid {event.event_id}: It failed again, with a ValueError; its page says more.",
    ]
    assert "mean nothing here" in admin.get(f"{LIST}{event.pk}/change/").content.decode()


def test_who_may_only_look_may_not_process(undone: WebhookEvent) -> None:
    clerk = User.objects.create_user("clerk", "clerk@example.org", "a long enough phrase", is_staff=True)
    rights = Permission.objects.filter(content_type__app_label="payments", content_type__model="webhookevent")
    clerk.user_permissions.add(rights.get(codename="view_webhookevent"))
    client = Client()
    client.force_login(clerk)
    assert "process_again" not in client.get(LIST).content.decode()
    assert "process_again" not in client.get(f"{LIST}{undone.pk}/change/").content.decode()
    process_again(client, undone)
    assert not Movement.objects.exists()
    clerk.user_permissions.add(rights.get(codename="change_webhookevent"))
    process_again(client, undone)
    assert Movement.objects.count() == 1


def test_an_events_page_leads_to_the_customers_story(admin: Client) -> None:
    customer = rows.customer("mona")
    event = rows.event(customer_id=customer.customer_id)
    page = admin.get(f"{LIST}{event.pk}/change/").content.decode()
    assert f'href="/admin/payments/customer/{customer.pk}/change/">mona</a>' in page
