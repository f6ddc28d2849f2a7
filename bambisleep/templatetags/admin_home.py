"""The tags that give the admin's home page its measures, and what is to look at among the payments and in the chat."""

from typing import Any

from django import template

from bambisleep import admin_home
from payments import admin_overview
from realtime import access, attention

register = template.Library()


@register.simple_tag(takes_context=True)
def delivery_overview(context: template.Context) -> admin_home.Overview | None:
    """What the home page shows of the deliveries; None for a user who may not see deployments."""
    request: Any = context["request"]
    if not request.user.has_perm("delivery.view_deployment"):
        return None
    return admin_home.overview(request.GET)


@register.simple_tag(takes_context=True)
def payments_summary(context: template.Context) -> dict[str, list[admin_overview.Link]] | None:
    """What somebody should look at among the payments; None for a user who may not see them."""
    request: Any = context["request"]
    if not request.user.has_perms(admin_overview.RIGHTS):
        return None
    return {"attention": admin_overview.attention()}


@register.simple_tag(takes_context=True)
def chat_attention(context: template.Context) -> list[attention.Link]:
    """What a moderator should look at; nothing for anybody else."""
    request: Any = context["request"]
    return attention.links() if access.may_moderate(request.user) else []
