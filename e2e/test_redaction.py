"""Marked secrets, sent to every endpoint in every place: none may be printed, answered, measured or stored."""

import base64
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from e2e.servers import PRODUCTION, Installation, Server, installed, wait_for

PASSWORD = "a-marked-Passphrase-7714"
METRICS_TOKEN = "a-marked-scrape-token-5512"
ACCOUNT = "mara"

# Whatever shows what it is is blanked even where nobody expects a secret: in a path, a host, a user name.
KNOWN_BY_LOOK = {
    "Stripe key": "sk_test_markedKey4eC39HqLyjWDarjtT1",
    "webhook secret": "whsec_markedSecretWbX5kEWLlfzsGNjH",
    "deploy token": "bsd_markedToken7f3h2j9x1c5v8b4n6m",
    "card number": "4242 4242 4242 4242",
}

JSON_BODIES = ["/auth/login", "/auth/register", "/auth/refresh", "/auth/logout", "/dora", "/alerts", "/stripe/webhook/"]
FORMS = ["/admin/login/", "/admin/", "/no/such/form"]
PATHS = ["/", "/dora", "/metrics", "/health", "/health/ready", "/api/schema", "/api/docs", "/auth/me", "/admin/"]
PATHS += ["/admin/login/", "/admin/accounts/user/", "/static/site.css", "/no/such/page", "/content/../../etc/passwd"]


@dataclass
class Talk:
    """A server, the secrets that it was sent or holds, and every answer that it gave."""

    server: Server
    installation: Installation
    secrets: dict[str, str]
    answers: list[httpx.Response]

    def send(self, method: str, path: str, **more: object) -> httpx.Response:
        """Send a request, and keep the answer."""
        answer = self.server.http.request(method, path, **more)  # type: ignore[arg-type]
        self.answers.append(answer)
        return answer

    def found_in(self, text: str) -> list[str]:
        """The names of the secrets that `text` holds, plain or quoted."""
        return [name for name, secret in self.secrets.items() if secret in text or quote(secret, safe="") in text]


@pytest.fixture(scope="module", params=["production", "development"])
def talk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talk]:
    """Everything sent everywhere, once, to a server in production and to one in development."""
    mode = {**PRODUCTION, "LOG_FORMAT": "json"} if request.param == "production" else {}
    mails = tmp_path_factory.mktemp("mails")
    settings = {**mode, "METRICS_TOKEN": METRICS_TOKEN, "TRUSTED_PROXIES": "1", "EMAIL_URL": f"filemail:///{mails}"}
    with installed(tmp_path_factory.mktemp("data")) as installation:
        account = {"DJANGO_SUPERUSER_PASSWORD": PASSWORD}
        made = installation.manage(
            "createsuperuser", "--noinput", f"--username={ACCOUNT}", "--email=mara@example.org", **account
        )
        assert made.returncode == 0, made.stderr
        installation.collect_static()
        with installation.serving("daphne", **settings) as server:
            found = Talk(server, installation, {"password": PASSWORD, "METRICS_TOKEN": METRICS_TOKEN}, [])
            found.secrets |= KNOWN_BY_LOOK
            if installation.database_url:
                found.secrets["DATABASE_URL"] = installation.database_url.partition("://")[2].partition("@")[0]
            _sign_in(found)
            _follow_mailed_links(found, mails)
            _send_everything(found)
            wait_for(lambda: installation.count("observability_security_event") > 0, "security events are stored")
            yield found


def _sign_in(talk: Talk) -> None:
    """By both doors. These are the answers in which a secret is issued; they are not kept."""
    server = talk.server
    credentials = {"username": ACCOUNT, "password": PASSWORD}
    first = server.http.post("/auth/login", json=credentials).raise_for_status().json()
    second = server.http.post("/auth/refresh", json={"refresh": first["refresh"]}).raise_for_status().json()
    home = server.sign_in_to_admin(ACCOUNT, PASSWORD)
    assert home.url.path == "/admin/"
    talk.secrets |= {
        "used refresh token": first["refresh"],
        "refresh token": second["refresh"],
        "access token": second["access"],
        "signature of the refresh token": second["refresh"].rpartition(".")[2],
        "session cookie": server.http.cookies["sessionid"],
    }
    assert server.http.get("/auth/me", headers={"Authorization": f"Bearer {second['access']}"}).status_code == 200


def _follow_mailed_links(talk: Talk, mails: Path) -> None:
    """Somebody new verifies an address and asks for another password; then forged forms are sent there."""
    visitor = {"base_url": talk.server.url, "trust_env": False, "timeout": 20.0}
    with httpx.Client(**visitor) as browser, httpx.Client(**visitor) as stranger:  # type: ignore[arg-type]
        new = {"username": "nora", "email": "nora@example.org", "password": "the phrase of somebody new"}
        browser.post("/auth/register", json=new).raise_for_status()
        confirmation = _link_in(mails, "/accounts/confirm-email/")
        assert browser.post(confirmation, data=_form(browser, confirmation)).status_code == 302
        fields = {**_form(browser, "/accounts/password/reset/"), "email": "nora@example.org"}
        assert browser.post("/accounts/password/reset/", data=fields).status_code == 302
        reset = _link_in(mails, "/accounts/password/reset/key/")
        opened = browser.get(reset)
        assert opened.headers["location"] == "/accounts/password/reset/key/2-set-password/", opened.text
        for link in (confirmation, reset):
            assert stranger.post(link, headers={"Referer": f"https://other.example{link}"}).status_code == 403
            assert stranger.get(link.removesuffix("/")).status_code == 301
    talk.secrets |= {"key of a confirmation": confirmation.split("/")[-2], "key of a reset": reset.split("/")[-2]}


def _link_in(mails: Path, path: str) -> str:
    """The path of a link that was mailed."""

    def found() -> str | None:
        texts = (mail.read_text().replace("=\n", "") for mail in mails.iterdir())
        links = (re.search(rf"https?://[^\s/]+({path}\S+)", text) for text in texts)
        return next((link[1] for link in links if link), None)

    return wait_for(found, f"a mail with a link to {path}") or ""


def _form(browser: httpx.Client, path: str) -> dict[str, str]:
    """The hidden field of the form that stands there."""
    page = browser.get(path)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token, page.text
    return {"csrfmiddlewaretoken": token[1]}


def _send_everything(talk: Talk) -> None:
    secrets, together = talk.secrets, " ".join(talk.secrets.values())
    _send_in_addresses(talk)
    for path in JSON_BODIES:
        talk.send("POST", path, json={"username": "nobody", "password": together, "email": "x@example.org"})
        talk.send("POST", path, json={"refresh": together, "more": [secrets, {"deep": [secrets]}]})
        talk.send("POST", path, content=f'{{"password": "{together}"', headers={"Content-Type": "application/json"})
        talk.send("POST", path, content=together, headers={"Content-Type": "text/plain"})
        for secret in secrets.values():
            talk.send("POST", path, json={"refresh": secret})
    for path in FORMS:
        talk.send("POST", path, data={"username": "nobody", "password": together, "csrfmiddlewaretoken": together})
        talk.send("POST", path, files={"file": (f"../{together}", together)})
    for path, secret in itertools.product(["/auth/me", "/dora", "/metrics", "/admin/", "/no/such"], secrets.values()):
        if (path, secret) != ("/metrics", METRICS_TOKEN):
            talk.send("GET", path, headers={"Authorization": f"Bearer {secret}"})
            talk.send("GET", path, headers={"Authorization": secret})
    for path in PATHS:
        basic = base64.b64encode(f"{ACCOUNT}:{PASSWORD}".encode()).decode()
        talk.send("GET", path, headers={"Authorization": f"Basic {basic}", "X-API-Key": together})
        talk.send("GET", path, headers={"X-CSRFToken": together, "User-Agent": together, "Accept-Language": together})
        talk.send("GET", path, headers={"Stripe-Signature": f"t=1,v1={together}", "Origin": f"https://{together}"})
        for method, scheme in itertools.product(["GET", "POST"], ["http", "https"]):
            referer = f"https://other.example/?token={quote(together)}"
            talk.send(method, path, headers={"X-Forwarded-Proto": scheme, "Referer": referer})
        cookies = f"sessionid={quote(together)}; csrftoken={quote(together)}"
        httpx.get(f"{talk.server.url}{path}", headers={"Cookie": cookies}, trust_env=False)


def _send_in_addresses(talk: Talk) -> None:
    """In paths, query strings and hosts. The sender reads his own address in Location and in the login form's `next`,
    so these answers prove nothing and are not kept. In paths only what can be known by its look: a path is logged."""
    server, together = talk.server, quote(" ".join(talk.secrets.values()))
    for path in PATHS:
        server.http.get(f"{path}?token={together}&next={together}&service={together}&q={together}")
        server.http.get(f"{path}?{together}")
    for number, secret in enumerate([*KNOWN_BY_LOOK.values(), talk.secrets["refresh token"]]):
        client = f"Connection: close\r\nX-Forwarded-For: 203.0.113.{number}\r\n"
        shown = quote(secret)
        server.raw(f"GET /a/../{shown} HTTP/1.1\r\nHost: localhost\r\n{client}\r\n".encode())
        server.raw(f"GET /?file=../{shown}&token={shown} HTTP/1.1\r\nHost: localhost\r\n{client}\r\n".encode())
        server.raw(f"GET / HTTP/1.1\r\nHost: {secret.replace(' ', '-')}\r\n{client}\r\n".encode())
        refused = f"X-Refused-Request: GET /a/../b?token={shown} HTTP/1.1\r\n"
        server.raw(f"GET / HTTP/1.1\r\nHost: localhost\r\n{refused}{client}\r\n".encode())
        for path in PATHS:
            server.http.get(f"{path}/{shown}/")


def test_nothing_of_it_was_printed(talk: Talk) -> None:
    leaking = [line for line in talk.server.output.splitlines() if talk.found_in(line)]

    assert not leaking, f"{len(leaking)} lines: {_in_short(leaking)}"


def test_no_query_string_was_printed(talk: Talk) -> None:
    leaking = [line for line in talk.server.output.splitlines() if "token=" in line or "next=" in line]

    assert not leaking, f"{len(leaking)} lines: {_in_short(leaking)}"


def test_nothing_of_it_was_answered(talk: Talk) -> None:
    assert len(talk.answers) > 300
    leaking = [
        f"{answer.request.method} {answer.request.url.path} {answer.request.headers} {answer.status_code}"
        for answer in talk.answers
        if talk.found_in(f"{answer.headers} {answer.text}")
    ]

    assert not leaking, f"{len(leaking)} answers: {_in_short(leaking)}"


def test_nothing_of_it_was_measured(talk: Talk) -> None:
    for accept in ("text/plain", "application/openmetrics-text; version=1.0.0"):
        answer = talk.server.http.get(
            "/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}", "Accept": accept}
        )
        assert "http_requests_total" in answer.text
        assert not talk.found_in(answer.text)


def test_nothing_of_it_was_stored_with_the_security_events(talk: Talk) -> None:
    rows = talk.installation.manage("dumpdata", "observability.securityevent").stdout

    assert len(json.loads(rows)) > 5
    leaking = [row["fields"] for row in json.loads(rows) if talk.found_in(json.dumps(row)) or "token=" in str(row)]
    assert not leaking, f"{len(leaking)} rows: {_in_short(leaking)}"


def _in_short(found: list[object]) -> str:
    return "\n".join(str(one)[:600] for one in found[:5])
