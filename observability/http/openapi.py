"""How errors stand in the OpenAPI document: as problem details, on every operation."""

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent

PROBLEM = {
    "type": "object",
    "description": "RFC 9457, with the request id to quote to the operator.",
    "required": ["type", "title", "status", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Which reason it is, where one status has several."},
        "request_id": {"type": "string"},
        "errors": {
            "type": "object",
            "additionalProperties": {
                "oneOf": [
                    {"type": "array", "items": {"type": "string"}, "description": "What is wrong with the field."},
                    {"type": "object", "description": "Of a list: what is wrong with an entry, by its index."},
                ]
            },
        },
    },
}
COMMON = {
    "400": "The request is not valid.",
    "401": "Not signed in, or the token is not valid.",
    "403": "Not for whoever asks.",
    "405": "The method is not allowed here.",
    "406": "No acceptable representation.",
    "413": "The request is too large.",
    "415": "The body's media type is not supported.",
    "429": "Too many attempts. Retry-After says for how long.",
    "503": "Something that is needed does not answer. Try again later.",
}


def link(operation_id: str, **found: Any) -> dict[str, Any]:
    """Which operation a successful answer leads to, and with what (OpenAPI's link object).

    A view names them as `links = {"POST": {"read": link("rows_read", parameters={"id": "$response.body#/id"})}}`.

    Args:
        operation_id: of the operation that may follow.
        found: `parameters` or `requestBody`, as runtime expressions.
    """
    return {"operationId": operation_id, **found}


class ProblemAutoSchema(AutoSchema):
    """drf-spectacular's, with the errors that any operation may answer, and links and conflicts that its view names.

    What it answers with 409 it names as `conflicts = {"PATCH": "It has ended already."}`.
    """

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """The operation object, with problem responses added where it declares none of its own."""
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is not None:
            problem = ResolvedComponent("Problem", ResolvedComponent.SCHEMA, PROBLEM, object="Problem")  # type: ignore[no-untyped-call]
            self.registry.register_on_missing(problem)
            content = {"application/problem+json": {"schema": problem.ref}}
            of_a_row = {"404": "There is no such row."} if "{" in self.path else {}
            conflict = getattr(self.view, "conflicts", {}).get(self.method)
            of_its_own = of_a_row | ({"409": conflict} if conflict else {})
            links = getattr(self.view, "links", {}).get(self.method)
            for status, answer in operation["responses"].items():
                if links and status.startswith("2"):
                    answer["links"] = links
            for status, description in {**COMMON, **of_its_own}.items():
                operation["responses"].setdefault(status, {"description": description, "content": content})
        return operation
