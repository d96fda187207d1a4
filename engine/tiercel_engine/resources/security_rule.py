"""SecurityRule: rules, where they apply, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, ClassVar

from tiercel_engine.resources.labels import LabelSelector, NamedSelector
from tiercel_engine.resources.resource import AGE, READY, Column, Conditions, Count, Resource, Time
from tiercel_engine.resources.schema import Cel, Says, exactly_one, says
from tiercel_engine.rules.documents.reader import MANIFEST_KIND

MAX_ITEMS = 2000
MAX_TESTS = 200
_KINDS = ("rule", "macro", "list", "required_engine_version", "required_plugin_versions")

ItemName = Annotated[str, Says(min_length=1, max_length=512)]


class Override(Enum):
    APPEND = "append"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class RuleException:
    """Events that a rule raises no alert for."""

    name: ItemName = field(metadata=says("The exception's name."))
    fields: object = field(default=None, metadata=says("A field, or a list of fields."))
    comps: object = field(
        default=None, metadata=says("The operator that compares the field, or a list with one operator for each field.")
    )
    values: tuple[object, ...] | None = field(
        default=None, metadata=says("Values of the field, or lists with one value for each of the fields.")
    )


@dataclass(frozen=True, slots=True)
class PluginAlternative:
    """A plugin that can take the place of another."""

    name: str = field(metadata=says("The plugin's name."))
    version: str = field(metadata=says("The lowest version that is good enough."))


@dataclass(frozen=True, slots=True)
class PluginVersion(PluginAlternative):
    """A plugin that the rules were written for."""

    alternatives: tuple[PluginAlternative, ...] = field(
        default=(), metadata=says("Plugins that can take its place.", max_items=100)
    )


@dataclass(frozen=True, slots=True)
class Item:
    """An item as in a rules file of Falco: a rule, a macro, a list, or a requirement of the items."""

    VALIDATIONS: ClassVar = (Cel(exactly_one(_KINDS), f"an item has exactly one of {', '.join(_KINDS)}"),)

    rule: ItemName | None = field(default=None, metadata=says("The name of a rule."))
    macro: ItemName | None = field(default=None, metadata=says("The name of a macro, a part of conditions."))
    list: ItemName | None = field(default=None, metadata=says("The name of a list of values."))
    required_engine_version: int | str | None = field(
        default=None,
        metadata=says("The lowest version of the rule language that the items need.", name="required_engine_version"),
    )
    required_plugin_versions: tuple[PluginVersion, ...] | None = field(
        default=None,
        metadata=says("The plugins that the items need.", name="required_plugin_versions", max_items=100),
    )
    desc: str | None = field(default=None, metadata=says("What a rule is for."))
    condition: str | None = field(default=None, metadata=says("The condition of the rule or macro on an event."))
    output: str | None = field(
        default=None, metadata=says("The text of an alert. %field stands for the value of a field.")
    )
    priority: str | None = field(
        default=None,
        metadata=says(
            "Emergency, Alert, Critical, Error, Warning, Notice, Informational (Info) or Debug, in any case.",
            max_length=64,
        ),
    )
    source: str | None = field(default=None, metadata=says("The source of the events. If not given: syscall."))
    enabled: bool | None = field(default=None, metadata=says("Whether the rule is in force. If not given: true."))
    tags: tuple[str, ...] | None = field(default=None, metadata=says("A rule's tags."))
    exceptions: tuple[RuleException, ...] | None = field(
        default=None, metadata=says("Events that the rule raises no alert for.", nullable=True)
    )
    items: tuple[int | str, ...] | None = field(
        default=None,
        metadata=says(
            "The values of a list. A value that YAML would read as a fraction or a boolean has to be quoted."
        ),
    )
    append: bool | None = field(
        default=None, metadata=says("Whether the item is appended to the earlier item of the same name.")
    )
    override: Mapping[str, Override] | None = field(
        default=None,
        metadata=says("Which keys of the earlier item of the same name are appended to, and which are replaced."),
    )
    warn_evttypes: bool | None = field(
        default=None, metadata=says("Whether a condition without event types causes a warning.", name="warn_evttypes")
    )
    skip_if_unknown_filter: bool | None = field(
        default=None,
        metadata=says("Whether a rule with unknown fields is skipped.", name="skip-if-unknown-filter"),
    )
    capture: bool | None = field(default=None, metadata=says("A key of Falco, without effect here."))
    capture_duration: Count | None = field(
        default=None, metadata=says("A key of Falco, without effect here.", name="capture_duration")
    )


@dataclass(frozen=True, slots=True)
class Selector:
    """Where the rules apply. Outside of the namespace tiercel-system only pods and nodes may be given.

    The operator refuses a key that it doesn't know: if it were left out, the rules would apply to more than was meant.
    """

    pods: LabelSelector | None = field(
        default=None, metadata=says("Pods, by their labels. An empty selector selects all pods.", keeps_unknown=True)
    )
    namespaces: NamedSelector | None = field(
        default=None,
        metadata=says("The pods of namespaces, by the names or labels of the namespaces.", keeps_unknown=True),
    )
    nodes: NamedSelector | None = field(
        default=None,
        metadata=says("The only nodes on which the rules apply, by their names or labels.", keeps_unknown=True),
    )
    host: bool | None = field(
        default=None,
        metadata=says(
            "Whether the rules apply to processes outside of containers. If not given: unless pods are selected."
        ),
    )


@dataclass(frozen=True, slots=True)
class RuleTest:
    """An event, and the rules that must raise an alert for it."""

    name: str = field(metadata=says("The test's name.", min_length=1, max_length=200))
    event: Mapping[str, object] = field(metadata=says("The event's fields by their names, such as proc.name."))
    expect: tuple[ItemName, ...] = field(
        metadata=says("The rules that must raise an alert. All others must not.", max_items=100)
    )


@dataclass(frozen=True, slots=True)
class SecurityRuleSpec:
    """Which rules apply, and where."""

    rules: tuple[Item, ...] = field(metadata=says("Items as in a rules file of Falco.", max_items=MAX_ITEMS))
    selector: Selector | None = field(
        default=None,
        metadata=says(
            "Where the rules apply. If not given: everywhere, hosts included, for the namespace tiercel-system; to the "
            "pods of their own namespace for others.",
            keeps_unknown=True,
        ),
    )
    suspend: bool = field(
        default=False, metadata=says("Whether the rules are taken out of force. If not given: false.")
    )
    tests: tuple[RuleTest, ...] = field(
        default=(),
        metadata=says(
            "Tests of the rules. If one fails, the resource is refused.", max_items=MAX_TESTS, map_keys=("name",)
        ),
    )


class RuleState(Enum):
    LOADED = "loaded"
    REFUSED = "refused"
    DISABLED = "disabled"
    """By the item's own ``enabled: false``."""
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What became of one rule."""

    name: str = field(metadata=says("The rule's name."))
    state: RuleState = field(metadata=says("Whether the rule is in force, and if not, why."))
    message: str = field(default="", metadata=says("Why it isn't in force, or a warning about it."))


@dataclass(frozen=True, slots=True)
class TestResult:
    """The result of a test."""

    __test__: ClassVar = False

    name: str = field(metadata=says("The test's name."))
    passed: bool = field(metadata=says("Whether exactly the expected rules raised an alert."))
    message: str = field(default="", metadata=says("How the result differs from what was expected."))


@dataclass(frozen=True, slots=True)
class NodeCounts:
    """The nodes on which the rules apply."""

    matching: Count = field(metadata=says("Nodes that the selector matches."))
    ready: Count = field(metadata=says("Of these nodes, those that report a bundle with these rules."))


@dataclass(frozen=True, slots=True)
class Summary:
    """Numbers as `kubectl get` prints them."""

    rules: str = field(default="", metadata=says("How many of all rules are in force, such as 2/3."))
    nodes: str = field(default="", metadata=says("How many of all matching nodes are ready, such as 3/5."))


@dataclass(frozen=True, slots=True)
class SecurityRuleStatus:
    """What became of the rules, written by the operator."""

    observed_generation: Count | None = field(
        default=None, metadata=says("The generation of the spec that this status is about.")
    )
    conditions: Conditions = field(default=(), metadata=says("Checked, Valid, Ready and DetectionDegraded."))
    summary: Summary | None = field(default=None, metadata=says("Numbers as `kubectl get` prints them."))
    rules: tuple[RuleResult, ...] = field(default=(), metadata=says("The state of each rule."))
    tests: tuple[TestResult, ...] = field(default=(), metadata=says("The result of each test."))
    nodes: NodeCounts | None = field(default=None, metadata=says("The nodes on which the rules apply."))
    alerts: Count | None = field(default=None, metadata=says("Alerts of these rules on all nodes."))
    last_alert: Time | None = field(default=None, metadata=says("When the last alert was."))
    bundle: str = field(
        default="", metadata=says("The hash of the first bundle with the rules as they are now.", max_length=128)
    )


SECURITY_RULE = Resource(
    kind=MANIFEST_KIND,
    short_names=("srule",),
    namespaced=True,
    description="Rules that say what is to be detected at runtime. In the namespace tiercel-system they apply to the "
    "whole cluster, in any other to the pods of that namespace.",
    spec=SecurityRuleSpec,
    status=SecurityRuleStatus,
    columns=(
        Column("Rules", ".status.summary.rules"),
        READY,
        Column("Nodes", ".status.summary.nodes"),
        Column("Alerts", ".status.alerts", "integer"),
        Column("Last Alert", ".status.lastAlert", "date"),
        AGE,
    ),
)
