-- Fills one database with everything that a backup must bring back; needs the roles of hostile_roles.sql.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET timezone = 'UTC';

SELECT format('CREATE EXTENSION IF NOT EXISTS %I', name) FROM pg_available_extensions
WHERE name IN ('amcheck', 'btree_gist', 'citext', 'hstore', 'ltree', 'paradedb_probe', 'pg_trgm', 'pgcrypto', 'postgres_fdw', 'vector')
ORDER BY name \gexec

CREATE SCHEMA "sch""ema" AUTHORIZATION "Owner ""of"" 'things'";
CREATE SCHEMA "Ünïcode.dot" AUTHORIZATION "änderung; DROP ROLE x; --";
SET search_path = "sch""ema", public;

CREATE TYPE "Mood ""?""" AS ENUM ('sad', 'o''k', 'häppy', '', 'back\slash');
CREATE TYPE "Pair" AS (a int, "b c" text);
CREATE DOMAIN "Positive" AS int CHECK (VALUE > 0);
CREATE FUNCTION "weird $fn$ name"(text, "a b" int DEFAULT 3) RETURNS text LANGUAGE sql IMMUTABLE
  AS $a$ SELECT $1 || $$;'"$$ || "a b" $a$;
CREATE PROCEDURE "do"() LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;

CREATE TABLE "select" (
  id bigint GENERATED ALWAYS AS IDENTITY (START 1000 INCREMENT 7) PRIMARY KEY,
  "col""umn 'x'" text COLLATE "C" DEFAULT E'a\tb\n\\.' NOT NULL,
  "
new line" text,
  mood "Mood ""?""", pair "Pair", positive "Positive", "Upper" citext,
  numbers numeric[], flt float8, ts timestamptz, span tstzrange, iv interval, net inet, bin bytea, doc jsonb, x xml, b bit(5),
  made text GENERATED ALWAYS AS ("weird $fn$ name"("col""umn 'x'")) STORED,
  EXCLUDE USING gist (span WITH &&)
);
INSERT INTO "select" ("col""umn 'x'", "
new line", mood, pair, positive, "Upper", numbers, flt, ts, span, iv, net, bin, doc, x, b) VALUES
  (E'\\.', E'\\N', 'sad', '(1,"a ""b"" c")', 1, 'MiXed', '{1.50,NaN,NULL,-0.0000001}', 'NaN', 'infinity', '[2020-01-01,2020-01-02)', '-3 mons 4 days', '::1/64', '\x00ff0a0d5c', '{"a": [null, "ü\u0001"]}', '<a>&amp;</a>', B'10101'),
  ('', NULL, '', NULL, NULL, NULL, '{}', '-Infinity', '-infinity', 'empty', NULL, NULL, '', 'null', NULL, NULL),
  (E'tab\t cr\r lf\n quote'' dquote" 🐘', '', 'back\slash', '(,)', 2147483647, 'ß', '{{1,2},{3,4}}', 0.1, '2000-01-01 00:00:00.000001+00', '(,2010-01-01)', '1 microsecond', '10.0.0.1', '\xdeadbeef', '[]', NULL, B'00000');

CREATE TABLE "Ünïcode.dot"."parent.*" (k int, region text, v text) PARTITION BY LIST (region);
CREATE TABLE "Ünïcode.dot"."child one" PARTITION OF "Ünïcode.dot"."parent.*" FOR VALUES IN ('a', 'o''b') PARTITION BY RANGE (k);
CREATE TABLE "Ünïcode.dot"."grand child" PARTITION OF "Ünïcode.dot"."child one" FOR VALUES FROM (MINVALUE) TO (500);
CREATE TABLE "Ünïcode.dot"."rest" PARTITION OF "Ünïcode.dot"."child one" DEFAULT;
CREATE TABLE "Ünïcode.dot"."others" PARTITION OF "Ünïcode.dot"."parent.*" DEFAULT;
INSERT INTO "Ünïcode.dot"."parent.*" SELECT i, (ARRAY['a', 'o''b', NULL, 'z'])[1 + i % 4], md5(i::text) FROM generate_series(1, 1000) i;
CREATE TABLE referring (id int PRIMARY KEY, parent bigint REFERENCES "select" DEFERRABLE INITIALLY DEFERRED, note text);
INSERT INTO referring VALUES (1, 1000, 'x'), (2, NULL, NULL);
CREATE TABLE heir (extra int) INHERITS (referring);
INSERT INTO heir VALUES (3, NULL, 'in the heir', 9);
CREATE UNLOGGED TABLE fleeting AS SELECT generate_series(1, 50) AS n;
CREATE TABLE "no columns" ();
INSERT INTO "no columns" DEFAULT VALUES;
CREATE TABLE "a name of exactly sixty-three bytes, as long as it may ever be.." (v int);

CREATE SEQUENCE "seq ""1""" START 5 INCREMENT -2 MINVALUE -100 MAXVALUE 10 CYCLE;
SELECT nextval('"seq ""1"""'), nextval('"seq ""1"""');
CREATE SEQUENCE untouched OWNED BY referring.id;

CREATE INDEX "idx; --" ON "select" (lower("col""umn 'x'")) WHERE id > 0;
CREATE INDEX ON "select" USING gin (doc jsonb_path_ops);
CREATE INDEX ON "select" USING gin ("col""umn 'x'" gin_trgm_ops);
CREATE STATISTICS "st at" (dependencies) ON k, region FROM "Ünïcode.dot"."parent.*";
CREATE VIEW "view" WITH (security_barrier) AS SELECT id, "col""umn 'x'" AS "as" FROM "select";
CREATE MATERIALIZED VIEW "mat view" AS SELECT count(*) AS n FROM "Ünïcode.dot"."parent.*";
CREATE MATERIALIZED VIEW "not filled" AS SELECT 1 AS one WITH NO DATA;
CREATE FUNCTION raise() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := coalesce(NEW.note, '') || '!'; RETURN NEW; END $$;
CREATE TRIGGER "trig""ger" BEFORE INSERT ON referring FOR EACH ROW EXECUTE FUNCTION raise();
CREATE TRIGGER disabled BEFORE UPDATE ON referring FOR EACH ROW EXECUTE FUNCTION raise();
ALTER TABLE referring DISABLE TRIGGER disabled;
CREATE RULE "ru le" AS ON DELETE TO "view" DO INSTEAD NOTHING;
CREATE TEXT SEARCH CONFIGURATION "tsc" (COPY = simple);
CREATE AGGREGATE "agg"(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
CREATE CAST (text AS "Pair") WITH INOUT;

-- Rows that no ordinary user sees, the owner included.
CREATE TABLE secretive (owner name, what text);
INSERT INTO secretive SELECT 'nobody', 'row ' || i FROM generate_series(1, 20) i;
ALTER TABLE secretive OWNER TO "Owner ""of"" 'things'";
ALTER TABLE secretive ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY "po'licy" ON secretive FOR SELECT TO "reader*?[a]" USING (owner = current_user);

GRANT USAGE ON SCHEMA "sch""ema" TO "reader*?[a]";
GRANT SELECT (id, mood), UPDATE ("col""umn 'x'") ON "select" TO "reader*?[a]" WITH GRANT OPTION;
GRANT ALL ON "view" TO "änderung; DROP ROLE x; --";
GRANT SELECT ON ALL TABLES IN SCHEMA "Ünïcode.dot" TO PUBLIC;
GRANT EXECUTE ON FUNCTION "weird $fn$ name" TO "-r --file=x";
REVOKE EXECUTE ON FUNCTION "weird $fn$ name" FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE "Owner ""of"" 'things'" IN SCHEMA "sch""ema" GRANT SELECT ON TABLES TO "reader*?[a]";
ALTER TABLE "select" OWNER TO "änderung; DROP ROLE x; --";
ALTER TABLE "select" ALTER COLUMN doc SET STATISTICS 17, ALTER COLUMN bin SET STORAGE EXTERNAL, SET (fillfactor = 71);
ALTER TABLE "select" REPLICA IDENTITY FULL;
CLUSTER "select" USING "select_pkey";
COMMENT ON COLUMN "select"."
new line" IS E'; DROP TABLE "select"; --\n\\connect postgres';
COMMENT ON TABLE "no columns" IS '';
CREATE PUBLICATION "pub ""l""" FOR TABLE "Ünïcode.dot"."parent.*", secretive WITH (publish = 'insert');
CREATE SERVER "far 'away'" FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1', dbname 'x"y''z');
CREATE USER MAPPING FOR "reader*?[a]" SERVER "far 'away'" OPTIONS (user 'u', password 'p''w');
CREATE FOREIGN TABLE "foreign" (a int) SERVER "far 'away'";

-- Large objects: empty, with every byte, of several pages; with an owner, a grant and a comment.
SELECT lo_from_bytea(70001, ''), lo_from_bytea(70002, decode(string_agg(lpad(to_hex(i), 2, '0'), '' ORDER BY i), 'hex')) FROM generate_series(0, 255) i;
SELECT lo_from_bytea(70003, convert_to(repeat('large object ', 20000), 'UTF8'));
ALTER LARGE OBJECT 70002 OWNER TO "Owner ""of"" 'things'";
GRANT SELECT ON LARGE OBJECT 70003 TO "reader*?[a]";
COMMENT ON LARGE OBJECT 70003 IS 'of several pages';

CREATE FUNCTION public.told() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE EVENT TRIGGER "event 'trigger'" ON ddl_command_start EXECUTE FUNCTION public.told();
CREATE TABLE public.moments (n int PRIMARY KEY, what text);
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_extension WHERE extname = 'vector') THEN
    CREATE TABLE public.embeddings (id int PRIMARY KEY, embedding vector(3));
    INSERT INTO public.embeddings SELECT i, format('[%s,%s,%s]', i, i / 3.0, -i)::vector FROM generate_series(1, 500) i;
    CREATE INDEX ON public.embeddings USING hnsw (embedding vector_l2_ops);
  END IF;
END $$;
