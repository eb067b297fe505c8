"""The script of `quickstroke completion`, run by a real shell."""

import shutil
import subprocess
import sys

import pytest

from quickstroke.cli import COMMANDS, main

QUESTIONS = {
    ("",): set(COMMANDS),
    ("pre",): {"prepare", "predict"},
    ("train", "--augment-m"): {"--augment-magnitude"},
    ("export", "MODEL", "--to", ""): {"onnx", "safetensors", "web"},
    ("models", "--js"): {"--json"},
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_options_and_values(capsys, tmp_path):
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out, encoding="utf-8")
    asked = "".join(
        f"COMP_WORDS=(quickstroke {' '.join(repr(word) for word in words)})\nCOMP_CWORD={len(words)}\n"
        'COMPREPLY=()\n_tyro_quickstroke\necho "${COMPREPLY[*]}"\n'
        for words in QUESTIONS
    )
    told = subprocess.run(["bash", "-c", f". {script}\n{asked}"], check=True, capture_output=True, text=True).stdout
    for (words, expected), line in zip(QUESTIONS.items(), told.splitlines(), strict=True):
        assert expected <= set(line.split()), words


def test_another_shell_is_refused(capsys):
    assert main(["completion", "fish"]) == 2
    assert "shell fish: expected bash or zsh" in capsys.readouterr().err


def test_the_script_needs_nothing_of_quickstroke(capsys):
    assert main(["completion", "zsh"]) == 0
    script = capsys.readouterr().out
    assert script.startswith("#compdef") and "import quickstroke" not in script and sys.executable not in script
