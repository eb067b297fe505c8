"""What it does to a model's figures that most drawings are ones that the network of Google's game had recognised.

python benchmarks/recognised.py MODEL --learnt-from binary more --lines simplified

Prints how many drawings of the files that MODEL learnt from, and of Google's own lines, were recognised, and top-1 of
as many recognised as unrecognised drawings of each word, of those that MODEL was not trained on or chosen by.
"""

import argparse
from collections import Counter, defaultdict

import numpy as np

import quickstroke as qs
from quickstroke.drawings.drawing import Drawing
from quickstroke.formats import binary, find_sources, read_drawings, word_of
from quickstroke.utils import splitmix


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--learnt-from", nargs="+", required=True, help="binary files of the model's dataset")
    parser.add_argument("--test-from", type=float, default=0.95, help="hash of key_id from which its test split begins")
    parser.add_argument("--also", nargs="*", default=[], help="binary files that it did not learn from")
    parser.add_argument("--lines", nargs="+", required=True, help="files with Google's own choice of drawings")
    args = parser.parse_args()
    show_share("Google's lines", Counter(drawing.recognized for drawing in read_drawings(args.lines)))
    model = qs.load(args.model)
    known = set(model.classes)
    of_word: dict[bool, dict[str, list[Drawing]]] = {True: defaultdict(list), False: defaultdict(list)}
    learnt_from = Counter[bool]()
    for sources, begin in ((args.learnt_from, args.test_from), (args.also, 0.0)):
        for path in find_sources(sources).files if sources else ():
            for block in binary.read_blocks(path, word_of(path)):
                recognized = block.recognized == 1
                if sources is args.learnt_from:
                    learnt_from.update(recognized.tolist())
                is_new = splitmix.hashed(block.key_ids) / 2.0**64 >= begin
                for drawing, new in zip(block.drawings(), is_new.tolist(), strict=True):
                    # Without a country nothing is known of it, and `recognized` is 1.
                    is_told = drawing.countrycode != "ZZ" or not drawing.recognized
                    if new and is_told and drawing.word in known:
                        of_word[bool(drawing.recognized)][drawing.word].append(drawing)
    show_share("the model's dataset", learnt_from)
    rng = np.random.default_rng(0)
    chosen: dict[bool, list[Drawing]] = {True: [], False: []}
    for word in of_word[False]:
        n = min(len(of_word[kind][word]) for kind in chosen)
        for kind, drawings in chosen.items():
            own = of_word[kind][word]
            drawings += [own[i] for i in rng.permutation(len(own))[:n]]
    for kind, drawings in chosen.items():
        scores = qs.evaluate(model, drawings)
        low, high = scores.interval()
        what = "recognised" if kind else "unrecognised"
        print(f"{scores.n:,} {what}: top-1 {scores.top(1):.1%} ({low:.1%} to {high:.1%}), top-3 {scores.top(3):.1%}")


def show_share(what: str, n: Counter[bool]) -> None:
    print(f"{what}: {n[True]:,} of {n.total():,} recognised, {n[True] / n.total():.1%}")


if __name__ == "__main__":
    main()
