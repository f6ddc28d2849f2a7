"""What the pages' forms and addresses may carry: ids of Stripe's, which say nothing about whose they are."""

from django import forms


def stripe_id(prefix: str) -> forms.RegexField:
    """A field for an id that begins with `prefix`."""
    return forms.RegexField(rf"^{prefix}_[A-Za-z0-9_]{{1,200}}\Z", max_length=255)


class CheckoutForm(forms.Form):
    """Which plan; and a word of the page's own, the same however often its button is pressed."""

    plan = stripe_id("price")
    attempt = forms.RegexField(r"^[A-Za-z0-9_-]{8,64}\Z")


class DoneForm(forms.Form):
    """Which Checkout session somebody comes back from."""

    session_id = stripe_id("cs")


class SubscriptionForm(forms.Form):
    """Which subscription."""

    subscription = stripe_id("sub")


class CancelForm(SubscriptionForm):
    """And whether its owner was told that it ends at once, or with what is paid for."""

    ends = forms.ChoiceField(choices=[("at_once", "at once"), ("with_period", "with the period")])


class ChangeForm(SubscriptionForm):
    """To which plan it is to change; none: the choice is still to be made."""

    plan = forms.CharField(required=False, max_length=255)
    seen = forms.CharField(required=False, max_length=1000)  # what its owner was told that it costs, signed


class PortalForm(forms.Form):
    """Where in the customer portal to begin."""

    part = forms.ChoiceField(choices=[("card", "card")], required=False)
