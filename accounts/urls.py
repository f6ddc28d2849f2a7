"""The JSON API's addresses, and those of the pages."""

from typing import Any

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.http import HttpRequest, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import include, path

from . import api, views

# One door for staff too: the admin's own would ask for no second factor.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign, no-untyped-call]


def _password_page(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseRedirect:
    """One page for passwords too: the admin's own would let the present one be guessed without limit."""
    return redirect("account_change_password")


admin.site.password_change = _password_page  # type: ignore[method-assign, assignment]

urlpatterns = [
    path("auth/register", api.RegisterView.as_view()),
    path("auth/login", api.LoginView.as_view()),
    path("auth/refresh", api.RefreshView.as_view()),
    path("auth/logout", api.LogoutView.as_view()),
    path("auth/logout/all", api.LogoutAllView.as_view()),
    path("auth/me", api.MeView.as_view()),
    path("auth/password", api.PasswordView.as_view()),
    path("accounts/sessions/", views.SessionsView.as_view(), name="usersessions_list"),
    path("accounts/data/", views.data, name="account_data"),
    path("accounts/data/export/", views.export, name="account_export"),
    path("accounts/data/delete/", views.delete, name="account_delete"),
    path("accounts/data/keep/", views.keep, name="account_keep"),
    path("accounts/", include("allauth.urls")),
]
