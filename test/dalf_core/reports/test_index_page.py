"""The table of many runs."""
from __future__ import annotations

from dalf_core.reports.index_page import index_page
from dalf_core.reports.run_report import RunLine

from .page_reader import Page

SUMMARY = {"frames": 10, "status": {"lost": 1, "tracked": 7, "degraded": 2}, "median_residual_m": 0.00043, "median_matches": 91.0,
           "median_inliers": 88.5, "frames_per_second": 2.5}


def test_a_row_of_each_run() -> None:
    runs = [RunLine("a & b", "a%20%26%20b/report.html", SUMMARY, b"jpeg"), RunLine("<i>broken", "", {}, None, "no metrics.json <there>"),
            RunLine("colour", "colour/report.html", {"frames": 3, "status": {"matched": 3}, "median_residual_m": None})]
    page = Page("".join(index_page("all <of them>", runs)))
    links = [tag["href"] for name, tag in page.tags if name == "a"]
    assert links == ["a%20%26%20b/report.html", "colour/report.html"]
    assert [tag["src"] for name, tag in page.tags if name == "img"] == ["data:image/jpeg;base64,anBlZw=="]
    words = " ".join(page.text.split())
    assert "a & b 10 70.0 % 0.43 91 88 2.50 tracked 7, degraded 2, lost 1" in words
    assert "<i>broken no metrics.json <there>" in words and "colour 3 100.0 % matched 3" in words and "all <of them>3 runs;" in words
    assert "i" not in {name for name, _ in page.tags}
    widths = [tag["style"].split(";")[0] for name, tag in page.tags if name == "span" and "width" in (tag.get("style") or "")]
    assert widths == ["width: 70.00%", "width: 20.00%", "width: 10.00%", "width: 100.00%"]
    values = [tag["data-value"] for name, tag in page.tags if name == "td" and "data-value" in tag]
    assert values[:7] == ["a & b", "10", "0.7", "0.00043", "91.0", "88.5", "2.5"] and values[7:14] == ["<i>broken", *[""] * 6]
