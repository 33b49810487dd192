"""SQL that makes databases and brings about what the plans of access find, all from database postgres."""

from __future__ import annotations

from ansible_collections.paradedb.db.plugins.module_utils import access_plans, access_pooler

MISSING_DATABASES = r"""
SELECT coalesce(jsonb_agg(name), '[]') AS missing
FROM jsonb_array_elements_text(:'params'::jsonb->'create') AS name
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = name) \gset
"""

# CREATE DATABASE cannot be part of a transaction.
CREATE_DATABASES = r"""
SELECT format('CREATE DATABASE %I', name) FROM jsonb_array_elements_text(:'missing'::jsonb) AS name
\gexec
"""

# One that fails keeps no other from being made, but where the template is in use: PostgreSQL waits 5 s for
# that to end, and no other could be made either.
_CREATION = r"""
SELECT format('CREATE DATABASE %I', coalesce(:'missing'::jsonb->>@place@, '')) AS statement,
       :'missing'::jsonb->>@place@ IS NOT NULL AND NOT :'problems'::jsonb ? 'template1' AS wanted \gset
\if :wanted
:statement;
\if :ERROR
\set problem :LAST_ERROR_MESSAGE
SELECT :'problems'::jsonb || jsonb_build_object(
         CASE WHEN :'LAST_ERROR_SQLSTATE' = '55006' THEN 'template1' ELSE :'missing'::jsonb->>@place@ END,
         :'problem' || coalesce((
           SELECT format(' (end session %s of role %s in template1)', min(pid), min(usename))
           FROM pg_catalog.pg_stat_activity
           WHERE :'LAST_ERROR_SQLSTATE' = '55006' AND datname = 'template1' HAVING count(*) > 0), ''))
       AS problems \gset
\endif
\endif
"""

_CREATED = r"""
SELECT jsonb_build_object(
  'created', coalesce(jsonb_agg(name) FILTER (WHERE datname IS NOT NULL), '[]'),
  'not_created', coalesce(jsonb_object_agg(name, coalesce(p->>name, p->>'template1', ''))
                          FILTER (WHERE datname IS NULL), '{}'))
FROM (SELECT :'problems'::jsonb AS p) AS problems, jsonb_array_elements_text(:'missing'::jsonb) AS name
LEFT JOIN pg_catalog.pg_database ON datname = name;
"""

FORETELL_DATABASES = r"""
SELECT jsonb_build_object('created', :'missing'::jsonb, 'not_created', '{}'::jsonb);
"""

# Whether there is anything to look at: something declared, or a role from when there was.
CONCERNED = r"""
SELECT (:'params'::jsonb->>'declared')::boolean
       OR EXISTS (SELECT FROM pg_catalog.pg_authid WHERE :'params'::jsonb->'own' ? rolname::text)
       AS concerned \gset
"""

_LOOP = r"""
  FOR the_item IN @plan@
  LOOP
    IF the_item.problem IS NOT NULL THEN
      the_problems := the_problems || (the_item.about || jsonb_build_object('problem', the_item.problem));
      CONTINUE;
    END IF;
    FOR attempt IN 1..3 LOOP
      BEGIN
        IF applied THEN
          FOREACH the_statement IN ARRAY the_item.statements LOOP
            EXECUTE the_statement;
          END LOOP;
        END IF;
        the_changes := the_changes || to_jsonb(the_item.changes);
        EXIT;
      EXCEPTION
        WHEN lock_not_available THEN
          @holders@;
          CONTINUE WHEN holders_ended AND attempt < 3;
          the_problems := the_problems
            || (the_item.about || jsonb_build_object('problem', concat_ws('; ', SQLERRM, holders_left)));
          EXIT;
        WHEN OTHERS THEN
          the_problems := the_problems || (the_item.about || jsonb_build_object('problem', SQLERRM));
          EXIT;
      END;
    END LOOP;
  END LOOP;
"""

# Who has changed a role or a database and not committed that: any role may do so with its own. Such a
# transaction is ended, or a user could keep his password and his login for as long as he likes. Superusers
# are spared, and what was prepared can be ended in its own database only: of those people are told.
_HOLDERS = r"""
          WITH writers AS (
            SELECT xmax AS writer FROM pg_catalog.pg_authid UNION SELECT xmax FROM pg_catalog.pg_auth_members
            UNION SELECT xmax FROM pg_catalog.pg_database UNION SELECT xmax FROM pg_catalog.pg_db_role_setting
          ), holders AS (
            SELECT a.pid, a.usename, r.rolsuper IS NOT FALSE AS spared
            FROM pg_catalog.pg_locks AS l JOIN writers ON writers.writer = l.transactionid
            JOIN pg_catalog.pg_stat_activity AS a USING (pid)
            LEFT JOIN pg_catalog.pg_authid AS r ON r.oid = a.usesysid
            WHERE l.locktype = 'transactionid' AND l.granted AND pid <> pg_backend_pid()
          )
          SELECT coalesce(bool_or(pg_terminate_backend(pid, 1000)) FILTER (WHERE NOT spared), false),
                 concat_ws('; ', string_agg(format(
                   'session %s of role %s holds it; end that', pid, usename), '; ') FILTER (WHERE spared),
                   (SELECT string_agg(format('the prepared transaction %L of role %s holds it; roll it back',
                                             gid, owner), '; ')
                    FROM pg_catalog.pg_prepared_xacts JOIN writers ON writers.writer = transaction))
          INTO holders_ended, holders_left FROM holders"""

_PLANS = (access_plans.ROLES, access_plans.OWNERS, access_plans.PRIVILEGES, access_pooler.PLAN)

# One transaction: no new role can come in before what is not for it is closed. Each item as a whole or not
# at all, and one that fails, or for which somebody's lock is waited for, stops no other. Without ``apply``
# it tells what it would do.
BRING_ABOUT = r"""
SELECT set_config('paradedb_operator.params', :'params', false) AS ignored \gset
SET lock_timeout = '1s';
DO $program$
DECLARE
  applied boolean := (current_setting('paradedb_operator.params')::jsonb->>'apply')::boolean;
  the_item record;
  the_statement text;
  holders_ended boolean;
  holders_left text;
  the_changes jsonb := '[]';
  the_problems jsonb := '[]';
BEGIN
@loops@
  PERFORM set_config('paradedb_operator.outcome',
                     jsonb_build_object('changes', the_changes, 'problems', the_problems)::text, false);
END
$program$;
SELECT jsonb_build_object('access', current_setting('paradedb_operator.outcome')::jsonb);
RESET lock_timeout;
""".replace("@loops@", "".join(_LOOP.replace("@plan@", plan) for plan in _PLANS)).replace(
    "@holders@", _HOLDERS
)

# After the transaction, or they could come back: sessions of our roles that could not be opened any more,
# and of users that are none any more, whatever kept their roles from losing the login.
END_SESSIONS = r"""
WITH @known@
SELECT jsonb_build_object('ended', coalesce(jsonb_agg(DISTINCT name) FILTER (WHERE ended), '[]')) FROM (
  SELECT r.name, pg_terminate_backend(a.pid) AS ended
  FROM pg_catalog.pg_stat_activity AS a JOIN known AS r ON r.oid = a.usesysid
  WHERE NOT r.powerful AND r.name <> current_user
    AND (r.member AND EXISTS (SELECT FROM guild WHERE guild.marked)
         OR r.marked AND r.name IN (SELECT services.name FROM services))
    AND (NOT r.rolcanlogin OR NOT has_database_privilege(r.oid, a.datid, 'CONNECT')
         OR r.member AND NOT r.reserved AND NOT EXISTS (SELECT FROM users WHERE users.name = r.name)
            AND NOT EXISTS (SELECT FROM params WHERE p->'untouched' ? r.name))
) AS sessions;
""".replace("@known@", access_plans.KNOWN)


def create_databases(count: int) -> str:
    """Makes the missing ones of so many databases one by one, and tells what kept it from which."""
    attempts = "".join(_CREATION.replace("@place@", str(place)) for place in range(count))
    begin = "\\set problems '{}'\nSELECT :'missing' <> '[]' AS missing_any \\gset\n\\if :missing_any\n"
    return f"{begin}\\set ON_ERROR_STOP off\n{attempts}\\set ON_ERROR_STOP on\n\\endif\n{_CREATED}"
