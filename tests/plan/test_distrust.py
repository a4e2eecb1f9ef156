"""What cannot be trusted is named with its remedy, and hundreds of a kind are one line."""

from __future__ import annotations

from tcc.plan.distrust import distrusts

SCHEMA = "has schema 1; this version of tcc reads schema 2"


def test_each_file_has_the_remedy_of_its_kind():
    torn = "is torn or not a record file of tcc"
    found = distrusts(
        [
            f"/my runs/trials/a1/result.json {torn}",
            f"/my runs/trials/a1/evaluations/e1.json {torn}",
            f"s3://bucket/runs/studies/my study/runs/2026-11-20-x.json {torn}",
        ]
    )
    assert [item.files for item in found] == [
        ("/my runs/trials/a1/result.json",),
        ("/my runs/trials/a1/evaluations/e1.json",),
        ("s3://bucket/runs/studies/my study/runs/2026-11-20-x.json",),
    ]
    assert [item.reason for item in found] == [torn] * 3
    assert str(found[0]) == f"/my runs/trials/a1/result.json {torn}; the trial will be redone"
    assert "measured again" in str(found[1])
    assert "left out of the runs" in str(found[2])


def test_a_lease_is_not_redone():
    (found,) = distrusts(["/my runs/trials/a1/leases/000001.json is torn"])
    assert str(found) == (
        "/my runs/trials/a1/leases/000001.json is torn; nobody else may take the trial for a minute"
    )


def test_hundreds_of_a_kind_are_one_line_of_a_count_and_the_first_three():
    results = [f"runs/trials/{at:03}/result.json {SCHEMA}" for at in range(400)]
    other = "runs/trials/500/result.json is torn or was edited"
    found = distrusts([*results, other])
    assert [item.count for item in found] == [400, 1]
    assert found[0].files == tuple(f"runs/trials/{at:03}/result.json" for at in range(3))
    assert str(found[0]).startswith("400 files (runs/trials/000/result.json, ")
    assert f", …): {SCHEMA}; the trial will be redone" in str(found[0])


def test_up_to_three_are_named_each():
    found = distrusts([f"runs/trials/{at}/result.json {SCHEMA}" for at in range(3)])
    assert [item.count for item in found] == [1, 1, 1]


def test_sizes_do_not_tell_faults_apart():
    text = "is truncated: {} of 1000 bytes"
    problems = [
        f"runs/trials/{at}/checkpoint.safetensors {text.format(at)}" for at in range(10, 20)
    ]
    (found,) = distrusts(problems)
    assert found.count == 10


def test_nothing_is_promised_of_a_plan_that_nobody_runs():
    (found,) = distrusts(["runs/trials/a/result.json is torn"], redone=False)
    assert str(found) == "runs/trials/a/result.json is torn"
