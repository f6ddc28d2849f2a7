"""Signing in, on and out in any order: who is signed in is what a small model says, after every step."""

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from accounts.models import User
from accounts.tests.browser import Browser
from bambisleep.tests.client import AsgiClient

pytestmark = pytest.mark.django_db

CLIENT = AsgiClient()


@dataclass(eq=False)
class SignedIn:
    """What one API client holds: every refresh token it ever got, the newest last, and every access token."""

    refreshes: list[str]
    accesses: list[str]
    live: bool = True


@dataclass(eq=False)
class Tab:
    """A browser, and whether it should be signed in."""

    browser: Browser = field(default_factory=Browser)
    live: bool = True


class Sessions(RuleBasedStateMachine):
    """One account, several clients and browsers of it."""

    clients = Bundle("clients")
    number = 0

    @initialize()
    def open_an_account(self) -> None:
        Sessions.number += 1
        self.name, self.password = f"user{Sessions.number}", "the first long phrase"
        self.all: list[SignedIn] = []
        self.tabs: list[Tab] = []
        self.changes = 0
        body = {"username": self.name, "email": f"{self.name}@example.org", "password": self.password}
        User.objects.create_user(**body)

    @rule(target=clients)
    def sign_in(self) -> SignedIn:
        answer = CLIENT.post("/auth/login", json={"username": self.name, "password": self.password})
        assert answer.status == 200
        client = SignedIn([answer.json["refresh"]], [answer.json["access"]])
        self.all.append(client)
        return client

    @rule()
    def sign_in_with_a_browser(self) -> None:
        if len(self.tabs) < 2:
            tab = Tab()
            tab.browser.sign_in(self.name, self.password)
            self.tabs.append(tab)

    @rule(client=clients)
    def refresh(self, client: SignedIn) -> None:
        answer = CLIENT.post("/auth/refresh", json={"refresh": client.refreshes[-1]})
        assert answer.status == (200 if client.live else 401)
        if client.live:
            client.refreshes.append(answer.json["refresh"])
            client.accesses.append(answer.json["access"])

    @rule(client=clients)
    def use_an_old_refresh_token_again(self, client: SignedIn) -> None:
        if len(client.refreshes) > 1:
            assert CLIENT.post("/auth/refresh", json={"refresh": client.refreshes[-2]}).status == 401
            client.live = False

    @rule(client=consumes(clients))
    def sign_out(self, client: SignedIn) -> None:
        CLIENT.post("/auth/logout", json={"refresh": client.refreshes[-1]})
        client.live = False

    @rule(client=clients)
    def sign_out_everywhere(self, client: SignedIn) -> None:
        answer = CLIENT.post("/auth/logout/all", headers={"Authorization": f"Bearer {client.accesses[-1]}"})
        assert answer.status == (204 if client.live else 401)
        if client.live:
            self._everything_ends()

    @rule(client=clients)
    def change_the_password(self, client: SignedIn) -> None:
        self.changes += 1
        new = f"another long phrase {self.changes}"
        body = {"current_password": self.password, "new_password": new}
        headers = {"Authorization": f"Bearer {client.accesses[-1]}"}
        answer = CLIENT.request("PUT", "/auth/password", json=body, headers=headers)
        assert answer.status == (200 if client.live else 401)
        if client.live:
            self._everything_ends()
            self.password = new
            self.all.append(SignedIn([answer.json["refresh"]], [answer.json["access"]]))

    @invariant()
    def an_access_token_opens_as_long_as_its_client_is_signed_in(self) -> None:
        for client in getattr(self, "all", []):
            for access in client.accesses[-2:]:
                status = CLIENT.get("/auth/me", headers={"Authorization": f"Bearer {access}"}).status
                assert status == (200 if client.live else 401)

    @invariant()
    def a_browser_is_signed_in_as_long_as_it_should_be(self) -> None:
        for tab in getattr(self, "tabs", []):
            assert tab.browser.signed_in == tab.live

    def _everything_ends(self) -> None:
        for client in self.all:
            client.live = False
        for tab in self.tabs:
            tab.live = False


def test_whatever_the_order(member: User) -> None:
    run_state_machine_as_test(
        Sessions,
        settings=settings(
            max_examples=12,
            stateful_step_count=12,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
