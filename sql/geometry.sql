-- Columns with the hints of dlt's postgres_adapter, where PostGIS can be had. It is in a schema of its own, and nowhere in search_path.
SELECT NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'postgis') AS no_postgis \gset
\if :no_postgis
\quit
\endif
SET client_min_messages = error;
SELECT test.forget();
\set places '''places: id bigint!, loc text +x-postgres-geometry +x-postgres-srid=4326, utm text +x-postgres-geometry +x-postgres-srid=25832; write_disposition="append"'''

-- Without PostGIS in this database
CALL test.package('1.1', test.schema('g', :places), 'places.a.0.csv', E'id,loc,utm\n1,POINT(13.4 52.5),\n');
SELECT * FROM test.try(format('SELECT * FROM loader_plan(%L, ''geo'')', test.path('1.1')));
CALL test.load('1.1', 'geo');

-- With it; a type of the same name that search_path finds is another one.
CREATE SCHEMA gis;
CREATE EXTENSION postgis SCHEMA gis;
CREATE DOMAIN public.geometry AS text;
SHOW search_path;
CALL test.load('1.1', 'geo');
CALL test.package('1.2', test.schema('g', :places),
	'places.a.0.insert_values', E'INSERT INTO {}("id","loc","utm")\nVALUES\n(2,E\'SRID=4326;LINESTRING(0 0,1 1)\',NULL),\n(3,NULL,E\'POINT(390000 5800000)\');\n',
	'places.b.0.jsonl', E'{"id":4,"loc":"0101000000000000000000F03F0000000000000040"}\n{"id":5,"loc":"{\\"type\\":\\"Point\\",\\"coordinates\\":[5,6]}","utm":"POINT EMPTY"}\n');
CALL test.load('1.2', 'geo');
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'geo.places'::regclass AND attnum > 0 ORDER BY attnum;
SELECT id, gis.ST_AsEWKT(loc) AS loc, gis.ST_AsEWKT(utm) AS utm FROM geo.places ORDER BY id;
-- no difference between table and package, wherever the type is; then one
CALL test.package('1.3', test.schema('g', :places), 'places.a.0.csv', E'id,loc,utm\n6,POINT(1 1),\n');
SELECT action, object, detail FROM loader_plan(test.path('1.3'), 'geo') WHERE action = 'keep type';
CALL test.package('1.3', test.schema('g', replace(:places, '25832', '3857')), 'places.a.0.csv', E'id,loc,utm\n6,POINT(1 1),\n');
SELECT action, object, detail FROM loader_plan(test.path('1.3'), 'geo') WHERE action = 'keep type';

-- an SRID of 0 or below is none
\set plan '''plane: shape text +x-postgres-geometry +x-postgres-srid=0, other text +x-postgres-geometry +x-postgres-srid=-1; write_disposition="append"'''
CALL test.package('1.4', test.schema('g', :plan), 'plane.a.0.csv', E'shape,other\nPOINT(1 1),POINT(2 2)\n');
CALL test.load('1.4', 'geo');
SELECT gis.ST_AsEWKT(shape) AS shape, gis.ST_AsEWKT(other) AS other FROM geo.plane;
CALL test.package('1.5', test.schema('g', :plan), 'plane.a.0.csv', E'shape,other\nPOINT Z (1 1 1),\n');
SELECT action, object, detail FROM loader_plan(test.path('1.5'), 'geo') WHERE action = 'keep type';
CALL test.load('1.5', 'geo');

-- What PostGIS refuses: another SRID, a third dimension, what is not its text
\set place '''places: id bigint!, loc text +x-postgres-geometry; write_disposition="append"'''
CALL test.package('1.6', test.schema('g', :place), 'places.a.0.csv', E'id,loc\n7,POINT(1 1)\n8,SRID=3857;POINT(1 1)\n');
CALL test.load('1.6', 'geo');
CALL test.package('1.6', test.schema('g', :place), 'places.a.0.csv', E'id,loc\n7,POINT Z (1 2 3)\n');
CALL test.load('1.6', 'geo');
CALL test.package('1.6', test.schema('g', :place), 'places.a.0.jsonl', E'{"id":7,"loc":"POINT(1"}\n');
CALL test.load('1.6', 'geo');
SELECT count(*) FROM geo.places;

-- Merged: an unchanged geometry is unchanged
\set shops '''shops: id bigint! +primary_key, loc text +x-postgres-geometry; write_disposition="merge", x-merge-strategy="upsert"'''
CALL test.package('2.1', test.schema('g', :shops), 'shops.a.0.csv', E'id,loc\n1,POINT(1 1)\n2,POINT(2 2)\n3,\n');
CALL test.load('2.1', 'geo');
CALL test.package('2.2', test.schema('g', :shops), 'shops.a.0.csv', E'id,loc\n1,POINT(1 1)\n2,POINT(2 3)\n3,\n4,POINT(4 4)\n');
CALL test.load('2.2', 'geo');
SELECT id, gis.ST_AsText(loc) AS loc FROM geo.shops ORDER BY id;
-- a geometry as key of a delete-insert
\set areas '''areas: loc text +merge_key +x-postgres-geometry, n bigint; write_disposition="merge"'''
CALL test.package('2.3', test.schema('g', :areas), 'areas.a.0.csv', E'loc,n\nPOINT(1 1),1\nPOINT(2 2),2\n');
CALL test.load('2.3', 'geo');
CALL test.package('2.4', test.schema('g', :areas), 'areas.a.0.csv', E'loc,n\nPOINT(2 2),3\nPOINT(2 2),4\n');
CALL test.load('2.4', 'geo');
SELECT gis.ST_AsText(loc) AS loc, n FROM geo.areas ORDER BY n;

-- Replaced by a swap, with a GiST index, and by difference
\set marks '''marks: id bigint!, loc text +x-postgres-geometry; write_disposition="replace"'''
CALL test.package('3.1', test.schema('g', :marks), 'marks.a.0.csv', E'id,loc\n1,POINT(1 1)\n');
CALL test.load('3.1', 'geo');
CREATE INDEX marks_loc ON geo.marks USING gist (loc);
CALL test.package('3.2', test.schema('g', :marks), 'marks.a.0.csv', E'id,loc\n2,POINT(2 2)\n3,POINT(9 9)\n');
CALL test.load('3.2', 'geo');
SET enable_seqscan = off;
EXPLAIN (COSTS off) SELECT id FROM geo.marks WHERE loc OPERATOR(gis.&&) gis.ST_MakeEnvelope(1, 1, 3, 3, 4326);
SELECT id FROM geo.marks WHERE loc OPERATOR(gis.&&) gis.ST_MakeEnvelope(1, 1, 3, 3, 4326);
RESET enable_seqscan;
CREATE TABLE test.seen (LIKE geo.marks);
ALTER TABLE test.seen ADD UNIQUE (id);
ALTER TABLE geo.marks ADD UNIQUE (id);
ALTER TABLE test.seen ADD FOREIGN KEY (id) REFERENCES geo.marks (id);
CALL test.package('3.3', test.schema('g', :marks), 'marks.a.0.csv', E'id,loc\n2,POINT(2 2)\n4,POINT(4 4)\n');
CALL test.load('3.3', 'geo');
SELECT id, gis.ST_AsText(loc) AS loc FROM geo.marks ORDER BY id;
SELECT p.load_id, t.table_name, t.strategy, t.reason, t.rows_read AS read, t.rows_inserted AS inserted, t.rows_updated AS updated, t.rows_deleted AS deleted
FROM loader.tables t JOIN loader.packages p USING (package_id) WHERE t.strategy IS NOT NULL ORDER BY p.load_id;

SELECT test.forget();
DROP SCHEMA geo, geo_staging CASCADE;
DROP TABLE test.seen;
DROP EXTENSION postgis;
DROP SCHEMA gis;
DROP DOMAIN public.geometry;
