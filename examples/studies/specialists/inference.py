"""Measures the inference of specialists: steps, distance to the optimum, and time.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 taskset -c 0 \\
        python examples/studies/specialists/inference.py

Prints three tables; `--out FILE.json` writes the figures.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from descents import gradient_descent, lbfgs

from keras_distill.benchmarks import describe_machine
from keras_distill.specialists import combine, objective, solve

MARKS = (50, 90, 99, 99.9, 100)
RATES = (0.03, 0.1, 0.3, 1.0, 3.0)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def random_case(rng, rows, *, zeros):
    """Overlapping sets of any size, up to nearly one-hot rows: specialists contradict."""
    classes, count = int(rng.integers(2, 30)), int(rng.integers(1, 8))
    sets = [rng.choice(classes, int(rng.integers(1, classes)), replace=False) for _ in range(count)]

    def probs(n):
        p = softmax(rng.normal(0, rng.choice([0.5, 2, 8, 30]), (rows, n)))
        if zeros:
            p = p * (rng.random((rows, n)) < 0.5)
            p[np.arange(rows), rng.integers(0, n, rows)] += 0.3
        return p / p.sum(axis=1, keepdims=True)

    return probs(classes), [probs(len(ids) + 1) for ids in sets], sets


def large_case(rows, classes=100, count=10, spread=3.0, seed=0):
    rng = np.random.default_rng(seed)
    sets = [rng.choice(classes, int(rng.integers(8, 20)), replace=False) for _ in range(count)]
    return (
        softmax(rng.normal(0, spread, (rows, classes))),
        [softmax(rng.normal(0, spread, (rows, len(ids) + 1))) for ids in sets],
        sets,
    )


def percentiles(steps):
    return {str(mark): float(np.percentile(steps, mark)) for mark in MARKS}


def random_cases(cases):
    """Steps, certificate, and distance to what L-BFGS finds, over random cases."""
    found = {}
    for zeros in (False, True):
        rng = np.random.default_rng(zeros)
        steps, gaps, above = [], [], []
        for _ in range(cases):
            case = random_case(rng, 1, zeros=zeros)
            answer = solve(*case)
            steps.extend(answer.steps)
            gaps.extend(answer.gap)
            other, _ = lbfgs(*case, max_steps=1000)
            above.extend(objective(answer.probs, *case) - objective(other, *case))
        found["with zeros" if zeros else "dense"] = {
            "cases": cases,
            "steps": percentiles(steps),
            "certificate, most": float(max(gaps)),
            "above L-BFGS, most": float(max(above)),
            "below L-BFGS, most": float(-min(above)),
        }
    return found


def timing(rows, repeats=5):
    case = large_case(rows)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        answer = solve(*case)
        times.append(time.perf_counter() - start)
    return {
        "rows": rows,
        "seconds, median": float(np.median(times)),
        "steps": percentiles(answer.steps),
        "certificate, most": float(answer.gap.max()),
    }


def side_by_side(rows, goal, most):
    """Time and steps until the mean objective is within `goal` of the optimum."""
    case = large_case(rows)
    best = objective(combine(*case, tol=1e-12), *case).mean()
    table = {}
    start = time.perf_counter()
    answer = solve(*case, tol=goal)
    table["EM"] = {
        "seconds": time.perf_counter() - start,
        "steps": float(answer.steps.mean()),
        "above": float(objective(answer.probs, *case).mean() - best),
    }
    for rate in RATES:
        start = time.perf_counter()
        course = gradient_descent(*case, learning_rate=rate, steps=most)
        seconds = time.perf_counter() - start
        above = course.objective.mean(axis=1) - best
        reached = np.flatnonzero(above <= goal)
        steps = int(reached[0]) if reached.size else None
        table[f"gradient descent, step size {rate:g}"] = {
            "seconds": seconds if steps is None else seconds * steps / most,
            "steps": steps,
            "above": float(above[-1] if steps is None else above[steps]),
        }
    few = slice(0, min(rows, 50))
    part = case[0][few], [p[few] for p in case[1]], case[2]
    reference = objective(combine(*part, tol=1e-12), *part)
    start = time.perf_counter()
    other, iterations = lbfgs(*part, goal=reference + goal)
    seconds = (time.perf_counter() - start) * rows / len(other)
    table["L-BFGS, row by row"] = {
        "seconds": seconds,
        "steps": float(iterations.mean()),
        "above": float((objective(other, *part) - reference).mean()),
    }
    return table


def show(title, table):
    print(f"\n{title}")
    for name, row in table.items():
        print(f"  {name}: {row}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--cases", type=int, default=1000, help="random cases of each kind")
    arguments.add_argument("--rows", type=int, default=10_000)
    arguments.add_argument("--side-rows", type=int, default=200, help="rows for side by side")
    arguments.add_argument("--most", type=int, default=2000, help="steps of gradient descent")
    arguments.add_argument("--out", type=Path)
    given = arguments.parse_args()
    figures = {
        "machine": describe_machine(),
        "random cases": random_cases(given.cases),
        "10 specialists, 100 classes": timing(given.rows),
        "side by side, to 1e-6": side_by_side(given.side_rows, 1e-6, given.most),
    }
    show("random cases", figures["random cases"])
    show("100 classes, 10 specialists", {"EM": figures["10 specialists, 100 classes"]})
    show("to 1e-6 of the optimum, side by side", figures["side by side, to 1e-6"])
    if given.out:
        given.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
