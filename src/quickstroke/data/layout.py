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
