from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from tiercel_cli.main import main
from tiercel_engine.diagnostics import Location
from tiercel_engine.rule import LoadedRules, Rule
from tiercel_engine.rules import RulesFile, load
from tiercel_engine.rules.documents.manifest import manifest_name, to_manifest

STOCK_FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "falco-rules"

RULES = """\
# a comment
- required_engine_version: 0.57.0
- list: words
  items: [a, yes, 022, 1e3, "null", 'on']
- macro: long
  condition: >
    proc.name in (words) or
    fd.name startswith "/a b" or fd.name startswith '/long/path/that/makes/it/too/long' or fd.name = /y
- rule: R
  desc: |
    Two
      lines.
  condition: evt.type = open and long
  output: "opened: %fd.name # by %proc.name"
  priority: INFO
  enabled: yes
  exceptions:
  - name: e
    fields: [proc.name, fd.name]
    comps: [in, =]
    values:
    - [[a, "12"], "it's"]
"""


def convert(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["convert", *map(str, arguments)])


def meaning(loaded: LoadedRules) -> list[Rule]:
    """The rules without their places."""
    assert loaded.errors == ()
    return [replace(rule, location=Location("", 0, 0)) for rule in loaded.rules]


def test_the_manifest_holds_the_same_rules(tmp_path: Path) -> None:
    path = tmp_path / "My_rules.v2.yaml"
    path.write_text(RULES)
    result = convert(path)
    assert result.exit_code == 0
    assert meaning(load([RulesFile("m", result.stdout)])) == meaning(load([RulesFile("r", RULES)]))
    manifest = yaml.safe_load(result.stdout)
    assert (manifest["apiVersion"], manifest["kind"]) == ("tiercel.dev/v1alpha1", "SecurityRule")
    assert manifest["metadata"] == {"name": "my-rules-v2", "namespace": "tiercel-system"}
    assert "comments are not carried over" in result.stderr


def test_every_yaml_reader_takes_texts_for_texts_and_switches_for_switches() -> None:
    items = yaml.safe_load(to_manifest(RulesFile("r", RULES), "r", "n"))["spec"]["rules"]
    assert items[0] == {"required_engine_version": "0.57.0"}
    assert items[1]["items"] == ["a", "yes", "022", "1e3", "null", "on"]
    assert items[3]["enabled"] is True
    assert items[3]["exceptions"][0]["values"] == [[["a", "12"], "it's"]]


def test_long_conditions_stay_readable() -> None:
    text = to_manifest(RulesFile("r", RULES), "r", "n")
    assert "    condition: >\n" in text
    assert "\n".join(["    desc: |", "      Two", "        lines."]) in text
    assert max(map(len, text.splitlines())) < 140


def test_a_file_with_errors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(RULES.replace("evt.type", "evt.tpye"))
    result = convert(path)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert f"{path}:13:14: error LOAD_ERR_COMPILE_CONDITION" in result.stderr


def test_files_are_taken_together_and_become_an_object_each(tmp_path: Path) -> None:
    for folder, text in (("a", "- macro: m\n  condition: proc.name = x\n"), ("b", RULES.replace("and long", "and m"))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rules.yaml").write_text(text)
    result = convert(tmp_path / "a", tmp_path / "b", "--namespace", "team")
    manifests = list(yaml.safe_load_all(result.stdout))
    assert [manifest["metadata"] for manifest in manifests] == [
        {"name": "rules", "namespace": "team"},
        {"name": "rules-2", "namespace": "team"},
    ]
    assert len(load([RulesFile("m", result.stdout)]).rules) == 1


def test_an_object_that_etcd_may_refuse_is_told(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text(RULES + "- list: l\n  items:\n" + "".join(f"  - item-number-{n}\n" for n in range(60_000)))
    result = convert(path)
    assert result.exit_code == 0
    assert "etcd" in result.stderr


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("falco_rules.local.yaml", "falco-rules-local"),
        ("/x/.yaml", "rules"),
        ("日本.yaml", "rules"),
        ("-A\x1b[31mB-.yml", "a-31mb"),
        ("x" * 300 + ".yaml", "x" * 63),
    ],
)
def test_a_name_is_made_from_the_files(file: str, name: str) -> None:
    assert manifest_name(file) == name


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30)


@given(_TEXT, _TEXT, st.lists(_TEXT, max_size=4), st.sampled_from([None, '"', "'", "|", ">"]))
def test_no_text_is_changed_and_nothing_hidden_is_printed(
    desc: str, output: str, items: list[str], style: str | None
) -> None:
    said = [{"list": "l", "items": items}, {"rule": "R", "desc": desc, "output": output, "condition": "evt.type = x"}]
    file = RulesFile("r", yaml.dump(said, default_style=style, allow_unicode=False))
    text = to_manifest(file, "r", "n")
    assert yaml.safe_load(text)["spec"]["rules"] == said
    assert all(character.isprintable() or character == "\n" for character in text.replace("\t", " "))


@pytest.mark.stock
@pytest.mark.skipif(not STOCK_FOLDER.is_dir(), reason="the stock rule files are not beside the checkout")
@pytest.mark.parametrize("name", ["falco_rules", "falco-incubating_rules", "falco-sandbox_rules", "k8s_audit_rules"])
def test_stock_rules_mean_the_same_as_manifests(name: str) -> None:
    file = RulesFile(name, (STOCK_FOLDER / f"{name}.yaml").read_text())
    manifest = to_manifest(file, name, "tiercel-system")
    assert meaning(load([RulesFile(name, manifest)])) == meaning(load([file]))


@pytest.mark.parametrize("namespace", ["", "Team", "a.b", "-a", "a-", "a" * 64, "a\n", "\x1b[31m"])
def test_a_namespace_that_kubernetes_refuses_is_wrong_usage(tmp_path: Path, namespace: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(RULES)
    result = convert(path, "-n", namespace)
    assert result.exit_code == 2
    assert "is no namespace" in result.stderr
    assert "\x1b" not in result.output


def test_a_rule_that_says_where_it_watches_is_not_made_one_that_doesnt(tmp_path: Path) -> None:
    manifest = """
apiVersion: tiercel.dev/v1alpha1
kind: SecurityRule
metadata: {name: x, namespace: shop}
spec:
  rules:
  - {rule: r, desc: d, condition: evt.type = open, output: o, priority: NOTICE}
"""
    path = tmp_path / "rule.yaml"
    path.write_text(manifest)
    result = CliRunner().invoke(main, ["convert", str(path)])
    assert result.exit_code == 1
    assert "is a SecurityRule already, and says where it watches" in result.stderr


def test_what_is_true_in_quotes_is_true_for_the_api(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(
        '- {rule: r, desc: d, condition: evt.type = open, output: o, priority: NOTICE, enabled: "false", '
        'tags: ["true"]}'
    )
    result = CliRunner().invoke(main, ["convert", str(path)])
    (item,) = yaml.safe_load(result.stdout)["spec"]["rules"]
    assert (item["enabled"], item["tags"]) == (False, ["true"])
