import os
import stat

from hublog_local.run import _write_whole


def test_only_the_owner_may_read_what_holds_the_key(tmp_path):
    path = tmp_path / "new" / "ready"
    before = os.umask(0)
    try:
        _write_whole(path, "Endpoint=first\n")
        path.chmod(0o666)
        _write_whole(path, "Endpoint=second\n")
    finally:
        os.umask(before)
    assert path.read_text() == "Endpoint=second\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
