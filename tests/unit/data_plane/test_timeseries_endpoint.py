"""Which endpoint is asked for time series: the setting, else the line of the project as it is now."""

from pathlib import Path

import pytest

from model_deployment.app.timeseries import TimeseriesEndpoint
from model_deployment.core.endpoints import EndpointName
from model_deployment.data_plane.route_table import RouteTable
from model_deployment.flow_project.project import Project

SALES = EndpointName("sales", "champion")
EXPERIMENT = """
experiments:
  sales:
    {class: "experiments.sales:Sales", data: data/sales.csv, target: sales, task: timeseries,
     time_column: date, model_types: [linear]}
"""


class Plane:
    def __init__(self) -> None:
        self.published: list[EndpointName | None] = []

    def publish(self, endpoint: EndpointName | None) -> None:
        self.published.append(endpoint)


def write(folder: Path, line: str) -> None:
    (folder / "settings.yaml").write_text(line + EXPERIMENT)


async def test_the_project_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plane = Plane()
    endpoint = TimeseriesEndpoint("", Project(tmp_path), plane.publish)
    for line in ("", "timeseries_endpoint: sales@champion", "nonsense: 1", "nonsense: 1", ""):
        write(tmp_path, line)
        await endpoint.look()
    assert plane.published == [None, SALES, None]
    (warning,) = caplog.messages  # once for the same problem
    assert "stays as it was" in warning
    (tmp_path / "settings.yaml").unlink()
    await endpoint.look()
    assert len(plane.published) == 3


async def test_the_setting_is_stronger(tmp_path: Path) -> None:
    plane = Plane()
    write(tmp_path, "timeseries_endpoint: other@champion")
    endpoint = TimeseriesEndpoint("sales@champion", Project(tmp_path), plane.publish)
    await endpoint.look()
    await endpoint.run()  # nothing to follow
    assert plane.published == [SALES]


async def test_without_a_project_there_is_none() -> None:
    plane = Plane()
    endpoint = TimeseriesEndpoint("", Project(None), plane.publish)
    await endpoint.look()
    await endpoint.run()
    assert plane.published == [None]


def test_it_goes_with_the_route_table(tmp_path: Path) -> None:
    table = RouteTable(tmp_path / "rows.json")
    table.set_timeseries(SALES)
    assert table.number == 0
    table.set_routes([])
    table.set_timeseries(None)
    assert table.number == 2
