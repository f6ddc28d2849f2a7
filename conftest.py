"""What every test starts from: no sockets to the outside, and a plain word about what was left out."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from accounts.models import User
    from bambisleep.tests.client import AsgiClient

PACKAGES = "`make services` installs it"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a program that is not here."""
    for mark in item.iter_markers("needs"):
        for program in mark.args:
            if program == "postgresql":
                if not os.environ.get("DATABASE_URL", "").startswith("postgres"):
                    pytest.skip("needs PostgreSQL: `make services`, then `make test-all`")
            elif shutil.which(program) is None:
                pytest.skip(f"needs {program}: {PACKAGES}")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that are about PostgreSQL alone are not "skipped" in the run on SQLite: they are not part of it."""
    if os.environ.get("CI") and not os.environ.get("DATABASE_URL", "").startswith("postgres"):
        left = [item for item in items if _needs(item, "postgresql")]
        items[:] = [item for item in items if not _needs(item, "postgresql")]
        config.hook.pytest_deselected(items=left)


def _needs(item: pytest.Item, program: str) -> bool:
    return any(program in mark.args for mark in item.iter_markers("needs"))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Under CI, nothing may be skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and exitstatus == 0 and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: object) -> None:
    """Say what was left out and how to have it."""
    skipped = terminalreporter.stats.get("skipped", [])  # type: ignore[attr-defined]
    if skipped:
        terminalreporter.write_line(  # type: ignore[attr-defined]
            f"\nLeft out: {len(skipped)} tests, for the reasons above. `make services` installs what they need "
            "(Debian), `make test-all` runs them all.",
            yellow=True,
        )


@pytest.fixture(scope="session", autouse=True)
def _quick_teardown() -> Iterator[None]:
    """After a test that commits, delete the rows. Django's own way makes two hundred files anew on PostgreSQL, then
    the content types and permissions, which no test touches."""
    from django.db import connection
    from django.test import TransactionTestCase

    kept = {"django_content_type", "auth_permission"}

    def delete_all(_: TransactionTestCase) -> None:
        tables = sorted(set(connection.introspection.django_table_names(only_existing=True)) - kept)
        connection.ops.execute_sql_flush([f"DELETE FROM {connection.ops.quote_name(table)}" for table in tables])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TransactionTestCase, "_fixture_teardown", delete_all)
        yield


@pytest.fixture(autouse=True)
def _quick_hasher(settings: Any) -> None:
    """Argon2 costs 50 ms; a test that is about it asks for it by name."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def _forgetful_cache() -> None:
    """Limits and used codes of one test do not reach the next."""
    from django.core.cache import cache

    cache.clear()


@pytest.fixture(autouse=True)
def _plain_static_files(settings: Any) -> None:
    """No manifest: `collectstatic` does not run before tests."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


@pytest.fixture
def asgi() -> "AsgiClient":
    """The whole application, edge included, called as a server would."""
    from bambisleep.tests.client import AsgiClient

    return AsgiClient()


@pytest.fixture
def metric() -> "Callable[..., float]":
    """The value of one event series: metric("http_requests_total", route="/dora"); 0 where there is none yet."""
    from prometheus_client import REGISTRY

    def value(name: str, **labels: str) -> float:
        families = (sample for family in REGISTRY.collect() for sample in family.samples)
        return sum(s.value for s in families if s.name == name and labels.items() <= s.labels.items())

    return value


@pytest.fixture
def member(db: None) -> "User":
    """A member whose password is `a long enough phrase`, and whose address is verified."""
    from allauth.account.models import EmailAddress

    from accounts.models import User

    user = User.objects.create_user("mara", "mara@example.org", "a long enough phrase")
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    return user


@pytest.fixture
def staff(db: None) -> "User":
    """A superuser."""
    from accounts.models import User

    return User.objects.create_superuser("sam", "sam@example.org", "a long enough phrase")
