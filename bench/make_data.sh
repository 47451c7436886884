#!/bin/bash
# Makes the benchmark input: TPC-H lineitem as csv and parquet in several sizes,
# and an event data set (jsonl, nested lists; also as Singer and Airbyte messages).
#   usage: make_data.sh OUTDIR [ROWS...]        (default rows: 200000 2000000 6000000)
# Environment: PYTHON (needs pyarrow), TPCHGEN (tpchgen-cli), EVENTS (default 200000; 0: no events),
# MESSAGES (default 500000).
# Files: li_ROWS.csv (no header), li_ROWS_h.csv (header), li_ROWS.parquet,
# events.jsonl, singer.jsonl, airbyte.jsonl. OUTDIR must be readable by the server's user.
set -euo pipefail
out=${1:?OUTDIR}; shift
rows=("$@"); [ $# -gt 0 ] || rows=(200000 2000000 6000000)
py=${PYTHON:-python3}; gen=${TPCHGEN:-tpchgen-cli}; here=$(dirname "$(readlink -f "$0")")
mkdir -p "$out"
[ -s "$out/lineitem.csv" ] || "$gen" csv -s 1 --tables=lineitem --output-dir="$out" --overwrite
[ -s "$out/lineitem.parquet" ] || "$gen" parquet -s 1 --tables=lineitem --output-dir="$out" --overwrite
for n in "${rows[@]}"; do
  head -n $((n + 1)) "$out/lineitem.csv" > "$out/li_${n}_h.csv" || true
  tail -n +2 "$out/li_${n}_h.csv" > "$out/li_$n.csv"
  "$py" - "$out" "$n" <<'P'
import sys, pyarrow as pa, pyarrow.parquet as pq
out, n = sys.argv[1], int(sys.argv[2])
def plain(t):   # string views become strings, which every reader knows
    return pa.schema([(f.name, pa.string() if pa.types.is_string_view(f.type) else f.type) for f in t])
src = pq.ParquetFile(f"{out}/lineitem.parquet")
left, w = n, None
for b in src.iter_batches(100_000):
    b = b.slice(0, left); left -= len(b)
    b = b.cast(plain(b.schema))
    w = w or pq.ParquetWriter(f"{out}/li_{n}.parquet", b.schema)
    w.write_batch(b)
    if not left: break
w.close()
P
done
[ "${EVENTS:-200000}" = 0 ] ||
  "$py" "$here/make_events.py" "$out" "${EVENTS:-200000}" "${MESSAGES:-500000}"
chmod -R a+rX "$out"
ls -l "$out"
