"""The site as its visitors see it: what one does on a page, and what came by mail."""

import base64
import hashlib
import hmac
import itertools
import re
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Page

from e2e.servers import Server, wait_for

PASSWORD = "a long enough phrase 42"
ADMIN = "admin"
READER = "reader"  # a member of the library, who has begun its recording
MEMBERS = 40  # made beforehand, one for each test that needs one


@dataclass(frozen=True, slots=True)
class Account:
    """Who somebody is."""

    name: str
    password: str = PASSWORD

    @property
    def email(self) -> str:
        """The verified address."""
        return f"{self.name}@example.org"


@dataclass(slots=True)
class Site:
    """A served site, and where its mails arrive."""

    server: Server
    mails: Path
    _members: Iterator[int] = field(default_factory=itertools.count)

    @property
    def url(self) -> str:
        """By name: browsers give passkeys to names, not to addresses."""
        return f"http://localhost:{self.server.port}"

    def next_member(self) -> Account:
        """A member that nobody has used yet."""
        number = next(self._members)
        assert number < MEMBERS, "The tests need more members: raise MEMBERS."
        return Account(f"member{number}")

    def mails_to(self, address: str) -> list[str]:
        """The texts of what came for `address`, oldest first."""
        texts = [path.read_text() for path in sorted(self.mails.iterdir(), key=lambda path: path.stat().st_mtime_ns)]
        mails = [mail for text in texts for mail in re.split(r"^-{70,}$", text, flags=re.M)]
        return [mail.replace("=\n", "") for mail in mails if re.search(rf"^To: {re.escape(address)}$", mail, re.M)]

    def link_to(self, address: str, path: str, *, after: int = 0) -> str:
        """The link that begins with `path` in a mail that came for `address` after the first `after` ones."""

        def found() -> str | None:
            for mail in self.mails_to(address)[after:]:
                if link := re.search(rf"https?://[^\s/]+({re.escape(path)}\S*)", mail):
                    return link[1]
            return None

        return wait_for(found, f"a mail with a link to {path} for {address}") or ""

    def code_to(self, address: str) -> str:
        """The code to sign in by, in a mail for `address`."""
        pattern = r"^([A-Z0-9-]{6,})$"
        return wait_for(
            lambda: next((code[1] for mail in self.mails_to(address) if (code := re.search(pattern, mail, re.M))), ""),
            f"a mail with a code for {address}",
        )


@dataclass
class Visitor:
    """Somebody at a browser."""

    page: Page
    site: Site
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))

    def _heard(self, message: ConsoleMessage) -> None:
        # What has no address was said of the test's own script (axe), not of the page.
        is_of_the_page = bool(message.location.get("url"))
        expected = "the server responded with a status of 4" in message.text
        if message.type in {"error", "warning"} and is_of_the_page and not expected:
            self.problems.append(f"{self.page.url}: {message.text}")

    def opens(self, path: str) -> None:
        """Go there."""
        self.page.goto(path)

    def fills(self, **fields: str) -> None:
        """Fill fields of the page's form by name."""
        for name, value in fields.items():
            self.page.locator(f"main [name={name}]").fill(value)

    def presses(self, name: str) -> None:
        """Press the button, or follow the link that looks like one, in the page's content."""
        self.page.locator("main").locator("button, a.button").filter(has_text=re.compile(rf"^\s*{name}")).first.click()

    def reads(self, text: str) -> None:
        """The page must say so, in its heading or anywhere in its content."""
        self.page.locator("main").get_by_text(text).first.wait_for()

    def signs_in(self, account: Account, *, by: str = "") -> None:
        """With name (or what `by` says) and password; what comes next is up to the account."""
        self.opens("/accounts/login/")
        self.fills(login=by or account.name, password=account.password)
        self.presses("Sign in")

    def is_signed_in(self) -> bool:
        """Whether the navigation says so."""
        return self.page.locator("header").get_by_role("button", name="Sign out").count() == 1

    def signs_out(self) -> None:
        """By the navigation."""
        self.page.locator("header").get_by_role("button", name="Sign out").click()
        self.page.locator("header").get_by_role("link", name="Sign in").wait_for()

    def confirms_who_it_is(self, account: Account) -> None:
        """On the page that asks for the password once more, where it is asked."""
        if "/accounts/reauthenticate/" in self.page.url:
            self.fills(password=account.password)
            self.presses("Confirm")

    def sets_up_an_app(self, account: Account) -> str:
        """Set up an authenticator app; returns its secret."""
        self.opens("/accounts/2fa/totp/activate/")
        self.confirms_who_it_is(account)
        secret = self.page.locator("#authenticator_secret").input_value()
        self.fills(code=code(secret))
        self.presses("Activate")
        self.page.wait_for_url(re.compile("recovery-codes"))
        return secret


def code(secret: str, *, steps_ahead: int = 0) -> str:
    """What an authenticator app shows (RFC 6238), now or some half minutes later."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30 + steps_ahead), hashlib.sha1).digest()
    offset = digest[-1] & 0xF
    return f"{(struct.unpack('>I', digest[offset : offset + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"
