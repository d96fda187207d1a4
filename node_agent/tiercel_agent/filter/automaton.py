"""Patterns over bytes as one deterministic automaton, which finds those of thousands of patterns that hold of a value,
with one table look-up for each byte.

A state of the automaton has three parts. Patterns that begin with a literal form a trie, and the first part is the node
that was reached in it. The second part is the set of positions in patterns that may go on from here, kept as the bits
of an integer (Shift-And): positions behind a pattern's first literal, and in patterns that begin with a gap or ignore
case. The third part, the context, is the set of patterns that hold whatever follows, such as ``/etc/`` and anything.

The states multiply where patterns can hold independently of each other: k patterns of ``*literal*`` have up to 2**k
outcomes, and each prefix among the patterns repeats all of them. So there is a budget of states. It is spent on the
likely values first: the trie, and values for which no pattern with a gap holds yet; then those for which one does, then
two. Values that lead beyond the budget have the result UNKNOWN.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Gap(Enum):
    """An element that stands for any number of bytes, also for none. ``NAME`` doesn't match a slash."""

    ANY = "**"
    NAME = "*"


ANY: Final = Gap.ANY
NAME: Final = Gap.NAME

UNKNOWN: Final = 0
"""The accept number of the state in which it is unknown which patterns hold."""

_SLASH = ord("/")
_OUTSIDE = -1
# Bounds time and memory where patterns with thousands of gaps make each state large.
_MOST_BITS = 1 << 29


@dataclass(frozen=True, slots=True)
class Pattern:
    """Literals and gaps that must match the whole value, in their order. Without elements, it matches the empty value.

    ``ignore_case``: the literals' ASCII letters match both cases.
    """

    elements: tuple[bytes | Gap, ...]
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class Automaton:
    """A table-driven automaton. State 0 is the start.

    ``classes``: the column of each byte. Column 0 belongs to NUL alone, with which values are padded; it changes no
    state. ``transitions``: the next state, at ``state * columns + column``. ``accepts``: for each state its accept
    number, the index in ``accept_sets`` of the patterns that hold of a value that ends in this state. ``accept_sets``:
    sets of indices of patterns, each set once; None at ``UNKNOWN`` and only there. ``settled``: for each state, 1 if no
    byte leads out of it, so that the rest of the value need not be read.
    """

    classes: bytes
    columns: int
    transitions: array[int]
    accepts: array[int]
    accept_sets: tuple[frozenset[int] | None, ...]
    settled: bytes

    @property
    def states(self) -> int:
        """How many states there are. The unknown state is counted too and is the last one, if the budget wasn't
        enough."""
        return len(self.accepts)

    @property
    def complete(self) -> bool:
        """Whether every value has a known answer."""
        return self.accepts[-1] != UNKNOWN

    def accept(self, text: bytes) -> int:
        """The accept number for a value. The kernel's run of the table must give the same."""
        state = 0
        for column in text.translate(self.classes):
            state = self.transitions[state * self.columns + column]
        return self.accepts[state]


def build(patterns: Sequence[Pattern], *, most_states: int) -> Automaton:
    """The automaton of some patterns, with at most ``most_states`` states (2 or more), the unknown one included.

    There are fewer if the patterns that have gaps or ignore case are many thousands of bytes long together. Raises
    ValueError for a budget of less than 2.
    """
    if most_states < 2:
        raise ValueError(f"an automaton needs 2 states or more, not {most_states}")
    classes, columns = _byte_classes(patterns)
    positions = _Positions(classes)
    trie = _Trie()
    for index, pattern in enumerate(patterns):
        elements = _joined(pattern.elements)
        if any(isinstance(element, bytes) and 0 in element for element in elements):
            continue  # values have no NUL: it never holds
        if not elements:
            trie.exact.setdefault(0, []).append(index)
        elif pattern.ignore_case or isinstance(elements[0], Gap):
            positions.initial |= positions.add(index, elements, pattern.ignore_case)
        else:
            node = trie.add(elements[0].translate(classes))
            rest = elements[1:]
            if not rest:
                trie.exact.setdefault(node, []).append(index)
            elif ANY in rest and all(isinstance(element, Gap) for element in rest):
                trie.held.setdefault(node, []).append(index)
            else:
                trie.begun[node] = trie.begun.get(node, 0) | positions.add(index, rest, ignore_case=False)
    exploration = _Exploration(trie, positions, columns, most_states - 1)
    exploration.run()
    return exploration.automaton(classes)


def _byte_classes(patterns: Sequence[Pattern]) -> tuple[bytes, int]:
    """The column of each byte, and how many columns there are. Bytes that no pattern distinguishes share a column."""
    exact: set[int] = set()
    either_case: set[int] = set()
    for pattern in patterns:
        for element in pattern.elements:
            if element is NAME:
                exact.add(_SLASH)
            elif isinstance(element, bytes) and pattern.ignore_case:
                either_case.update(element.lower())
            elif isinstance(element, bytes):
                exact.update(element)
    columns: dict[object, int] = {"NUL": 0}
    classes = bytearray(256)
    for byte in range(1, 256):
        lower = bytes((byte,)).lower()[0]
        behaviour = (byte if byte in exact else 0, lower if lower in either_case else 0)
        classes[byte] = columns.setdefault(behaviour, len(columns))
    return bytes(classes), len(columns)


def _joined(elements: tuple[bytes | Gap, ...]) -> tuple[bytes | Gap, ...]:
    """The elements with neighbouring literals joined, and without empty ones."""
    joined: list[bytes | Gap] = []
    for element in elements:
        if isinstance(element, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += element
        elif element != b"":
            joined.append(element)
    return tuple(joined)


class _Trie:
    """The first literals of patterns. Nodes are numbers, 0 the root; edges are columns of bytes."""

    def __init__(self) -> None:
        self.children: list[dict[int, int]] = [{}]
        self.exact: dict[int, list[int]] = {}
        """By node: the patterns that consist only of the literal that ends there."""
        self.held: dict[int, list[int]] = {}
        """By node: the patterns that hold from there on, whatever follows."""
        self.begun: dict[int, int] = {}
        """By node: the positions, as bits, at which other patterns go on."""

    def add(self, columns: bytes) -> int:
        """The node of a literal, given as its bytes' columns."""
        node = 0
        children = self.children
        for column in columns:
            after = children[node].get(column)
            if after is None:
                after = children[node][column] = len(children)
                children.append({})
            node = after
        return node


class _Positions:
    """The positions in all patterns, numbered consecutively; each is one bit. There is one before each byte of a
    literal, one at each gap, and one at the end of each pattern."""

    def __init__(self, classes: bytes) -> None:
        self._classes = classes
        self.slash = classes[_SLASH]
        self.wanted: list[bytes] = []
        """By position: the columns that lead to the next one."""
        self.initial = 0
        """Where patterns that aren't in the trie begin."""
        self.any_loops = 0
        self.name_loops = 0
        """The positions at a gap, which stay active after a byte: any byte, or any but a slash."""
        self.later_loops = 0
        """The loops that aren't at a pattern's first position. They multiply the states, each independently."""
        self.passed: dict[int, int] = {}
        """By position of an ANY loop: how many positions of its pattern are before it. Once the loop is reached, they
        needn't be kept, since all that could follow them to make the pattern hold can follow the loop too."""
        self.ends = 0
        self.owners: dict[int, int] = {}
        """By position in ``ends``: the index of its pattern."""

    def add(self, index: int, elements: tuple[bytes | Gap, ...], ignore_case: bool) -> int:
        """Numbers the positions of a pattern. Returns the bit of the first one."""
        first = len(self.wanted)
        for element in elements:
            if isinstance(element, bytes):
                lower, upper = (element.lower(), element.upper()) if ignore_case else (element, element)
                columns = zip(lower.translate(self._classes), upper.translate(self._classes), strict=True)
                self.wanted += [bytes({*either}) for either in columns]
                continue
            position = len(self.wanted)
            if element is ANY:
                self.any_loops |= 1 << position
                self.passed[position] = position - first
            else:
                self.name_loops |= 1 << position
            if position != first:
                self.later_loops |= 1 << position
        self.owners[len(self.wanted)] = index
        self.ends |= 1 << len(self.wanted)
        self.wanted.append(b"")
        return 1 << first

    def expecting(self, columns: int) -> list[int]:
        """By column: the positions that a byte of this column advances."""
        # Setting single bits of a large integer would take quadratic time.
        masks = [bytearray(len(self.wanted) // 8 + 1) for _ in range(columns)]
        for position, wanted in enumerate(self.wanted):
            for column in wanted:
                masks[column][position >> 3] |= 1 << (position & 7)
        return [int.from_bytes(mask, "little") for mask in masks]


def _bits(mask: int) -> Iterator[int]:
    """The positions in a mask."""
    while mask:
        bit = mask & -mask
        yield bit.bit_length() - 1
        mask ^= bit


class _Exploration:
    """The search for all states that can be reached. They are numbered in the order in which they are discovered;
    number 0 is the unknown state.

    A state in a queue is its number, its context, its active positions and its node in the trie, or ``_OUTSIDE``. All
    data are tuples, dicts and arrays of numbers, since the garbage collector would take very long for other objects.
    """

    def __init__(self, trie: _Trie, positions: _Positions, columns: int, most: int) -> None:
        self._trie = trie
        self._positions = positions
        self._columns = columns
        self._most = min(most, _MOST_BITS // (len(positions.wanted) + 1))
        self._expecting = positions.expecting(columns)
        self._slash = positions.slash
        self._loops = positions.any_loops | positions.name_loops
        self._contexts: list[frozenset[int]] = [frozenset()]
        # By context: the states outside of the trie, by their active positions.
        self._numbers: list[dict[bytes, int]] = [{}]
        self._width = len(positions.wanted) // 8 + 1
        self._found = 1
        self._overflow = False
        self._level = 0
        self._levels: list[list[tuple[int, int, int, int]]] = []
        # The transitions of states that have only active loops, by context and loops. Other states differ little.
        self._bases: dict[tuple[int, int], array[int]] = {}
        self._accept_numbers: dict[tuple[int, int], int] = {}
        self._accept_sets: dict[frozenset[int], int] = {}
        # The explored states: their numbers, and for each the base row, the columns that differ, and the accept number.
        self._explored: list[int] = []
        self._rows: list[array[int]] = []
        self._changes: list[dict[int, int]] = []
        self._accepts: list[int] = []

    def run(self) -> None:
        self._inside(0, self._positions.initial, 0)
        # Both lists grow during these loops.
        for level, queue in enumerate(self._levels):
            self._level = level
            for number, context, active, node in queue:
                if len(self._explored) == self._most:
                    return
                self._explored.append(number)
                self._explore(context, active, node)
                self._accepts.append(self._accept(context, active & self._positions.ends, node))

    def _explore(self, context: int, active: int, node: int) -> None:
        loops = active & self._loops
        self._rows.append(self._base(context, loops))
        children = self._trie.children[node] if node != _OUTSIDE else {}
        changes: dict[int, int] = {}
        for column in self._wanted(active ^ loops):
            if column not in children:
                changes[column] = self._outside(context, self._after(active, column))
        for column, child in children.items():
            changes[column] = self._inside(context, self._after(active, column), child)
        self._changes.append(changes)

    def _wanted(self, active: int) -> Iterable[int]:
        """The columns that advance at least one of these positions."""
        if not active:
            return ()
        if active.bit_count() * 4 > self._columns:
            return [column for column, expecting in enumerate(self._expecting) if active & expecting]
        return {column for position in _bits(active) for column in self._positions.wanted[position]}

    def _after(self, active: int, column: int) -> int:
        """The active positions after a byte of a column."""
        any_loops = self._positions.any_loops
        kept = active & (any_loops if column == self._slash else self._loops)
        after = (active & self._expecting[column]) << 1 | kept
        reached = after & any_loops & ~active
        if reached:
            for position in _bits(reached):
                bit = 1 << position
                after &= ~(bit - (bit >> self._positions.passed[position]))
        return after

    def _inside(self, context: int, active: int, node: int) -> int:
        """The number of a new state at a node of the trie, such as the start."""
        held = self._trie.held.get(node)
        if held:
            self._contexts.append(self._contexts[context].union(held))
            self._numbers.append({})
            context = len(self._contexts) - 1
        active |= self._trie.begun.get(node, 0)
        if not self._trie.children[node] and node not in self._trie.exact:
            return self._outside(context, active)
        return self._queued(0, context, active, node)

    def _outside(self, context: int, active: int) -> int:
        """The number of a state outside of the trie, whether it is new or not."""
        # Not the integer itself: its hash is a remainder, which is the same for bits that are 61 apart.
        key = active.to_bytes(self._width, "little")
        number = self._numbers[context].get(key, 0)
        if not number:
            # A context counts once, since prefixes of each other don't multiply the states.
            level = (context != 0) + (active & self._positions.later_loops).bit_count()
            number = self._queued(max(level, self._level), context, active, _OUTSIDE)
            if number:
                self._numbers[context][key] = number
        return number

    def _queued(self, level: int, context: int, active: int, node: int) -> int:
        """The number of a new state, which will be explored with its level. It is that of the unknown state if the
        budget can't reach this one."""
        while len(self._levels) <= level:
            self._levels.append([])
        if sum(map(len, self._levels[: level + 1])) >= self._most:
            self._overflow = True
            return 0
        number = self._found
        self._found += 1
        self._levels[level].append((number, context, active, node))
        return number

    def _base(self, context: int, loops: int) -> array[int]:
        row = self._bases.get((context, loops))
        if row is None:
            row = self._bases[context, loops] = array("I", (self._outside(context, loops),)) * self._columns
            for column, expecting in enumerate(self._expecting):
                if loops & expecting or column == self._slash:
                    row[column] = self._outside(context, self._after(loops, column))
        return row

    def _accept(self, context: int, ends: int, node: int) -> int:
        exact = self._trie.exact.get(node)
        number = None if exact else self._accept_numbers.get((context, ends))
        if number is None:
            owners = self._positions.owners
            holding = self._contexts[context].union(exact or (), (owners[position] for position in _bits(ends)))
            number = self._accept_sets.setdefault(holding, len(self._accept_sets) + 1)
            if not exact:
                self._accept_numbers[context, ends] = number
        return number

    def automaton(self, classes: bytes) -> Automaton:
        """The automaton of what has been explored; the rest is one unknown state. As the last step, it renumbers the
        states."""
        unknown = len(self._explored)
        final = [unknown] * self._found
        order = sorted(range(unknown), key=self._explored.__getitem__)
        for state, place in enumerate(order):
            final[self._explored[place]] = state
        for row in self._bases.values():
            row[:] = array("I", map(final.__getitem__, row))
        transitions, accepts, settled = array("I"), array("I"), bytearray()
        for state, place in enumerate(order):
            row = self._rows[place][:]
            row[0] = state
            for column, after in self._changes[place].items():
                row[column] = final[after]
            transitions.extend(row)
            accepts.append(self._accepts[place])
            settled.append(row[-1] == state and row.count(state) == self._columns)
        if self._overflow or self._found > unknown + 1:
            transitions.extend((unknown,) * self._columns)
            accepts.append(UNKNOWN)
            settled.append(True)
        return Automaton(classes, self._columns, transitions, accepts, (None, *self._accept_sets), bytes(settled))
