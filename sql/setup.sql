-- Functions that make load packages and errors without paths: see the file.
\set packages `echo "$LOADER_PACKAGES"`
\set ECHO none
\i :packages/../regress/helpers.sql
\set ECHO all
SELECT proname FROM pg_catalog.pg_proc WHERE pronamespace = 'test'::regnamespace ORDER BY proname;
