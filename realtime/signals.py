"""Hears of changed access, and leaves word for every process (`changes`).

What lapses with time alone says nothing: every process looks at everybody now and then (`standing`).
"""

from typing import Any

from allauth.usersessions.models import UserSession
from django.contrib.auth.models import Group
from django.db.models import Model, QuerySet
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save
from django.dispatch import receiver

from accounts.models import User
from accounts.signals import access_changed

from .changes import leave_word, leave_word_of_all
from .models import Restriction

# What of a user's row decides who is there, and what they may do.
DECISIVE = ("is_active", "is_staff", "is_superuser", "password", "sign_outs")
FORMER = "_former_access"


@receiver(access_changed)
def _access_changed(sender: Any, user_id: int, **_: Any) -> None:
    leave_word(user_id=user_id)


@receiver(post_delete, sender=UserSession)
def _session_ended(sender: Any, instance: UserSession, **_: Any) -> None:
    """Signed out in one browser, ended on the page of sessions or in the admin, or past its age."""
    leave_word(user_id=instance.user_id, session_key=instance.session_key)


@receiver([post_save, post_delete], sender=Restriction)
def _restricted(sender: Any, instance: Restriction, **_: Any) -> None:
    leave_word(user_id=instance.user_id)


@receiver(pre_save, sender=User)
def _user_changes(sender: Any, instance: User, update_fields: Any = None, **_: Any) -> None:
    """Keep what the row says until now, where a save may change it: a sign-in, which notes its time, does not."""
    if instance.pk and (update_fields is None or set(DECISIVE) & set(update_fields)):
        setattr(instance, FORMER, User.objects.filter(pk=instance.pk).values_list(*DECISIVE).first())


@receiver(post_save, sender=User)
def _user_changed(sender: Any, instance: User, **_: Any) -> None:
    former = instance.__dict__.pop(FORMER, None)
    if former is not None and former != tuple(getattr(instance, name) for name in DECISIVE):
        leave_word(user_id=instance.pk)


@receiver(m2m_changed, sender=User.groups.through)
@receiver(m2m_changed, sender=User.user_permissions.through)
def _permissions_changed(
    sender: Any, instance: Model, action: str, reverse: bool, pk_set: set[int] | None, **_: Any
) -> None:
    concerned = _concerned(User, instance, action, reverse, pk_set)
    if concerned is not None:
        _look_again_at_staff(concerned)


@receiver(m2m_changed, sender=Group.permissions.through)
def _group_changed(sender: Any, instance: Model, action: str, reverse: bool, pk_set: set[int] | None, **_: Any) -> None:
    concerned = _concerned(Group, instance, action, reverse, pk_set)
    if concerned is not None:
        _look_again_at_staff(User.objects.filter(groups__in=concerned).distinct())


@receiver(pre_delete, sender=Group)
def _group_goes(sender: Any, instance: Group, **_: Any) -> None:
    _look_again_at_staff(User.objects.filter(groups=instance))


def _concerned(
    model: type[Model], instance: Model, action: str, reverse: bool, pk_set: set[int] | None
) -> QuerySet[Any] | None:
    """Whose permissions change: one row of `model`; or, seen from the other side, several, who are only known before
    all are taken away. None where nothing has changed (yet)."""
    if action not in {"post_add", "post_remove", "pre_clear"} or pk_set == set():
        return None
    if not reverse:
        return model._default_manager.filter(pk=instance.pk)
    if pk_set is None:
        return getattr(instance, f"{model._meta.model_name}_set").all()  # type: ignore[no-any-return]
    return model._default_manager.filter(pk__in=pk_set)


def _look_again_at_staff(users: Any) -> None:
    """Permissions are of use to staff alone."""
    leave_word_of_all(users.filter(is_staff=True).values_list("pk", flat=True))
