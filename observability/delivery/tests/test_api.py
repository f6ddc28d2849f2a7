"""POST and PATCH /dora/deployments, /dora/incidents, their lists, and the tokens that open them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from bambisleep.tests.client import Answer, AsgiClient
from observability.delivery import tokens
from observability.delivery.models import Deployment, DeployToken, Incident, Pipeline

pytestmark = pytest.mark.django_db

ENTRY = {"version": "1.4.0", "sha": "a" * 40, "deployed_at": "2026-03-02T12:00:00+01:00"}
ALL = ["deployments:write", "incidents:write", "read"]


@pytest.fixture
def deploy_token(db: None) -> str:
    """A token with every scope of a pipeline."""
    return tokens.issue(name="ci", scopes=ALL)[1]


@pytest.fixture
def ask(asgi: AsgiClient, deploy_token: str) -> Callable[..., Answer]:
    """Send a request with the deploy token, or another."""

    def send(method: str, path: str, *, token: str | None = deploy_token, **more: Any) -> Answer:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return asgi.request(method, path, headers=headers, **more)

    return send


class TestRecording:
    def test_version_and_sha_alone_are_enough(self, ask: Any) -> None:
        answer = ask("POST", "/dora/deployments", json={"version": "1", "sha": "abcd123"})
        assert answer.status == 201
        row = Deployment.objects.get()
        assert (row.service, row.environment, row.status, row.external_id) == (
            "bambisleep", "production", "succeeded", "1+abcd123",
        )  # fmt: skip

    def test_told_twice_it_is_one_row(self, ask: Any) -> None:
        assert ask("POST", "/dora/deployments", json=ENTRY).status == 201
        again = ask("POST", "/dora/deployments", json=ENTRY)
        assert (again.status, again.json["outcome"]) == (200, "unchanged")
        assert Deployment.objects.count() == 1

    def test_it_keeps_the_moment_whatever_the_offset(self, ask: Any) -> None:
        ask("POST", "/dora/deployments", json=ENTRY)
        finished_at = Deployment.objects.get().finished_at
        assert finished_at is not None
        assert finished_at.isoformat() == "2026-03-02T11:00:00+00:00"

    def test_it_starts_now_and_ends_later(self, ask: Any) -> None:
        started = ask("POST", "/dora/deployments", json={**ENTRY, "status": "started"})
        path = f"/dora/deployments/{started.json['deployment']['id']}"
        ended = ask("PATCH", path, json={"status": "failed"})
        assert ended.json["outcome"] == "updated"
        assert ask("GET", path).json["status"] == "failed"
        assert ask("PATCH", path, json={"status": "succeeded"}).json["outcome"] == "unchanged"

    def test_commits_come_with_it(self, ask: Any) -> None:
        commits = [{"sha": "b" * 40, "authored_at": "2026-03-02T09:00:00Z"}]
        ask("POST", "/dora/deployments", json={**ENTRY, "commits": commits})
        assert Deployment.objects.get().commits.get().lead_seconds == 7200

    @pytest.mark.parametrize(
        ("changed", "field"),
        [
            ({"version": ""}, "version"),
            ({"sha": "not hexadecimal"}, "sha"),
            ({"deployed_at": "yesterday"}, "deployed_at"),
            ({"deployed_at": "2999-01-01T00:00:00Z"}, "finished_at"),
            ({"started_at": "2026-03-02T13:00:00+01:00"}, "finished_at"),
            ({"status": "done"}, "status"),
            ({"kind": "sudden"}, "kind"),
            ({"commits": [{"sha": "zz"}]}, "commits"),
            ({"commits": {"sha": "aa"}}, "commits"),
            ({"url": "javascript:alert(1)"}, "url"),
            ({"previous": "a" * 40}, "previous"),
            ({"external_id": "x\x00y"}, "external_id"),
            ({"service": "s" * 101}, "service"),
        ],
    )
    def test_it_names_what_is_wrong_and_writes_nothing(self, ask: Any, changed: Any, field: str) -> None:
        answer = ask("POST", "/dora/deployments", json={**ENTRY, **changed})
        assert answer.status == 400
        assert field in answer.json["errors"]
        assert not Deployment.objects.exists()

    def test_it_refuses_a_chain_of_previous_commits_that_comes_round(self, ask: Any) -> None:
        a, b, c = "a" * 40, "b" * 40, "c" * 40
        assert ask("POST", "/dora/deployments", json={"version": "2", "sha": b, "previous": a}).status == 201
        assert ask("POST", "/dora/deployments", json={"version": "3", "sha": c, "previous": b}).status == 201
        answer = ask("POST", "/dora/deployments", json={"version": "1", "sha": a, "previous": c})
        assert answer.status == 400
        assert "cycle" in answer.json["errors"]["previous"][0]

    def test_a_way_back_and_forward_again_is_no_cycle(self, ask: Any) -> None:
        for number, (sha, previous) in enumerate(["a ", "ba", "ab", "ba"]):
            entry = {"version": str(number), "sha": sha * 40, "previous": (previous * 40).strip()}
            assert ask("POST", "/dora/deployments", json=entry).status == 201

    def test_ten_megabytes_are_too_much(self, ask: Any) -> None:
        assert ask("POST", "/dora/deployments", json={**ENTRY, "actor": "x" * 10_000_000}).status == 413
        assert not Deployment.objects.exists()

    def test_only_the_services_allowed_are_recorded(self, ask: Any, settings: Any) -> None:
        settings.DEPLOY_SERVICES = ["web"]
        assert "service" in ask("POST", "/dora/deployments", json=ENTRY).json["errors"]
        assert ask("POST", "/dora/deployments", json={**ENTRY, "service": "web"}).status == 201

    def test_only_the_environments_allowed_are_recorded(self, ask: Any, settings: Any) -> None:
        settings.DEPLOY_ENVIRONMENTS = ["production"]
        refused = ask("POST", "/dora/deployments", json={**ENTRY, "environment": "review/7"})
        assert "DEPLOY_ENVIRONMENTS" in refused.json["errors"]["environment"][0]
        refused = ask("POST", "/dora/incidents", json={"title": "Slow", "environment": "review/7"})
        assert "DEPLOY_ENVIRONMENTS" in refused.json["errors"]["environment"][0]
        assert not Pipeline.objects.exists()
        assert ask("POST", "/dora/deployments", json=ENTRY).status == 201

    def test_a_rollback_by_the_name_of_the_way_there_is_refused(self, ask: Any) -> None:
        assert ask("POST", "/dora/deployments", json=ENTRY).status == 201
        answer = ask("POST", "/dora/deployments", json={**ENTRY, "kind": "rollback"})
        assert (answer.status, list(answer.json["errors"])) == (400, ["external_id"])


class TestIncidents:
    def test_it_opens_and_resolves(self, ask: Any) -> None:
        opened = ask("POST", "/dora/incidents", json={"title": "Slow", "severity": "critical"})
        assert opened.status == 201
        path = f"/dora/incidents/{opened.json['id']}"
        assert ask("PATCH", path, json={"resolved_at": timezone.now().isoformat()}).json["resolved_at"]
        assert ask("GET", "/dora/incidents", query="open=true").json["count"] == 0

    def test_with_an_external_id_it_is_one_row(self, ask: Any) -> None:
        entry = {"title": "Slow", "external_id": "PD-7"}
        assert [ask("POST", "/dora/incidents", json=entry).status for _ in range(2)] == [201, 200]
        assert Incident.objects.count() == 1

    def test_two_services_may_have_the_same_external_id_and_start(self, ask: Any) -> None:
        entry = {"title": "Slow", "external_id": "PD-7", "started_at": "2026-03-02T12:00:00Z"}
        told = [ask("POST", "/dora/incidents", json={**entry, "service": service}).status for service in ("web", "api")]
        assert told == [201, 201]

    def test_an_external_id_that_looks_like_an_alerts_is_refused(self, ask: Any) -> None:
        answer = ask("POST", "/dora/incidents", json={"title": "Slow", "external_id": "0123456789abcdef"})
        assert (answer.status, list(answer.json["errors"])) == (400, ["external_id"])
        assert not Incident.objects.exists()

    def test_an_end_that_contradicts_the_recorded_one_is_a_conflict(self, ask: Any) -> None:
        pk = ask("POST", "/dora/incidents", json={"title": "Slow", "started_at": "2026-03-02T12:00:00Z"}).json["id"]
        path, end = f"/dora/incidents/{pk}", {"resolved_at": "2026-03-02T13:00:00Z"}
        assert [ask("PATCH", path, json=end).status for _ in range(2)] == [200, 200]

        refused = ask("PATCH", path, json={"resolved_at": "2026-03-02T14:00:00Z", "deployment": None})
        assert refused.status == 409
        assert (
            f"2026-03-02 13:00:00 UTC. Where that is wrong, reopen it first: manage.py reopen_incident {pk}"
            in (refused.json["detail"])
        )
        assert ask("GET", path).json["resolved_at"] == "2026-03-02T13:00:00Z"

    def test_it_is_laid_at_a_deployments_door_and_taken_away(self, ask: Any) -> None:
        deployment = ask("POST", "/dora/deployments", json=ENTRY).json["deployment"]["id"]
        incident = ask("POST", "/dora/incidents", json={"title": "Slow", "deployment": deployment}).json
        assert incident["deployment"] == deployment
        path = f"/dora/incidents/{incident['id']}"
        assert ask("PATCH", path, json={"deployment": None}).json["deployment"] is None

    @pytest.mark.parametrize(
        "changed",
        [
            {"title": ""}, {"severity": "bad"}, {"started_at": "2999-01-01T00:00:00Z"}, {"deployment": 999_999},
            {"resolved_at": "2001-01-01T00:00:00Z"}, {"url": "file:///etc/passwd"},
        ],
    )  # fmt: skip
    def test_what_cannot_be_writes_nothing(self, ask: Any, changed: Any) -> None:
        assert ask("POST", "/dora/incidents", json={"title": "Slow", **changed}).status == 400
        assert not Incident.objects.exists()

    def test_a_change_must_change_something(self, ask: Any) -> None:
        pk = ask("POST", "/dora/incidents", json={"title": "Slow"}).json["id"]
        assert ask("PATCH", f"/dora/incidents/{pk}", json={}).status == 400


class TestLists:
    def test_they_come_in_pages_and_narrowed(self, ask: Any) -> None:
        for number in range(5):
            ask(
                "POST", "/dora/deployments", json={"version": f"1.{number}", "sha": "abcd", "service": f"s{number % 2}"}
            )
        page = ask("GET", "/dora/deployments", query="limit=2&offset=1").json
        assert (page["count"], len(page["results"])) == (5, 2)
        assert "limit=2" in page["next"]
        assert ask("GET", "/dora/deployments", query="service=s1").json["count"] == 2
        assert ask("GET", "/dora/deployments", query="service=%00").status == 400

    def test_what_runs_comes_before_what_finished(self, ask: Any) -> None:
        for version, status in (("1", "succeeded"), ("2", "started"), ("3", "succeeded")):
            ask("POST", "/dora/deployments", json={"version": version, "sha": "abcd", "status": status})
        assert [row["version"] for row in ask("GET", "/dora/deployments").json["results"]] == ["2", "3", "1"]
        assert list(Deployment.objects.values_list("version", flat=True)) == ["2", "3", "1"]

    def test_what_is_not_there_is_a_problem(self, ask: Any) -> None:
        for path in ("/dora/deployments/999", "/dora/incidents/999"):
            assert ask("GET", path).status == 404


class TestTokens:
    def test_the_token_is_not_stored(self, deploy_token: str) -> None:
        row = DeployToken.objects.get()
        stored = f"{row.lookup} {row.digest} {row.name}"
        assert deploy_token not in stored
        assert deploy_token[12:44] not in stored
        assert len(deploy_token) == 50

    def test_its_use_is_noted(self, ask: Any) -> None:
        assert DeployToken.objects.get().last_used_at is None
        ask("GET", "/dora/deployments")
        assert DeployToken.objects.get().last_used_at is not None

    @pytest.mark.parametrize(
        ("spoil", "reason"),
        [
            (lambda raw: raw[:-1], "malformed"),
            (lambda raw: raw[:20] + ("x" if raw[20] != "x" else "y") + raw[21:], "malformed"),
            (lambda raw: "bsd_", "malformed"),
            (lambda raw: "bsd_" + "é" * 46, "malformed"),
            (lambda raw: tokens.PREFIX + "a" * 40 + tokens._checksum("a" * 40), "not known"),
            (lambda raw: raw[:12] + "b" * 32 + tokens._checksum(raw[4:12] + "b" * 32), "not known"),
        ],
    )
    def test_a_wrong_one_is_refused_counted_and_writes_nothing(
        self, ask: Any, deploy_token: str, metric: Any, spoil: Any, reason: str
    ) -> None:
        before = metric("security_events_total", type="invalid_token")
        answer = ask("POST", "/dora/deployments", token=spoil(deploy_token), json=ENTRY)
        assert answer.status == 401
        assert reason in answer.json["detail"]
        assert metric("security_events_total", type="invalid_token") == before + 1
        assert not Deployment.objects.exists()

    def test_none_at_all_is_refused(self, ask: Any) -> None:
        assert ask("POST", "/dora/deployments", token=None, json=ENTRY).status == 401

    def test_an_expired_one_says_so(self, ask: Any) -> None:
        DeployToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        answer = ask("POST", "/dora/deployments", json=ENTRY)
        assert (answer.status, "expired" in answer.json["detail"]) == (401, True)

    def test_a_revoked_one_says_so(self, ask: Any) -> None:
        assert tokens.revoke(DeployToken.objects.get())
        answer = ask("POST", "/dora/deployments", json=ENTRY)
        assert (answer.status, "revoked" in answer.json["detail"]) == (401, True)

    @pytest.mark.parametrize(
        ("method", "path", "needed"),
        [
            ("POST", "/dora/deployments", "deployments:write"),
            ("PATCH", "/dora/deployments/1", "deployments:write"),
            ("POST", "/dora/incidents", "incidents:write"),
            ("PATCH", "/dora/incidents/1", "incidents:write"),
            ("GET", "/dora/deployments", "read"),
            ("GET", "/dora/incidents/1", "read"),
        ],
    )
    def test_each_door_needs_its_scope(self, ask: Any, metric: Any, method: str, path: str, needed: str) -> None:
        others = [scope for scope in [*ALL, "alerts:write"] if scope != needed]
        _, narrow = tokens.issue(name="narrow", scopes=others)
        before = metric("security_events_total", type="invalid_token")
        answer = ask(method, path, token=narrow, json=ENTRY)
        assert answer.status == 403
        assert needed in answer.json["detail"]
        assert metric("security_events_total", type="invalid_token") == before + 1

    def test_staff_read_but_do_not_write(self, asgi: AsgiClient, staff: Any, member: Any) -> None:
        def signed_in(name: str) -> dict[str, str]:
            pair = asgi.post("/auth/login", json={"username": name, "password": "a long enough phrase"}).json
            return {"Authorization": f"Bearer {pair['access']}"}

        assert asgi.get("/dora/deployments", headers=signed_in("sam")).status == 200
        assert asgi.get("/dora/deployments", headers=signed_in("mara")).status == 403
        assert asgi.post("/dora/deployments", headers=signed_in("sam"), json=ENTRY).status == 403

    @pytest.mark.parametrize("scopes", [[], ["everything"], ["read", 5]])
    def test_scopes_are_of_the_list(self, db: None, scopes: Any) -> None:
        from django.core.exceptions import ValidationError

        with pytest.raises((ValidationError, TypeError)):
            tokens.issue(name="x", scopes=scopes)
