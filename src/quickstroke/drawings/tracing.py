"""Ink becomes strokes: its middle line is thinned out, cut where lines meet, and joined again as a hand would draw it.

    ink (H, W) -> middle line -> edges between nodes -> strokes -> in a likely order

Where lines meet, the two that go on straightest are one stroke. What is lost in a picture is where the pen was lifted
and in which order and direction it moved.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# The pen's half width is this percentile along the middle line. Multiples of it: where ink counts as wide, which is
# so many pixels wider, too; where the pen's way along an outline begins, and how wide that is.
_THIN, _STEPS = 30, 2.2
_WIDE, _OUTLINE, _RING = 1.35, 0.85, 0.6
# Multiples of a line's width: spurs at most so long are no strokes, lines that meet at most so far apart meet in one
# point, a round of at most so much is none, and directions are looked at over so far.
_SPUR, _MEETING, _ROUND, _LOOK = 0.7, 0.7, 1.5, 2.0
# Two lines are one stroke where the direction changes by at most so much.
_STRAIGHT = np.deg2rad(65)
# Points over which a line's steps from pixel to pixel are smoothed.
_SMOOTH = 5
# How likely a stroke is next, and a direction its own: log-odds fitted to 6,000 official drawings, for what is measured
# in parts of the drawing's side. People begin at the left and with tall strokes, go on near to where the pen is, and
# draw to the right and down.
_TALL, _LEFT, _TOP, _MIDDLE, _AWAY = 2.3, -1.2, 1.2, -1.8, -4.6
_RIGHT, _DOWN, _NEARER = 3.0, 3.7, 1.2
_NEIGHBOURS = ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))

Pixel = tuple[int, int]


@dataclass(eq=False)
class _Edge:
    """A line between two nodes: its points (n, 2) from node `ends[0]` to node `ends[1]`."""

    points: Floats
    ends: tuple[int, int]

    @property
    def length(self) -> float:
        return float(np.hypot(*np.diff(self.points, axis=0).T).sum())


def trace_ink(ink: NDArray[np.bool_]) -> list[Floats]:
    """The strokes, float64 (n, 2) with x and y in pixels, of ink, bool (H, W), of which there is some."""
    middle, radius, width = _middle(ink)
    edges = _meeting(_without_spurs(_edges(middle), np.minimum(radius, width / 2)), width)
    return _ordered([_smoothed(stroke) for stroke in _joined(edges, width)])


def _middle(ink: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Floats, float]:
    """Where the pen's middle went, bool (H, W); how far ink is from its outline, (H, W); and the pen's width.

    Ink that is wider than the pen was filled or has several lines close together: there the pen's middle went along the
    outline, half its width inside, and again a width further in.
    """
    from scipy import ndimage
    from skimage.morphology import skeletonize

    middle = skeletonize(ink)
    radius: Floats = ndimage.distance_transform_edt(ink)
    half = max(float(np.percentile(radius[middle], _THIN)), 1.0)
    wide = radius > max(_WIDE * half, half + _STEPS)
    if not wide.any():
        return middle, radius, 2 * half
    begin = _OUTLINE * half
    wide = (ndimage.distance_transform_edt(~wide) < (_WIDE - _OUTLINE) * half + 1) & (radius > begin)
    rings = wide & ((radius - begin) % (2 * half) < _RING * half)
    return skeletonize((middle & ~wide) | rings), radius, 2 * half


def _edges(middle: NDArray[np.bool_]) -> list[_Edge]:
    """The lines of a thinned picture between its ends and where they meet."""
    links = _links(middle)
    node_of = _nodes(links)
    paths: list[list[Pixel]] = []
    passed: set[Pixel] = set()

    def follow(start: Pixel, step: Pixel) -> None:
        path = [start, step]
        while path[-1] not in node_of:
            passed.add(path[-1])
            path.append(next(near for near in links[path[-1]] if near != path[-2]))
        paths.append(path)

    for pixel in sorted(node_of):
        if not links[pixel]:
            follow(pixel, pixel)
        for near in links[pixel]:
            # What is between two nodes side by side is followed from one of them.
            is_done = near in passed or (near in node_of and (node_of[near] == node_of[pixel] or near < pixel))
            if not is_done:
                follow(pixel, near)
    n_nodes = len(set(node_of.values()))
    for pixel in sorted(links):  # closed lines that meet no other, from their top
        if pixel not in node_of and pixel not in passed:
            node_of[pixel] = n_nodes
            n_nodes += 1
            follow(pixel, links[pixel][0])
    return [_Edge(np.array(path, np.float64)[:, ::-1], (node_of[path[0]], node_of[path[-1]])) for path in paths]


def _links(middle: NDArray[np.bool_]) -> dict[Pixel, list[Pixel]]:
    """For each pixel of a thinned picture those beside it that a line goes on to."""
    pixels: set[Pixel] = set(zip(*(axis.tolist() for axis in np.nonzero(middle)), strict=True))
    return {
        (y, x): [
            (y + dy, x + dx)
            for dy, dx in _NEIGHBOURS
            # Round a corner there is a way already.
            if (y + dy, x + dx) in pixels and not (dy and dx and ((y + dy, x) in pixels or (y, x + dx) in pixels))
        ]
        for y, x in pixels
    }


def _nodes(links: dict[Pixel, list[Pixel]]) -> dict[Pixel, int]:
    """The node of each pixel where a line ends or lines meet; pixels side by side where lines meet are one."""
    node_of: dict[Pixel, int] = {}
    n_nodes = 0
    for pixel in sorted(links):
        if len(links[pixel]) != 2 and pixel not in node_of:
            todo = [pixel]
            while todo:
                at = todo.pop()
                node_of[at] = n_nodes
                if len(links[at]) > 2:
                    todo += [near for near in links[at] if len(links[near]) > 2 and near not in node_of]
            n_nodes += 1
    return node_of


def _incident(edges: list[_Edge]) -> dict[int, list[tuple[_Edge, int]]]:
    """For each node the edges that end there, and with which end."""
    at: dict[int, list[tuple[_Edge, int]]] = defaultdict(list)
    for edge in edges:
        for end in (0, 1):
            at[edge.ends[end]].append((edge, end))
    return at


def _without_spurs(edges: list[_Edge], radius: NDArray[Any]) -> list[_Edge]:
    """The edges but for those short ones that thinning makes of a thick line's outline."""
    at = _incident(edges)
    spurs = set()
    for edge in edges:
        for end in (0, 1):
            if len(at[edge.ends[end]]) == 1 and len(at[edge.ends[1 - end]]) > 2:
                x, y = edge.points[end - 1].astype(int)
                if edge.length < 2 * _SPUR * radius[y, x]:
                    spurs.add(edge)
    return [edge for edge in edges if edge not in spurs]


def _meeting(edges: list[_Edge], width: float) -> list[_Edge]:
    """The edges with nodes that are close together made one: thick lines that cross meet twice when thinned."""
    parent: dict[int, int] = {}

    def root(node: int) -> int:
        while parent.get(node, node) != node:
            node = parent[node]
        return node

    at = _incident(edges)
    kept = []
    for edge in edges:
        a, b = edge.ends
        if a != b and len(at[a]) > 2 and len(at[b]) > 2 and edge.length < _MEETING * width:
            if root(a) != root(b):
                parent[root(a)] = root(b)
        else:
            kept.append(edge)
    n_at = Counter(root(node) for edge in kept for node in edge.ends)
    kept = [  # but for small rounds beside other lines
        edge
        for edge in kept
        if root(edge.ends[0]) != root(edge.ends[1]) or edge.length > _ROUND * width or n_at[root(edge.ends[0])] == 2
    ]
    if not kept:
        return edges
    places: dict[int, list[Floats]] = defaultdict(list)
    for edge in kept:
        edge.ends = root(edge.ends[0]), root(edge.ends[1])
        for end in (0, 1):
            places[edge.ends[end]].append(edge.points[-end])
    for edge in kept:
        for end in (0, 1):
            around = places[edge.ends[end]]
            if edge.ends[end] in set(map(root, parent)):
                middle = np.mean(around, axis=0)[None]
                edge.points = np.concatenate([middle, edge.points] if end == 0 else [edge.points, middle])
    return kept


def _outward(edge: _Edge, end: int, width: float) -> Floats:
    """The direction, of length 1, in which an edge leaves the node at one of its ends."""
    points = edge.points if end == 0 else edge.points[::-1]
    passed = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    far = min(passed[-1], (_LOOK + 0.5) * width)
    near = min(0.5 * width, far / 3)
    a, b = (np.array([np.interp(where, passed, column) for column in points.T]) for where in (near, far))
    made: Floats = (b - a) / max(float(np.hypot(*(b - a))), 1e-9)
    return made


def _joined(edges: list[_Edge], width: float) -> list[Floats]:
    """Strokes of edges, joined where they go on straightest."""
    goes_on: dict[tuple[_Edge, int], tuple[_Edge, int]] = {}
    for ends in _incident(edges).values():
        directions = [_outward(edge, end, width) for edge, end in ends]
        turns = sorted(
            (float(np.arccos(np.clip(-directions[i] @ directions[j], -1, 1))), i, j)
            for i in range(len(ends))
            for j in range(i)
        )
        free = set(range(len(ends)))
        for turn, i, j in turns:
            if i in free and j in free and (len(ends) == 2 or turn <= _STRAIGHT):
                free -= {i, j}
                goes_on[ends[i]], goes_on[ends[j]] = ends[j], ends[i]
    strokes: list[Floats] = []
    done: set[_Edge] = set()
    starts = [(edge, end) for edge in edges for end in (0, 1) if (edge, end) not in goes_on]
    for edge, end in [*starts, *((edge, 0) for edge in edges)]:  # those of the second kind are closed
        if edge in done:
            continue
        parts = []
        while edge not in done:
            done.add(edge)
            parts.append(edge.points if end == 0 else edge.points[::-1])
            edge, end = goes_on.get((edge, 1 - end), (edge, end))
        strokes.append(np.concatenate(parts))
    return strokes


def _smoothed(stroke: Floats) -> Floats:
    """The stroke without steps from pixel to pixel; its ends stay."""
    if len(stroke) <= _SMOOTH:
        return stroke
    half = _SMOOTH // 2
    is_closed = np.abs(stroke[0] - stroke[-1]).max() <= 1
    padded = np.pad(stroke, ((half, half), (0, 0)), mode="wrap" if is_closed else "edge")
    if not is_closed:  # mirrored at its ends, so that these do not move
        padded[:half] = 2 * stroke[0] - stroke[half:0:-1]
        padded[-half:] = 2 * stroke[-1] - stroke[-2 : -half - 2 : -1]
    sums = np.cumsum(np.concatenate([np.zeros((1, 2)), padded]), axis=0)
    made: Floats = (sums[_SMOOTH:] - sums[:-_SMOOTH]) / _SMOOTH
    return made


def _ordered(strokes: list[Floats]) -> list[Floats]:
    """Strokes in a likely order, each in its likely direction."""
    corner = np.concatenate(strokes).min(axis=0)
    side = max(float((np.concatenate(strokes).max(axis=0) - corner).max()), 1.0)
    rest, pen, found = list(strokes), None, []
    while rest:
        scores = [_sooner((stroke - corner) / side, pen) for stroke in rest]
        stroke = rest.pop(int(np.argmax(scores)))
        a, b = ((stroke[end] - corner) / side for end in (0, -1))
        nearer = 0.0 if pen is None else np.hypot(*(b - pen)) - np.hypot(*(a - pen))
        if _RIGHT * (b[0] - a[0]) + _DOWN * (b[1] - a[1]) + _NEARER * nearer < 0:
            stroke, b = stroke[::-1], a
        found.append(stroke)
        pen = b
    return found


def _sooner(stroke: Floats, pen: Floats | None) -> float:
    """How much a stroke is to be expected next, with the pen where it was lifted."""
    (left, top), (_, bottom) = stroke.min(axis=0), stroke.max(axis=0)
    away = 0.0 if pen is None else min(np.hypot(*(stroke[0] - pen)), np.hypot(*(stroke[-1] - pen)))
    return float(_TALL * (bottom - top) + _LEFT * left + _TOP * top + _MIDDLE * (top + bottom) / 2 + _AWAY * away)
