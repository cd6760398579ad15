"""What it gives to leave out, or to draw less often, the fields that `hpa-cells explore` names.

    hpa-cells simulate out=SIM recipe=benchmark fields=750 test_fields=300
    python benchmarks/field_weights.py SIM OUT

Of the first simulated training fields a share trade their labels, and a share are spoiled: out of focus, overexposed,
with protein and microtubules exchanged, or with the pixels of another field. Models of folds score all, `hpa-cells
explore` looks at labels, pixels, scores and embeddings, and says what it makes of them. Then models are trained alike
on

- all fields as given,
- with the weights of its ``field_weights.csv``,
- without the fields named there,
- with the same weights dealt to fields at random, and without as many fields drawn at random,
- without the fields that are wrong or spoiled, and with none of them wrong or spoiled,

and read test fields, which are neither; the figure is the mean average precision of the 2021 challenge. All models are
heads on the encoder of the model in the package as it is (frozen_encoder=true). Each seed draws other faults, fields
to choose by and steps. Everything is simulated. What is finished is not repeated. Settings of all trainings may follow.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from label_review import first_fields, hpa_cells, show, swap_labels
from numpy.typing import NDArray

from hpa_cells.fields import LabelTable, read_label_table, write_label_table

COLORS = ("red", "green", "blue", "yellow")
HEADS = (
    "experiment=weak_supervision",
    "method=dual_head",
    "init=shipped",
    "frozen_encoder=true",
    "callbacks.averaging=null",
    "bags.cells_per_field=16",
    "threads=1",
)
AS_GIVEN, NO_FAULTS = "as given", "no faults at all"
WEIGHED, NAMED_OUT = "weights of explore", "named fields left out"
RANDOM_WEIGHED, RANDOM_OUT = "the same weights at random", "as many left out at random"
FAULTY_OUT = "faulty fields left out"
VARIANTS = (AS_GIVEN, WEIGHED, RANDOM_WEIGHED, NAMED_OUT, RANDOM_OUT, FAULTY_OUT, NO_FAULTS)
FAULTS = ("out of focus", "overexposed", "channels exchanged", "pixels of another")


@dataclass(frozen=True, kw_only=True)
class World:
    """The fields of one seed, with their faults.

    Attributes
    ----------
    sim, out
        What was simulated, and where to write.
    seed
        Of faults and trainings.
    true, given
        The labels as simulated, and with faults; the same fields.
    fault_of
        What is wrong with the faulty fields, by id.
    source_of
        The field whose pixels a field has, where these are not its own.
    """

    sim: Path
    out: Path
    seed: int
    true: LabelTable
    given: LabelTable
    fault_of: dict[str, str]
    source_of: dict[str, str]

    @property
    def own(self) -> Path:
        """Folder of this seed."""
        return self.out / f"seed-{self.seed}"

    def part(self, name: str) -> Path:
        """The sound fields to learn from, ``train``, or to read, ``test``; links, for all seeds."""
        return self.out / name

    def masks(self, name: str) -> Path:
        """Their label images."""
        return self.out / "masks" / name


def main() -> None:
    arguments = parse_arguments()
    found, learned = [], []
    for seed in arguments.seeds:
        world = world_of(arguments, seed)
        test = first_fields(read_label_table(world.sim / "test.csv"), arguments.test_fields)
        link_fields(world, "train", world.true.field_ids)
        link_fields(world, "test", test.field_ids)
        spoil(world)
        segment(world)
        explore(world, arguments.folds, arguments.settings)
        found.append(compare(world))
        learned += [learn(world, variant, arguments.settings) for variant in arguments.variants]
    arguments.out.mkdir(parents=True, exist_ok=True)
    show(pd.concat(found), "Faulty fields that explore names, simulated", arguments.out / "found.csv")
    scores = pd.DataFrame(learned)
    show(scores, "Mean average precision of the 2021 challenge, simulated", arguments.out / "learned.csv")
    show(gains(scores), "Gain over the fields as given, of the same seed", arguments.out / "gains.csv")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sim", type=Path, metavar="SIM", help="what `hpa-cells simulate` wrote")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for fields, models and figures")
    parser.add_argument(
        "--wrong", type=float, default=0.2, help="share labelled wrongly (default: %(default)s)"
    )
    parser.add_argument("--spoiled", type=float, default=0.15, help="share spoiled (default: %(default)s)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="(default: %(default)s)")
    parser.add_argument("--folds", type=int, default=3, help="models that judge (default: %(default)s)")
    parser.add_argument(
        "--train-fields", type=int, default=300, help="the first so many (default: %(default)s)"
    )
    parser.add_argument(
        "--test-fields", type=int, default=120, help="the first so many (default: %(default)s)"
    )
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("settings", nargs="*", help="of all trainings")
    return parser.parse_intermixed_args()


def world_of(arguments: argparse.Namespace, seed: int) -> World:
    """Draw the faults: labels first, then pixels of other fields."""
    true = first_fields(read_label_table(arguments.sim / "train.csv"), arguments.train_fields)
    given = swap_labels(true, arguments.wrong, seed)
    wrong = (given.labels != true.labels).any(axis=1)
    draw = np.random.default_rng([seed, 1])
    rest = draw.permutation(np.flatnonzero(~wrong))
    spoiled, sound = np.split(rest, [round(arguments.spoiled * len(true))])
    fault_of = {true.field_ids[row]: "wrong label" for row in np.flatnonzero(wrong)}
    fault_of |= {true.field_ids[row]: FAULTS[place % len(FAULTS)] for place, row in enumerate(spoiled)}
    copied = [field_id for field_id, fault in fault_of.items() if fault == "pixels of another"]
    originals = (true.field_ids[row] for row in draw.choice(sound, len(copied), replace=False))
    return World(
        sim=arguments.sim,
        out=arguments.out,
        seed=seed,
        true=true,
        given=given,
        fault_of=fault_of,
        source_of=dict(zip(copied, originals, strict=True)),
    )


def link_fields(world: World, name: str, field_ids: tuple[str, ...]) -> None:
    world.part(name).mkdir(parents=True, exist_ok=True)
    for file in (f"{field_id}_{color}.png" for field_id in field_ids for color in COLORS):
        if not (world.part(name) / file).exists():
            (world.part(name) / file).symlink_to((world.sim / name / file).resolve())


def spoil(world: World) -> None:
    """Write the labels and the fields with their faults; sound fields are linked to."""
    folder, spoiled = world.own / "train", world.own / "spoiled"
    folder.mkdir(parents=True, exist_ok=True)
    spoiled.mkdir(exist_ok=True)
    write_label_table(world.given, world.own / "train.csv")
    write_label_table(world.true, world.own / "true.csv")
    for field_id in world.true.field_ids:
        fault = world.fault_of.get(field_id)
        paths = [
            world.sim / "train" / f"{world.source_of.get(field_id, field_id)}_{color}.png" for color in COLORS
        ]
        targets = [folder / f"{field_id}_{color}.png" for color in COLORS]
        if all(target.exists() for target in targets):
            continue
        if fault not in FAULTS[:3]:
            for path, target in zip(paths, targets, strict=True):
                target.symlink_to(path.resolve())
            continue
        channels = spoilt(np.stack([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]), fault)
        for channel, target in zip(channels, targets, strict=True):
            cv2.imwrite(str(target), channel)
            (spoiled / target.name).symlink_to(target.resolve())


def spoilt(channels: NDArray[np.uint8], fault: str) -> NDArray[np.uint8]:
    """(4, H, W) of a field with a fault."""
    if fault == "out of focus":
        # 2 um, that is 8 px of the recipe.
        return np.stack([cv2.GaussianBlur(channel, (0, 0), 8) for channel in channels])
    if fault == "overexposed":
        return np.minimum(channels.astype(np.float32) * 8, 255).astype(np.uint8)
    return channels[[1, 0, 2, 3]]


def segment(world: World) -> None:
    """Find the cells of all fields with the default segmenter, those of sound fields once for all seeds."""
    for part in ("train", "test"):
        hpa_cells("segment", f"fields={world.part(part)}", f"out={world.masks(part)}")
    own = world.own / "masks"
    hpa_cells("segment", f"fields={world.own / 'spoiled'}", f"out={own}")
    for field_id in world.true.field_ids:
        for kind in ("cells", "nuclei"):
            target = own / f"{field_id}_{kind}.png"
            if not target.exists():
                source = f"{world.source_of.get(field_id, field_id)}_{kind}.png"
                target.symlink_to((world.masks("train") / source).resolve())


def train(world: World, out: Path, *settings: str, sound: bool = False) -> None:
    """Train heads on the fields with faults, or on the same fields as they were."""
    fields, masks = world.own / "train", world.own / "masks"
    if sound:
        fields, masks = world.part("train"), world.masks("train")
    labels = world.own / ("true.csv" if sound else "train.csv")
    hpa_cells(
        *("train", *HEADS, f"out={out}", f"data.root={world.own}", f"data.fields=[{fields}]"),
        *(f"data.labels=[{labels}]", "data.unmatched=drop", f"seed={world.seed}"),
        *("segmenter=precomputed", f"segmenter.folder={masks}"),
        *(f"crop_store={world.out / 'crops'}", f"embedding_store={world.out / 'embeddings'}"),
        *settings,
    )


def explore(world: World, folds: int, settings: list[str]) -> None:
    """Score each field by a model that has not seen it, and look at all there is."""
    train(world, world.own / "round", "cross_fit=true", f"data.num_folds={folds}", *settings)
    if not (world.own / "look" / "field_weights.csv").exists():
        hpa_cells(
            *("explore", f"labels={world.own / 'train.csv'}", f"fields={world.own / 'train'}"),
            *(
                f"table={world.own / 'round' / 'out_of_fold'}",
                "embedding=shipped",
                f"out={world.own / 'look'}",
            ),
            *("segmenter=precomputed", f"segmenter.folder={world.own / 'masks'}"),
        )


def named(world: World) -> pd.DataFrame:
    """What explore proposes."""
    return pd.read_csv(world.own / "look" / "field_weights.csv", keep_default_na=False)


def compare(world: World) -> pd.DataFrame:
    """How many of the fields with each fault explore names, and how many of the sound ones."""
    weights = named(world).set_index("field_id")["weight"]
    faults = pd.Series({each: world.fault_of.get(each, "none") for each in world.true.field_ids})
    return pd.DataFrame(
        [
            {
                "": fault,
                "fields": len(own),
                "named": own.isin(weights.index).mean(),
                "left out": weights.reindex(own).eq(0).mean(),
                "mean weight": weights.reindex(own).fillna(1).mean(),
                "seed": world.seed,
            }
            for fault in ("wrong label", *FAULTS, "none")
            for own in [faults.index[faults == fault]]
            if len(own)
        ]
    )


def weights_of(world: World, variant: str) -> pd.DataFrame | None:
    """``field_id`` and ``weight`` for a variant; None where it has none."""
    proposed = named(world)[["field_id", "weight"]]
    at_random = np.random.default_rng([world.seed, 2]).permutation(np.array(world.true.field_ids))
    if variant == WEIGHED:
        return proposed
    if variant == NAMED_OUT:
        return proposed.assign(weight=0.0)
    if variant == RANDOM_WEIGHED:
        return proposed.assign(field_id=at_random[: len(proposed)])
    if variant == RANDOM_OUT:
        return proposed.assign(field_id=at_random[: len(proposed)], weight=0.0)
    if variant == FAULTY_OUT:
        return pd.DataFrame({"field_id": list(world.fault_of), "weight": 0.0})
    return None


def learn(world: World, variant: str, settings: list[str]) -> dict[str, object]:
    """Train in one of the ways, read the test fields and score their cells."""
    own = world.own / variant.replace(" ", "_")
    more = [f"data.fold={world.seed % 5}"]
    weights = weights_of(world, variant)
    if weights is not None:
        own.mkdir(parents=True, exist_ok=True)
        weights.to_csv(own / "weights.csv", index=False)
        more.append(f"data.review={own / 'weights.csv'}")
    train(world, own / "model", *more, *settings, sound=variant == NO_FAULTS)
    hpa_cells(
        *(
            "predict",
            f"fields={world.part('test')}",
            f"model={own / 'model'}",
            f"out={own / 'run'}",
            "embeddings=false",
        ),
        *("segmenter=precomputed", f"segmenter.folder={world.masks('test')}"),
    )
    if not (own / "scores" / "scores.json").exists():
        hpa_cells(
            *(
                "evaluate",
                f"table={own / 'run'}",
                f"truth={world.sim / 'truth_test'}",
                f"out={own / 'scores'}",
            ),
            *("missing_fields=leave_out", "thresholds=fixed"),
        )
    scores = json.loads((own / "scores" / "scores.json").read_text())
    return {"": variant, "mAP": scores["runs"]["run"]["mean_ap"], "seed": world.seed}


def gains(scores: pd.DataFrame) -> pd.DataFrame:
    """The difference to the same seed with all fields as given."""
    base = scores[scores[""] == AS_GIVEN].set_index("seed")["mAP"]
    rows = scores[scores[""] != AS_GIVEN]
    return rows.assign(mAP=rows["mAP"] - base.reindex(rows["seed"]).to_numpy()).rename(
        columns={"mAP": "gain"}
    )


if __name__ == "__main__":
    main()
