"""Run directories as training and evaluation leave them, with numbers that could be true."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp
from pathlib import Path

import numpy as np
import yaml

from distillkit.core.spec import discover
from distillkit.evaluation.folder import EvaluationFolder
from distillkit.metrics.base import Tally

NAMES = ("Ben", "Anna", "Emma", "Omar", "Lucia")
THINGS = ("books", "cards", "shells", "coins", "apples")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One run to build."""

    name: str
    beta: float = 0.5
    lmbda: float = 0.5
    seed: int = 0
    n: int = 200
    first: int = 0
    selection: str = "last"
    export: str = "last"


def build_grid(output: Path, *, seeds: int = 3, n: int = 120) -> Path:
    """A sweep of 3 betas, 2 lambdas and some seeds, each run evaluated; returns its folder."""
    cells = []
    for beta in (0.1, 0.5, 0.9):
        for lmbda in (0.0, 1.0):
            for seed in range(seeds):
                recipe = Recipe(f"mixed-jsd-b{beta}-l{lmbda}-s{seed}", beta, lmbda, seed, n)
                folder = build_run(output, recipe)
                overrides = [f"beta={beta}", f"lmbda={lmbda}", f"seed={seed}", f"output={output}"]
                cells.append({"overrides": overrides, "run": str(folder), "status": "done"})
    sweep = output / "sweep" / "f2f28ac2"
    sweep.mkdir(parents=True)
    write(sweep / "table.json", cells)
    return sweep


def build_run(output: Path, recipe: Recipe) -> Path:
    """One finished and evaluated run directory."""
    folder = output / "train" / recipe.name
    folder.mkdir(parents=True)
    draw = np.random.default_rng([recipe.seed, int(recipe.beta * 10), int(recipe.lmbda * 10)])
    write_settings(folder, recipe)
    right = verdicts(recipe, draw)
    write_evaluation(folder, recipe, right)
    write_journal(folder, recipe, right, draw)
    closing = {
        name: {
            "accuracy": float(right[who].mean()),
            "nll": 0.3,
            "low": 0.1,
            "high": 0.9,
            "n": recipe.n,
        }
        for name, who in (
            ("student_before", "start"),
            ("student_after", "student"),
            ("teacher", "teacher"),
        )
    }
    write(
        folder / "summary.json",
        {"name": recipe.name, "steps": 250, "split": "test", "selection": recipe.selection}
        | {"fingerprint": f"{recipe.name}-print"}
        | {"training_seconds": 40.0 + 10 * (recipe.seed or 0)}
        | {
            "budget": {
                "gold_labels": 100,
                "prompts": 2000,
                "teacher_wrote": 0,
                "teacher_read": 30_000 + 1000 * (recipe.seed or 0),
            }
        }
        | closing,
    )
    return folder


def write_settings(folder: Path, recipe: Recipe) -> None:
    config = {
        "name": recipe.name,
        "output": str(folder.parent.parent),
        "seed": recipe.seed,
        "steps": 250,
        "beta": recipe.beta,
        "lmbda": recipe.lmbda,
        "student": {"name": "/secret/home/models/student"},
        "divergence": {"beta": recipe.beta, "normalize": False},
        "objective": {"divergence": {"beta": recipe.beta}, "teacher_temperature": 1.0},
        "policy": {"lmbda": recipe.lmbda, "draw": "batch"},
        "checkpoint": {"export": recipe.export},
        "tracker": {},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "overrides.yaml").write_text(json.dumps(["divergence=jsd", "policy=mixed"]))
    write(
        folder / "provenance.json",
        {
            "fingerprint": f"{recipe.name}-print",
            "distillkit": "0.1.0",
            "python": "3.11.7",
            "packages": {"torch": "2.13.0", "transformers": "5.23.0", "wandb": None},
            "machine": "Linux x86_64",
            "git": {"commit": "e6165330b10f456fcf951f8f3002abaced7a95cc", "diff": "+a secret diff"},
            "device": "cuda:0",
            "seed": recipe.seed,
        },
    )


def verdicts(recipe: Recipe, draw: np.random.Generator) -> dict[str, np.ndarray]:
    """Who is right on each example: one difficulty an example, shared by all runs."""
    hard = np.random.default_rng(7).uniform(size=recipe.n)
    skill = 0.46 + 0.14 * recipe.lmbda - 0.22 * (recipe.beta - 0.4) ** 2
    noise = np.clip(hard + draw.normal(0, 0.12, recipe.n), 0, 1)
    own = np.random.default_rng(8)
    return {
        "student": noise < skill,
        "start": hard + own.normal(0, 0.15, recipe.n) < 0.34,
        "teacher": hard + own.normal(0, 0.1, recipe.n) < 0.72,
    }


def item(number: int, right: dict[str, np.ndarray], at: int) -> dict:
    draw = np.random.default_rng(number)
    left, more, times = (int(v) for v in draw.integers((11, 11, 2), (90, 60, 9)))
    who, thing = NAMES[number % 5], THINGS[(number // 5) % 5]
    total = (left + more) * times
    texts = {}
    for shift, (name, verdict) in enumerate(right.items(), 1):
        stated = total if verdict[at] else total + 10 * shift + number % 3
        text = f"{left} + {more} = {left + more}\n{left + more} * {times} = {stated}\n#### {stated}"
        cut = name == "start" and number % 11 == 0 and not verdict[at]
        texts[name] = {
            "text": text.rsplit("\n", 1)[0] if cut else text,
            "answer": None if cut else str(stated),
            "correct": bool(verdict[at]),
            "truncated": cut,
        }
    prompt = (
        f"{who} starts the day with {left} {thing}. {who} buys {more} more. Then the pile grows to "
        f"{times} times its size. How many {thing} does {who} have now?"
    )
    return {
        "id": f"market-test-{number}",
        "prompt": prompt,
        "reference": f"{left} + {more} = {left + more}\n#### {total}",
        "answer": str(total),
        "texts": texts,
    }


def tallies(items: Sequence[dict], right: dict[str, np.ndarray], recipe: Recipe) -> dict:
    """What each example contributes, by whose it is and by metric."""
    return {
        who: {
            name: Tally({each["id"]: make(each, who, recipe) for each in items})
            for name, make in RECORDS.items()
        }
        for who in right
    }


def judged(each: dict, who: str, recipe: Recipe) -> dict:
    text = each["texts"][who]
    return {
        "accuracy": [float(text["correct"]), 1],
        "parse_rate": [float(text["answer"] is not None), 1],
    }


def agreed(each: dict, who: str, recipe: Recipe) -> dict:
    return {
        "agreement": [float(each["texts"][who]["answer"] == each["texts"]["teacher"]["answer"]), 1]
    }


def apart(each: dict, who: str, recipe: Recipe) -> dict:
    if who == "teacher":
        return {"reverse_kl_own": [0.0, 20]}
    return {"reverse_kl_own": [20 * (0.5 - 0.35 * each["texts"][who]["correct"]), 20]}


def likelihoods(each: dict, who: str, recipe: Recipe) -> dict:
    skill = {"start": 0.0, "teacher": 1.0}.get(who, 0.35 + 0.4 * recipe.lmbda - 0.3 * recipe.beta)
    wobble = 0.1 * np.sin(len(each["prompt"]) + 3 * recipe.seed * (who == "student"))
    return {
        "precision": [20 * (-0.9 + 0.7 * skill + wobble), 20],
        "recall": [20 * (-0.5 - 0.4 * skill - wobble), 20],
    }


RECORDS = {
    "accuracy": judged,
    "agreement": agreed,
    "divergence": apart,
    "precision_recall": likelihoods,
}


def around(numbers: dict[str, float]) -> dict[str, dict[str, float]]:
    return {
        name: {"value": value, "low": value - 0.05, "high": value + 0.05}
        for name, value in numbers.items()
    }


def write_evaluation(folder: Path, recipe: Recipe, right: dict[str, np.ndarray]) -> None:
    """As eval writes it, with made-up intervals; calibration and exposure bias have no records."""
    items = [item(recipe.first + at, right, at) for at in range(recipe.n)]
    metrics = {name: discover()[f"metric/{name}"]() for name in RECORDS}
    made = tallies(items, right, recipe)
    found: dict = {
        "numbers": {
            who: {
                name: around(metric.compute(list(made[who][name].records.values())))
                for name, metric in metrics.items()
            }
            for who in right
        },
        "differences": [],
        "curves": {who: {} for who in right},
    }
    for who in right:
        off = 0.19 - 0.2 * float(right[who].mean())
        found["numbers"][who]["calibration"] = {
            "token_ece": {"value": off, "low": off - 0.01, "high": off + 0.01}
        }
        found["curves"][who] |= curves_of(who, off, recipe)
    results = {
        "name": recipe.name,
        "split": "test",
        "n": recipe.n,
        "selection": recipe.selection,
        "samples": 5,
        "seed": 0,
        "fingerprint": "same",
        "metrics": {name: asdict(metric) for name, metric in metrics.items()},
        **found,
    }
    evaluation = EvaluationFolder(folder, "test")
    evaluation.write(results, tallies=made, items=items)
    # As an earlier version left it, so that tests may change it.
    write(evaluation.path / "results.json", results)


def curves_of(who: str, off: float, recipe: Recipe) -> dict:
    bins = np.linspace(0.05, 0.95, 10)
    length = list(range(1, 61))
    gap = {"student": 0.35 - 0.22 * recipe.lmbda, "start": 0.55, "teacher": 0.0}[who]
    growth = [100 * gap * (1 - exp(-step / 25)) for step in length]
    curves: dict = {
        "calibration": {
            "tokens": {
                "confidence": bins.tolist(),
                "accuracy": np.clip(bins - off * np.sin(np.pi * bins), 0, 1).tolist(),
                "count": (1000 * bins**2 + 20).astype(int).tolist(),
            }
        }
    }
    if who != "teacher":
        table = {"length": length, "ex_acc_err": growth, "R": growth, "l_epsilon": length}
        curves["exposure_bias"] = {"exposure_bias": table}
    return curves


def write_journal(
    folder: Path, recipe: Recipe, right: dict[str, np.ndarray], draw: np.random.Generator
) -> None:
    start, end = float(right["start"].mean()), float(right["student"].mean())
    rows: list[dict] = []
    for step in range(1, 251):
        loss = (0.04 + 0.5 * exp(-step / 60)) * (0.6 + 0.4 * recipe.beta)
        rows.append({"step": step, "loss": loss * float(draw.lognormal(0, 0.15)), "lr": 1e-3})
        if step % 50 == 0:
            reached = start + (end - start) * (1 - exp(-step / 70)) + float(draw.normal(0, 0.012))
            rows.append({"step": step, "validation/accuracy": reached, "validation/nll": 0.2})
    lines(folder / "metrics.jsonl", rows)


def write(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=1))


def lines(file: Path, rows: Sequence[dict]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
