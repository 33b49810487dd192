-- Not ParadeDB's pg_search: a stand-in for tests. It tells its version; its indexes, of both names that the access method has,
-- are hash tables of integers, and what is said of their contents is made up: three segments of a thousand documents each.
CREATE FUNCTION paradedb.stand_in_version() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT '0.25.3' $$;
CREATE FUNCTION paradedb.version_info(OUT version text, OUT build_mode text) RETURNS SETOF record
  LANGUAGE sql STABLE AS $$ SELECT '0.25.3', 'release' $$;

CREATE FUNCTION paradedb.bm25_handler(internal) RETURNS index_am_handler LANGUAGE internal STRICT AS 'hashhandler';
CREATE ACCESS METHOD paradedb TYPE INDEX HANDLER paradedb.bm25_handler;
CREATE ACCESS METHOD bm25 TYPE INDEX HANDLER paradedb.bm25_handler;
CREATE OPERATOR CLASS paradedb.integers DEFAULT FOR TYPE integer USING paradedb AS
  OPERATOR 1 =, FUNCTION 1 pg_catalog.hashint4(integer);
CREATE OPERATOR CLASS paradedb.bm25_integers DEFAULT FOR TYPE integer USING bm25 AS
  OPERATOR 1 =, FUNCTION 1 pg_catalog.hashint4(integer);

CREATE FUNCTION paradedb.index_info(index regclass, show_invisible boolean DEFAULT false, OUT segno text, OUT mutable boolean,
  OUT num_docs numeric, OUT num_deleted numeric) RETURNS SETOF record LANGUAGE sql STABLE AS $$
  SELECT 'segment' || number, number = 1, 1000, number FROM generate_series(1, 3) AS number $$;
GRANT USAGE ON SCHEMA paradedb TO PUBLIC;
