"""Real objects for the permission matrix: what a route's arguments name, belonging to one member where they can."""

from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any

from allauth.account.models import EmailAddress
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.webauthn.internal.auth import WebAuthn
from allauth.usersessions.models import UserSession
from axes.models import AccessFailureLog
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.utils import timezone
from fido2.cose import ES256
from fido2.webauthn import (
    AttestationObject,
    AttestedCredentialData,
    AuthenticatorAttestationResponse,
    AuthenticatorData,
    CollectedClientData,
    RegistrationResponse,
)

from accounts import tokens
from accounts.models import OutgoingMail, User
from bambisleep.tests.routes import Route
from content.models import Captions, Item, Upload
from content.tests import rows as library
from observability.delivery.models import DeployedCommit, Deployment, Incident, Pipeline
from observability.models import FactSample, MaintenanceTask, SecurityEvent
from payments.models import Customer
from payments.tests import rows as paid
from realtime.models import Room
from realtime.tests import rows as chat


@dataclass(slots=True)
class Objects:
    """One object of each model, and the values of the arguments that are no object."""

    owner: User
    deployment: Deployment
    incident: Incident
    item: Item
    room: Room
    values: dict[str, str] = field(default_factory=dict)

    def of(self, route: Route) -> dict[str, str]:
        """A value for each of the route's arguments."""
        values = dict(self.values)
        if route.model is not None:
            values["object_id"] = values["id"] = values["pk"] = str(_one(route.model, self.owner).pk)
        elif "incidents" in route.template:
            values["pk"] = str(self.incident.pk)
        elif "deployments" in route.template:
            values["pk"] = str(self.deployment.pk)
        elif route.template.startswith(("content/", "watch/")):
            values |= self._of_the_library(route.template)
        elif route.template.startswith("chat/"):
            values["slug"] = self.room.slug
        return {name: values[name] for name in route.arguments}

    def _of_the_library(self, template: str) -> dict[str, str]:
        """A film for members, and what belongs to it."""
        collection, tag, film = self.item.collection, self.item.tags.get(), self.item.media
        assert collection is not None
        assert film is not None
        slugs = {"content/collections/": collection.slug, "content/tags/": tag.slug}
        slug = next((slug for prefix, slug in slugs.items() if template.startswith(prefix)), self.item.slug)
        return {"slug": slug, "key": str(film.key), "pk": str(self.item.captions.get().pk)}


def objects_of(*, owner: User) -> Objects:
    """Make them."""
    now = timezone.now()
    service = {"service": "web", "environment": "production"}
    Pipeline.objects.create(**service)
    deployment = Deployment.objects.create(**service, version="1", external_id="1", status="succeeded", finished_at=now)
    DeployedCommit.objects.create(**service, deployment=deployment, sha="a" * 40, authored_at=now - timedelta(days=1))
    incident = Incident.objects.create(**service, title="Slow", started_at=now)
    EmailAddress.objects.create(user=owner, email=owner.email, verified=True, primary=True)
    key = WebAuthn.add(owner, "Key ring", _passkey()).instance
    Group.objects.create(name="Editors")
    owner.memberships.create(source="staff", reason="A test reader")
    AccessFailureLog.objects.create(username=owner.username, ip_address="203.0.113.7", path_info="/auth/login")
    OutgoingMail.objects.create(recipients=[owner.email], sender="site@example.org", subject="Hello", body="Hello")
    UserSession.objects.get_or_create(user=owner, session_key="a" * 32, defaults={"ip": "203.0.113.7"})
    SecurityEvent.objects.create(at=now, type="invalid_token", user=owner)
    FactSample.objects.get_or_create(fact="users", defaults={"checked_at": now})
    MaintenanceTask.objects.create(task="backup", started_at=now, succeeded_at=now)
    tokens.issue(owner)
    # Of the other mode, so that no page asks Stripe about it.
    customer = Customer.objects.create(user=owner, customer_id="cus_owner", livemode=True)
    bought = paid.subscription(customer, paid.plan())
    paid.invoice(bought)
    paid.movement("charge", 900, customer_id="cus_owner")
    paid.event(customer_id="cus_owner")
    item = library.members_item(kind="video", collection=library.collection())
    item.tags.create(slug="sleep", name="Sleep")
    library.media(item)
    Captions.objects.create(item=item, label="English", text="WEBVTT\n\n00:00.000 --> 00:01.000\nHello.\n")
    upload = Upload.objects.create(owner=owner, original_name="film.webm", size_bytes=10)
    library.viewing(item, user=owner)
    room = chat.members_room("night-room")
    said = chat.entry(room, author=owner)
    chat.report(said, reporter=owner)
    chat.restriction(owner, of=chat.room("elsewhere"))
    chat.action(owner, room=room, subject=owner)
    values = {
        "app_label": "accounts",
        "url": "nothing-here/",
        "content_type_id": str(ContentType.objects.get_for_model(User).pk),
        "object_id": str(owner.pk),
        "pk": str(key.pk),
        "key": "a-key-that-was-never-sent",
        "uidb36": user_pk_to_url_str(owner),
        "upload": str(upload.pk),
    }
    return Objects(owner, deployment, incident, item, room, values)


def _passkey() -> dict[str, Any]:
    """What a browser sends when it has made a passkey; its key is nobody's."""
    public_key = ES256({1: 2, 3: -7, -1: 1, -2: b"x" * 32, -3: b"y" * 32})
    made = AttestedCredentialData.create(b"\0" * 16, b"credential-of-tests", public_key)
    flags = AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.UV | AuthenticatorData.FLAG.AT
    attested = AuthenticatorData.create(sha256(b"testserver").digest(), flags, 1, made)
    client_data = CollectedClientData.create("webauthn.create", b"challenge", "https://testserver")
    response = AuthenticatorAttestationResponse(
        client_data=client_data, attestation_object=AttestationObject.create("none", attested, {})
    )
    registration = RegistrationResponse(raw_id=made.credential_id, response=response)
    return {**dict(registration), "clientExtensionResults": {"credProps": {"rk": True}}}


def _one(model: type[Model], owner: User) -> Any:
    """One object of a model: the owner's, where it belongs to somebody."""
    if model is User:
        return owner
    rows = model._default_manager.all()
    if any(one.name == "user" and one.many_to_one for one in model._meta.get_fields()):
        rows = rows.filter(user=owner)
    found = rows.first()
    assert found is not None, f"The matrix needs a {model.__name__} that belongs to {owner}: make one in objects.py."
    return found
