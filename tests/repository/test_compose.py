"""docker-compose.yml and what it mounts: valid, confined, limited, and in agreement with the images and the server."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bbmr_server.settings import Settings, variables
from tests.repository.test_docker import last_stage, tool

FILES = ("docker-compose.yml", "docker/public.yml")
SERVERS = ("server", "server-gpu")
PROFILES = {"server-gpu": ["gpu"], "prometheus": ["monitoring"], "grafana": ["monitoring"]}


@pytest.fixture(scope="session")
def public(root: Path) -> dict[str, Any]:
    """docker/public.yml as a dictionary."""
    loaded: dict[str, Any] = yaml.safe_load((root / "docker/public.yml").read_text())
    return loaded


@pytest.fixture(scope="session")
def services(compose: dict[str, Any], public: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every service with everything it runs with, the one that only the public file has included."""
    return {**compose["services"], "caddy": public["services"]["caddy"]}


@pytest.mark.parametrize("name", FILES)
def test_compose_files_are_valid(root: Path, name: str) -> None:
    result = check_compose(root / name)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_schema_sees_a_typing_error(root: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text((root / "docker-compose.yml").read_text().replace("read_only:", "readonly:"))
    assert check_compose(wrong).returncode == 1


def test_every_service_is_confined(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["init"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "caddy" else []), name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["tmpfs"], name
        assert {"cpus", "memory", "pids"} <= set(service["deploy"]["resources"]["limits"]), name
        assert {"max-size", "max-file"} <= set(service["logging"]["options"]), name
        assert not {"privileged", "network_mode", "pid", "ipc", "user"} & set(service), name


def test_images_from_elsewhere_have_a_full_version(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        if "build" not in service:
            assert re.fullmatch(r"[a-z]+(/[a-z]+)?:v?[0-9]+\.[0-9]+\.[0-9]+", service["image"]), name


def test_ports_are_published_on_loopback_only(compose: dict[str, Any]) -> None:
    published = {
        name: service["ports"] for name, service in compose["services"].items() if "ports" in service
    }
    assert set(published) == {*SERVERS, "prometheus", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_strangers_reach_the_proxy_alone(public: dict[str, Any]) -> None:
    assert [name for name, service in public["services"].items() if "ports" in service] == ["caddy"]
    assert {port.split(":")[0] for port in public["services"]["caddy"]["ports"]} == {"80", "443"}


def test_a_public_server_has_keys_from_a_file_that_must_be_named(public: dict[str, Any]) -> None:
    server = public["services"]["server"]
    (secret,) = server["secrets"]
    assert server["environment"]["BBMR_API_KEYS_FILE"] == f"/run/secrets/{secret}"
    assert public["secrets"][secret]["file"].startswith("${BBMR_KEYS:?")
    assert public["services"]["caddy"]["environment"]["BBMR_SITE"].startswith("${BBMR_SITE:?")


def test_no_secret_is_written_down(services: dict[str, dict[str, Any]], public: dict[str, Any]) -> None:
    for service in [*services.values(), public["services"]["server"]]:
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN|KEY", name):
                assert value.startswith(("${", "/run/secrets/")) or value in ("true", "false"), name


def test_who_starts_without_a_profile(services: dict[str, dict[str, Any]]) -> None:
    assert {name: one["profiles"] for name, one in services.items() if "profiles" in one} == PROFILES


def test_the_gpu_is_asked_for_by_its_server_alone(services: dict[str, dict[str, Any]]) -> None:
    reserved = {
        name: service["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"]
        for name, service in services.items()
        if "reservations" in service["deploy"]["resources"]
    }
    assert reserved == {"server-gpu": ["gpu"]}


@pytest.mark.parametrize("name", SERVERS)
def test_the_health_check_is_that_of_the_image(root: Path, compose: dict[str, Any], name: str) -> None:
    here = compose["services"][name]["healthcheck"]
    (there,) = [rest for word, rest in last_stage(root, name) if word == "HEALTHCHECK"]
    flags, command = there.split(" CMD ")
    assert here["test"] == ["CMD", *json.loads(command)]
    wanted = {key.replace("-", "_"): value for key, value in re.findall(r"--([a-z-]+)=(\S+)", flags)}
    assert {key: str(value) for key, value in here.items() if key != "test"} == wanted


@pytest.mark.parametrize("name", SERVERS)
def test_stopping_leaves_time_to_finish_what_was_accepted(compose: dict[str, Any], name: str) -> None:
    grace = compose["services"][name]["stop_grace_period"]
    assert int(grace.removesuffix("s")) >= Settings().http.drain_s + 5


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_has_its_settings_and_its_volume(root: Path, compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["env_file"] == [{"path": "bbmr.env", "required": False}]
    ((volume, inside),) = [one.split(":") for one in service["volumes"]]
    assert volume in compose["volumes"]
    made = [rest for word, rest in last_stage(root, name) if word == "RUN" and "install -d" in rest]
    assert made[-1].endswith(inside), "the image makes the folder with its user as the owner"


@pytest.mark.parametrize("name", SERVERS)
def test_what_strangers_send_fits_into_the_memory(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    default = {
        key: int(value.split(":-")[1].rstrip("}"))
        for key, value in service["environment"].items()
        if key not in ("BBMR_THREADS", "BBMR_PORT")
    }
    gigabytes = int(service["deploy"]["resources"]["limits"]["memory"].split(":-")[1].rstrip("g}"))
    assert worst_case(default) < gigabytes * 2**30


@pytest.mark.parametrize("heading", ["In a container", "With systemd"])
def test_the_commands_of_the_operations_page_fit_into_their_memory(root: Path, heading: str) -> None:
    text = (root / "docs/operations.md").read_text()
    section = text.split(f"\n### {heading}\n")[1].split("\n### ")[0].split("\n## ")[0]
    (gigabytes,) = re.findall(r"(?:--memory |MemoryMax=)(\d+)[gG]", section)
    given = {name: int(value) for name, value in re.findall(r"(BBMR_[A-Z_]+)=(\d+)\b", section)}
    assert worst_case(given) < int(gigabytes) * 2**30


def worst_case(settings: dict[str, int]) -> int:
    """Bytes that strangers can fill: a pixel's as docs/operations.md has them, /tmp, and the idle processes."""
    pixels = 30 * settings["BBMR_MAX_PIXELS"] + 45 * settings["BBMR_ENCODE_PIXELS"]
    return pixels + settings["BBMR_BODY_MEMORY_BYTES"] + 256 * 2**20 + 512 * 2**20


def test_the_server_knows_the_settings_it_is_given(compose: dict[str, Any], public: dict[str, Any]) -> None:
    given = set(public["services"]["server"]["environment"])
    for name in SERVERS:
        given |= set(compose["services"][name]["environment"])
    assert given <= set(variables())


def test_the_public_settings_are_accepted(public: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in public["services"]["server"]["environment"].items():
        monkeypatch.setenv(name, value)
    Settings(host="0.0.0.0")


def test_the_client_waits_for_a_ready_server(compose: dict[str, Any]) -> None:
    client = compose["services"]["client"]
    assert client["depends_on"] == {"server": {"condition": "service_healthy"}}
    assert client["environment"]["BBMR_SERVER"] == "http://server:8000"


def test_what_compose_names_exists(
    root: Path, compose: dict[str, Any], services: dict[str, dict[str, Any]]
) -> None:
    for service in services.values():
        if "build" in service:
            assert (root / service["build"]["dockerfile"]).is_file()
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (root / source).exists(), source
                assert volume.endswith(":ro"), volume
    script = " ".join(compose["services"]["client"]["command"])
    for name in re.findall(r"/samples/(\S+)", script):
        assert (root / "samples" / name).is_file()


def test_prometheus_asks_the_servers_of_this_file(root: Path, compose: dict[str, Any]) -> None:
    loaded = yaml.safe_load((root / "docker/monitoring/prometheus.yml").read_text())
    asked = json.dumps(loaded["scrape_configs"])
    for name in SERVERS:
        assert name in compose["services"]
        assert re.search(rf'"{name}(:8000)?"', asked), name
    mounted = {one.split(":")[1] for one in compose["services"]["prometheus"]["volumes"]}
    for rules in loaded["rule_files"]:
        assert str(Path("/etc/prometheus") / rules) in mounted


def test_grafana_finds_prometheus_and_its_dashboard(root: Path, compose: dict[str, Any]) -> None:
    folder = root / "docker/monitoring/grafana"
    sources = [
        source
        for path in (folder / "provisioning/datasources").glob("*.y*ml")
        for source in yaml.safe_load(path.read_text())["datasources"]
    ]
    assert [source["url"] for source in sources] == ["http://prometheus:9090"]
    providers = [
        provider["options"]["path"]
        for path in (folder / "provisioning/dashboards").glob("*.y*ml")
        for provider in yaml.safe_load(path.read_text())["providers"]
    ]
    assert providers == ["/var/lib/grafana/dashboards"]
    home = compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (folder / "dashboards" / Path(home).name).is_file()


def test_the_proxy_lets_through_what_the_server_takes(root: Path) -> None:
    text = (root / "docker/Caddyfile").read_text()
    settings = Settings()
    (size,) = re.findall(r"max_size (\d+)MiB", text)
    assert int(size) * 2**20 >= settings.http.max_body_bytes
    (seconds,) = re.findall(r"response_header_timeout (\d+)s", text)
    assert int(seconds) > settings.http.upload_timeout_s + settings.http.deadline_s
    for route in ("/metrics", "/admin", "/admin/*"):
        assert re.search(rf"@operators path .*{re.escape(route)}(\s|$)", text), route


def check_compose(path: Path) -> subprocess.CompletedProcess[str]:
    """Validate ``path`` against the compose-spec schema that check-jsonschema carries."""
    command = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
