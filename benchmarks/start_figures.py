"""The figures of ``start.py``: their table, their picture, and the bars that they must stay within."""

import statistics
from dataclasses import dataclass
from pathlib import Path

import load
from load import Load
from report import ROOT

COUNTS = (1, 10, 100)
#: Models that are starting at once, as with the controller's default on two cores.
AT_ONCE = 2
#: Rounds of one row at a time, of which the best counts.
ROUNDS = 3
MB = 1024 * 1024
#: Seconds until a model is ready (p50), until a hundred are, and bytes of those together.
READY_BAR, ALL_BAR, MEMORY_BAR = 0.5, 60.0, 6 * 1024 * MB
CHART = ROOT / "docs" / "images" / "starting.png"


@dataclass(frozen=True)
class Many:
    """So many models, started one after the other or some at once."""

    count: int
    seconds: float
    pss: int


@dataclass(frozen=True)
class Kind:
    """One way to start models."""

    name: str
    ready: list[float]
    many: list[Many]

    @property
    def p50(self) -> float:
        """Seconds until a model answers."""
        return statistics.median(self.ready)


@dataclass(frozen=True)
class OneRow:
    """The best rounds of a caller who sends one row at a time."""

    direct: Load
    proxied: Load


def table(kinds: list[Kind], row: OneRow) -> str:
    """The figures in Markdown."""
    lines = [
        f"A regressor of ten columns (scikit-learn's `Ridge`), {AT_ONCE} starting at a time.",
        "",
        "| | models | all ready after | memory | per model |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| `{one.name}` | {many.count} | {many.seconds:.2g} s | {many.pss / MB:,.0f} MB "
        f"| {many.pss / MB / many.count:,.0f} MB |"
        for one in kinds
        for many in one.many
    ]
    ready = " and ".join(f"{one.p50:.2f} s (`{one.name}`)" for one in kinds)
    return "\n".join(
        [
            *lines,
            "",
            f"Started by itself, a model answers after {ready} (p50). One row, one caller ({load.tool()}, "
            f"best of {ROUNDS} rounds each): {row.proxied.p50:.2f} ms through the proxy to a fork, "
            f"{row.direct.p50:.2f} ms to `mlflow models serve` directly.",
        ]
    )


def chart(kinds: list[Kind], file: Path = CHART) -> None:
    """A picture of time and memory by number of models."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
    colours = {"serve": "#b0b7c3", "forkserver": "#2563eb"}
    labels = {"serve": "mlflow models serve", "forkserver": "model_deployment (fork)"}
    for one in kinds:
        counts = [many.count for many in one.many]
        style = {"marker": "o", "color": colours[one.name], "label": labels[one.name]}
        seconds = [many.seconds for many in one.many]
        memory = [many.pss / MB / 1024 for many in one.many]
        for axes, values in ((left, seconds), (right, memory)):
            axes.plot(counts, values, **style)
            for at in zip(counts, values, strict=True):
                axes.annotate(
                    f"{at[1]:.2g}", at, (0, 6), textcoords="offset points", ha="center", fontsize=8
                )
    for axes, title in ((left, "seconds until all are ready"), (right, "memory, GB")):
        axes.set(xscale="log", yscale="log", title=title, xlabel="models")
        axes.set_xticks(COUNTS, [str(count) for count in COUNTS])
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(ticker.NullFormatter())
        axes.margins(y=0.15)
        axes.grid(alpha=0.3)
    left.legend(frameon=False, fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)


def short_of(kinds: list[Kind], row: OneRow) -> list[str]:
    """The bars that were missed."""
    forks = next(one for one in kinds if one.name == "forkserver")
    most = forks.many[-1]
    missed = []
    if forks.p50 > READY_BAR:
        missed.append(f"ready after {forks.p50:.2f} s is above the bar of {READY_BAR:g} s")
    if most.seconds > ALL_BAR:
        missed.append(f"{most.count} models after {most.seconds:.0f} s is above {ALL_BAR:g} s")
    if most.pss > MEMORY_BAR:
        missed.append(f"{most.pss / MB:,.0f} MB is above the bar of {MEMORY_BAR / MB:,.0f} MB")
    if row.proxied.p50 >= row.direct.p50:
        missed.append(f"{row.proxied.p50:.2f} ms is not below {row.direct.p50:.2f} ms")
    return missed
