"""SQL about extensions: the parts that create them, foretell that, and update them.

Parts for one database take what is wanted there from psql's variable ``wanted``, a JSON list of names, and
run in a session of ``sql``: nothing that the database's owner made or set is called or in effect.
"""

from __future__ import annotations

from typing import Any

# Why PostgreSQL's own names are looked at: a script that is not written for it calls functions by their
# mere name, and then a namesake in the schema that it runs in, for types that fit better, is called
# instead, as the superuser. Extensions that are marked trusted are written for that, and may be created by
# the owner anyway. https://www.postgresql.org/docs/17/extend-extensions.html#EXTEND-EXTENSIONS-SECURITY
# A script also looks in the schemas of what its extension requires, and CREATE ... CASCADE runs the scripts
# of those as well: so all of them, wherever they are or will be.
_NAMESAKE = r"""(
        WITH RECURSIVE offered AS (
          SELECT v.name, v.trusted, v.requires, v.schema
          FROM pg_catalog.pg_available_extension_versions AS v
          JOIN pg_catalog.pg_available_extensions AS e ON e.name = v.name AND e.default_version = v.version
        ), involved AS (
          SELECT the_name::name COLLATE "C" AS name
          UNION
          SELECT required FROM involved JOIN offered USING (name), unnest(offered.requires) AS required
        ), placed AS (
          SELECT coalesce(n.nspname, o.schema, 'public') AS place,
                 NOT o.trusted AND (x.oid IS NULL OR i.name = the_name) AS careless
          FROM involved AS i LEFT JOIN offered AS o ON o.name = i.name
          LEFT JOIN pg_catalog.pg_extension AS x ON x.extname = i.name
          LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = x.extnamespace
        ), places AS (
          SELECT place FROM placed WHERE EXISTS (SELECT FROM placed AS any_of WHERE any_of.careless)
        ), namesakes AS (
          SELECT proname AS name, pronamespace AS place, proowner AS owner FROM pg_catalog.pg_proc
          WHERE proname IN (SELECT own.proname FROM pg_catalog.pg_proc AS own
                            WHERE own.pronamespace = 'pg_catalog'::regnamespace)
          UNION ALL
          SELECT oprname, oprnamespace, oprowner FROM pg_catalog.pg_operator
          WHERE oprname IN (SELECT own.oprname FROM pg_catalog.pg_operator AS own
                            WHERE own.oprnamespace = 'pg_catalog'::regnamespace)
        )
        SELECT min(format('schema %s has a %s of role %s, which the extension could call as the superuser in '
                          'place of PostgreSQL''s own; rename it', nspname, namesakes.name, rolname))
        FROM namesakes
        JOIN pg_catalog.pg_namespace AS n ON n.oid = namesakes.place
        JOIN pg_catalog.pg_authid AS r ON r.oid = namesakes.owner
        WHERE NOT rolsuper AND nspname IN (SELECT place FROM places)
      )"""

# One extension that fails must not keep the others from being created: each in a block of its own.
CREATE = r"""
SELECT set_config('paradedb_operator.wanted', :'wanted', false) AS ignored \gset
SET lock_timeout = '3s';
DO $program$
DECLARE
  the_name text;
  the_problem text;
  outcome jsonb := '[]';
BEGIN
  FOR the_name IN
    SELECT jsonb_array_elements_text(current_setting('paradedb_operator.wanted')::jsonb)
  LOOP
    CONTINUE WHEN EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = the_name);
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = the_name) THEN
      outcome := outcome || jsonb_build_object('name', the_name, 'problem', 'the image does not have it');
      CONTINUE;
    END IF;
    BEGIN
      the_problem := @namesake@;
      IF the_problem IS NOT NULL THEN
        RAISE EXCEPTION '%', the_problem;
      END IF;
      -- Where an extension goes that has no schema of its own.
      PERFORM set_config('search_path', 'public', true);
      EXECUTE pg_catalog.format('CREATE EXTENSION %I CASCADE', the_name);
      PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);
      outcome := outcome || jsonb_build_object('name', the_name, 'created', true);
    EXCEPTION WHEN OTHERS THEN  -- the search path is back too: it belonged to the failed block
      outcome := outcome || jsonb_build_object('name', the_name, 'problem', SQLERRM);
    END;
  END LOOP;
  PERFORM set_config('paradedb_operator.outcome', outcome::text, false);
END
$program$;
""".replace("@namesake@", _NAMESAKE)

# What CREATE would do, found out without doing it.
FORETELL = r"""
SELECT set_config('paradedb_operator.outcome', coalesce(jsonb_agg(
  CASE WHEN available.name IS NULL
    THEN jsonb_build_object('name', wanted, 'problem', 'the image does not have it')
    ELSE jsonb_build_object('name', wanted, 'created', true)
  END), '[]')::text, false) AS ignored
FROM jsonb_array_elements_text(:'wanted'::jsonb) AS wanted
LEFT JOIN pg_catalog.pg_available_extensions AS available ON available.name = wanted
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = wanted) \gset
"""

# After one of these: what is there, and what came of it.
INSTALLED = r"""
SELECT jsonb_build_object(
  'outcome', current_setting('paradedb_operator.outcome')::jsonb,
  'extensions', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', extname, 'version', extversion)
                                        ORDER BY extname), '[]')
                 FROM pg_catalog.pg_extension));
"""

# The outcome alone, under the database's place.
PLACED = r"""
SELECT jsonb_build_object('@place@', current_setting('paradedb_operator.outcome')::jsonb);
"""

# Instead of these, of a database that the session cannot get into: why.
CLOSED = r"""
SELECT jsonb_build_object('@key@', jsonb_build_array(
  jsonb_build_object('name', 'all', 'problem', :'obstacle')));
"""

# What keeps sessions out of one of pg_database: NULL when nothing does. The owner may lock tables of the
# catalog, as with VACUUM FULL; a new session waits for them before any timeout is in effect.
OBSTACLE = r"""CASE
         WHEN datconnlimit = -2
           THEN 'an interrupted DROP DATABASE left the database invalid; drop it, and it is made anew'
         WHEN NOT datallowconn THEN 'nobody can connect to the database'
         ELSE (SELECT min(format('session %s of role %s has locked the catalog of the database, or is about '
                                 'to; end it with SELECT pg_terminate_backend(%s)', pid, usename, pid))
               FROM pg_catalog.pg_locks JOIN pg_catalog.pg_stat_activity USING (pid)
               WHERE database = pg_database.oid AND locktype = 'relation' AND mode = 'AccessExclusiveLock'
                 AND relation < 16384 AND backend_type = 'client backend')
       END"""

# Databases to update, by name: all but those that nobody can connect to, and why one cannot be entered now.
DATABASES = r"""
SELECT jsonb_build_object('databases', jsonb_object_agg(datname, @obstacle@))
FROM pg_catalog.pg_database WHERE datallowconn AND datconnlimit <> -2;
""".replace("@obstacle@", OBSTACLE)

# Of the database that the session is connected to. vector comes first and what a new version requires is
# created, as pg_search since 0.25 needs it: https://docs.paradedb.com/deploy/upgrading
UPDATE = r"""
SELECT set_config('paradedb_operator.params', :'params', false) AS ignored \gset
SET lock_timeout = '3s';
DO $program$
DECLARE
  stale record;
  needed text;
  the_name text;
  the_problem text;
  outcome jsonb := '[]';
  said jsonb;
BEGIN
  FOR stale IN
    SELECT installed.extname AS name, installed.extversion AS installed,
           available.default_version AS available
    FROM pg_catalog.pg_extension AS installed
    LEFT JOIN pg_catalog.pg_available_extensions AS available ON available.name = installed.extname
    WHERE available.default_version IS DISTINCT FROM installed.extversion
    ORDER BY installed.extname <> 'vector', installed.extname
  LOOP
    said := jsonb_build_object(
      'name', stale.name, 'installed', stale.installed, 'available', stale.available);
    the_name := stale.name;
    BEGIN
      IF stale.available IS NULL THEN
        RAISE EXCEPTION 'the image does not have it';
      END IF;
      the_problem := @namesake@;
      IF the_problem IS NOT NULL THEN
        RAISE EXCEPTION '%', the_problem;
      END IF;
      IF (current_setting('paradedb_operator.params')::jsonb->>'apply')::boolean THEN
        FOR needed IN
          SELECT unnest(requires) FROM pg_catalog.pg_available_extension_versions
          WHERE name = stale.name AND version = stale.available
        LOOP
          CONTINUE WHEN EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = needed);
          PERFORM set_config('search_path', 'public', true);
          EXECUTE pg_catalog.format('CREATE EXTENSION %I CASCADE', needed);
          PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);
        END LOOP;
        EXECUTE format('ALTER EXTENSION %I UPDATE TO %L', stale.name, stale.available);
      END IF;
    EXCEPTION WHEN OTHERS THEN
      said := said || jsonb_build_object('problem', SQLERRM);
    END;
    outcome := outcome || said;
  END LOOP;
  PERFORM set_config('paradedb_operator.outcome', outcome::text, false);
END
$program$;
SELECT jsonb_build_object(current_database(), current_setting('paradedb_operator.outcome')::jsonb);
""".replace("@namesake@", _NAMESAKE)

# Kept in the database itself, so that a pass without news compares two texts.
REMEMBER = r"""
SELECT format('ALTER DATABASE postgres SET paradedb_operator.%I = %L', p->>'key', p->>'digest')
FROM (SELECT :'params'::jsonb AS p) AS params
\gexec
"""


def wanted_extensions(extensions: dict[str, Any]) -> list[str]:
    """Extensions in the order of creation; what one requires comes with it, as vector with pg_search.

    https://docs.paradedb.com/deploy/self-hosted/extension
    """
    wanted = ["vector"] if extensions.get("pgVector") else []
    wanted += ["pg_search"] if extensions.get("pgSearch", True) else []
    wanted += ["pg_analytics"] if extensions.get("pgAnalytics") else []
    wanted += ["pg_stat_statements", "uuid-ossp", *(extensions.get("additional") or [])]
    return list(dict.fromkeys(wanted))
