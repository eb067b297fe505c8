"""How sure a measured fraction is."""

import math
import statistics


def wilson_interval(right: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds of the true fraction when `right` of `n` were right (E. B. Wilson, JASA 22, 1927).

    Of a weighted mean, `n` is the number of equally weighted ones that are as good as these.
    """
    z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (right + z * z / 2) / (n + z * z)
    margin = z * math.sqrt(right * (n - right) / n + z * z / 4) / (n + z * z)
    return max(0.0, middle - margin), min(1.0, middle + margin)
