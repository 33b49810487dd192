-- Not ParadeDB's pg_search: a stand-in for tests, which only tells its version.
CREATE FUNCTION paradedb.stand_in_version() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT '0.25.3' $$;
