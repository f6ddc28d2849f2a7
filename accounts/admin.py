"""Accounts in the admin."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.http import HttpRequest

from .models import RefreshFamily, User


@admin.register(User)
class AccountAdmin(UserAdmin[User]):
    """Users, newest first."""

    list_display = ["username", "email", "is_active", "is_staff", "last_login", "date_joined"]
    list_filter = ["is_active", "is_staff", "is_superuser", "date_joined"]
    date_hierarchy = "date_joined"
    ordering = ["-date_joined"]
    add_fieldsets = ((None, {"fields": ("username", "email", "usable_password", "password1", "password2")}),)


@admin.register(RefreshFamily)
class RefreshFamilyAdmin(admin.ModelAdmin[RefreshFamily]):
    """Sign-ins over the API; revoking one ends it."""

    list_display = ["user", "created_at", "updated_at", "expires_at", "revoked_at"]
    list_filter = ["revoked_at", "created_at"]
    list_select_related = ["user"]
    search_fields = ["user__username", "user__email"]
    date_hierarchy = "created_at"
    readonly_fields = ["id", "user", "created_at", "updated_at", "expires_at", "revoked_at"]
    exclude = ["current_jti"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A sign-in is made by signing in."""
        return False
