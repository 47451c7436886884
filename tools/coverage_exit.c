/*
 * tools/coverage_exit.c: preloaded into the servers of a coverage run. After SIGQUIT, by which the
 * postmaster ends everybody in an immediate stop and after a crash, processes leave by _exit, and
 * nothing that was registered for the end runs: write the counters there, and nothing else.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/syscall.h>
#include <unistd.h>

void
_exit(int status)
{
	void		(*dump) (void) = (void (*) (void)) dlsym(RTLD_DEFAULT, "ldr_coverage_dump");

	if (dump != NULL)
		dump();
	for (;;)
		syscall(SYS_exit_group, status);
}
