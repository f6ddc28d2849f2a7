"""The chat's pages: the list of rooms, a room, and the protocol's documentation."""

from django.contrib.auth.views import redirect_to_login
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from . import access, log, presence
from . import documentation as written
from .models import MOST_REASON, Restriction, RestrictionKind, Room

SHOWN = 50  # entries that a room's page comes with


@require_safe
def rooms(request: HttpRequest) -> HttpResponse:
    """The rooms that the visitor may see, with how many are there."""
    found = access.visible(Room.objects.all(), request.user)
    present = presence.present([room.pk for room in found])
    listed = [
        {"room": room, "rights": access.rights(room, request.user), "present": present[room.pk]} for room in found
    ]
    return render(request, "realtime/rooms.html", {"rooms": listed})


@require_safe
def room(request: HttpRequest, slug: str) -> HttpResponse:
    """A room, or why the visitor may not be there."""
    found = get_object_or_404(Room, slug=slug)
    rights = access.rights(found, request.user)
    if rights.refusal == "not_found":
        raise Http404
    if rights.refusal == "unauthenticated":
        return redirect_to_login(request.get_full_path())
    if rights.refusal is not None:
        bans = Restriction.objects.filter(user=request.user.pk, kind=RestrictionKind.BAN).in_room(found).in_force()
        ban = bans.order_by(F("until").desc(nulls_first=True)).first()  # the one that lasts longest
        return render(request, "realtime/room.html", {"room": found, "rights": rights, "ban": ban}, status=403)
    entries = log.before(found.pk, None, SHOWN)
    last = entries[-1].number if entries else 0
    context = {
        "room": found,
        "rights": rights,
        "present": presence.present([found.pk])[found.pk],
        "entries": [entry for entry in entries if entry.kind != "deletion"],
        # The page knows everything from the one to the other, what it does not show too.
        "first": entries[0].number if entries else 1,
        "last": last,
        "most_reason": MOST_REASON,
    }
    return render(request, "realtime/room.html", context)


@require_safe
def documentation(request: HttpRequest) -> HttpResponse:
    """The protocol, for people."""
    return render(request, "realtime/documentation.html", written.page())


@require_safe
def asyncapi(request: HttpRequest) -> HttpResponse:
    """The protocol, for programs."""
    return HttpResponse(written.asyncapi_text(), content_type="application/json")
