"""deploy/cloudformation.yaml: least permissions, a schedule, a log, and two alarms that the log lines of a run feed."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.support.cloudformation import PSEUDO, Template
from tests.support.lake import ROOT

FILE = ROOT / "deploy" / "cloudformation.yaml"
NAMES = {"ExportBucket": "exports", "ExportPrefix": "rover/7", "LakeBucket": "lake", "Database": "fans"}
OTHERS = {"Image": "image@sha256:1", "Subnets": ["subnet-1"], "SecurityGroups": ["sg-1"]}


@pytest.fixture(scope="module")
def template() -> Template:
    return Template(FILE, {**NAMES, **OTHERS, "AlarmEmail": "a@example.com"})


def statements(template: Template, role: str) -> list[dict[str, Any]]:
    (policy,) = template.of_type("AWS::IAM::Role")[role]["Policies"]
    found: list[dict[str, Any]] = policy["PolicyDocument"]["Statement"]
    return found


@pytest.mark.parametrize("prefix", ["rover/7", ""])
def test_the_task_has_the_permissions_of_the_policy_and_no_other(prefix: str) -> None:
    """Which a test of the rights holds to what the verbs request: tests/integration/test_aws_rights.py."""
    text = (ROOT / "deploy" / "iam-policy.json").read_text()
    if not prefix:
        text = text.replace("EXPORT_PREFIX/", "")  # as deploy/README.md says
    names = {**NAMES, "ExportPrefix": prefix}
    for place, value in {
        "EXPORT_BUCKET": names["ExportBucket"],
        "EXPORT_PREFIX": prefix,
        "LAKE_BUCKET": names["LakeBucket"],
        "DATABASE": names["Database"],
        "REGION": PSEUDO["AWS::Region"],
        "ACCOUNT_ID": PSEUDO["AWS::AccountId"],
    }.items():
        text = text.replace(place, value)
    assert statements(Template(FILE, {**names, **OTHERS}), "TaskRole") == json.loads(text)["Statement"]


def test_each_role_is_for_one_service_of_this_account(template: Template) -> None:
    services = {}
    for name, role in template.of_type("AWS::IAM::Role").items():
        assert "ManagedPolicyArns" not in role
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": PSEUDO["AWS::AccountId"]}}
        services[name] = trust["Principal"]["Service"].split(".")[0]
        for statement in statements(template, name):
            actions = statement["Action"]
            assert not any("*" in action for action in ([actions] if isinstance(actions, str) else actions))
            assert statement["Resource"] != "*" or actions == "ecr:GetAuthorizationToken"
    assert services == {"TaskRole": "ecs-tasks", "ExecutionRole": "ecs-tasks", "ScheduleRole": "scheduler"}


def test_the_task_gets_the_prefix_and_writes_to_the_log_group(template: Template) -> None:
    (task,) = template.of_type("AWS::ECS::TaskDefinition").values()
    (container,) = task["ContainerDefinitions"]
    environment = {each["Name"]: each["Value"] for each in container["Environment"]}
    assert environment == {
        "AWS_REGION": "us-east-1",
        "ROVER_EXPORT_BUCKET": "exports",
        "ROVER_EXPORT_PREFIX": "rover/7",
        "ROVER_LAKE_BUCKET": "lake",
        "ROVER_NAMESPACE": "fans",
    }
    assert environment.keys() <= set(re.findall(r"\$\{(\w+)", (ROOT / "configs" / "aws.yaml").read_text()))
    assert container["LogConfiguration"]["Options"]["awslogs-group"] in template.of_type("AWS::Logs::LogGroup")
    assert container["Image"] == OTHERS["Image"]
    (schedule,) = template.of_type("AWS::Scheduler::Schedule").values()
    assert schedule["Target"]["EcsParameters"]["TaskDefinitionArn"] == "Task"
    assert schedule["Target"]["RoleArn"] == "ScheduleRole.Arn"


def counted(template: Template, line: dict[str, Any]) -> set[str]:
    """The metrics that count a log line. The patterns are `&&` and `||` of `$.key = value`, which Python can answer."""
    found = set()
    for each in template.of_type("AWS::Logs::MetricFilter").values():
        condition = re.sub(r"\$\.(\w+) =", r"line.get('\1') ==", each["FilterPattern"].strip("{} "))
        if eval(condition.replace("&&", "and").replace("||", "or"), {"line": line}):
            (metric,) = each["MetricTransformations"]
            found.add(metric["MetricName"])
    return found


@pytest.mark.parametrize(
    ("line", "metrics"),
    [
        ({"level": "info", "message": "ended", "verb": "compact", "exit_code": 0}, {"stack-done"}),
        ({"level": "info", "message": "ended", "verb": "compact", "exit_code": 3}, {"stack-done"}),
        ({"level": "info", "message": "ended", "verb": "verify", "exit_code": 0}, set()),
        ({"level": "info", "message": "ended", "verb": "compact", "exit_code": 1}, {"stack-failed"}),
        ({"level": "error", "message": "cannot list", "exit_code": 1}, {"stack-failed"}),
        ({"level": "error", "message": "no such key", "exit_code": 2}, {"stack-failed"}),
        ({"run_id": "r", "datasets": [], "exit_code": 1}, set()),  # the report, which would count a run twice
        ({"level": "info", "message": "fan_profiles: 2/2 files"}, set()),
    ],
)
def test_the_metric_filters_count_each_end_of_a_run_once(
    template: Template, line: dict[str, Any], metrics: set[str]
) -> None:
    assert counted(template, line) == metrics


def test_two_alarms_say_failed_and_did_not_run(template: Template) -> None:
    alarms = template.of_type("AWS::CloudWatch::Alarm")
    assert alarms.keys() == {"Failed", "DidNotRun"}
    failed, missing = alarms["Failed"], alarms["DidNotRun"]
    assert (failed["MetricName"], failed["TreatMissingData"]) == ("stack-failed", "notBreaching")
    assert (missing["MetricName"], missing["TreatMissingData"]) == ("stack-done", "breaching")
    assert missing["ComparisonOperator"] == "LessThanThreshold"
    hours = missing["Period"] * missing["EvaluationPeriods"] / 3600
    assert 24 < hours <= 48
    for alarm in alarms.values():
        assert set(alarm["AlarmActions"]) <= template.of_type("AWS::SNS::Topic").keys()
    (email,) = template.of_type("AWS::SNS::Subscription").values()
    assert email["Endpoint"] == "a@example.com"
    assert not Template(FILE, OTHERS).of_type("AWS::SNS::Subscription")
