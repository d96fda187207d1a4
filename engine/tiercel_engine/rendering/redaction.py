"""Masks secrets in command lines and environments: each is replaced by ``***`` before an alert shows it.

Secrets are recognised by the name before them (options, variables, headers, options of certain programs, URLs) or by
their own form. If it is not clear where a secret ends, the whole word is masked, so that no half of a secret is shown.
More than one word is masked only within quotes that are closed, so that a single stray quote does not hide the rest of
a command.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import re2

from tiercel_engine.event import Value

_MASK = b"***"

# The words of command lines are joined by spaces, those of environments and of our own lists by NUL.
_SPACE = r"[\s\v\x00]"
_WORD = r"[^\s\v\x00]"
# A quote followed by a space closes a quotation rather than opening one: grep "password=" file "other file".
_QUOTED = r'"(?:[^\s\v\x00"\\]|\\[^\x00])(?:[^\x00"\\]|\\[^\x00])*"|' + r"'[^\s\v\x00'][^\x00']*'"
_VALUE = rf"((?:{_QUOTED})?{_WORD}*)"
_SOME_VALUE = rf"((?:{_QUOTED}|{_WORD}){_WORD}*)"
# After a space, because an option is not the value of the option before it.
_NEXT_VALUE = rf"((?:{_QUOTED}|[^\s\v\x00-]){_WORD}*)"

_OPTION = r"(?:passw(?:or)?d|passphrase|secret|token|(?:api|access|account|secret)[_-]?key)"
_NAME = rf"(?:{_OPTION}|private_?key|credential)"
_ASSIGNED = rf"(?:{_NAME}[\w.]*|(?:\b|_)pass|_pwd|_auth)"
_PROGRAM = r"(?:^|[^\w.-])"
# A pipe or && ends the arguments of a program. A semicolon doesn't: it may be part of one (SQL).
_ARGUMENTS = rf"(?:{_SPACE}[^|&]*?)?{_SPACE}"
_REGISTRY_CLIENT = r"(?:docker|podman|nerdctl|ctr|kubectl|oc|helm|buildah|skopeo|oras|crane|regctl)"
_USER = r"""(?:"[^\s\v\x00:"]*:([^\x00"]+)"|'[^\s\v\x00:']*:([^\x00']+)'|["']?[^\s\v\x00:"']*:""" + _VALUE + ")"

# The secret is the group that matched. A match without a group protects the text that it covers.
# The patterns are applied one after the other, each to the result of the ones before. Forms come last: they could
# take the name of an assignment for their own end. Each pattern takes linear time for all its matches together: a
# failing attempt never extends beyond a match inside it, because then each match would repeat that attempt.
_PATTERNS = (
    # Variables, options with =, properties (-Da.password=), query parameters.
    rf"(?i){_NAME}[\w.]*(?:file|path|dir|authentication)="
    rf"|[?&][\w.-]*{_ASSIGNED}=([^&\s\v\x00]*)"
    rf"|{_ASSIGNED}={_VALUE}",
    # Options with a space. psql's --no-password takes no value. No option starts after *, the end of a mask.
    rf"(?i)--no-[\w-]+|(?:--(?:[\w-]*{_OPTION}|(?:[\w-]*-)?pass)"
    rf"|(?:^|[^\w*-])-(?:(?:\w+-)*(?:{_OPTION}|pass)|storepass|keypass)){_SPACE}+{_NEXT_VALUE}",
    # JSON, also within quotes of a shell.
    rf"(?i){_NAME}[\w.-]*"
    r'(?:"\s*:\s*"((?:[^\x00"\\]|\\[^\x00])+)"'
    r"|'\s*:\s*'([^\x00']+)'"
    r'|\\"\s*:\s*\\"((?:[^\x00"\\]|\\[^\x00"])+))',
    # Headers. A colon without a space may also be a volume: -v api-token:/token.
    rf"""(?i)authorization(?:\\?["'])?{_SPACE}*[:=]{_SPACE}*(?:\\?["'])?"""
    rf"(?:(?:basic|bearer|token|digest|negotiate|ntlm|apikey|aws4-hmac-sha256){_SPACE}+)?{_VALUE}",
    rf"(?i)(?:^|[^\w/.-])(?:x-(?:\w+-)*(?:api-?key|key|token|secret|password|auth){_SPACE}*:{_SPACE}*"
    rf"|(?:\w+-)+(?:api-?key|key|token|secret|password|auth){_SPACE}*:{_SPACE}+"
    rf"|apikey:{_SPACE}+){_VALUE}",
    # URLs; openssl's -passin pass:x.
    r"""://[^\s\v\x00/?#@:"']*:([^\s\v\x00/?#"']*)@""",
    rf"\bpass:{_VALUE}",
    # Options that hold a secret for certain programs only.
    rf"{_PROGRAM}(?:mysql\w*|mariadb[\w-]*){_ARGUMENTS}-p{_SOME_VALUE}",
    rf"{_PROGRAM}sshpass{_SPACE}+(?:-v{_SPACE}+|-P{_SPACE}*{_WORD}+{_SPACE}+)*-p{_SPACE}*{_VALUE}",
    rf"{_PROGRAM}redis-cli{_ARGUMENTS}-a{_SPACE}+{_VALUE}",
    rf"{_PROGRAM}(?:curl|ctr{_ARGUMENTS}(?:pull|push|fetch)){_ARGUMENTS}"
    rf"(?:-[a-zA-Z]*[uU]{_SPACE}*|--(?:proxy-)?user(?:=|{_SPACE}+)){_USER}",
    rf"{_PROGRAM}{_REGISTRY_CLIENT}{_ARGUMENTS}login{_ARGUMENTS}-p(?:=|{_SPACE}*){_NEXT_VALUE}",
    # Forms of secrets; the part that says what kind of secret it is stays.
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----((?:[^\x00-]|-[^\x00-])*)",
    r"\b(?:AKIA|ASIA)([A-Z0-9]{16})\b"
    r"|gh[pousr]_([A-Za-z0-9]{20,})"
    r"|github_pat_(\w{20,})"
    r"|glpat-([\w-]{16,})"
    r"|(?:xox[a-z]|xapp)-([\w-]{15,})"
    r"|\b[sr]k_(?:live|test)_(\w{12,})"
    r"|AIza([\w-]{30,})"
    r"|npm_([A-Za-z0-9]{30,})",
    r"""hooks\.slack\.com/(?:services|workflows|triggers)/([^\s\v\x00"']+)""",
    r"\beyJ([\w-]+\.eyJ[\w-]+\.[\w-]*)",
)
_TRIGGER = (
    r"(?i)passw|passphrase|pass[=:\s\v\x00]|_pwd=|_auth=|secret|token|key|credential|authorization|-auth|://|"
    r"mysql|mariadb|sshpass|redis-cli|curl|ctr|login|AKIA|ASIA|gh[pousr]_|github_pat_|glpat-|xox[a-z]-|xapp-|"
    r"k_live_|k_test_|AIza|npm_|hooks\.slack|eyJ"
)
# A shorter text without one of these cannot hold a name and a secret, nor a secret of a known form.
_SEPARATOR = re.compile(r"[\s\v\0=:@]")
_SHORT = 20

_CLOSING = b"\"'`;,)]}\\"
# Words that appear in the place of a value and are not secrets.
_NO_VALUES = {b"true", b"false", b"yes", b"no", b"|", b"||", b"&", b"&&", b">", b">>", b"<"}


def _options() -> Any:
    """RE2 reads the text as single bytes. All characters at the ends of a secret are ASCII, so none is cut."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    return options


def _replacer(pattern: str) -> Callable[[bytes], bytes]:
    expression = re2.compile(pattern.encode(), _options())
    groups = range(1, expression.groups + 1)

    def replace(data: bytes) -> bytes:
        parts: list[bytes] = []
        kept = 0
        for match in expression.finditer(data):
            start, end = next((match.span(group) for group in groups if match.start(group) >= 0), (0, 0))
            end = _end(data, start, end)
            if start < end:
                parts += data[kept:start], _MASK
                kept = end
        return b"".join((*parts, data[kept:])) if parts else data

    return replace


def _end(data: bytes, start: int, end: int) -> int:
    """The end of a value, without closing quotes and brackets around it; ``start`` if it is not a value."""
    value = data[start:end]
    bare = value.rstrip(_CLOSING)
    if not bare or bare.lower() in _NO_VALUES:
        return start
    # Quotes that belong to the value are masked with it.
    return end if value[0] in b"\"'" else start + len(bare)


_REPLACERS = tuple(map(_replacer, _PATTERNS))
_triggered = re2.compile(_TRIGGER.encode(), _options()).search


def redact(text: str) -> str:
    """The text with ``***`` in place of each secret; the names before them stay. The same object if there is none."""
    if len(text) < _SHORT and _SEPARATOR.search(text) is None:
        return text
    # Surrogate escapes and other lone surrogates become bytes that can be decoded again.
    data = text.encode("utf-8", "surrogatepass")
    if _triggered(data) is None:
        return text
    result = data
    for replace in _REPLACERS:
        result = replace(result)
    return text if result == data else result.decode("utf-8", "surrogatepass")


def redacted(value: Value | None) -> Value | None:
    """The value with its secrets masked. In a list, the secret of an option may be the next member."""
    if isinstance(value, str):
        return redact(value)
    if not isinstance(value, list):
        return value
    texts = [member for member in value if isinstance(member, str)]
    if not texts or len(texts) < len(value):
        return value
    if any("\0" in member for member in texts):
        return [redact(member) for member in texts]
    return redact("\0".join(texts)).split("\0")
