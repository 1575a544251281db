"""Writes losses.json: reference values and gradients of every loss, in NumPy float64.

Each formula is written down as its paper has it, with plain softmax and plain loops, and shares
nothing with the package. Gradients are taken by complex step, f'(x) = Im f(x + ih)/h with
h = 1e-30, which has no rounding error to speak of; so every formula is written for complex input.

    python tests/golden/make_golden.py
"""

import json
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("losses.json")


def softmax(z, temperature=1.0):
    e = np.exp(z / temperature)
    return e / e.sum(axis=-1, keepdims=True)


def kl(p, q):
    return (p * np.log(p / q)).sum(axis=-1)


def norm(x):
    return np.sqrt((x * x).sum())


def smooth_l1(x, delta=1.0):
    if abs(x.real) <= delta:
        return x * x / 2
    return delta * (np.sign(x.real) * x - delta / 2)


def soft_target(t, s, temperature):
    """Hinton 2015: T² KL(softmax(t/T) || softmax(s/T))."""
    return temperature**2 * kl(softmax(t, temperature), softmax(s, temperature))


def soft_cross_entropy(t, s, temperature):
    p, q = softmax(t, temperature), softmax(s, temperature)
    return -(temperature**2) * (p * np.log(q)).sum(axis=-1)


def topk_bins(kept, mean, var, classes, temperature):
    """Probabilities of the kept classes and of the rest, mass (N-k) exp(mu/T + var/(2T²))."""
    rest = (classes - len(kept)) * min(
        np.exp(mean / temperature + var / (2 * temperature**2)), np.exp(min(kept) / temperature)
    )
    masses = np.append(np.exp(kept / temperature), rest)
    return masses / masses.sum()


def lumped(q, indices):
    rest = [i for i in range(len(q)) if i not in set(indices)]
    return np.append(q[indices], q[rest].sum())


def soft_target_topk(top, s, temperature):
    values = []
    for indices, kept, mean, var, row in zip(*top, s, strict=True):
        p = topk_bins(kept, mean, var, len(row), temperature)
        values.append(temperature**2 * kl(p, lumped(softmax(row, temperature), indices)))
    return np.array(values)


def logit_matching(t, s):
    """Hinton 2015, section 2.1, summed over logits: 1/(2N) sum (s - t)²."""
    return ((s - t) ** 2).sum(axis=-1) / (2 * s.shape[-1])


def logit_matching_topk(top, s):
    values = []
    for indices, kept, mean, _, row in zip(*top, s, strict=True):
        rest = [i for i in range(len(row)) if i not in set(indices)]
        total = ((row[indices] - kept) ** 2).sum() + len(rest) * (row[rest].mean() - mean) ** 2
        values.append(total / (2 * len(row)))
    return np.array(values)


def decoupled(t, s, labels, temperature, target_weight, nontarget_weight):
    """Zhao 2022: T² (w_t TCKD + w_n NCKD)."""
    values = []
    for t_row, s_row, label in zip(t, s, labels, strict=True):
        p, q = softmax(t_row, temperature), softmax(s_row, temperature)
        others = [i for i in range(len(p)) if i != label]
        tckd = kl(np.array([p[label], 1 - p[label]]), np.array([q[label], 1 - q[label]]))
        nckd = kl(p[others] / p[others].sum(), q[others] / q[others].sum())
        values.append(temperature**2 * (target_weight * tckd + nontarget_weight * nckd))
    return np.array(values)


def pearson(a, b):
    a, b = a - a.mean(), b - b.mean()
    return (a * b).sum() / (norm(a) * norm(b))


def dist(t, s, temperature, inter_weight, intra_weight):
    """Huang 2022: correlations of rows and of columns of the probabilities."""
    p, q = softmax(t, temperature), softmax(s, temperature)
    inter = np.mean([1 - pearson(a, b) for a, b in zip(p, q, strict=True)])
    intra = np.mean([1 - pearson(a, b) for a, b in zip(p.T, q.T, strict=True)])
    return temperature**2 * (inter_weight * inter + intra_weight * intra)


def standardize_row(z):
    """Sun 2024: (z - mean) / (1e-7 + std), std with N-1."""
    deviation = np.sqrt(((z - z.mean()) ** 2).sum() / (len(z) - 1))
    return (z - z.mean()) / (1e-7 + deviation)


def standardized(t, s, temperature):
    t, s = (np.array([standardize_row(row) for row in z]) for z in (t, s))
    return soft_target(t, s, temperature)


def standardized_topk(top, s, temperature):
    values = []
    for indices, kept, mean, var, row in zip(*top, s, strict=True):
        n, rest = len(row), len(row) - len(kept)
        center = (kept.sum() + rest * mean) / n
        squares = ((kept - center) ** 2).sum() + rest * (var + (mean - center) ** 2)
        scale = 1e-7 + np.sqrt(squares / (n - 1))
        p = topk_bins(
            (kept - center) / scale, (mean - center) / scale, var / scale**2, n, temperature
        )
        q = lumped(softmax(standardize_row(row), temperature), indices)
        values.append(temperature**2 * kl(p, q))
    return np.array(values)


def reverse_kl(t, s, temperature):
    """Gu 2024: KL(student || teacher), times T² as in Hinton 2015."""
    return temperature**2 * kl(softmax(s, temperature), softmax(t, temperature))


def reverse_kl_topk(top, s, temperature):
    values = []
    for indices, kept, mean, var, row in zip(*top, s, strict=True):
        p = topk_bins(kept, mean, var, len(row), temperature)
        values.append(temperature**2 * kl(lumped(softmax(row, temperature), indices), p))
    return np.array(values)


def entropy(p):
    return -(p * np.log(p)).sum(axis=-1)


def jensen_shannon(t, s, temperature):
    """Lin 1991, equation 4.1: H((p + q)/2) - (H(p) + H(q))/2, times T²."""
    p, q = softmax(t, temperature), softmax(s, temperature)
    return temperature**2 * (entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2)


def jensen_shannon_topk(top, s, temperature):
    values = []
    for indices, kept, mean, var, row in zip(*top, s, strict=True):
        p = topk_bins(kept, mean, var, len(row), temperature)
        q = lumped(softmax(row, temperature), indices)
        values.append(temperature**2 * (entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2))
    return np.array(values)


def multi_level(t, s, temperatures, instance_weight, batch_weight, class_weight, standardize):
    """Jin 2023: divergence, Gram matrices of examples over B, Gram matrices of classes over N."""
    if standardize:
        t, s = (np.array([standardize_row(row) for row in z]) for z in (t, s))
    total = 0
    for temperature in temperatures:
        p, q = softmax(t, temperature), softmax(s, temperature)
        total += instance_weight * temperature**2 * kl(p, q).mean()
        for i, j in np.ndindex(len(p), len(p)):
            total += batch_weight * ((p[i] * p[j]).sum() - (q[i] * q[j]).sum()) ** 2 / len(p)
        for i, j in np.ndindex(p.shape[1], p.shape[1]):
            difference = (p[:, i] * p[:, j]).sum() - (q[:, i] * q[:, j]).sum()
            total += class_weight * difference**2 / p.shape[1]
    return total


def hint(t, s):
    """FitNets, as a mean of squares."""
    return ((s - t) ** 2).mean(axis=-1)


def attention(features):
    energy = (features**2).mean(axis=-1).reshape(-1)
    return energy / norm(energy)


def attention_transfer(t, s):
    """Zagoruyko 2017, p = 2, mean of squares."""
    return np.array(
        [((attention(b) - attention(a)) ** 2).mean() for a, b in zip(t, s, strict=True)]
    )


def gram(features):
    a = features.reshape(len(features), -1)
    g = a @ a.T
    return np.array([row / norm(row) for row in g])


def similarity(t, s):
    """Tung 2019: Frobenius norm squared over B²."""
    return ((gram(s) - gram(t)) ** 2).sum() / len(t) ** 2


def distances(features):
    x = features.reshape(len(features), -1)
    n = len(x)
    d = np.array([[norm(x[i] - x[j]) if i != j else 0 for j in range(n)] for i in range(n)])
    return d / (d.sum() / (n * (n - 1)))


def angles(features):
    x = features.reshape(len(features), -1)
    n = len(x)
    cosines = np.zeros((n, n, n), x.dtype)
    for i, j, k in np.ndindex(n, n, n):
        if j not in (i, k):
            a, b = x[i] - x[j], x[k] - x[j]
            cosines[i, j, k] = (a / norm(a) * (b / norm(b))).sum()
    return cosines


def relational(t, s, distance_weight, angle_weight):
    """Park 2019: smooth L1 of relative distances and of angles, means over B² and B³."""
    d = [smooth_l1(x) for x in (distances(s) - distances(t)).reshape(-1)]
    a = [smooth_l1(x) for x in (angles(s) - angles(t)).reshape(-1)]
    return distance_weight * np.mean(d) + angle_weight * np.mean(a)


def variational(t, mean, variance):
    """Ahn 2019, equation 5: sum of log sigma + (t - mu)²/(2 sigma²), as a mean over channels."""
    sigma = np.sqrt(variance)
    return (np.log(sigma) + (t - mean) ** 2 / (2 * sigma**2)).mean(axis=-1)


def softmax_regression(t, s, kernel, feature_weight, logit_weight):
    """Yang 2021: both features through the teacher's classifier, squared differences."""
    kernel = np.array(kernel)
    features, logits = ((s - t) ** 2).mean(axis=-1), ((s @ kernel - t @ kernel) ** 2).mean(axis=-1)
    return feature_weight * features + logit_weight * logits


def adaptive_pool(x, cells):
    """Mean over cells that start at floor(iH/cells) and end at ceil((i+1)H/cells)."""
    (height, width), out = x.shape[:2], np.zeros((cells, cells, x.shape[2]), x.dtype)
    for i, j in np.ndindex(cells, cells):
        rows = slice(i * height // cells, int(np.ceil((i + 1) * height / cells)))
        columns = slice(j * width // cells, int(np.ceil((j + 1) * width / cells)))
        out[i, j] = x[rows, columns].mean(axis=(0, 1))
    return out


def hierarchical_context(t, s, levels):
    """Chen 2021: squared differences of the maps and of their pooled grids, halving weights."""
    values = []
    for a, b in zip(t, s, strict=True):
        total, weight, weights = ((b - a) ** 2).mean(), 1.0, 1.0
        for cells in levels:
            if cells < min(a.shape[:2]):
                weight = weight / 2
                weights = weights + weight
                pooled = adaptive_pool(b, cells) - adaptive_pool(a, cells)
                total = total + weight * (pooled**2).mean()
        values.append(total / weights)
    return np.array(values)


def contrastive(t, s, temperature, teacher_queue, student_queue):
    """Tian 2020 with candidates from batch and queue: -log softmax of cosines, both directions."""
    unit = lambda x: np.array([row / norm(row) for row in x])  # noqa: E731
    t, s, queues = unit(t), unit(s), (unit(np.array(teacher_queue)), unit(np.array(student_queue)))
    values = []
    for i in range(len(t)):
        for anchors, others, queue in ((s, t, queues[0]), (t, s, queues[1])):
            candidates = [others[j] for j in range(len(t))] + list(queue)
            scores = np.array([(anchors[i] * c).sum() / temperature for c in candidates])
            values.append(-np.log(np.exp(scores[i]) / np.exp(scores).sum()) / 2)
    return np.sum(values) / len(t)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def multi_label_soft(t, s, temperature):
    """KL of independent Bernoulli variables, mean over labels."""
    p, q = sigmoid(t / temperature), sigmoid(s / temperature)
    terms = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    return temperature**2 * terms.mean(axis=-1)


def regression(t, s, delta):
    if delta is None:
        return ((s - t) ** 2).mean(axis=-1)
    return np.array(
        [np.mean([smooth_l1(x, delta) for x in b - a]) for a, b in zip(t, s, strict=True)]
    )


def gradient(function, s):
    """Gradient of the mean value, by complex step."""
    out = np.zeros_like(s)
    for place in np.ndindex(*s.shape):
        moved = s.astype(complex)
        moved[place] += 1e-30j
        out[place] = np.mean(function(moved)).imag / 1e-30
    return out


def case(name, function, teacher, student, options, labels=None):
    """One entry: what goes in, the values, and the gradient of their mean by the student."""

    def call(s):
        extra = () if labels is None else (labels,)
        return function(teacher, s, *extra, **options)

    def listed(x):
        return [np.asarray(part).tolist() for part in x] if isinstance(x, tuple) else x.tolist()

    return {
        "name": name,
        "options": options,
        "teacher": listed(teacher),
        "student": student.tolist(),
        "labels": None if labels is None else labels.tolist(),
        "values": np.asarray(call(student)).tolist(),
        "gradient": gradient(call, student).tolist(),
    }


def make_topk(t, k):
    indices = np.argsort(-t, axis=-1)[:, :k]
    kept = np.take_along_axis(t, indices, axis=-1)
    rest = np.array([np.delete(row, i) for row, i in zip(t, indices, strict=True)])
    return indices, kept, rest.mean(axis=-1), rest.var(axis=-1)


def cases():
    rng = np.random.default_rng(20150309)
    t, s = 3 * rng.normal(size=(2, 5, 7))
    sequence = 2 * rng.normal(size=(2, 2, 3, 4))
    labels = rng.integers(0, 7, 5)
    top = make_topk(t, 3)
    maps = rng.normal(size=(4, 3, 2, 5)), rng.normal(size=(4, 3, 2, 5))
    narrow = rng.normal(size=(4, 3, 2, 3))
    yield case("soft_target", soft_target, t, s, {"temperature": 1.0})
    yield case("soft_target", soft_target, t, s, {"temperature": 4.0})
    yield case("soft_target", soft_target, *sequence, {"temperature": 2.5})
    yield case("soft_target_topk", soft_target_topk, top, s, {"temperature": 1.0})
    yield case("soft_target_topk", soft_target_topk, top, s, {"temperature": 4.0})
    yield case("soft_cross_entropy", soft_cross_entropy, t, s, {"temperature": 4.0})
    yield case("logit_matching", logit_matching, t, s, {})
    yield case("logit_matching_topk", logit_matching_topk, top, s, {})
    weights = {"target_weight": 1.0, "nontarget_weight": 8.0}
    yield case("decoupled", decoupled, t, s, {"temperature": 4.0, **weights}, labels)
    weights = {"target_weight": 0.5, "nontarget_weight": 2.0}
    yield case("decoupled", decoupled, t, s, {"temperature": 1.0, **weights}, labels)
    weights = {"inter_weight": 1.0, "intra_weight": 1.0}
    yield case("dist", dist, t, s, {"temperature": 1.0, **weights})
    weights = {"inter_weight": 2.0, "intra_weight": 0.5}
    yield case("dist", dist, t, s, {"temperature": 4.0, **weights})
    yield case("standardized", standardized, t, s, {"temperature": 2.0})
    yield case("standardized_topk", standardized_topk, top, s, {"temperature": 2.0})
    for temperature in (1.0, 4.0):
        setting = {"temperature": temperature}
        yield case("reverse_kl", reverse_kl, t, s, setting)
        yield case("reverse_kl_topk", reverse_kl_topk, top, s, setting)
        yield case("jensen_shannon", jensen_shannon, t, s, setting)
        yield case("jensen_shannon_topk", jensen_shannon_topk, top, s, setting)
    weights = {"instance_weight": 1.0, "batch_weight": 1.0, "class_weight": 1.0}
    setting = {"temperatures": [2.0, 3.0, 4.0, 5.0, 6.0], **weights, "standardize": False}
    yield case("multi_level", multi_level, t, s, setting)
    weights = {"instance_weight": 0.5, "batch_weight": 2.0, "class_weight": 3.0}
    setting = {"temperatures": [1.0, 2.5], **weights, "standardize": True}
    yield case("multi_level", multi_level, t, s, setting)
    yield case("hint", hint, *maps, {})
    yield case("attention_transfer", attention_transfer, maps[0], narrow, {})
    yield case("similarity", similarity, maps[0], narrow, {})
    weights = {"distance_weight": 1.0, "angle_weight": 2.0}
    yield case("relational", relational, maps[0], narrow, weights)
    other = np.random.default_rng(20210905)
    variance = other.uniform(0.1, 6, size=5).tolist()
    yield case("variational", variational, *maps, {"variance": variance})
    weights = {"feature_weight": 0.5, "logit_weight": 2.0}
    setting = {"kernel": other.normal(size=(5, 3)).tolist(), **weights}
    yield case("softmax_regression", softmax_regression, *maps, setting)
    for size, levels in (((2, 7, 5, 3), [4, 2, 1]), ((2, 4, 4, 3), [4, 3])):
        pyramid = other.normal(size=size), other.normal(size=size)
        yield case("hierarchical_context", hierarchical_context, *pyramid, {"levels": levels})
    pair = other.normal(size=(4, 6)), other.normal(size=(4, 6))
    queues = {
        f"{name}_queue": other.normal(size=(3, 6)).tolist() for name in ("teacher", "student")
    }
    yield case("contrastive", contrastive, *pair, {"temperature": 0.5, **queues})
    yield case("multi_label_soft", multi_label_soft, t, s, {"temperature": 1.0})
    yield case("multi_label_soft", multi_label_soft, t, s, {"temperature": 4.0})
    yield case("regression", regression, t, s, {"delta": None})
    yield case("regression", regression, t, s, {"delta": 1.5})


if __name__ == "__main__":
    PATH.write_text(json.dumps(list(cases()), indent=None) + "\n", encoding="utf-8")
