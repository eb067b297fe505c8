"""What a prepared dataset's folder holds."""

# From so many points on, offsets are uint64.
WIDE_POINTS = 2**32
# The array files of a dataset, with the types that each may have.
ARRAYS: dict[str, tuple[str, ...]] = {
    "points": ("<u1",),
    "pen_up": ("<u1",),
    "offsets": ("<u4", "<u8"),
    "labels": ("<u2",),
    "key_ids": ("<u8",),
    "splits": ("<u1",),
}


def shapes(n: int, n_points: int) -> dict[str, list[int]]:
    """The shape of each array of a dataset of `n` drawings with `n_points` points in all."""
    return {name: [n] for name in ARRAYS} | {
        "points": [n_points, 2],
        "pen_up": [(n_points + 7) // 8],
        "offsets": [n + 1],
    }
