#!/bin/sh
# test/regress/readme.sh: write the ```sql blocks of README.md to 1.sql, 2.sql, ... in a new directory,
# and print its name. Names that stand for the reader's own are replaced by the test's; a command for
# pg_cron by what it would run; what would change the server's configuration by a look at it.
set -e
dir=$(mktemp -d)
awk -v dir="$dir" '
	/^```sql$/ { n++; block = 1; next }
	/^```$/ { block = 0 }
	block { print > (dir "/" n ".sql") }' "$LOADER_SOURCE/README.md"
sed -i.orig -e "s,/srv/packages\(/shop\)\{0\,1\},$LOADER_PACKAGES/append_nested,g" \
	-e 's/\betl\b/regress_loader_etl/g' \
	-e 's/DATABASE shop/DATABASE :"DBNAME"/' \
	-e 's/package_id = 7\b/package_id = :id/; s/(7)/(:id)/' \
	-e 's/^ALTER SYSTEM SET \([a-z_.]*\) = .*;/SHOW \1;/' \
	-e '/SCHEMA cron/d; /^SELECT cron\.schedule(/d' \
	-e "s/^\t\\$\\$\(.*\)'shop')\\$\\$);$/\1'readme_cron');/" "$dir"/*.sql
rm "$dir"/*.orig
echo "$dir"
