"""Models of raters against statsmodels, plain loops, and simulated studies with known truth."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from numpy.testing import assert_allclose
from scipy import stats

from traitlens.comparison.by_formula import compare_by_formula, describe_balance
from traitlens.comparison.linear_models import LinearModel, ModelCells, Rearrangement, permute_residuals
from traitlens.comparison.permutation import permutation_p
from traitlens.comparison.rater_outcomes import rater_outcomes
from traitlens.problems import TraitlensError
from traitlens.study.rater_formula import parse_formula


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def make_raters(rng, numbers=(12, 14), names="ab"):
    """Raters of several groups with age, a score and sex; groups differ in age."""
    group = np.repeat(list(names), numbers)
    age = np.where(group == names[0], 40, 30) + 8 * rng.normal(size=len(group))
    return pd.DataFrame(
        {"rater": [f"r{i:03d}" for i in range(len(group))], "group": group, "age": age,
         "aq score": rng.normal(20, 6, len(group)), "sex": rng.choice(["f", "m"], len(group))}
    )  # fmt: skip


def as_study(raters, values):
    """Ratings and outcomes of raters whose values are given, trait by trait."""
    columns = {f"t{place}": column for place, column in enumerate(values.T)}
    outcomes = raters[["rater"]].assign(**columns).melt("rater", var_name="trait", value_name="value")
    ratings = pd.concat([raters.assign(trait=trait, image="i", rating=1.0) for trait in columns])
    return ratings, outcomes.assign(measure="level", region="")


def test_estimates_and_robust_errors_are_those_of_statsmodels(rng):
    raters = make_raters(rng, (9, 10, 8), "abc")
    values = rng.normal(size=(27, 2)) + 0.05 * raters[["age"]].to_numpy()
    ratings, outcomes = as_study(raters, values)
    table = compare_by_formula(ratings, outcomes, "group * `aq score` + age + sex", permutations=9)
    centred = raters.rename(columns={"aq score": "aq"})
    centred["aq"] -= centred["aq"].mean()
    for place in range(2):
        fit = smf.ols("y ~ group * aq + age + sex", centred.assign(y=values[:, place])).fit(cov_type="HC2")
        own = table[table["trait"] == f"t{place}"].set_index("effect")
        expected = {
            "a − b": -fit.params["group[T.b]"],
            "b − c": fit.params["group[T.b]"] - fit.params["group[T.c]"],
            "sex f − m": -fit.params["sex[T.m]"],
            "age": fit.params["age"],
            "aq score in a": fit.params["aq"],
            "aq score in b": fit.params["aq"] + fit.params["group[T.b]:aq"],
            "aq score: a − b": -fit.params["group[T.b]:aq"],
        }
        assert_allclose(own.loc[list(expected), "estimate"], list(expected.values()), rtol=1e-10)
        assert_allclose(own.loc["age", "standard_error"], fit.bse["age"], rtol=1e-10)
        assert_allclose(own.loc["aq score in a", "standard_error"], fit.bse["aq"], rtol=1e-10)
        plain = smf.ols("y ~ group * aq + age + sex", centred.assign(y=values[:, place])).fit()
        t = plain.tvalues["age"]
        assert_allclose(own.loc["age", "effect_size"], t / np.sqrt(t**2 + plain.df_resid), rtol=1e-10)


def test_two_groups_alone_are_the_test_of_welch(rng):
    raters = make_raters(rng)
    ratings, outcomes = as_study(raters, rng.normal(size=(26, 1)))
    row = compare_by_formula(ratings, outcomes, "group", permutations=9).iloc[0]
    sides = [outcomes["value"][(raters["group"] == group).to_numpy()] for group in "ab"]
    assert_allclose(row["statistic"], stats.ttest_ind(*sides, equal_var=False).statistic, rtol=1e-10)
    assert_allclose(row["estimate"], row["unadjusted"], rtol=1e-10)


def test_errors_of_clusters_are_those_of_bell_and_mccaffrey(rng):
    """CR2 and its degrees of freedom by the matrices of the paper."""
    design = np.column_stack([np.ones(20), rng.normal(size=20), np.repeat([0, 1], 10)])
    clusters = np.repeat(np.arange(8), [2, 3, 1, 4, 3, 2, 2, 3])
    values, c = rng.normal(size=(20, 1)), np.array([0.0, 0, 1])
    model = LinearModel(design, clusters)
    contrast = model.contrast(c)
    bread = np.linalg.inv(design.T @ design)
    rest = np.eye(20) - design @ bread @ design.T
    meat, columns = np.zeros((3, 3)), []
    for cluster in range(8):
        own = clusters == cluster
        roots, vectors = np.linalg.eigh(rest[np.ix_(own, own)])
        adjust = vectors / np.sqrt(roots) @ vectors.T
        score = design[own].T @ adjust @ (rest @ values)[own]
        meat += score @ score.T
        columns.append(rest[:, own] @ adjust @ design[own] @ bread @ c)
    estimate, error = model.estimate(contrast, values)
    assert_allclose(error[0], np.sqrt(c @ bread @ meat @ bread @ c), rtol=1e-10)
    assert_allclose(estimate[0], (bread @ design.T @ values)[2, 0], rtol=1e-10)
    products = np.stack(columns) @ np.stack(columns).T
    assert_allclose(contrast.freedom, np.trace(products) ** 2 / (products**2).sum(), rtol=1e-10)


@pytest.mark.parametrize("clustered", [False, True])
def test_permuted_statistics_are_those_of_a_plain_loop(rng, clustered):
    """Freedman and Lane step by step: reduced model, rearranged residuals, full model."""
    design = np.column_stack([np.ones(14), np.repeat([0, 1], 7), rng.normal(size=14)])
    values = rng.normal(size=(14, 3))
    clusters = np.repeat(np.arange(7), 2) if clustered else None
    model = LinearModel(design, clusters)
    strata = np.tile([0, 1], 7)
    how = Rearrangement(strata, clusters, 5, 3)
    contrast = model.contrast(np.array([0, 1.0, 0]))
    (found,) = permute_residuals([ModelCells(np.arange(14), values, model, [contrast])], how)
    (drawn,) = how.draw(5)
    reduced = design[:, [0, 2]]
    left = values - reduced @ np.linalg.lstsq(reduced, values, rcond=None)[0]
    for row, one in zip(found[:, 0], drawn, strict=True):
        if clustered:
            moved = left * one[:, None]
        else:
            place = how.places(one[None], np.arange(14))[0]
            assert (strata[place] == strata).all()
            assert sorted(place) == list(range(14))
            moved = left[place]
        estimate, error = model.estimate(contrast, values - left + moved)
        assert_allclose(row, estimate / error, rtol=1e-8)


def test_raters_of_each_trait_are_their_own_model(rng):
    raters = make_raters(rng)
    ratings, outcomes = as_study(raters, rng.normal(size=(26, 2)))
    few = outcomes.drop(outcomes.index[[0, 1]])
    table = compare_by_formula(ratings, few, "group + age", permutations=9)
    assert table.groupby("trait")["n"].unique().explode().to_dict() == {"t0": 24, "t1": 26}
    alone = compare_by_formula(ratings, few[few["trait"] == "t0"], "group + age", permutations=9)
    assert_allclose(alone["estimate"], table.loc[table["trait"] == "t0", "estimate"], rtol=1e-9)


def test_specificity_and_agreement_of_raters(rng):
    """A rater who follows the trait's own part has both, one who follows another trait has agreement only."""
    shared, own = rng.normal(size=(2, 200))
    warm = shared + own
    cells = []
    for number in range(9):
        follows = {"warm": shared if number == 0 else warm, "bold": shared}
        for trait, truth in follows.items():
            values = truth + 0.3 * rng.normal(size=200)
            cells.append(pd.DataFrame({"rater": f"r{number}", "image": range(200), "trait": trait,
                                       "rating": values}))  # fmt: skip
    table = rater_outcomes(pd.concat(cells)).set_index(["measure", "trait", "rater"])["value"].sort_index()
    assert np.tanh(table["agreement", "warm", "r0"]) > 0.5
    assert abs(table["specificity", "warm", "r0"]) < 0.25
    assert np.tanh(table["specificity", "warm"].drop("r0").min()) > 0.5
    # By hand: correlation with what the other raters' means of the other trait leave.
    wide = pd.concat(cells).pivot_table(index="image", columns=["trait", "rater"], values="rating")
    others = {trait: wide[trait].drop(columns="r3").mean(axis=1) for trait in ("warm", "bold")}
    fit = np.polyfit(others["bold"], others["warm"], 1)
    left = others["warm"] - np.polyval(fit, others["bold"])
    expected = np.corrcoef(left, wide["warm", "r3"])[0, 1]
    assert_allclose(np.tanh(table["specificity", "warm", "r3"]), expected, rtol=1e-9)


def test_unbalanced_variables_are_named(rng):
    raters = make_raters(rng, (20, 20))
    raters.loc[[0, 1], "age"] = np.nan
    ratings, outcomes = as_study(raters, rng.normal(size=(40, 1)))
    table = describe_balance(ratings, "group * `aq score` + age + sex").set_index("variable")
    assert table.loc["age", "unbalanced"]
    assert table.loc["age", "missing_1"] == 2
    sides = [raters.loc[raters["group"] == group, "aq score"] for group in "ab"]
    pooled = np.sqrt((sides[0].var() + sides[1].var()) / 2)
    expected = (sides[0].mean() - sides[1].mean()) / pooled
    assert_allclose(table.loc["aq score", "standardised_difference"], expected)
    found = compare_by_formula(ratings, outcomes, "group + age", permutations=9)
    assert (found["n_missing"] == 2).all()
    assert (found["n"] == 38).all()


@pytest.mark.parametrize(
    ("formula", "told"),
    [
        ("group + __import__('os')", "is not understood"),
        ("group + np.log(age)", "is not understood"),
        ("age ** 2", "is not understood"),
        ("group * (age", "not a valid formula"),
        ("y ~ group", "is not understood"),
        ("group * age * sex", "at most two variables"),
        ("", "1 to 12 variables"),
        ("group +", "not a valid formula"),
    ],
)
def test_formulas_name_columns_and_nothing_else(formula, told):
    with pytest.raises(ValueError, match=told):
        parse_formula(formula)


def test_faults_of_columns_are_told(rng):
    raters = make_raters(rng)
    ratings, outcomes = as_study(raters, rng.normal(size=(26, 1)))
    with pytest.raises(TraitlensError, match="unknown column of the ratings 'aqe'"):
        compare_by_formula(ratings, outcomes, "group + aqe", permutations=9)
    with pytest.raises(TraitlensError, match="fewer than 6 clusters"):
        compare_by_formula(ratings, outcomes, "group", clusters="sex", permutations=9)
    few = ratings[ratings["rater"].isin(["r000", "r001", "r012", "r013", "r014"])]
    with pytest.raises(TraitlensError, match="too few for the formula"):
        compare_by_formula(few, outcomes, "group + age + `aq score`", permutations=9)


def p_of_group(design, values, seed, clusters=None, column=1):
    """The p of one column of a design, of 99 permutations."""
    model = LinearModel(design, clusters)
    contrast = model.contrast(np.eye(design.shape[1])[column])
    cells = [ModelCells(np.arange(len(design)), values, model, [contrast])]
    how = Rearrangement(np.zeros(len(design), int), clusters, 99, seed)
    estimate, error = model.estimate(contrast, values)
    null = permute_residuals(cells, how)[0][:, 0]
    return permutation_p(estimate / error, null)[0]


def test_a_covariate_that_drives_values_is_no_group_difference(rng):
    """Age differs between groups and drives ratings; sites differ; one group is noisier."""
    found = dict.fromkeys(("adjusted", "unadjusted", "families", "families ignored", "noisier"), 0)
    group = np.repeat([0.0, 1], 20)
    family = np.repeat(np.arange(20), 2)
    for study in range(100):
        age = rng.normal(size=40) + group
        values = 0.8 * age[:, None] + rng.normal(size=(40, 1))
        ones = np.ones(40)
        found["adjusted"] += p_of_group(np.column_stack([ones, group, age]), values, study) <= 0.05
        plain = np.column_stack([ones, group])
        found["unadjusted"] += p_of_group(plain, values, study) <= 0.05
        alike = rng.normal(size=20)[family][:, None] + 0.3 * rng.normal(size=(40, 1))
        found["families"] += p_of_group(plain, alike, study, family) <= 0.05
        found["families ignored"] += p_of_group(plain, alike, study) <= 0.05
        noisy = rng.normal(size=(40, 1)) * (1 + 2 * group[:, None])
        found["noisier"] += p_of_group(np.column_stack([ones, group, age]), noisy, study) <= 0.05
    assert max(found["adjusted"], found["families"], found["noisier"]) <= 11  # 5 of 100, Monte Carlo error
    assert found["unadjusted"] > 20
    assert found["families ignored"] > 11
