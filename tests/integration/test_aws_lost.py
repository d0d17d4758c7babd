"""Lost tables on Glue and S3."""

from __future__ import annotations

import boto3
import pytest

from compactor.commands.status import status
from compactor.commands.verify.repair import repair
from compactor.commands.verify.verify import verify
from compactor.errors import LostTableError
from tests.support.aws_lake import AwsLake, deliver_first_hour, deliver_next_hour
from tests.support.glue_server import OWNER

EVENTS, STATE = "fan_track_events", "fan_profiles"


@pytest.mark.soak
def test_lost_tables_on_glue_are_named_and_put_back(aws_lake: AwsLake) -> None:
    """Dropped, an older copy, and all of them; after each the plan is followed."""
    glue = boto3.session.Session(aws_access_key_id=OWNER, aws_secret_access_key="test-secret").client("glue")
    datasets = tuple(aws_lake.registry.datasets)
    deliver_first_hour(aws_lake)
    aws_lake.compact()
    older = aws_lake.tables.table(f"{STATE}_history").metadata_location
    deliver_next_hour(aws_lake)
    aws_lake.compact()

    def put_back() -> None:
        plan = repair(aws_lake.config, aws_lake.registry, yes=False)
        assert plan.repairs
        assert all(each.possible for each in plan.repairs)
        repair(aws_lake.config, aws_lake.registry, yes=True)
        assert aws_lake.compact(full_scan=True).problems == ()
        checks = verify(aws_lake.config, aws_lake.registry, rebuild=True, files=True).checks
        assert [check for check in checks if not check.ok] == []
        aws_lake.assert_equals_model(datasets)

    glue.delete_table(DatabaseName=aws_lake.database, Name=EVENTS)
    catalog = aws_lake.catalog
    catalog.drop_table(f"{aws_lake.database}.{STATE}_history")
    catalog.register_table(f"{aws_lake.database}.{STATE}_history", older)
    report = aws_lake.compact()
    assert report.exit_code == 1
    lost = [EVENTS, f"{STATE}_history"]
    assert [name for name in lost if any(name in str(problem) for problem in report.problems)] == lost
    assert len(report.problems) == len(lost)
    found = status(aws_lake.config, aws_lake.registry).problems
    assert [name for name in lost if name in {problem.subject for problem in found}] == lost
    put_back()

    for table in glue.get_tables(DatabaseName=aws_lake.database)["TableList"]:
        glue.delete_table(DatabaseName=aws_lake.database, Name=table["Name"])
    with pytest.raises(LostTableError, match=r"^compactor_files: .*its files are in s3:|^compactor_files: .*run "):
        aws_lake.compact()
    put_back()
