"""Small results documents and what goes into them; for the tests of this folder."""

import json

from quickstroke.artifacts.loading import load_model
from quickstroke.data.selection import LabelledDrawings
from quickstroke.evaluation.evaluate import evaluate

LOG = """```
Epoch: 1/3, loss: 3.5, validation accuracy: 12.25% took: 80.5 seconds
Epoch: 2/3, loss: 2.5, validation accuracy: 50.75% took: 81.5 seconds
Training ended after 2 ! Best validation accuracy: 50.75%
```
"""


def block(**values):
    values = {"n_layers": 1, "hidden_size": 64, **values}
    lines = "\n".join(f"{key} = {value!r}" for key, value in values.items())
    return f"```python\n{lines}\n```\n"


def edit_json(path, change):
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def measured_again(run, data, split):
    loaded = load_model(run)
    label_map = data.label_map(loaded.classes)
    return evaluate(loaded.model, LabelledDrawings(data, data.indices(split), loaded.classes, label_map))


EPOCH = "Epoch: 1/10, loss: 3.5, validation accuracy: 12.25% took: 85.5 seconds"
SIMPLE = "hidden_size = 64\nn_layers = 1"


def fenced(code, tag="", fence="```"):
    return f"{fence}{tag}\n{code}\n{fence}\n"
