"""The colors of pages and charts, as CSS variables: one set for light pages, one for dark ones.

Text on `--paper`, `--wash`, or its own `--…-wash` has a contrast of at least 4.5, in both sets.
"""

LIGHT = {
    "--ink": "#17202b",
    "--soft": "#55606f",
    "--line": "#dbe0e6",
    "--paper": "#ffffff",
    "--wash": "#f4f6f8",
    "--link": "#0b5f86",
    "--good": "#14713d",
    "--good-wash": "#e6f4ea",
    "--bad": "#ad1f2b",
    "--bad-wash": "#fdecec",
    "--warn": "#8a4b00",
    "--warn-wash": "#fff3df",
    "--teacher": "#4c5a6e",
    "--alone": "#b04a0c",
    "--all-labels": "#7a5f00",
    "--distilled": "#0b6e99",
    "--file": "#5b3fb5",
    "--series-1": "#0b6e99",
    "--series-2": "#b04a0c",
    "--series-3": "#2f7031",
    "--series-4": "#5b3fb5",
    "--series-5": "#a51d5f",
    "--series-6": "#7a5f00",
    "--series-7": "#0b7069",
    "--series-8": "#4c5a6e",
}

DARK = {
    "--ink": "#e7ecf2",
    "--soft": "#a3aebb",
    "--line": "#323b47",
    "--paper": "#171d25",
    "--wash": "#0e1318",
    "--link": "#6cbfe6",
    "--good": "#6fd597",
    "--good-wash": "#12301f",
    "--bad": "#ff9a9a",
    "--bad-wash": "#3b1719",
    "--warn": "#f2b866",
    "--warn-wash": "#37270f",
    "--teacher": "#a9b6c8",
    "--alone": "#f0935a",
    "--all-labels": "#d6b74a",
    "--distilled": "#55b7e4",
    "--file": "#b3a0ff",
    "--series-1": "#55b7e4",
    "--series-2": "#f0935a",
    "--series-3": "#7fcb80",
    "--series-4": "#b3a0ff",
    "--series-5": "#f28ab8",
    "--series-6": "#d6b74a",
    "--series-7": "#5fd0c5",
    "--series-8": "#a9b6c8",
}

INK, SOFT, LINE, PAPER, WASH, BAD = (
    f"var(--{name})" for name in ("ink", "soft", "line", "paper", "wash", "bad")
)
TEACHER, ALONE, ALL_LABELS, DISTILLED, FILE = (
    f"var(--{name})" for name in ("teacher", "alone", "all-labels", "distilled", "file")
)
SERIES = tuple(f"var(--series-{number})" for number in range(1, 9))
"""Colors for series without a meaning of their own, in this order."""
