"""The words of Quick, Draw!, and how a word is written.

Words are written as Google writes them, with spaces; underscores are accepted on input.
"""

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from quickstroke.errors import CategoryError, shown


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.replace("\n", " ").split(","))


# All 345 categories of github.com/googlecreativelab/quickdraw-dataset, in byte order.
CATEGORIES = _words("""
The Eiffel Tower, The Great Wall of China, The Mona Lisa, aircraft carrier, airplane, alarm clock,
ambulance, angel, animal migration, ant, anvil, apple, arm, asparagus, axe, backpack, banana, bandage,
barn, baseball, baseball bat, basket, basketball, bat, bathtub, beach, bear, beard, bed, bee, belt,
bench, bicycle, binoculars, bird, birthday cake, blackberry, blueberry, book, boomerang, bottlecap,
bowtie, bracelet, brain, bread, bridge, broccoli, broom, bucket, bulldozer, bus, bush, butterfly, cactus,
cake, calculator, calendar, camel, camera, camouflage, campfire, candle, cannon, canoe, car, carrot,
castle, cat, ceiling fan, cell phone, cello, chair, chandelier, church, circle, clarinet, clock, cloud,
coffee cup, compass, computer, cookie, cooler, couch, cow, crab, crayon, crocodile, crown, cruise ship,
cup, diamond, dishwasher, diving board, dog, dolphin, donut, door, dragon, dresser, drill, drums, duck,
dumbbell, ear, elbow, elephant, envelope, eraser, eye, eyeglasses, face, fan, feather, fence, finger,
fire hydrant, fireplace, firetruck, fish, flamingo, flashlight, flip flops, floor lamp, flower, flying
saucer, foot, fork, frog, frying pan, garden, garden hose, giraffe, goatee, golf club, grapes, grass,
guitar, hamburger, hammer, hand, harp, hat, headphones, hedgehog, helicopter, helmet, hexagon, hockey
puck, hockey stick, horse, hospital, hot air balloon, hot dog, hot tub, hourglass, house, house plant,
hurricane, ice cream, jacket, jail, kangaroo, key, keyboard, knee, knife, ladder, lantern, laptop, leaf,
leg, light bulb, lighter, lighthouse, lightning, line, lion, lipstick, lobster, lollipop, mailbox, map,
marker, matches, megaphone, mermaid, microphone, microwave, monkey, moon, mosquito, motorbike, mountain,
mouse, moustache, mouth, mug, mushroom, nail, necklace, nose, ocean, octagon, octopus, onion, oven, owl,
paint can, paintbrush, palm tree, panda, pants, paper clip, parachute, parrot, passport, peanut, pear,
peas, pencil, penguin, piano, pickup truck, picture frame, pig, pillow, pineapple, pizza, pliers, police
car, pond, pool, popsicle, postcard, potato, power outlet, purse, rabbit, raccoon, radio, rain, rainbow,
rake, remote control, rhinoceros, rifle, river, roller coaster, rollerskates, sailboat, sandwich, saw,
saxophone, school bus, scissors, scorpion, screwdriver, sea turtle, see saw, shark, sheep, shoe, shorts,
shovel, sink, skateboard, skull, skyscraper, sleeping bag, smiley face, snail, snake, snorkel, snowflake,
snowman, soccer ball, sock, speedboat, spider, spoon, spreadsheet, square, squiggle, squirrel, stairs,
star, steak, stereo, stethoscope, stitches, stop sign, stove, strawberry, streetlight, string bean,
submarine, suitcase, sun, swan, sweater, swing set, sword, syringe, t-shirt, table, teapot, teddy-bear,
telephone, television, tennis racquet, tent, tiger, toaster, toe, toilet, tooth, toothbrush, toothpaste,
tornado, tractor, traffic light, train, tree, triangle, trombone, truck, trumpet, umbrella, underwear,
van, vase, violin, washing machine, watermelon, waterslide, whale, wheel, windmill, wine bottle, wine
glass, wristwatch, yoga, zebra, zigzag
""")

# The 100 classes of the 2020 project, in the order of its models' output layer.
CATEGORIES_2020 = _words("""
drums, sun, laptop, anvil, baseball bat, ladder, eyeglasses, grapes, book, dumbbell, traffic light,
wristwatch, wheel, shovel, bread, table, tennis racquet, cloud, chair, headphones, face, eye, airplane,
snake, lollipop, power outlet, pants, mushroom, star, sword, clock, hot dog, syringe, stop sign,
mountain, smiley face, apple, bed, shorts, broom, diving board, flower, spider, cell phone, car, camera,
tree, square, moon, radio, hat, pizza, axe, door, tent, umbrella, line, cup, fan, triangle, basketball,
pillow, scissors, t-shirt, tooth, alarm clock, paper clip, spoon, microphone, candle, pencil, envelope,
saw, frying pan, screwdriver, helmet, bridge, light bulb, ceiling fan, key, donut, bird, circle, beard,
coffee cup, butterfly, bench, rifle, cat, sock, ice cream, moustache, suitcase, hammer, rainbow, knife,
cookie, baseball, lightning, bicycle
""")

# Unknown words that an error names.
_MOST_TOLD = 5

_JOINER = re.compile(r"(?<=[^\0-\x7f\u200c\u200d])[\u200c\u200d](?=[^\0-\x7f\u200c\u200d])")

_BY_FOLDED = {word.casefold(): word for word in CATEGORIES}


def canonical_word(name: str) -> str:
    """The word as Google writes it: underscores become spaces, official words get their official case.

    Accents are composed (NFC), so that a word from the name of a file is the same on every system.
    """
    spaced = " ".join(unicodedata.normalize("NFC", name.replace("_", " ")).split())
    return _BY_FOLDED.get(spaced.casefold(), spaced)


def as_known(word: str, known: Collection[str]) -> str:
    """The one of the `known` words that differs from this one in upper and lower case alone; else the word itself."""
    same = [each for each in known if each.casefold() == word.casefold()] if word not in known else []
    return same[0] if len(same) == 1 else word


def closest_words(name: str, among: Sequence[str] = CATEGORIES) -> str:
    """A hint for an error message, such as `; did you mean 'cat'?`, empty when nothing is near."""
    folded = {word.casefold(): word for word in among}
    asked = canonical_word(name).casefold()
    cutoff = 0.7 if len(asked) > 3 else 0.65  # of three letters one may be wrong
    near = difflib.get_close_matches(asked, folded, n=3, cutoff=cutoff)
    return f"; did you mean {' or '.join(repr(folded[word]) for word in near)}?" if near else ""


def unprintable(word: str) -> str:
    """Why a word can be no class, such as `has U+001B, which cannot be printed`; empty where it can.

    So are escapes that a terminal obeys, and what turns the direction of writing or has no width. The joiner and the
    non-joiner may stand where they matter, between two characters that are no ASCII: in emoji, in Persian, in Hindi.
    """
    found = next((letter for letter in _JOINER.sub("", word) if not letter.isprintable()), "")
    return f"has U+{ord(found):04X}, which cannot be printed" if found else ""


def check_classes(names: Iterable[str], where: str) -> tuple[str, ...]:
    """Class names in order, written canonically.

    Raises:
        CategoryError: no list, such as a text, something in it that is no text, no name, an empty one, one that cannot
            be printed, or the same word twice; `where` says whose list it is.
    """
    if isinstance(names, str):
        raise CategoryError(f"{where}: expected words, got the text {names!r:.60}; one word alone goes into a list")
    classes: dict[str, int] = {}
    if not isinstance(names, Iterable) or isinstance(names, Mapping):
        raise CategoryError(f"{where}: expected words, got {shown(names)}")
    for position, name in enumerate(names, start=1):
        if not isinstance(name, str):
            raise CategoryError(f"{where}: class {position} is {shown(name)}; expected a word")
        word = canonical_word(name)
        if not word:
            raise CategoryError(f"{where}: class {position} has an empty name")
        if unprintable(word):
            raise CategoryError(f"{where}: class {position} has a name that cannot be printed, {word!r:.60}")
        if word in classes:
            raise CategoryError(f"{where}: {word!r} is listed twice, as class {classes[word]} and class {position}")
        classes[word] = position
    if not classes:
        raise CategoryError(f"{where}: no class is listed")
    return tuple(classes)


def read_classes(path: Path | str) -> tuple[str, ...]:
    """A class list file: one word a line, in the order of the output layer; empty lines are ignored.

    Raises:
        CategoryError: the file cannot be read as text, is empty, lists a word twice, or one that cannot be printed.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CategoryError(f"{path}: cannot be read as a class list: {error}") from error
    for number, line in enumerate(lines, start=1):
        if reason := unprintable(canonical_word(line)):
            raise CategoryError(f"{path}, line {number}: the word {line!r:.60} {reason}")
    return check_classes((line for line in lines if line.strip()), str(path))


def parse_classes(values: Sequence[str]) -> tuple[str, ...]:
    """Classes as a command line gives them: one file of words, the words themselves, or `classes2020`.

    `classes2020` stands for the 2020 project's 100, in the order of its models' output layer.

    Raises:
        CategoryError: as `read_classes` and `check_classes`.
    """
    if list(values) == ["classes2020"]:
        return CATEGORIES_2020
    if list(values) == ["seed100"]:
        raise CategoryError("class list: the 2020 project's classes are called 'classes2020' now, got 'seed100'")
    if len(values) == 1 and canonical_word(values[0]) not in CATEGORIES:
        path = Path(values[0])
        if path.exists() and not path.is_dir():  # also a pipe
            return read_classes(path)
        if path.suffix or "/" in values[0]:
            raise CategoryError(f"{path}: no such class list file")
    return check_classes(values, "class list")


def choose_words(words: Sequence[str] | Path | str, known: Sequence[str]) -> tuple[str, ...]:
    """Some of the `known` words, in the order given: the words themselves, in letters of either case, or the file that
    lists them.

    Raises:
        CategoryError: as `parse_classes`, or words that are not known, with those that are most like them.
    """
    chosen = parse_classes([str(words)]) if isinstance(words, str | Path) else check_classes(words, "words")
    if not set(chosen).issubset(known):
        chosen = check_classes([as_known(word, known) for word in chosen], "words")
    if unknown := [word for word in chosen if word not in known]:
        told = []
        for word in unknown[:_MOST_TOLD]:
            like = closest_words(word, known).removeprefix("; ")
            told.append(f"{word!r:.60}{f' ({like})' if like else ''}")
        more = f" and {len(unknown) - len(told)} more" if len(unknown) > len(told) else ""
        raise CategoryError(f"words: not among the {len(known)} that the model knows: {', '.join(told)}{more}")
    return chosen
