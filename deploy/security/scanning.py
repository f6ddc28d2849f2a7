"""What can be said of the site while it runs: two scanners, each as a visitor and as a member who is signed in.

The site is started for it as in production (TLS by a certificate of the hour, demo content, a member), on loopback,
with data of its own, and is stopped again.
"""

import ipaddress
import json
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.security.findings import Finding, Outcome
from deploy.security.source import ROOT, SCANNER
from e2e.library import PASSWORD, in_library
from e2e.servers import PRODUCTION, Installation, free_port, installed

MEMBER = "scanned"
MADE = f"""
from observability.delivery import tokens as deploy_tokens
person({MEMBER!r}, member=True)
scopes = ["deployments:write", "incidents:write", "alerts:write", "read"]
told["token"] = deploy_tokens.issue(name="scan", scopes=scopes)[1]
"""
# Left out: what needs a database or a listener on the internet, another program, or hours.
MODULES = (
    "backup,cookieflags,crlf,csp,csrf,exec,file,htaccess,http_headers,ldap,methods,permanentxss,redirect,shellshock,"
    "spring4shell,sql,timesql,upload,xss"
)
# What would sign the scanner out, or take its account away.
ENDS_IT = ("accounts/logout/", "accounts/sessions/", "accounts/data/delete/", "accounts/password/change/")
COOKIES = ("__Host-sessionid", "__Host-csrftoken")
# Whether the API takes more than its description asks for is no hole, and bambisleep/tests/test_bad_input.py holds it,
# field by field: negative_data_rejection is left out.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,ignored_auth,use_after_free,unsupported_method"
)


@dataclass(frozen=True, slots=True)
class Site:
    """The running site."""

    url: str
    certificate: Path
    directory: Path
    deploy_token: str
    cookies: dict[str, str] = field(default_factory=dict)  # of the member, who signs in before the scanners guess
    tokens: dict[str, str] = field(default_factory=dict)

    def browser(self) -> httpx.Client:
        """Who keeps cookies, and believes this certificate alone."""
        trusted = ssl.create_default_context(cafile=str(self.certificate))
        return httpx.Client(base_url=self.url, verify=trusted, trust_env=False, timeout=30)


@contextmanager
def scanned_site(directory: Path) -> Iterator[Site]:
    """Serve the site over TLS until the end of the block.

    Raises:
        RuntimeError: where it does not start, with what it said last.
    """
    port = free_port()
    certificate, key = _certificate(directory)
    settings = {
        **PRODUCTION,
        "HTTPS": "true",
        "PUBLIC_URL": f"https://localhost:{port}",
        "EMAIL_URL": "dummymail://",
        "METRICS_TOKEN": os.urandom(20).hex(),
        "ALERTS_TOKEN": os.urandom(20).hex(),
    }
    with installed(directory) as installation:
        installation.collect_static()
        deploy_token = _fill(installation)
        command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
        command += ["--no-server-header", "--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)]
        with (directory / "site.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "bambisleep.asgi:application"],
                cwd=ROOT,
                env=installation.environment(PORT=str(port), **settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        site = Site(f"https://localhost:{port}", certificate, directory, deploy_token)
        try:
            _wait_until_it_answers(site, process)
            _sign_in(site)
            yield site
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _fill(installation: Installation) -> str:
    """Demo content, a member, and a pipeline's token, which it returns."""
    done = installation.manage("load_demo", directory=ROOT, **PRODUCTION)
    if done.returncode != 0:
        raise RuntimeError(f"The demo content could not be loaded: {done.stderr[-500:]}")
    return str(in_library(installation, MADE)["token"])


def _wait_until_it_answers(site: Site, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with site.browser() as browser:
                if browser.get("/health/live").status_code == 200:
                    return
        except httpx.TransportError:
            time.sleep(0.2)
    raise RuntimeError(f"The site did not start: {(site.directory / 'site.log').read_text()[-500:]}")


def _certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for localhost, good for a day, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "certificate.pem", directory / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    unencrypted = serialization.NoEncryption()
    kind = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, unencrypted))
    return paths


def _sign_in(site: Site) -> None:
    """As a browser and as an API client: later the network may be locked out, for what the scanners try."""
    with site.browser() as browser:
        form = browser.get("/accounts/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
        fields = {"csrfmiddlewaretoken": token[1] if token else "", "login": MEMBER, "password": PASSWORD}
        browser.post("/accounts/login/", data=fields, headers={"Referer": f"{site.url}/accounts/login/"})
        site.cookies.update({name: browser.cookies[name] for name in COOKIES if name in browser.cookies})
        answer = browser.post("/auth/login", json={"username": MEMBER, "password": PASSWORD})
        site.tokens.update(answer.json() if answer.status_code == 200 else {})
    if len(site.cookies) != len(COOKIES) or "refresh" not in site.tokens or not _is_signed_in(site):
        raise RuntimeError("The member could not sign in.")


def _is_signed_in(site: Site) -> bool:
    with site.browser() as browser:
        header = "; ".join(f"{name}={value}" for name, value in site.cookies.items())
        return browser.get("/accounts/data/", headers={"Cookie": header}).status_code == 200


def wapiti(site: Site, who: str, seconds: int) -> Outcome:
    """What wapiti finds in so many seconds of reading pages, and twice as many of attacking them at most."""
    check = f"wapiti, {who}"
    if not (SCANNER / "wapiti").exists():
        return Outcome(check, not_run="wapiti is not installed: `make .venv-security/made`.")
    directory = site.directory / f"wapiti-{who}"
    directory.mkdir()
    report = directory / "report.json"
    command = [str(SCANNER / "wapiti"), "-u", f"{site.url}/", "--scope", "folder", "-m", MODULES, "-f", "json"]
    command += ["-o", str(report), "--max-scan-time", str(seconds), "--max-attack-time", str(max(10, seconds // 6))]
    command += ["--store-session", str(directory), "--store-config", str(directory), "--flush-session"]
    command += ["--endpoint", "http://127.0.0.1:9/", "--dns-endpoint", "localhost"]  # nobody is told of what it tries
    command += ["--no-bugreport", "--max-links-per-page", "60", "--max-files-per-dir", "25", "-t", "15", "-v", "1"]
    if who == "member":
        (directory / "cookies.json").write_text(json.dumps(_cookie_file(site)))
        command += ["-c", str(directory / "cookies.json")]
        command += [word for path in ENDS_IT for word in ("-x", f"{site.url}/{path}")]
    done = _run(command, directory, seconds=seconds * 6 + 300)
    if done is None or not report.exists():
        return Outcome(check, not_run="it did not end in time" if done is None else _words(directory))
    if who == "member" and not _is_signed_in(site):
        return Outcome(check, not_run="it signed itself out: leave out the address that did it (ENDS_IT)")
    return judge_wapiti(check, json.loads(report.read_text()), site.url)


def judge_wapiti(check: str, report: dict[str, Any], url: str) -> Outcome:
    """Vulnerabilities and anomalies (server errors, answers that never came) count; what it calls additional tells."""
    findings = [
        Finding(check, kind, _path(found["path"], url), found["info"].replace(url, ""), part == "additionals")
        for part in ("vulnerabilities", "anomalies", "additionals")
        for kind, all_found in report.get(part, {}).items()
        for found in all_found
    ]
    pages = str(report.get("infos", {}).get("crawled_pages_nbr", "?"))
    return Outcome(check, f"{pages} pages", findings)


def _path(address: str, url: str) -> str:
    """Without what changes from run to run."""
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "<uuid>", address.removeprefix(url).split("?")[0]) or "/"


def _cookie_file(site: Site) -> dict[str, object]:
    kept = {
        name: {"value": value, "expires": None, "secure": True, "port": None, "version": 0}
        for name, value in site.cookies.items()
    }
    return {str(urlsplit(site.url).hostname): {"/": kept}}


def schemathesis(site: Site, who: str, seconds: int) -> Outcome:
    """Whether the API keeps to its own description, whatever it is sent in so many seconds."""
    check = f"schemathesis, {who}"
    directory = site.directory / f"schemathesis-{who}"
    directory.mkdir()
    report = directory / "report.json"
    command = [str(Path(sys.executable).with_name("st")), "run", f"{site.url}/api/schema", "--checks", CHECKS]
    command += ["--max-time", str(seconds), "--tls-verify", str(site.certificate), "--request-timeout", "30"]
    command += ["--generation-database", "none", "--continue-on-failure", "--no-color"]
    command += ["--report", "json", "--report-json-path", str(report)]
    if who == "pipeline":
        command += ["-H", f"Authorization: Bearer {site.deploy_token}", "--include-path-regex", "^/(dora|alerts)"]
    if who == "member":
        command += ["-H", f"Authorization: Bearer {_access_token(site)}", "--exclude-path-regex", "^/auth/logout"]
    done = _run(command, directory, seconds=seconds * 3 + 300)
    if done is None or not report.exists():
        return Outcome(check, not_run="it did not end in time" if done is None else _words(directory))
    return judge_schemathesis(check, json.loads(report.read_text()))


def judge_schemathesis(check: str, report: dict[str, Any]) -> Outcome:
    """Every answer that the description does not promise counts; and a run that tried nothing is none."""
    findings = [
        Finding(
            check, failure["title"], ", ".join(failure.get("operations", [])) or "?", f"{failure.get('count', 1)} times"
        )
        for failure in report["failures"]
    ]
    errors = "; ".join(error["title"] for error in report["errors"])
    cases = report["test_cases"]["generated"]
    return Outcome(check, f"{cases} requests", findings, not_run=errors or ("" if cases else "it sent nothing"))


def _access_token(site: Site) -> str:
    """A fresh one, which is good for ten minutes."""
    with site.browser() as browser:
        answer = browser.post("/auth/refresh", json={"refresh": site.tokens["refresh"]})
    if answer.status_code != 200:
        raise RuntimeError(f"The member's token could not be refreshed: {answer.status_code}")
    site.tokens.update(answer.json())
    return site.tokens["access"]


def _run(command: list[str], directory: Path, *, seconds: int) -> subprocess.CompletedProcess[bytes] | None:
    """Run a scanner in its own directory; what it prints goes into output.log there. None: it was stopped at last."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "LANG": "C.UTF-8"}
    with (directory / "output.log").open("wb") as log:
        try:
            return subprocess.run(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            return None


def _words(directory: Path) -> str:
    lines = (directory / "output.log").read_text(errors="replace").strip().splitlines()
    return f"no report: {lines[-1][:160]}" if lines else "it ended without a word"
