-- Every SQL example of README.md, taken from there. Errors show; results, which have paths and times
-- in them, do not, and what must have come of them is asked for afterwards.
\set dir `"$LOADER_SOURCE/test/regress/readme.sh"`
\setenv LOADER_README :dir
\! ls "$LOADER_README"
\set file :dir /1.sql
\o /dev/null
\set ECHO none
\i :file
\set file :dir /2.sql
\i :file
\set ECHO all
\o
SELECT loader_wait(package_id, '600s') AS state, count(*) FROM loader.packages WHERE dataset = 'shop' GROUP BY 1;
SELECT count(*) FROM shop.tree;

-- A role that loads
\o /dev/null
\set ECHO none
\set file :dir /3.sql
\i :file
\set file :dir /4.sql
\i :file
\set ECHO all
\o

-- On a schedule, into a dataset of its own.
SET client_min_messages = error;
\o /dev/null
\set ECHO none
\set file :dir /5.sql
\i :file
\set ECHO all
\o
SELECT current_user;
RESET ROLE;
SELECT loader_wait(package_id, '600s') AS state, count(*) FROM loader.packages WHERE dataset = 'readme_cron' GROUP BY 1;
SELECT DISTINCT role_name FROM loader.packages WHERE dataset = 'readme_cron';

-- When something fails
CALL test.package('1.1', test.schema('shop', 'one: id bigint'), 'one.a.0.csv', E'id\nx\n');
SELECT loader_start(test.path('1.1'), 'shop') AS id \gset
SELECT loader_wait(:id, '600s');
\o /dev/null
\set ECHO none
\set file :dir /6.sql
\i :file
\set file :dir /7.sql
\i :file
\set ECHO all
\o
SELECT count(*) FROM loader.packages WHERE package_id = :id;

CALL test.wait_for('NOT EXISTS (SELECT FROM loader.running())');
\! rm -r "$LOADER_README"
DROP SCHEMA shop, readme_cron CASCADE;
DROP OWNED BY regress_loader_etl;
DROP ROLE regress_loader_etl;
