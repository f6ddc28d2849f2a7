"""The addresses of the pages about plans and memberships."""

from django.urls import path

from . import views

urlpatterns = [
    path("", views.overview, name="billing"),
    path("plans/", views.plans, name="billing_plans"),
    path("checkout/", views.start_checkout, name="billing_checkout"),
    path("done/", views.done, name="billing_done"),
    path("portal/", views.open_portal, name="billing_portal"),
    path("cancel/", views.cancel, name="billing_cancel"),
    path("resume/", views.resume, name="billing_resume"),
    path("change/", views.change, name="billing_change"),
]
