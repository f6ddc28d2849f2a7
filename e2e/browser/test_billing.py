"""A subscription from the first look at the prices to the end, in Chromium, against the stand-in for Stripe."""

import re
from collections.abc import Callable, Iterator

import pytest

from e2e.browser.conftest import PEOPLE
from e2e.browser.site import Account, Site, Visitor
from e2e.browser.test_accessibility import faults
from e2e.servers import PRODUCTION, Server, installed, wait_for
from e2e.stripe.standin import KEY, SECRET, Handle, standin

pytestmark = pytest.mark.needs("chromium")


@pytest.fixture(scope="module")
def stripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Handle]:
    """The stand-in, with plans on sale and a promotion code."""
    with standin(tmp_path_factory.mktemp("stripe")) as handle:
        yield handle


@pytest.fixture(scope="module")
def site(stripe: Handle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site as in production, with the stand-in for its Stripe, which tells it what happens."""
    directory = tmp_path_factory.mktemp("paying-site")
    mails = directory / "mails"
    mails.mkdir()
    settings = {**PRODUCTION, "EMAIL_URL": f"filemail:///{mails}", "FACTS_INTERVAL_SECONDS": "0.5"}
    settings |= {"STRIPE_SECRET_KEY": KEY, "STRIPE_API_BASE": stripe.url, "STRIPE_WEBHOOK_SECRETS": SECRET}
    settings["STRIPE_TIMEOUT_SECONDS"] = "3"
    with installed(directory) as installation:
        installation.collect_static()
        done = installation.manage("shell", "-v0", "-c", PEOPLE, **settings)
        assert done.returncode == 0, done.stderr
        with installation.serving("daphne", **settings) as server:
            stripe.send_events_to(f"{server.url}/stripe/webhook/")
            stripe.plans()
            stripe.wait()
            yield Site(server, mails)


def is_member(visitor: Visitor) -> bool:
    """Whether the page says that what is for members is open; it stays open in the browser."""
    visitor.opens("/billing/")
    return visitor.page.locator("main > div p").first.inner_text().startswith("open")


def buys(visitor: Visitor, rhythm: str, card: str = "good") -> None:
    """From the plans to Stripe's page, where the card is chosen."""
    visitor.opens("/billing/plans/")
    visitor.page.get_by_role("button", name=re.compile(f": Membership, {rhythm}")).click()
    visitor.page.wait_for_url("**/c/pay/**")
    visitor.page.locator(f"[name=card][value={card}]").check()


def comes_to(server: Server, metric: str, value: float, **labels: str) -> None:
    """The facts are brought up to date beside the requests: within seconds."""
    wait_for(lambda: server.metric(metric, **labels) == value, f"{metric}{labels} = {value}")


def test_a_subscription_is_lived_through(
    visit: Callable[..., Visitor], member: Account, stripe: Handle, site: Site, javascript: bool
) -> None:
    server, visitor = site.server, visit(javascript=javascript)
    charged = server.metric("stripe_payment_value_total", currency="eur")
    refunded = server.metric("stripe_payment_refunds_total", currency="eur")
    disputed = server.metric("stripe_payment_disputes_total", currency="eur")
    failed = server.metric("stripe_subscription_failures_total", reason="insufficient_funds")
    trialing = server.metric("stripe_subscriptions", status="trialing")
    active = server.metric("stripe_subscriptions", status="active")
    visitor.signs_in(member)
    assert not is_member(visitor)

    # A trial: nothing is charged, and everything is open at once.
    buys(visitor, "monthly")
    visitor.reads("7 days free")
    visitor.presses("Start trial")
    visitor.page.wait_for_url("**/billing/done/**")
    visitor.reads("Your membership has begun.")
    assert is_member(visitor)
    visitor.reads("Then it costs €9.00 a month.")
    comes_to(server, "stripe_subscriptions", trialing + 1, status="trialing")

    # It ends, and the first payment is made.
    stripe.advance(days=8)
    stripe.wait()
    assert is_member(visitor)
    visitor.reads("It costs €9.00 a month and renews on")
    assert "€9.00" in visitor.page.get_by_role("table", name="Invoices").inner_text()
    comes_to(server, "stripe_payment_value_total", charged + 900, currency="eur")
    comes_to(server, "stripe_subscriptions", active + 1, status="active")

    # A renewal fails; there is time to put it right.
    customer = _customer(stripe, member)
    stripe.card(customer, "insufficient_funds")
    stripe.advance(days=31)
    stripe.wait()
    assert is_member(visitor)
    visitor.reads("There was not enough money in the account. €9.00 is still to be paid.")
    comes_to(server, "stripe_subscription_failures_total", failed + 1, reason="insufficient_funds")
    visitor.presses("Replace the card")
    visitor.page.wait_for_url("**/p/session/**")
    visitor.page.locator("[name=card][value=good]").check()
    visitor.presses("Replace the card")
    visitor.page.wait_for_url("**/billing/")
    visitor.presses("Pay €9.00")
    visitor.presses("Pay")
    stripe.wait()
    assert is_member(visitor)
    visitor.reads("It costs €9.00 a month and renews on")
    comes_to(server, "stripe_payment_value_total", charged + 1800, currency="eur")

    # Another plan.
    visitor.presses("Change plan")
    visitor.presses("Choose")
    visitor.reads("is charged to your card now")
    visitor.presses("Change my plan")
    visitor.reads("Your plan is now Membership, €90.00 a year.")
    visitor.reads("It costs €90.00 a year and renews on")
    assert is_member(visitor)
    stripe.wait()

    # A refund moves money, not access.
    visitor.opens("/billing/")
    paid = stripe.api().v1.charges.list({"customer": customer, "limit": 1}).data[0]
    stripe.api().v1.refunds.create({"charge": paid.id, "amount": 400})
    stripe.wait()
    assert is_member(visitor)
    comes_to(server, "stripe_payment_refunds_total", refunded + 400, currency="eur")

    # So does a dispute, which is won in the end; the counter tells of what was disputed, and does not fall.
    first = stripe.api().v1.charges.list({"customer": customer}).data[-1]
    dispute = stripe.dispute(first.id)
    stripe.wait()
    assert is_member(visitor)
    comes_to(server, "stripe_payment_disputes_total", disputed + 900, currency="eur")
    stripe.close_dispute(dispute["id"], won=True)
    stripe.wait()
    assert is_member(visitor)
    comes_to(server, "stripe_payment_disputes_total", disputed + 900, currency="eur")

    # Cancelled, kept after all, and cancelled for good.
    visitor.presses("Cancel")
    visitor.presses("Cancel my membership")
    visitor.reads("Your membership is cancelled")
    visitor.reads("Until then you keep everything")
    assert is_member(visitor)
    visitor.presses("Keep my membership")
    visitor.reads("Your membership goes on.")
    visitor.presses("Cancel")
    visitor.presses("Cancel my membership")
    visitor.reads("Until then you keep everything")
    stripe.advance(days=370)
    stripe.wait()
    assert not is_member(visitor)
    visitor.reads("You can come back whenever you like.")
    comes_to(server, "stripe_subscriptions", active, status="active")

    # There is no second trial.
    visitor.presses("See the plans")
    visitor.page.get_by_role("button", name=re.compile(r"Subscribe\W+Membership, monthly")).wait_for()


def test_a_card_that_is_declined_opens_nothing(
    visit: Callable[..., Visitor], member: Account, stripe: Handle, javascript: bool
) -> None:
    visitor = visit(javascript=javascript)
    visitor.signs_in(member)
    buys(visitor, "monthly", card="declined")
    visitor.presses("Start trial")
    visitor.page.get_by_role("alert").wait_for()
    visitor.presses("Back")
    visitor.page.wait_for_url("**/billing/plans/")
    assert not is_member(visitor)


def test_a_promotion_code_is_entered_at_stripe(visit: Callable[..., Visitor], member: Account, stripe: Handle) -> None:
    api = stripe.api().v1
    coupon = api.coupons.create({"percent_off": 50, "duration": "once"})
    api.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "HALFPRICE"})
    visitor = visit()
    visitor.signs_in(member)
    buys(visitor, "yearly")
    visitor.page.get_by_label("Promotion code").fill("HALFPRICE")
    visitor.presses("Start trial")
    visitor.page.wait_for_url("**/billing/done/**")
    assert is_member(visitor)
    stripe.advance(days=8)
    stripe.wait()
    visitor.opens("/billing/")
    assert "€45.00" in visitor.page.get_by_role("table", name="Invoices").inner_text()


def test_a_double_click_and_a_second_tab_end_in_one_subscription(
    visit: Callable[..., Visitor], member: Account, stripe: Handle
) -> None:
    visitor = visit()
    visitor.signs_in(member)
    visitor.opens("/billing/plans/")
    visitor.page.get_by_role("button", name=re.compile(": Membership, monthly")).dblclick()
    visitor.page.wait_for_url("**/c/pay/**")
    tab = visitor.page.context.new_page()
    tab.goto("/billing/plans/")
    tab.get_by_role("button", name=re.compile(": Membership, yearly")).click()
    tab.wait_for_url("**/c/pay/**")
    visitor.presses("Start trial")
    assert "This session is expired." in visitor.page.locator("main").inner_text()
    tab.get_by_role("button", name="Start trial").click()
    tab.wait_for_url("**/billing/done/**")
    found = stripe.api().v1.subscriptions.list({"customer": _customer(stripe, member)}).data
    assert [subscription.status for subscription in found] == ["trialing"]


def test_what_stripe_has_taken_is_known_here_even_while_its_events_are_held(
    visit: Callable[..., Visitor], member: Account, stripe: Handle
) -> None:
    visitor = visit()
    visitor.signs_in(member)
    stripe.hold()
    try:
        buys(visitor, "monthly")
        visitor.presses("Start trial")
        visitor.page.wait_for_url("**/billing/done/**")
        visitor.reads("Your membership has begun.")
        assert is_member(visitor)
    finally:
        stripe.deliver(mode="at_once")
        stripe.release(order="reversed")
        stripe.wait()
    assert is_member(visitor)


def test_while_stripe_is_away_the_pages_say_so_and_nothing_is_lost(
    visit: Callable[..., Visitor], member: Account, stripe: Handle, javascript: bool
) -> None:
    visitor = visit(javascript=javascript)
    visitor.signs_in(member)
    visitor.opens("/billing/plans/")
    stripe.misbehave("slow", seconds=30)
    try:
        visitor.page.get_by_role("button", name=re.compile(": Membership, monthly")).click()
        visitor.reads("does not answer. Nothing was charged.")
    finally:
        stripe.misbehave(None)
    buys(visitor, "monthly")
    stripe.misbehave("down")
    try:
        visitor.presses("Start trial")
        visitor.page.wait_for_url("**/billing/done/**")
        visitor.reads("Do not pay again.")
    finally:
        stripe.misbehave(None)
    visitor.presses("Look again")
    visitor.reads("Your membership has begun.")
    assert is_member(visitor)
    visitor.problems[:] = [problem for problem in visitor.problems if "status of 503" not in problem]  # as was said


def test_the_keyboard_alone_subscribes_and_cancels(
    visit: Callable[..., Visitor], member: Account, stripe: Handle, javascript: bool
) -> None:
    visitor = visit(javascript=javascript)
    visitor.signs_in(member)
    keyboard = visitor.page.keyboard

    def goes_to(name: str) -> None:
        for _ in range(60):
            keyboard.press("Tab")
            focused = visitor.page.locator(":focus")
            if focused.count() and " ".join(focused.inner_text().split()).replace(" :", ":").startswith(name):
                assert focused.evaluate("element => getComputedStyle(element).outlineStyle") != "none"
                return
        pytest.fail(f"The keyboard does not get to {name} on {visitor.page.url}.")

    visitor.opens("/billing/plans/")
    goes_to("Try it free: Membership, monthly")
    keyboard.press("Enter")
    visitor.page.wait_for_url("**/c/pay/**")
    goes_to("Start trial")
    keyboard.press("Enter")
    visitor.page.wait_for_url("**/billing/done/**")
    goes_to("Your membership")
    keyboard.press("Enter")
    visitor.page.wait_for_url("**/billing/")
    goes_to("Cancel…")
    keyboard.press("Enter")
    visitor.page.wait_for_url("**/billing/cancel/**")
    goes_to("Cancel my membership")
    keyboard.press("Enter")
    visitor.reads("Your membership is cancelled")
    goes_to("Keep my membership")
    keyboard.press("Enter")
    visitor.reads("Your membership goes on.")


def test_the_pages_keep_nobody_out(visit: Callable[..., Visitor], member: Account, stripe: Handle, axe: str) -> None:
    visitor = visit()
    found = _looked_at(visitor, axe, "/billing/plans/")
    visitor.signs_in(member)
    found += _looked_at(visitor, axe, "/billing/plans/", "/billing/")
    buys(visitor, "monthly")
    visitor.presses("Start trial")
    visitor.page.wait_for_url("**/billing/done/**")
    found += _looked_at(visitor, axe, visitor.page.url, "/billing/plans/", "/billing/")
    subscription = stripe.api().v1.subscriptions.list({"customer": _customer(stripe, member)}).data[0].id
    pages = [f"/billing/{name}/?subscription={subscription}" for name in ("cancel", "change")]
    yearly = stripe.api().v1.prices.list({"lookup_keys": ["yearly"]}).data[0].id
    found += _looked_at(visitor, axe, *pages, f"{pages[1]}&plan={yearly}")
    stripe.advance(days=8)
    stripe.card(_customer(stripe, member), "expired_card")
    stripe.advance(days=31)
    stripe.wait()
    found += _looked_at(visitor, axe, "/billing/")  # with invoices, one of them failed
    visitor.reads("The card has expired.")
    visitor.presses("Cancel")
    found += _looked_at(visitor, axe, visitor.page.url)
    visitor.presses("Cancel my membership")
    visitor.reads("Your membership has ended.")
    found += _looked_at(visitor, axe, "/billing/")
    assert found == []


def _looked_at(visitor: Visitor, axe: str, *paths: str) -> list[str]:
    """What axe finds, and what is wider than a phone, in the light and in the dark."""
    found = []
    for path in paths:
        for scheme in ("light", "dark"):
            visitor.page.set_viewport_size({"width": 375, "height": 800})
            visitor.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            visitor.opens(path)
            found += faults(visitor, axe)
            width = visitor.page.evaluate("document.documentElement.scrollWidth")
            if width > 375:
                found.append(f"{path} is {width} pixels wide on a screen of 375.")
    return found


def _customer(stripe: Handle, member: Account) -> str:
    """The id of the member's customer at Stripe."""
    return str(stripe.api().v1.customers.list({"email": member.email}).data[0].id)
