"""What is redacted and what stays, and that no text breaks it."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tiercel_engine.rendering.redaction import redact, redacted

# Put together here, so that no scanner takes this file for a leak.
GITHUB = "ghp_" + "a1B2" * 9
JWT = ".".join(("eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxIn0", "c2lnbmF0dXJl_-x"))
PEM = "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----"

REDACTED = [
    # Options.
    ("app --password=x", "app --password=***"),
    ("app --password x --v", "app --password *** --v"),
    ("app -password x", "app -password ***"),
    ("app --passwd x -v", "app --passwd *** -v"),
    ("app --token=x --secret y", "app --token=*** --secret ***"),
    ("app --api-key x --apikey=x", "app --api-key *** --apikey=***"),
    ("app --access-key=x --client-secret x", "app --access-key=*** --client-secret ***"),
    ("app -client-secret=x", "app -client-secret=***"),
    ("app --db-password x", "app --db-password ***"),
    ("app --secret-key x", "app --secret-key ***"),
    ("keytool -storepass x -list", "keytool -storepass *** -list"),
    ("app --PASSWORD=x", "app --PASSWORD=***"),
    ("app --password='a b' c", "app --password=*** c"),
    ('app --password="a \\" b" c', "app --password=*** c"),
    ("app --password 'a b' c", "app --password *** c"),
    ("sh -c 'app --password=x' y", "sh -c 'app --password=***' y"),
    ('sh -c "app --password x" y', 'sh -c "app --password ***" y'),
    ("app --password=it's here", "app --password=*** here"),
    ('app --password="open end', "app --password=*** end"),
    ("app --password=a;b&c|d e", "app --password=*** e"),
    ("app --password=a=b", "app --password=***"),
    # Programs.
    ("mysql -u root -phunter2 db", "mysql -u root -p*** db"),
    ("mysql -uroot -psecret db", "mysql -uroot -p*** db"),
    ("/usr/bin/mysqldump -h db -phunter2 --all", "/usr/bin/mysqldump -h db -p*** --all"),
    ("mariadb -phunter2", "mariadb -p***"),
    ("mysql -e select 1; select 2 -phunter2", "mysql -e select 1; select 2 -p***"),
    ("sshpass -p hunter2 ssh -p 22 h", "sshpass -p *** ssh -p 22 h"),
    ("sshpass -phunter2 ssh h", "sshpass -p*** ssh h"),
    ("sshpass -v -P prompt -p hunter2 ssh h", "sshpass -v -P prompt -p *** ssh h"),
    ("curl -u bob:hunter2 https://h", "curl -u bob:*** https://h"),
    ("curl -ubob:hunter2 https://h", "curl -ubob:*** https://h"),
    ("curl -sSu bob:hunter2 https://h", "curl -sSu bob:*** https://h"),
    ("curl --user bob:hunter2 https://h", "curl --user bob:*** https://h"),
    ("curl --proxy-user=bob:hunter2 https://h", "curl --proxy-user=bob:*** https://h"),
    ("curl -u 'bob:a b' https://h", "curl -u 'bob:***' https://h"),
    ("ctr image pull -u bob:hunter2 i", "ctr image pull -u bob:*** i"),
    ("redis-cli -h r -a hunter2 ping", "redis-cli -h r -a *** ping"),
    ("docker login -u bob -p hunter2 reg", "docker login -u bob -p *** reg"),
    ("docker login -u bob -phunter2 reg", "docker login -u bob -p*** reg"),
    ("kubectl login -p hunter2", "kubectl login -p ***"),
    ("ctr login -p hunter2", "ctr login -p ***"),
    ("openssl rsa -passin pass:hunter2 -in k", "openssl rsa -passin pass:*** -in k"),
    # Environments and properties.
    ("DB_PASSWORD=x", "DB_PASSWORD=***"),
    ("A=1 PGPASSWORD=x B=2", "A=1 PGPASSWORD=*** B=2"),
    ("A=1\0MYSQL_ROOT_PASSWD=x\0B=2", "A=1\0MYSQL_ROOT_PASSWD=***\0B=2"),
    ("MYSQL_PWD=x", "MYSQL_PWD=***"),
    ("DB_PASS=x", "DB_PASS=***"),
    ("SECRET_KEY_BASE=x", "SECRET_KEY_BASE=***"),
    ("AWS_SECRET_ACCESS_KEY=x/y+z", "AWS_SECRET_ACCESS_KEY=***"),
    ("API_KEY=x APIKEY=y", "API_KEY=*** APIKEY=***"),
    ("SSH_PRIVATE_KEY=x", "SSH_PRIVATE_KEY=***"),
    ("GOOGLE_CREDENTIALS=x", "GOOGLE_CREDENTIALS=***"),
    ("github_token=x", "github_token=***"),
    ("env TOKEN='a b' cmd", "env TOKEN=*** cmd"),
    ("java -Dspring.datasource.password=x App", "java -Dspring.datasource.password=*** App"),
    (
        "kubectl create secret generic n --from-literal=password=x",
        "kubectl create secret generic n --from-literal=password=***",
    ),
    # Headers and bodies.
    ("curl -H Authorization: Bearer abc https://h", "curl -H Authorization: Bearer *** https://h"),
    ("curl -H 'Authorization: Basic YTpi' https://h", "curl -H 'Authorization: Basic ***' https://h"),
    ("curl -H authorization:abc https://h", "curl -H authorization:*** https://h"),
    ('{"Authorization": "Bearer abc"}', '{"Authorization": "Bearer ***"}'),
    ('curl -H "X-Api-Key: abc" https://h', 'curl -H "X-Api-Key: ***" https://h'),
    ("curl -H X-Vault-Token:abc https://h", "curl -H X-Vault-Token:*** https://h"),
    ("curl -H PRIVATE-TOKEN: abc https://h", "curl -H PRIVATE-TOKEN: *** https://h"),
    ('curl -d {"user":"bob","password":"a b","x":1}', 'curl -d {"user":"bob","password":"***","x":1}'),
    ('sh -c "curl -d {\\"password\\":\\"abc\\",\\"x\\":1}"', 'sh -c "curl -d {\\"password\\":\\"***\\",\\"x\\":1}"'),
    # URLs.
    ("git clone https://bob:hunter2@h/r.git", "git clone https://bob:***@h/r.git"),
    ("redis://:hunter2@r:6379/0", "redis://:***@r:6379/0"),
    ("postgres://bob:p@ss@db/x", "postgres://bob:***@db/x"),
    ("curl https://h/?access_token=abc&user=bob", "curl https://h/?access_token=***&user=bob"),
    ("curl -d user=bob&password=abc&x=1 h", "curl -d user=bob&password=***&x=1 h"),
    # Shapes.
    ("aws AKIA" + "IOSFODNN7EXAMPLE", "aws AKIA***"),
    ("aws ASIA" + "IOSFODNN7EXAMPLE", "aws ASIA***"),
    (GITHUB, "ghp_***"),
    (f"echo {GITHUB.replace('ghp', 'gho')} {GITHUB.replace('ghp', 'ghs')}", "echo gho_*** ghs_***"),
    ("https://" + GITHUB + "@github.com/o/r", "https://ghp_***@github.com/o/r"),
    ("github_pat_" + "11AB_" * 8, "github_pat_***"),
    ("glpat-" + "a1B2-" * 4, "glpat-***"),
    ("xoxb-" + "1234567890-abcdef", "xoxb-***"),
    ("xoxp-" + "1234567890-abcdef", "xoxp-***"),
    ("xapp-" + "1-A0123-4567-abcdef", "xapp-***"),
    ("https://hooks.slack.com/services/" + "T0/B0/abc -d x", "https://hooks.slack.com/services/*** -d x"),
    (f"echo {JWT} x", "echo eyJ*** x"),
    ("sk_live_" + "a1B2" * 6, "sk_live_***"),
    ("AIza" + "a1B2-" * 7, "AIza***"),
    ("npm_" + "a1B2" * 9, "npm_***"),
    (f"echo {PEM[0]}\nProc-Type: 4\n\nMII+/=\n{PEM[1]} x", f"echo {PEM[0]}***{PEM[1]} x"),
    (f"echo {PEM[0]} MII", f"echo {PEM[0]}***"),
]

UNTOUCHED = [
    "",
    "nginx",
    "/etc/passwd",
    "/etc/shadow",
    "cat /etc/passwd /etc/shadow",
    "/run/secrets/kubernetes.io/serviceaccount/token",
    "cat /run/secrets/kubernetes.io/serviceaccount/token /etc/hosts",
    "cat token",
    "app --token-file=/x --password-file /x --secret-dir=/y",
    "TOKEN_FILE=/x AWS_WEB_IDENTITY_TOKEN_FILE=/y POSTGRES_PASSWORD_FILE=/z",
    "docker run -p 8080:80 -v /etc/passwd:/etc/passwd -v /run/token:/token nginx",
    "docker run -v api-token:/token nginx",
    "docker login --password-stdin reg",
    "mkdir -p dir",
    "mkdir -pv dir",
    "ps -p 1",
    "nmap -p1-65535 h",
    "passwd root",
    "passwd -d root",
    "grep password file",
    'grep "password=" file "other file"',
    "grep -r password= /etc",
    "mysql -u root -p db",
    "mysql db | tee -pfoo",
    "cat mysql.txt -pfoo",
    "sshpass -e ssh -p 22 h",
    "ssh -o PasswordAuthentication=no h",
    "app --automount-token=false",
    "psql --no-password db",
    "mysql --password -u root",
    "curl https://h:8080/a@b",
    "curl -X POST https://h",
    "git clone git@github.com:o/r.git",
    "ssh bob@h:22",
    "redis-cli --askpass ping",
    "PWD=/home/bob OLDPWD=/ BYPASS=1",
    "kubeadm token create",
    "kubectl create token default",
    "set-credentials bob",
    "-----BEGIN CERTIFICATE----- MII -----END CERTIFICATE-----",
    "eyJhbGciOiJIUzI1NiJ9",
    "npm_config_cache",
    "app --password",
    "app --password=",
]

PIECES = (
    "password token= --password --token=x --password=' secret: x-api-key: authorization: Bearer mysql -p -px curl -u "
    "a:b redis-cli -a sshpass docker login :// user:pw@h pass: & | ; ' \" ' \\ = ? - -- *** a _FILE= true é \u212a"
)
WORDS = st.sampled_from([*PIECES.split(), " ", " ", " ", "\0", "\n", "\udc80", "\ud800", GITHUB, JWT, *PEM])
TEXTS = st.lists(WORDS | st.text(st.characters(), max_size=3), max_size=14).map("".join) | st.text(st.characters())


@pytest.mark.parametrize(("text", "expected"), REDACTED)
def test_secrets_are_redacted(text: str, expected: str) -> None:
    assert redact(text) == expected
    assert redact(expected) == expected


@pytest.mark.parametrize("text", UNTOUCHED)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) is text


def test_invalid_utf8_stays_where_it_is() -> None:
    assert redact("\udcff é\udc80 --password=\udcffx \ud800é\udcfe") == "\udcff é\udc80 --password=*** \ud800é\udcfe"
    assert redact("\ud83d\ude00 TOKEN=x \U0001f600") == "\ud83d\ude00 TOKEN=*** \U0001f600"


def test_values() -> None:
    assert redacted("TOKEN=x") == "TOKEN=***"
    assert redacted(["mysql", "-px", "--token", "y", ""]) == ["mysql", "-p***", "--token", "***", ""]
    assert redacted(["a\0b", "TOKEN=x"]) == ["a\0b", "TOKEN=***"]
    for value in (None, 1, True, 1.5, b"TOKEN=x", [], [1, 2]):
        assert redacted(value) is value


@given(TEXTS)
@settings(max_examples=1000)
@example(f"{GITHUB}--password a")
@example(f"{GITHUB}-password a")
def test_redacting_again_changes_nothing(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@given(st.lists(TEXTS, max_size=5))
def test_a_list_keeps_its_length(texts: list[str]) -> None:
    result = redacted(texts)
    assert isinstance(result, list)
    assert len(result) == len(texts)


@given(st.text(st.characters(exclude_characters="=:@-_"), max_size=15))
def test_short_text_without_a_sign_of_a_name_stays(text: str) -> None:
    assert redact(text) == text


@given(TEXTS, TEXTS)
@settings(max_examples=1000)
@example("glpat-0123456789abcdef", "")
@example("TOKEN_FILE=", "")
@example("'Authorization: Basic ", "'")
@example(f"{PEM[0]} ", "")
def test_a_planted_secret_never_shows(before: str, after: str) -> None:
    # What a name of a file precedes (password=…_FILE=) would be another name: the secret stands alone here.
    assert "hunter2" not in redact(f"{before}--password=hunter2 {after}")


@pytest.mark.parametrize(
    "piece",
    [
        *("password=", "password= ", "password='", 'password="\\', 'token=" ', "token_file=", "&token=", "pass:"),
        *("mysql -px ", "mysql ", "docker login ", "docker login -p", "curl -u ", "--token ", "://a:", "://a:b@"),
        *("eyJ-", "eyJ-.eyJ", "eyJ-AKIAIOSFODNN7EXAMPLE-", "-----BEGIN PRIVATE KEY-----", "x-api-key:", "a-"),
        *('"token":"', "authorization:", "authorization: bearer ", " ", "\0", "\udcff"),
    ],
)
def test_long_text_is_done(piece: str) -> None:
    text = "token " + piece * (2**20 // len(piece))
    assert isinstance(redact(text), str)
