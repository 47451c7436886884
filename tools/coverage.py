#!/usr/bin/env python3
"""tools/coverage.py: add up gcov's counters of all builds, per file of src/.

    coverage.py DIR... -- OUT

The first DIR is the tree, others may be trees of the same sources; in all of them object files and
counters are looked for. The same source may be built several times (module, unit tests, the
extensions made for tests): a line or branch is covered if it was reached in one of them.

Branches are counted as gcov sees them, but for those that are none in the source or that no test can
take. These rules are all there are:

  report    ereport and elog ask whether the report is wanted: for an error it always is
  internal  elog(ERROR) is for our own bugs (house style, rule 12): neither the line nor the way to it
            counts, where the condition does nothing else
  list      foreach and its like also test for an empty list: they count as one condition
  macro     branches inside of macros: those of CHECK_FOR_INTERRUPTS and of the end of PG_TRY, and,
            where they are not taken: the forms of a varlena (VARSIZE_ANY_EXHDR, VARDATA_ANY), the NULL
            that json_is_* also ask for and json_*_foreach also end at, the NULL of our LDR_TEXT_ARG
"""
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

REPORT = re.compile(r'\b(ereport|elog)\s*\(')
INTERNAL = re.compile(r'^\s*elog\((ERROR|FATAL|PANIC),')
LIST = re.compile(r'\b(foreach|forboth|forfour|forthree|for_each_from|for_each_cell|foreach_\w+)\s*\(')
MACRO = re.compile(r'\b(CHECK_FOR_INTERRUPTS|PG_END_TRY)\s*\(')
# a line that is not the last one of its statement
GOES_ON = re.compile(r'(&&|\|\||[,(=?:+])$')
# how many branches that are not taken each of them accounts for
INSIDE = [(re.compile(r'\b(VARSIZE_ANY_EXHDR|VARDATA_ANY)\('), 10),
          (re.compile(r'\b(json_is_\w+|json_\w+_foreach\w*|LDR_TEXT_(ARG|NULL))\s*\('), 1)]


def gcov(dirs):
    """All reports: (working directory, file entry)."""
    for top in dirs:
        for note in sorted(Path(top).rglob('*.gcno')):
            out = subprocess.run(['gcov', '--json-format', '--stdout', '--branch-probabilities', str(note)],
                                 cwd=note.parent, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
            for line in out.splitlines():
                if line.startswith('{'):
                    data = json.loads(line)
                    for f in data['files']:
                        yield data['current_working_directory'], f


def add_up(dirs):
    """{file below src/: {(line, function): [count, [branch counts]]}}"""
    files, trees = defaultdict(dict), [os.path.realpath(d) + '/' for d in dirs]
    for cwd, f in gcov(dirs):
        path = os.path.realpath(os.path.join(cwd, f['file']))
        name = next((path[len(t):] for t in trees if path.startswith(t + 'src/')), None)
        if name is None:
            continue
        for line in f['lines']:
            at = files[name].setdefault((line['line_number'], line.get('function_name')), [0, []])
            counts = [b['count'] for b in line['branches']]
            at[0] += line['count']
            if len(at[1]) == len(counts):
                at[1] = [a + b for a, b in zip(at[1], counts)]
            elif len(counts) > len(at[1]):
                at[1] = counts
    return files


def internal_lines(source):
    """Lines of elog(ERROR) that stand alone under a condition, and of that condition."""
    lines, conditions = set(), set()
    for i, text in enumerate(source):
        if not INTERNAL.match(text):
            continue
        end = i
        while not source[end].rstrip().endswith(';'):
            end += 1
        lines.update(range(i + 1, end + 2))
        depth = len(text) - len(text.lstrip('\t'))
        start = i - 1
        while start > 0 and len(source[start]) - len(source[start].lstrip('\t')) >= depth:
            start -= 1
        if re.match(r'\t+(else )?if \(', source[start]) and len(source[start]) - len(source[start].lstrip('\t')) == depth - 1:
            conditions.update(range(start + 1, i + 1))
    return lines, conditions


def behind(missing, by_line, source):
    """{line not reached: the place it lies directly behind}. Code behind a branch that is never taken is
    there for the same reason as the branch; a function that is never called starts anew."""
    heads, head, last = {}, None, 0
    for no, what, _ in missing:
        # what a condition goes on with is reached where its branch is not taken
        while last and last < no and GOES_ON.search(source[last - 1]):
            last += 1
        reached = any(by_line.get(i) for i in range(last + 1, no))
        if what.startswith('branch') or reached or not source[no - 1].startswith('\t') or head is None:
            head = no
        heads.setdefault(no, head)
        last = no
    return heads


def judge(name, counted, source):
    """Per line of a file: (lines, lines reached, branches, branches taken, raw …, what is missing: line,
    what, source, source of the place it lies behind)."""
    internal, conditions = internal_lines(source)
    sums = dict(lines=0, hit=0, branches=0, taken=0, raw=0, raw_taken=0)
    missing, by_line = [], defaultdict(int)
    for (no, function), (count, branches) in counted.items():
        by_line[no] += count
    for no, count in sorted(by_line.items()):
        if no in internal:
            continue
        sums['lines'] += 1
        sums['hit'] += count > 0
        if not count:
            missing.append((no, 'line', source[no - 1].strip()))
    for (no, function), (count, branches) in sorted(counted.items(), key=lambda x: (x[0][0], x[0][1] or '')):
        text = source[no - 1]
        sums['raw'] += len(branches)
        sums['raw_taken'] += sum(1 for b in branches if b)
        if no in internal or MACRO.search(text):
            continue
        if REPORT.search(text):
            branches = branches[2:]
        elif LIST.search(text):
            branches = branches[-2:]
        elif no in conditions:
            # what leads to the error is not wanted, the rest is
            branches = [b for b in branches if b] or branches[:len(branches) // 2]
        allowed = sum(n * len(macro.findall(text)) for macro, n in INSIDE)
        for _ in range(min(allowed, branches.count(0)) if any(branches) else 0):
            branches.remove(0)
        sums['branches'] += len(branches)
        sums['taken'] += sum(1 for b in branches if b)
        if count and not all(branches):
            which = ','.join(str(i) for i, b in enumerate(branches) if not b)
            missing.append((no, f'branch {which} of {len(branches)}', text.strip()))
        elif branches and not count:
            missing.append((no, f'{len(branches)} branches', text.strip()))
    missing.sort(key=lambda m: m[0])
    heads = behind(missing, by_line, source)
    return sums, [(*m, source[heads[m[0]] - 1].strip()) for m in missing]


def by_reason(uncovered):
    """{reason: entries}; what has none comes last."""
    rules = []
    for line in (Path(__file__).parent / 'uncovered_reasons.txt').read_text().splitlines():
        if line and not line.startswith('#'):
            pattern, reason = line.split('\t')
            rules.append((re.compile(pattern), reason))
    groups = {reason: [] for _, reason in rules}
    groups['no reason given'] = []
    for name, no, what, source, head in uncovered:
        reason = next((r for p, r in rules if p.search(f'{name}: {head}')), 'no reason given')
        groups[reason].append(f'{name}:{no}: {what}: {source}')
    return groups


def share(part, whole):
    return f'{100 * part / whole:6.1f} %' if whole else '      - '


def main():
    cut = sys.argv.index('--')
    dirs, out = sys.argv[1:cut], Path(sys.argv[cut + 1])
    files = add_up(dirs)
    if not files:
        sys.exit('no counters found')
    total = defaultdict(int)
    text, uncovered = [], []
    head = f"{'file':40s} {'lines':>6s} {'':8s} {'branches':>8s}"
    for path in sorted(Path(dirs[0], 'src').rglob('*.[ch]')):
        name = str(path.relative_to(dirs[0]))
        if name not in files:
            continue
        sums, missing = judge(name, files[name], path.read_text().split('\n'))
        for k, v in sums.items():
            total[k] += v
        text.append(f"{name:40s} {sums['lines']:6d} {share(sums['hit'], sums['lines'])} "
                    f"{sums['branches']:8d} {share(sums['taken'], sums['branches'])}")
        uncovered += [(name, *m) for m in missing]
    text.append(f"{'all':40s} {total['lines']:6d} {share(total['hit'], total['lines'])} "
                f"{total['branches']:8d} {share(total['taken'], total['branches'])}")
    text.append(f"gcov's own count of branches: {total['raw']}, {share(total['raw_taken'], total['raw']).strip()} taken")
    summary = '\n'.join([head] + text) + '\n'
    (out / 'summary.txt').write_text(summary)
    groups = by_reason(uncovered)
    (out / 'uncovered.txt').write_text('\n'.join(
        line for reason, lines in groups.items() for line in [f'# {reason}'] + lines + ['']))
    print(summary, end='')
    print('places not reached, by reason (tools/uncovered_reasons.txt):')
    for reason, lines in groups.items():
        print(f'{len(lines):6d}  {reason}')
    print(f'what was not reached: {out}/uncovered.txt')


if __name__ == '__main__':
    main()
