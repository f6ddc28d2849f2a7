"""What players tell, as JSON: parse, call, answer. The page's token stands for the page; the session says who it is."""

from typing import Any, cast

from django.conf import settings
from django.http import HttpRequest
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from observability import security
from observability.problems import Problem

from . import players, viewings
from .viewings import Beacon, Refused

MOST_BYTES = 8 * 1024
MOST_SEGMENTS = 50
MOST_SECONDS = 7 * 24 * 3600.0
MOST_BEACONS = 2**31 - 1


class TooLarge(Problem):
    """A beacon longer than any that a player sends (413)."""

    status = 413


@extend_schema_field({"type": "number", "minimum": 0, "maximum": MOST_SECONDS})
class Seconds(serializers.Field[float, Any, float, Any]):
    """A finite number of seconds; what is no number in JSON is none here."""

    def to_internal_value(self, data: Any) -> float:
        """The number; raises ValidationError."""
        if isinstance(data, bool) or not isinstance(data, int | float):
            raise serializers.ValidationError("A number of seconds is needed.")
        if not 0 <= data <= MOST_SECONDS:  # which NaN is not either
            raise serializers.ValidationError(f"It is between 0 and {MOST_SECONDS:.0f}.")
        return float(data)

    def to_representation(self, value: float) -> float:
        """The number."""
        return value


@extend_schema_field({"type": "integer", "minimum": 1, "maximum": MOST_BEACONS})
class Sequence(serializers.Field[int, Any, int, Any]):
    """The number of a beacon."""

    def to_internal_value(self, data: Any) -> int:
        """The number; raises ValidationError."""
        if isinstance(data, bool) or not isinstance(data, int) or not 1 <= data <= MOST_BEACONS:
            raise serializers.ValidationError(f"It is a whole number from 1 to {MOST_BEACONS}.")
        return data

    def to_representation(self, value: int) -> int:
        """The number."""
        return value


class BeaconFields(serializers.Serializer[Any]):
    """A beacon. All but the position is since the page was loaded."""

    token = serializers.CharField(max_length=1000, help_text="As the page gave it to its player.")
    device = serializers.UUIDField(
        required=False, help_text="Made at random and kept by a browser in which nobody is signed in."
    )
    sequence = Sequence(help_text="Ascending. What is not above the last one is left aside.")
    played = Seconds(help_text="For how many seconds, by the clock, the recording advanced.")
    position = Seconds(help_text="Where in the recording the player stands, in seconds.")
    duration = Seconds(required=False, allow_null=True, help_text="The recording's length in seconds.")
    segments = serializers.ListField(
        child=serializers.ListField(child=Seconds(), min_length=2, max_length=2),
        required=False,
        max_length=MOST_SEGMENTS,
        help_text="What was played: [from, to] in the recording, in seconds.",
    )


class Taken(serializers.Serializer[Any]):
    """Whether it was news."""

    accepted = serializers.BooleanField()


class SessionUser(BaseAuthentication):
    """Whoever is signed in with a browser. Without a CSRF token, which no beacon of a page that is left can carry: the
    token of the page, which only that page has, stands in for it."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        """(user, None), or None where nobody is signed in."""
        user = request._request.user
        return (user, None) if isinstance(user, User) and user.is_active else None


class BeaconView(APIView):
    """Takes beacons."""

    authentication_classes = [SessionUser]
    permission_classes = [AllowAny]

    @extend_schema(request=BeaconFields, responses={200: Taken}, auth=[])
    def post(self, request: Request) -> Response:
        """Tell what was played on a page.

        For the players of this site's own pages, with their browser's session. A beacon that came before, or after a
        later one, is answered too, with `accepted` false: whoever sent it need not send it again.
        """
        plain = request._request
        refuse_others(plain)
        if len(plain.body) > MOST_BYTES:
            raise TooLarge(f"A beacon has at most {MOST_BYTES} bytes.")
        serializer = BeaconFields(data=request.data)
        serializer.is_valid(raise_exception=True)
        told = serializer.validated_data
        claims = players.read(told["token"])
        if claims is None:
            security.record(type="bad_signature", detail="a player's token")
            raise Refused("bad_token", "The token is not of this site: reload the page.")
        user = cast(Any, request.user)
        device = told["device"].hex if "device" in told else ""
        accepted = viewings.tell(
            Beacon(
                sequence=told["sequence"],
                played_seconds=told["played"],
                position_seconds=told["position"],
                duration_seconds=told.get("duration") or None,
                segments=told.get("segments", ()),
            ),
            claims,
            user=user,
            device=viewings.device_of(user, plain.session.session_key, device),
        )
        return Response({"accepted": accepted})


def refuse_others(request: HttpRequest) -> None:
    """Raise Refused where another site's page sends this; without the header, no page's script does."""
    origin = request.headers.get("Origin")
    ours = {f"{request.scheme}://{request.get_host()}", *settings.CSRF_TRUSTED_ORIGINS}
    if origin is not None and origin not in ours:
        security.record(type="bad_origin", detail=origin)
        raise Refused("bad_origin", "This is for the players of this site alone.")
