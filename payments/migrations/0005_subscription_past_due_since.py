"""Since when a subscription is past due: the days of grace count from there, not from each period anew."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("payments", "0004_customer_erased_at")]
    operations = [
        migrations.AddField(
            "subscription",
            "past_due_since",
            models.DateTimeField(blank=True, null=True, help_text="When its payment failed, while it is due."),
        ),
    ]
