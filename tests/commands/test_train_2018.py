"""The classes of 2018 all the way, heads on an encoder that stays as it is, and the systems that users come from."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hpa_cells.classes import get_class_set
from hpa_cells.commands import predict, simulate, train
from hpa_cells.commands.settings import compose, conf_folder, to_settings
from hpa_cells.commands.train_heads import _outcome
from hpa_cells.export import read_kaggle2018
from hpa_cells.fields import read_label_table
from hpa_cells.metrics import average_precision_per_class, tuned_thresholds
from hpa_cells.models import CellClassifier, EncoderSettings, check_crop_size, load_checkpoint
from hpa_cells.simulation.classes_2018 import _FIELDS
from hpa_cells.table import Column, read_table
from hpa_cells.training.labelled import DataSettings, find_labelled_fields
from hpa_cells.training.logistic import GridPoint
from hpa_cells.training.one_vs_rest import FittedHeads
from hpa_cells.training.repeats import check_repeats

Program = Callable[..., Any]
MODEL = ("experiment=ovr_embeddings_2018", "data.num_folds=3", "heads.C=[0.01,1]")
# Squares of systems without cells, for fields this small.
SMALL_SQUARES = {
    "inception_resnet_v2_2018": ("view.size_px=48",),
    "senet_2018": ("view.size_px=48", "view.field_px=48"),
}
EXPERIMENTS = sorted(path.stem for path in (conf_folder() / "experiment").glob("*_20[12][0-9].yaml"))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated fields of a few cells, with labels of 2018."""
    root = tmp_path_factory.mktemp("fields")
    small = ["recipe.height_px=96", "recipe.width_px=120", "recipe.pixel_size_um=0.6", "recipe.crowding=2"]
    settings = ["fields=20", "test_fields=6", "class_set=hpa2018", "workers=1"]
    simulate.run(compose("simulate", [f"out={root}", *small, *settings]))
    return root


def overrides(root: Path, out: Path, *more: str) -> list[str]:
    """Tiny, and cut by the true masks."""
    return [
        *more[:1],
        "data=hpa2018",
        f"data.root={root}",
        f"out={out}",
        f"crop_store={root / 'crops'}",
        "segmenter=cell_table",
        f"segmenter.folder={root / 'truth'}",
        "encoder=tiny",
        "encoder.options={channels:[8,8,8,8],stem_width:8}",
        "crops.size_px=32",
        "trainer=cpu",
        "logger=csv",
        "workers=1",
        "threads=1",
        *more[1:],
    ]


def run_train(root: Path, out: Path, *more: str) -> None:
    train.run(compose("train", overrides(root, out, *more)))


def run_predict(root: Path, out: Path, model: Path, *, split: str, truth: str) -> None:
    settings = ["segmenter=cell_table", f"segmenter.folder={root / truth}", "device=cpu"]
    predict.run(compose("predict", [f"fields={root / split}", f"model={model}", f"out={out}", *settings]))


@pytest.fixture(scope="module")
def model(root: Path) -> Path:
    run_train(root, root / "model", *MODEL)
    return root / "model"


@pytest.fixture(scope="module")
def table(root: Path, model: Path) -> Path:
    run_predict(root, root / "run", model, split="test", truth="truth_test")
    return root / "run"


def test_a_model_is_what_scikit_learn_makes_of_the_embeddings(
    root: Path, model: Path, tmp_path: Path
) -> None:
    """By the other command: embeddings of every cell, their means, and the pipeline that everyone knows."""
    run_predict(root, tmp_path / "run", model, split="train", truth="truth")
    said = read_table(tmp_path / "run")
    means = {
        str(field_id): np.mean(np.stack(list(embeddings)), axis=0, dtype=np.float64)
        for field_id, embeddings in said.cells.groupby(Column.FIELD_ID)[Column.EMBEDDING]
    }
    checkpoint = load_checkpoint(model)
    data = checkpoint.provenance["settings"]["data"]
    fields = find_labelled_fields(DataSettings(**data), optional=frozenset())
    fold_of = dict(zip(fields.table.field_ids, fields.folds, strict=True))
    labels_of = dict(zip(fields.table.field_ids, fields.table.labels, strict=True))
    learned = [field_id for field_id in means if fold_of[field_id] != data["fold"]]
    assert 0 < len(learned) < len(means)
    folds = np.array([fold_of[field_id] for field_id in learned])
    by_id = said.fields.set_index(Column.FIELD_ID)[Column.probabilities(said.class_set)]
    classes = checkpoint.provenance["training"]["classes"]
    num_fitted = 0
    for index, key in enumerate(said.class_set.keys):
        is_true = np.array([labels_of[field_id][index] for field_id in learned])
        if is_true.any() and not is_true.all():
            weight = None if classes[key]["class_weight"] == "none" else "balanced"
            logistic = LogisticRegression(C=classes[key]["C"], class_weight=weight, tol=1e-8, max_iter=9999)
            pipeline = make_pipeline(StandardScaler(), logistic)
            values = np.stack([means[field_id] for field_id in learned])
            precision = cross_validated(pipeline, values, is_true, folds)
            assert classes[key]["cross_validated_average_precision"] == pytest.approx(precision, abs=1e-3)
            expected = pipeline.fit(values, is_true).predict_proba(np.stack(list(means.values())))[:, 1]
            num_fitted += 1
        else:
            expected = np.full(len(means), (is_true.sum() + 0.5) / (len(is_true) + 1))
        np.testing.assert_allclose(by_id.loc[list(means)].iloc[:, index], expected, atol=1e-5)
        assert classes[key]["fields"] == is_true.sum()
    assert num_fitted > 8


def cross_validated(
    pipeline: Any, values: np.ndarray, is_true: np.ndarray, folds: np.ndarray
) -> float | None:
    """Average precision of fields whose fold the pipeline has not seen, where it has seen both kinds of label."""
    scores, scored = np.zeros(len(values)), np.zeros(len(values), dtype=bool)
    for fold in set(folds):
        own, rest = folds == fold, folds != fold
        if is_true[rest].any() and not is_true[rest].all():
            scores[own] = pipeline.fit(values[rest], is_true[rest]).decision_function(values[own])
            scored[own] = True
    if not is_true[scored].any():
        return None
    return float(average_precision_score(is_true[scored], scores[scored]))


def test_what_the_checkpoint_tells(model: Path) -> None:
    checkpoint = load_checkpoint(model)
    assert checkpoint.class_set.name == "hpa2018"
    assert len(checkpoint.thresholds) == 28
    grid = pd.read_csv(model / "training" / "one_vs_rest.csv")
    assert len(grid) == 28 * 4
    chosen = grid[grid["chosen"]].set_index("class_key")
    classes = checkpoint.provenance["training"]["classes"]
    assert tuple(chosen.index) == tuple(classes) == checkpoint.class_set.keys
    for key, told in classes.items():
        assert (chosen.C[key], chosen.class_weight[key]) == (told["C"], told["class_weight"])
        precision = told["cross_validated_average_precision"]
        assert np.isnan(chosen.average_precision[key]) == (precision is None)
        assert precision is None or chosen.average_precision[key] == pytest.approx(precision, abs=1e-4)
        assert chosen.num_scored_fields[key] == told["fields_scored"] <= told["fields"]
    # Never simulated, so neither learned nor measured.
    assert classes["rods_and_rings"]["cross_validated_average_precision"] is None
    assert classes["rods_and_rings"]["fields"] == 0
    card = (model / "README.md").read_text()
    assert "| heads | one_vs_rest |" in card
    assert not list(model.rglob("*.ckpt"))
    assert not list(model.rglob("*.pkl"))


def test_thresholds_are_tuned_on_all_fields_and_figures_measured_on_validation() -> None:
    draw, class_set = np.random.default_rng(0), get_class_set("hpa2018")
    labels = draw.random((40, 28)) < 0.3
    scores = (labels + draw.random((40, 28))).astype(np.float32) / 2
    parts = [SimpleNamespace(labels=labels[rows], class_set=class_set) for rows in (slice(30), slice(30, 40))]
    fitted = FittedHeads(
        weight=np.zeros((28, 2)),
        bias=np.zeros(28),
        grid=(GridPoint(C=1.0, class_weight="none"),),
        average_precision=np.ones((1, 28)),
        num_scored=np.ones(28, dtype=np.int64),
        chosen=np.zeros(28, dtype=np.int64),
        out_of_fold=scores[:30].astype(np.float64),
    )
    data: Any = SimpleNamespace(training=parts[0], validation=parts[1])
    outcome = _outcome(OmegaConf.create({"seed": 0}), fitted, scores[30:], data=data)
    np.testing.assert_allclose(outcome.thresholds, tuned_thresholds(scores, labels), rtol=1e-6)
    called = scores[30:] >= outcome.thresholds
    shown = labels[30:].any(axis=0)
    expected = f1_score(labels[30:, shown], called[:, shown], average="macro", zero_division=0)
    assert outcome.metrics["macro_f1_at_tuned_thresholds"] == pytest.approx(expected)
    assert outcome.metrics["validation_fields"] == 10
    precisions = average_precision_per_class(scores[30:], labels[30:])
    assert outcome.metrics["macro_average_precision"] == pytest.approx(np.nanmean(precisions))


def test_cells_are_ranked_as_the_head_of_fields_ranks_them(table: Path, model: Path) -> None:
    own, said = load_checkpoint(model).model, read_table(table)
    cells = np.stack(list(said.cells[Column.EMBEDDING])).astype(np.float64)
    logits = {}
    for name, head in (("cells", own.cell_head), ("fields", own.field_head)):
        weight, bias = head.weight.detach().double().numpy(), head.bias.detach().double().numpy()
        logits[name] = cells @ weight.T + bias
    factors = np.median(logits["cells"] / logits["fields"], axis=0)
    assert (factors > 0).all()
    assert factors.min() < 0.9 < factors.max() <= 1 + 1e-6
    np.testing.assert_allclose(logits["cells"], factors * logits["fields"], atol=1e-4)
    # Cells of other fields may be a little beyond what those of training reach.
    assert np.abs(logits["cells"]).max() < 15
    assert (said.probabilities() < 1).all()
    np.testing.assert_allclose(said.probabilities(), expit(logits["cells"]), atol=1e-5)


def test_the_encoder_stays_as_it_is(root: Path, model: Path) -> None:
    from lightning.pytorch import seed_everything

    own = load_checkpoint(model).model
    seed_everything(0, verbose=False)
    fresh = CellClassifier(own.settings).encoder.state_dict()
    for name, value in own.encoder.state_dict().items():
        assert torch.equal(value, fresh[name]), name


def test_the_same_command_goes_on_with_what_was_embedded(
    root: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hpa_cells.commands.train_heads.fit_one_vs_rest", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_train(root, tmp_path / "model", *MODEL)
    monkeypatch.undo()
    assert not (tmp_path / "model" / "checkpoint.json").exists()
    monkeypatch.setattr(CellClassifier, "embed", stopped)
    run_train(root, tmp_path / "model", *MODEL)
    again, before = load_checkpoint(tmp_path / "model"), load_checkpoint(model)
    assert again.weights_hash == before.weights_hash
    np.testing.assert_array_equal(again.thresholds, before.thresholds)
    # Other heads on the same embeddings, which may be shared.
    store = f"embedding_store={tmp_path / 'model' / 'training' / 'embeddings'}"
    run_train(root, tmp_path / "other", "experiment=ovr_embeddings_2018", store, "heads.C=[0.5]")
    told = load_checkpoint(tmp_path / "other").provenance["training"]["classes"]
    assert {each["C"] for each in told.values()} == {0.5}


def test_cross_fitting(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    embed = CellClassifier.embed

    def spy(self: CellClassifier, images: torch.Tensor, *more: Any) -> torch.Tensor:
        calls.append(len(images))
        return embed(self, images, *more)

    monkeypatch.setattr(CellClassifier, "embed", spy)
    run_train(
        root,
        tmp_path / "round",
        "experiment=ovr_embeddings_2018",
        "cross_fit=true",
        "data.num_folds=3",
        "heads.C=[0.1]",
    )
    said = read_table(tmp_path / "round" / "out_of_fold")
    labels = read_label_table(root / "train.csv")
    assert set(said.fields[Column.FIELD_ID]) == set(labels.field_ids)
    hashes = {load_checkpoint(tmp_path / "round" / f"fold-{fold}").weights_hash for fold in range(3)}
    assert len(hashes) == 3
    # Each cell is embedded once for all folds, and once more to be predicted.
    assert len(list((tmp_path / "round" / "training" / "embeddings").iterdir())) == 1
    assert sum(calls) == 2 * len(said.cells)


def test_whole_fields_are_embedded_too(root: Path, tmp_path: Path) -> None:
    settings = ("view=field", "view.um_per_px=0.6", "heads.C=[0.1]")
    run_train(root, tmp_path / "model", "experiment=ovr_embeddings_2018", *settings)
    run_predict(root, tmp_path / "run", tmp_path / "model", split="test", truth="truth_test")
    said = read_table(tmp_path / "run")
    means = said.cells.groupby(Column.FIELD_ID)[Column.EMBEDDING].apply(
        lambda each: np.mean(np.stack(each), axis=0)
    )
    checkpoint = load_checkpoint(tmp_path / "model")
    assert checkpoint.model.settings.view == "field"
    by_id = said.fields.set_index(Column.FIELD_ID)[Column.probabilities(said.class_set)]
    with torch.inference_mode():
        expected = checkpoint.model.field_head(torch.from_numpy(np.stack(means))).sigmoid().numpy()
    np.testing.assert_allclose(by_id.loc[means.index], expected, atol=1e-5)


def test_the_shipped_encoder_and_the_classes_of_2021(root: Path, tmp_path: Path) -> None:
    """Labels of 2018 are mapped; the encoder is that of the package."""
    run_train(
        root,
        tmp_path / "model",
        "heads=one_vs_rest",
        "method=dual_head",
        "data=hpa2021",
        "encoder=small",
        "encoder.options={channels:[32,64,128,256],stem_width:32}",
        "init=shipped",
        "heads.C=[0.01]",
    )
    checkpoint, shipped = load_checkpoint(tmp_path / "model"), load_checkpoint("hpa_cells/models/shipped")
    assert checkpoint.class_set.name == "hpa2021"
    for name, value in shipped.model.encoder.state_dict().items():
        assert torch.equal(checkpoint.model.encoder.state_dict()[name], value)


def submission(table: Path, out: Path, hpa_cells: Program, *more: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Field ids and labels of a submission of 2018 that was written and checked."""
    settings = ("format=kaggle2018", "format.at_least_one=false", *more)
    ended = hpa_cells("export", f"table={table}", f"out={out}", *settings)
    assert ended.status == 0, ended.stderr
    labels = read_kaggle2018(out)
    return labels.field_ids, labels.labels


def test_from_fields_to_macro_f1(
    root: Path, model: Path, table: Path, tmp_path: Path, hpa_cells: Program
) -> None:
    """Each rule of thresholds: the submission it makes has, by scikit-learn, the macro F1 that is told."""
    truth, labels = root / "test.csv", f"{root / 'train.csv'}"
    scores = f"out={tmp_path / 'scores'}"
    chosen = ("thresholds=ratio", f"thresholds.labels={labels}")
    ended = hpa_cells("evaluate", f"table={table}", f"truth={truth}", scores, *chosen)
    assert ended.status == 0, ended.stderr
    run = json.loads((tmp_path / "scores" / "scores.json").read_text())["runs"]["run"]
    by_rule = run["field_f1_by_rule"]
    assert set(by_rule) == {"fixed", "tuned", "ratio"}
    assert (
        f"macro F1 by thresholds: fixed {by_rule['fixed']:.3f}, tuned {by_rule['tuned']:.3f}" in ended.stdout
    )
    assert run["mean_field_f1"] == by_rule["ratio"]
    true_labels = read_label_table(truth)
    rules = {
        "fixed": ("format.threshold=0.5",),
        "tuned": (f"format.model={model}",),
        "ratio": (f"format.training_labels={labels}",),
    }
    for rule, settings in rules.items():
        field_ids, called = submission(table, tmp_path / f"{rule}.csv", hpa_cells, *settings)
        truly = np.stack(
            [true_labels.labels[true_labels.field_ids.index(field_id)] for field_id in field_ids]
        )
        shown = truly.any(axis=0)
        expected = f1_score(truly[:, shown], called[:, shown], average="macro", zero_division=0)
        assert by_rule[rule] == pytest.approx(expected), rule
    assert len(set(by_rule.values())) == 3
    assert called.mean() == pytest.approx(read_label_table(labels).labels.mean(), abs=0.02)

    per_class = pd.read_csv(tmp_path / "scores" / "per_class.csv").set_index("class_key")
    assert len(per_class) == 28
    said = read_table(table)
    probabilities = said.fields.set_index(Column.FIELD_ID).loc[list(true_labels.field_ids)]
    precisions = average_precision_per_class(
        probabilities[Column.probabilities(said.class_set)].to_numpy(), true_labels.labels
    )
    np.testing.assert_allclose(per_class["field_ap"], precisions)
    assert np.isnan(per_class.loc["rods_and_rings", "field_f1"])
    assert per_class.loc["rods_and_rings", "num_true_fields"] == 0


def test_a_truth_of_cells_in_the_classes_of_2018(
    root: Path, table: Path, tmp_path: Path, hpa_cells: Program
) -> None:
    truth = f"truth={root / 'truth_test'}"
    ended = hpa_cells("evaluate", f"table={table}", truth, f"out={tmp_path / 'scores'}")
    assert ended.status == 0, ended.stderr
    run = json.loads((tmp_path / "scores" / "scores.json").read_text())["runs"]["run"]
    assert 0 < run["mean_ap"] <= 1
    assert set(run["field_f1_by_rule"]) == {"fixed", "tuned"}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_known_system_trains_and_predicts(root: Path, tmp_path: Path, experiment: str) -> None:
    year, view = experiment[-4:], SMALL_SQUARES.get(experiment, ())
    run_train(root, tmp_path / "model", f"experiment={experiment}", f"data=hpa{year}", "debug=fast", *view)
    checkpoint = load_checkpoint(tmp_path / "model")
    assert checkpoint.class_set.name == f"hpa{year}"
    assert (checkpoint.square_settings is not None) == bool(view)
    run_predict(root, tmp_path / "run", tmp_path / "model", split="test", truth="truth_test")
    said = read_table(tmp_path / "run")
    assert said.probabilities().shape[1] == len(checkpoint.class_set)
    assert np.isfinite(said.probabilities()).all()
    assert len(said.fields) == 6
    assert np.isfinite(said.field_probabilities()).any()
    assert (len(said.cells) == 0) == bool(view)


def test_the_senet_reads_files_of_full_size_too(root: Path, tmp_path: Path) -> None:
    """By the second command of its comment: squares of the fields as they are."""
    larger = (
        "view.field_px=null",
        "view.num_training=16",
        "view.num_predicted=8",
        "pooling=max",
        "view.size_px=48",
    )
    run_train(root, tmp_path / "model", "experiment=senet_2018", "debug=fast", *larger)
    checkpoint = load_checkpoint(tmp_path / "model")
    assert (
        checkpoint.provenance["data"]["training_squares"]
        == 16 * checkpoint.provenance["data"]["training_fields"]
    )
    assert checkpoint.model.settings.pooling.name == "max"


def test_rare_classes_of_2018_are_shown_two_to_seven_times() -> None:
    """The rarer the more often, by the numbers of fields of 2018."""
    cfg = compose("train", ["experiment=inception_resnet_v2_2018", "data.root=x", "out=y"])
    repeats = dict(cfg.bags.repeats)
    check_repeats(repeats, get_class_set("hpa2018"))
    assert set(repeats.values()) == {2, 3, 5, 7}
    counts = {key: number for key, number in _FIELDS.items() if key in repeats}
    for rarer, commoner in itertools.combinations(sorted(counts, key=counts.__getitem__), 2):
        assert repeats[rarer] >= repeats[commoner]
    assert not {"centrosome", "plasma_membrane", "nucleoplasm", "cytosol"} & set(repeats)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_network_of_every_known_system_reads_its_crops(experiment: str) -> None:
    """As it is composed, in shapes only; published weights and class weights are asked for."""
    cfg = compose("train", [f"experiment={experiment}", "data.root=x", "out=y"])
    encoder = to_settings(EncoderSettings, cfg.encoder)
    assert encoder.pretrained
    check_crop_size(encoder, cfg.view.size_px if cfg.view.kind == "squares" else cfg.crops.size_px)
    assert cfg.data.class_set == f"hpa{experiment[-4:]}"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("pooling=max", "Pooling is max, but heads=one_vs_rest learns from the mean"),
        (
            "cell_labels=somewhere",
            "cell_labels is somewhere, but heads=one_vs_rest learns from labels of fields",
        ),
        ("data.num_folds=2", "data.num_folds is 2: heads=one_vs_rest needs 3 or more"),
        ("method=naive", "method.field_head is shared, but heads=one_vs_rest has one for fields"),
        ("bags.mosaic=0.5", "bags.mosaic is 0.5, which heads=one_vs_rest knows nothing of"),
        ("+bags.repeats.nucleoplasm=5", "bags.repeats is {'nucleoplasm': 5}, which heads=one_vs_rest knows"),
        ("bags.balance=1", "bags.balance is 1.0, which heads=one_vs_rest knows nothing of: leave it out"),
        ("area_weight.inner_um2=9", "area_weight.inner_um2 is 9, which heads=one_vs_rest knows nothing of"),
        ("heads.C=[-1]", "heads.C is [-1.0]"),
        ("heads.class_weights=[both]", "heads.class_weights is ['both']"),
        ("heads.c=[1]", "`heads.c` is not a setting of train"),
        ("heads=one_vs_one", "one_vs_one"),
    ],
)
def test_what_does_not_go_with_heads_is_refused_before_cells_are_cut(
    root: Path, tmp_path: Path, hpa_cells: Program, argument: str, message: str
) -> None:
    settings = overrides(root, tmp_path / "model", "experiment=ovr_embeddings_2018", argument)
    ended = hpa_cells("train", *settings, f"crop_store={tmp_path / 'crops'}")
    assert ended.status in (1, 2)
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "crops").exists()
