/*
 * test/unit/unit.h: checks, and a count of them. Each test program has one main, which returns
 * unit_report().
 */
#ifndef LDR_UNIT_H
#define LDR_UNIT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int	unit_passed;
static int	unit_failed;

/* Count one check; a failed one is printed with its text, but not more than some of them. */
static bool __attribute__((unused, format(printf, 4, 5)))
unit_check(bool ok, const char *file, int line, const char *fmt,...)
{
	va_list		args;

	if (ok)
	{
		unit_passed++;
		return true;
	}
	if (unit_failed++ < 50)
	{
		printf("%s:%d: ", file, line);
		va_start(args, fmt);
		vprintf(fmt, args);
		va_end(args);
		printf("\n");
	}
	return false;
}

#define CHECK(cond) unit_check((cond), __FILE__, __LINE__, "%s", #cond)
#define CHECK_MSG(cond, ...) unit_check((cond), __FILE__, __LINE__, __VA_ARGS__)
/* Functions, so that what is checked is evaluated once. */
static bool __attribute__((unused))
unit_check_int(long long got, long long want, const char *what, const char *file, int line)
{
	return unit_check(got == want, file, line, "%s is %lld, not %lld", what, got, want);
}

static bool __attribute__((unused))
unit_check_str(const char *got, const char *want, const char *what, const char *file, int line)
{
	return unit_check(strcmp(got, want) == 0, file, line, "%s is \"%s\", not \"%s\"", what, got,
					  want);
}

#define CHECK_INT(got, want) \
	unit_check_int((long long) (got), (long long) (want), #got, __FILE__, __LINE__)
#define CHECK_STR(got, want) unit_check_str((got), (want), #got, __FILE__, __LINE__)

/* The line that the Makefile adds up. */
static int __attribute__((unused))
unit_report(const char *program)
{
	printf("%s: %d passed, %d failed\n", program, unit_passed, unit_failed);
	return unit_failed > 0;
}

#endif							/* LDR_UNIT_H */
