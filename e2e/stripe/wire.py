"""How Stripe's API is spoken: forms with brackets, errors, values, and the expansion of ids.

It knows nothing of billing. Everything that comes in is text, as in a form; everything that goes out is plain JSON.
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

Object = dict[str, Any]

VERSION = "2026-05-27.dahlia"
DEEPEST_EXPANSION = 4


class Refused(Exception):
    """An error in the form that Stripe gives it (docs.stripe.com/api/errors)."""

    def __init__(self, message: str, *, status: int = 400, type: str = "invalid_request_error", **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.error: Object = {"type": type, "message": message, **more}

    @property
    def body(self) -> Object:
        """What goes over the wire."""
        return {"error": self.error}


def missing(kind: str, id: str, *, param: str | None = None) -> Refused:
    """No such object: 404 for one in the path, 400 for one that a parameter names."""
    message = f"No such {kind}: '{id}'"
    return Refused(message, status=400 if param else 404, code="resource_missing", param=param or "id")


def parse_form(text: str) -> Object:
    """`items[0][price]=p&expand[]=a` as `{"items": [{"price": "p"}], "expand": ["a"]}`."""
    tree: Object = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        *path, last = key.replace("]", "").split("[")
        node = tree
        for part in path:
            child = node.setdefault(part or str(len(node)), {})
            if not isinstance(child, dict):
                raise Refused(f"Invalid parameter: {key}", param=key)
            node = child
        node[last or str(len(node))] = value
    return {key: _with_lists(key, value) for key, value in tree.items()}


def _with_lists(name: str, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if name != "metadata" and all(key.isdigit() for key in value):
        return [_with_lists("", value[key]) for key in sorted(value, key=int)]
    return {key: _with_lists(key, child) for key, child in value.items()}


def as_text(value: Any) -> Any:
    """A parameter given as Python's own value, as it would come out of a form."""
    if isinstance(value, Mapping):
        return {key: as_text(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_text(child) for child in value]
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def flag(params: Mapping[str, Any], name: str, default: bool = False) -> bool:
    """A parameter that is true or false."""
    value = params.get(name, "")
    if value in {"", "true", "false"}:
        return default if value == "" else bool(value == "true")
    raise Refused(f"Invalid boolean: {value}", param=name)


def truths(value: Any) -> Any:
    """A parameter that is kept as it is given, with its booleans as such."""
    if isinstance(value, dict):
        return {key: truths(child) for key, child in value.items()}
    if isinstance(value, list):
        return [truths(child) for child in value]
    return {"true": True, "false": False}.get(value, value)


def whole(params: Mapping[str, Any], name: str) -> int | None:
    """A parameter that is a whole number; None where it is left out or empty."""
    value = params.get(name, "")
    if value == "":
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        raise Refused(f"Invalid integer: {value}", param=name, code="parameter_invalid_integer") from None


def required(params: Mapping[str, Any], *names: str) -> None:
    """Refuse where one of `names` is left out."""
    for name in names:
        if params.get(name, "") == "":
            raise Refused(f"Missing required param: {name}.", param=name, code="parameter_missing")


def known(params: Mapping[str, Any], names: str) -> None:
    """Refuse what the endpoint does not take; `names` are separated by spaces."""
    unknown = set(params) - set(names.split())
    if unknown:
        name = sorted(unknown)[0]
        raise Refused(f"Received unknown parameter: {name}", param=name, code="parameter_unknown")


def listed(data: list[Object], url: str, *, has_more: bool = False) -> Object:
    """A page of a list."""
    return {"object": "list", "data": data, "has_more": has_more, "url": url}


def expand(body: Object, paths: list[str], resolve: Callable[[Object, str], Any]) -> None:
    """Put objects in the place of their ids along `paths`, within `body`.

    Args:
        body: what is answered, not shared with the state.
        paths: such as `latest_invoice.payments` or `data.customer`.
        resolve: gives what stands at a key of an object once it is expanded; raises KeyError where nothing does.
    """
    for path in paths:
        keys = path.split(".")
        if len(keys) > DEEPEST_EXPANSION:
            raise Refused(f"You cannot expand more than 4 levels of a property: {path}", param="expand")
        _expand(body, keys, resolve, path)


def _expand(node: Any, keys: list[str], resolve: Callable[[Object, str], Any], path: str) -> None:
    if isinstance(node, list):
        for element in node:
            _expand(element, keys, resolve, path)
    elif isinstance(node, dict) and keys:
        key, *rest = keys
        try:
            node[key] = resolve(node, key)
        except KeyError:
            raise Refused(f"This property cannot be expanded ({path}).", param="expand") from None
        _expand(node[key], rest, resolve, path)


def difference(before: Object, after: Object) -> Object:
    """What `previous_attributes` of an event says: the former value of each key that changed."""
    changed: Object = {}
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        both = isinstance(old, dict) and isinstance(new, dict) and "id" not in old
        changed[key] = difference(old, new) if both else old  # type: ignore[arg-type]
    return changed
