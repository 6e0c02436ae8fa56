"""A project of flows with one experiment and two rows of data, for tests that train nothing."""

from pathlib import Path

HEADER = "age,occupation,income\n"
SETTINGS = """
experiments:
  income:
    class: experiments.income:Income
    data: income.csv
    target: income
    task: classification
    model_types: [random_forest]
"""


def make_project(folder: Path) -> Path:
    """Write the project into a new folder."""
    folder.mkdir()
    (folder / "settings.yaml").write_text(SETTINGS)
    (folder / "income.csv").write_text(f"{HEADER}39,Sales,>50K\n50,?,<=50K\n")
    return folder
