"""What agrees with GKD's paper (arXiv:2306.13649) and what does not, in sentences."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np
from scipy import stats

from distillkit.programs.study.order.findings import PUBLISHED, Findings, number
from distillkit.programs.study.order.outcomes import Outcome, shift
from distillkit.statistics.finding import Finding

ORDER = ((1.0, "on-policy"), (0.5, "mixed"), (0.0, "supervised"))
"""By lambda; the paper's order on GSM8K, under every divergence."""

Cells = dict[tuple[float, str], Outcome]
"""By lambda and divergence, of those that the paper has too and that are judged."""


def agreement(found: Findings) -> list[str]:
    """One sentence a claim; none where GKD's table was not made."""
    cells = {
        (share, divergence): outcome
        for (policy, divergence), outcome in found.gkd.items()
        if (share := number(policy)) is not None
        and (share, divergence) in PUBLISHED
        and outcome.right is not None
    }
    tied = _tied(found)
    return [*([tied] if tied else []), *_order(cells), *_divergences(cells), *_rank(cells)]


def _tied(found: Findings) -> str | None:
    """A warning where the setting tells no method from the baseline."""
    rows = [row for row in found.equal_rows() if row["p_holm"] is not None]
    if any(row["p_holm"] < 0.05 for row in rows):
        return None
    return (
        f"No method is clearly apart from {found.baseline} here (Holm, 5 %): this setting tells "
        "them apart too little."
    )


def _order(cells: Cells) -> Iterator[str]:
    """Lambda: the paper's order of methods, over all divergences together."""
    columns = dict.fromkeys(divergence for _, divergence in cells)
    for (more, name), (less, other) in [
        (ORDER[0], ORDER[1]),
        (ORDER[1], ORDER[2]),
        (ORDER[0], ORDER[2]),
    ]:
        shared = [each for each in columns if {(more, each), (less, each)} <= cells.keys()]
        if shared:
            ours = _shift(
                cells, [(more, each) for each in shared], [(less, each) for each in shared]
            )
            theirs = _mean([(more, each) for each in shared]) - _mean(
                [(less, each) for each in shared]
            )
            claim = f"{name} over {other} (lambda {more:g} over {less:g})"
            yield _sentence(claim, ours, theirs, f"mean over {', '.join(shared)}")


def _divergences(cells: Cells) -> Iterator[str]:
    """Each pair of divergences, over all lambdas together."""
    names = list(dict.fromkeys(divergence for _, divergence in cells))
    for left, right in combinations(names, 2):
        shares = [share for share, name in cells if name == left and (share, right) in cells]
        if shares:
            keys = [[(share, side) for share in shares] for side in (left, right)]
            ours = _shift(cells, *keys)
            told = ", ".join(f"{share:g}" for share in shares)
            yield _sentence(
                f"{left} over {right}",
                ours,
                _mean(keys[0]) - _mean(keys[1]),
                f"mean over lambda {told}",
            )


def _rank(cells: Cells) -> Iterator[str]:
    """How far the cells' order is that of the paper."""
    ours = [outcome.mean for outcome in cells.values()]
    theirs = [PUBLISHED[key] for key in cells]
    if len(cells) > 3 and len(set(ours)) > 1 and len(set(theirs)) > 1:
        rho = stats.spearmanr(ours, theirs).statistic
        yield f"Over {len(cells)} cells our gains go with the paper's by rho {rho:+.2f} (Spearman)."


def _sentence(claim: str, ours: Finding, theirs: float, over: str) -> str:
    assert ours.low is not None
    assert ours.high is not None
    clear = ours.low > 0 or ours.high < 0
    same = (ours.estimate > 0) == (theirs > 0)
    verdict = "agrees" if clear and same else "contradicts" if clear else "is not clear here"
    return (
        f"{claim}: {100 * ours.estimate:+.1f} points ({100 * ours.low:+.1f} to "
        f"{100 * ours.high:+.1f}), the paper {theirs:+.1f}; {over}: {verdict}."
    )


def _shift(
    cells: Cells, left: Sequence[tuple[float, str]], right: Sequence[tuple[float, str]]
) -> Finding:
    sides = [
        [each for key in keys if (each := cells[key].right) is not None] for keys in (left, right)
    ]
    return shift(*sides)


def _mean(keys: Iterable[tuple[float, str]]) -> float:
    return float(np.mean([PUBLISHED[key] for key in keys]))
