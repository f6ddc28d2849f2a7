"""Fetches are numbered when they begin; sums of the ledger are those of one mode."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("payments", "0002_ledger_is_never_updated")]
    operations = [
        migrations.RenameField("revision", "number", "written"),
        migrations.AlterField(
            "revision",
            "written",
            models.PositiveBigIntegerField(default=0, help_text="The number of the fetch that was written last."),
        ),
        migrations.AddField(
            "revision",
            "asked",
            models.PositiveBigIntegerField(default=0, help_text="The number of the fetch that began last."),
        ),
        migrations.RemoveIndex("movement", "payments_movement_sums"),
        migrations.AddIndex(
            "movement",
            models.Index(fields=["livemode", "kind", "currency", "amount_minor"], name="payments_movement_sums"),
        ),
    ]
