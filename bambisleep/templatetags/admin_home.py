"""The tag that gives the admin's home page its measures."""

from typing import Any

from django import template

from bambisleep import admin_home

register = template.Library()


@register.simple_tag(takes_context=True)
def delivery_overview(context: template.Context) -> admin_home.Overview | None:
    """What the home page shows of the deliveries; None for a user who may not see deployments."""
    request: Any = context["request"]
    if not request.user.has_perm("delivery.view_deployment"):
        return None
    return admin_home.overview(request.GET)
