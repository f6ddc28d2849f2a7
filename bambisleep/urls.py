"""The URL table."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import TemplateView

from bambisleep import pages
from observability import exposition, health

admin.site.site_header = admin.site.site_title = "bambisleep"

urlpatterns = [
    path("", TemplateView.as_view(template_name="home.html"), name="home"),
    path("metrics", exposition.metrics),
    path("health", health.health),
    path("health/live", health.live),
    path("health/ready", health.ready),
    path("", include("observability.delivery.urls")),
    path("", include("accounts.urls")),
    path("", include("payments.urls")),
    path("", include("content.urls")),
    path("", include("realtime.urls")),
    path("api/schema", pages.ApiSchema.as_view(), name="schema"),
    path("api/docs", pages.ApiDocs.as_view()),
    path(".well-known/security.txt", pages.security_txt),
    path("admin/", admin.site.urls),
]

handler400 = "observability.problems.bad_request"
handler403 = "observability.problems.permission_denied"
handler404 = "observability.problems.page_not_found"
handler429 = "observability.problems.too_many_requests"
handler500 = "observability.problems.server_error"
