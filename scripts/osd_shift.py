"""Sharp shifts: does a draft that learns while it serves keep up with drafts that knew what came?

    python -m scripts.osd_shift draft
    python -m scripts.osd_shift runs --tune | xargs -P 2 -I {} sh -c '{}'
    python -m scripts.osd_shift runs | xargs -P 2 -I {} sh -c '{}'
    python -m scripts.osd_shift table --picture docs/osd.png

Four domains of the embedded world, one after another. Online drafts begin as two layers of the
embedded student and learn from the labels of verification alone. Static ones never learn while they
serve, and were trained beforehand on the target's text to a share of the very stream. Each rate is
the one with the highest acceptance on a shorter stream of another seed.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure

from distillkit.core.reading import read_json_lines
from distillkit.core.rundir import WAY_OUT
from distillkit.models.loading import locate
from distillkit.online.tallies import rolling, tally
from distillkit.statistics.paired import t_test
from scripts.cut import write_cut

DRAFT = Path("outputs/models/embedded_cut_2")
DOMAINS = ("market", "journey", "maze", "large")
ONLINE = {name: f"divergence={name}" for name in ("forward_kl", "reverse_kl", "jsd", "tvd")}
STATIC = {
    f"static {share}%": f"update.interval=null offline.share={share / 100}"
    for share in (10, 30, 50, 70, 100)
}
WARM = {
    "forward_kl after 10%": "divergence=forward_kl offline.share=0.1",
    "forward_kl, replay": "divergence=forward_kl buffer.keep=true buffer.replay=0.75 "
    "buffer.capacity=8192",
}
"""Trained beforehand on as little as the first static one, then online, as in the paper; and with
24 old requests beside every 8 new ones, so that each is learned from four times."""
NEVER = {"never learned": "update.interval=null"}
RATES = (3e-4, 1e-3, 3e-3)
TUNED, PILOT = 100, 300
"""Seed of the streams on which rates are chosen, and their requests a domain."""
SEEDS = (0, 1, 2)
REQUESTS = 2000
WINDOWS = ((50, 250), (500, 700), (1000, 1200), (1700, 2000))
"""Requests of a phase that the paper's curves were read at."""
BLOCK = 100
"""Requests whose acceptance is one unit of a paired test."""
PAPER = (
    "| published, Vicuna-7B and LLaMA-160M | .66 .70 .71 .73 | .55 .61 .66 .68 | "
    ".61 .64 .65 .66 | .61 .56 .59 .62 | |"
)
"""On GSM8K, Spider, Finance and Python (arXiv:2310.07177), read off the authors' plots."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Output = Annotated[Path, typer.Option(help="Where the run directories go.")]


@app.command()
def draft() -> None:
    """Cut the draft out of the embedded student."""
    if not DRAFT.exists():
        DRAFT.parent.mkdir(parents=True, exist_ok=True)
        write_cut(Path(locate("embedded:student")), DRAFT, 2)
    print(f"{DRAFT} is there")


@app.command()
def runs(
    output: Output = Path("outputs/shift"),
    tune: Annotated[bool, typer.Option(help="Those that rates are chosen by.")] = False,
) -> None:
    """Print the commands of all runs that are not done."""
    for name, seed, typed in _trials() if tune else _measured(output):
        folder = output / "osd" / name
        if not (folder / "summary.json").exists():
            command = f"OMP_NUM_THREADS=1 distillkit osd output={output} name={name}"
            print(f"{command} {_typed(seed)} {typed}")


@app.command()
def table(
    output: Output = Path("outputs/shift"),
    picture: Annotated[Path | None, typer.Option(help="A PNG to write.")] = None,
) -> None:
    """Acceptance by phase, differences between divergences, and the picture of one seed."""
    methods = {**ONLINE, **WARM, **STATIC, **NEVER}
    found = {name: [_rows(output, _name(name, seed)) for seed in SEEDS] for name in methods}
    windows = ", ".join(f"{first}-{last}" for first, last in WINDOWS)
    print(f"| α at requests {windows} | {' | '.join(DOMAINS)} | all |")
    print("|---|" + "---|" * (len(DOMAINS) + 1))
    for name, seeds in found.items():
        cells = [
            " ".join(f"{_alpha(seeds, phase, window):.3f}".lstrip("0") for window in WINDOWS)
            for phase in range(len(DOMAINS))
        ]
        print(f"| {name} | {' | '.join(cells)} | {_alpha(seeds):.3f} |")
    print(PAPER)
    print()
    _differences(found)
    if picture is not None:
        _draw(found, picture)


def _differences(found: dict[str, list[list[dict[str, Any]]]]) -> None:
    """Every online draft against forward KL, and against drafts trained beforehand."""
    late = {name: _blocks(seeds, late=True) for name, seeds in found.items()}
    whole = {name: _blocks(seeds, late=False) for name, seeds in found.items()}
    for name in (*ONLINE, *WARM):
        for other, units, where in (
            ("forward_kl", whole, "all requests"),
            ("static 70%", late, "second half of each phase"),
            ("static 10%", whole, "all requests"),
        ):
            if name == other:
                continue
            test = t_test(units[name], units[other], unit=f"blocks of {BLOCK} requests")
            print(
                f"{name} over {other}, {where}: {test.estimate:+.4f} "
                f"({test.low:+.4f} to {test.high:+.4f}), p {test.p:.2g}, n {test.n}"
            )


def _blocks(seeds: Sequence[list[dict[str, Any]]], *, late: bool) -> list[float]:
    return [
        tally(rows[start : start + BLOCK])["alpha"]
        for rows in seeds
        for start in range(0, len(rows), BLOCK)
        if not late or start % REQUESTS >= REQUESTS // 2
    ]


def _alpha(
    seeds: Sequence[list[dict[str, Any]]],
    phase: int | None = None,
    window: tuple[int, int] = (0, REQUESTS),
) -> float:
    parts = []
    for rows in seeds:
        start = 0 if phase is None else phase * REQUESTS
        part = rows if phase is None else rows[start + window[0] : start + window[1]]
        parts.append(tally(part)["alpha"])
    return float(np.mean(parts))


def _draw(found: dict[str, list[list[dict[str, Any]]]], file: Path) -> None:
    figure = Figure(figsize=(10, 4.2))
    axes = figure.subplots(gridspec_kw={"left": 0.06, "right": 0.99, "bottom": 0.12, "top": 0.93})
    shades = {"static 10%": "#ced4da", "static 70%": "#868e96", "never learned": "#e9ecef"}
    colours = {
        "forward_kl, replay": "#6741d9",
        "forward_kl": "#1f5fa8",
        "reverse_kl": "#c92a2a",
        "jsd": "#2b8a3e",
        "tvd": "#e67700",
    }
    for name, colour in {**shades, **colours}.items():
        curves = [
            [
                alpha
                for start in range(0, len(rows), REQUESTS)
                for alpha in rolling(rows[start : start + REQUESTS], 100)
            ]
            for rows in found[name]
        ]
        width = 1.6 if name in colours else 1.2
        axes.plot(np.mean(curves, axis=0), color=colour, label=name, linewidth=width)
    for nth, domain in enumerate(DOMAINS):
        axes.axvline(nth * REQUESTS, color="#adb5bd", linewidth=0.7)
        axes.text(nth * REQUESTS + 40, axes.get_ylim()[1], domain, va="top", fontsize=9)
    axes.set(xlabel="request", ylabel="α = Σ min(p, q)", xlim=(0, len(DOMAINS) * REQUESTS))
    axes.legend(fontsize=8, frameon=False, ncols=4, loc="lower right")
    figure.savefig(file, dpi=130)


def _trials() -> Iterator[tuple[str, int, str]]:
    """Runs by which the rate of every method is chosen; a static one is tuned at 70 %."""
    for name, typed in {**ONLINE, "static 70%": STATIC["static 70%"]}.items():
        for rate in RATES:
            field = "optimizer" if name in ONLINE else "offline"
            given = f"{typed} {field}.lr={rate} stream.requests={PILOT} probe.every=0"
            yield _trial(name, rate), TUNED, given


def _measured(output: Path) -> Iterator[tuple[str, int, str]]:
    for seed in SEEDS:
        for name, typed in {**ONLINE, **WARM, **STATIC, **NEVER}.items():
            given = f"{typed} stream.requests={REQUESTS} probe.every=500"
            online = "forward_kl" if name in WARM else name
            if name not in STATIC and name not in NEVER:
                given += f" optimizer.lr={_best(output, online)}"
            if name in STATIC or name in WARM:
                given += f" offline.lr={_best(output, 'static 70%')}"
            yield _name(name, seed), seed, given


def _best(output: Path, name: str) -> float:
    """The rate with the highest acceptance over its trial."""
    tuned = name if name in ONLINE else "static 70%"
    return max(RATES, key=lambda rate: tally(_rows(output, _trial(tuned, rate)))["alpha"])


def _typed(seed: int) -> str:
    worlds = " ".join(f"domain.{domain}.seed={seed}" for domain in DOMAINS)
    return (
        f"student.name={DRAFT} seed={seed} {worlds} rollout.batch_size=8 checkpoint.every=2000 "
        "tracker=none"
    )


def _name(name: str, seed: int) -> str:
    return f"{_plain(name)}-{seed}"


def _trial(name: str, rate: float) -> str:
    return f"tune-{_plain(name)}-{rate:g}"


def _plain(name: str) -> str:
    """As a folder may be called."""
    return name.replace(" ", "_").replace(",", "").rstrip("%")


def _rows(output: Path, name: str) -> list[dict[str, Any]]:
    file = output / "osd" / name / "requests.jsonl"
    rows: list[dict[str, Any]] = read_json_lines(file, dict[str, Any], way_out=WAY_OUT)
    return rows


if __name__ == "__main__":
    app()
