"""Accounts in the admin: who they are, where they are signed in, what failed, and what staff may do about it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from allauth.account.models import EmailAddress, EmailConfirmation
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from axes.models import AccessFailureLog
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.db.models import Count, DateTimeField, Exists, IntegerField, Max, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Lower
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone

from observability.admin import ReadOnly

from . import lockout, membership, personal_data, registration, sessions, tokens
from .forms import GiveMembershipForm, lies_ahead
from .models import Membership, OutgoingMail, RefreshFamily, User

for model in (
    EmailAddress,
    EmailConfirmation,
    Authenticator,
    UserSession,
):  # allauth's own pages show, and change, more
    if admin.site.is_registered(model):
        admin.site.unregister(model)


RIGHTS = ["is_staff", "is_superuser", "groups", "user_permissions"]
ANOTHER_ADDRESS = (
    "Another address replaces all that the account has, and a mail asks for it to be verified. Whoever is signed in "
    "to the account is signed out. Make sure who is asking: by its mails, a password is reset."
)
FOREVER = datetime(9999, 12, 31, tzinfo=UTC)


class Confirmed:
    """Actions that ask first, on the page that deliveries use too."""

    def confirmed(
        self, request: HttpRequest, rows: QuerySet[Any], *, button: str, question: str, warnings: Sequence[str] = ()
    ) -> TemplateResponse | None:
        """The page that asks; None once it was answered."""
        if request.POST.get("confirmed") == "yes":
            return None
        model_admin: Any = self
        context = {
            **model_admin.admin_site.each_context(request),
            "title": question,
            "button": button,
            "opts": model_admin.opts,
            "rows": [(row, str(row)) for row in rows],
            "warnings": warnings,
            "action": request.POST["action"],
            "origin": "",
            "origin_url": request.get_full_path(),
        }
        return TemplateResponse(request, "admin/confirm_action.html", context)


@admin.register(User)
class AccountAdmin(Confirmed, UserAdmin[User]):
    """Users, newest first, with where they are signed in and until when they are members."""

    list_display = [
        "username", "email", "verified", "is_active", "is_staff", "second_factor", "signed_in", "failures",
        "member_until", "last_login", "date_joined",
    ]  # fmt: skip
    list_filter = ["is_active", "is_staff", "is_superuser", ("deletion_requested_at", admin.EmptyFieldListFilter)]
    date_hierarchy = "date_joined"
    ordering = ["-date_joined"]
    readonly_fields = ["last_login", "date_joined", "deletion_requested_at"]
    add_fieldsets = ((None, {"fields": ("username", "email", "usable_password", "password1", "password2")}),)
    actions = ["sign_out_everywhere", "unlock", "deactivate", "activate", "give_membership"]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        """What a person may do is for superusers to say."""
        fixed = [*super().get_readonly_fields(request, obj)]
        return fixed if _staff(request).is_superuser else [*fixed, *RIGHTS]

    def get_form(self, request: HttpRequest, obj: User | None = None, change: bool = False, **more: Any) -> Any:
        """With a word on what another e-mail address means."""
        if change:
            more["help_texts"] = {"email": ANOTHER_ADDRESS}
        return super().get_form(request, obj, change=change, **more)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Staff are changed, and given new passwords, by superusers alone."""
        theirs = obj is None or not (obj.is_staff or obj.is_superuser) or _staff(request).is_superuser
        return theirs and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Nobody: accounts are erased by `manage.py erase_accounts`, with all that is kept elsewhere."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """With what the list shows of other tables, in the one query."""
        now = timezone.now()
        verified = EmailAddress.objects.filter(user=OuterRef("pk"), verified=True)
        factors = Authenticator.objects.filter(user=OuterRef("pk")).exclude(type=Authenticator.Type.RECOVERY_CODES)
        failed = AccessFailureLog.objects.filter(username=Lower(OuterRef("username")))
        current = Membership.objects.filter(user=OuterRef("pk")).current(now)
        forever = Value(FOREVER, output_field=DateTimeField())
        return (
            super()
            .get_queryset(request)
            .annotate(
                has_verified=Exists(verified),
                has_factor=Exists(factors),
                browsers=_number(UserSession.objects.filter(user=OuterRef("pk")), "user"),
                clients=_number(RefreshFamily.objects.live(now).filter(user=OuterRef("pk")), "user"),
                failed=_number(failed, "username"),
                until=Subquery(
                    current.order_by()
                    .values("user")
                    .annotate(latest=Max(Coalesce("ends_at", forever)))
                    .values("latest")
                ),
            )
        )

    @admin.display(boolean=True, description="verified")
    def verified(self, user: Any) -> bool:
        """Whether an e-mail address is verified."""
        return bool(user.has_verified)

    @admin.display(boolean=True, description="second factor")
    def second_factor(self, user: Any) -> bool:
        """Whether signing in takes more than the password."""
        return bool(user.has_factor)

    @admin.display(description="signed in")
    def signed_in(self, user: Any) -> str:
        """Browsers and API clients."""
        return f"{user.browsers} + {user.clients}"

    @admin.display(description="failed sign-ins", ordering="failed")
    def failures(self, user: Any) -> int:
        """In the last days."""
        return int(user.failed)

    @admin.display(description="member until", ordering="until")
    def member_until(self, user: Any) -> str:
        """The end of the membership that lasts longest."""
        if user.until is None:
            return "–"
        return "ended by hand" if user.until == FOREVER else f"{user.until:%Y-%m-%d}"

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Save; who may no longer sign in is out at once, and another address has to be verified."""
        super().save_model(request, obj, form, change)
        if not change:
            return
        if not obj.is_active and "is_active" in form.changed_data:
            sessions.end_all(obj, reason="deactivated")
            for warning in _charged([obj]):
                messages.warning(request, warning)
        if "email" in form.changed_data and obj.email != form.initial["email"].lower():
            registration.replace_address(request=request, user=obj)
            self.log_change(request, obj, "Another e-mail address: to be verified, signed out everywhere.")

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """Change a user's password, and end every sign-in made with the former one."""
        is_number = id.isascii() and id.isdigit() and len(id) < 19
        before = User.objects.filter(pk=id).values_list("password", flat=True).first() if is_number else None
        response: HttpResponse = super().user_change_password(request, id, form_url)
        user = User.objects.filter(pk=id).exclude(password=before).first() if before is not None else None
        if user is not None:
            own = request if user.pk == request.user.pk else None
            sessions.end_all(user, reason="password_changed", keep=own)
        return response

    @admin.action(description="Sign out everywhere", permissions=["change"])
    def sign_out_everywhere(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        """End every session of the accounts."""
        page = self.confirmed(request, queryset, button="Sign out", question="Sign out everywhere?")
        if page is None:
            for user in _changeable(request, queryset):
                sessions.end_all(user, reason="signed_out")
                self.log_change(request, user, "Signed out everywhere.")
                messages.success(request, f"{user} is signed out everywhere.")
        return page

    @admin.action(description="Unlock: forget failed sign-ins", permissions=["change"])
    def unlock(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Let the accounts try again at once."""
        for user in _changeable(request, queryset):
            number = lockout.unlock(key=lockout.key_of(user))
            self.log_change(request, user, f"Unlocked: {number} failures forgotten.")
            messages.success(request, f"{user}: {number} failures forgotten.")

    @admin.action(description="Deactivate", permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        """Keep the accounts from signing in, and sign them out at once."""
        question, warnings = "Deactivate these accounts?", _charged(queryset)
        page = self.confirmed(request, queryset, button="Deactivate", question=question, warnings=warnings)
        if page is None:
            for user in _changeable(request, queryset).exclude(pk=_staff(request).pk):
                User.objects.filter(pk=user.pk).update(is_active=False, updated_at=timezone.now())
                sessions.end_all(user, reason="deactivated")
                self.log_change(request, user, "Deactivated.")
                messages.success(request, f"{user} is deactivated.")
            if queryset.filter(pk=_staff(request).pk).exists():
                messages.warning(request, "Your own account was left as it is.")
        return page

    @admin.action(description="Activate", permissions=["change"])
    def activate(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Let the accounts sign in."""
        for user in _changeable(request, queryset):
            User.objects.filter(pk=user.pk).update(is_active=True, updated_at=timezone.now())
            self.log_change(request, user, "Activated.")
            messages.success(request, f"{user} may sign in.")

    @admin.action(description="Give a membership", permissions=["change"])
    def give_membership(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse:
        """Ask for the reason and the end, then give."""
        form = GiveMembershipForm(request.POST if request.POST.get("confirmed") == "yes" else None)
        if form.is_valid():
            by = _staff(request)
            for user in queryset:
                membership.give(user=user, by=by, **form.cleaned_data)
                self.log_change(request, user, f"Membership given: {form.cleaned_data['reason']}")
                messages.success(request, f"{user} is a member.")
            return HttpResponseRedirect(request.get_full_path())
        context = {
            **self.admin_site.each_context(request),
            "title": "Give a membership",
            "opts": self.opts,
            "rows": list(queryset),
            "form": form,
        }
        return TemplateResponse(request, "admin/give_membership.html", context)


def _staff(request: HttpRequest) -> User:
    """Whoever is signed in to the admin."""
    return cast(User, request.user)


def _changeable(request: HttpRequest, users: QuerySet[User]) -> QuerySet[User]:
    """Those that whoever is signed in may change: staff only for superusers."""
    return users if _staff(request).is_superuser else users.filter(is_staff=False, is_superuser=False)


def _charged(users: Sequence[User] | QuerySet[User]) -> list[str]:
    """What to say to who deactivates accounts that are charged, where some are."""
    number = len(personal_data.charged(users))
    who = "It goes" if len(users) == 1 else "1 of them goes" if number == 1 else f"{number} of them go"
    ends = "which deactivating does not end: cancel it at Stripe, where it should not be paid any more."
    return [f"{who} on being charged for a subscription, {ends}"] if number else []


def _number(rows: QuerySet[Any], group: str) -> Any:
    """How many `rows` of an outer row there are, as a subquery."""
    counted = rows.order_by().values(group).annotate(number=Count("pk")).values("number")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


@admin.register(Membership)
class MembershipAdmin(Confirmed, admin.ModelAdmin[Membership]):
    """Who may see members' content, until when, and why."""

    list_display = ["user", "source", "reason", "given_by", "starts_at", "ends_at", "in_force"]
    list_filter = ["source", "starts_at", ("ends_at", admin.EmptyFieldListFilter)]
    list_select_related = ["user", "given_by"]
    search_fields = ["user__username", "user__email", "reason"]
    date_hierarchy = "starts_at"
    autocomplete_fields = ["user"]
    fields = ["user", "reason", "ends_at"]
    actions = ["end_now"]

    def has_change_permission(self, request: HttpRequest, obj: Membership | None = None) -> bool:
        """A membership is given and ended, not rewritten; so a row can be looked at only."""
        return obj is None and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Membership | None = None) -> bool:
        """Nobody: that it once was is kept."""
        return False

    @admin.display(boolean=True, description="in force")
    def in_force(self, row: Membership) -> bool:
        """Whether it holds now."""
        now = timezone.now()
        return row.starts_at <= now and (row.ends_at is None or row.ends_at > now)

    def save_model(self, request: HttpRequest, obj: Membership, form: Any, change: bool) -> None:
        """Give it, by word of whoever is signed in."""
        obj.source, obj.given_by_id = Membership.Source.STAFF, request.user.pk
        super().save_model(request, obj, form, change)
        membership.announce(user_id=obj.user_id)

    def get_form(self, request: HttpRequest, obj: Membership | None = None, change: bool = False, **more: Any) -> Any:
        """With the reason required, and an end that lies ahead."""
        form = super().get_form(request, obj, change, **more)
        if "ends_at" in form.base_fields:
            form.base_fields["ends_at"].validators = [*form.base_fields["ends_at"].validators, lies_ahead]
        if "reason" in form.base_fields:
            form.base_fields["reason"].required = True
        return form

    @admin.action(description="End now", permissions=["change"])
    def end_now(self, request: HttpRequest, queryset: QuerySet[Membership]) -> HttpResponse | None:
        """End memberships that are in force."""
        page = self.confirmed(request, queryset, button="End", question="End these memberships now?")
        if page is None:
            for row in queryset:
                if row.source == Membership.Source.SUBSCRIPTION and self.in_force(row):
                    messages.error(
                        request,
                        f"{row}: left as it is. It is paid for, so Stripe would open it again and go on charging: "
                        "cancel the subscription at Stripe, and it ends here too.",
                    )
                elif membership.end(row):
                    self.log_change(request, row, "Ended.")
                    messages.success(request, f"{row}: ended.")
                else:
                    messages.warning(request, f"{row}: it was not in force.")
        return page


@admin.register(UserSession)
class UserSessionAdmin(ReadOnly, Confirmed, admin.ModelAdmin[Any]):
    """Where people are signed in with a browser."""

    list_display = ["user", "ip", "user_agent", "created_at", "last_seen_at"]
    list_filter = ["created_at"]
    list_select_related = ["user"]
    search_fields = ["user__username", "user__email", "ip"]
    date_hierarchy = "last_seen_at"
    fields = ["user", "ip", "user_agent", "created_at", "last_seen_at"]
    actions = ["end"]

    def has_end_permission(self, request: HttpRequest) -> bool:
        """Who may change accounts."""
        return request.user.has_perm("accounts.change_user")

    @admin.action(description="End", permissions=["end"])
    def end(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Sign the browsers out."""
        page = self.confirmed(request, queryset, button="End", question="End these sessions?")
        if page is None:
            for row in queryset.filter(user__in=_changeable(request, User.objects.all())):
                row.end()
                self.log_change(request, row.user, "A browser was signed out.")
                messages.success(request, f"{row}: ended.")
        return page


@admin.register(RefreshFamily)
class RefreshFamilyAdmin(ReadOnly, Confirmed, admin.ModelAdmin[RefreshFamily]):
    """Where people are signed in over the API."""

    list_display = ["user", "created_at", "updated_at", "expires_at", "revoked_at"]
    list_filter = [("revoked_at", admin.EmptyFieldListFilter), "created_at"]
    list_select_related = ["user"]
    search_fields = ["user__username", "user__email"]
    date_hierarchy = "created_at"
    exclude = ["current_jti"]
    actions = ["revoke"]

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Who may change accounts."""
        return request.user.has_perm("accounts.change_user")

    @admin.action(description="End", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[RefreshFamily]) -> HttpResponse | None:
        """End the sign-ins; their tokens are worth nothing from then on."""
        page = self.confirmed(request, queryset, button="End", question="End these sign-ins?")
        if page is None:
            theirs = queryset.filter(user__in=_changeable(request, User.objects.all()))
            users = list(User.objects.filter(refresh_families__in=theirs).distinct())
            number = tokens.revoke_all(theirs)
            for user in users:
                self.log_change(request, user, "Sign-ins over the API were ended.")
            messages.success(request, f"{number} ended.")
        return page


@admin.register(AccessFailureLog)
class FailedSignInAdmin(ReadOnly, admin.ModelAdmin[Any]):
    """Sign-ins that failed, by the name that was tried."""

    list_display = ["attempt_time", "username", "ip_address", "path_info", "user_agent"]
    list_filter = ["attempt_time", "path_info"]
    search_fields = ["username", "ip_address"]
    date_hierarchy = "attempt_time"
    fields = ["attempt_time", "username", "ip_address", "path_info", "user_agent"]
    actions = ["unlock"]

    def has_unlock_permission(self, request: HttpRequest) -> bool:
        """Who may change accounts."""
        return request.user.has_perm("accounts.change_user")

    @admin.action(description="Unlock the accounts", permissions=["unlock"])
    def unlock(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Forget every failure of the names chosen; of staff's, for superusers."""
        for name in sorted(set(queryset.values_list("username", flat=True))):
            user = User.objects.by_name_or_email(name)
            if user is not None and not _changeable(request, User.objects.filter(pk=user.pk)).exists():
                continue
            tried = user or queryset.filter(username=name).first()  # nobody may have that name
            number = lockout.unlock(key=name)
            self.log_change(request, tried, f"Unlocked: {number} failures forgotten.")
            messages.success(request, f"{name}: {number} failures forgotten.")


@admin.register(Authenticator)
class SecondFactorAdmin(ReadOnly, admin.ModelAdmin[Any]):
    """Second factors, without what they are made of. Deleting one lets in who has lost it."""

    list_display = ["user", "type", "created_at", "last_used_at"]
    list_filter = ["type", "created_at"]
    list_select_related = ["user"]
    search_fields = ["user__username", "user__email"]
    fields = ["user", "type", "created_at", "last_used_at"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Superusers, after they have made sure who is asking."""
        return bool(request.user.is_superuser)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """In the history of the account: what its owner called a key is the owner's, and goes with it."""
        return [
            self.log_change(request, factor.user, f"Second factor deleted: {factor.get_type_display()}.")
            for factor in queryset
        ]


@admin.register(EmailAddress)
class EmailAddressAdmin(ReadOnly, admin.ModelAdmin[Any]):
    """E-mail addresses, and whose they are."""

    list_display = ["email", "user", "verified", "primary"]
    list_filter = ["verified", "primary"]
    list_select_related = ["user"]
    search_fields = ["email", "user__username"]


@admin.register(OutgoingMail)
class OutgoingMailAdmin(ReadOnly, admin.ModelAdmin[OutgoingMail]):
    """Mails that no server has taken yet; what they say is for their readers."""

    list_display = ["created_at", "subject", "tries", "next_try_at", "last_error"]
    list_filter = [("last_error", admin.EmptyFieldListFilter)]
    fields = ["created_at", "subject", "tries", "next_try_at", "last_error"]
