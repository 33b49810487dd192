"""SQL that finds what is not as the spec says about roles, owners and privileges.

A plan is a query of rows: ``about`` (a JSON object), ``changes`` (texts for people), ``statements`` that
bring them about, and ``problem`` where nothing can be done. It reads ``access.parameters`` from a setting,
and quotes all names with ``format``. The same query foretells: of roles and databases still to be made, too.
"""

from __future__ import annotations

# What is known of the roles. A comment of the operator's on a role is how it knows those that it made; a
# user's role is known by its membership in the group. That is looked up in the catalog: asked with
# pg_has_role, a superuser is a member of everything.
KNOWN = r"""
  params AS (SELECT current_setting('paradedb_operator.params')::jsonb AS p),
  known AS (
    SELECT r.oid, r.rolname::text AS name, r.rolcanlogin, r.rolpassword, r.rolconnlimit, r.rolsuper,
           r.rolsuper OR r.rolreplication AS powerful,
           r.rolsuper OR r.rolreplication OR r.rolcreatedb OR r.rolcreaterole OR r.rolbypassrls AS elevated,
           EXISTS (SELECT FROM pg_catalog.pg_shdescription
                   WHERE objoid = r.oid AND classoid = 'pg_catalog.pg_authid'::regclass
                     AND description = p->>'mark') AS marked,
           EXISTS (SELECT FROM pg_catalog.pg_auth_members AS m
                   JOIN pg_catalog.pg_authid AS g ON g.oid = m.roleid
                   WHERE m.member = r.oid AND g.rolname = p->>'group') AS member,
           r.rolname = current_user OR p->'reserved' ? r.rolname::text AS reserved
    FROM pg_catalog.pg_authid AS r, params
  ),
  guild AS (SELECT known.* FROM known, params WHERE name = p->>'group'),
  users AS (
    SELECT u->>'name' AS name, u->>'verifier' AS verifier, (u->>'given')::boolean AS given, position
    FROM params, jsonb_array_elements(p->'users') WITH ORDINALITY AS listed(u, position)
  ),
  services AS (
    SELECT s->>'name' AS name, s->>'verifier' AS verifier, (s->>'on')::boolean AS wanted,
           s->>'parent' AS parent, (s->>'limit')::int AS connections, s->'settings' AS settings, position
    FROM params, jsonb_array_elements(p->'services') WITH ORDINALITY AS listed(s, position)
  )
"""

_PLAIN = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"

# PostgreSQL 16 and later know memberships that give nothing; before, the group itself has nothing to give.
ROLES = r"""
  WITH @known@,
  harmless AS (
    SELECT CASE WHEN current_setting('server_version_num')::int >= 160000
           THEN ' WITH ADMIN FALSE, INHERIT FALSE, SET FALSE' ELSE '' END AS options
  ),
  seen AS (
    SELECT w.name, w.verifier, w.given, w.position, r.oid, r.powerful, r.member,
           r.oid IS NOT NULL AND (r.elevated OR NOT r.rolcanlogin) AS altered,
           r.oid IS NOT NULL AND r.rolpassword IS DISTINCT FROM w.verifier AS outdated,
           r.oid IS NOT NULL AND NOT r.member AS another
    FROM users AS w LEFT JOIN known AS r ON r.name = w.name
  ),
  serving AS (
    SELECT s.*, r.oid, r.powerful, r.marked,
           r.oid IS NOT NULL AND (r.elevated OR NOT r.rolcanlogin OR NOT r.marked
                                  OR r.rolconnlimit <> s.connections) AS altered,
           r.oid IS NOT NULL AND r.rolpassword IS DISTINCT FROM s.verifier AS outdated,
           s.parent IS NOT NULL AND NOT EXISTS (
             SELECT FROM pg_catalog.pg_auth_members AS m JOIN pg_catalog.pg_authid AS g ON g.oid = m.roleid
             WHERE m.member = r.oid AND g.rolname = s.parent) AS orphaned,
           ARRAY(SELECT key || '=' || value FROM jsonb_each_text(s.settings) ORDER BY 1)
             <> ARRAY(SELECT setting FROM pg_catalog.pg_db_role_setting, unnest(setconfig) AS setting
                      WHERE setdatabase = 0 AND setrole = r.oid ORDER BY 1) AS unset
    FROM services AS s LEFT JOIN known AS r ON r.name = s.name
  ),
  plan AS (
    SELECT 1 AS step, 1::bigint AS position, jsonb_build_object('reason', 'RoleTaken') AS about,
           ARRAY[format('create group %s', p->>'group')] AS changes,
           ARRAY[format('CREATE ROLE %I NOLOGIN @plain@', p->>'group'),
                 format('COMMENT ON ROLE %I IS %L', p->>'group', p->>'mark')] AS statements,
           NULL::text AS problem
    FROM params WHERE EXISTS (SELECT FROM users) AND NOT EXISTS (SELECT FROM guild)
    UNION ALL
    SELECT 2, 1, jsonb_build_object('reason', 'RoleTaken'),
           ARRAY[format('take what a group does not need from %s', name)],
           ARRAY[format('ALTER ROLE %I NOLOGIN @plain@ PASSWORD NULL', name)], NULL
    FROM guild WHERE marked AND (elevated OR rolcanlogin OR rolpassword IS NOT NULL)
    UNION ALL
    SELECT 3, u.position,
           jsonb_build_object('user', u.name,
                              'reason', CASE WHEN taken IS NOT NULL THEN 'RoleTaken'
                                             WHEN strange IS NOT NULL THEN 'RoleExists'
                                             ELSE 'UserFailed' END),
           array_remove(ARRAY[
             CASE WHEN oid IS NULL THEN format('create role %s', u.name) END,
             CASE WHEN another THEN format('take role %s over', u.name) END,
             CASE WHEN altered THEN format('set the attributes of role %s', u.name) END,
             CASE WHEN outdated THEN format('set the password of role %s', u.name) END], NULL),
           array_remove(ARRAY[
             CASE WHEN oid IS NULL
               THEN format('CREATE ROLE %I LOGIN @plain@ PASSWORD %L', u.name, u.verifier) END,
             CASE WHEN altered OR outdated
               THEN format('ALTER ROLE %I LOGIN @plain@ PASSWORD %L', u.name, u.verifier) END,
             CASE WHEN oid IS NULL OR another
               THEN format('GRANT %I TO %I%s', p->>'group', u.name, options) END], NULL),
           coalesce(taken, strange)
    FROM params, harmless, seen AS u, LATERAL (
      SELECT CASE
        WHEN EXISTS (SELECT FROM guild WHERE NOT marked)
          THEN format('there is a role %s that the operator did not make; rename it', p->>'group')
        WHEN p->'reserved' ? u.name OR u.name = current_user
          THEN 'the role is the superuser''s or the operator''s own; choose another name'
        WHEN u.powerful AND NOT u.member
          THEN 'there is a superuser or a replication role of that name; choose another name' END AS taken,
        CASE WHEN another AND NOT given
          THEN format('role %s exists and was not made by the operator; name a Secret with its password in '
                      'secretRef to hand it over', u.name) END AS strange
    ) AS judged
    WHERE oid IS NULL OR another OR altered OR outdated OR taken IS NOT NULL
    UNION ALL
    SELECT 4, r.oid::bigint, jsonb_build_object('role', r.name, 'reason', 'UserFailed'),
           ARRAY[format('take the login of role %s', r.name)],
           ARRAY[format('ALTER ROLE %I NOLOGIN PASSWORD NULL', r.name)], NULL
    FROM params, guild, known AS r
    WHERE guild.marked AND r.member AND NOT r.reserved AND NOT r.powerful AND NOT p->'untouched' ? r.name
      AND NOT EXISTS (SELECT FROM users WHERE users.name = r.name)
      AND (r.rolcanlogin OR r.rolpassword IS NOT NULL)
    UNION ALL
    SELECT 4, r.oid::bigint, jsonb_build_object('role', r.name, 'reason', 'RoleTaken'), NULL, NULL,
           format('it is in the spec no longer, but somebody made it a superuser or a replication role, so '
                  'that it keeps its login; ALTER ROLE %1$I NOSUPERUSER NOREPLICATION, or, to keep it as it '
                  'is, REVOKE %2$I FROM %1$I', r.name, p->>'group')
    FROM params, guild, known AS r
    WHERE guild.marked AND r.member AND NOT r.reserved AND r.powerful AND NOT p->'untouched' ? r.name
      AND NOT EXISTS (SELECT FROM users WHERE users.name = r.name)
    UNION ALL
    SELECT 5, s.position, jsonb_build_object('service', s.name),
           array_remove(ARRAY[
             CASE WHEN oid IS NULL THEN format('create role %s', s.name) END,
             CASE WHEN altered OR orphaned OR unset THEN format('set the attributes of role %s', s.name) END,
             CASE WHEN outdated THEN format('set the password of role %s', s.name) END], NULL),
           array_remove(ARRAY[
             CASE WHEN oid IS NULL THEN format('CREATE ROLE %I', s.name) END,
             format('ALTER ROLE %I LOGIN @plain@ CONNECTION LIMIT %s PASSWORD %L',
                    s.name, s.connections, s.verifier),
             format('COMMENT ON ROLE %I IS %L', s.name, p->>'mark'),
             CASE WHEN orphaned THEN format('GRANT %I TO %I', s.parent, s.name) END,
             CASE WHEN unset THEN format('ALTER ROLE %I RESET ALL', s.name) END], NULL)
           || ARRAY(SELECT format('ALTER ROLE %I SET %I TO %L', s.name, key, value)
                    FROM jsonb_each_text(s.settings) WHERE unset),
           CASE WHEN powerful AND NOT marked
             THEN 'there is a superuser or a replication role of that name; rename it' END
    FROM params, serving AS s
    WHERE s.wanted AND s.verifier IS NOT NULL AND (oid IS NULL OR altered OR outdated OR orphaned OR unset)
    UNION ALL
    SELECT 6, s.position, jsonb_build_object('service', s.name),
           ARRAY[format('take the login of role %s', s.name)],
           ARRAY[format('ALTER ROLE %I NOLOGIN PASSWORD NULL', s.name)], NULL
    FROM services AS s JOIN known AS r ON r.name = s.name
    WHERE NOT s.wanted AND r.marked AND NOT r.powerful AND (r.rolcanlogin OR r.rolpassword IS NOT NULL)
  )
  SELECT about, changes, statements, problem FROM plan ORDER BY step, position
""".replace("@known@", KNOWN).replace("@plain@", _PLAIN)

# Only of databases whose owner the spec names: another may have one from before the spec had it.
OWNERS = r"""
  SELECT jsonb_build_object('database', name, 'field', 'owner', 'reason', 'DatabaseFailed') AS about,
         ARRAY[format('make role %s the owner of database %s', owner, name)] AS changes,
         ARRAY[format('ALTER DATABASE %I OWNER TO %I', name, owner)] AS statements,
         CASE WHEN r.oid IS NULL AND ((p->>'apply')::boolean OR p->'untouched' ? owner)
           THEN format('there is no role %s yet', owner) END AS problem
  FROM (SELECT current_setting('paradedb_operator.params')::jsonb AS p) AS params,
       jsonb_array_elements(p->'owners') AS w,
       LATERAL (SELECT w->>'database' AS name, w->>'owner' AS owner) AS named
  LEFT JOIN pg_catalog.pg_database AS d ON d.datname = name
  LEFT JOIN pg_catalog.pg_authid AS r ON r.rolname = owner
  WHERE owner IS NOT NULL AND (d.oid IS NULL OR r.oid IS NULL OR d.datdba <> r.oid)
    AND (d.oid IS NOT NULL OR p->'create' ? name AND NOT (p->>'apply')::boolean)
  ORDER BY name
"""

# A database's PUBLIC may connect to it and make temporary tables, by default: that has to end where
# privileges are to be as declared. So, of each database in one piece: first every role that is not the
# operator's gets as its own what it has through PUBLIC, then PUBLIC loses it, then the roles of the spec
# get what they are to have and lose the rest. An owner's privileges are the owner's affair. What a role of
# ours granted to others goes with its grant option (CASCADE), so such entries count as gone; another
# grantor's are taken back in that grantor's name, as PostgreSQL asks for.
# https://www.postgresql.org/docs/17/ddl-priv.html
# A group that a role of ours is in gets nothing, or that role would have it; the group's others do.
PRIVILEGES = r"""
  WITH RECURSIVE @known@,
  bases AS (
    SELECT d.datname::text AS name, d.datdba, coalesce(d.datacl, acldefault('d', d.datdba)) AS acl,
           coalesce(w->>'owner', a.rolname) AS owner
    FROM pg_catalog.pg_database AS d JOIN pg_catalog.pg_authid AS a ON a.oid = d.datdba
    LEFT JOIN LATERAL (SELECT o FROM params, jsonb_array_elements(p->'owners') AS o
                       WHERE o->>'database' = d.datname) AS owners(w) ON true
    UNION ALL
    SELECT fresh, me.oid, acldefault('d', me.oid), coalesce(w->>'owner', current_user)
    FROM params, known AS me, jsonb_array_elements_text(p->'create') AS fresh
    LEFT JOIN LATERAL (SELECT o FROM params, jsonb_array_elements(p->'owners') AS o
                       WHERE o->>'database' = fresh) AS owners(w) ON true
    WHERE me.name = current_user AND NOT (p->>'apply')::boolean
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = fresh)
  ),
  ours AS (
    SELECT name FROM guild WHERE marked
    UNION
    SELECT r.name FROM params, guild, known AS r
    WHERE guild.marked AND r.member AND NOT r.reserved AND NOT r.powerful AND NOT p->'untouched' ? r.name
    UNION
    SELECT r.name FROM services JOIN known AS r USING (name) WHERE r.marked AND NOT r.powerful
    UNION  -- those that are to be
    SELECT w.name
    FROM params, (SELECT name FROM users UNION ALL SELECT name FROM services WHERE wanted) AS w
    LEFT JOIN known AS r ON r.name = w.name
    WHERE NOT (p->>'apply')::boolean
      AND (r.oid IS NULL OR NOT r.reserved AND NOT r.powerful)
      AND NOT EXISTS (SELECT FROM users AS u WHERE u.name = r.name AND NOT u.given AND NOT r.member)
      AND NOT EXISTS (SELECT FROM guild WHERE NOT marked)
  ),
  entries AS (
    SELECT b.name AS database, CASE WHEN e.grantee = b.datdba THEN b.owner ELSE grantee.name END AS grantee,
           e.privilege_type AS privilege, e.is_grantable,
           CASE WHEN e.grantor <> b.datdba THEN grantor.name END AS other
    FROM bases AS b, aclexplode(b.acl) AS e
    LEFT JOIN known AS grantee ON grantee.oid = e.grantee
    LEFT JOIN known AS grantor ON grantor.oid = e.grantor
    WHERE e.grantor = b.datdba OR NOT EXISTS (SELECT FROM ours WHERE ours.name = grantor.name)
  ),
  wanted AS (
    SELECT DISTINCT b.name AS database, ours.name AS role, privilege
    FROM params, jsonb_array_elements(p->'grants') AS g
    JOIN bases AS b ON b.name = g->>'database'
    JOIN ours ON ours.name = g->>'role'
    CROSS JOIN jsonb_array_elements_text(g->'privileges') AS privilege
    WHERE b.owner <> ours.name
  ),
  opened AS (  -- PUBLIC is the grantee that is no role
    SELECT e.* FROM entries AS e, params WHERE e.grantee IS NULL AND p->'closed' ? e.database
  ),
  groups AS (  -- of which a role of ours is a member
    SELECT m.roleid AS oid
    FROM pg_catalog.pg_auth_members AS m JOIN known AS r ON r.oid = m.member
    WHERE r.name IN (SELECT name FROM ours) OR r.member AND EXISTS (SELECT FROM guild WHERE marked)
    UNION
    SELECT m.roleid FROM groups JOIN pg_catalog.pg_auth_members AS m ON m.member = groups.oid
  ),
  steps AS (
    SELECT DISTINCT o.database, 1 AS step, NULL AS other, NULL AS change,
           format('GRANT %s ON DATABASE %I TO %s', o.privilege, o.database, keepers.names) AS statement
    FROM opened AS o, LATERAL (
      SELECT string_agg(quote_ident(r.name), ', ' ORDER BY r.name) AS names
      FROM known AS r
      WHERE NOT r.rolsuper AND NOT starts_with(r.name, 'pg_')
        AND NOT EXISTS (SELECT FROM ours WHERE ours.name = r.name)
        AND NOT (r.member AND EXISTS (SELECT FROM guild WHERE marked))
        AND NOT (NOT r.rolcanlogin AND r.oid IN (SELECT oid FROM groups))
        AND NOT EXISTS (SELECT FROM entries AS e
                        WHERE (e.database, e.grantee, e.privilege) = (o.database, r.name, o.privilege))
    ) AS keepers
    WHERE keepers.names IS NOT NULL
    UNION ALL
    SELECT database, 2, other, format('take %s on database %s from PUBLIC', privilege, database),
           format('REVOKE %s ON DATABASE %I FROM PUBLIC CASCADE', privilege, database)
    FROM opened
    UNION ALL
    SELECT e.database, 3, e.other,
           format('take %s%s on database %s from role %s',
                  CASE WHEN surplus THEN '' ELSE 'the grant option of ' END,
                  e.privilege, e.database, e.grantee),
           format('REVOKE %s%s ON DATABASE %I FROM %I CASCADE',
                  CASE WHEN surplus THEN '' ELSE 'GRANT OPTION FOR ' END,
                  e.privilege, e.database, e.grantee)
    FROM entries AS e JOIN bases AS b ON b.name = e.database JOIN ours ON ours.name = e.grantee, LATERAL (
      SELECT NOT EXISTS (SELECT FROM wanted AS w
                         WHERE (w.database, w.role, w.privilege) = (e.database, e.grantee, e.privilege))
             AS surplus
    ) AS judged
    WHERE e.grantee <> b.owner AND (surplus OR e.is_grantable)
    UNION ALL
    SELECT w.database, 4, NULL, format('grant %s on database %s to role %s', w.privilege, w.database, w.role),
           format('GRANT %s ON DATABASE %I TO %I', w.privilege, w.database, w.role)
    FROM wanted AS w
    WHERE NOT EXISTS (SELECT FROM entries AS e
                      WHERE (e.database, e.grantee, e.privilege) = (w.database, w.role, w.privilege))
  ),
  ordered AS (
    SELECT database, step, change,
           CASE WHEN other IS NULL THEN statement
             ELSE format('SET LOCAL ROLE %I; %s; SET LOCAL ROLE NONE', other, statement) END AS statement
    FROM steps
  )
  SELECT jsonb_build_object('database', database, 'field', '', 'reason', 'DatabaseFailed') AS about,
         coalesce(array_agg(change ORDER BY step, change) FILTER (WHERE change IS NOT NULL), '{}') AS changes,
         array_agg(statement ORDER BY step, statement) AS statements, NULL::text AS problem
  FROM ordered GROUP BY database ORDER BY database
""".replace("@known@", KNOWN)
