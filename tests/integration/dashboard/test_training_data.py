"""The pages of training data: an upload with what does not fit, and hostile texts that stay texts."""

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from model_deployment.training_data.versions import Column, Version, Versions
from tests.support.browser import Tab, expect
from tests.support.harness import Controller, Controllers
from tests.support.income_project import HEADER, make_project
from tests.support.looks import faults

HOSTILE = '<img src=x onerror="alert(1)">=HYPERLINK("http://x")'


@pytest.fixture
def controller(controllers: Controllers, tmp_path: Path) -> Controller:
    """With a project."""
    project = make_project(tmp_path / "project")
    return controllers(FLOWS_PROJECT=project).up()


def keep(data_dir: Path) -> str:
    """A version whose texts are hostile, with an analysis."""
    versions = Versions(data_dir)
    with versions.incoming() as folder:
        (folder / "data.csv").write_text("a\n1\n")
        sha256 = hashlib.sha256(b"a\n1\n").hexdigest()
        versions.keep(
            folder,
            Version(
                sha256=sha256, experiment="income", format="csv", rows=1234567,
                columns=(Column(HOSTILE, "int64"), Column("", "string"), Column("x" * 300, "string")),
                bytes=4, uploaded_at=datetime.now(UTC), uploaded_by=None, name=HOSTILE,
                path=folder / "data.csv",
            ),
        )  # fmt: skip
    finding = {
        "severity": "error", "code": "gone", "column": HOSTILE, "message": HOSTILE + "x" * 200,
        "advice": "Look at the source.",
    }  # fmt: skip
    mild = {**finding, "severity": "warning", "column": None, "message": "Some are missing."}
    summary = {
        "stops": True, "headline": HOSTILE, "counts": {"error": 1, "warning": 2},
        "findings": [finding, mild],
    }  # fmt: skip
    versions.keep_analysis(sha256, "income", summary, "<!doctype html><title>Report</title><p>page")
    return sha256


def test_a_file_is_uploaded_after_what_does_not_fit_was_shown(
    controller: Controller, tab: Tab, tmp_path: Path
) -> None:
    page = tab.page
    page.goto(f"{controller.url}/dashboard/datasets")
    wrong, right = tmp_path / "wrong.csv", tmp_path / "right.csv"
    wrong.write_text("age,income\nold,>50K\n")
    right.write_text(f"{HEADER}41,Sales,>50K\n")
    file = page.get_by_label("File")
    file.set_input_files(wrong)
    page.get_by_label("Start the full flow").uncheck()
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("#upload-problem")).to_contain_text(
        "columns of the original data are missing"
    )
    assert any("422" in one for one in tab.trouble)
    tab.trouble.clear()
    file.set_input_files(right)
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url(re.compile("/dashboard/datasets/[0-9a-f]{64}"))
    expect(page.locator("h1")).to_have_text("right.csv")
    page.get_by_role("button", name="Delete").click()
    page.locator("#sure-go").click()
    page.wait_for_url(re.compile("/dashboard/datasets$"))
    expect(page.locator(".empty h2")).to_have_text("No uploads yet")
    assert tab.trouble == []


def test_the_pages_show_texts_of_others_as_texts_and_fit_every_width(
    controller: Controller, tab: Tab
) -> None:
    sha256 = keep(controller.data)
    page = tab.page
    found = []
    for path in ("/dashboard/datasets", f"/dashboard/datasets/{sha256}"):
        page.goto(controller.url + path)
        expect(page.locator("main")).to_contain_text(HOSTILE)
        for part in page.locator("details").all():
            part.evaluate("one => { one.open = true; }")
        found += faults(page, path)
    assert found == [], "\n".join(found)
    expect(page.locator("main")).to_contain_text("1,234,567 rows")
    page.get_by_role("link", name="Open the report").click()
    expect(page.locator("p")).to_have_text("page")
    assert tab.trouble == []
