"""Pages of accounts that allauth has none for: every session in one list, one's own data, the end of an account."""

from typing import Any, cast

from allauth.account.adapter import get_adapter
from allauth.account.decorators import reauthentication_required
from allauth.account.internal.flows.reauthentication import raise_if_reauthentication_required
from allauth.usersessions.internal.flows.sessions import end_sessions
from allauth.usersessions.models import UserSession
from allauth.usersessions.views import ListUserSessionsView
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.views.decorators.http import require_safe

from observability.http.methods import takes

from . import deletion, membership, personal_data, sessions, tokens
from .forms import ConfirmForm
from .models import RefreshFamily, User


class SessionsView(ListUserSessionsView):
    """Every browser and API client that is signed in. POST ends one (`end`), the others, or all (`action`)."""

    http_method_names = ["get", "head", "post", "options"]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """With the API's families of tokens beside allauth's sessions."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        live = RefreshFamily.objects.live(timezone.now()).filter(user=cast(User, self.request.user))
        return {**context, "api_sessions": live, "show_last_seen_at": True}

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """End what was asked for, after a fresh sign-in."""
        raise_if_reauthentication_required(request, app="allauth.account")
        user = cast(User, request.user)
        action, one = request.POST.get("action", "others"), request.POST.get("end", "")
        if one:
            _end_one(request, user, one)
        elif action == "everywhere":
            sessions.end_all(user, reason="signed_out")
            logout(request)
            get_adapter().add_message(request, messages.INFO, message="You are signed out everywhere.")
            return redirect("account_login")
        else:
            sessions.end_all(user, reason="signed_out", keep=request)
            get_adapter().add_message(request, messages.INFO, message="Every other session has ended.")
        return redirect("usersessions_list")


def _end_one(request: HttpRequest, user: User, identifier: str) -> None:
    """End one session: a number names a browser's, a UUID an API client's. Another user's is as good as none."""
    if identifier.isascii() and identifier.isdigit():
        end_sessions(request, list(UserSession.objects.filter(user=user, pk=int(identifier[:18]))))
    else:
        tokens.revoke_one(user, identifier)
    get_adapter().add_message(request, messages.INFO, message="The session has ended.")


@require_safe
@login_required
@reauthentication_required
def export(request: HttpRequest) -> HttpResponse:
    """All that is kept about the user, as a JSON file."""
    user = cast(User, request.user)
    response = JsonResponse(personal_data.export(user), json_dumps_params={"indent": 2, "ensure_ascii": False})
    response["Content-Disposition"] = f'attachment; filename="bambisleep-{user.pk}.json"'
    return response


@takes("GET", "HEAD", "POST")
@login_required
@reauthentication_required
def delete(request: HttpRequest) -> HttpResponse:
    """Ask for the account's deletion."""
    user = cast(User, request.user)
    form = ConfirmForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        requested = deletion.request_deletion(user=user, request=request)
        logout(request)
        return render(request, "accounts/deletion_requested.html", {"requested": requested})
    context = {"form": form, "erased_at": deletion.erased_at(user)}
    return render(request, "accounts/delete.html", context, status=400 if form.errors else 200)


@takes("POST")
@login_required
def keep(request: HttpRequest) -> HttpResponse:
    """Take a wish for deletion back."""
    user = cast(User, request.user)
    asked_at = user.deletion_requested_at
    is_settled = deletion.cancel(user=user)
    get_adapter().add_message(request, messages.SUCCESS, message="Your account stays.")
    if not is_settled:
        message = "What was stopped for the deletion could not be taken up again: look at your membership in a minute."
        get_adapter().add_message(request, messages.WARNING, message=message)
    if asked_at is not None and membership.has_lapsed(user, since=asked_at):
        message = format_html(
            'Your membership has ended meanwhile. To come back, <a href="{}">choose a plan</a>.',
            reverse("billing_plans"),
        )
        get_adapter().add_message(request, messages.INFO, message=message)
    return redirect("account_data")


@require_safe
@login_required
def data(request: HttpRequest) -> HttpResponse:
    """What one can do with one's data."""
    user = cast(User, request.user)
    return render(request, "accounts/data.html", {"erased_at": deletion.erased_at(user), "user": user})
