"""Writing a Content-Security-Policy. Imported by the settings, so it imports nothing of Django."""

from collections.abc import Mapping


def content_security_policy(directives: Mapping[str, str], **changed: str) -> str:
    """The header's value.

    Args:
        directives: name to sources, such as `{"img-src": "'self'"}`.
        changed: what one page needs otherwise, such as `img_src="'self' data:"`.
    """
    policy = {**directives, **{name.replace("_", "-"): sources for name, sources in changed.items()}}
    return "; ".join(f"{name} {sources}".strip() for name, sources in policy.items())
