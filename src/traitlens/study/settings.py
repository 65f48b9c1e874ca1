"""Settings of a study (`study.toml`): all optional, all checked."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from traitlens.study.conditions import parse_condition
from traitlens.study.expressions import check_expression
from traitlens.study.rater_formula import parse_formula

Weight = Annotated[float, Field(ge=1e-6, le=1e6)]
Rating = Annotated[float, Field(ge=-1e6, le=1e6)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FoldSettings(_Section):
    """Cross-validation folds by identity.

    Parameters
    ----------
    number : int, default 5
        Number of folds.
    column : str or None
        Column of `images.csv` that holds given folds; overrides `number`.
    """

    number: int = Field(5, ge=2, le=1000)
    column: str | None = Field(None, examples=["fold"])


class FaceSettings(_Section):
    """Crop of images, and regions of the face.

    Parameters
    ----------
    crop : {"auto", "face", "reference", "full"}, default "auto"
        "face": upright square around the face, pupils at fixed places; "reference": the box around the face,
        enlarged and shifted up, as in Cao et al. 2023 (larger30_shiftup15); "full": the whole image, padded
        to a square; "auto": "face" if landmarks are available, otherwise "full".
    size : int, default 224
        Side of the square in pixels.
    larger : float, default 0.3
        Share of its side by which the crop "reference" enlarges the box.
    up : float, default 0.15
        Share of the face's height by which the crop "reference" shifts the box up.
    rotate : bool, default False
        Whether the crop "reference" rotates the image so that the pupils are level.
    background : (int, int, int) or None
        Red, green and blue (0 to 255) behind transparent pixels and beside the photograph. If not set,
        mid-grey, but the photograph's outermost pixels go on beside it where a crop reaches over its edge.
    regions : mapping of str to polygon
        Regions of one's own, painted over the others in their order: numbers of mesh points (0 to 477), or
        (x, y) in the frame of 512 x 512 pixels with the pupils at (192, 224) and (320, 224).
    """

    crop: Literal["auto", "face", "reference", "full"] = "auto"
    size: int = Field(224, ge=64, le=1024)
    larger: float = Field(0.3, gt=-0.9, le=5)
    up: float = Field(0.15, ge=-2, le=2)
    rotate: bool = False
    background: tuple[int, int, int] | None = Field(None, examples=[(128, 128, 128)])
    regions: dict[str, tuple[int, ...] | tuple[tuple[float, float], ...]] = Field(default_factory=dict)

    @field_validator("background")
    @classmethod
    def _is_colour(cls, value: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        if value is not None and not all(0 <= part <= 255 for part in value):
            raise ValueError("red, green and blue lie between 0 and 255")
        return value

    @field_validator("regions")
    @classmethod
    def _are_polygons(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, corners in value.items():
            if len(corners) < 3:
                raise ValueError(f"{name!r} needs at least three corners")
            if any(isinstance(corner, int) and not 0 <= corner <= 477 for corner in corners):
                raise ValueError(f"the points of {name!r} must lie between 0 and 477")
        return value


class ReadoutSettings(_Section):
    """Prediction of ratings from features.

    Parameters
    ----------
    method : str, default "ridge"
        "ridge" (linear, on a grid of the tap), "dense" (the head of Cao et al. 2023), "cao2023" (that head,
        trained exactly as in their scripts, on inputs divided by 255) or "finetune" (the layers above the
        tap are trained too; slow without a graphics card).
    backbone : str, default "vgg16"
        The network: "vgg16", or one that was added with `traitlens add-backbone`.
    tap : str, default "block4_pool"
        Layer that a ridge readout reads, or the last layer that fine-tuning keeps fixed; a dense readout
        reads the last layer.
    taps : tuple of str
        Several layers instead of one.
    grid : int, default 7
        Taps are averaged to this many rows and columns.
    views : dict of str to float
        Crops of the prepared image that a ridge readout reads, and their weights: "image" (unchanged),
        "face", "full" and "eyes" (enlarged; for prepared images of 512 pixels or more).
    transform : {"none", "sqrt"}
        Whether a ridge readout reads averages or their square roots.
    whiten : float or None
        Shrinkage of the whitening of channels, estimated outside each fold; 0.1 works well.
    across_traits : bool, default False
        Whether predictions use information from the group's other traits.
    weigh_images : bool, default False
        Whether images are weighted by the number and agreement of their raters when a ridge readout is
        fitted.
    mixes : int, default 1
        Number of random weightings of taps and views to choose from in inner folds; 1 uses the given weights.
    mirror : bool, default False
        Whether features are averaged over each image and its mirror image, which predicts slightly better
        and takes twice the time.
    sharing : float, default 1
        Degree to which groups and traits share their ridge penalty: 1 for one penalty, by which groups
        cannot differ; 0 for a separate penalty of each group and trait.
    """

    method: str = "ridge"
    backbone: str = "vgg16"
    tap: str = "block4_pool"
    taps: tuple[str, ...] = ()
    grid: int = Field(7, ge=1, le=56)
    views: dict[Literal["image", "face", "full", "eyes"], Weight] = Field({"image": 1.0}, min_length=1)
    transform: Literal["none", "sqrt"] = "none"
    whiten: float | None = Field(None, gt=0, le=1e6, examples=[0.1])
    across_traits: bool = False
    weigh_images: bool = False
    mixes: int = Field(1, ge=1, le=1000)
    mirror: bool = False
    sharing: float = Field(1.0, ge=0, le=1)


class RelevanceSettings(_Section):
    """Explanation of predictions.

    Parameters
    ----------
    method : str, default "lrp.sequential_preset_a_flat"
        Name of the relevance method.
    """

    method: str = "lrp.sequential_preset_a_flat"


class ComparisonSettings(_Section):
    """Settings for the comparison of groups.

    Parameters
    ----------
    permutations : int, default 5000
        Number of permutations of raters for every test; 0 for no tests.
    use : bool, default True
        Whether to fit regional readouts in addition to the whole-face readout. They give the cues, the shares
        of regions, and the test of whether groups use the face differently.
    performance : bool, default True
        Whether to compare prediction performance between groups, by refitting readouts under each
        permutation.
    pixels : int, default 56
        Side length, in pixels, of the template used for pixelwise tests of raters' maps; 0 disables the
        tests, which take up to three times as long as the maps.
    pixel_test : {"tfce", "cluster_mass", "pixel"}, default "tfce"
        Threshold-free cluster enhancement, cluster mass (cluster-forming threshold p = .01), or single
        pixels.
    cues : bool, default True
        Whether to repeat the predictions for faces without hair and background, in greyscale, and mirrored.
    variables : tuple of str
        Columns of the ratings with variables of the raters, such as age or a questionnaire's score, tested
        like groups.
    reference : str or None
        Group whose mean ratings serve as the consensus; if not set, each rater's own group.
    within : tuple of str
        Columns of the ratings with one value for each rater, such as gender or site: groups are compared
        among raters with equal values.
    covariates : tuple of str
        Numeric rater-level columns, such as age, for which mean ratings are adjusted.
    formula : str or None
        Model of the raters, such as "group * aq + age + sex" with columns of the ratings: adjusted
        differences of groups, slopes within groups and their differences, in mean ratings, agreement, spread,
        specificity, predictability and the use of each region. Enclose names that contain spaces in
        backticks.
    clusters : str or None
        Column identifying clusters of related raters, such as families; the formula-based test flips the
        signs of the residuals of whole clusters.
    margin : float or None
        Smallest difference in mean ratings of interest, in rating points. If no difference is found, the
        report states whether larger differences can be ruled out (equivalence test). Set it before looking
        at the results, and freeze it with ``traitlens plan``.
    """

    permutations: int = Field(5000, ge=0, le=1_000_000)
    use: bool = True
    performance: bool = True
    pixels: int = Field(56, ge=0, le=224)
    pixel_test: Literal["tfce", "cluster_mass", "pixel"] = "tfce"
    cues: bool = True
    variables: tuple[str, ...] = ()
    reference: str | None = None
    within: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    formula: str | None = Field(None, max_length=500, examples=["group * aq + age"])
    clusters: str | None = Field(None, examples=["family"])
    margin: float | None = Field(None, gt=0, examples=[0.5])

    @field_validator("formula")
    @classmethod
    def _is_formula(cls, value: str | None) -> str | None:
        if value is not None:
            parse_formula(value)
        return value


class RatingsSettings(_Section):
    """Layout of a table of ratings: the study's own, or the imported tables.

    Parameters
    ----------
    imported_from : tuple of str
        Files that `ratings.csv` was imported from. If given, this section describes their layout, otherwise
        that of the study's own table.
    file : str or None
        The study's table of ratings; if not set, `ratings` with any suffix of a known format.
    layout : {"long", "wide"}, default "long"
        "long": a row per judgement; "wide": several judgements in a row.
    columns : {"images", "raters", "traits"}, default "images"
        What the columns of a wide table stand for.
    spread : tuple of str
        The columns of a wide table that hold ratings: names, or patterns such as "X*".
    pattern : str or None
        Regular expression that divides the names of these columns, with groups named image, rater, trait or
        repeat.
    rater, group, image, trait, rating, repeat : str or None
        The columns that hold these; if not set, the column of that name.
    trait_name : str or None
        The trait, if the table contains only one.
    group_pattern : str or None
        Regular expression that finds the group in the rater's name, if no column holds it.
    only : mapping of str to tuple of str
        Column and its values in rows of ratings; other rows (instructions, pauses) are skipped.
    keep : tuple of str
        Further columns to keep.
    missing : tuple of str
        Cells that mean that no rating was given, such as "-99" or "don't know".
    first_line : int or None
        Line of the headings, counted from 1; detected if not set.
    encoding : str or None
        Encoding of text files, such as "mac_roman"; detected if not set.
    by_number : bool, default False
        Whether images are matched by the number in their names alone, unless letters contradict.
    number_repeats : bool, default False
        Whether repeated judgements of one rater, image and trait are numbered in their order; otherwise they
        are refused.
    absent_images : {"refuse", "leave out"}, default "refuse"
        Whether ratings of images that are not in the folder are refused, or left out and listed.
    sheets : tuple of str
        The sheets of a workbook that were imported.
    files_are : {"traits", "groups", "raters", "parts"} or None
        What each of several files or sheets contains, according to its name: one trait, one group, one
        rater, or a part of the rows.
    identity : str or None
        How the images' identities were found: "image", "folder", the name of a column, or a regular
        expression that finds it in the image's path.
    loop : mapping of str to str
        Number and image of the rows of Qualtrics' loop & merge table.
    """

    imported_from: tuple[str, ...] = ()
    file: str | None = Field(None, examples=["export.xlsx"])
    layout: Literal["long", "wide"] = "long"
    columns: Literal["images", "raters", "traits"] = "images"
    spread: tuple[str, ...] = ()
    pattern: str | None = Field(None, examples=["(?P<image>.+)_(?P<trait>.+)"])
    rater: str | None = None
    group: str | None = None
    image: str | None = None
    trait: str | None = None
    rating: str | None = None
    repeat: str | None = None
    trait_name: str | None = Field(None, examples=["warm"])
    group_pattern: str | None = Field(None, examples=["^[A-Z]+"])
    only: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    keep: tuple[str, ...] = ()
    missing: tuple[str, ...] = Field((), examples=[("-99",)])
    first_line: int | None = Field(None, ge=1, le=10_000_000, examples=[2])
    encoding: str | None = Field(None, examples=["mac_roman"])
    by_number: bool = False
    number_repeats: bool = False
    absent_images: Literal["refuse", "leave out"] = "refuse"
    sheets: tuple[str, ...] = ()
    files_are: Literal["traits", "groups", "raters", "parts"] | None = Field(None, examples=["groups"])
    identity: str | None = Field(None, examples=["folder"])
    loop: dict[str, str] = Field(default_factory=dict)

    @field_validator("pattern", "group_pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                check_expression(value)
            except ValueError as error:
                raise ValueError(f"it is not a valid regular expression ({error})") from error
        return value


class CollectingSettings(_Section):
    """Sessions of `traitlens rate`. It needs `groups`, `traits` and `scale`, set above.

    Parameters
    ----------
    answer : {"buttons", "slider"}, default "buttons"
        "buttons": one for each whole number of the scale, nine at most; "slider": any step of the scale.
    step : float, default 1
        Distance of two answers on a slider.
    confirm : bool, default True
        Whether a button only marks an answer, which can be changed until Next is pressed; false takes the
        first press.
    order : {"blocked", "interleaved"}, default "blocked"
        "blocked": one trait after the other, their order counterbalanced in each group; "interleaved": traits
        mixed, each face once in each round.
    repeats : float, default 0.1
        Proportion of repeated trials, for test-retest reliability.
    practice : int, default 3
        Number of trials for practice.
    checks : int, default 2
        Number of attention checks in a session.
    pause_after : int, default 40
        Number of trials after which a break is offered; 0 for none.
    questionnaires : tuple of str, default ()
        Questionnaires after the ratings, by name: `questionnaires/NAME.toml` of the study, or one of
        traitlens.
    places : int, default 0
        Number of participants of each group who can begin; later ones are told politely that enough people
        have taken part. 0: no limit.
    panel : {"prolific", "sona"} or None
        The panel that participants come from by the open link that `traitlens rate serve` prints.
    completion : str, default ""
        Link by which the panel knows that someone took part, or Prolific's completion code. In links of SONA
        {id} stands for the survey code.
    screen_out : str, default ""
        The same for those for whom there was no place.
    most_arrivals : int, default 1000
        Maximum number of participants; later ones are told that enough people have taken part.
    languages : tuple of str, default ("en",)
        Languages that participants can choose from; the first is shown first. Each has its texts in
        `texts/LANGUAGE.toml` of the study, or else those of traitlens.
    """

    answer: Literal["buttons", "slider"] = "buttons"
    step: float = Field(1.0, ge=1e-6, le=1e6)
    confirm: bool = True
    order: Literal["blocked", "interleaved"] = "blocked"
    repeats: float = Field(0.1, ge=0, le=0.5)
    practice: int = Field(3, ge=0, le=20)
    checks: int = Field(2, ge=0, le=100)
    pause_after: int = Field(40, ge=0, le=1_000_000)
    languages: tuple[str, ...] = Field(("en",), min_length=1)
    questionnaires: tuple[str, ...] = ()
    places: int = Field(0, ge=0, le=1_000_000)
    panel: Literal["prolific", "sona"] | None = Field(None, examples=["prolific"])
    completion: str = ""
    screen_out: str = ""
    most_arrivals: int = Field(1000, ge=1, le=1_000_000)


class PlanSettings(_Section):
    """Plan that `traitlens plan` freezes, with exclusions, settings and seeds, before groups are compared.

    Parameters
    ----------
    hypotheses : tuple of str
        Hypotheses, a sentence each.
    tests : tuple of str
        The planned comparisons, by the names of their tables in `results/comparisons`.
    regions : tuple of str
        The regions of the face that the hypotheses are about.
    """

    hypotheses: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


class CleaningSettings(_Section):
    """Rules for excluding ratings and raters; none by default.

    Parameters
    ----------
    untouched : bool, default False
        Leave out answers of a slider that was not moved (column `moved` is false).
    fastest : float or None
        Shortest valid response time, in the unit of the column `time`.
    time : str, default "rt"
        Column of the ratings with response times.
    most_too_fast : float or None
        Raters with a larger share of too fast answers are left out altogether.
    recognised : str or None
        Leave out a rater's ratings of faces that this rater recognised: a trait, a sign (>=, >, <=, < or =)
        and a number, such as "recognise >= 2". That item needs not be among the study's traits.
    one_value : bool, default False
        Leave out raters who gave one value throughout a trait.
    lowest_retest : float or None
        Leave out raters whose repeated ratings correlate less than this (all traits together).
    lowest_agreement : float or None
        Leave out raters whose ratings correlate less than this with the mean of their group's other raters
        (averaged over traits).
    lowest_checks : float or None
        Leave out raters who answered a smaller share of the attention checks as asked (column
        `checks_passed`).
    most_missing : float or None
        Leave out raters with a larger share of missing ratings of their group's images.
    off_scale : bool, default False
        Leave out ratings off the scale instead of refusing the study.
    fewest_ratings : int or None
        Leave out a group's ratings of an image on a trait if there are fewer than this.
    """

    untouched: bool = False
    fastest: float | None = Field(None, gt=0, le=1e9, examples=[200])
    time: str = "rt"
    most_too_fast: float | None = Field(None, ge=0, le=1, examples=[0.1])
    recognised: str | None = Field(None, max_length=200, examples=["recognise >= 2"])
    one_value: bool = False
    lowest_retest: float | None = Field(None, ge=-1, le=1, examples=[0.2])
    lowest_agreement: float | None = Field(None, ge=-1, le=1, examples=[0.0])
    lowest_checks: float | None = Field(None, ge=0, le=1, examples=[0.5])
    most_missing: float | None = Field(None, ge=0, le=1, examples=[0.3])
    off_scale: bool = False
    fewest_ratings: int | None = Field(None, ge=1, le=1_000_000, examples=[3])

    @field_validator("recognised")
    @classmethod
    def _is_condition(cls, value: str | None) -> str | None:
        if value is not None:
            parse_condition(value)
        return value


class RunSettings(_Section):
    """Results that a run writes.

    Parameters
    ----------
    keep_maps : {"all", "sample", "none"}, default "all"
        Images whose maps are kept, in half precision (within 0.05 %); "sample": at most 200, evenly spaced.
        Averages and regions always use all images.
    """

    keep_maps: Literal["all", "sample", "none"] = "all"


class Settings(_Section):
    """All settings of `study.toml`.

    Parameters
    ----------
    name : str
        Name of the study; if not set, the folder's name.
    description : str
        A sentence or two for the report.
    groups, traits : tuple of str
        Groups of raters and traits, in the order of tables and figures; all of `ratings.csv` if empty.
    scale : (float, float) or None
        Lowest and highest possible rating; if not set, the extremes that occur.
    seed : int, default 0
        Random seed.
    ratings, collecting, cleaning, folds, faces, readout, relevance, comparison, run, plan : sections
        See their classes.
    """

    name: str = ""
    description: str = ""
    groups: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()
    scale: tuple[Rating, Rating] | None = Field(None, examples=[(1, 7)])
    seed: int = Field(0, ge=0, le=2**32 - 1)
    ratings: RatingsSettings = RatingsSettings()
    collecting: CollectingSettings = CollectingSettings()
    cleaning: CleaningSettings = CleaningSettings()
    folds: FoldSettings = FoldSettings()
    faces: FaceSettings = FaceSettings()
    readout: ReadoutSettings = ReadoutSettings()
    relevance: RelevanceSettings = RelevanceSettings()
    comparison: ComparisonSettings = ComparisonSettings()
    run: RunSettings = RunSettings()
    plan: PlanSettings = PlanSettings()

    @model_validator(mode="after")
    def _scale_rises(self) -> "Settings":
        if self.scale is not None and not self.scale[0] < self.scale[1]:
            raise ValueError("scale must hold the lowest rating, then the highest")
        return self
