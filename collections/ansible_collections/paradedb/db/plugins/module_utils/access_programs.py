"""SQL that makes databases and brings about what the plans of access find, all from database postgres."""

from __future__ import annotations

from ansible_collections.paradedb.db.plugins.module_utils import access_plans, access_pooler

MISSING_DATABASES = r"""
SELECT coalesce(jsonb_agg(name), '[]') AS missing
FROM jsonb_array_elements_text(:'params'::jsonb->'create') AS name
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = name) \gset
"""

# CREATE DATABASE cannot be part of a transaction. One that fails keeps no other from being made.
CREATE_DATABASES = r"""
\set ON_ERROR_STOP off
SELECT format('CREATE DATABASE %I', name) FROM jsonb_array_elements_text(:'missing'::jsonb) AS name
\gexec
\set ON_ERROR_STOP on
"""

CREATED = r"""
SELECT jsonb_build_object(
  'created', coalesce(jsonb_agg(name) FILTER (WHERE datname IS NOT NULL), '[]'),
  'not_created', coalesce(jsonb_agg(name) FILTER (WHERE datname IS NULL), '[]'),
  'creation_problem', :'LAST_ERROR_MESSAGE')
FROM jsonb_array_elements_text(:'missing'::jsonb) AS name
LEFT JOIN pg_catalog.pg_database ON datname = name;
"""

FORETELL_DATABASES = r"""
SELECT jsonb_build_object('created', :'missing'::jsonb, 'not_created', '[]'::jsonb);
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
    BEGIN
      IF applied THEN
        FOREACH the_statement IN ARRAY the_item.statements LOOP
          EXECUTE the_statement;
        END LOOP;
      END IF;
      the_changes := the_changes || to_jsonb(the_item.changes);
    EXCEPTION WHEN OTHERS THEN
      the_problems := the_problems || (the_item.about || jsonb_build_object('problem', SQLERRM));
    END;
  END LOOP;
"""

_PLANS = (access_plans.ROLES, access_plans.OWNERS, access_plans.PRIVILEGES, access_pooler.PLAN)

# One transaction: no new role can come in before what is not for it is closed. Each item as a whole or not
# at all, and one that fails, or waits for somebody's lock, stops no other. Without ``apply`` it tells what
# it would do.
BRING_ABOUT = r"""
SELECT set_config('paradedb_operator.params', :'params', false) AS ignored \gset
SET lock_timeout = '1s';
DO $program$
DECLARE
  applied boolean := (current_setting('paradedb_operator.params')::jsonb->>'apply')::boolean;
  the_item record;
  the_statement text;
  the_changes jsonb := '[]';
  the_problems jsonb := '[]';
BEGIN
@loops@
  PERFORM set_config('paradedb_operator.outcome',
                     jsonb_build_object('changes', the_changes, 'problems', the_problems)::text, false);
END
$program$;
SELECT jsonb_build_object('access', current_setting('paradedb_operator.outcome')::jsonb);
SET lock_timeout = 0;
""".replace("@loops@", "".join(_LOOP.replace("@plan@", plan) for plan in _PLANS))

# After the transaction, or they could come back: sessions of our roles that could not be opened any more.
END_SESSIONS = r"""
WITH @known@
SELECT jsonb_build_object('ended', coalesce(jsonb_agg(DISTINCT name) FILTER (WHERE ended), '[]')) FROM (
  SELECT r.name, pg_terminate_backend(a.pid) AS ended
  FROM pg_catalog.pg_stat_activity AS a JOIN known AS r ON r.oid = a.usesysid
  WHERE NOT r.powerful AND r.name <> current_user
    AND (r.member AND EXISTS (SELECT FROM guild WHERE guild.marked)
         OR r.marked AND r.name IN (SELECT services.name FROM services))
    AND (NOT r.rolcanlogin OR NOT has_database_privilege(r.oid, a.datid, 'CONNECT'))
) AS sessions;
""".replace("@known@", access_plans.KNOWN)
