"""What an upload of a file that was there already has become."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("content", "0004_viewing_finished")]

    operations = [
        migrations.AddField(model_name="upload", name="became", field=models.UUIDField(editable=False, null=True)),
    ]
