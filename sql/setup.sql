-- The extension, and functions that make load packages and show errors without paths.
CREATE EXTENSION loader;
\set helpers `echo "$LOADER_SOURCE/test/regress/helpers.sql"`
\set ECHO none
\i :helpers
\set ECHO all
SELECT DISTINCT proname FROM pg_catalog.pg_proc WHERE pronamespace = 'test'::regnamespace ORDER BY proname;
