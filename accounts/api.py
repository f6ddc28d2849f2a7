"""The JSON API for accounts: parse, call, answer."""

from dataclasses import asdict
from typing import Any, cast

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from observability.http.openapi import link

from . import sessions, sign_in
from .models import User


class Registration(serializers.Serializer[Any]):
    """A new account."""

    username = serializers.CharField(max_length=150)
    email = serializers.EmailField(max_length=254)
    password = serializers.CharField(max_length=1024, trim_whitespace=False, write_only=True)


class Credentials(serializers.Serializer[Any]):
    """A name, or an e-mail address, and a password."""

    username = serializers.CharField(max_length=254)
    password = serializers.CharField(max_length=1024, trim_whitespace=False, write_only=True)
    code = serializers.CharField(
        max_length=32,
        required=False,
        default="",
        allow_blank=True,
        write_only=True,
        help_text="Of the authenticator app, or a recovery code, where the account has a second factor.",
    )


class PasswordChange(serializers.Serializer[Any]):
    """The password as it is, and as it shall be."""

    current_password = serializers.CharField(max_length=1024, trim_whitespace=False, write_only=True)
    new_password = serializers.CharField(max_length=1024, trim_whitespace=False, write_only=True)


class RefreshRequest(serializers.Serializer[Any]):
    """A refresh token."""

    refresh = serializers.CharField(max_length=4096)


class Tokens(serializers.Serializer[Any]):
    """A pair of tokens; `expires_in` is the access token's life in seconds."""

    access = serializers.CharField()
    refresh = serializers.CharField()
    expires_in = serializers.IntegerField()


class Account(serializers.ModelSerializer[User]):
    """Who you are."""

    class Meta:
        model = User
        fields = ["id", "username", "email", "date_joined", "is_staff"]
        read_only_fields = fields


SIGNED_IN = {
    "refresh": link("auth_refresh_create", requestBody={"refresh": "$response.body#/refresh"}),
    "sign_out": link("auth_logout_create", requestBody={"refresh": "$response.body#/refresh"}),
}


class OpenView(APIView):
    """A view that whoever has no token yet may call. A body that cannot be read is a failed attempt too."""

    authentication_classes = ()
    permission_classes = [AllowAny]
    attempt_type: str

    def parsed(self, request: Request, serializer_class: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """The body's valid fields; raises what DRF raises for a body that is not valid."""
        try:
            serializer = serializer_class(data=request.data)
            serializer.is_valid(raise_exception=True)
        except APIException:
            sign_in.malformed(self.attempt_type)
            raise
        fields: dict[str, Any] = serializer.validated_data
        return fields


class RegisterView(OpenView):
    """Open an account."""

    attempt_type = "register"
    links = {
        "POST": {
            "sign_in": link(
                "auth_login_create",
                requestBody={"username": "$request.body#/username", "password": "$request.body#/password"},
            )
        }
    }

    @extend_schema(request=Registration, responses={201: Account}, auth=[])
    def post(self, request: Request) -> Response:
        """Open an account."""
        user = sign_in.register(request=request._request, **self.parsed(request, Registration))
        return Response(Account(user).data, status=status.HTTP_201_CREATED)


class LoginView(OpenView):
    """Sign in."""

    attempt_type = "login"
    links = {"POST": SIGNED_IN}

    @extend_schema(request=Credentials, responses={200: Tokens}, auth=[])
    def post(self, request: Request) -> Response:
        """Sign in by name or verified e-mail address.

        Where the account has a second factor, the answer to a right password alone is 401 with the code
        `second_factor_required`: send all three.
        """
        return Response(asdict(sign_in.sign_in(request=request._request, **self.parsed(request, Credentials))))


class RefreshView(OpenView):
    """Stay signed in."""

    attempt_type = "jwt"
    links = {"POST": SIGNED_IN}

    @extend_schema(request=RefreshRequest, responses={200: Tokens}, auth=[])
    def post(self, request: Request) -> Response:
        """Exchange a refresh token for a new pair; the old one is worth nothing from then on."""
        return Response(asdict(sign_in.refresh(token=self.parsed(request, RefreshRequest)["refresh"])))


class LogoutView(OpenView):
    """Sign out."""

    attempt_type = "jwt"

    @extend_schema(request=RefreshRequest, responses={204: None}, auth=[])
    def post(self, request: Request) -> Response:
        """End the session that a refresh token belongs to."""
        sign_in.sign_out(token=self.parsed(request, RefreshRequest)["refresh"])
        return Response(status=status.HTTP_204_NO_CONTENT)


class MeView(APIView):
    """Who you are."""

    permission_classes = [IsAuthenticated]

    @extend_schema(responses={200: Account})
    def get(self, request: Request) -> Response:
        """The account that the bearer token belongs to."""
        return Response(Account(cast(User, request.user)).data)


class LogoutAllView(APIView):
    """Sign out everywhere."""

    permission_classes = [IsAuthenticated]

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request) -> Response:
        """End every session of the account, in browsers and API clients, this one included."""
        sessions.end_all(cast(User, request.user), reason="signed_out")
        return Response(status=status.HTTP_204_NO_CONTENT)


class PasswordView(APIView):
    """The password."""

    permission_classes = [IsAuthenticated]

    @extend_schema(request=PasswordChange, responses={200: Tokens})
    def put(self, request: Request) -> Response:
        """Change the password: every session ends, and a new one begins with the tokens returned."""
        serializer = PasswordChange(data=request.data)
        serializer.is_valid(raise_exception=True)
        pair = sign_in.change_password(
            request=request._request,
            user=cast(User, request.user),
            current=serializer.validated_data["current_password"],
            new=serializer.validated_data["new_password"],
        )
        return Response(asdict(pair))
