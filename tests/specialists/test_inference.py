import runpy
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from threadpoolctl import threadpool_limits

from keras_distill._internal import InputError
from keras_distill.specialists import _inference as module
from keras_distill.specialists import _solver
from keras_distill.specialists._bins import Bins
from keras_distill.specialists._inference import (
    active_by_top,
    arithmetic_mean,
    combine,
    objective,
    solve,
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads of BLAS make SciPy's optimizers 25 times slower on problems of this size."""
    with threadpool_limits(1, user_api="blas"):
        yield


# References that are implemented independently, in the study.
DESCENTS = runpy.run_path(
    str(Path(__file__).parents[2] / "examples/studies/specialists/descents.py")
)
gradient_descent, lbfgs = DESCENTS["gradient_descent"], DESCENTS["lbfgs"]


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def random_case(rng, rows, *, zeros, max_classes=12):
    """Overlapping sets of any size; spreads up to near one-hot, so specialists contradict."""
    classes = int(rng.integers(2, max_classes + 1))
    count = int(rng.integers(1, 7))
    sets = [rng.choice(classes, int(rng.integers(1, classes)), replace=False) for _ in range(count)]

    def probs(n):
        p = softmax(rng.normal(0, rng.choice([0.5, 2, 8, 30]), (rows, n)))
        if zeros:
            p = p * (rng.random((rows, n)) < 0.5)
            p[np.arange(rows), rng.integers(0, n, rows)] += 0.3
        return p / p.sum(axis=1, keepdims=True)

    active = rng.random((rows, count)) < 0.8
    return probs(classes), [probs(len(ids) + 1) for ids in sets], sets, active


def by_class(sets, classes):
    """Bins in which every class is a group of its own, so that the steps are the formula's."""
    outside = [~np.isin(np.arange(classes), ids) for ids in sets]
    order, ones = np.arange(classes), np.ones(classes)
    return Bins(tuple(sets), classes, np.stack(outside).astype(float), order, ones)


@pytest.mark.parametrize("zeros", [False, True])
def test_1000_random_cases_are_certified_and_no_worse_than_lbfgs(zeros):
    rng = np.random.default_rng(11 + zeros)
    for number in range(100):
        case = random_case(rng, 5, zeros=zeros)
        found = solve(*case)
        assert (found.gap <= 1e-8).all()
        np.testing.assert_allclose(found.probs.sum(axis=1), 1)
        if number % 4 == 0:
            # Where the optimum has zeros, logits go to minus infinity and L-BFGS stops short, so
            # it bounds the optimum from above only; the certificate bounds it from below.
            few = case[0][:2], [p[:2] for p in case[1]], case[2], case[3][:2]
            other, _ = lbfgs(*few, max_steps=300)
            assert (objective(found.probs[:2], *few) <= objective(other, *few) + 1e-6).all()


def test_equals_scipys_constrained_optimum():
    from scipy.optimize import minimize

    rng = np.random.default_rng(3)
    compared = 0
    for _ in range(30):
        case = random_case(rng, 1, zeros=False, max_classes=6)
        classes = case[0].shape[1]
        result = minimize(
            lambda q, case=case: objective(np.maximum(q, 1e-300)[None], *case)[0],
            np.full(classes, 1 / classes),
            method="SLSQP",
            bounds=[(1e-12, 1)] * classes,
            constraints={"type": "eq", "fun": lambda q: q.sum() - 1},
            options={"ftol": 1e-13, "maxiter": 1000},
        )
        value = objective(combine(*case), *case)[0]
        assert value <= result.fun + 1e-6
        compared += abs(value - result.fun) < 1e-6
    assert compared >= 20  # SLSQP itself gives up on a few near one-hot cases


def test_certificate_bounds_the_distance_to_the_optimum():
    rng = np.random.default_rng(5)
    for _ in range(50):
        generalist, specialists, sets, active = random_case(rng, 4, zeros=False)
        bins = by_class(sets, generalist.shape[1])
        _, problem = module.state(generalist, specialists, active.astype(float), bins)
        case = generalist, specialists, sets, active
        best = objective(combine(*case), *case)
        q = softmax(rng.normal(size=generalist.shape))
        _, gap = _solver.em_step(q, problem, bins.outside)
        assert (objective(q, *case) - best <= gap + 1e-9).all()


@pytest.mark.parametrize("zeros", [False, True])
def test_every_step_lowers_the_objective(zeros):
    rng = np.random.default_rng(7)
    for _ in range(50):
        case = generalist, specialists, sets, active = random_case(rng, 4, zeros=zeros)
        classes = generalist.shape[1]
        bins = by_class(sets, classes)
        _, problem = module.state(generalist, specialists, active.astype(float), bins)
        q = 0.99 * generalist + 0.01 / classes
        before = objective(q, *case)
        for _ in range(30):
            q, _ = _solver.em_step(q, problem, bins.outside)
            after = objective(q, *case)
            assert (after <= before + 1e-12).all()
            before = after


def test_the_step_is_the_formula_class_by_class():
    generalist = np.array([[0.4, 0.3, 0.2, 0.1]])
    specialist = np.array([[0.6, 0.1, 0.3]])
    q = np.array([[0.1, 0.2, 0.3, 0.4]])
    bins = by_class([np.array([1, 0])], 4)
    _, problem = module.state(generalist, [specialist], np.ones((1, 1)), bins)
    new, _ = _solver.em_step(q, problem, bins.outside)
    wanted = np.array([[0.4 + 0.1, 0.3 + 0.6, 0.2 + 0.3 * 3 / 7, 0.1 + 0.3 * 4 / 7]]) / 2
    np.testing.assert_allclose(new, wanted)


def test_grouping_classes_does_not_change_the_answer():
    """Classes outside all sets share one number; L-BFGS, which knows no groups, agrees."""
    rng = np.random.default_rng(9)
    generalist = softmax(rng.normal(size=(3, 30)))
    sets = [np.arange(4), np.arange(2, 7)]
    specialists = [softmax(rng.normal(size=(3, 5))), softmax(rng.normal(size=(3, 6)))]
    assert len(Bins.of(sets, 30).group_sizes) == 4
    other, _ = lbfgs(generalist, specialists, sets)
    np.testing.assert_allclose(combine(generalist, specialists, sets), other, atol=1e-5)


def test_lbfgs_stops_at_its_goal():
    rng = np.random.default_rng(8)
    case = random_case(rng, 3, zeros=False)
    goal = objective(combine(*case), *case) + 1e-2
    stopped, few = lbfgs(*case, goal=goal)
    _, many = lbfgs(*case)
    assert (objective(stopped, *case) <= goal).all() and (few < many).all()


def test_nobody_active_is_the_generalist():
    rng = np.random.default_rng(1)
    generalist, specialists, sets, active = random_case(rng, 6, zeros=True)
    q = combine(generalist, specialists, sets, np.zeros_like(active))
    np.testing.assert_allclose(q, generalist, atol=1e-12)
    np.testing.assert_allclose(combine(generalist, [], []), generalist, atol=1e-12)


def test_active_leaves_the_others_out():
    rng = np.random.default_rng(2)
    generalist = softmax(rng.normal(size=(4, 8)))
    sets = [[0, 1, 2], [2, 3]]
    specialists = [softmax(rng.normal(size=(4, 4))), softmax(rng.normal(size=(4, 3)))]
    active = np.tile([True, False], (4, 1))
    np.testing.assert_allclose(
        combine(generalist, specialists, sets, active),
        combine(generalist, specialists[:1], sets[:1]),
        atol=1e-7,
    )


def test_agreeing_specialist_changes_nothing():
    generalist = np.array([[0.5, 0.3, 0.15, 0.05]])
    specialist = np.array([[0.5, 0.3, 0.2]])
    np.testing.assert_allclose(combine(generalist, [specialist], [[0, 1]]), generalist, atol=1e-9)


def test_mass_that_only_a_dustbin_asks_for_is_spread_evenly():
    generalist = np.array([[1.0, 0.0, 0.0]])
    specialist = np.array([[0.5, 0.5]])
    q = combine(generalist, [specialist], [[0]])
    np.testing.assert_allclose(q, [[0.75, 0.125, 0.125]], atol=1e-6)


def test_flat_contradiction_stays_finite():
    generalist = np.array([[1.0, 0.0, 0.0]])
    specialists = [np.array([[0.0, 1.0, 0.0]]), np.array([[0.0, 0.0, 1.0]])]
    sets = [[0, 1], [0, 1]]
    q = combine(generalist, specialists, sets)
    np.testing.assert_allclose(q, np.full((1, 3), 1 / 3), atol=1e-6)


def test_where_em_creeps_newton_finishes():
    """A near degenerate case that takes EM 16,000 steps to this certificate."""
    generalist = np.array([[1e-6, 4.457e-6, 0.999994543]])
    specialists = [np.array([[1 - 1e-9, 1e-9]]), np.array([[1e-12, 1 - 1e-12]])]
    found = solve(generalist, specialists, [[0], [2]], tol=1e-10)
    assert found.gap[0] <= 1e-10 and found.steps[0] <= _solver.EM_STEPS + 20


def test_gradient_descent_reaches_the_same_optimum():
    rng = np.random.default_rng(4)
    generalist = softmax(rng.normal(size=(2, 6)))
    sets = [[0, 1, 2], [2, 3]]
    specialists = [softmax(rng.normal(size=(2, 4))), softmax(rng.normal(size=(2, 3)))]
    case = generalist, specialists, sets
    course = gradient_descent(*case, learning_rate=0.5, steps=3000)
    np.testing.assert_allclose(course.probs, combine(*case), atol=1e-4)
    np.testing.assert_allclose(course.objective[0], objective(generalist, *case))
    assert (np.diff(course.objective, axis=0) <= 1e-12).all()


@pytest.mark.parametrize("zeros", [False, True])
def test_tensorflow_equals_numpy(zeros):
    rng = np.random.default_rng(21)
    for _ in range(8):
        generalist, specialists, sets, active = random_case(rng, 40, zeros=zeros)
        other = combine(tf.constant(generalist), specialists, sets, tf.constant(active))
        case = generalist, specialists, sets, active
        gap = objective(other.numpy(), *case) - objective(combine(*case), *case)
        assert (np.abs(gap) <= 2e-8).all()


def test_tensorflow_in_a_graph_with_unknown_batch_in_float32():
    sets = [np.array([0, 1]), np.array([1, 2])]
    signature = [
        tf.TensorSpec((None, 5), tf.float32),
        [tf.TensorSpec((None, 3), tf.float32)] * 2,
    ]

    @tf.function(input_signature=signature)
    def graph(generalist, specialists):
        return combine(generalist, specialists, sets, active_by_top(generalist, sets))

    rng = np.random.default_rng(6)
    generalist = softmax(rng.normal(size=(7, 5))).astype(np.float32)
    specialists = [softmax(rng.normal(size=(7, 3))).astype(np.float32) for _ in sets]
    wanted = combine(generalist, specialists, sets, active_by_top(generalist, sets))
    found = graph(generalist, specialists)
    assert found.dtype == tf.float32 and wanted.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_no_specialists_in_tensorflow():
    generalist = tf.constant([[0.25, 0.75]])
    np.testing.assert_allclose(combine(generalist, [], []), generalist)


@pytest.mark.parametrize(
    "active", [np.ones((1, 2), bool), np.ones((4, 3), bool), np.full((4, 2), 0.5)]
)
def test_tensorflow_refuses_an_active_that_does_not_fit(active):
    generalist, half = tf.fill([4, 3], tf.constant(1 / 3, tf.float64)), np.full((4, 2), 0.5)
    with pytest.raises(InputError, match=r"`active` must be bool of shape \(4, 2\)"):
        combine(generalist, [half, half], [[0], [1]], active)


def test_whole_numbers_are_combined_in_float64():
    specialist = np.array([[0.5, 0.5]])
    for one in (np.array([[1, 0, 0]]), tf.constant([[1, 0, 0]])):
        q = combine(one, [specialist], [[0]])
        np.testing.assert_allclose(q, [[0.75, 0.125, 0.125]], atol=1e-6)


def test_active_by_top_n():
    probs = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]])
    sets = [[0], [1, 2], [3]]
    one, two = [[1, 0, 0], [0, 0, 1]], [[1, 1, 0], [0, 1, 1]]
    for n, wanted in ((1, one), (2, two)):
        assert active_by_top(probs, sets, n).tolist() == np.array(wanted, bool).tolist()
        assert active_by_top(tf.constant(probs), sets, n).numpy().tolist() == (
            np.array(wanted, bool).tolist()
        )


def test_arithmetic_mean_divides_the_dustbin_as_the_generalist_does():
    generalist = np.array([[0.5, 0.3, 0.1, 0.1], [1.0, 0.0, 0.0, 0.0]])
    specialist = np.array([[0.6, 0.4], [0.4, 0.6]])
    mean = arithmetic_mean(generalist, [specialist], [[0]])
    np.testing.assert_allclose(mean, [[0.55, 0.27, 0.09, 0.09], [0.7, 0.1, 0.1, 0.1]])


def test_objective_is_infinite_where_q_has_nothing():
    p = np.array([[0.5, 0.5, 0.0]])
    assert np.isinf(objective(np.array([[1.0, 0.0, 0.0]]), p, [], []))[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_sets": [[0, 0]]}, "distinct class ids"),
        ({"class_sets": [[0, 9]]}, "distinct class ids in 0..2"),
        ({"class_sets": [[]]}, "non-empty"),
        ({"class_sets": [[0, 1, 2]], "specialist_probs": [np.full((1, 4), 0.25)]}, "dustbin"),
        ({"class_sets": [[0, 1], [1]]}, "the same length"),
        ({"specialist_probs": [np.array([[0.5, 0.5]])]}, r"have shape \(1, 3\)"),
        ({"specialist_probs": [np.array([[3.0, -1.0, 2.0]])]}, "not logits"),
        ({"generalist_probs": np.array([[np.nan, 0.5, 0.5]])}, "not logits"),
        ({"active": np.ones((1, 1))}, "must be bool"),
        ({"active": np.ones((2, 1), bool)}, "must be bool of shape"),
        ({"tol": 0}, "`tol` must be >= 1e-12"),
    ],
)
def test_bad_input_is_named(change, message):
    good = {
        "generalist_probs": np.array([[0.5, 0.3, 0.2]]),
        "specialist_probs": [np.array([[0.5, 0.3, 0.2]])],
        "class_sets": [[0, 1]],
    }
    with pytest.raises(InputError, match=message):
        combine(**{**good, **change})


def test_active_by_top_refuses_more_than_there_are():
    with pytest.raises(InputError, match="`n` must"):
        active_by_top(np.ones((1, 3)) / 3, [[0]], 4)
    with pytest.raises(InputError, match="`n` must"):
        active_by_top(tf.ones((1, 3)) / 3, [[0]], 4)
    with pytest.raises(InputError, match="`n` must"):
        active_by_top(np.ones((1, 3)) / 3, [[0]], 0)
