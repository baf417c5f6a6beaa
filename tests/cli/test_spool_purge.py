"""``hublog spool purge``."""

import io
import os
import shutil

import pytest
from tests.kits.spools import kill, leave, make_hostile, reject, snapshot
from tests.spool.independent import A, B, C, is_locked, make_lines, make_segment, names_of

from hublog.cli import main
from hublog.cli.spool_purge import purge_spool
from hublog.spool.directory import SpoolDirectory


def test_without_yes_it_shows_what_would_be_removed_and_removes_nothing(root, run):
    leave(root, A, make_segment(make_lines(3)))
    leave(root, B, make_segment(make_lines(4)), cursor=(1, len(make_segment(make_lines(1)))))
    before = snapshot(root)
    status, out, err = run("purge")
    assert (status, err, snapshot(root)) == (1, "", before)
    rows = [line.split()[:3] for line in out.splitlines()[:-1]]
    assert rows[:3] == [["path", "destination", "records"], [A, "-", "3"], [B, "-", "3"]]
    assert rows[3][:2] == ["sum", "6"]
    assert out.splitlines()[-1].endswith("confirm with --yes.")


def test_with_yes_orphaned_records_are_removed_and_those_of_running_processes_stay(root, run, live):
    leave(root, A, make_segment(make_lines(3)), make_segment(make_lines(2)))
    process, path = live(5)
    assert run("purge", "--yes") == (0, "5 records removed.\n", "")
    assert names_of(root) == [path.name]
    process.stdin.write(b"more\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"written\n"
    kill(process)
    assert run("purge", "--yes") == (0, "6 records removed.\n", "")
    assert names_of(root) == []
    assert run("purge") == (0, "Nothing to remove.\n", "")


def purge(root, *, wall, **options):
    out = io.StringIO()
    chosen = {"dead": True, "rejected": False, "is_confirmed": True} | options
    return purge_spool(root, out, wall=lambda: wall, **chosen), out.getvalue()


def test_only_what_was_last_written_before_the_age_is_removed(root):
    paths = [leave(root, name, make_segment(make_lines(1)), make_segment([])) for name in (A, B)]
    old, young = reject(root, b"{}\n", "old.jsonl"), reject(root, b"{}\n", "young.jsonl")
    for path, moment in ((old, 1_000), (young, 1_001), *((path / "00000001.seg", 1_000) for path in paths)):
        os.utime(path, (moment, moment))
    os.utime(paths[0] / "00000002.seg", (900, 900))
    os.utime(paths[1] / "00000002.seg", (1_001, 1_001))
    assert purge(root, wall=1_500, older_than_s=500, rejected=True) == (0, "2 records removed.\n")
    assert names_of(root) == [B, "rejected"]
    assert names_of(root / "rejected") == ["young.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        pytest.param([], ["rejected"], id="neither word"),
        pytest.param(["--dead"], ["rejected"], id="dead"),
        pytest.param(["--rejected"], [A], id="rejected"),
        pytest.param(["--dead", "--rejected"], [], id="both"),
    ],
)
def test_rejected_and_orphaned_records_are_removed_where_they_are_named(root, run, arguments, left):
    leave(root, A, make_segment(make_lines(1)))
    reject(root, b'{"a":1}\n')
    assert run("purge", *arguments)[0] == 1
    assert run("purge", "--yes", *arguments)[0] == 0
    assert [name for name in names_of(root) if name == A or names_of(root / name)] == left


def test_files_that_are_not_of_a_spool_stay_with_their_directory(root, run):
    path = leave(root, A, make_segment(make_lines(2)), make_segment([], head=b"hublog\x00\x07"))
    reject(root, b"{}\n", name="mine.txt")
    status, out, _ = run("purge", "--yes", "--dead", "--rejected")
    assert status == 0
    assert f"{A} was not removed: it contains files that are not part of a spool." in out
    assert names_of(path) == ["00000002.seg", "lock"]
    assert names_of(root / "rejected") == ["mine.txt"]
    assert not is_locked(path)


def test_nothing_outside_of_the_spool_is_removed(root, run, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    make_hostile(root, outside)
    before = snapshot(outside)
    assert run("purge", "--yes", "--dead", "--rejected")[0] == 0
    assert snapshot(outside) == before
    assert (root / B).is_symlink()


class Interrupted(io.StringIO):
    """An output at whose first line something happens."""

    def __init__(self, happens):
        super().__init__()
        self.happens = [happens]

    def write(self, text):
        if self.happens:
            self.happens.pop()()
        return super().write(text)


def purge_interrupted(root, happens, **options):
    """Purge, while something happens after the look and before the removal; A is what is printed first."""
    (leave(root, A, make_segment(make_lines(1))) / "core").touch()
    out = Interrupted(happens)
    chosen = {"dead": True, "rejected": False, "is_confirmed": True} | options
    status = purge_spool(root, out, **chosen)
    return status, out.getvalue().splitlines()[1:]


def test_a_directory_that_is_recovered_meanwhile_stays(root):
    path, adopted = leave(root, B, make_segment(make_lines(2))), []
    assert purge_interrupted(root, lambda: adopted.append(SpoolDirectory.adopt(path))) == (
        0,
        [f"{B} was not removed: another process has just recovered it.", "1 record removed."],
    )
    assert adopted[0].backlog_lines == 2
    adopted[0].close()


def test_what_is_sent_or_written_meanwhile_is_not_counted(root):
    gone, young = (leave(root, name, make_segment(make_lines(2))) for name in (B, C))
    files = [reject(root, b"{}\n", name) for name in ("1.jsonl", "2.jsonl")]

    def happens():
        shutil.rmtree(gone)
        files[0].unlink()
        for path in (young / "00000001.seg", files[1]):
            os.utime(path, (4e9, 4e9))

    assert purge_interrupted(root, happens, rejected=True) == (0, ["1 record removed."])
    assert names_of(root) == [A, C, "rejected"]
    assert names_of(root / "rejected") == ["2.jsonl"]


def test_what_cannot_be_removed_is_reported_and_is_status_1(ordinary, run):
    root = ordinary / "spool"
    root.mkdir()
    for name in (A, B):
        leave(root, name, make_segment(make_lines(1)))
    (root / A).chmod(0o500)
    rejected = reject(root, b"{}\n")
    rejected.parent.chmod(0o500)
    (root / B / "lock").chmod(0o400)
    assert run("purge", "--yes", "--dead", "--rejected", directory=root) == (
        1,
        "\n".join(
            [
                f"{A} was not removed: its files cannot be deleted.",
                f"{B} was not removed: Permission denied.",
                "a.jsonl was not removed: Permission denied.",
                "0 records removed.\n",
            ]
        ),
        "",
    )


def test_a_spool_of_another_user_is_not_purged(root, run, monkeypatch):
    leave(root, A, make_segment(make_lines(2)))
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    status, out, err = run("purge", "--yes")
    assert (status, out) == (1, "")
    assert f"belongs to uid {uid}, and this process runs as uid {uid + 1}" in err
    assert names_of(root) == [A]


@pytest.mark.parametrize("age", ["7", "d", "-1d", "1.5h", "7 days", "²d", "9999999d"])
def test_a_duration_has_a_number_and_a_unit(run, age):
    status, _, err = run("purge", f"--older-than={age}")
    assert status == 2
    assert "like 90s, 30m, 12h or 7d" in err


def test_a_tool_has_to_be_named(capsys):
    assert main(["spool"]) == 2
    assert "tool" in capsys.readouterr().err
