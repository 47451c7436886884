-- random dates and times under the settings that change what their input functions read
SELECT format('SET DateStyle = %L; SET IntervalStyle = %L; SET TimeZone = %L; '
	'SET timezone_abbreviations = %L; %s', datestyle, intervalstyle, zone, abbreviations, $$
	SELECT CASE WHEN r.differences = 0 THEN 'ok ' ELSE 'FAIL ' END
		|| format('%s; %s; %s: random %s %s: %s differences, %s errors, %s without input function %s',
			current_setting('DateStyle'), current_setting('IntervalStyle'),
			current_setting('TimeZone'), c.type, c.typmod,
			r.differences, r.errors, r.fast, r.example)
	FROM (VALUES ('date', -1), ('time', -1), ('time', 3), ('timestamp', -1), ('timestamp', 3),
		('timestamptz', -1), ('timestamptz', 0), ('interval', -1)) AS c (type, typmod),
		convert_random(c.type::regtype, c.typmod, $$ || :n || $$, 11 + c.typmod) r $$)
FROM (VALUES
	('SQL, DMY', 'sql_standard', 'Europe/Berlin', 'Default'),
	('SQL, MDY', 'iso_8601', 'America/New_York', 'Australia'),
	('German, DMY', 'postgres_verbose', 'Asia/Kolkata', 'India'),
	('Postgres, YMD', 'postgres', 'Pacific/Apia', 'Default'),
	('ISO, DMY', 'postgres', '<+03>-03', 'Default')
	) AS s (datestyle, intervalstyle, zone, abbreviations)
\gexec
