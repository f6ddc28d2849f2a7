"""A library for the end-to-end tests: filled beside the running servers, and asked by members who sign in for real."""

import json
import re
from typing import Any

import httpx

from e2e.servers import PRODUCTION, ROOT, Installation, Server

PASSWORD = "a long enough phrase"

# Names for the code that fills a library; what it leaves in `told` comes back.
_BEFORE = f"""
import json
from allauth.account.models import EmailAddress
from accounts import membership
from accounts.models import User
from content.models import Item, Kind, MediaFile, Role, Visibility
from content.tests import rows

def person(name, *, member):
    user = User.objects.create_user(name, f"{{name}}@example.org", {PASSWORD!r})
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    if member:
        membership.give(user=user, by=None, reason="A test needs one.")
    return user

told = {{}}
"""
_AFTER = "\nprint('\\n' + json.dumps(told))\n"


def in_library(installation: Installation, code: str, **settings: str) -> dict[str, Any]:
    """Run code inside the installation's own Django: `rows`, `person`, the models.

    Returns:
        What it left in the dictionary `told`, as JSON has it.
    """
    script = _BEFORE + code + _AFTER
    done = installation.manage("shell", "-v0", "--no-imports", "-c", script, directory=ROOT, **PRODUCTION, **settings)
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def cookies_of(server: Server, name: str) -> str:
    """Sign in as a browser does; the value of the header Cookie that a raw request is the member's by."""
    with httpx.Client(base_url=server.url, trust_env=False, timeout=20) as browser:
        form = browser.get("/accounts/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
        assert token, form.text
        fields = {"csrfmiddlewaretoken": token[1], "login": name, "password": PASSWORD}
        browser.post("/accounts/login/", data=fields, headers={"Referer": server.url})
        assert "sessionid" in browser.cookies, f"{name} could not sign in"
        return "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
