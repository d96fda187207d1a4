"""Trees become typed conditions; every problem of a condition is found, at its place."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path

import pytest
import yaml

from tiercel_engine.condition import And, Atom, Constant, FieldOperand, Literal, Node, Not, Operator, Or, Transformed
from tiercel_engine.diagnostics import Severity
from tiercel_engine.fields import REGISTRY, FieldType, Multiplicity
from tiercel_engine.language import Checked, Problem, check, parse
from tiercel_engine.language.checker import MAX_PROBLEMS
from tiercel_engine.language.size import MAX_DEPTH, MAX_SIZE, measure

STOCK = Path(__file__).parents[4] / "shared" / "falco-rules"

LISTS: dict[str, tuple[str, ...]] = {
    "shells": ("bash", "sh", '"a b"'),
    "one": ("bash",),
    "nothing": (),
    "networks": ('"10.0.0.0/8"', "fd00::/8"),
    "ports": ("22", "http"),
}


def checked(text: str, macros: Mapping[str, Node] | None = None) -> Checked:
    return check(parse(text), macros=macros or {}, lists=LISTS)


def node_of(text: str, macros: Mapping[str, Node] | None = None) -> Node:
    result = checked(text, macros)
    assert result.node is not None, result.problems
    return result.node


def atom_of(text: str) -> Atom:
    node = node_of(text)
    assert isinstance(node, Atom)
    return node


def field(name: str, argument: str | None = None) -> FieldOperand:
    return FieldOperand(REGISTRY[name], argument)


@pytest.mark.parametrize(
    ("text", "constants"),
    [
        ("proc.name = 5", ("5",)),
        ("fd.num = 5", (5,)),
        ("fd.num >= 0x1F", (31,)),
        ("fd.num = -1", (-1,)),
        ("fd.num = 1e3", (1000,)),
        ("fd.num = 5.0", (5,)),
        ("fd.sport in (53, 0xffff)", (53, 65535)),
        ("proc.duration <= 5000000000", (5_000_000_000,)),
        ("evt.is_open_read = true", (True,)),
        ("evt.is_open_read in (0)", (False,)),
        ("fd.sip = 10.0.0.1", (IPv4Address("10.0.0.1"),)),
        ("fd.sip in (10.1.2.3/8)", (IPv4Network("10.0.0.0/8"),)),
        ("fd.snet = 10.0.0.1", (IPv4Network("10.0.0.1/32"),)),
        ("fd.snet in (networks)", (IPv4Network("10.0.0.0/8"), IPv6Network("fd00::/8"))),
        ("evt.buffer bcontains CAFE00", (b"\xca\xfe\x00",)),
        (r'evt.buffer contains "a\x00\xff"', (b"a\x00\xff",)),
        (r'proc.name = "\xff"', ("\udcff",)),
        ("evt.arg.flags contains O_CREAT", ("O_CREAT",)),
        ("proc.name regex '[a-z]+'", ("[a-z]+",)),
        ("proc.name in (shells, zsh)", ("bash", "sh", "a b", "zsh")),
        ("proc.name in shells", ("bash", "sh", "a b")),
        ('proc.name in ("shells")', ("shells",)),
        ("proc.name in (nothing)", ()),
        ("proc.name = one", ("bash",)),
        ("proc.name startswith anyof (shells)", ("bash", "sh", "a b")),
        ("proc.name exists", ()),
    ],
)
def test_constants(text: str, constants: tuple[Constant, ...]) -> None:
    right = atom_of(text).right
    assert right == constants
    assert [type(constant) for constant in right] == [type(constant) for constant in constants]


def test_structure_and_operands() -> None:
    node = node_of("not proc.aname[02] = a and (proc.name = val(proc.pname) or tolower(proc.name) = b)")
    assert node == And(
        (
            Not(Atom(field("proc.aname", "2"), Operator.EQ, ("a",))),
            Or(
                (
                    Atom(field("proc.name"), Operator.EQ, field("proc.pname")),
                    Atom(
                        Transformed("tolower", (field("proc.name"),), FieldType.STRING, Multiplicity.ONE),
                        Operator.EQ,
                        ("b",),
                    ),
                )
            ),
        )
    )


@pytest.mark.parametrize(
    ("text", "operands", "type_", "multiplicity"),
    [
        ("len(proc.name)", (field("proc.name"),), FieldType.INTEGER, Multiplicity.ONE),
        ("len(fd.types)", (field("fd.types"),), FieldType.INTEGER, Multiplicity.ONE),
        ("toupper(fd.types)", (field("fd.types"),), FieldType.STRING, Multiplicity.LIST),
        ("basename(proc.aname)", (field("proc.aname"),), FieldType.STRING, Multiplicity.ANY),
        ("b64(evt.buffer)", (field("evt.buffer"),), FieldType.BYTES, Multiplicity.ONE),
        (
            "join('-', (proc.name, \"x\"))",
            (Literal("-", FieldType.STRING), field("proc.name"), Literal("x", FieldType.STRING)),
            FieldType.STRING,
            Multiplicity.ONE,
        ),
        (
            "join(',', fd.types)",
            (Literal(",", FieldType.STRING), field("fd.types")),
            FieldType.STRING,
            Multiplicity.ONE,
        ),
        (
            "concat(proc.name, 1)",
            (field("proc.name"), Literal("1", FieldType.STRING)),
            FieldType.STRING,
            Multiplicity.ONE,
        ),
        (
            "getopt(fd.types, 'nt:')",
            (field("fd.types"), Literal("nt:", FieldType.STRING)),
            FieldType.STRING,
            Multiplicity.LIST,
        ),
        (
            "getopt(fd.types, 'nt:')[t]",
            (field("fd.types"), Literal("nt:", FieldType.STRING), Literal("t", FieldType.STRING)),
            FieldType.STRING,
            Multiplicity.ONE,
        ),
    ],
)
def test_transformers(text: str, operands: tuple[object, ...], type_: FieldType, multiplicity: Multiplicity) -> None:
    left = atom_of(f"{text} exists").left
    assert isinstance(left, Transformed)
    assert (left.operands, left.type, left.multiplicity) == (operands, type_, multiplicity)


# a condition with the place of its one problem between « and », what the message says, what the hint says
ERRORS = [
    ("«proc.nam» = a", "there is no field proc.nam", "did you mean proc.name?"),
    ("«x.qqqqqq» exists", "there is no field", "tiercel fields"),
    ("«evt.arg» = a", "evt.arg needs an argument", "evt.arg[name]"),
    ("«proc.name[1]» = a", "takes no argument", "write proc.name"),
    ("«proc.aname[x]» = a", "takes a number from 0", "proc.aname[1]"),
    ("«proc.aname[-1]» = a", "takes a number from 0", ""),
    ("«proc.aname[99999999999999999999]» = a", "takes a number from 0", ""),
    ("proc.name «bcontains» ff", "does not fit proc.name, which is text", "write `contains`"),
    ("evt.is_open_read «>» 1", "does not fit evt.is_open_read, which is true or false", "exists = != in"),
    ("fd.sip «startswith» 10.", "does not fit fd.sip, which is an address", ""),
    ("fd.num «contains» 1", "does not fit fd.num, which is a number", ""),
    ("evt.buffer «regex» a", "does not fit evt.buffer, which is bytes", ""),
    ("fd.types «=» file", "does not fit fd.types, which is a list", "in intersects"),
    ("fd.num = «five»", "`five` is not a number", "0x1F"),
    ("fd.num = «1.5»", "not a whole number", ""),
    ("fd.num = «1e999»", "out of range", "18446744073709551615"),
    ("fd.num = «99999999999999999999»", "out of range", ""),
    ("fd.sport = «65536»", "out of range", "65535"),
    ("fd.sport in (22, «x-y»)", "not a number", ""),
    ("proc.duration > «5s»", "not a number of nanoseconds", "5s is 5000000000"),
    ("evt.is_open_read = «True»", "neither true nor false", "write true"),
    ("fd.sip = «300.1.1.1»", "not an IP address", "10.0.0.0/8"),
    ("fd.sip = «fe80::1%eth0»", "not an IP address", ""),
    ("fd.snet in («10.0.0.0/33»)", "not an IP network", ""),
    ("evt.buffer bcontains «0xff»", "not pairs of hexadecimal digits", "without 0x"),
    ("evt.buffer bstartswith «abc»", "not pairs of hexadecimal digits", ""),
    ('proc.name = «"a\\x00"»', "never holds a zero byte", "evt.buffer"),
    ('proc.name regex «"(a"»', "not a regular expression that RE2 accepts: missing )", ""),
    ('proc.name regex «"(?<!a)b"»', "not a regular expression that RE2 accepts", ""),
    ('proc.name regex «"(\\\\pL{10}){100}"»', "it needs more than 256 KiB of memory: shorten it", ""),
    ('proc.name glob «"a\\\\"»', "ends in a backslash", ""),
    ("fd.sport in («ports»)", "in list ports: `http` is not a number", ""),
    ("proc.name = «shells»", "shells is a list of 3", "write `in (shells)`"),
    ("proc.name = «nothing»", "nothing is a list of 0", ""),
    ("proc.name = «val(fd.num)»", "the left side is text, the right side a number", ""),
    ("proc.name regex «val(proc.pname)»", "takes constants", ""),
    ("fd.snet = «val(fd.sip)»", "takes constants", ""),
    ("proc.name = «val(fd.types)»", "takes one value, not a list", "`in` or `intersects`"),
    ("«proc.name = val(proc.aname)»", "any value counts", "proc.aname[1]"),
    ("tolower(«fd.num») = a", "takes text here; this is a number", ""),
    ("len(«fd.num») = 1", "takes a list, text or bytes", ""),
    ("«tolower(proc.name, proc.pname)» = a", "takes one argument", ""),
    ("«join(',')» = a", "a separator and a list", "join("),
    ("join(',', «proc.name») = a", "takes a list of texts here", ""),
    ("join(«fd.types», fd.types) = a", "takes one text here", ""),
    ("«concat(proc.name)» = a", "two arguments or more", ""),
    (f"«concat({', '.join(['proc.name'] * 201)})» = a", "no more than 200 values", ""),
    (f"«join('-', ({', '.join(['proc.name'] * 200)}))» = a", "no more than 200 values", ""),
    ("concat(proc.name, «fd.num») = a", "takes one text here; this is a number", ""),
    ("getopt(«proc.args», 'a') exists", "takes a list of texts here", ""),
    ("«tolower(proc.name)[a]» = a", "takes no `[a]`", ""),
    ("«getopt(fd.types, 'a')[ab]» = a", "takes no `[ab]`", "one option letter"),
    ("len(«proc.nam») > 1", "there is no field", "did you mean proc.name?"),
    ("«contaner»", "there is no macro contaner", "did you mean container?"),
    ("«shells»", "there is no macro shells", "write `field in (shells)`"),
]


@pytest.mark.parametrize(("marked", "message", "hint"), ERRORS, ids=[marked for marked, _, _ in ERRORS])
def test_an_error_points_at_its_place(marked: str, message: str, hint: str) -> None:
    start, end = marked.index("«"), marked.index("»") - 1
    result = checked(marked.replace("«", "").replace("»", ""), {"container": node_of("container.id != host")})
    assert result.node is None
    (problem,) = result.problems
    assert problem.severity is Severity.ERROR
    assert problem.code.startswith("LOAD_ERR_")
    assert message in problem.message
    assert hint in problem.hint
    assert (problem.start, problem.end) == (start, end)


@pytest.mark.parametrize("operator", ["glob", "iglob", "pmatch"])
def test_a_glob_that_takes_too_much_memory_is_an_error(operator: str) -> None:
    glob = "?" * 5000
    (problem,) = checked(f"fd.name {operator} " + (f"({glob})" if operator == "pmatch" else glob)).problems
    assert problem.message.startswith("a pattern that can't be used: it needs more than 256 KiB of memory")


def warning_of(text: str) -> Problem:
    result = checked(text)
    assert result.node is not None
    (problem,) = result.problems
    assert problem.severity is Severity.WARNING
    return problem


@pytest.mark.parametrize(
    ("marked", "code", "message", "hint"),
    [
        ('not proc.name in («"<NA>"»)', "LOAD_UNSAFE_NA_CHECK", "never equals <NA>", "proc.name exists"),
        ("evt.dir = «>»", "LOAD_DEPRECATED_ITEM", "never holds", ""),
        ("evt.dir != «<»", "LOAD_DEPRECATED_ITEM", "never holds", ""),
        ("evt.dir=«<»", "LOAD_DEPRECATED_ITEM", "always holds", "leave it out"),
        ("evt.type in (open, «opemat»)", "LOAD_UNKNOWN_ITEM", "opemat", "did you mean openat?"),
        ("evt.type = «mmap2»", "LOAD_UNKNOWN_ITEM", "mmap2 are not observed", "are reported as mmap"),
        ("evt.type = «switch»", "LOAD_UNKNOWN_ITEM", "switch are not observed", "Falco has such events"),
        ("evt.type = «fly_away»", "LOAD_UNKNOWN_ITEM", "fly_away are not observed", ""),
        ("proc.name = «proc.pname»", "LOAD_COMPILE_CONDITION", "as text", "val(proc.pname)"),
        ("proc.name in «shell»", "LOAD_UNKNOWN_ITEM", "no list shell", "did you mean shells?"),
    ],
)
def test_warnings(marked: str, code: str, message: str, hint: str) -> None:
    problem = warning_of(marked.replace("«", "").replace("»", ""))
    assert problem.code == code
    assert message in problem.message
    assert hint in problem.hint
    assert (problem.start, problem.end) == (marked.index("«"), marked.index("»") - 1)


def test_all_problems_are_found_in_order() -> None:
    text = "evt.dir = < and not (proc.nam = a or fd.num = x) and nomacro and fd.sport in (y, z)"
    result = checked(text)
    assert result.node is None
    assert [text[problem.start : problem.end] for problem in result.problems] == [
        "<",
        "proc.nam",
        "x",
        "nomacro",
        "y",
        "z",
    ]
    assert [problem.unknown_field for problem in result.problems] == [False, True, False, False, False, False]


def test_many_problems_end_in_one_that_says_so() -> None:
    result = checked(" or ".join(["nomacro"] * 5000))
    assert len(result.problems) == MAX_PROBLEMS + 1
    assert "more problems" in result.problems[-1].message
    assert checked(" or ".join(["evt.dir = <"] * 5000)).node is not None


def test_used_macros_and_lists_are_told() -> None:
    a = node_of("proc.name in (shells)")
    result = checked("a and b or proc.name in (one, 'shells') or fd.snet in networks or proc.name = shells", {"a": a})
    assert result.macros == {"a", "b"}
    assert result.lists == {"one", "networks", "shells"}


def test_macros_and_lists_are_shared_not_copied() -> None:
    a = node_of("proc.name = x or proc.name = y")
    node = node_of("a and not a", {"a": a})
    assert isinstance(node, And)
    assert node.operands[0] is a
    assert isinstance(node.operands[1], Not)
    assert node.operands[1].operand is a
    both = node_of("proc.name in (shells) or proc.name in (shells)")
    assert isinstance(both, Or)
    first, second = both.operands
    assert isinstance(first, Atom)
    assert isinstance(second, Atom)
    assert first.right is second.right


def test_macros_that_multiply_are_an_error_not_an_explosion() -> None:
    macros = {"m0": node_of("proc.name = a")}
    for level in range(1, 100):
        result = checked(f"m{level - 1} and (m{level - 1} or m{level - 1})", macros)
        if result.node is None:
            break
        macros[f"m{level}"] = result.node
    assert 10 < level < 20
    assert f"more than {MAX_SIZE} parts" in result.problems[0].message


def test_the_size_of_an_enormous_condition_is_computed_without_expanding_it() -> None:
    node = node_of("proc.name = a")
    for _ in range(300):
        node = And((node, node))
    assert measure(node) == (MAX_SIZE + 1, 301)
    assert checked("m", {"m": node}).node is None


def test_macros_within_macros_are_bounded_in_depth() -> None:
    macros = {"m0": node_of("proc.name = a")}
    for level in range(1, MAX_DEPTH):
        macros[f"m{level}"] = node_of(f"not m{level - 1}", macros)
    deepest = MAX_DEPTH - 1
    assert checked(f"proc.name = a or m{deepest - 1}", macros).node is not None
    result = checked(f"not m{deepest}", macros)
    assert result.node is None
    assert "levels deep" in result.problems[0].message
    node: Node = macros["m0"]
    for _ in range(100_000):
        node = Not(node)
    assert checked("m", {"m": node}).node is None


def test_lists_that_multiply_are_an_error_not_an_explosion() -> None:
    items = {"big": tuple(f"i{number}" for number in range(2000))}
    text = " or ".join(["proc.name in (big, x)"] * 40_000)
    result = check(parse(text), macros={}, lists=items)
    assert result.node is None
    assert f"more than {MAX_SIZE} values" in result.problems[0].message


def test_wide_conditions_check() -> None:
    node = node_of(" or ".join(f"proc.name = p{number}" for number in range(10_000)))
    assert isinstance(node, Or)
    assert len(node.operands) == 10_000


@pytest.mark.stock
@pytest.mark.skipif(not STOCK.is_dir(), reason="the stock Falco rules are not beside the checkout")
@pytest.mark.parametrize("file", ["falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml"])
def test_stock_conditions_of_system_calls_check(file: str) -> None:
    items = yaml.safe_load((STOCK / file).read_text(encoding="utf-8"))
    macros: dict[str, Node] = {}
    lists: dict[str, tuple[str, ...]] = {}
    for item in items:
        if "list" in item:
            flat: list[str] = []
            for entry in item["items"]:
                flat.extend(lists.get(str(entry), (str(entry),)))
            lists[item["list"]] = tuple(flat)
    for kind in ("macro", "rule"):
        for item in items:
            if kind in item:
                result = check(parse(item["condition"]), macros=macros, lists=lists)
                assert result.node is not None, (item, result.problems)
                assert {problem.code for problem in result.problems} <= {"LOAD_UNSAFE_NA_CHECK"}
                if kind == "macro":
                    macros[item["macro"]] = result.node


def test_the_glob_in_a_fields_argument_is_checked_as_others_are() -> None:
    assert checked("container.mount.dest[/var/*] exists").node is not None
    assert checked("container.mount[12] exists").node is not None
    (problem,) = checked(f"container.mount[{'?' * 20_000}] exists").problems
    assert problem.message.startswith("the argument of container.mount can't be used as a glob: it needs more than")
    (problem,) = checked(f"container.mount[{'9' * 5000}] exists").problems
    assert problem.message.startswith("container.mount takes a number from 0 as its argument, not")
