"""SecurityRule: rules, where they watch, and what became of them."""

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
    """What a rule doesn't alert of."""

    name: ItemName = field(metadata=says("The exception's name."))
    fields: object = field(default=None, metadata=says("A field, or a list of fields."))
    comps: object = field(default=None, metadata=says("The operator of the field, or a list of one for each."))
    values: tuple[object, ...] | None = field(
        default=None, metadata=says("Values of the field, or lists of a value for each of the fields.")
    )


@dataclass(frozen=True, slots=True)
class PluginAlternative:
    """A plugin that does as well."""

    name: str = field(metadata=says("The plugin's name."))
    version: str = field(metadata=says("The least version of it."))


@dataclass(frozen=True, slots=True)
class PluginVersion(PluginAlternative):
    """A plugin that the rules were written for."""

    alternatives: tuple[PluginAlternative, ...] = field(
        default=(), metadata=says("Plugins that do as well.", max_items=100)
    )


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a Falco rules file, as it is there: a rule, a macro, a list, or what the items require."""

    VALIDATIONS: ClassVar = (Cel(exactly_one(_KINDS), f"an item has exactly one of {', '.join(_KINDS)}"),)

    rule: ItemName | None = field(default=None, metadata=says("The name of a rule."))
    macro: ItemName | None = field(default=None, metadata=says("The name of a macro, a part of conditions."))
    list: ItemName | None = field(default=None, metadata=says("The name of a list of values."))
    required_engine_version: int | str | None = field(
        default=None,
        metadata=says("The least version of the rule language that the items need.", name="required_engine_version"),
    )
    required_plugin_versions: tuple[PluginVersion, ...] | None = field(
        default=None,
        metadata=says("The plugins that the items need.", name="required_plugin_versions", max_items=100),
    )
    desc: str | None = field(default=None, metadata=says("What a rule is for."))
    condition: str | None = field(default=None, metadata=says("What an event must be for the rule, or macro, to hold."))
    output: str | None = field(default=None, metadata=says("An alert's text; %field stands for a field's value."))
    priority: str | None = field(
        default=None,
        metadata=says(
            "Emergency, Alert, Critical, Error, Warning, Notice, Informational (Info) or Debug, in any case.",
            max_length=64,
        ),
    )
    source: str | None = field(default=None, metadata=says("Where events come from: syscall if nothing else is said."))
    enabled: bool | None = field(default=None, metadata=says("Whether a rule is in force."))
    tags: tuple[str, ...] | None = field(default=None, metadata=says("A rule's tags."))
    exceptions: tuple[RuleException, ...] | None = field(
        default=None, metadata=says("What a rule doesn't alert of.", nullable=True)
    )
    items: tuple[int | str, ...] | None = field(
        default=None, metadata=says("The values of a list. What YAML takes for a fraction or a boolean is quoted.")
    )
    append: bool | None = field(default=None, metadata=says("Whether the item is appended to the one of its name."))
    override: Mapping[str, Override] | None = field(
        default=None, metadata=says("Which keys of the item of this name are appended to, and which are replaced.")
    )
    warn_evttypes: bool | None = field(
        default=None, metadata=says("Whether a condition without event types is warned of.", name="warn_evttypes")
    )
    skip_if_unknown_filter: bool | None = field(
        default=None,
        metadata=says("Whether a rule with unknown fields is skipped.", name="skip-if-unknown-filter"),
    )
    capture: bool | None = field(default=None, metadata=says("Known from Falco; without effect."))
    capture_duration: Count | None = field(
        default=None, metadata=says("Known from Falco; without effect.", name="capture_duration")
    )


@dataclass(frozen=True, slots=True)
class Selector:
    """Where the rules watch. In other namespaces than the system's only pods and nodes may be given.

    A key that isn't known is kept, and refused by the operator: taken out, the rules would watch more than was meant.
    """

    pods: LabelSelector | None = field(
        default=None, metadata=says("Pods by their labels. An empty one: all pods.", keeps_unknown=True)
    )
    namespaces: NamedSelector | None = field(
        default=None, metadata=says("The pods of these namespaces, by their names or labels.", keeps_unknown=True)
    )
    nodes: NamedSelector | None = field(
        default=None, metadata=says("These nodes alone, by their names or labels.", keeps_unknown=True)
    )
    host: bool | None = field(
        default=None,
        metadata=says("Whether what runs outside of containers is watched. If not given: unless pods are selected."),
    )


@dataclass(frozen=True, slots=True)
class RuleTest:
    """An event, and the rules that must alert of it."""

    name: str = field(metadata=says("The test's name.", min_length=1, max_length=200))
    event: Mapping[str, object] = field(metadata=says("The event's fields by their names, such as proc.name."))
    expect: tuple[ItemName, ...] = field(
        metadata=says("The rules that must alert, and no others. Empty: none.", max_items=100)
    )


@dataclass(frozen=True, slots=True)
class SecurityRuleSpec:
    """What to detect, and where."""

    rules: tuple[Item, ...] = field(metadata=says("Items of a Falco rules file.", max_items=MAX_ITEMS))
    selector: Selector | None = field(
        default=None,
        metadata=says(
            "Where the rules watch. Without it: everywhere, hosts included, in the system's namespace; in others their "
            "own pods.",
            keeps_unknown=True,
        ),
    )
    suspend: bool = field(default=False, metadata=says("Whether the rules are out of force. If not given: false."))
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
    state: RuleState = field(metadata=says("Whether it is in force."))
    message: str = field(default="", metadata=says("Why not, or what it is warned of."))


@dataclass(frozen=True, slots=True)
class TestResult:
    """What a test gave."""

    __test__: ClassVar = False

    name: str = field(metadata=says("The test's name."))
    passed: bool = field(metadata=says("Whether the rules alerted that had to, and no others."))
    message: str = field(default="", metadata=says("What was different."))


@dataclass(frozen=True, slots=True)
class NodeCounts:
    """Nodes that the rules are for."""

    matching: Count = field(metadata=says("Nodes that the selector matches."))
    ready: Count = field(metadata=says("Those of them that report a bundle with these rules."))


@dataclass(frozen=True, slots=True)
class Summary:
    """What `kubectl get` prints."""

    rules: str = field(default="", metadata=says("Rules in force of all, such as 2/3."))
    nodes: str = field(default="", metadata=says("Nodes that are ready of all that match, such as 3/5."))


@dataclass(frozen=True, slots=True)
class SecurityRuleStatus:
    """What became of the rules, told by the operator."""

    observed_generation: Count | None = field(default=None, metadata=says("The generation that this tells of."))
    conditions: Conditions = field(default=(), metadata=says("Ready, and what else is the case."))
    summary: Summary | None = field(default=None, metadata=says("What `kubectl get` prints."))
    rules: tuple[RuleResult, ...] = field(default=(), metadata=says("What became of each rule."))
    tests: tuple[TestResult, ...] = field(default=(), metadata=says("What each test gave."))
    nodes: NodeCounts | None = field(default=None, metadata=says("Nodes that the rules are for."))
    alerts: Count | None = field(default=None, metadata=says("Alerts of these rules, of all nodes."))
    last_alert: Time | None = field(default=None, metadata=says("When the last alert was."))
    bundle: str = field(default="", metadata=says("The hash of the bundle that the nodes are to have.", max_length=128))


SECURITY_RULE = Resource(
    kind=MANIFEST_KIND,
    short_names=("srule",),
    namespaced=True,
    description="Rules of what is to be detected at runtime. In the namespace tiercel-system they watch the whole "
    "cluster, in any other that namespace's pods.",
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
