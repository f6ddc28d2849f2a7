"""The pages about plans and memberships. Reading them needs no Stripe; what asks Stripe has one limit for the whole."""

import secrets
from collections.abc import Callable
from datetime import datetime
from functools import partial, wraps
from typing import Any, cast

import stripe
import structlog
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.core import signing
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import deletion
from accounts.membership import may_see_members_content
from accounts.models import Membership, User
from accounts.registration import has_verified_address
from observability.http.methods import takes
from observability.http.policy import content_security_policy

from . import changes, checkout, customers, offers, processing, standing, stripe_api
from .forms import CancelForm, ChangeForm, CheckoutForm, DoneForm, PortalForm, SubscriptionForm
from .models import Invoice, Plan
from .money import price
from .standing import Standing

View = Callable[[HttpRequest], HttpResponse]
INVOICES_A_PAGE = 12
SEEN = "payments.change"
SEEN_HOLDS_SECONDS = 30 * 60
NOTHING_CHARGED = "Nothing was charged. Try again in a moment."
LOOK_FIRST = "It may have been done all the same: look at your membership in a minute, before you try again."
log = structlog.get_logger("payments")


def asking_stripe(advice: str) -> Callable[[View], View]:
    """Let a view ask Stripe for STRIPE_TIMEOUT_SECONDS in all; where that fails, answer with a page and `advice`."""

    def decorate(view: View) -> View:
        @wraps(view)
        def asks(request: HttpRequest) -> HttpResponse:
            try:
                with stripe_api.within(settings.STRIPE_TIMEOUT_SECONDS):
                    return view(request)
            except stripe_api.NotConfigured:
                return _failed(request, 503, "Payments are not set up on this site.", "Nothing can be bought here yet.")
            except stripe_api.Unavailable as error:
                log.warning("stripe_unavailable", error=type(error.__cause__).__name__)
                said = advice if request.method == "POST" else NOTHING_CHARGED
                return _failed(request, 503, "Stripe, which handles our payments, does not answer.", said)
            except stripe.InvalidRequestError as error:
                log.error("stripe_refused", code=error.code, param=error.param, stripe_request=error.request_id)
                return _failed(request, 502, "Stripe, which handles our payments, refused this.", NOTHING_CHARGED)

        return asks

    return decorate


def signed_in_post(back_to: str) -> Callable[[View], View]:
    """A view for POST alone; who is not signed in gets to the page `back_to` when they are, for a form is gone then."""

    def decorate(view: View) -> View:
        @takes("POST")
        @wraps(view)
        def posted(request: HttpRequest) -> HttpResponse:
            if not request.user.is_authenticated:
                return redirect_to_login(reverse(back_to))
            return view(request)

        return posted

    return decorate


def staying(view: View) -> View:
    """A view for those whose account stays: what others buy or have renewed would end again unasked."""

    @wraps(view)
    def asked(request: HttpRequest) -> HttpResponse:
        if _erased_at(request) is not None:
            messages.warning(request, "Your account is about to be deleted: keep it first.")
            return _see_other(reverse("account_data"))
        return view(request)

    return asked


@require_safe
def plans(request: HttpRequest) -> HttpResponse:
    """What membership costs; with the plan that a member has marked, and a button for each other."""
    currencies = offers.currencies(request.user)
    asked = request.GET.get("currency", "")
    currency = asked if asked in currencies else next(iter(currencies), "")
    context = {
        "offers": offers.offers(request.user, currency=currency),
        "currency": currency,
        "currencies": currencies,
        "configured": stripe_api.is_configured(),
        "subscribed": request.user.is_authenticated and standing.stands(request.user),
        "attempt": secrets.token_urlsafe(12),
        "unverified": request.user.is_authenticated and not has_verified_address(request.user),
        "erased_at": _erased_at(request),
    }
    return _leading_to_stripe(render(request, "billing/plans.html", context))


@signed_in_post(back_to="billing_plans")
@staying
@asking_stripe(NOTHING_CHARGED)
def start_checkout(request: HttpRequest) -> HttpResponse:
    """From a plan to Stripe's page; who has a membership already is led to it."""
    form = CheckoutForm(request.POST)
    plan = offers.on_sale().filter(price_id=form.cleaned_data["plan"]).first() if form.is_valid() else None
    if plan is None:
        messages.error(request, "That plan is not on sale. Choose one of these.")
        return _see_other(reverse("billing_plans"))
    done = request.build_absolute_uri(reverse("billing_done"))
    addresses = checkout.Addresses(
        success=f"{done}?session_id={{CHECKOUT_SESSION_ID}}",
        cancel=request.build_absolute_uri(reverse("billing_plans")),
    )
    user, attempt = cast(User, request.user), form.cleaned_data["attempt"]
    try:
        return _see_other(checkout.start(user=user, plan=plan, attempt=attempt, addresses=addresses))
    except checkout.Subscribed as refused:
        messages.info(request, refused.detail)
        return _see_other(reverse("billing"))


@require_safe
@login_required
@asking_stripe(NOTHING_CHARGED)
def done(request: HttpRequest) -> HttpResponse:
    """Back from Stripe's page: what came of it, and access at once, whether or not the event has arrived yet."""
    form = DoneForm(request.GET)
    if not form.is_valid():
        return _see_other(reverse("billing"))
    user, session_id = cast(User, request.user), form.cleaned_data["session_id"]
    session: dict[str, Any] | None = {}
    try:
        session = checkout.session_of(user=user, session_id=session_id)
        if session is None:
            raise Http404
        if session["status"] == "complete":
            processing.synchronise("checkout.session", session_id)
    except stripe_api.Unavailable:
        return render(request, "billing/done.html", {"outcome": "unknown"}, status=503)
    outcome = "member" if may_see_members_content(user) else "processing"
    if session["status"] != "complete":
        outcome = session["status"]
    elif outcome == "processing" and session.get("payment_status") != "unpaid":
        return _see_other(reverse("billing"))  # somebody looks at an old page: what they had has ended since
    return render(request, "billing/done.html", {"outcome": outcome, "session": session})


@require_safe
@login_required
def overview(request: HttpRequest) -> HttpResponse:
    """How the membership stands, in plain words; what can be done about it; and the invoices."""
    user = cast(User, request.user)
    by_staff = Membership.objects.filter(user=user, source=Membership.Source.STAFF).current(timezone.now())
    invoices = Invoice.objects.filter(customer__user=user).exclude(status="draft")
    invoices = invoices.select_related("subscription").order_by("-issued_at", "-pk")
    context = {
        "standings": standing.of(user),
        "by_staff": by_staff,
        "has_access": may_see_members_content(user),
        "invoices": Paginator(invoices, INVOICES_A_PAGE).get_page(request.GET.get("page")),
        "is_customer": customers.of(user) is not None,
        "unverified": not has_verified_address(user),
        "erased_at": _erased_at(request),
    }
    return _leading_to_stripe(render(request, "billing/overview.html", context))


@signed_in_post(back_to="billing")
@asking_stripe(NOTHING_CHARGED)
def open_portal(request: HttpRequest) -> HttpResponse:
    """To Stripe's customer portal, or to the part of it where the card is replaced."""
    customer = customers.of(cast(User, request.user))
    if customer is None:
        messages.info(request, "There is nothing to see there before you have chosen a plan.")
        return _see_other(reverse("billing_plans"))
    form = PortalForm(request.POST)
    part = form.cleaned_data["part"] if form.is_valid() else ""
    return_to = request.build_absolute_uri(reverse("billing"))
    return _see_other(changes.portal(customer, return_to=return_to, part=part))


@takes("GET", "HEAD", "POST")
@login_required
@asking_stripe(LOOK_FIRST)
def cancel(request: HttpRequest) -> HttpResponse:
    """What cancelling means, then cancelling."""
    found = _theirs(request)
    if found is None or not found.may_cancel:
        return _nothing_to_do(request)
    form = CancelForm(request.POST)
    if not form.is_valid():
        return render(request, "billing/cancel.html", {"standing": found, "erased_at": _erased_at(request)})
    success, at_once = "Your membership has ended. You are not charged again.", form.cleaned_data["ends"] == "at_once"
    if not at_once:
        success = "Your membership is cancelled: it stays until the end of what you paid for, and then ends."
    return _told(request, partial(changes.cancel, found.subscription, at_once=at_once), success)


@signed_in_post(back_to="billing")
@staying
@asking_stripe(LOOK_FIRST)
def resume(request: HttpRequest) -> HttpResponse:
    """Keep a membership that was to end."""
    found = _theirs(request)
    if found is None or not found.may_resume:
        return _nothing_to_do(request)
    return _told(request, partial(changes.resume, found.subscription), "Your membership goes on.")


@takes("GET", "HEAD", "POST")
@login_required
@staying
@asking_stripe(LOOK_FIRST)
def change(request: HttpRequest) -> HttpResponse:
    """To which plan to change; what will happen; then changing."""
    found = _theirs(request)
    if found is None or not found.may_change:
        return _nothing_to_do(request)
    form = ChangeForm(_sent(request))
    asked = form.cleaned_data["plan"] if form.is_valid() else ""
    choice = offers.alternatives(found.subscription)
    plan = next((offer.plan for offer in choice if offer.plan.price_id == asked), None)
    if plan is None:
        if asked:
            messages.error(request, "That plan is not on sale. Choose one of these.")
        return render(request, "billing/change.html", {"standing": found, "offers": choice})
    seen = _seen(form.cleaned_data["seen"], found, plan) if request.method == "POST" else None
    if seen is None:
        return _confirm_change(request, found, plan)
    success = f"Your plan is now {plan.name}, {price(plan)}."
    act = partial(changes.change_plan, found.subscription, plan=plan, prorated_at=seen["prorated_at"])
    return _told(request, act, success)


def _confirm_change(request: HttpRequest, found: Standing, plan: Plan) -> HttpResponse:
    """What changing would cost; signed, so that it costs just that."""
    try:
        cost = changes.preview(found.subscription, plan=plan)
    except changes.Changed as refused:
        messages.warning(request, refused.detail)
        return _see_other(reverse("billing"))
    if request.method == "POST":
        messages.info(request, "Some time has passed: look at the sum again.")
    seen = {"of": found.subscription.subscription_id, "to": plan.price_id, "prorated_at": cost.prorated_at}
    context = {"standing": found, "plan": plan, "cost": cost, "seen": signing.dumps(seen, salt=SEEN)}
    return render(request, "billing/change_confirm.html", context)


def _seen(signed: str, found: Standing, plan: Plan) -> dict[str, Any] | None:
    """What their page has said of this very change; None where it was another one, or is too old."""
    try:
        seen: dict[str, Any] = signing.loads(signed, salt=SEEN, max_age=SEEN_HOLDS_SECONDS)
    except signing.BadSignature:
        return None
    same = (seen["of"], seen["to"]) == (found.subscription.subscription_id, plan.price_id)
    return seen if same else None


def _sent(request: HttpRequest) -> QueryDict:
    return request.POST if request.method == "POST" else request.GET


def _erased_at(request: HttpRequest) -> datetime | None:
    """When the account of whoever asks will be erased; None where it stays."""
    user = request.user
    return deletion.erased_at(user) if user.is_authenticated and user.deletion_requested_at else None


def _theirs(request: HttpRequest) -> Standing | None:
    """The subscription that is asked about; None where they have none of that id."""
    form = SubscriptionForm(_sent(request))
    return standing.one(cast(User, request.user), form.cleaned_data["subscription"]) if form.is_valid() else None


def _nothing_to_do(request: HttpRequest) -> HttpResponse:
    messages.info(request, "That cannot be done now. This is how your membership stands.")
    return _see_other(reverse("billing"))


def _told(request: HttpRequest, act: Callable[[], bool], success: str) -> HttpResponse:
    """Do it, and show the membership with a word on what came of it."""
    try:
        is_shown = act()
    except (changes.Changed, changes.Declined) as refused:
        messages.warning(request, refused.detail)
    else:
        messages.success(request, success if is_shown else f"{success} This page will show it in a moment.")
    return _see_other(reverse("billing"))


def _see_other(address: str) -> HttpResponse:
    return HttpResponseRedirect(address, status=303)


def _leading_to_stripe(response: HttpResponse) -> HttpResponse:
    """With a policy by which the page's forms may lead to Stripe: Chromium holds a form's redirects to it."""
    stand_in = () if settings.STRIPE_API_BASE == "https://api.stripe.com" else (settings.STRIPE_API_BASE,)
    response["Content-Security-Policy"] = content_security_policy(
        settings.CONTENT_SECURITY_POLICY, form_action=" ".join(["'self'", *settings.STRIPE_PAGES, *stand_in])
    )
    return response


def _failed(request: HttpRequest, status: int, what: str, advice: str) -> HttpResponse:
    response = render(request, "billing/failed.html", {"what": what, "advice": advice}, status=status)
    if status == 503:
        response["Retry-After"] = "30"  # seconds
    return response
