"""Lists as the conditions that name them get them: read as constants once, and shared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tiercel_engine.condition import Constant, FieldOperand, ListConstants, Operator, Quantifier, Transformed
from tiercel_engine.fields import FieldType
from tiercel_engine.language.constants import ConstantError, read_constant
from tiercel_engine.language.errors import ConditionError
from tiercel_engine.language.lexer import Lexer, shown
from tiercel_engine.language.suspicions import Suspicion, suspicions

SHARED_FROM = 16
"""Lists of more items than this are shared. The constants of shorter ones are joined with others of the same
comparison, which is quicker to evaluate."""
MAX_JOINED = 200_000
"""The most constants of lists that are copied, for all conditions together."""
MAX_PATTERNS = 20_000
"""The most globs and regular expressions, for all conditions together. Those of a list count once for each operator."""

MAX_TRIED = 100_000
"""The most constants that are tried one after the other, as for ``contains anyof``, for all conditions together."""

_TEXTS = (FieldType.STRING, FieldType.FLAGS)
_PATTERNS = (Operator.GLOB, Operator.IGLOB, Operator.REGEX)
_SPECIAL = frozenset("*?[")
_AS_A_SET = (Operator.EQ, Operator.STARTSWITH, Operator.ENDSWITH)


class NamedLists(Mapping[str, tuple[str, ...]]):
    """The items of each list, with inner lists already replaced. What was read of a list for one condition is kept for
    the next. An item in quotes stands for the text in the quotes, as it does in a condition."""

    def __init__(self, items: Mapping[str, tuple[str, ...]]) -> None:
        self._items = items
        self._texts: dict[str, tuple[Constant, ...]] = {}
        self._read: dict[tuple[str, FieldType, Operator], tuple[Constant, ...] | ConstantError] = {}
        self._suspicions: dict[tuple[str, str, Operator], tuple[Suspicion, ...]] = {}
        self._joined = 0
        self._patterns = 0
        self._tried = 0

    def __getitem__(self, name: str) -> tuple[str, ...]:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def constants(self, name: str, type_: FieldType, operator: Operator) -> tuple[Constant, ...]:
        """The constants of a list. Raises ConstantError."""
        key = name, type_, operator
        if key not in self._read:
            self._read[key] = self._reading(name, type_, operator)
        read = self._read[key]
        if isinstance(read, ConstantError):
            raise ConstantError(read.message, read.hint)
        return read

    def _reading(self, name: str, type_: FieldType, operator: Operator) -> tuple[Constant, ...] | ConstantError:
        if name not in self._texts:
            self._texts[name] = _shared([_unquoted(item) for item in self._items[name]])
        texts = self._texts[name]
        try:
            self.count_patterns(texts, operator)
            read = [read_constant(str(text), type_, operator) for text in texts]
        except ConstantError as error:
            return ConstantError(f"in list {shown(name)}: {error.message}", error.hint)
        return texts if type_ in _TEXTS else _shared(read)  # texts stand for themselves, whatever the operator is

    def count_patterns(self, texts: Sequence[Constant], operator: Operator) -> None:
        """Counts those of the texts that become patterns. Raises ConstantError if there are too many by now."""
        if operator in _PATTERNS:
            count = len(texts)
        elif operator is Operator.PMATCH:
            count = sum(not _SPECIAL.isdisjoint(str(text)) for text in texts)
        else:
            return
        if self._patterns + count > MAX_PATTERNS:
            raise ConstantError(f"the conditions have more than {MAX_PATTERNS} globs and regular expressions together")
        self._patterns += count

    def count_tried(self, count: int, operator: Operator, quantifier: Quantifier | None) -> None:
        """Counts the constants of a comparison that are tried one after the other. Raises ConstantError if there are
        too many by now."""
        if quantifier is None or (quantifier is Quantifier.ANY_OF and operator in _AS_A_SET):
            return
        if self._tried + count > MAX_TRIED:
            raise ConstantError(
                f"the conditions have more than {MAX_TRIED} values of lists that are tried one after the other",
                "`in`, `startswith anyof`, `endswith anyof` and `pmatch` look all values up at once",
            )
        self._tried += count

    def suspicions(
        self, name: str, left: FieldOperand | Transformed, operator: Operator, constants: tuple[Constant, ...]
    ) -> tuple[Suspicion, ...]:
        """The warnings about a comparison with a list's constants."""
        key = name, left.field.name if isinstance(left, FieldOperand) else "", operator
        if key not in self._suspicions:
            self._suspicions[key] = tuple(suspicions(left, operator, constants))
        return self._suspicions[key]

    def joined(self, parts: Sequence[tuple[Constant, ...]]) -> tuple[Constant, ...]:
        """The constants of several words as those of one comparison. Raises ConstantError if too many are copied."""
        copied = sum(len(part) for part in parts if len(part) > 1)
        if self._joined + copied > MAX_JOINED:
            raise ConstantError(
                f"the conditions have more than {MAX_JOINED} values of lists that can't be shared",
                "compare with a list alone, and with other values in another comparison",
            )
        self._joined += copied
        return tuple([constant for part in parts for constant in part])


def _shared(constants: Sequence[Constant]) -> tuple[Constant, ...]:
    return ListConstants(constants) if len(constants) > SHARED_FROM else tuple(constants)


def _unquoted(item: str) -> str:
    """The value of a list item: ``"a b"`` with its quotes stands for ``a b``."""
    if len(item) > 1 and item[0] in "\"'" and item[-1] == item[0]:
        lexer = Lexer(item)
        try:
            word = lexer.quoted()
        except ConditionError:
            return item
        if word is not None and lexer.at_end():
            return word.text
    return item
