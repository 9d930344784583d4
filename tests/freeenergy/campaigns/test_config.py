from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from drupe.errors import InputError
from drupe.freeenergy.alchemical.alchemy import Schedule
from drupe.freeenergy.campaigns.config import read_config
from drupe.freeenergy.campaigns.workflow import campaign_graph

EXAMPLES = Path(__file__).parents[3] / "examples" / "t4l-xylene"
QUICK = (EXAMPLES / "quickstart.toml").read_text()


def read(tmp_path, text):
    path = tmp_path / "input.toml"
    path.write_text(text)
    return read_config(path)


@pytest.mark.parametrize("name", ["quickstart", "smoke", "campaign"])
def test_the_examples_are_valid(name):
    config = read_config(EXAMPLES / f"{name}.toml")
    assert config.dynamics.temperature == 300.0
    assert config.dynamics.step == 2.0


def test_the_full_protocol_has_the_windows_of_the_literature_in_three_repeats():
    config = read_config(EXAMPLES / "campaign.toml")
    assert (len(config.abfe.complex.sterics), len(config.abfe.solvent.sterics)) == (30, 14)
    assert config.abfe.repeats == 3
    names = Counter(node.name.rsplit("/", 1)[0] for node in campaign_graph(config))
    assert names["complex/exchange/0"] == names["solvent/exchange/2"] == 100
    assert names["complex/forward"] == 80
    assert names["complex/pilot/20 ps/reverse"] == 10


def test_a_leg_that_names_no_windows_has_the_standard_ones(tmp_path):
    """Those of the literature: 5 + 10 + 15 windows where the ligand is bound, 5 + 9 in solvent."""
    made = read_config(EXAMPLES / "campaign.toml").abfe
    held, charges, sterics = (
        getattr(made.complex, name) for name in ("restraints", "electrostatics", "sterics")
    )
    assert held[:6] == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert held[5:] == [1.0] * 25
    assert charges[5:16] == pytest.approx(np.linspace(1, 0, 11))
    assert [round(1 - x, 2) for x in sterics[16:]] == [
        0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0,
    ]  # fmt: skip
    assert made.solvent.electrostatics[:5] == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert [round(1 - x, 2) for x in made.solvent.sterics[5:]] == [
        0.12, 0.24, 0.36, 0.48, 0.6, 0.7, 0.77, 0.85, 1.0,
    ]  # fmt: skip
    Schedule(held, charges, sterics)  # no charges on a ligand that softens
    text = (EXAMPLES / "campaign.toml").read_text()
    with pytest.raises(InputError, match=r"abfe.solvent.sterics is missing"):
        read(tmp_path, text.replace("[abfe.solvent]\n", "[abfe.solvent]\nelectrostatics = [1.0, 0.0]\n"))


def test_the_quickstart_keeps_its_promised_counts():
    config = read_config(EXAMPLES / "quickstart.toml")
    assert (config.labels.total.complex, config.labels.total.solvent) >= (12, 8)
    assert (config.labels.core.complex, config.labels.core.solvent) >= (4, 3)
    assert (len(config.abfe.complex.sterics), len(config.abfe.solvent.sterics)) >= (8, 5)
    assert min(config.abfe.complex.length, config.abfe.solvent.length) >= 1.0
    assert config.switching.complex.switches >= 6
    assert config.switching.complex.length >= 0.2
    assert config.switching.solvent.switches >= 20
    assert config.switching.solvent.length >= 0.5
    assert config.potential.members >= 4


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[regions]", "colour = 3\n[regions]", r"system.colour is not a known key \(known: topology"),
        ('temperature = "300 K"', 'temprature = "300 K"', r"did you mean 'temperature'"),
        ('temperature = "300 K"', "temperature = 300", r"dynamics.temperature: 300 has no unit.*K"),
        ('temperature = "300 K"', 'temperature = "300"', r"dynamics.temperature: '300' has no unit"),
        ('temperature = "300 K"', 'temperature = "2 ps"', r"'ps' is not a unit of temperature"),
        ('temperature = "300 K"', 'temperature = "-1 K"', r"must be positive and finite"),
        ('temperature = "300 K"', 'temperature = "nan K"', r"'nan K' is not a temperature"),
        ('length = "0.2 ps"', "length = true", r"switching.complex.length: True is not a time"),
        ("seed = 2026", "seed = -1", r"seed: .*greater than or equal to 0"),
        ('name = "t4l-xylene-quickstart"', 'name = "../evil"', r"name: .*pattern"),
        ("members = 4", "members = 1", r"potential.members: .*greater than or equal to 2"),
        ('topology = "package', '# topology = "package', r"system.topology is missing"),
        ("frames = 6", "frames = 5", r"sampling.complex keeps 15 frames, but labels and switches need 18"),
        (
            "core = { complex = 4",
            "core = { complex = 14",
            r"14 core-corrected labels of 12 in the complex leg",
        ),
        ("sterics        = [1.0, 1.0, 1.0, 1.0, 0.0]", "sterics = [1.0]", r"different lengths: \[1, 5\]"),
        (
            "restraints     = [0.0, 1.0,",
            "restraints     = [1.0, 1.0,",
            r"must go from 0.0 in the first window to 1.0",
        ),
        ("restraints     =", "# restraints =", r"complex.restraints must go from 0.0"),
        ("0.6, 0.4, 0.0]", "0.6, 0.4, 0.2]", r"must both go from 1.0 \(first window\) to 0.0"),
        ("electrostatics = [1.0, 0.75,", "electrostatics = [0.9, 0.75,", r"must both go from 1.0"),
        ("electrostatics = [1.0, 0.75,", "electrostatics = [1.0, 1.75,", r"less than or equal to 1"),
        ('spacing = "40 fs"', 'spacing = "40 ps"', r"windows of 1 ps hold no frame every 40 ps"),
        ("switches = 6", "switches = 1", r"switching.complex.switches: .*greater than or equal to 2"),
        ('step = "2 fs"', 'step = "500 fs"', r"dynamics.step: .*less than or equal to 5"),
        ('step = "2 fs"', 'step = "1e-310 fs"', r"dynamics.step: .*greater than or equal to 0.01"),
        ('temperature = "300 K"', 'temperature = "1e9 K"', r"less than or equal to 5000"),
        ('hydrogen_mass = "3 amu"', 'hydrogen_mass = "30 amu"', r"less than or equal to 4"),
        ('temperature = "300 K"', 'temperature = "1.2.3 K"', r"'1.2.3' in '1.2.3 K' is not a number"),
        ('name = "t4l-xylene-quickstart"', 'name = "' + "x" * 101 + '"', r"name: .*at most 100"),
        (
            "restraints     = [0.0, 1.0,",
            "restraints     = [0.0, true,",
            r"abfe.complex.restraints.1: .*valid number",
        ),
        (
            'spacing = "40 fs"',
            'spacing = "0.1 fs"',
            r"abfe.complex.spacing is 0.1 fs, shorter than a step of 2 fs",
        ),
        ("repeats = 1 ", "repeats = 0 ", r"abfe.repeats: .*greater than or equal to 1"),
        ("repeats = 1 ", 'exchange = "gibs" ', r"abfe.exchange: .*'gibbs'"),
        (
            "repeats = 1 ",
            'stretch = "1 ps" ',
            r'abfe: stretch is for windows that exchange.*exchange = "gibbs"',
        ),
        (
            "repeats = 1 ",
            'exchange = "gibbs"\nstretch = "0.01 ps" ',
            r"abfe: stretch is 0.01 ps, shorter than a spacing of 0.04 ps",
        ),
        ("value_kcal = -4.63", "value_kcal = nan", r"experiment.value_kcal: .*finite"),
        ("[regions]", "[water]\n[regions]", r"system.implicit_solvent and \[water\] are two solvents"),
        (
            "[regions]",
            '[water]\npressure = "-1 bar"\n[regions]',
            r"water.pressure: '-1 bar' must be positive",
        ),
    ],
)
def test_bad_input_is_one_message_that_says_where_and_what(tmp_path, old, new, says):
    assert old in QUICK
    with pytest.raises(InputError, match=says) as error:
        read(tmp_path, QUICK.replace(old, new, 1))
    assert "input.toml" in error.value.found


def test_corrections_come_with_all_their_tables_or_not_at_all(tmp_path):
    host = (EXAMPLES.parent / "cb7-b2" / "campaign.toml").read_text()
    assert not read(tmp_path, host).corrected
    assert read(tmp_path, QUICK).corrected
    with pytest.raises(InputError, match=r"\[labels\] is missing.*without all three.*the MM level"):
        read(tmp_path, host + '\n[regions]\ncores = ["name C1"]\n')
    with pytest.raises(InputError, match=r"\[potential\] is for corrections"):
        read(tmp_path, host + "\n[potential]\nmembers = 2\n")


def test_several_mistakes_are_told_at_once(tmp_path):
    text = QUICK.replace('"300 K"', "300").replace("seed = 2026", "sead = 1")
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    assert "sead" in error.value.found
    assert "temperature" in error.value.found


@pytest.mark.parametrize("text", ["= 3", "\x00"])
def test_text_that_is_no_toml_names_the_place(tmp_path, text):
    with pytest.raises(InputError, match="no valid TOML.*line 1"):
        read(tmp_path, text)


def test_a_missing_file_and_a_binary_one_are_clear(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_config(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        read_config(tmp_path / "binary.toml")
