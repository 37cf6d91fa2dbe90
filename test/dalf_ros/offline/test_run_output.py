"""What is told when nothing was followed."""
from __future__ import annotations

from dalf_ros.offline.run_output import why_nothing_followed


def frame(status: str, reason: str = "", is_reference: bool = False, gap_s: float | None = None) -> dict:
    return {"status": status, "reason": reason, "is_reference": is_reference, "gap_s": gap_s}


def test_nothing_is_told_where_a_frame_was_followed() -> None:
    assert why_nothing_followed([frame("lost"), frame("degraded")], True) == ""
    assert why_nothing_followed([frame("tracked", is_reference=True), frame("lost", "2 matches")], True) != ""
    assert why_nothing_followed([frame("matched")], False, "cup.dalf") == ""


def test_the_commonest_reason_and_its_mend() -> None:
    frames = [frame("lost", "2 matches"), frame("lost", "2 matches"), frame("no_depth", "none", gap_s=0.1)]
    told = why_nothing_followed(frames, True)
    assert told == "nothing was followed: 2 of 3 frames are lost (2 matches)"
    assert "does this recording show what cup.dalf does? If it is small in the image, --image-scale 2" in why_nothing_followed(
        frames, True, "cup.dalf")
    late = [frame("no_depth", "none near", gap_s=0.1)] * 3
    assert why_nothing_followed(late, True, "cup.dalf").endswith("the nearest is 0.100 s later: --tolerance 0.15 would join them")
