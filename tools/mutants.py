#!/usr/bin/env python3
"""tools/mutants.py: change the code of publish, merge and swap in small ways, one at a time, and
count how many of the changes the tests notice.

    mutants.py --work DIR --pg-config FILE [--seed N] [--n N] run [--only FILE[:LINE]] [--again] |
               list | report

tools/mutants.sh calls it. Which changes are made depends on the seed and the sources alone: an equal
share of the lines of each file, in turns from all kinds of change. A change that does not compile is
no change; the next one takes its place. Every change meets the tests that are most likely to see it
first, and the others only if it survived them:

  1  test/merge or test/sink, and pg_regress: setup basic replace merge clean
  2  isolation, and pg_regress as a whole
  3  the TAP tests of replace and of staging (030 to 034)

All changes go through 1 before the first one goes on to 2. Not changed, as no test could see it:
assertions, text of messages, calls that only free memory, look for interrupts, or tell of progress.

Results are lines of JSON in DIR/results.jsonl, the last one of a change counts; what is there is not
run again. A change that hangs is noticed by its limit in time, which is far above what the tests take.
"""
import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
FILES = ['merge', 'merge_chain', 'merge_delete_insert', 'merge_pieces', 'merge_scd2', 'merge_sql', 'merge_upsert',
         'publish', 'replace_diff', 'replace_refill', 'stage', 'swap', 'swap_choose', 'swap_heap']
SPARE = 2       # times as many changes are drawn as are wanted: some do not compile
LIMIT = 300     # seconds for each step of tests

REGRESS_FIRST = 'setup basic replace merge clean'
TAP = ['030_replace_identity', '031_replace_fallback', '032_stage_crash', '034_stage_end', '033_standby']

# --- which changes there are ---------------------------------------------------------------------

UNSEEN = re.compile(r'\b(Assert|StaticAssert\w+|pfree|list_free\w*|CHECK_FOR_INTERRUPTS|FreeTupleDesc|bms_free'
                    r'|MemoryContextReset|MemoryContextDelete|elog|errmsg\w*|errdetail\w*|errhint|errcode'
                    r'|pgstat_report_activity|ldr_progress_\w+)\s*\(')
TOKENS = [
    ('relation', r'(?<![<>=!-])(<=|>=|<|>)(?![<>=])', {'<': '<=', '<=': '<', '>': '>=', '>=': '>'}),
    ('equality', r'(==|!=)', {'==': '!=', '!=': '=='}),
    ('and/or', r'(&&|\|\|)', {'&&': '||', '||': '&&'}),
    ('boolean', r'\b(true|false)\b', {'true': 'false', 'false': 'true'}),
    ('arithmetic', r'(?<=\s)([+-])(?=\s)', {'+': '-', '-': '+'}),
    ('lock', r'\b(AccessExclusiveLock|ShareUpdateExclusiveLock|RowExclusiveLock|AccessShareLock|ShareRowExclusiveLock|ShareLock)\b',
     defaultdict(lambda: 'NoLock', AccessExclusiveLock='AccessShareLock', RowExclusiveLock='AccessShareLock')),
]
SQL = [(r'\bAND\b', 'OR'), (r'\bOR\b', 'AND'), (r'\bNOT EXISTS\b', 'EXISTS'), (r'\bIS NULL\b', 'IS NOT NULL'),
       (r'\bIS NOT NULL\b', 'IS NULL'), (r'\bIS DISTINCT\b', 'IS NOT DISTINCT'), (r'\bIS NOT DISTINCT\b', 'IS DISTINCT'),
       (r'\bLEFT JOIN\b', 'JOIN'), (r'\bDISTINCT ON\b', 'DISTINCT ON'), (r'\bDESC\b', 'ASC'), (r'\bASC\b', 'DESC'),
       (r'\bNULLS LAST\b', 'NULLS FIRST'), (r'\bNULLS FIRST\b', 'NULLS LAST'), (r'\bUNION ALL\b', 'UNION'),
       (r'(?<=\s)=(?=\s)', '<>'), (r'(?<=\s)<(?=\s)', '<='), (r'(?<=\s)>(?=\s)', '>=')]


def blank(match):
    return re.sub(r'[^\n]', ' ', match.group())


def code_only(text):
    """The text with comments, and with comments and the inside of strings, blanked: same length."""
    plain = re.sub(r'/\*.*?\*/', blank, text, flags=re.S)
    bare = re.sub(r'"(\\.|[^"\\\n])*"', lambda m: '"' + ' ' * (len(m.group()) - 2) + '"', plain)
    bare = re.sub(r"'(\\.|[^'\\])+'", lambda m: "'" + ' ' * (len(m.group()) - 2) + "'", bare)
    bare = re.sub(r'^#.*(\\\n.*)*', blank, bare, flags=re.M)
    return plain, bare


def statement(bare, line_start):
    """The end of the statement that starts here, if it is one of its own; else None."""
    end = bare.find(';', line_start)
    text = bare[line_start:end]
    if end < 0 or '{' in text or text.count('(') != text.count(')'):
        return None
    return end + 1


def candidates(name):
    """All changes to a file: (kind, start, end, new text)."""
    text = (TREE / 'src/publish' / (name + '.c')).read_text()
    plain, bare = code_only(text)
    found = []
    # only inside functions
    for body in re.finditer(r'^\{\n.*?^\}', bare, flags=re.M | re.S):
        lo, hi = body.span()
        quiet = [m.span() for m in re.finditer(r'^\t+(?:ereport|%s)[^;]*;' % UNSEEN.pattern, bare[lo:hi], flags=re.M)]

        def unseen(pos):
            start, end = bare.rfind('\n', 0, pos), bare.find('\n', pos)
            return any(a + lo <= pos < b + lo for a, b in quiet) or UNSEEN.search(bare, start, end)

        for kind, pattern, new in TOKENS:
            for m in re.finditer(pattern, bare[lo:hi]):
                at = m.start() + lo
                if not unseen(at):
                    found.append((kind, at, at + len(m.group()), new[m.group()]))
        for m in re.finditer(r'(?<![\w."])(\d+)(?![\w."])', bare[lo:hi]):
            if not unseen(m.start() + lo):
                found.append(('constant', m.start() + lo, m.end() + lo, str(int(m.group()) + 1)))
        for m in re.finditer(r'\b(?:if|while) \((.+)\)$', bare[lo:hi], flags=re.M):
            if m.group(1).count('(') == m.group(1).count(')') and not unseen(m.start() + lo):
                old = text[m.start(1) + lo:m.end(1) + lo]
                found.append(('negated', m.start(1) + lo, m.end(1) + lo, f'!({old})'))
        for m in re.finditer(r'^(\t+)(?=[a-z_]\w*\()', bare[lo:hi], flags=re.M):
            at = m.end() + lo
            end = statement(bare, at)
            if end and not re.match(r'(if|for|while|switch|return|foreach)\b', bare[at:]) and not UNSEEN.match(bare, at):
                found.append(('no call', at, end, ';'))
        for m in re.finditer(r'^(\t+)(?=[a-z_][\w.>\[\]-]* (?:[|+]?=) )', bare[lo:hi], flags=re.M):
            at = m.end() + lo
            end = statement(bare, at)
            if end and not unseen(at):
                found.append(('no assignment', at, end, ';'))
        for m in re.finditer(r'^\t+(break|continue|return);', bare[lo:hi], flags=re.M):
            found.append(('no ' + m.group(1), m.start(1) + lo, m.end(1) + lo, ''))
        # SQL: strings that hold words in capitals, or operators between operands
        for m in re.finditer(r'"(\\.|[^"\\\n])*"', plain[lo:hi]):
            at = m.start() + lo
            if unseen(at) or not re.search(r'[A-Z]{2}|[%.\w"] (=|<|>) [%\w\\]', m.group()):
                continue
            for pattern, new in SQL:
                for s in re.finditer(pattern, m.group()):
                    found.append(('SQL', at + s.start(), at + s.end(), new))
    return text, [c for c in sorted(found) if text[c[1]:c[2]] != c[3]]


def draw(seed, n):
    """The list of changes: per file in proportion to its lines, in turns from all kinds."""
    lines = {f: (TREE / 'src/publish' / (f + '.c')).read_text().count('\n') for f in FILES}
    total, out = sum(lines.values()), []
    for f in FILES:
        rand = random.Random(f'{seed} {f}')
        text, found = candidates(f)
        kinds = defaultdict(list)
        for c in found:
            kinds[c[0]].append(c)
        for k in kinds.values():
            rand.shuffle(k)
        order = sorted(kinds)
        rand.shuffle(order)
        want, used = max(2, round(n * lines[f] / total)), set()
        mine = []
        while len(mine) < want * SPARE and any(kinds.values()):
            for k in order:
                if kinds[k]:
                    c = kinds[k].pop()
                    line = text.count('\n', 0, c[1]) + 1
                    if line not in used:
                        used.add(line)
                        mine.append(dict(file=f'src/publish/{f}.c', line=line, kind=c[0], start=c[1], end=c[2],
                                         old=text[c[1]:c[2]], new=c[3], spare=len(mine) >= want, want=want))
        out += mine
    return out


def label(m):
    old, new = (re.sub(r'\s+', ' ', m[k]) for k in ('old', 'new'))
    return f"{m['file']}:{m['line']}: {m['kind']}: {old or 'nothing'} -> {new or 'nothing'}"


def key(m):
    """What a change is, wherever its line has gone meanwhile."""
    text = (TREE / m['file']).read_text()
    start, end = text.rfind('\n', 0, m['start']) + 1, text.find('\n', m['end'])
    return f"{m['file']}|{m['kind']}|{text[start:m['start']]}<{m['old']}|{m['new']}>{text[m['end']:end]}|" \
        + str(text.count(text[start:end], 0, start))


# --- running -------------------------------------------------------------------------------------

class Runner:
    def __init__(self, work, pg_config):
        self.work, self.pg_config = Path(work), pg_config
        self.tree, self.data = self.work / 'tree', self.work / 'data'
        self.bin = Path(subprocess.run([pg_config, '--bindir'], check=True, text=True, stdout=subprocess.PIPE).stdout.strip())
        self.socket = self.work / 'socket'
        self.log = self.work / 'mutant.log'
        self.env = dict(os.environ, HOME=str(self.work), PGHOST=str(self.socket), PGUSER='postgres', PGPORT='5432',
                        PGDATABASE='postgres', LOADER_PACKAGES=str(self.tree / 'test/packages'), PGCTLTIMEOUT='180', LC_ALL='C')
        self.env.pop('NO_INSTALL', None)    # PGXS has one of its own, and would install nothing

    def run(self, *command, cwd=None, limit=LIMIT):
        """True if the command ends well in time; its whole process group ends with it."""
        with open(self.log, 'ab') as log:
            log.write(f"\n$ {' '.join(map(str, command))}\n".encode())
            log.flush()
            p = subprocess.Popen(list(map(str, command)), cwd=cwd or self.tree, env=self.env, stdin=subprocess.DEVNULL,
                                 stdout=log, stderr=log, start_new_session=True)
            try:
                return p.wait(limit) == 0
            except subprocess.TimeoutExpired:
                log.write(b'\nlimit in time reached\n')
                return False
            finally:
                try:
                    os.killpg(p.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                p.wait()

    def make(self, *what, cwd=None, limit=LIMIT):
        return self.run('make', '-s', '--no-print-directory', f'PG_CONFIG={self.pg_config}', *what, cwd=cwd, limit=limit)

    def server(self, what):
        if what == 'stop':
            if (self.data / 'postmaster.pid').exists():
                self.run(self.bin / 'pg_ctl', '-D', self.data, '-m', 'immediate', '-w', '-s', 'stop')
            return True
        # every change finds the same cluster, whatever the one before has done to it
        self.server('stop')
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.copytree(self.work / 'cluster', self.data, symlinks=True)
        return self.run(self.bin / 'pg_ctl', '-D', self.data, '-l', self.work / 'server.log', '-w', '-s', 'start')

    def prepare(self):
        """A copy of the tree, built; a cluster to copy; the tests, which must pass unchanged."""
        shutil.rmtree(self.tree, ignore_errors=True)
        shutil.copytree(TREE, self.tree, symlinks=True, ignore=shutil.ignore_patterns('.git', '*.o', '*.so', 'build', 'tmp_check'))
        self.socket.mkdir(mode=0o700, exist_ok=True)
        if not (self.work / 'cluster/PG_VERSION').exists():
            shutil.rmtree(self.work / 'cluster', ignore_errors=True)
            ok = self.run(self.bin / 'initdb', '-D', self.work / 'cluster', '-U', 'postgres', '-A', 'trust', '-E', 'UTF8',
                          '--no-locale', '--no-sync')
            if not ok:
                sys.exit(f'initdb failed, see {self.log}')
            with open(self.work / 'cluster/postgresql.conf', 'a') as conf:
                conf.write((TREE / 'test/postgresql.conf').read_text() + f"listen_addresses = ''\nport = 5432\n"
                           f"unix_socket_directories = '{self.socket}'\n")
        if not self.build():
            sys.exit(f'the build failed, see {self.log}')

    def build(self):
        ok = self.make('-j2', limit=900) and self.make('install', limit=900)
        for part in ('merge', 'sink'):
            ok = ok and self.make(f'-C{self.tree}/test/{part}', '-j2', 'all', 'install', limit=900)
        return ok

    def regress(self, tests):
        return self.make('installcheck', f'REGRESS={tests}')

    def part(self, name):
        return self.make('installcheck', cwd=self.tree / 'test' / name)

    def steps(self, file, stage):
        """(name, function) of the tests of a stage, in the order in which they are worth running."""
        if stage == 1:
            parts = ['sink'] if 'swap' in file else ['merge'] if re.search('merge|replace', file) else []
            return [(p, lambda p=p: self.part(p)) for p in parts] + [('regress', lambda: self.regress(REGRESS_FIRST))]
        if stage == 2:
            return [('isolation', lambda: self.make('installcheck-isolation')),
                    ('regress (whole)', lambda: self.make('installcheck', limit=2 * LIMIT))]
        tap = TAP if 'merge' not in file else []
        return [('TAP ' + t[:3], lambda t=t: self.make('installcheck-tap', f'PROVE_TESTS=test/t/{t}.pl', limit=2 * LIMIT))
                for t in tap]

    def tests(self, file, stage):
        """The name of the step that notices something; '' if none does."""
        steps = self.steps(file, stage)
        if not steps:
            return ''
        if not self.server('start'):
            return 'start of the server'
        for name, step in steps:
            if not step():
                return name
        return ''

    def meet(self, mutant, stage):
        """Put the change in, build, test, take it out: noticed by what, or not a change at all."""
        path = self.tree / mutant['file']
        text = (TREE / mutant['file']).read_text()
        self.log.write_text(label(mutant) + '\n')
        path.write_text(text[:mutant['start']] + mutant['new'] + text[mutant['end']:])
        try:
            if not self.build():
                return None
            return self.tests(mutant['file'], stage)
        finally:
            path.write_text(text)


def read_results(path):
    results = {}
    if path.exists():
        for line in path.read_text().splitlines():
            r = json.loads(line)
            results[r['key']] = r
    return results


def chosen(mutants, results):
    """The changes that count: those drawn, and a spare one for each that did not compile."""
    out = []
    for f in FILES:
        mine = [m for m in mutants if m['file'] == f'src/publish/{f}.c']
        out += [m for m in mine if results.get(key(m), {}).get('by', '') is not None][:mine[0]['want'] if mine else 0]
    return out


def report(mutants, results):
    mine = [(m, results.get(key(m))) for m in chosen(mutants, results)]
    done = [(m, r) for m, r in mine if r and r['stage'] > 0]
    caught = Counter(r['by'] for m, r in done if r['by'])
    print(f"{len(mine)} changes, {len(done)} tried, {sum(caught.values())} noticed, "
          f"{len(done) - sum(caught.values())} not noticed")
    for by, n in caught.most_common():
        print(f'  {n:4d} noticed first by {by}')
    for f in FILES:
        of = [r for m, r in done if m['file'] == f'src/publish/{f}.c']
        print(f"  {f + '.c':26s} {len(of):3d} changes, {sum(1 for r in of if r['by']):3d} noticed")
    for m, r in done:
        if not r['by']:
            print(f"not noticed by stages 1 to {r['stage']}: {label(m)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work', required=True)
    parser.add_argument('--pg-config', required=True)
    parser.add_argument('--seed', type=int, default=7)
    parser.add_argument('--n', type=int, default=150)
    parser.add_argument('what', choices=['run', 'list', 'report'])
    parser.add_argument('--only', help='changes of this file, or of this line of it')
    parser.add_argument('--again', action='store_true', help='once more what no test has noticed before')
    parser.add_argument('--stages', type=int, default=3)
    args = parser.parse_args()
    mutants, path = draw(args.seed, args.n), Path(args.work) / 'results.jsonl'
    results = read_results(path)
    if args.what == 'run' and args.again:
        results = {k: r for k, r in results.items()
                   if r['by'] != '' or not r['label'].startswith(args.only or '')}
    print(f'seed {args.seed}, {args.n} changes wanted', flush=True)
    if args.what == 'list':
        for m in chosen(mutants, results):
            print(label(m))
        return
    if args.what == 'report':
        report(mutants, results)
        return
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(143))
    runner = Runner(args.work, args.pg_config)
    runner.prepare()
    try:
        for stage in range(1, args.stages + 1):
            go_through(runner, mutants, results, path, stage, args)
    finally:
        runner.server('stop')
    report(mutants, results)


def go_through(runner, mutants, results, path, stage, args):
    """One stage for all changes that have come through the ones before."""
    wanted = lambda m: not args.only or f"{m['file']}:{m['line']}".startswith(args.only)
    proved, seen = set(), set()
    while True:
        todo = [m for m in chosen(mutants, results) if wanted(m) and key(m) not in seen
                and (key(m) not in results or results[key(m)]['by'] == '' and results[key(m)]['stage'] < stage)]
        if not todo:
            return
        m = todo[0]
        seen.add(key(m))
        for name, step in runner.steps(m['file'], stage):
            if name not in proved:
                # what fails without any change would notice everything
                runner.server('start')
                if not step():
                    sys.exit(f'{name} fails without a change, see {runner.log}')
                proved.add(name)
        start = time.time()
        by = runner.meet(m, stage)
        r = dict(key=key(m), label=label(m), by=by, stage=stage if by is not None else 0, seconds=round(time.time() - start))
        results[r['key']] = r
        with open(path, 'a') as out:
            out.write(json.dumps(r) + '\n')
        what = 'does not compile' if by is None else f'noticed by {by}' if by else f'not noticed in stage {stage}'
        print(f"{time.strftime('%H:%M:%S')} {r['seconds']:4d} s  {what}: {label(m)}", flush=True)


if __name__ == '__main__':
    main()
