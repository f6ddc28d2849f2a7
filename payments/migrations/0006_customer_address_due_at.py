"""Of which customers Stripe is still to be told that the account has another e-mail address."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("payments", "0005_subscription_past_due_since")]
    operations = [
        migrations.AddField(
            "customer",
            "address_due_at",
            models.DateTimeField(
                blank=True,
                null=True,
                help_text="Since when Stripe is to be told of another e-mail address; empty: it was.",
            ),
        ),
    ]
