"""manage.py createtoken: the token alone on standard output, once; and what is listed and revoked."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from observability.delivery import tokens
from observability.delivery.models import DeployToken

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> tuple[str, str]:
    output, errors = StringIO(), StringIO()
    call_command("createtoken", *arguments, stdout=output, stderr=errors)
    return output.getvalue(), errors.getvalue()


def test_the_token_is_alone_on_standard_output_and_works() -> None:
    output, errors = run("ci")
    token = tokens.verify(output.removesuffix("\n"))
    assert (token.name, token.scopes, token.expires_at) == ("ci", ["deployments:write", "read"], None)
    assert "not shown again" in errors
    assert output.strip() not in errors


def test_its_scopes_and_its_end_may_be_said() -> None:
    output, errors = run("alertmanager", "--scope", "alerts:write", "--expires", "90d")
    token = tokens.verify(output.strip())
    assert token.scopes == ["alerts:write"]
    assert token.expires_at is not None
    assert timedelta(days=89) < token.expires_at - timezone.now() <= timedelta(days=90)
    assert f"good until {token.expires_at:%Y-%m-%d}" in errors
    run("ci", "--expires", "2990-01-31")
    assert DeployToken.objects.get(name="ci").expires_at.isoformat() == "2990-01-31T00:00:00+00:00"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Say who will have the token"),
        (["ci", "--list"], "take none"),
        (["ci", "--scope", "everything"], "invalid choice"),
        (["ci", "--expires", "2020-01-01"], "in the past"),
        (["ci", "--expires", "0d"], "in the past"),
        (["ci", "--expires", "soon"], "is no time"),
        (["ci", "--expires", "99999999999d"], "is no time"),
        (["x" * 101], "at most 100 characters"),
        (["--revoke", "nobody"], "There is no such token"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(arguments: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        run(*arguments)
    assert not DeployToken.objects.exists()


def test_the_list_tells_all_but_the_secret() -> None:
    raw = run("ci", "--expires", "1d")[0].strip()
    run("old")
    run("--revoke", "old")
    run("last-year")
    DeployToken.objects.filter(name="last-year").update(expires_at=timezone.now() - timedelta(days=1))
    listed, _ = run("--list")
    states = {line.split()[1]: line.split()[2] for line in listed.splitlines()[1:]}
    assert states == {"ci": "good", "old": "revoked", "last-year": "expired"}
    assert raw[:12] in listed
    assert raw[12:] not in listed
    assert DeployToken.objects.get(name="ci").digest not in listed


@pytest.mark.parametrize("which", ["its name", "what it begins with", "all of it"])
def test_one_is_revoked_by(which: str) -> None:
    raw = run("ci")[0].strip()
    named = {"its name": "ci", "what it begins with": raw[:12], "all of it": raw}[which]
    output, errors = run("--revoke", named)
    assert (output, errors) == ("", "The token of ci is revoked.\n")
    with pytest.raises(tokens.TokenRefused, match="revoked"):
        tokens.verify(raw)


def test_a_name_that_several_have_is_not_enough() -> None:
    raws = [run("ci")[0].strip() for _ in range(2)]
    with pytest.raises(CommandError, match="Several tokens have that name") as refused:
        run("--revoke", "ci")
    assert all(raw[:12] in str(refused.value) for raw in raws)
    run("--revoke", raws[0][:12])
    run("--revoke", "ci")
    assert not DeployToken.objects.filter(revoked_at=None).exists()
    assert "had been revoked before" in run("--revoke", raws[0])[1]
