"""A customer whose account was erased is known as such, so that nothing is mirrored of them again."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("payments", "0003_numbered_fetches")]
    operations = [
        migrations.AddField(
            "customer",
            "erased_at",
            models.DateTimeField(blank=True, null=True, help_text="When the account was erased here."),
        ),
    ]
