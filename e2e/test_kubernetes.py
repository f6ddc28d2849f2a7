"""deploy/kubernetes: Kubernetes' own schemas, and every name of the tree held against the tree. The two kinds that are
not Kubernetes' own, PodMonitor and the Gateway API's, are held by hand."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.urls import resolve

from e2e.packaging import KUBERNETES, PORT, known_variables, manifests, pod_of, refused, stopping_seconds, strings
from e2e.servers import ROOT

pytestmark = pytest.mark.once

BASE, EXAMPLE = KUBERNETES / "base", KUBERNETES / "overlays" / "example"
ALL = [*manifests(BASE), *manifests(EXAMPLE)]
PODS = [(manifest, pod) for manifest in ALL if (pod := pod_of(manifest))]
NOT_ITS_OWN = {"PodMonitor", "Gateway", "HTTPRoute"}


def _one(kind: str, name: str = "bambisleep") -> dict[str, Any]:
    (found,) = (manifest for manifest in ALL if (manifest["kind"], manifest["metadata"]["name"]) == (kind, name))
    return found


def _secret() -> dict[str, str]:
    """What the secret is to be filled in from."""
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", (EXAMPLE / "secret.env.example").read_text(), re.MULTILINE))


@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_kubernetes_own_schemas_accept_them(version: str, tmp_path: Path) -> None:
    own = tmp_path / "all.yaml"
    own.write_text(yaml.safe_dump_all([manifest for manifest in ALL if manifest["kind"] not in NOT_ITS_OWN]))
    broken = tmp_path / "broken.yaml"
    broken.write_text(own.read_text().replace("maxUnavailable: 1", "maxUnavailabel: 1"))
    command = [str(Path(sys.executable).with_name("kubernetes-validate")), "--strict", "--kubernetes-version", version]

    done = subprocess.run([*command, str(own)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARN" not in done.stdout + done.stderr
    assert subprocess.run([*command, str(broken)], capture_output=True, timeout=120).returncode != 0


def test_every_file_is_listed_and_every_listed_file_is_there() -> None:
    for directory in (BASE, EXAMPLE):
        listed = yaml.safe_load((directory / "kustomization.yaml").read_text())
        names = {*listed["resources"], *(patch["path"] for patch in listed.get("patches", []))}
        there = {path.name for path in directory.glob("*.yaml")} - {"kustomization.yaml"}
        assert {name for name in names if not (directory / name).is_dir()} == there


def test_the_overlay_changes_what_is_there() -> None:
    overlay = yaml.safe_load((EXAMPLE / "kustomization.yaml").read_text())
    for patch in overlay["patches"]:
        changed = yaml.safe_load((EXAMPLE / patch["path"]).read_text())
        assert _one(changed["kind"], changed["metadata"]["name"])
    images = {container["image"] for _, pod in PODS for container in pod["containers"]}
    assert images == {image["name"] for image in overlay["images"]} == {"bambisleep"}
    assert [generator["name"] for generator in overlay["secretGenerator"]] == ["bambisleep"]


@pytest.mark.parametrize(("manifest", "pod"), PODS, ids=lambda value: value.get("metadata", {}).get("name", ""))
def test_a_pod_is_as_pod_security_s_restricted_wants_it(manifest: dict[str, Any], pod: dict[str, Any]) -> None:
    security = pod["securityContext"]
    assert (security["runAsNonRoot"], security["runAsUser"]) == (True, 10001)
    assert "USER 10001:10001" in (ROOT / "Dockerfile").read_text()
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"requests", "limits"} <= container["resources"].keys()
        written = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert written >= {"/data", "/tmp"}
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize(("manifest", "pod"), PODS, ids=lambda value: value.get("metadata", {}).get("name", ""))
def test_what_a_pod_starts_exists(manifest: dict[str, Any], pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]

    if manifest["kind"] == "Deployment":
        assert "command" not in container, "the image's own"
    else:
        assert refused(container["command"]) == ""


def test_the_tasks_are_the_timers_of_a_host() -> None:
    timed = {path.stem for path in (ROOT / "deploy" / "systemd").glob("*.timer")}

    assert {manifest["metadata"]["name"] for manifest in ALL if manifest["kind"] == "CronJob"} == timed


def test_settings_and_secrets_are_variables_that_the_site_reads() -> None:
    config = _one("ConfigMap")["data"]
    secret = _secret()

    assert set(config) | set(secret) <= known_variables()
    assert not set(config) & set(secret)
    assert {"SECRET_KEY", "DATABASE_URL", "METRICS_TOKEN", "ALERTS_TOKEN"} <= set(secret)
    for name, value in secret.items():
        assert not value or "://" in value, f"{name} has a value in the repository"
    assert "/deploy/kubernetes/overlays/*/secret.env" in (ROOT / ".gitignore").read_text()


def test_the_site_starts_with_these_settings(tmp_path: Path) -> None:
    told = {name: value or f"of-{name}-{'0123456789abcdef' * 4}" for name, value in _secret().items()}
    del told["STRIPE_SECRET_KEY"]  # which has a form of its own
    (tmp_path / "static").mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "DEBUG": "false",
        "DATA_DIR": str(tmp_path),
        **told,
        **_one("ConfigMap")["data"],
    }

    done = subprocess.run(
        [sys.executable, "-c", "import bambisleep.settings"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr[-1500:]


def test_what_waits_to_be_whole_waits_where_every_pod_finds_it() -> None:
    pod = pod_of(_one("Deployment"))
    assert pod

    (volume,) = (found for found in pod["volumes"] if "persistentVolumeClaim" in found)
    claim = _one("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert {"name": volume["name"], "mountPath": "/data/library"} in pod["containers"][0]["volumeMounts"]


def test_probes_ask_what_is_there_and_the_port_is_the_image_s() -> None:
    pod = pod_of(_one("Deployment"))
    assert pod
    (container,) = pod["containers"]

    assert container["ports"] == [{"name": "http", "containerPort": PORT}]
    assert f"EXPOSE {PORT}" in (ROOT / "Dockerfile").read_text()
    paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/health/live", "liveness": "/health/live", "readiness": "/health/ready"}
    for path in paths.values():
        assert resolve(path)
    assert pod["terminationGracePeriodSeconds"] > stopping_seconds()


def test_the_gateway_is_who_closes_an_idle_connection() -> None:
    """Envoy keeps one for an hour by itself, and no proxy of those that implement the Gateway API for longer."""
    assert int(_one("ConfigMap")["data"]["KEEP_ALIVE_SECONDS"]) > 3600


def test_readiness_is_noticed_while_it_drains() -> None:
    from django.conf import settings

    pod = pod_of(_one("Deployment"))
    assert pod
    probe = pod["containers"][0]["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] <= settings.DRAIN_SECONDS


def test_labels_lead_where_they_should() -> None:
    labels = _one("Deployment")["spec"]["template"]["metadata"]["labels"].items()

    for kind in ("Deployment", "PodDisruptionBudget", "PodMonitor"):
        assert _one(kind)["spec"]["selector"]["matchLabels"].items() <= labels, kind
    assert _one("Service")["spec"]["selector"].items() <= labels
    assert _one("Service")["spec"]["ports"][0]["targetPort"] == "http"
    for manifest, _ in PODS:
        if manifest["kind"] == "CronJob":
            template = manifest["spec"]["jobTemplate"]["spec"]["template"]
            assert template["metadata"]["labels"].items().isdisjoint(labels), (
                "a task is no target and takes no requests"
            )
    spread = _one("Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert {constraint["topologyKey"] for constraint in spread} == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }


def test_it_scales_by_a_metric_of_ours() -> None:
    scaler = _one("HorizontalPodAutoscaler")["spec"]
    (metric,) = (metric["pods"]["metric"]["name"] for metric in scaler["metrics"] if metric["type"] == "Pods")
    (rule,) = yaml.safe_load((KUBERNETES / "prometheus-adapter.yaml").read_text())["rules"]["custom"]

    source = re.match(r"\w+", rule["seriesQuery"])
    assert source
    assert f"| {source[0]} |" in (ROOT / "TELEMETRY.md").read_text().replace("`", "")
    assert rule["name"] == {"matches": f"^{source[0]}$", "as": metric}
    assert re.fullmatch(
        r"sum\(rate\(<<.Series>>\{<<.LabelMatchers>>\}\[\d+m\]\)\) by \(<<.GroupBy>>\)", rule["metricsQuery"]
    )
    assert scaler["minReplicas"] >= 2
    assert "replicas" not in _one("Deployment")["spec"], "that is the autoscaler's"


def test_a_pod_is_a_target_of_the_job_that_the_rules_speak_of() -> None:
    """By the operator's description of PodMonitor, monitoring.coreos.com/v1."""
    monitor = _one("PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]

    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert endpoint.keys() == {"port", "path", "interval", "scrapeTimeout", "authorization", "relabelings"}
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
    assert endpoint["authorization"]["credentials"] == {"name": "bambisleep", "key": "METRICS_TOKEN"}
    replace = endpoint["relabelings"][0]
    assert (replace["targetLabel"], replace["replacement"]) == ("job", "bambisleep")


def test_the_gateway_keeps_from_strangers_what_nginx_does() -> None:
    site = _one("HTTPRoute")
    hidden = site["spec"]["rules"][0]

    kept = re.search(r"location ~ \^/\(([\w|]+)\)\$", (ROOT / "deploy/nginx/site.conf").read_text())
    assert kept
    assert {match["path"]["value"] for match in hidden["matches"]} == {f"/{name}" for name in kept[1].split("|")}
    assert {match["path"]["type"] for match in hidden["matches"]} == {"Exact"}
    (rewrite,) = (found for found in hidden["filters"] if found["type"] == "URLRewrite")
    assert rewrite["urlRewrite"]["path"]["replaceFullPath"] == "/nothing-here"
    dropped = set(
        re.findall(r'^proxy_set_header ([\w-]+) "";', (ROOT / "deploy/nginx/site.conf").read_text(), re.MULTILINE)
    )
    for rule in site["spec"]["rules"]:
        (modifier,) = (found for found in rule["filters"] if found["type"] == "RequestHeaderModifier")
        assert set(modifier["requestHeaderModifier"]["remove"]) == dropped
    assert site["spec"]["hostnames"] == [_one("ConfigMap")["data"]["ALLOWED_HOSTS"]]
    sections = {listener["name"] for listener in _one("Gateway")["spec"]["listeners"]}
    for route in (site, _one("HTTPRoute", "bambisleep-redirect")):
        (parent,) = route["spec"]["parentRefs"]
        assert parent["name"] == "bambisleep"
        assert parent["sectionName"] in sections


def test_no_secret_stands_in_them() -> None:
    for text in strings(ALL):
        assert not re.search(r"(sk|whsec|bsd)_\w{8}|postgres://\w+:[^@…]+@", text)
