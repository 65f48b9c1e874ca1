"""Settings of a study (`study.toml`), all of which are optional."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from traitlens.study.expressions import check_expression
from traitlens.study.rater_formula import parse_formula
from traitlens.study.rating_condition import parse_condition

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
        Column of `images.csv` with the fold of each image; overrides `number`.
    """

    number: int = Field(5, ge=2, le=1000)
    column: str | None = Field(None, examples=["fold"])


class FaceSettings(_Section):
    """Crop of images, and regions of the face.

    Parameters
    ----------
    crop : {"auto", "face", "reference", "full"}, default "auto"
        "face": upright square around the face, pupils at fixed positions; "reference": the box around the
        face, enlarged and shifted up, as in Cao et al. 2023 (larger30_shiftup15); "full": the whole image,
        padded to a square; "auto": "face" if landmarks are available, otherwise "full".
    size : int, default 224
        Side of the square in pixels.
    larger : float, default 0.3
        Share of its side by which the crop "reference" enlarges the box.
    up : float, default 0.15
        Share of the face's height by which the crop "reference" shifts the box up.
    rotate : bool, default False
        Whether the crop "reference" rotates the image so that the pupils are level.
    background : (int, int, int) or None
        Red, green and blue (0 to 255) of transparent pixels and of the area outside the photograph. If not
        set, transparent pixels are mid-grey, and the outermost pixels of the photograph continue outside.
    regions : mapping of str to polygon
        Additional regions, which replace the standard regions where they overlap: numbers of mesh points
        (0 to 477), or (x, y) in a frame of 512 x 512 pixels with pupils at (192, 224) and (320, 224).
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
            raise ValueError("red, green and blue must be between 0 and 255")
        return value

    @field_validator("regions")
    @classmethod
    def _are_polygons(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, corners in value.items():
            if len(corners) < 3:
                raise ValueError(f"{name!r} needs at least three corners")
            if any(isinstance(corner, int) and not 0 <= corner <= 477 for corner in corners):
                raise ValueError(f"the points of {name!r} must be between 0 and 477")
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
        Columns of the ratings with one value for each rater, such as gender or site. Permutations exchange
        only raters with equal values.
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
        Files that `ratings.csv` was imported from. If set, this section describes the layout of these files,
        otherwise that of the study's own table.
    file : str or None
        The study's table of ratings; if not set, `ratings` with any suffix of a known format.
    layout : {"long", "wide"}, default "long"
        "long": one judgement per row; "wide": several judgements per row.
    columns : {"images", "raters", "traits"}, default "images"
        Whether each rating column of a wide table is an image, a rater or a trait.
    spread : tuple of str
        The rating columns of a wide table: names, or patterns such as "X*".
    pattern : str or None
        Regular expression that splits the names of the rating columns, with groups named image, rater, trait
        or repeat.
    rater, group, image, trait, rating, repeat : str or None
        Names of the columns with raters, groups, images, traits, ratings and numbers of repeated judgements;
        if not set, a column of the same name as the setting.
    trait_name : str or None
        The trait, if the table contains only one.
    group_pattern : str or None
        Regular expression that finds the group in the rater's name, if there is no column of groups.
    only : mapping of str to tuple of str
        Columns and the values that they have in rows with ratings; other rows (instructions, pauses) are
        skipped.
    keep : tuple of str
        Further columns to keep.
    missing : tuple of str
        Cells that mean that no rating was given, such as "-99" or "don't know".
    first_line : int or None
        Line of the column headings, counted from 1; detected if not set.
    encoding : str or None
        Encoding of text files, such as "mac_roman"; detected if not set.
    by_number : bool, default False
        Whether images may be matched by the number in their names alone, unless the letters differ.
    number_repeats : bool, default False
        Whether to number repeated judgements of one rater, image and trait in the order of the rows; if
        false, they are an error.
    absent_images : {"refuse", "leave out"}, default "refuse"
        Whether ratings of images that are not in the folder are an error, or are left out and listed.
    sheets : tuple of str
        The sheets of a workbook that were imported.
    files_are : {"traits", "groups", "raters", "parts"} or None
        What each of several files or sheets contains, according to its name: one trait, one group, one
        rater, or a part of the rows.
    identity : str or None
        How the identity of an image was found: "image", "folder", the name of a column, or a regular
        expression that finds it in the path of the image.
    loop : mapping of str to str
        Image of each row number in a loop & merge table of Qualtrics.
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
    """Rating sessions with `traitlens rate`, which needs the settings `groups`, `traits` and `scale` above.

    Parameters
    ----------
    answer : {"buttons", "slider"}, default "buttons"
        "buttons": one for each whole number of the scale, nine at most; "slider": any step of the scale.
    step : float, default 1
        Distance between neighbouring answers on a slider.
    confirm : bool, default True
        Whether an answer can be changed until Next is pressed; if false, the first button pressed is final.
    order : {"blocked", "interleaved"}, default "blocked"
        "blocked": one trait after the other, in an order counterbalanced in each group; "interleaved": traits
        in mixed order, with each face once per round.
    repeats : float, default 0.1
        Proportion of repeated trials, for test-retest reliability.
    practice : int, default 3
        Number of practice trials.
    checks : int, default 2
        Number of attention checks in a session.
    pause_after : int, default 40
        Number of trials after which a break is offered; 0 for none.
    questionnaires : tuple of str, default ()
        Questionnaires after the ratings, by name: `questionnaires/NAME.toml` in the study's folder, or one
        that comes with traitlens.
    places : int, default 0
        Number of participants in each group who can begin; later ones read that enough people have taken
        part. 0: no limit.
    panel : {"prolific", "sona"} or None
        The panel whose participants use the open link that `traitlens rate serve` prints.
    completion : str, default ""
        Link that reports a finished session to the panel, or Prolific's completion code. In links of SONA,
        {id} stands for the survey code.
    screen_out : str, default ""
        Like `completion`, for participants who come when all places are taken.
    most_arrivals : int, default 1000
        Maximum number of participants; later ones read that enough people have taken part.
    languages : tuple of str, default ("en",)
        Languages that participants can choose from; the first is shown first. The texts of a language are in
        `texts/LANGUAGE.toml` in the study's folder, or come with traitlens.
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
    """Analysis plan that `traitlens plan` freezes, with exclusions, settings and seeds, before a comparison.

    Parameters
    ----------
    hypotheses : tuple of str
        Hypotheses, one sentence each.
    tests : tuple of str
        Planned comparisons, by the names of their tables in `results/comparisons`.
    regions : tuple of str
        Regions of the face named in the hypotheses.
    """

    hypotheses: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


class CleaningSettings(_Section):
    """Rules for excluding ratings and raters; none by default.

    Parameters
    ----------
    untouched : bool, default False
        Whether to exclude answers given without moving the slider (column `moved` is false).
    fastest : float or None
        Shortest valid response time, in the unit of the column `time`; faster answers are excluded.
    time : str, default "rt"
        Column of the ratings with response times.
    most_too_fast : float or None
        Highest share of answers faster than `fastest`; raters with more are excluded.
    recognised : str or None
        Exclude a rater's ratings of faces that this rater recognised, by an item of the ratings, a comparison
        (>=, >, <=, < or =) and a number: "recognise >= 2". The item need not be a trait of the study.
    one_value : bool, default False
        Whether to exclude a rater's ratings of a trait if they are all equal.
    lowest_retest : float or None
        Lowest correlation of a rater's repeated ratings (all traits together); raters below are excluded.
    lowest_agreement : float or None
        Lowest correlation of a rater's ratings with the mean of the other raters of the group (averaged over
        traits); raters below are excluded.
    lowest_checks : float or None
        Lowest share of passed attention checks (column `checks_passed`); raters below are excluded.
    most_missing : float or None
        Highest share of the group's images of a trait that a rater may leave unrated; ratings of a trait by
        raters with more are excluded.
    off_scale : bool, default False
        Whether to exclude ratings outside the scale; if false, they are an error.
    fewest_ratings : int or None
        Smallest number of a group's ratings of an image on a trait; images with fewer are excluded for this
        group and trait.
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
    """Results that a run stores.

    Parameters
    ----------
    keep_maps : {"all", "sample", "none"}, default "all"
        Images whose maps are stored, in half precision (within 0.05 %); "sample": at most 200, evenly spaced.
        Averages and regions always use the maps of all images.
    """

    keep_maps: Literal["all", "sample", "none"] = "all"


class Settings(_Section):
    """All settings of `study.toml`.

    Parameters
    ----------
    name : str
        Name of the study; if not set, the folder's name.
    description : str
        One or two sentences about the study, for the report.
    groups, traits : tuple of str
        Groups of raters and traits, in the order of tables and figures; if empty, all in `ratings.csv`.
    scale : (float, float) or None
        Lowest and highest possible rating; if not set, the lowest and highest rating given.
    seed : int, default 0
        Seed of the random number generators.
    ratings, collecting, cleaning, folds, faces, readout, relevance, comparison, run, plan : sections
        Sections of the settings, described in their classes.
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
            raise ValueError("scale must be the lowest rating, then the highest")
        return self
