-- Roles and databases with names and properties that a careless backup loses or breaks. Run once in any database by a
-- superuser; hostile.sql then fills each of the databases.
\set ON_ERROR_STOP on
SET client_min_messages = warning;

CREATE ROLE "Owner ""of"" 'things'" LOGIN PASSWORD 'p@ss''"\word' CREATEDB;
CREATE ROLE "änderung; DROP ROLE x; --" NOLOGIN;
CREATE ROLE "-r --file=x" LOGIN CONNECTION LIMIT 3 VALID UNTIL '2038-01-19 03:14:07+00';
CREATE ROLE "back\slash $1 %s" BYPASSRLS NOINHERIT;
CREATE ROLE "reader*?[a]" LOGIN PASSWORD 'x';
GRANT "änderung; DROP ROLE x; --" TO "Owner ""of"" 'things'" WITH ADMIN OPTION;
GRANT "back\slash $1 %s" TO "reader*?[a]";
GRANT pg_read_all_settings TO "reader*?[a]";
ALTER ROLE "reader*?[a]" SET search_path = '$user', 'sch"ema', public;
ALTER ROLE "reader*?[a]" SET application_name = E'tab\tand ''quote''';
COMMENT ON ROLE "-r --file=x" IS E'a comment\nof two lines; -- '' " \\';

CREATE DATABASE "Hostile ""db""; 'x' $y" OWNER "Owner ""of"" 'things'";
CREATE DATABASE "host=nowhere dbname=postgres" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' CONNECTION LIMIT 42;
CREATE DATABASE "-Fp.dump/../ä%2e";
CREATE DATABASE "empty *?" IS_TEMPLATE true;
REVOKE CONNECT, TEMPORARY ON DATABASE "Hostile ""db""; 'x' $y" FROM PUBLIC;
GRANT CONNECT ON DATABASE "Hostile ""db""; 'x' $y" TO "reader*?[a]" WITH GRANT OPTION;
ALTER DATABASE "Hostile ""db""; 'x' $y" SET work_mem = '5MB';
ALTER DATABASE "Hostile ""db""; 'x' $y" SET "my.own" = E'v''"\\';
ALTER ROLE "reader*?[a]" IN DATABASE "Hostile ""db""; 'x' $y" SET statement_timeout = '77s';
COMMENT ON DATABASE "-Fp.dump/../ä%2e" IS 'names a file, or not';
