"""The interval of a share of examples."""


def wilson(share: float, examples: int) -> tuple[float, float]:
    """Computes the 95 % interval of a share of examples.

    Source: Wilson 1927, Journal of the American Statistical Association 22.
    The interval never exceeds 0..1.

    Args:
        share: Share of the examples, 0..1.
        examples: Number of examples, n >= 1.

    Example:
        >>> low, high = wilson(0.97, 360)
        >>> round(low, 3), round(high, 3)
        (0.947, 0.983)
    """
    z2 = 1.959964**2 / examples
    middle = (share + z2 / 2) / (1 + z2)
    half = (z2 * share * (1 - share) + z2**2 / 4) ** 0.5 / (1 + z2)
    return max(0.0, middle - half), min(1.0, middle + half)
