"""The table of flavors in docs/."""

import datetime
import json
import os
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from benchmarks import report
from tests.flavors.compare import Answer, as_mlflow
from tests.flavors.corpus import FLAVORS, GONE, MISSING
from tests.flavors.flavor import Flavor

PAGE = report.ROOT / "docs" / "reference" / "flavors.md"
MEGABYTE = 1_000_000
#: Characters of a reason that the table shows.
SHOWN = 110


@dataclass
class Outcome:
    """What came of one model."""

    model: str
    #: Seconds from the deploy call to ready, with the copy of its files.
    start: float
    bytes: int
    signature: bool
    #: Bytes of memory that no other process shares.
    private: int = 0
    #: Bytes of memory, where shared ones are divided among those that share them.
    pss: int = 0
    merging: dict[str, Any] = field(default_factory=dict)
    #: Forms whose answer is that of ``pyfunc.predict``.
    equal: list[str] = field(default_factory=list)
    #: Forms whose answer is that of ``mlflow models serve``, but not that of pyfunc; and our status.
    alike: list[tuple[str, int]] = field(default_factory=list)
    #: Forms that are known to differ, and why.
    differs: list[tuple[str, str]] = field(default_factory=list)
    #: What nobody has explained.
    problems: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, file: Path) -> Self:
        """The inverse of :meth:`keep`."""
        return cls(**json.loads(file.read_text()))

    def keep(self, folder: Path, manager: str) -> None:
        """Write it down, for the table."""
        _file(folder, self.model, manager).write_text(json.dumps(asdict(self)))

    def note(self, flavor: Flavor, form: str, ours: Answer, theirs: Answer) -> None:
        """Note an answer that is not that of pyfunc.

        Args:
            theirs: what the program of ``mlflow models serve`` answers to the same request.
        """
        if as_mlflow(ours, theirs, flavor.tolerance):
            self.alike.append((form, ours.status))
        elif form in flavor.differs:
            self.differs.append((form, flavor.differs[form]))
        else:
            told = f"{self.model}, {form}: {str(ours)[:600]}"
            self.problems.append(f"{told}\n  mlflow models serve: {str(theirs)[:600]}")


def write(folder: Path, manager: str) -> None:
    """Put what came of all models into the page, between the markers of their ``env_manager``."""
    lines = [
        f"MLflow {version('mlflow')}, Python {platform.python_version()}, {os.cpu_count()} processors, "
        f"`env_manager={manager}`, {datetime.date.today():%Y-%m-%d}.",
        "",
        "| model | flavor | library | equal | as `mlflow models serve` | merged | memory | start | files |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for flavor in FLAVORS.values():
        for model in flavor.models:
            if (file := _file(folder, model, manager)).exists():
                lines.append(_line(flavor, Outcome.read(file)))
    if manager == "local":
        lines += ["", *(f"- `{name}`: {why}." for name, why in MISSING.items())]
        lines.append(
            f"- MLflow has these flavors no more: {', '.join(f'`{one}`' for one in GONE)}."
        )
    report.write(manager, "\n".join(lines), f"## With `env_manager={manager}`", PAGE)


def _file(folder: Path, model: str, manager: str) -> Path:
    return folder / f"{model}.{manager}.outcome"


def _line(flavor: Flavor, one: Outcome) -> str:
    alike = [f"{form} ({status})" for form, status in one.alike]
    alike += [f"{form}: {why}" for form, why in one.differs]
    alike += [f"**{problem.splitlines()[0][:SHOWN]}**" for problem in one.problems]
    rows = one.merging.get("max_rows", 0)
    # What it is; why that matters is said of all of them alike.
    merged = f"{rows} rows" if rows else f"no: {one.merging.get('reason', '').partition(',')[0]}"
    cells = [
        f"`{one.model}`" + ("" if one.signature else " (no signature)"),
        f"`{flavor.flavor}`",
        f"{flavor.library} {version(flavor.library)}",
        ", ".join(one.equal),
        "; ".join(filter(None, [", ".join(alike), flavor.remark])),
        merged,
        f"{one.private / MEGABYTE:.0f} MB ({one.pss / MEGABYTE:.0f})",
        f"{one.start:.1f} s",
        f"{one.bytes / MEGABYTE:.2f} MB",
    ]
    return f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in cells)} |"
