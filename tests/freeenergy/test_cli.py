from pathlib import Path

import pytest
from click.testing import CliRunner

from drupe.freeenergy.cli import main

QUICK = (Path(__file__).parents[2] / "examples" / "t4l-xylene" / "quickstart.toml").read_text()
CORE = 'cores = ["resname TMP and name C8 H8 H9 H10"]'


def call(tmp_path, monkeypatch, *arguments):
    monkeypatch.chdir(tmp_path)
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("complex.prmtop", "compleks.prmtop", "compleks.prmtop"),
        ("package:openmmtools", "package:openmmtoolz", "openmmtoolz"),
        ('ligand = "resname TMP"', 'ligand = "resname TMQ"', "TMP"),
        ('ligand = "resname TMP"', 'ligand = "resnamee TMP"', "resnamee"),
        ('ligand = "resname TMP"', "ligand = [999999]", "999999"),
        (CORE, 'cores = ["resname TMP and name ZZ"]', "ZZ"),
        (CORE, 'cores = ["resname TMP and name C8 H8", "resname TMP and name C8 H9"]', "share atoms"),
        (CORE, 'cores = ["resid 3"]', "outside"),
        ("charge = 0", "charge = 1", "multiplicit"),
        ("multiplicity = 1", "multiplicity = 2", "multiplicit"),
        ('temperature = "300 K"', "temperature = 300", "no unit"),
        ("seed = 2026", "sead = 2026", "sead"),
        ('ligand = "resname TMP"', 'ligand = "all"', "takes all 2621 atoms"),
        ('ligand = "resname TMP"', 'ligand = "resname TMP or (resSeq 118 and sidechain)"', "cuts the bond"),
        ("package:openmmtools", "~nobody-of-that-name/", "no usable path"),
        ("package:openmmtools", "x" * 400, "no usable path"),
        ('functional = "PBE"', 'functional = "NOTAFUNC"', "NOTAFUNC"),
        ('functional = "PBE"', 'functional = ""', "is empty"),
        ('functional = "PBE"', 'functional = "PBE-D3BJ"', "dispersion"),
        ('basis = "def2-SVP"', 'basis = "nobasis"', "nobasis"),
        ('core = "CCSD(T)"', 'core = "CCSDT"', "did you mean 'CCSD'"),
    ],
)
def test_bad_input_is_one_message_exit_2_and_nothing_written(tmp_path, monkeypatch, old, new, says):
    assert old in QUICK
    (tmp_path / "in.toml").write_text(QUICK.replace(old, new))
    result = call(tmp_path, monkeypatch, "run", "in.toml")
    assert result.exit_code == 2, result.output
    assert says in result.output
    assert "\n  -> " in result.output
    assert "Traceback" not in result.output
    assert result.output.startswith("drupe: ")
    assert [path.name for path in tmp_path.iterdir()] == ["in.toml"]


def test_a_periodic_box_is_refused_with_the_remedy(tmp_path, monkeypatch):
    text = QUICK
    for name in ("complex.prmtop", "complex-minimized.crd"):
        start = text.rindex('"', 0, text.index(name))
        suffix = name.rpartition(".")[2]
        box = f"package:openmmtools/data/alanine-dipeptide-explicit/alanine-dipeptide.{suffix}"
        text = text[: start + 1] + box + text[text.index(name) + len(name) :]
    (tmp_path / "in.toml").write_text(text)
    result = call(tmp_path, monkeypatch, "run", "in.toml")
    assert result.exit_code == 2
    assert "describes a periodic box" in result.output
    assert "give the solute alone for implicit solvent" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["in.toml"]


def test_a_missing_input_file_and_folder_are_exit_2(tmp_path, monkeypatch):
    for arguments in (("run", "none.toml"), ("status", "nowhere")):
        result = call(tmp_path, monkeypatch, *arguments)
        assert result.exit_code == 2
        assert "Traceback" not in result.output


def test_a_campaign_without_tasks_says_so(tmp_path, monkeypatch):
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "campaign.sqlite").touch()
    result = call(tmp_path, monkeypatch, "status", "begun")
    assert result.exit_code == 0
    assert "no task has ended yet" in result.output


def test_a_folder_that_cannot_be_made_is_exit_4(tmp_path, monkeypatch):
    (tmp_path / "in.toml").write_text(QUICK)
    (tmp_path / "file").write_text("in the way")
    result = call(tmp_path, monkeypatch, "run", "in.toml", "--folder", "file/campaign")
    assert result.exit_code == 4
    assert "cannot be written" in result.output


def test_more_workers_than_cores_is_exit_4_and_nothing_written(tmp_path, monkeypatch):
    (tmp_path / "in.toml").write_text(QUICK + "[engine]\nworkers = 4096\n")
    result = call(tmp_path, monkeypatch, "run", "in.toml")
    assert result.exit_code == 4
    assert "4096 workers" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["in.toml"]


def test_a_platform_that_is_not_there_is_exit_4_and_nothing_written(tmp_path, monkeypatch):
    (tmp_path / "in.toml").write_text(QUICK + '[engine]\nplatform = "Abacus"\n')
    result = call(tmp_path, monkeypatch, "run", "in.toml")
    assert result.exit_code == 4
    assert "'Abacus' is not available" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["in.toml"]


def test_a_folder_that_holds_something_else_is_refused(tmp_path, monkeypatch):
    (tmp_path / "in.toml").write_text(QUICK)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("mine")
    result = call(tmp_path, monkeypatch, "run", "in.toml", "--folder", "thesis")
    assert result.exit_code == 2
    assert "chapter.tex" in result.output
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]
