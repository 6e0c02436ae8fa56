"""The pages of endpoints in a real browser: live, steered, with contrast, and as wide as the window."""

from dataclasses import replace

from model_deployment.core.endpoints import EndpointName, Order, RolloutState
from model_deployment.endpoints.findings import GuardReading, Judgement, Outcome
from tests.support.browser import Tab, expect
from tests.support.dashboard_app import served
from tests.support.endpoint_views import NAME, MemoryEndpoints, endpoint, rollout, steady, view
from tests.support.looks import faults

FAILED = GuardReading("errors", Outcome.FAILED, "14 % against 1 %", 0.01, 0.14, 512.0, 400.0)


def test_page_of_an_endpoint_is_live_and_steers_its_rollout(tab: Tab) -> None:
    endpoints, page = MemoryEndpoints(view()), tab.page
    with served(endpoints) as url:
        page.goto(url)
        page.get_by_role("link", name="diabetes@champion").click()
        expect(page.locator("#status")).to_contain_text("version 2 answers 25 % of the requests")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("#status")).to_contain_text("Paused.")
        expect(page.get_by_role("button", name="Resume")).to_be_visible()

        promote = page.get_by_role("button", name="Promote")
        promote.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Promote version 2?")
        expect(dialog).to_contain_text("Version 1 is kept ready for 1 h")
        page.keyboard.press("Escape")
        expect(promote).to_be_focused()
        assert endpoints.views[NAME].rollout.order is Order.PAUSE  # type: ignore[union-attr]
        promote.click()
        dialog.get_by_role("button", name="Promote").click()
        expect(page.locator("#status")).to_contain_text("Being promoted.")
        expect(promote).to_be_hidden()
        expect(page.locator("#name")).to_be_focused()

        # Nobody reloads: what the control loop does is shown.
        done = rollout(state=RolloutState.PROMOTED, reason="asked for by ann")
        endpoints.views[NAME] = view(
            rollout=done, endpoint=endpoint(champion=2, previous=1), judgement=None
        )
        expect(page.locator("#status")).to_contain_text(
            "Version 2 serves; promoted: asked for by ann"
        )
        expect(page.locator(".toast").last).to_have_text("diabetes@champion: version 2: promoted")
        expect(page.get_by_role("button", name="Roll back")).to_be_visible()
        del endpoints.views[NAME]
        expect(page.locator("#status")).to_have_text("The endpoint was deleted.")
        assert [one for one in tab.trouble if "404" not in one] == []
        page.goto(url)
        expect(page.get_by_text("Nothing is deployed")).to_be_visible()
        endpoints.views[NAME] = view()
        expect(page.get_by_role("link", name="diabetes@champion")).to_be_visible()


def test_pages_of_endpoints_have_contrast_and_fit_every_width(tab: Tab) -> None:
    stopped = EndpointName("a" * 60, "b" * 60)
    views = (
        view(),
        replace(
            view(
                endpoint=endpoint(stopped, notice="the alias was deleted"),
                rollout=rollout(state=RolloutState.ROLLED_BACK, reason="x" * 200),
            ),
            judgement=Judgement(Outcome.FAILED, "more errors", (FAILED,)),
        ),
        steady(EndpointName("wine", "champion")),
    )
    page, found = tab.page, list[str]()
    with served(MemoryEndpoints(*views)) as url:
        for path in ("", *(f"dashboard/endpoints{one.endpoint.name.path}" for one in views)):
            page.set_viewport_size({"width": 1280, "height": 800})
            page.goto(f"{url}/{path}")
            found += faults(page, path)
    assert found == [], "\n".join(found)
    assert tab.trouble == []
