"""Claims: what is a figure, what finds a wrong one, and that the documents are as they claim."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from evaluation.claims.adding import add_page
from evaluation.claims.checking import other_inputs, problems, repository, unclaimed, updated
from evaluation.claims.pages import stated_figures
from evaluation.claims.rerun import NEEDS, cannot, compared, repeated
from evaluation.claims.screen import rerun_claims
from evaluation.claims.table import (
    Claim,
    ClaimedRun,
    ClaimsTable,
    Given,
    file_values,
    read_claims,
    values_of,
    write_claims,
)
from evaluation.cli import main
from imaging.errors import KitError

ROOT = Path(__file__).parents[2]
CLAIMS = read_claims(ROOT / "docs" / "claims.json")


class TestTheDocuments:
    """This repository's own."""

    def test_every_figure_of_the_covered_pages_is_in_a_claim_and_every_claim_is_right(self):
        found = list(problems(CLAIMS, ROOT))
        advice = "run `flare23 claims --update` or `flare23 claims --add PAGE` (docs/claims.md)"
        assert found == [], f"{advice}:\n" + "\n".join(found)

    def test_all_pages_are_covered_but_for_a_few_that_have_figures_in_no_claim(self):
        assert "README.md" in CLAIMS.covered(ROOT)
        assert len(CLAIMS.uncovered) <= 10
        for page in CLAIMS.uncovered:
            assert unclaimed(CLAIMS, ROOT, page), f"covered now: flare23 claims --add {page}"

    @pytest.mark.parametrize("page", sorted({claim.page for claim in CLAIMS.claims}))
    def test_a_planted_wrong_figure_is_found(self, page, tmp_path):
        text = (ROOT / page).read_text(encoding="utf-8")
        given = tuple(one for one in CLAIMS.given if one.page in ("*", page))
        figure = next(
            one
            for one in stated_figures(page, text)
            if not any(part.covers(one) for part in given) and len(one.text) > 2
        )
        wrong = f"{figure.text[:-1]}{(int(figure.text[-1]) + 5) % 10}"
        copy = tmp_path / page
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text[: figure.start] + wrong + text[figure.start + len(figure.text) :])
        found = list(problems(ClaimsTable((), given, {}, ()), tmp_path))
        before = [one.key for one in unclaimed(CLAIMS, tmp_path, page)]
        assert [key[2] for key in before] == [wrong]
        assert any(f"{page}:{figure.line}: {wrong}" in line for line in found)

    def test_every_run_says_how_and_where_and_needs_what_is_known(self):
        for name, run in CLAIMS.runs.items():
            assert run.command and run.machine and run.date and run.commit, name
            assert set(run.needs) <= set(NEEDS), name
            assert bool(run.again) == bool(run.made), name
            assert run.results == "" or (ROOT / run.results).is_file(), name

    @pytest.mark.parametrize("name", ["golden maps", "the paper's lists", "what a recipe takes"])
    def test_what_takes_seconds_and_is_the_same_on_every_cpu_holds(self, name):
        assert cannot(CLAIMS.runs[name], ROOT) == ""
        mine = [claim for claim in CLAIMS.claims if claim.run == name]
        with repeated(CLAIMS, ROOT, name) as made:
            rows = list(compared(CLAIMS, ROOT, mine, file_values(made)))
        assert rows
        assert [row for row in rows if not row.holds] == []


PAGE = """# Page

It takes 1.30 s. A limit of 15 s is given.

| case | DSC |
| --- | --- |
| liver | 0.961 |

## Others

Another took 2.5 s.
"""
RUN = ClaimedRun(
    "measure", "a machine", "2026-11-28", "abc", results="results.json", made="again.json",
    again="""echo '{"cases": [{"case": "liver", "dsc": 0.96, "seconds": 2}]}' >$OUT/again.json""",
)  # fmt: skip


@pytest.fixture
def repo(tmp_path):
    """A repository of one page, one results file and one run."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "weights_manifest.json").write_text("{}")
    (tmp_path / "docs/page.md").write_text(PAGE)
    results = {"cases": [{"case": "liver", "dsc": 0.96083, "seconds": 1.3012}]}
    (tmp_path / "results.json").write_text(json.dumps(results))
    given = (Given("docs/page.md", "15 s", "the limit"),)
    table = ClaimsTable(("docs/page.md",), given, {"first": RUN})
    write_claims(table, tmp_path / "docs" / "claims.json")
    return tmp_path


def claims(repo, *words, monkeypatch=None):
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(repo)
        return CliRunner().invoke(main, ["claims", *words])


def table_of(repo):
    return read_claims(repo / "docs" / "claims.json")


def test_a_page_is_claimed_from_results_and_by_name(repo):
    done = claims(repo, "--add", "docs/page.md")
    assert done.exit_code == 1
    assert "in no results file, so name their --run: docs/page.md:3: 1.30 s" in done.stderr
    assert table_of(repo).uncovered == ("docs/page.md",)  # before all is claimed
    words = ("--run", "others", "--command", "time it", "--needs", "hours",
             "--input", "weights_manifest.json")  # fmt: skip
    assert claims(repo, "--add", "docs/page.md", "--section", "Others", *words).exit_code == 0
    assert claims(repo, "--add", "docs/page.md", "--run", "first").exit_code == 0
    table = table_of(repo)
    assert table.uncovered == ()
    assert {claim.figure: (claim.run, claim.value) for claim in table.claims} == {
        "0.961": ("first", "/cases/liver/dsc"),
        "2.5 s": ("others", "Another took s."),
        "1.30 s": ("first", "It takes s. A limit of"),
    }
    assert table.runs["others"].needs == ("hours",)
    assert set(table.runs["others"].inputs) == {"weights_manifest.json"}
    assert list(problems(table, repo)) == []


def test_figures_that_nobody_measured_are_given(repo):
    given = ("--given", "2.5 s", "--given", "0.961", "--why", "an example")
    claims(repo, "--add", "docs/page.md", *given)
    table = table_of(repo)
    assert table.given[-2:] == (
        Given("docs/page.md", "2.5 s", "an example"),
        Given("docs/page.md", "0.961", "an example"),
    )
    assert [one.figure for one in unclaimed(table, repo, "docs/page.md")] == ["1.30 s"]


@pytest.mark.parametrize(
    ("results", "value"),
    [
        ({"liver": {"dsc": 0.961}}, "/liver/dsc"),
        ({"livers": {"dsc": 0.961}}, "/livers/dsc"),
        ({"liver": {"dsc": 0.9611, "dsc_of_half": 0.9612}}, "/liver/dsc"),
        ({"liver": {"dsc": {"low": 0.9611, "high": 0.9612}}}, "liver DSC"),  # which? by hand
        ({"liver": {"nsd": 0.961}}, "liver DSC"),
    ],
)
def test_a_value_is_taken_from_the_place_that_fits_best_if_one_does(repo, results, value):
    (repo / "results.json").write_text(json.dumps(results))
    table = add_page(table_of(repo), repo, "docs/page.md", ("first",)).table
    claim = next(claim for claim in table.claims if claim.text == "0.961")
    assert (claim.value, claim.by_hand) == (value, value == "liver DSC")


def test_a_given_figure_that_the_page_does_not_say_any_more_is_found(claimed):
    page = claimed / "docs" / "page.md"
    page.write_text(PAGE.replace("A limit of 15 s is given.", ""))
    done = claims(claimed)
    assert "docs/page.md: does not say 15 s (the limit) any more" in done.stderr
    assert "Error: 1 figure is wrong or in no claim; see above" in done.stderr


def test_a_new_page_is_covered_without_being_named(claimed):
    (claimed / "docs" / "results").mkdir()
    (claimed / "docs" / "results" / "new.md").write_text("It takes 3.1 s.")
    done = claims(claimed)
    assert done.exit_code == 1
    assert "docs/results/new.md:1: 3.1 s" in done.stderr
    write_claims(
        replace(table_of(claimed), uncovered=("docs/results/new.md",)),
        claimed / "docs" / "claims.json",
    )
    assert claims(claimed).exit_code == 0


@pytest.fixture
def claimed(repo):
    first = add_page(table_of(repo), repo, "docs/page.md", ("first",)).table
    write_claims(first, repo / "docs" / "claims.json")
    return repo


def test_a_figure_in_no_claim_and_a_wrong_one_are_found(claimed):
    page = claimed / "docs/page.md"
    page.write_text(PAGE.replace("0.961", "0.951") + "\nThat was 7 MiB.\n")
    done = claims(claimed)
    assert done.exit_code == 1
    assert "docs/page.md:7: 0.951 (liver | DSC) is in no claim" in done.stderr
    assert "docs/page.md: does not say 0.961 (liver | DSC) any more" in done.stderr
    assert "docs/page.md:13: 7 MiB" in done.stderr
    assert "Error: 3 figures are wrong or in no claim; see above" in done.stderr


def test_a_result_that_changed_is_found_and_written_into_the_page(claimed):
    results = (claimed / "results.json").read_text().replace("0.96083", "0.9214")
    (claimed / "results.json").write_text(results)
    done = claims(claimed)
    assert "docs/page.md: 0.961 (liver | DSC): first has 0.9214" in done.stderr
    done = claims(claimed, "--update")
    assert done.exit_code == 0, done.stderr
    assert "docs/page.md:7: 0.961 → 0.921 (liver | DSC)" in done.stdout
    assert (claimed / "docs/page.md").read_text() == PAGE.replace("0.961", "0.921")
    assert claims(claimed).exit_code == 0


def test_a_page_that_was_changed_by_hand_to_the_new_result_keeps_its_claim(claimed):
    (claimed / "docs/page.md").write_text(PAGE.replace("0.961", "0.921"))
    results = (claimed / "results.json").read_text().replace("0.96083", "0.9214")
    (claimed / "results.json").write_text(results)
    table, told = updated(table_of(claimed), claimed)
    assert told == ["docs/page.md:7: 0.961 → 0.921 (liver | DSC)"]
    assert list(problems(table, claimed)) == []


def test_a_claim_that_no_page_states_is_dropped(claimed):
    (claimed / "docs/page.md").write_text(PAGE.replace("Another took 2.5 s.", ""))
    table, told = updated(table_of(claimed), claimed)
    assert told == ["docs/page.md: 2.5 (Another took … s.): claim dropped"]
    assert [claim.figure for claim in table.claims] == ["0.961", "1.30 s"]


def test_a_run_is_repeated_and_what_is_not_within_is_said(claimed):
    done = claims(claimed, "dsc", "--rerun")
    assert done.exit_code == 0, done.stderr
    assert "1 run to repeat" in done.stderr
    assert "1 of 1 claim held" in done.stdout
    table = table_of(claimed)
    strict = tuple(Claim(**{**vars(one), "tolerance": 0.0}) for one in table.claims)
    write_claims(
        ClaimsTable(table.uncovered, table.given, table.runs, strict), claimed / "docs/claims.json"
    )
    done = claims(claimed, "dsc", "--rerun")
    assert done.exit_code == 1
    assert "1 claim does not hold" in done.stderr


def test_kept_values_take_the_place_of_the_old_everywhere(claimed):
    left = rerun_claims(claimed, "dsc", keep=True)
    assert left == []
    assert "0.960" in (claimed / "docs/page.md").read_text()
    run = table_of(claimed).runs["first"]
    assert file_values(claimed / "results.json")["/cases/liver/dsc"] == 0.96
    assert run.date != "2026-11-28" or run.machine != "a machine"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"again": ""}, "no script repeats it"),
        ({"needs": ("hours",)}, "takes hours"),
        ({"needs": ("gpu",)}, "needs a GPU"),
        ({"needs": ("older weights",)}, "is of weights that are no more"),
        ({"needs": ("data",)}, "no real CTs here; set FLARE23_DATA"),
    ],
)
def test_why_a_run_is_not_repeated(claimed, change, reason, monkeypatch):
    monkeypatch.setenv("FLARE23_DATA", str(claimed / "nothing"))
    assert cannot(ClaimedRun(**{**vars(RUN), **change}), claimed).startswith(reason)


def test_an_idle_machine_is_only_asked_for_where_it_matters(claimed):
    run = ClaimedRun(**{**vars(RUN), "needs": ("idle machine",)})
    assert cannot(run, claimed) == ""
    assert cannot(run, claimed, idle=False) == "needs an idle machine"


@pytest.mark.parametrize(
    ("again", "message"),
    [("echo why >&2; exit 3", "exit code 3: why"), ("true", "exit code 0: no message")],
)
def test_a_run_that_fails_says_so(claimed, again, message):
    table = ClaimsTable((), (), {"first": ClaimedRun(**{**vars(RUN), "again": again})})
    with pytest.raises(KitError, match=message), repeated(table, claimed, "first"):
        pass


def test_changed_inputs_are_named(claimed):
    run = ClaimedRun(**{**vars(RUN), "inputs": {"weights_manifest.json": "0" * 64}})
    assert other_inputs(ClaimsTable(runs={"first": run}), claimed) == {
        "first": ("weights_manifest.json",)
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--add", "docs/page.md", "--run", "nobody"), "no run 'nobody'; give --command too"),
        (("--add", "docs/page.md", "--command", "a"), "give its name with --run"),
        (("--add", "docs/page.md", "--section", "Nowhere"), "has no heading with 'Nowhere'"),
        (
            ("--add", "docs/page.md", "--run", "a", "--command", "b", "--needs", "luck"),
            "luck: choose",
        ),
        (("--add", "docs/page.md", "--given", "2.5 s"), "--given needs --why"),
        (("--add", "nothing.md"), "cannot read page"),
        (("nowhere",), "no claim has 'nowhere'"),
    ],
)
def test_what_is_refused(repo, words, message):
    done = claims(repo, *words)
    assert done.exit_code == 1
    assert message in done.stderr


def test_two_things_at_once_are_wrong_usage(repo):
    assert claims(repo, "--rerun", "--update").exit_code == 2


def test_outside_of_a_checkout_it_says_so(tmp_path):
    with pytest.raises(KitError, match="run this in a checkout"):
        repository(tmp_path)


def test_a_claim_of_no_run_is_refused(repo):
    table = ClaimsTable(claims=(Claim("docs/page.md", "1", "gone", "/a"),))
    write_claims(table, repo / "docs" / "claims.json")
    with pytest.raises(KitError, match="no such run: gone"):
        table_of(repo)


def test_entries_of_an_array_go_by_their_names(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"cases": [{"case": "a/b", "x": 1}, {"case": "c", "x": true}], "n": [1, 2.5]}')
    assert file_values(path) == {"/cases/a~1b/x": 1.0, "/n/0": 1.0, "/n/1": 2.5}
    run = ClaimedRun("c", "m", "d", "c", results="a.json", values={"/own": 3.0, "said": 4.0})
    assert values_of(run, tmp_path) == {**file_values(path), "/own": 3.0, "said": 4.0}


@pytest.mark.parametrize(
    ("entries", "places"),
    [
        ([{"of": "organs", "by": "dsc", "n": 1}, {"of": "organs", "by": "nsd", "n": 2}],
         ["/a/organs dsc/n", "/a/organs nsd/n"]),
        ([{"file": f"{'0a' * 8}.plan", "for": "sm75", "n": 1}], ["/a/sm75/n"]),
        ([{"name": "one", "n": 1}, {"name": "one", "n": 2}], ["/a/0/n", "/a/1/n"]),
        ([{"name": "one", "n": 1}, {"n": 2}], ["/a/0/n", "/a/1/n"]),
    ],
)  # fmt: skip
def test_entries_of_an_array_go_by_the_first_texts_that_differ(entries, places, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a": entries}))
    assert list(file_values(path)) == places


def test_the_new_weights_renew_golden_maps_runs_and_pages(claimed, monkeypatch):
    table = table_of(claimed)
    first = table.runs["first"]
    run = ClaimedRun(**{**vars(first), "inputs": {"weights_manifest.json": "0" * 64}})
    write_claims(ClaimsTable(table.uncovered, table.given, {"first": run}, table.claims),
                 claimed / "docs/claims.json")  # fmt: skip
    made = []
    monkeypatch.setattr(
        "inference.tools.golden.write_golden", lambda described: made.append(described) or Made()
    )
    done = claims(claimed, "--new-weights")
    assert done.exit_code == 0, done.stderr
    assert [described.name for described in made] == ["flare23_default"]
    assert "docs/page.md:7: 0.961 → 0.960 (liver | DSC)" in done.stdout
    digests = table_of(claimed).runs["first"].inputs["weights_manifest.json"]
    assert digests == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # of {}


class Made:
    maps = ()


def test_the_list_names_runs_and_problems(claimed):
    shutil.copy(claimed / "docs/page.md", claimed / "other.md")
    done = claims(claimed, "docs/page.md")
    assert done.exit_code == 0, done.stderr
    assert "1 page covered, 3 claims, 0 problems" in done.stdout
    assert "measure" in done.stdout
