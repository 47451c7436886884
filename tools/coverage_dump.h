/*
 * tools/coverage_dump.h: included by force into every file of a coverage build: a way to write the
 * counters that can be found from outside of the module, where gcov's own function is hidden.
 */
#ifndef COVERAGE_DUMP_H
#define COVERAGE_DUMP_H

extern void __gcov_dump(void);
extern void ldr_coverage_dump(void);

__attribute__((weak, visibility("default"))) void
ldr_coverage_dump(void)
{
	__gcov_dump();
}

#endif
