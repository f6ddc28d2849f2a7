"""Mails wait until a mail server takes them: a slow or missing one holds up nobody, and nothing is lost."""

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail as django_mail
from django.db.models import F
from django.utils import timezone

from accounts import mail
from accounts.models import OutgoingMail

pytestmark = pytest.mark.django_db

Metric = Callable[..., float]


class _Conversation(socketserver.StreamRequestHandler):
    """As much of SMTP as a mail takes."""

    def handle(self) -> None:
        server: Any = self.server
        self._say("220 ready")
        while line := self.rfile.readline().decode().strip():
            if line.upper() == "DATA":
                self._say("354 go on")
                text = b""
                while not text.endswith(b"\r\n.\r\n"):
                    text += self.rfile.readline()
                server.taken.append(text.decode())
            elif line.upper() == "QUIT":
                self._say("221 bye")
                return
            elif server.refuses and line.upper().startswith("RCPT"):
                self._say("450 not now")
                continue
            self._say("250 well")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@pytest.fixture
def post_office(settings: Any) -> Iterator[Any]:
    """A mail server, and settings that name it."""
    server: Any = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Conversation)
    server.daemon_threads, server.taken, server.refuses = True, [], False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    settings.EMAIL_BACKEND = "accounts.mail.OutboxBackend"
    settings.EMAIL_DELIVERY_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = server.server_address
    settings.EMAIL_TIMEOUT = 1
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def send(subject: str = "Hello") -> None:
    django_mail.send_mail(subject, "Grüße", "site@example.org", ["mara@example.org"], html_message="<p>Grüße</p>")


def make_due() -> None:
    OutgoingMail.objects.update(next_try_at=timezone.now())


def test_a_mail_is_handed_on_with_all_its_parts_and_leaves_the_table(post_office: Any, metric: Metric) -> None:
    before = metric("mails_total", outcome="sent")
    send()

    assert mail.deliver_due() == 1

    (text,) = post_office.taken
    assert "Subject: Hello" in text
    assert "To: mara@example.org" in text
    assert "text/html" in text
    assert not OutgoingMail.objects.exists()
    assert metric("mails_total", outcome="sent") == before + 1


def test_a_mail_that_is_refused_for_now_is_tried_again_later(post_office: Any, metric: Metric) -> None:
    before = metric("mails_total", outcome="failed")
    post_office.refuses = True
    send()

    assert mail.deliver_due() == 0
    waiting = OutgoingMail.objects.get()
    assert waiting.tries == 1
    assert "not now" in waiting.last_error
    assert waiting.next_try_at > timezone.now()
    assert metric("mails_total", outcome="failed") == before + 1
    assert mail.deliver_due() == 0
    assert OutgoingMail.objects.get().tries == 1

    post_office.refuses = False
    make_due()
    assert mail.deliver_due() == 1


def test_a_mail_waits_while_there_is_no_server(post_office: Any) -> None:
    port = post_office.server_address[1]
    post_office.shutdown()
    post_office.server_close()
    send()

    assert mail.deliver_due() == 0
    assert OutgoingMail.objects.get().tries == 1
    assert port


def test_a_server_that_does_not_speak_costs_its_timeout_and_loses_nothing(settings: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.EMAIL_BACKEND = "accounts.mail.OutboxBackend"
        settings.EMAIL_DELIVERY_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = silent.getsockname()
        settings.EMAIL_TIMEOUT = 0.2
        send()

        assert mail.deliver_due() == 0

    assert OutgoingMail.objects.get().tries == 1


def test_a_mail_that_cannot_be_written_holds_up_no_other(post_office: Any) -> None:
    send("Line one\nLine two")
    send("Fine")

    mail.deliver_due()

    assert ["Subject: Fine" in text for text in post_office.taken] == [True]
    assert OutgoingMail.objects.get().tries == 1


def test_a_mail_of_before_the_clock_was_set_back_does_not_wait(post_office: Any) -> None:
    send()
    OutgoingMail.objects.update(next_try_at=timezone.now() + timedelta(hours=1))

    assert mail.deliver_due() == 1


def test_after_three_days_a_mail_is_given_up_and_counted(post_office: Any, metric: Metric) -> None:
    before = metric("mails_total", outcome="given_up")
    post_office.refuses = True
    send()
    OutgoingMail.objects.update(created_at=F("created_at") - timedelta(days=4))

    mail.deliver_due()

    assert not OutgoingMail.objects.exists()
    assert metric("mails_total", outcome="given_up") == before + 1


def test_two_senders_do_not_send_one_mail_twice(post_office: Any) -> None:
    send()
    first, second = mail._claim(), mail._claim()

    assert first is not None
    assert second is None
