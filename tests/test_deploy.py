"""The files in deploy/ say what fleetsim understands, and agree with themselves."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import click
import yaml

from fleetsim.cli import commands

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text(encoding="utf-8")


def asked_for(arguments: list[str]) -> dict[str, Any]:
    """What `fleetsim` would be told by these arguments. Fails where it would refuse them."""
    name, *rest = arguments
    command = commands.get_command(click.Context(commands), name)
    assert command is not None
    return command.make_context(name, rest).params


def ports_of(arguments: list[str]) -> range:
    asked = asked_for(arguments)
    assert asked["host"] == "0.0.0.0"
    return range(asked["base_port"], asked["base_port"] + asked["size"])


def test_the_image_is_made_of_what_is_there_and_runs_a_fleet() -> None:
    copied = re.findall(r"^COPY (.*) /tmp/source", CONTAINERFILE, re.MULTILINE)
    sources = [source for line in copied for source in shlex.split(line)]
    assert {"pyproject.toml", "src", "simulator"} <= set(sources)
    assert all((ROOT / source).exists() for source in sources)
    found = re.search(r"^CMD (\[.*\])$", CONTAINERFILE, re.MULTILINE)
    exposed = re.search(r"^EXPOSE (\d+)-(\d+)$", CONTAINERFILE, re.MULTILINE)
    assert found is not None
    assert exposed is not None
    assert ports_of(json.loads(found[1])) == range(int(exposed[1]), int(exposed[2]) + 1)


def test_compose_publishes_the_ports_its_fleet_has_and_keeps_them_on_loopback() -> None:
    fleet = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]["fleet"]
    ports = ports_of(fleet["command"])
    control = asked_for(fleet["command"])["control"]
    assert fleet["ports"] == [
        f"127.0.0.1:{ports[0]}-{ports[-1]}:{ports[0]}-{ports[-1]}",
        f"127.0.0.1:{control}:{control}",
    ]
    assert f"127.0.0.1:{ports[0]}/health" in fleet["healthcheck"]["test"][-1]
    assert (DEPLOY / fleet["build"]["context"] / fleet["build"]["dockerfile"]).samefile(DEPLOY / "Containerfile")


def test_kubernetes_names_each_pod_and_the_comment_says_where_its_servers_are() -> None:
    text = (DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")
    service, pods = yaml.safe_load_all(text)
    container = pods["spec"]["template"]["spec"]["containers"][0]
    ports = ports_of(container["args"])
    assert container["ports"][0]["containerPort"] == service["spec"]["ports"][0]["port"] == ports[0]
    labels = pods["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels == pods["spec"]["selector"]["matchLabels"]
    assert service["spec"]["clusterIP"] == "None"
    name, service_name, last = pods["metadata"]["name"], pods["spec"]["serviceName"], pods["spec"]["replicas"] - 1
    assert service["metadata"]["name"] == service_name
    assert f"printf '{name}-[0-{last}].{service_name}:%d\\n' $(seq {ports[0]} {ports[-1]})" in text
