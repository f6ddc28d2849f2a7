"""Deployments, their commits, and incidents in the admin; with the few things that a person may say of them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format

from ..admin import ReadOnly, number_of
from ..problems import Problem
from . import admin_tokens, deployments, incidents  # noqa: F401  (registers the tokens)
from .models import DeployedCommit, Deployment, Incident, Pipeline, Standing, Status
from .wording import duration, recovery_standing

COMMITS_SHOWN = 200


class NameFilter(admin.SimpleListFilter):
    """By a column of the pipelines, so that the choices cost no walk through all rows."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The names that have records."""
        name = str(self.parameter_name)
        return [(value, value) for value in Pipeline.objects.order_by(name).values_list(name, flat=True).distinct()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of the chosen one."""
        value = self.value()
        return queryset if value is None else queryset.filter(**{str(self.parameter_name): value})


class ServiceFilter(NameFilter):
    """By service."""

    title = parameter_name = "service"


class EnvironmentFilter(NameFilter):
    """By environment."""

    title = parameter_name = "environment"


class WindowFilter(admin.DateFieldListFilter):
    """By time; a window that came in by a link is named among the choices, so that one sees what one looks at."""

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Django's, and the window in the URL where it is none of them."""
        usual = list(super().choices(changelist))
        if self.date_params and not any(choice["selected"] for choice in usual):
            since, until = (self.date_params.get(name) for name in (self.lookup_kwarg_since, self.lookup_kwarg_until))
            yield {"selected": True, "query_string": changelist.get_query_string(), "display": between(since, until)}
        yield from usual


class FailedChangeFilter(admin.SimpleListFilter):
    """Those that the change fail rate counts as failed, whatever made them so."""

    title = "failed change"
    parameter_name = "failed_change"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """One choice."""
        return [("yes", "failed, rolled back, or caused an incident")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The failed ones."""
        if self.value() != "yes":
            return queryset
        return queryset.filter(pk__in=Deployment.objects.failed_changes().values("pk"))


class ReworkFilter(admin.SimpleListFilter):
    """Those that the deployment rework rate counts."""

    title = "rework"
    parameter_name = "rework"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """One choice."""
        return [("yes", "hotfix or rollback")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rework."""
        return queryset.filter(pk__in=Deployment.objects.rework().values("pk")) if self.value() == "yes" else queryset


class Stated(ReadOnly):
    """Read-only rows of which a person may state a few things: by an action with a confirmation, nothing else."""

    def has_state_permission(self, request: HttpRequest) -> bool:
        """Whoever may change such rows."""
        opts = self.model._meta  # type: ignore[attr-defined]
        return request.user.has_perm(f"{opts.app_label}.change_{opts.model_name}")

    def state(
        self,
        request: HttpRequest,
        queryset: Iterable[Any],
        *,
        question: str,
        button: str,
        act: Callable[[Any], str | None],
        detail: Callable[[Any], str] = str,
        form: forms.Form | None = None,
    ) -> HttpResponse | None:
        """Ask for confirmation, then do `act` to each row, with a message for each.

        Args:
            act: returns what it did, as a sentence's end, or None where nothing changed; a Problem it raises is shown.
            detail: what the confirmation says of each row.
            form: what is to be filled in, bound once it is confirmed (`bound`).
        """
        rows = list(queryset)
        model_admin: Any = self
        if request.POST.get("confirmed") != "yes" or (form is not None and not form.is_valid()):
            context = {
                **model_admin.admin_site.each_context(request),
                "title": question,
                "button": button,
                "opts": model_admin.opts,
                "rows": [(row, detail(row)) for row in rows],
                "action": request.POST["action"],
                "origin": request.POST.get("origin", ""),
                "origin_url": self._origin(request, rows),
                "form": form,
            }
            return TemplateResponse(request, "admin/confirm_action.html", context)
        for row in rows:
            try:
                done = act(row)
            except Problem as problem:
                messages.error(request, f"{row}: {problem.detail}")
                continue
            if done is None:
                messages.warning(request, f"{row}: nothing to change.")
            else:
                model_admin.log_change(request, row, done)
                messages.success(request, f"{row}: {done}")
        return HttpResponseRedirect(self._origin(request, rows))

    def bound(self, request: HttpRequest, form: type[forms.Form]) -> forms.Form:
        """A form for `state`: with what was filled in, or to be filled in."""
        return form(request.POST) if request.POST.get("confirmed") == "yes" else form()

    def _origin(self, request: HttpRequest, rows: list[Any]) -> str:
        """Where the action was asked for: a row's own page, or the list."""
        opts = self.model._meta  # type: ignore[attr-defined]
        name = f"admin:{opts.app_label}_{opts.model_name}"
        if request.POST.get("origin") == "row" and len(rows) == 1:
            return reverse(f"{name}_change", args=[rows[0].pk])
        return request.get_full_path()


@admin.register(Deployment)
class DeploymentAdmin(Stated, admin.ModelAdmin[Deployment]):
    """Deployments, newest first."""

    change_form_template = "admin/deployment.html"
    list_display = [
        "version", "service", "environment", "status", "kind", "finished_at", "commit_count", "incident_count", "actor",
    ]  # fmt: skip
    list_filter = [
        ServiceFilter, EnvironmentFilter, "status", "kind", FailedChangeFilter, ReworkFilter,
        ("finished_at", WindowFilter),
    ]  # fmt: skip
    search_fields = ["version", "sha", "external_id", "actor"]
    date_hierarchy = "finished_at"
    show_full_result_count = False
    actions = ["mark_as_failed", "mark_as_rolled_back"]
    fieldsets = [
        (None, {"fields": ["version", "service", "environment", "status", "kind", "failed_change"]}),
        ("When", {"fields": ["started_at", "finished_at", "took", "failure_recorded_at", "recorded_at"]}),
        ("Where it came from", {"fields": ["sha", "previous_sha", "external_id", "url", "actor"]}),
    ]
    readonly_fields = ["failed_change", "took", "recorded_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Deployment]:
        """With the numbers of commits that count and of incidents."""
        commits = DeployedCommit.objects.filter(standing=Standing.COUNTED)
        numbers = {
            "commit_number": number_of(commits, "deployment"),
            "incident_number": number_of(Incident.objects.all(), "deployment"),
        }
        return super().get_queryset(request).annotate(**numbers)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Its facts, its commits with their lead times, and the incidents it caused."""
        context = {**(extra_context or {}), "may_state": self.has_state_permission(request)}
        if object_id.isdecimal():
            context.update(_behind(int(object_id)))
        return super().change_view(request, object_id, form_url, context)

    @admin.display(description="commits counted", ordering="commit_number")
    def commit_count(self, deployment: Deployment) -> int:
        """Commits that count towards lead time."""
        return int(deployment.commit_number)

    @admin.display(description="incidents", ordering="incident_number")
    def incident_count(self, deployment: Deployment) -> int:
        """Incidents it caused."""
        return int(deployment.incident_number)

    @admin.display(description="failed change")
    def failed_change(self, deployment: Deployment) -> str:
        """Whether the change fail rate counts it as failed, and why."""
        if deployment.status in {Status.FAILED, Status.ROLLED_BACK}:
            return f"yes: it {'failed' if deployment.status == Status.FAILED else 'was rolled back'}"
        return "yes: it caused an incident" if deployment.is_failed_change else "no"

    @admin.display(description="took")
    def took(self, deployment: Deployment) -> str:
        """Start to end."""
        if deployment.started_at is None or deployment.finished_at is None:
            return "–"
        return duration((deployment.finished_at - deployment.started_at).total_seconds())

    @admin.action(description="Mark as failed…", permissions=["state"])
    def mark_as_failed(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> HttpResponse | None:
        """Say that they failed after all."""
        return self._mark(request, queryset, Status.FAILED, "failed")

    @admin.action(description="Mark as rolled back…", permissions=["state"])
    def mark_as_rolled_back(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> HttpResponse | None:
        """Say that they were rolled back."""
        return self._mark(request, queryset, Status.ROLLED_BACK, "rolled back")

    def _mark(
        self, request: HttpRequest, queryset: QuerySet[Deployment], status: Status, word: str
    ) -> HttpResponse | None:
        def act(deployment: Deployment) -> str | None:
            return f"marked as {word}." if deployments.mark_failed(deployment, status=status) else None

        return self.state(
            request,
            queryset,
            question=f"Mark as {word}?",
            button=f"Mark as {word}",
            act=act,
            detail=lambda deployment: f"{deployment} – now {deployment.get_status_display().lower()}",
        )


def _behind(pk: int) -> dict[str, Any]:
    commits = DeployedCommit.objects.filter(deployment=pk)
    shown = list(commits.order_by("authored_at", "pk")[:COMMITS_SHOWN])
    number = len(shown) if len(shown) < COMMITS_SHOWN else commits.count()
    return {
        "commits": [(commit, duration(commit.lead_seconds)) for commit in shown],
        "commit_number": number,
        "commits_url": f"{reverse('admin:delivery_deployedcommit_changelist')}?deployment__id__exact={pk}",
        "caused": [
            (incident, duration(incident.recovery_seconds) if incident.resolved_at else "still open")
            for incident in Incident.objects.filter(deployment=pk)
        ],
    }


@admin.register(DeployedCommit)
class DeployedCommitAdmin(ReadOnly, admin.ModelAdmin[DeployedCommit]):
    """Deployed commits, the last recorded first: which count towards lead time, and why the others do not."""

    list_display = ["short_sha", "deployment", "authored_at", "deployed_at", "lead_time", "standing"]
    list_filter = ["standing", ServiceFilter, EnvironmentFilter, ("deployed_at", WindowFilter)]
    list_select_related = ["deployment"]
    search_fields = ["sha__startswith", "deployment__version"]
    search_help_text = "The beginning of a commit's id, or part of a version."
    ordering = ["-pk"]
    show_full_result_count = False

    @admin.display(description="commit", ordering="sha")
    def short_sha(self, commit: DeployedCommit) -> str:
        """Its first twelve digits."""
        return str(commit)

    @admin.display(description="lead time", ordering="lead_seconds")
    def lead_time(self, commit: DeployedCommit) -> str:
        """Authored to deployed."""
        return duration(commit.lead_seconds)


class ResolveForm(forms.Form):
    """When it was over."""

    resolved_at = forms.DateTimeField(
        label="Over since",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": 1}, format="%Y-%m-%dT%H:%M:%S"),
        help_text="UTC; empty: now.",
    )


def _end(incident: Incident) -> str:
    at = incident.resolved_at
    return f"resolved {date_format(timezone.localtime(at), 'j M Y H:i')}" if at else "open"


@admin.register(Incident)
class IncidentAdmin(Stated, admin.ModelAdmin[Incident]):
    """Incidents, newest first."""

    change_form_template = "admin/incident.html"
    list_display = [
        "title", "severity", "service", "environment", "started_at", "resolved_at", "recovery", "deployment",
        "standing",
    ]  # fmt: skip
    list_filter = [
        "severity", ServiceFilter, EnvironmentFilter, ("resolved_at", WindowFilter),
        ("deployment", admin.EmptyFieldListFilter),
    ]  # fmt: skip
    list_select_related = ["deployment"]
    search_fields = ["title", "description", "fingerprint"]
    date_hierarchy = "started_at"
    readonly_fields = ["recovery", "standing"]
    actions = ["resolve", "reopen", "link_to_last_deployment", "unlink"]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Its facts, and what may be said of it."""
        context = {**(extra_context or {}), "may_state": self.has_state_permission(request)}
        return super().change_view(request, object_id, form_url, context)

    @admin.display(description="recovery")
    def recovery(self, incident: Incident) -> str:
        """Start to resolution."""
        return duration(incident.recovery_seconds)

    @admin.display(description="in recovery time")
    def standing(self, incident: Incident) -> str:
        """Whether it counts towards recovery time, or why not."""
        return recovery_standing(incident)

    @admin.action(description="Resolve…", permissions=["state"])
    def resolve(self, request: HttpRequest, queryset: QuerySet[Incident]) -> HttpResponse | None:
        """Ask when they ended, and say so."""
        form = self.bound(request, ResolveForm)

        def act(incident: Incident) -> str | None:
            if not incidents.resolve(incident, resolved_at=form.cleaned_data["resolved_at"]):
                return None
            return f"resolved after {duration(incident.recovery_seconds)}."

        return self.state(request, queryset, question="Resolve?", button="Resolve", act=act, form=form)

    @admin.action(description="Reopen…", permissions=["state"])
    def reopen(self, request: HttpRequest, queryset: QuerySet[Incident]) -> HttpResponse | None:
        """Say that they are not over after all."""
        return self.state(
            request,
            queryset,
            question="Reopen? What mttr_seconds has counted stays counted.",
            button="Reopen",
            act=lambda incident: "reopened." if incidents.reopen(incident) else None,
            detail=lambda incident: f"{incident} – {_end(incident)}",
        )

    @admin.action(description="Link to the last deployment before…", permissions=["state"])
    def link_to_last_deployment(self, request: HttpRequest, queryset: QuerySet[Incident]) -> HttpResponse | None:
        """Say that the last deployment that finished before each incident caused it."""
        rows = list(queryset)
        suspects = last_deployments_before(rows)

        def act(incident: Incident) -> str | None:
            suspect = suspects.get(incident.pk)
            if suspect is None:
                raise incidents.InvalidIncident("No deployment of its service finished before it started.")
            if incident.deployment_id == suspect.pk:
                return None
            incidents.link(incident, suspect)
            return f"linked to {suspect}."

        def detail(incident: Incident) -> str:
            suspect = suspects.get(incident.pk)
            if suspect is None or suspect.finished_at is None:
                return f"{incident} – no deployment of its service finished before it started"
            before = duration((incident.started_at - suspect.finished_at).total_seconds())
            return f"{incident} – caused by {suspect}, which finished {before} before"

        return self.state(request, rows, question="Link to the last deployment?", button="Link", act=act, detail=detail)

    @admin.action(description="Unlink from its deployment…", permissions=["state"])
    def unlink(self, request: HttpRequest, queryset: QuerySet[Incident]) -> HttpResponse | None:
        """Say that no deployment caused them."""

        def act(incident: Incident) -> str | None:
            if incident.deployment_id is None:
                return None
            incidents.link(incident, None)
            return "unlinked from its deployment."

        return self.state(
            request,
            queryset.select_related("deployment"),
            question="Unlink from the deployment?",
            button="Unlink",
            act=act,
            detail=lambda incident: f"{incident} – linked to {incident.deployment or 'none'}",
        )


@admin.register(Pipeline)
class PipelineAdmin(ReadOnly, admin.ModelAdmin[Pipeline]):
    """Which services are deployed where."""

    list_display = ["service", "environment"]
    list_filter = ["environment"]
    search_fields = ["service"]


def last_deployments_before(rows: list[Incident]) -> dict[int, Deployment]:
    """For each incident's key the last deployment of its pipeline that had finished when it started, in two queries."""
    finished = Deployment.objects.finished().filter(
        service=OuterRef("service"), environment=OuterRef("environment"), finished_at__lte=OuterRef("started_at")
    )
    last = Subquery(finished.order_by("-finished_at", "-pk").values("pk")[:1])
    found = Incident.objects.filter(pk__in=[row.pk for row in rows]).order_by().annotate(last=last)
    keys = dict(found.filter(last__isnull=False).values_list("pk", "last"))
    suspects = Deployment.objects.in_bulk(set(keys.values()))
    return {incident: suspects[deployment] for incident, deployment in keys.items()}


def between(since: str | None, until: str | None) -> str:
    """Two times of a URL as a window for people."""
    start, end = (_shown(text) for text in (since, until))
    if start and end:
        return f"{start} to {end}"
    return f"since {start}" if start else f"before {end}"


def _shown(text: str | None) -> str:
    try:
        at = parse_datetime(text or "")
    except ValueError:
        at = None
    return date_format(at, "j M Y H:i") if at else text or ""
