"""What no module of the site does: run a text as code, put SQL together, unpickle, trust every certificate, speak to
other systems than those that SECURITY.md names."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("bambisleep", "observability", "accounts", "payments", "content", "realtime")
LEFT_OUT = {"tests", "migrations", "mirror_schema"}

DANGEROUS_CALLS = {
    "eval", "exec", "__import__", "system", "popen", "raw", "extra", "RawSQL", "from_string", "Template", "Engine",
    "_create_unverified_context",
}  # fmt: skip
DANGEROUS_IMPORTS = {"pickle", "marshal", "shelve", "dill", "yaml", "xml", "lxml", "code", "imp", "ldap", "memcache"}
# What opens connections. Stripe's library speaks to STRIPE_API_BASE alone.
TO_OTHERS = {"socket", "smtplib", "ftplib", "urllib.request", "http.client", "httpx", "requests", "aiohttp", "stripe"}
SPEAKERS = {
    "bambisleep/standin.py",  # development: waits for the stand-in for Stripe
    "bambisleep/listening.py",  # listens, and asks whether somebody does on a path already
    "bambisleep/systemd.py",  # NOTIFY_SOCKET
    "bambisleep/management/commands/start.py",  # development: is the port free, does the site answer
    "bambisleep/doctor/mail.py",  # doctor, by an operator: EMAIL_URL,
    "bambisleep/doctor/monitoring.py",  # … ALERTMANAGER_URL, PROMETHEUS_URL, SLACK_WEBHOOK_URL,
    "bambisleep/doctor/outside.py",  # … PUBLIC_URL,
    "bambisleep/doctor/stripe_account.py",  # … STRIPE_API_BASE
    "observability/http/docker.py",  # development: the address of docker's bridge
    "observability/delivery/alertmanager.py",  # ALERTMANAGER_URL
    "observability/delivery/remote.py",  # record_deploy --url, by an operator
}


def parsed() -> Iterator[tuple[str, ast.Module]]:
    """Each module that is served or that an operator calls."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if not LEFT_OUT & set(path.parts):
                yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


MODULES = dict(parsed())


def calls(module: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Each call with the last part of the name that is called."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield (node.func.id if isinstance(node.func, ast.Name) else node.func.attr), node


def imports(module: ast.Module) -> Iterator[str]:
    """The modules that it imports, in full."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_none_runs_a_text_as_code_template_or_command_or_reads_a_pickle() -> None:
    for path, module in MODULES.items():
        assert [name for name, _ in calls(module) if name in DANGEROUS_CALLS] == [], path
        assert [name for name in imports(module) if name.split(".")[0] in DANGEROUS_IMPORTS] == [], path
        given = [keyword.arg for _, call in calls(module) for keyword in call.keywords if not _is_false(keyword.value)]
        assert "shell" not in given, path


def test_sql_is_written_out_and_its_values_are_parameters() -> None:
    for path, module in MODULES.items():
        statements = [call.args[0] for name, call in calls(module) if name in {"execute", "executemany"}]
        assert [ast.unparse(sql) for sql in statements if not isinstance(sql, ast.Constant | ast.Name)] == [], path


def test_no_certificate_is_trusted_unseen() -> None:
    checks = {"verify", "verify_ssl_certs", "check_hostname"}
    for path, module in MODULES.items():
        keywords = [keyword for _, call in calls(module) for keyword in call.keywords]
        assert [keyword.arg for keyword in keywords if keyword.arg in checks and _is_false(keyword.value)] == [], path
        assert "CERT_NONE" not in ast.dump(module), path


def test_only_these_modules_speak_to_other_systems() -> None:
    speakers = {
        path: {name for name in imports(module) if name in TO_OTHERS}
        for path, module in MODULES.items()
        if TO_OTHERS.intersection(imports(module))
    }
    payments = {path: libraries for path, libraries in speakers.items() if path.startswith("payments/")}
    assert [path for path, libraries in payments.items() if libraries != {"stripe"}] == []
    assert set(speakers) - set(payments) == SPEAKERS


def test_the_search_finds_what_it_looks_for() -> None:
    module = ast.parse("import xml.sax\nfrom urllib import request\nrun(eval(a), shell=True)\nc.execute(f'{b}')")
    assert {"xml.sax", "urllib.request"} <= set(imports(module))
    assert {"eval", "execute"} <= {name for name, _ in calls(module)}
    assert len(MODULES) > 100


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False
