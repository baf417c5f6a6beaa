import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from benchmarks.figures import FIGURES, Figure
from benchmarks.page import filled, write_page
from benchmarks.plots import PLOTS, share_of_must

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"
RESULTS = json.loads((ROOT / "benchmarks" / "results.json").read_text())


def test_the_page_says_what_the_results_say():
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page, RESULTS) == page, "Write it anew: python -m benchmarks --page"


def test_the_results_have_the_musts_of_today():
    musts = {figure.name: [figure.must, figure.aim] for figure in FIGURES}
    written = {name: [figure["must"], figure["aim"]] for name, figure in RESULTS["figures"].items()}
    assert written == {name: musts[name] for name in written}


def test_a_missed_must_is_named_on_the_page():
    results = {**RESULTS, "figures": {name: {"value": 1.0} for name in ("flask_off_x_null", "import_ms")}}
    assert "Each of the 2 musts is reached." in filled("<!-- benchmark: missed -->\n<!-- end -->", results)
    results["figures"]["import_ms"]["value"] = 26.0
    text = filled("<!-- benchmark: missed -->\nold\n<!-- end -->", results)
    assert "Of 2 musts 1 are reached" in text
    assert "- `import_ms`, import hublog, milliseconds of CPU: 26, must be ≤ 25" in text
    assert "old" not in text


def test_page_and_plots_are_written_from_the_results_alone(tmp_path):
    (tmp_path / "pictures").mkdir()
    page = tmp_path / "performance.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    write_page(RESULTS, page)
    assert page.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
    drawn = {path.stem for path in (tmp_path / "pictures").glob("*.svg")}
    assert drawn == {name for name, (part, _) in PLOTS.items() if part in RESULTS["parts"]}
    for path in (tmp_path / "pictures").glob("*.svg"):
        assert path.read_text(encoding="utf-8") == (PAGE.parent / "pictures" / path.name).read_text(
            encoding="utf-8"
        )


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_has_all_its_shapes_on_its_sheet(name):
    part, draw = PLOTS[name]
    if part not in RESULTS["parts"]:
        part_of_flask = {"details": {"flask": RESULTS["parts"]["requests"]["details"]["flask"]}}
        drawing = draw({**RESULTS, "parts": {**RESULTS["parts"], part: part_of_flask}})
    else:
        drawing = draw(RESULTS)
    sheet = ET.fromstring(drawing)  # noqa: S314  # made here
    width, height = float(sheet.get("width")), float(sheet.get("height"))
    places = [(float(shape.get("x")), float(shape.get("y"))) for shape in sheet.iter() if shape.get("y")]
    assert len(places) > 10
    assert all(0 <= x <= width and 0 <= y <= height for x, y in places)


@pytest.mark.parametrize(
    ("figure", "value", "share"),
    [
        (Figure("cost_x", "part", "text", 2.0), 1.0, 0.5),
        (Figure("rate_per_s", "part", "text", 100, is_least=True), 50, 2.0),
        (Figure("lost", "part", "text", 0), 0, 0),
        (Figure("lost", "part", "text", 0), 1, float("inf")),
        (Figure("rate_per_s", "part", "text", 100, is_least=True), 0, float("inf")),
    ],
)
def test_a_value_uses_up_a_share_of_its_must(figure, value, share):
    assert share_of_must(figure, value) == share
