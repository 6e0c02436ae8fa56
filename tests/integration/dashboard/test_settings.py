"""The tab "Settings" and the deploy form: options in place, and the same as a command."""

from tests.support.browser import Tab, expect
from tests.support.harness import Controller, Controllers

KEY = "stub-1"


def test_options_are_changed_on_the_page(controllers: Controllers, tab: Tab) -> None:
    controller = controllers().up()
    first = controller.deploy("flaky-1")
    page = tab.page
    page.goto(f"{controller.url}/dashboard/deployments/flaky-1?tab=settings")
    expect(page.locator("#change-go")).to_be_disabled()
    page.get_by_label("Request validation").select_option("observe")
    expect(page.locator("#difference")).to_contain_text("changes at once")
    page.locator("#change-go").click()
    page.wait_for_event("load")
    assert controller.row("flaky-1")["options"]["validation"] == "observe"
    # One that needs a launch, which fails at first.
    (controller.data / "work" / "flaky").touch()
    page.get_by_label("Worker processes").fill("2")
    expect(page.locator("#difference")).to_contain_text("A new launch is needed")
    expect(page.locator("#difference")).to_contain_text("of memory")
    assert "--replace --workers 2" in page.locator("#change-cli").text_content()
    assert """-d '{"workers":2}'""" in page.locator("#change-curl").text_content()
    page.locator("#change-go").click()
    expect(page.locator("#replacement")).to_contain_text("failed: the process exited")
    assert controller.row("flaky-1")["pid"] == first["pid"]
    (controller.data / "work" / "flaky").unlink()
    page.reload()
    page.get_by_label("Worker processes").fill("3")
    page.locator("#change-go").click()
    page.wait_for_event("load")
    expect(page.get_by_label("Worker processes")).to_have_value("3")
    expect(page.locator("#replacement")).to_be_hidden()
    page.locator("#park").click()
    expect(page.locator("[data-live-cell=state]")).to_contain_text("parked")
    assert tab.trouble == []


def test_replicas_and_limits_are_changed_on_the_page(controller: Controller, tab: Tab) -> None:
    controller.deploy(KEY)
    page = tab.page
    page.goto(f"{controller.url}/dashboard/deployments/{KEY}?tab=settings")
    replicas = page.locator("#change-replicas")
    for wrong in ("0x2", "4-1", "two", "1-2-3"):
        replicas.fill(wrong)
        expect(page.locator("#difference")).to_have_text("Nothing is changed yet.")
    replicas.fill("1-2")
    expect(page.locator("#difference")).to_contain_text("changes at once")
    assert page.locator("#change-cli").text_content().endswith("--replace --replicas 1-2")
    assert """-d '{"replicas":{"min":1,"max":2}}'""" in page.locator("#change-curl").text_content()
    page.locator("#change-go").click()
    page.wait_for_event("load")
    assert controller.row(KEY)["options"]["replicas"] == {"min": 1, "max": 2}
    expect(replicas).to_have_value("1-2")
    expect(page.locator("#change-go")).to_be_disabled()
    page.locator("#change-memory_limit").fill("512MiB")
    page.locator("#change-cpu_limit").fill("0.5")
    assert (
        page.locator("#change-cli")
        .text_content()
        .endswith("--replace --memory-limit 512MiB --cpu-limit 0.5")
    )
    expect(page.locator("#difference")).to_contain_text("Memory limit, Processor limit")


def test_a_version_is_deployed_with_nothing_but_the_button(
    controller: Controller, tab: Tab
) -> None:
    page = tab.page
    page.goto(f"{controller.url}/dashboard/registry/stub")
    page.locator("[data-deploy='1']").click()
    expect(page.locator("#deploy-room")).to_contain_text("It takes about")
    assert page.locator("[name=workers]").is_hidden()
    page.locator("#deploy-advanced summary").click()
    page.get_by_label("Worker processes").fill("2")
    page.locator("#new-replicas").fill("2")
    page.get_by_label("Columns not captured").fill("x, y z")
    page.locator("#deploy .commands summary").click()
    expect(page.locator("#deploy-cli")).to_have_text(
        "model-deployment deploy stub 1 --workers 2 --replicas 2 --capture-exclude x "
        "--capture-exclude 'y z'"
    )
    page.locator("#deploy-go").click()
    page.wait_for_url("**/deployments/stub-1*")
    assert controller.row(KEY)["options"]["capture_exclude"] == ["x", "y z"]
    assert tab.trouble == []
