"""The search for words of conversations in log files."""

from pathlib import Path

from tests.support.marked_words import MARK, logs_with_marked_words


def test_a_log_with_a_marked_word_is_found(tmp_path: Path) -> None:
    leaking, clean = tmp_path / "stack" / "stderr.log", tmp_path / "worker.log"
    leaking.parent.mkdir()
    leaking.write_bytes(b"\xff dropped: " + MARK.encode())
    clean.write_text("a reply was saved")
    assert logs_with_marked_words(tmp_path) == [leaking]
    leaking.unlink()
