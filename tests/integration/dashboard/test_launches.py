"""The launches of a deployment on its page: the table, the number of replicas, logs and events of each."""

from tests.support.browser import Tab, expect
from tests.support.harness import Controller

KEY = "stub-1"


def test_replicas_are_listed_scaled_and_their_logs_chosen(controller: Controller, tab: Tab) -> None:
    controller.deploy(KEY)
    page = tab.page
    where = f"{controller.url}/dashboard/deployments/{KEY}"
    page.goto(f"{where}?tab=overview")
    expect(page.locator("#charts")).not_to_have_text("Loading …")
    # One launch needs no table.
    expect(page.locator("#launches")).to_have_count(0)
    about = page.locator("#about div").filter(has_text="Threads of each worker")
    expect(about.locator("dd")).to_have_text(str(controller.row(KEY)["threads"]))

    page.goto(f"{where}?tab=settings")
    expect(page.locator("#replicas")).to_have_text("1 of 1 serve")
    scale = page.locator("#scale [name=replicas]")
    expect(page.locator("#scale-go")).to_be_disabled()
    for wrong in ("0-", "x", "4-2", ""):
        scale.fill(wrong)
        expect(page.locator("#scale-go")).to_be_disabled()
    scale.fill("2")
    page.locator("#scale-go").click()
    expect(page.locator("#replicas")).to_have_text("2 of 2 serve")
    expect(page.locator("[data-live-cell=state]")).to_contain_text("2/2")
    expect(page.locator("#scale-go")).to_be_disabled()

    page.goto(f"{where}?tab=overview")
    rows = page.locator("#launches tbody tr")
    expect(rows).to_have_count(2)
    _, second = controller.row(KEY)["launches"]
    expect(rows.nth(1)).to_contain_text(f"process {second['pid']}")
    expect(rows.nth(1)).to_contain_text(second["launch_id"])
    titles = page.locator("#launches thead th").all_inner_texts()
    threads = rows.nth(1).locator("th, td").nth(titles.index("Threads"))
    expect(threads).to_have_text(str(second["threads"]))
    expect(page.locator("[data-part=launches]")).to_contain_text("2 of 2 replicas serve")
    # It is live: a third one appears without a reload.
    controller.call("PATCH", f"/model/{KEY}", json={"replicas": 3})
    expect(rows).to_have_count(3)
    page.get_by_role("link", name=second["launch_id"]).click()
    page.wait_for_url(f"**tab=logs&launch={second['launch_id']}")
    expect(page.locator("#lines")).to_contain_text("stub")
    chosen = page.locator("#wanted [name=launch]")
    expect(chosen).to_have_value(second["launch_id"])
    expect(chosen.locator("option:checked")).to_contain_text("replica 1")
    page.locator("#events-wanted [name=text]").fill("replica 2")
    expect(page.locator("#events tbody tr").first).to_contain_text("replica 2")
    expect(page.locator("#events tbody")).not_to_contain_text("replica 0")

    page.goto(controller.url)
    row = page.locator(f"tr[data-name={KEY}]")
    expect(row.locator("[data-cell=state]")).to_contain_text("3/3")
    assert tab.trouble == []
