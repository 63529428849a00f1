"""The container files, checked statically: what they run and set is what the code knows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kilroy_site.config import BASE_DIR, NAMES, Config, load
from kilroy_site.supervisor.children import programs

DOCKER = BASE_DIR / "docker"
OURS = ("migrate", "web", "io", "training", "beat")
GIVEN = {
    "POSTGRES_PASSWORD": "p" * 16,
    "KILROY_SECRET_KEY": "k" * 50,
    "KILROY_CREDENTIAL_KEYS": f"first:{'A' * 43}",
}


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    text = (DOCKER / "compose.yaml").read_text()
    filled = re.sub(r"\$\{(\w+):([?-])([^}]*)\}", lambda m: GIVEN[m[1]] if m[2] == "?" else m[3], text)
    return dict(yaml.safe_load(filled)["services"])


def configuration(service: dict[str, Any]) -> Config:
    environment = service["environment"]
    assert all(isinstance(value, str) for value in environment.values())
    return load(environment)


def test_it_has_every_process(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == {"postgres", "redis", *OURS}


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_known_and_readable(services: dict[str, dict[str, Any]], name: str) -> None:
    environment = services[name]["environment"]
    assert set(environment) <= NAMES
    config = configuration(services[name])
    assert config.database_url == f"postgresql://kilroy:{GIVEN['POSTGRES_PASSWORD']}@postgres:5432/kilroy"
    assert config.redis_url == "redis://redis:6379/0"
    assert config.var == Path("/data")


def test_the_containers_run_what_the_supervisor_runs(services: dict[str, dict[str, Any]]) -> None:
    config = configuration(services["web"])
    expected = {program.name: ["python", *program.command[1:]] for program in programs(config)}
    assert {name: services[name]["command"] for name in expected} == expected


def test_every_lasting_service_has_a_health_check_and_comes_back(services: dict[str, dict[str, Any]]) -> None:
    lasting = {name: service for name, service in services.items() if name != "migrate"}
    assert {name: service["restart"] for name, service in lasting.items()} == dict.fromkeys(lasting, "unless-stopped")
    assert all(service["healthcheck"]["test"] for service in lasting.values())


def test_every_volume_is_declared(services: dict[str, dict[str, Any]]) -> None:
    declared = set(yaml.safe_load((DOCKER / "compose.yaml").read_text())["volumes"])
    mounts = [mount.split(":")[0] for service in services.values() for mount in service["volumes"]]
    assert {mount for mount in mounts if not mount.startswith(".")} == declared
    assert all((DOCKER / mount).exists() for mount in mounts if mount.startswith("."))


@pytest.mark.parametrize(("image", "requirements"), [("web", {"base.txt"}), ("training", {"base.txt", "train.txt"})])
def test_an_image_installs_its_own_packages_and_runs_as_an_ordinary_user(image: str, requirements: set[str]) -> None:
    text = (DOCKER / f"{image}.Dockerfile").read_text()
    assert set(re.findall(r"requirements/(\S+)", text)) == requirements
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE) == ["kilroy"]
    variables = set(re.findall(r"\b(KILROY_\w+|HOST|PORT)=", text))
    assert variables <= NAMES
