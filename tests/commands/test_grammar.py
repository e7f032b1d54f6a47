"""One grammar for all recipes: what words mean, the older spellings, and what is refused."""

import json
import shutil
import sys
from dataclasses import dataclass, field, fields
from inspect import getdoc
from pathlib import Path
from types import ModuleType

import pytest
from test_force_field_commands import SMALL, write
from test_going_on import OPTIONS, rendered
from test_going_on import train as train_on_views

from equivariant.commands.grammar.option_types import command_type, part_of
from equivariant.commands.grammar.verbs import OLD_SPELLINGS, VERBS
from equivariant.commands.main import main
from equivariant.recipes import RECIPES
from equivariant.recipes.sie_3diebench.experiment import restore_experiment
from equivariant.runs import RunFolder
from equivariant.training import FitConfig
from equivariant.workflows.recipe import Recipe, RunVerb, is_free, option, option_name
from equivariant.workflows.registry import RecipeEntry, RecipeRegistry

FORCE_FIELD = [*SMALL, "--minutes", "0", "--steps", "1", "--validation", "2"]


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    return rendered(tmp_path_factory.mktemp("views") / "set")


@pytest.fixture(scope="module")
def sie_run(views, tmp_path_factory):
    return train_on_views(views, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def molecules(tmp_path_factory):
    folder = tmp_path_factory.mktemp("molecules")
    write(folder / "test.xyz", 4, 1)
    return write(folder / "train.xyz", 8, 0)


@pytest.fixture(scope="module")
def force_field_run(molecules, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    assert main(["train", "force-field", str(molecules), *FORCE_FIELD, "--runs", str(runs)]) == 0
    (run,) = runs.glob("*/*")
    return run


def helped(words, capsys, status=0):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == status
    said = capsys.readouterr()
    return " ".join((said.err if status else said.out).replace("│", " ").split())


def refused(words, capsys):
    """The one line that says what is wrong."""
    assert main(words) == 1
    *notes, line = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and all(n.startswith("note: ") for n in notes)
    return line


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_described_where_it_is_listed(name):
    recipe = RECIPES[name].load()
    assert getdoc(recipe.settings).splitlines()[0] == RECIPES[name].summary
    assert {"data", "fit", "recipe"} <= {f.name for f in fields(recipe.settings)}
    (own,) = [f for f in fields(recipe.settings) if f.name == "recipe"]
    assert own.default == name and not own.init
    assert next(f for f in fields(recipe.settings) if f.name == "fit").type == "FitConfig"


@pytest.mark.parametrize(("words", "status"), [(["train"], 2), (["train", "--help"], 0)])
def test_train_lists_the_recipes(words, status, capsys):
    said = helped(words, capsys, status)
    assert all(name in said and entry.summary in said for name, entry in RECIPES.items())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "sie"], ["DATA", "--model.method", "--size", "--stream", "--resume"]),
        (["train", "force-field"], ["DATA", "--product", "--tests", "eV", "rMD17", "--resume"]),
        (["evaluate"], ["RUN", "equivariant evaluate force-field --help"]),
        (["evaluate", "sie"], ["RUN", "--published-heads", "--data"]),
        (["evaluate", "force-field"], ["RUN TEST", "meV"]),
        (["report"], ["RUN [RUN ...]", "equivariant report sie --help"]),
        (["report", "sie"], ["RUN [RUN ...]", "--title"]),
        (["measure"], ["--model", "equivariant measure RUN --help"]),
        (["measure", "sie"], ["RUN", "--evaluation.pairs-per-object"]),
        (["train-force-field"], ["equivariant train force-field"]),
        (["evaluate-force-field"], ["RUN"]),
    ],
)
def test_help_teaches(words, says, capsys):
    said = helped([*words, "--help"], capsys)
    assert all(text in said for text in says), said


def test_help_of_a_run_is_that_of_its_recipe(sie_run, force_field_run, capsys):
    assert "--published-heads" in helped(["evaluate", str(sie_run), "--help"], capsys)
    assert "TEST" in helped(["evaluate", "--help", str(force_field_run)], capsys)


def test_old_verbs_are_none_of_the_new_and_say_so(molecules, force_field_run, tmp_path, capsys):
    assert not set(OLD_SPELLINGS) & set(VERBS)
    assert "train-force-field" not in helped(["--help"], capsys)
    words = [str(molecules), *FORCE_FIELD, "--runs", str(tmp_path)]
    assert main(["train-force-field", *words]) == 0
    said = capsys.readouterr()
    assert said.err.count("note: ") == 1 and "`equivariant train force-field`" in said.err
    (old,) = tmp_path.glob("*/*")
    for name in ("checkpoints/last.safetensors", "resume.safetensors"):
        assert (old / name).read_bytes() == (force_field_run / name).read_bytes()
    test = str(molecules.with_name("test.xyz"))
    assert main(["evaluate-force-field", str(old), test]) == 0
    assert "`equivariant evaluate`" in capsys.readouterr().err
    assert set(json.loads((old / "measures.json").read_text())) == {"test"}


def test_old_training_on_views_is_sie(views, sie_run, tmp_path, capsys):
    words = [*OPTIONS, "--quiet", "--runs", str(tmp_path)]
    assert main(["train", str(views), *words]) == 0
    assert f"note: recipes are named now: equivariant train sie {views} " in capsys.readouterr().err
    (old,) = (tmp_path / "simclr").iterdir()
    assert main(["train", *words, str(views), "--name", "second"]) == 0
    assert f"equivariant train sie {words[0]}" in capsys.readouterr().err
    (second,) = (tmp_path / "second").iterdir()
    weights = (sie_run / "checkpoints/last.safetensors").read_bytes()
    assert all((r / "checkpoints/last.safetensors").read_bytes() == weights for r in (old, second))


def test_a_run_goes_on_as_its_header_says(views, sie_run, force_field_run, tmp_path, capsys):
    run = shutil.copytree(sie_run, tmp_path / "run")
    assert main(["train", "--resume", str(run), "--quiet", "--fit.steps", "5"]) == 0
    assert main(["train", "--quiet", f"--resume={run}"]) == 0
    assert "note" not in capsys.readouterr().err
    assert main(["train", str(views), "--resume", str(run), "--quiet"]) == 0
    assert f"equivariant train sie {views} --resume {run}" in capsys.readouterr().err
    assert main(["train", "--resume", str(force_field_run), "--quiet"]) == 0
    said = refused(["train", "sie", "--resume", str(force_field_run)], capsys)
    assert f"equivariant train force-field --resume {force_field_run}" in said
    assert "absent" in refused(["train", "--resume", str(tmp_path / "absent")], capsys)


def test_a_recipe_wins_over_a_folder_of_its_name(views, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(views, "sie")
    assert "expected the data" in refused(["train", "sie"], capsys)
    assert main(["train", "sie", "sie", *OPTIONS, "--quiet"]) == 0
    assert "note: sie is the recipe; for data of this name write ./sie" in capsys.readouterr().err
    assert main(["train", "./sie", *OPTIONS, "--quiet"]) == 0
    assert "equivariant train sie ./sie" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "forcefield", "x.xyz"], "Did you mean force-field?"),
        (["train", "unknown"], "lie, soft, apen, or a folder of data, got unknown"),
        (["evaluate", "sie"], "sie: expected a run folder"),
        (["evaluate", "EMPTY"], "a folder without it"),
        (["report", "EMPTY"], "a folder without it"),
        (["evaluate", "sie", "RUN"], "Leave sie out"),
        (["train", "force-field", "MOLECULES", "--tests", "absent.xyz"], "absent.xyz"),
        (["evaluate", "FORCES"], "expected files to compare with"),
        (["evaluate", "FORCES", "absent.xyz"], "absent.xyz"),
        (["evaluate", "absent.xyz", "FORCES"], "absent.xyz"),
        (["report", "FORCES"], "equivariant evaluate FORCES TEST_FILE"),
        (["measure", "FORCES", "absent.xyz"], "absent.xyz"),
        (["measure", "FORCES", "MOLECULES", "--molecules", "0"], "at least one molecule"),
        (["measure", "RUN", "--model", "mine.py:build"], "got both"),
        (["report", "RUN", "FORCES"], "runs of one recipe, sie"),
        (["evaluate", "OTHER"], "names no recipe"),
        (["evaluate", "NEWER"], "'lie-affnist'"),
        (["train", "--resume", "NEWER"], "that made it, 9.1, or one that is newer"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(words, says, sie_run, force_field_run, molecules, tmp_path,
                               monkeypatch, capsys):  # fmt: skip
    (tmp_path / "empty").mkdir()
    other, newer = tmp_path / "other", tmp_path / "newer"
    for folder, settings in ((other, {"model": "m"}), (newer, {"recipe": "lie-affnist"})):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(settings))
        (folder / "environment.json").write_text(json.dumps({"equivariant": "9.1"}))
    places = {"EMPTY": tmp_path / "empty", "RUN": sie_run, "FORCES": force_field_run,
              "OTHER": other, "NEWER": newer, "MOLECULES": molecules}  # fmt: skip
    monkeypatch.chdir(tmp_path)
    says = says.replace("FORCES", str(force_field_run))
    assert says in refused([str(places.get(word, word)) for word in words], capsys)


def test_runs_of_before_recipes_had_names_are_known(sie_run, force_field_run, tmp_path):
    for made, name in ((sie_run, "sie"), (force_field_run, "force-field")):
        run = RunFolder(shutil.copytree(made, tmp_path / name))
        assert RECIPES.of_run(run).name == name
        settings = json.loads((run.path / "config.json").read_text())
        assert settings.pop("recipe") == name
        settings.pop("tests", None)
        if name == "sie":
            settings["in_memory"] = not settings.pop("stream")
        (run.path / "config.json").write_text(json.dumps(settings))
        assert RECIPES.of_run(run).name == name
        restored = RECIPES[name].load().restore(run)
        assert restored == RECIPES[name].load().restore(RunFolder(made))
    assert not restore_experiment(RunFolder(sie_run)).stream


@dataclass(frozen=True)
class Settings:
    """Nothing, trained on nothing.

    Args:
        data: Where nothing is.
        fit: Training.
        level: How little.
    """

    data: Path
    fit: FitConfig = field(default_factory=FitConfig, metadata=option(""))
    level: int = field(default=0, metadata=option("depth", free=True))
    recipe: str = field(default="nothing", init=False)
    run_name = "nothing"


@dataclass(frozen=True)
class Evaluation:
    """Evaluate nothing."""


def test_a_new_recipe_is_one_file_and_one_line(tmp_path, monkeypatch, capsys):
    trained = []

    def train(settings, run, *, fabric, progress, say):
        say(f"trained {settings.level}")
        trained.append(settings)

    def restore(run):
        return Settings(Path(json.loads((run.path / "config.json").read_text())["data"]))

    module = ModuleType("nothing_recipe")
    module.RECIPE = Recipe(
        settings=Settings,
        restore=restore,
        train=train,
        evaluate=RunVerb(Evaluation, lambda run, options, *, say: say(f"nothing in {run.path}")),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "nothing_recipe", module)
    entries = [*RECIPES.values(), RecipeEntry("nothing", "Nothing, trained.", "nothing_recipe")]
    registry = RecipeRegistry(entries)
    for name in ("train", "grammar.run_verbs"):
        monkeypatch.setattr(sys.modules[f"equivariant.commands.{name}"], "RECIPES", registry)
    monkeypatch.chdir(tmp_path)
    words = ["train", "nothing", "here", "--depth", "3", "--accelerator", "cpu", "--steps", "9"]
    assert main(words) == 0
    (settings,) = trained
    assert (settings.data, settings.level, settings.fit.steps) == (tmp_path / "here", 3, 9)
    (run,) = (tmp_path / "runs" / "nothing").iterdir()
    assert json.loads((run / "config.json").read_text())["recipe"] == "nothing"
    said = capsys.readouterr().out
    assert "trained 3" in said and f"next: equivariant evaluate {run.relative_to(tmp_path)}" in said
    assert main(["evaluate", str(run)]) == 0
    assert f"nothing in {run}" in capsys.readouterr().out
    assert "Nothing, trained." in helped(["train", "--help"], capsys)
    Path("here").mkdir()
    assert main(["train", "--resume", str(run), "--depth", "4", "--accelerator", "cpu"]) == 0
    assert trained[-1].level == 4
    assert "a run of nothing" in refused(["report", str(run)], capsys)


def test_options_are_the_fields_of_settings():
    names = {f.name: (option_name(f), is_free(f)) for f in fields(Settings)}
    assert names["fit"] == ("", False) and names["level"] == ("depth", True)
    kind = command_type(type("Base", (), {"__doc__": "Of it."}), Settings)
    command = kind(Path("x"), level=2)
    assert part_of(command, Settings) == Settings(Path("x"), level=2)
    assert kind.__doc__.startswith("Of it.\n\nArgs:\n    data: Where nothing is.\n")
