"""SQL about the function that tells the pooler the users' verifiers, so that it needs no list of them."""

from __future__ import annotations

# Never of whom the pooler has no business with: superusers, replication, and the operator's own roles.
LOOKUP = r"""
  SELECT r.rolname::text, r.rolpassword
  FROM pg_catalog.pg_authid AS r
  WHERE r.rolname = wanted AND r.rolcanlogin AND NOT r.rolsuper AND NOT r.rolreplication
    AND (r.rolvaliduntil IS NULL OR r.rolvaliduntil > pg_catalog.now())
    AND r.rolname NOT IN ('paradedb_replication', 'paradedb_rewind', 'paradedb_pooler', 'paradedb_exporter')
"""

# A plan as those of access_plans, for database postgres. A schema of that name which somebody else made is
# moved out of the way: its owner could put another function in place.
PLAN = r"""
  WITH params AS (SELECT current_setting('paradedb_operator.params')::jsonb AS p),
  seen AS (
    SELECT p->>'lookup' AS lookup, n.oid, r.rolname AS owner,
           coalesce(n.nspacl, acldefault('n', n.nspowner)) AS acl
    FROM params LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = 'paradedb_pooler'
    LEFT JOIN pg_catalog.pg_authid AS r ON r.oid = n.nspowner
  ),
  judged AS (
    SELECT seen.*,
      owner = current_user
      AND NOT EXISTS (SELECT FROM aclexplode(acl) LEFT JOIN pg_catalog.pg_authid AS r ON r.oid = grantee
                      WHERE coalesce(r.rolname NOT IN (current_user, 'paradedb_pooler'), true))
      AND EXISTS (SELECT FROM aclexplode(acl) JOIN pg_catalog.pg_authid AS r ON r.oid = grantee
                  WHERE r.rolname = 'paradedb_pooler' AND privilege_type = 'USAGE')
      AND EXISTS (
        SELECT FROM pg_catalog.pg_proc AS f, LATERAL (
          SELECT bool_or(grantee = 0) AS everybody, bool_or(r.rolname = 'paradedb_pooler') AS pooler
          FROM aclexplode(coalesce(proacl, acldefault('f', proowner)))
          LEFT JOIN pg_catalog.pg_authid AS r ON r.oid = grantee
        ) AS allowed
        WHERE f.pronamespace = seen.oid AND f.proname = 'lookup' AND f.proargtypes = '25'
          AND f.prosrc = lookup
          AND f.proowner = (SELECT oid FROM pg_catalog.pg_authid WHERE rolname = current_user)
          AND f.prosecdef AND f.proconfig = ARRAY['search_path=pg_catalog, pg_temp']
          AND f.prolang = (SELECT oid FROM pg_catalog.pg_language WHERE lanname = 'sql')
          AND pooler AND NOT everybody
      ) AS good
    FROM seen
  )
  SELECT jsonb_build_object('service', 'paradedb_pooler') AS about,
         ARRAY['make the function paradedb_pooler.lookup'] AS changes,
         array_remove(ARRAY[
           CASE WHEN owner <> current_user
             THEN format('ALTER SCHEMA paradedb_pooler RENAME TO %I',
                         -- the oid: that name could be taken as well
                         format('paradedb_pooler_%s_of_%s', oid, left(owner, 30))) END,
           'CREATE SCHEMA IF NOT EXISTS paradedb_pooler',
           'DROP FUNCTION IF EXISTS paradedb_pooler.lookup(text)',
           format('CREATE FUNCTION paradedb_pooler.lookup(wanted text, OUT name text, OUT verifier text)'
                  ' RETURNS SETOF record LANGUAGE sql STABLE STRICT SECURITY DEFINER'
                  ' SET search_path = pg_catalog, pg_temp AS %L', lookup),
           'REVOKE ALL ON FUNCTION paradedb_pooler.lookup(text) FROM PUBLIC',
           'GRANT EXECUTE ON FUNCTION paradedb_pooler.lookup(text) TO paradedb_pooler',
           'REVOKE ALL ON SCHEMA paradedb_pooler FROM PUBLIC',
           'GRANT USAGE ON SCHEMA paradedb_pooler TO paradedb_pooler'], NULL)
         || ARRAY(SELECT DISTINCT format('REVOKE ALL ON SCHEMA paradedb_pooler FROM %I', r.rolname)
                  FROM aclexplode(acl) JOIN pg_catalog.pg_authid AS r ON r.oid = grantee
                  WHERE owner = current_user AND r.rolname NOT IN (current_user, 'paradedb_pooler'))
         AS statements,
         NULL::text AS problem
  FROM judged, params WHERE lookup IS NOT NULL AND good IS NOT TRUE
    AND (EXISTS (SELECT FROM pg_catalog.pg_authid WHERE rolname = 'paradedb_pooler')
         OR NOT (p->>'apply')::boolean)
  UNION ALL
  SELECT jsonb_build_object('service', 'paradedb_pooler'), ARRAY['drop schema paradedb_pooler'],
         ARRAY['DROP SCHEMA paradedb_pooler CASCADE'], NULL
  FROM judged WHERE lookup IS NULL AND owner = current_user
"""
