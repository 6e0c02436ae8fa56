"""The calls for the project of flows: its settings and their history."""

from model_deployment.client.answers import FlowProject, SavedSettings, SavedText, SettingsCheck
from model_deployment.client.exchange import path
from model_deployment.client.sync.connection import Connection

_YAML = {"Content-Type": "application/yaml"}


class ProjectOfFlows(Connection):
    """The project of flows. Settings are YAML, as in the file ``settings.yaml``."""

    def flow_project(self) -> FlowProject:
        """The settings of the project, and what each run may be given.

        Raises:
            ApiError: 404, no project is set.
        """
        found: FlowProject = self.data("GET", "/api/flow-project")
        return found

    def flow_settings(self) -> tuple[str, str]:
        """The text of ``settings.yaml``, and its tag for :meth:`save_flow_settings`."""
        answer = self.request("GET", "/api/flow-project/settings")
        return answer.text, answer.headers["etag"]

    def save_flow_settings(self, text: str, *, expected: str | None = None) -> SavedSettings:
        """Save the settings.

        Args:
            expected: the tag of the text that this one replaces; None replaces any.

        Raises:
            ApiError: 412, somebody has changed the settings meanwhile; 422, they cannot be used, and
                ``problem["problems"]`` names lines.
        """
        headers = _YAML if expected is None else {**_YAML, "If-Match": expected}
        found: SavedSettings = self.data(
            "PUT", "/api/flow-project/settings", content=text.encode(), headers=headers
        )
        return found

    def check_flow_settings(self, text: str) -> SettingsCheck:
        """Whether settings can be used; saves nothing."""
        found: SettingsCheck = self.data(
            "POST", "/api/flow-project/settings/check", content=text.encode(), headers=_YAML
        )
        return found

    def flow_settings_history(self, *, limit: int | None = None) -> list[SavedSettings]:
        """The texts that the settings have had, the newest first."""
        found: list[SavedSettings] = self.data(
            "GET", "/api/flow-project/history", params={"limit": limit}
        )
        return found

    def saved_flow_settings(self, number: int) -> SavedText:
        """One text that the settings have had."""
        found: SavedText = self.data("GET", path("/api/flow-project/history/{}", str(number)))
        return found
