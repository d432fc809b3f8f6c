"""Every figure of README and docs/results.md comes from data/published."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import results  # noqa: E402

README = (ROOT / "README.md").read_text()
FACTS = results.findings()


def test_the_results_page_is_the_one_that_the_tool_makes():
    assert results.PAGE.read_text() == results.page(), "run: .venv/bin/python tools/results.py"


@pytest.mark.parametrize(("name", "sentence"), [
    ("clean-trained on noise", "On noisy slices it scores {} Dice."),
    ("repaired on noise", "without a label, they lift the same network to {}."),
    ("noise-trained on noise", "The network then scores {} on noisy slices"),
    ("cost of noise", "and loses only {} on clean ones"),
    ("cost of noise", "Does it cost anything to train on noise? | {} |"),
    ("one slice", "a network trained on one slice scores {},"),
    ("400 slices", "one trained on 400 slices {}."),
    ("baseline", "How well does a U-Net segment the slices? | {} Dice |"),
])
def test_the_readme_quotes_the_published_runs(name, sentence):
    assert sentence.format(FACTS[name]) in README


def test_the_readme_has_no_other_figures():
    quoted = set(re.findall(r"\d[\d.]* (?:%|points)", README))
    assert quoted <= set(FACTS.values())
