"""Numbers in words: "0.8 points lower", "67x smaller", "335 KiB"."""

_UNITS = ("B", "KiB", "MiB", "GiB")


def size(count: float) -> str:
    """Formats a number of bytes.

    Example:
        >>> size(512), size(5130), size(343128), size(98_000_000)
        ('512 B', '5.0 KiB', '335 KiB', '93.5 MiB')
    """
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:
        count, unit = count / 1024, unit + 1
    digits = 0 if unit == 0 or count >= 100 else 1
    return f"{count:.{digits}f} {_UNITS[unit]}"


def duration(milliseconds: float) -> str:
    """Formats a latency.

    Example:
        >>> duration(0.0062), duration(0.5), duration(27.31), duration(4200)
        ('6.2 µs', '0.50 ms', '27 ms', '4.2 s')
        >>> duration(0.009), duration(0.0996)
        ('9.0 µs', '100 µs')
    """
    if milliseconds < 0.1:
        return f"{1000 * milliseconds:.{1 if milliseconds < 0.00995 else 0}f} µs"
    if milliseconds < 10:
        return f"{milliseconds:.2f} ms"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000:.1f} s"


def percent(share: float, digits: int = 1) -> str:
    """Formats a share.

    Example:
        >>> percent(0.978), percent(1.0)
        ('97.8 %', '100.0 %')
    """
    return f"{100 * share:.{digits}f} %"


def points(difference: float, digits: int = 1) -> str:
    """Describes how two shares differ.

    Example:
        >>> points(-0.0081), points(0.07), points(0.00004)
        ('0.8 points lower', '7.0 points higher', 'the same')
    """
    rounded = round(100 * difference, digits)
    if rounded == 0:
        return "the same"
    unit = "point" if abs(rounded) == 1 else "points"
    return f"{abs(rounded):.{digits}f} {unit} {'higher' if rounded > 0 else 'lower'}"


def times(ratio: float, more: str, less: str) -> str:
    """Describes how many times `more` something is, or `less` if the ratio is below 1.

    Example:
        >>> times(66.9, "smaller", "larger"), times(0.5, "faster", "slower")
        ('67x smaller', '2.0x slower')
        >>> times(1.04, "faster", "slower")
        '1.04x faster'
    """
    word, ratio = (more, ratio) if ratio >= 1 else (less, 1 / ratio)
    digits = 0 if ratio >= 9.95 else 1 if ratio >= 1.05 else 2
    return f"{ratio:.{digits}f}x {word}"
