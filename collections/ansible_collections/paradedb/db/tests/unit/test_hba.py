"""pg_hba rules: our verdict on each line, and PostgreSQL's own on the same lines.

What we accept must be accepted by PostgreSQL: a rule that it cannot read stops the next start. What we
refuse beyond that is listed with the reason.
"""

from __future__ import annotations

import random

import pytest
from ansible_collections.paradedb.db.plugins.module_utils import hba
from ansible_collections.paradedb.db.plugins.module_utils.errors import Refused

from .private_postgres import PrivatePostgres

# Lines in which PostgreSQL 15 to 18 agree with the documentation, and which we must take.
GOOD = [
    "local all all trust",
    "local all all peer",
    "local all all peer map=paradedb",
    "local all all scram-sha-256",
    "local all all md5",
    "local all all password",
    "local all all reject",
    "local replication all scram-sha-256",
    "local sameuser all scram-sha-256",
    "local samerole,samegroup all scram-sha-256",
    "local db1,db2 alice,bob scram-sha-256",
    "local db1, db2 alice scram-sha-256",
    "local all +admins scram-sha-256",
    'local "all" "db user" scram-sha-256',
    'local "a""b" all scram-sha-256',
    'local all "user # not a comment" scram-sha-256',
    'local all "@name" scram-sha-256',
    "host all all 10.0.0.0/8 scram-sha-256",
    "host all all 10.1.2.3/8 scram-sha-256",
    "host all all 10.0.0.0 255.0.0.0 scram-sha-256",
    "host all all 10.0.0.1/32 md5",
    "host all all 0.0.0.0/0 reject",
    "host all all ::1/128 scram-sha-256",
    "host all all ::/0 scram-sha-256",
    "host all all fe80::7a31:c1ff:0000:0000/96 scram-sha-256",
    "host all all ::ffff:10.0.0.1/128 scram-sha-256",
    "host all all ::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff scram-sha-256",
    "host all all all scram-sha-256",
    "host all all samehost scram-sha-256",
    "host all all samenet scram-sha-256",
    "host all all localhost scram-sha-256",
    "host all all .example.com scram-sha-256",
    "host all all db-1.example.com scram-sha-256",
    "host replication standby 10.0.0.0/8 scram-sha-256",
    "hostnossl all all all reject",
    "hostgssenc all all all gss",
    "hostgssenc all all all gss include_realm=1 krb_realm=EXAMPLE.COM map=m",
    "hostnogssenc all all all scram-sha-256",
    "host all all all gss include_realm=0",
    "host all all all ident map=m",
    "host all all all ident",
    'host all all all ldap ldapserver=ldap.example.com ldapprefix="cn=" ldapsuffix=",dc=example,dc=com"',
    "host all all all ldap ldapserver=ldap.example.com ldapport=389 ldaptls=1 ldapprefix=a ldapsuffix=b",
    "host all all all ldap ldapserver=l ldapbasedn=o ldapsearchattribute=uid ldapbinddn=x ldapbindpasswd=y",
    'host all all all ldap "ldapserver=one two" ldapprefix=a',
    'host all all all ldap ldapserver="one two" ldapprefix=a',
    "host all all all pam",
    "host all all all pam pamservice=postgresql pam_use_hostname=1",
    "host\tall\tall\tall\tscram-sha-256",
    "  host   all all all   scram-sha-256  ",
]

# These need a server that has a certificate.
GOOD_WITH_TLS = [
    "hostssl all all all scram-sha-256",
    "hostssl all all all scram-sha-256 clientcert=verify-full",
    "hostssl all all all scram-sha-256 clientcert=verify-ca",
    "hostssl all all all cert",
    "hostssl all all all cert map=m",
    "hostssl all all all cert clientcert=verify-full clientname=DN",
]

# Lines that PostgreSQL cannot read.
BAD = [
    "",
    "   ",
    "all",
    "local",
    "local all",
    "local all all",
    "host all all",
    "host all all all",
    "host all all 10.0.0.0/8",
    "host all all 10.0.0.0 255.0.0.0",
    "HOST all all all md5",
    "tcp all all all md5",
    "host,local all all all md5",
    "local all all all md5",
    "local all all 10.0.0.0/8 md5",
    "host all all all MD5",
    "host all all all scram",
    "host all all all scram-sha-512",
    "host all all all md5,trust",
    "host all all all crypt",
    "host all all all krb5",
    # Addresses
    "host all all 10.0.0.0/33 md5",
    "host all all ::1/129 md5",
    "host all all 10.0.0.0/-1 md5",
    "host all all 10.0.0.0/ md5",
    "host all all 10.0.0.0/8x md5",
    "host all all 10.0.0.0/255.0.0.0 md5",
    "host all all 10.0.0.0/0.255.255.255 md5",
    "host all all ::1/ffff:: md5",
    "host all all 10.0.0.1 md5",
    "host all all ::1 md5",
    "host all all 10.0.0.0 /8 md5",
    "host all all 10.0.0.0 ffff:: md5",
    "host all all ::1 255.0.0.0 md5",
    "host all all 10.1 md5",
    "host all all 10 md5",
    "host all all 0x7f000001 md5",
    "host all all 10.0.0.0/8,11.0.0.0/8 md5",
    "host all all all,samenet md5",
    "host all all localhost/32 md5",
    "host all all .example.com/24 md5",
    "host all all all 255.0.0.0 md5",
    "host all all localhost 255.0.0.0 md5",
    # A field goes on after a comma
    "host all, all all md5",
    "host all all, all md5",
    "local all,, md5",
    "host all all all, md5",
    # Options
    "host all all all md5 foo",
    "host all all all md5 foo=bar",
    "host all all all md5 =bar",
    "host all all all md5 map=m",
    "host all all all trust map=m",
    "host all all all md5 ldapserver=x",
    "host all all all md5 include_realm=1",
    "host all all all md5 pamservice=x",
    "host all all all ldap",
    "host all all all ldap ldapserver=a,b",
    "host all all all ldap ldapserver=a",
    "host all all all ldap ldapport=x ldapserver=a ldapprefix=b",
    "host all all all ldap ldapserver=a ldapprefix=b ldapbasedn=c",
    "host all all all ldap ldapserver=a ldapbasedn=c ldapsearchattribute=d ldapsearchfilter=e",
    "host all all all ldap ldapserver=a ldapprefix=b radiusport=1",
    "host all all all md5 clientcert=verify-full",
    "hostssl all all all md5 clientcert=1",
    "hostssl all all all md5 clientcert=yes",
    "hostssl all all all cert clientcert=verify-ca",
    "hostssl all all all cert clientname=XX",
    "hostssl all all all md5 trailing garbage",
    # Methods in the wrong place
    "host all all all peer",
    "host all all all cert",
    "hostnossl all all all cert",
    "local all all cert",
    "local all all gss",
    "local all all radius",
    "host all all all radius",
    "host all all all sspi",
    "host all all all bsd",
    "host all all all oauth",
    # Quotes
    'host all all "all md5',
    'host "all all all md5',
]

# PostgreSQL reads these, we do not: the reason is why.
STRICTER = {
    "# comment": "a comment is no rule",
    "host all all all md5 # comment": "a comment is no part of a rule",
    "host all all all md5 #": "a comment is no part of a rule",
    'host all all all "md5': "an open quotation mark is a slip",
    "local @file all md5": "files are not included",
    "local all @/etc/passwd md5": "files are not included",
    "local all,@/etc/passwd all md5": "files are not included",
    "local all alice,@users md5": "files are not included",
    "local all all md5 @/etc/passwd": "files are not included",
    "host all all my_host md5": "no host is called that",
    "host all all 010.0.0.1/8 md5": "octal or decimal?",
    "include other.conf": "files are not included",
    "include_if_exists other.conf": "files are not included",
    "include_dir other": "files are not included",
    "local all all trust\\": "the next line would be part of the rule",
}

# No single line at all.
BROKEN = [
    "host all all all md5\nhost all all all trust",
    "host all all all md5\r\nhost all all all trust",
    "host all all all md5\rhost all all all trust",
    "host all all all md5\n",
    "\nhost all all all md5",
    "host all all all md5\x00",
    "host all all all md5 \\",
    "host all all all ldap ldapserver=a ldapprefix=\\",
    "host all all all ldap ldapserver=a ldapprefix=\\ ",
]


def accepts(line: str) -> bool:
    try:
        hba.check_rules([line])
    except Refused:
        return False
    return True


def postgres_complaints(server: PrivatePostgres, lines: list[str]) -> dict[str, str]:
    """What PostgreSQL says about each line that it cannot read.

    Each line is followed by one of our own, which must come through whole: a rule that swallows it is as
    bad as one that is wrong.
    """
    following = [f"local after{number} all reject" for number in range(len(lines))]
    server.write_hba([part for pair in zip(lines, following, strict=True) for part in pair])
    # Without a type the rule was not understood; an error alone may also be a remark.
    found = server.query(
        "SELECT line_number, array_to_string(database, ','),"
        " CASE WHEN type IS NULL THEN coalesce(error, 'refused without a word') ELSE '' END"
        " FROM pg_hba_file_rules"
    )
    server.write_hba(["local all all trust"])
    rows = [row.split("|", 2) for row in found.splitlines()]
    databases = {row[1] for row in rows}
    errors = {int(number): error for number, _database, error in rows if error}
    complaints = {}
    for position, line in enumerate(lines):
        if f"after{position}" not in databases:
            complaints[line] = "swallows the following line"
        elif 2 * position + 1 in errors:
            complaints[line] = errors[2 * position + 1]
    return complaints


@pytest.mark.parametrize("line", GOOD + GOOD_WITH_TLS)
def test_accepts_rules(line: str) -> None:
    hba.check_rules([line])


@pytest.mark.parametrize("line", [*BAD, *STRICTER, *BROKEN])
def test_refuses_what_is_no_rule(line: str) -> None:
    with pytest.raises(Refused) as caught:
        hba.check_rules(["local all all trust", line])
    assert caught.value.field == "spec.auth.pgHBA[1]"
    assert caught.value.reason == "InvalidHBARule"
    assert "\n" not in str(caught.value)


def test_postgresql_reads_what_we_call_good(postgres: PrivatePostgres) -> None:
    assert postgres_complaints(postgres, GOOD + GOOD_WITH_TLS) == {}


def test_postgresql_refuses_what_we_call_bad(postgres: PrivatePostgres) -> None:
    lines = [line for line in BAD if line.strip()]
    if postgres.version >= 18:
        lines.remove("host all all all oauth")  # known there, and refused for want of its options
    assert set(lines) - set(postgres_complaints(postgres, lines)) == set()


def test_postgresql_reads_what_we_refuse_for_other_reasons(postgres: PrivatePostgres) -> None:
    """Should PostgreSQL refuse one of them, it belongs into the other table."""
    lines = [line for line in STRICTER if "@" not in line and "include" not in line and "\\" not in line]
    assert set(postgres_complaints(postgres, lines)) <= set()


def test_no_random_line_is_accepted_by_us_and_refused_by_postgresql(postgres: PrivatePostgres) -> None:
    chance = random.Random(20250101)  # noqa: S311  the same lines each time
    lines = sorted({_random_line(chance) for _ in range(30_000)})
    accepted = [line for line in lines if accepts(line)]
    assert len(accepted) > 200
    assert postgres_complaints(postgres, accepted) == {}


def test_whole_file_is_read_in_our_order(postgres: PrivatePostgres) -> None:
    """The operator's rules come first and last, with names in them that are hostile to the file's syntax."""
    names = ['su"per, user #@x', "replication", "+all"]
    lines = hba.rules(*names, [f"  {line}  " for line in GOOD])
    postgres.write_hba(lines)
    rows = postgres.query(
        "SELECT type, database[1], user_name[1], auth_method, coalesce(error, '') FROM pg_hba_file_rules"
    ).splitlines()
    postgres.write_hba(["local all all trust"])
    assert len(rows) == len(lines)
    assert all(row.endswith("|") for row in rows)
    assert rows[0] == f"local|all|{names[0]}|peer|"
    assert rows[1] == f"local|replication|{names[1]}|peer|"
    assert [row.split("|")[2] for row in rows[2:4]] == names[1:]
    assert rows[-1] == "host|all|all|scram-sha-256|"


def test_default_rules_let_nobody_in_without_a_password() -> None:
    lines = hba.rules("postgres", "r", "w", [])
    assert not any("trust" in line or "md5" in line for line in lines)
    assert [line for line in lines if "peer" in line] == [
        'local all "postgres" peer map=paradedb',
        'local replication "r" peer map=paradedb',
    ]


def test_enforced_tls_lets_nobody_in_without_it_but_where_the_user_says_so(postgres: PrivatePostgres) -> None:
    user_rules = ["host all old_client 10.0.0.0/8 scram-sha-256"]
    plain, enforced = (hba.rules("su", "r", "w", user_rules, tls_enforced) for tls_enforced in (False, True))
    assert [line.replace("hostssl", "host") for line in enforced] == plain
    assert [line for line in enforced if line.startswith("host ")] == user_rules
    assert postgres_complaints(postgres, enforced) == {}


def test_no_rule_of_the_user_locks_the_pooler_or_the_exporter_out(postgres: PrivatePostgres) -> None:
    user_rules = ["local all all reject", "host all all all reject"]
    without = hba.rules("su", "r", "w", user_rules)
    lines = hba.rules("su", "r", "w", user_rules, pooler=True, exporter=True)
    added = [line for line in lines if line not in without]
    assert added == [
        'host postgres "paradedb_pooler" all scram-sha-256',
        'host all "paradedb_exporter" samehost scram-sha-256',
    ]
    assert max(map(lines.index, added)) < lines.index(user_rules[0])
    assert [line for line in lines if line not in added] == without
    assert postgres_complaints(postgres, lines) == {}


def test_with_tls_only_the_exporter_beside_the_server_needs_no_encryption() -> None:
    lines = hba.rules("su", "r", "w", [], tls_enforced=True, pooler=True, exporter=True)
    assert 'hostssl postgres "paradedb_pooler" all scram-sha-256' in lines
    assert [line for line in lines if line.startswith("host ")] == [
        'host all "paradedb_exporter" samehost scram-sha-256'
    ]


def test_each_of_them_comes_alone() -> None:
    assert not any("exporter" in line for line in hba.rules("su", "r", "w", [], pooler=True))
    assert not any("pooler" in line for line in hba.rules("su", "r", "w", [], exporter=True))


def test_ident_map_lets_only_the_container_user_in_without_a_password() -> None:
    assert hba.ident_map('a"b', "r") == ['paradedb postgres "a""b"', 'paradedb postgres "r"']


def _random_line(chance: random.Random) -> str:
    def pick(*choices: str) -> str:
        return chance.choice(choices)

    fields = [
        pick("local", "host", "host", "hostnossl", "hostgssenc", '"host"', "hostx"),
        pick(
            "all",
            "db",
            "a,b",
            "a,",
            ",a",
            "replication",
            '"a b"',
            '"a',
            "@f",
            "a,@f",
            '""',
            "a#b",
            "/re",
            "+x",
        ),
        pick("all", "u", "u,v", "+g", '"u v"', "u,", "@f", "u\\", '"@f"', "ü", '"a""b"'),
        pick(
            *(
                "all",
                "samehost",
                "samenet",
                '"all"',
                "10.0.0.0/8",
                "10.0.0.0",
                "10.1",
                "10.0.0.0/33",
                "::1/128",
            ),
            *(
                "::1",
                "fe80::1%lo/64",
                "::1/0",
                "1.2.3.4/08",
                "1.2.3.4/+8",
                "h.example",
                ".example",
                "h/8",
                "1",
                "0x1",
            ),
            *(
                "10.0.0.0/255.0.0.0",
                "a,b",
                "-a",
                "a-",
                "1.2.3.4.5",
                "999.1.1.1",
                "::ffff:1.2.3.4/96",
                "ü.example",
            ),
            *("1.2.3", "256", "1.2.3.4/8/8", "a..b", "xn--a.b", "1e3", "0.0.0.0/0", "0/0", "all,all"),
        ),
        pick("", "", "255.0.0.0", "ffff::", "255.255", "8"),
        pick(*hba._METHODS, "md5", "trust", "scram-sha-256", "ldap", "MD5", "md5,", '"md5"'),
        pick(
            *("", "", "", "map=m", "map=", "x=y", "clientcert=verify-ca", "ldapserver=a ldapprefix=b", "#c"),
            *(
                "ldapserver=a,b",
                '"ldapserver=a" ldapbasedn=b',
                "pamservice=p",
                "include_realm=1",
                "a=b\\",
                "=",
            ),
            *(
                "krb_realm=R",
                "ldapserver=a ldapport=0 ldapprefix=x",
                "ldapurl=ldap://h/dc=x",
                "map=m map=n",
                "map=@f",
            ),
            *(
                "radiusservers=127.0.0.1 radiussecrets=s",
                "clientname=CN",
                "compat_realm=1",
                "include_realm=x",
            ),
        ),
    ]
    if fields[0] == "local" and chance.random() < 0.8:
        fields[3] = fields[4] = ""
    return pick(" ", "\t", "  ").join(field for field in fields if field)
