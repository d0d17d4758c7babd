"""The files of deploy/ for cron, systemd and Kubernetes."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from compactor.cli.main import program
from tests.support.lake import ROOT

DEPLOY = ROOT / "deploy"


def cron() -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """The variables, and (times, user, command) of each line."""
    text = (DEPLOY / "compactor.cron").read_text()
    variables = dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE))
    lines = re.findall(r"^((?:[\d*,/-]+ ){5}) *(\w+) +(.+)$", text, re.MULTILINE)
    assert len(lines) + len(variables) == len([line for line in text.splitlines() if line and line[0] != "#"])
    return variables, lines


def test_the_file_for_cron_is_one_of_its_own_with_a_user_and_holds_no_lock() -> None:
    variables, lines = cron()
    text = (DEPLOY / "compactor.cron").read_text()
    assert "/etc/cron.d/compactor" in text
    assert not re.search(r"^(?!#).*(flock|/var/lock|[ =>]/tmp/)", text, re.MULTILINE)
    assert "crontab deploy" not in text + (DEPLOY / "README.md").read_text()
    assert [user for _, user, _ in lines] == ["compactor"] * len(lines)
    for _, _, command in lines:
        assert "%" not in command, "cron makes a line end of it"
        assert "echo" in command, "nothing would be mailed"
        words = re.findall(r"compactor (\w+)", command.split("||")[0])
        assert set(words) <= set(program.commands)
    assert variables["ROVER_EXPORT_PREFIX"]


@pytest.mark.parametrize(("count", "mail"), [("true", ""), ("false", "compactor has not run"), ("", "has not run")])
def test_the_line_of_cron_for_a_missing_night_mails(tmp_path: Path, count: str, mail: str) -> None:
    """By a real shell, with a `compactor` that prints what `query` would; nothing, where it fails."""
    (tmp_path / "compactor").write_text(f"#!/bin/sh\necho 'the column'\n{f'echo {count}' if count else 'exit 1'}\n")
    (tmp_path / "compactor").chmod(0o755)
    command = next(command for _, _, command in cron()[1] if "26 hours" in command)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(tmp_path / "log")}
    ended = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=True)
    assert mail in ended.stdout
    assert bool(mail) == bool(ended.stdout)


def unit(name: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None)
    found.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case
    found.read_string((DEPLOY / name).read_text())
    return found


def test_the_units_of_systemd_know_the_exit_codes_and_give_the_job_its_own_temporary_folder() -> None:
    service, timer = unit("compactor.service")["Service"], unit("compactor.timer")
    assert service["SuccessExitStatus"].split() == ["3", "4"]
    assert service["RestartPreventExitStatus"] == "2"
    assert service["PrivateTmp"] == "true"
    assert service["User"] == "compactor"
    assert timer["Install"]["WantedBy"] == "timers.target"
    assert timer["Timer"]["Persistent"] == "true"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_finds_no_mistake_in_the_units(tmp_path: Path) -> None:
    service = (DEPLOY / "compactor.service").read_text()
    (tmp_path / "compactor.service").write_text(service.replace("/opt/compactor/bin/compactor", "/bin/true"))
    shutil.copy(DEPLOY / "compactor.timer", tmp_path)
    files = [str(tmp_path / "compactor.service"), str(tmp_path / "compactor.timer")]
    ended = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
    assert [line for line in ended.stderr.splitlines() if "compactor." in line] == []


@pytest.fixture(scope="module")
def kubernetes() -> dict[str, Any]:
    found = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
    return {each["kind"]: each for each in found}


@pytest.fixture(scope="module")
def pod(kubernetes: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = kubernetes["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return found


def test_the_cron_job_of_kubernetes_is_bounded_and_retries_all_but_a_wrong_config(kubernetes: dict[str, Any]) -> None:
    assert kubernetes.keys() == {"ServiceAccount", "ConfigMap", "CronJob"}
    spec = kubernetes["CronJob"]["spec"]
    assert (kubernetes["CronJob"]["apiVersion"], spec["concurrencyPolicy"]) == ("batch/v1", "Forbid")
    job = spec["jobTemplate"]["spec"]
    (rule,) = job["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [2])
    assert job["backoffLimit"]
    assert job["activeDeadlineSeconds"] >= 3600
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # which a podFailurePolicy needs


def test_the_pod_may_do_nothing_but_its_work(pod: dict[str, Any], kubernetes: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert f"--uid {pod['securityContext']['runAsUser']} " in (DEPLOY / "Dockerfile").read_text()
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    (mount,) = container["volumeMounts"]
    (volume,) = pod["volumes"]
    assert (mount["mountPath"], mount["name"]) == ("/tmp", volume["name"])
    assert container["envFrom"] == [{"configMapRef": {"name": kubernetes["ConfigMap"]["metadata"]["name"]}}]
    known = set(re.findall(r"\$\{(\w+)", (ROOT / "configs" / "aws.yaml").read_text()))
    assert kubernetes["ConfigMap"]["data"].keys() <= known
    assert pod["serviceAccountName"] == kubernetes["ServiceAccount"]["metadata"]["name"]


def in_the_pod(folder: Path, pod: dict[str, Any], body: str) -> subprocess.Popen[str]:
    """The script of the pod by a real shell, with a `compactor` of this body."""
    (folder / "compactor").write_text(f"#!/bin/sh\n{body}\n")
    (folder / "compactor").chmod(0o755)
    (container,) = pod["containers"]
    return subprocess.Popen(
        [*container["command"], *container["args"]],
        env={"PATH": f"{folder}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (1, 1), (2, 2), (3, 0), (4, 0)])
def test_the_script_of_the_pod_maps_exit_codes(tmp_path: Path, pod: dict[str, Any], code: int, ends: int) -> None:
    process = in_the_pod(tmp_path, pod, f"exit {code}")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == ends
    assert ("warning" in errors) == (code in (3, 4))


def test_the_script_of_the_pod_passes_a_signal_on_and_ends_as_the_job_does(tmp_path: Path, pod: dict[str, Any]) -> None:
    body = "trap 'echo stopped; kill $!; exit 1' TERM\nsleep 60 & echo began; wait $!"
    with in_the_pod(tmp_path, pod, body) as process:
        assert process.stdout
        assert process.stdout.readline() == "began\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stopped\n"
        assert process.wait(30) == 1
