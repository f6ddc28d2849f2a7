"""The addresses of delivery records."""

from django.urls import path

from . import api, api_alerts, api_records

urlpatterns = [
    path("dora", api.DoraView.as_view()),
    path("dora/deployments", api_records.DeploymentsView.as_view()),
    path("dora/deployments/<int:pk>", api_records.DeploymentView.as_view()),
    path("dora/incidents", api_records.IncidentsView.as_view()),
    path("dora/incidents/<int:pk>", api_records.IncidentView.as_view()),
    path("alerts", api_alerts.AlertsView.as_view()),
]
