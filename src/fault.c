/*
 * fault.c: what happens at the places of fault.h. Empty in a normal build.
 *
 * The test and all processes of the server share a file of the data directory, mapped into memory,
 * so that counts outlive whoever is killed. The test makes it, with the names of all places; where
 * it is not, nothing is counted and nothing happens. Its records have 64 bytes each:
 *
 *	FAULT_ARMS		what is to happen at which place, when it has been reached so often
 *	FAULT_POINTS	a place, how often it was reached, and how often of that by parallel workers
 *
 * test/torture/faults.py is the other side of it.
 */
#ifdef LDR_FAULTS

#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "access/parallel.h"
#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/pmsignal.h"

#include "fault.h"

#define FAULT_FILE		"loader_faults"
#define FAULT_ARMS		4
#define FAULT_POINTS	508
#define FAULT_NAME		40

typedef enum LdrFaultAction
{
	FAULT_KILL = 1,				/* SIGKILL for this process */
	FAULT_TERMINATE,			/* SIGTERM */
	FAULT_CANCEL,				/* SIGINT */
	FAULT_MEMORY,				/* error 53200 */
	FAULT_DISK,					/* error 53100 */
	FAULT_DEADLOCK,				/* error 40P01 */
	FAULT_KILL_SERVER,			/* SIGKILL for the postmaster */
	FAULT_STOP_SERVER,			/* SIGQUIT for it: an immediate stop */
	FAULT_WAIT,					/* until the test lets go, or a signal comes */
	FAULT_LIMIT_MEMORY			/* this process gets no more than some bytes beyond what it has */
} LdrFaultAction;

typedef enum FaultState
{
	FAULT_IDLE,
	FAULT_ARMED,
	FAULT_FIRED,
	FAULT_WAITING,
	FAULT_RELEASED
} FaultState;

typedef struct FaultArm
{
	char		name[FAULT_NAME];
	uint32		action;
	int32		times;			/* the place has to be reached that often */
	uint32		state;
	int32		pid;			/* who it has happened to */
	uint32		bytes;			/* for FAULT_LIMIT_MEMORY */
	uint16		only_parallel;	/* others than parallel workers do not count */
	uint16		in_parallel;	/* it has happened to one */
} FaultArm;

typedef struct FaultPoint
{
	char		name[FAULT_NAME];
	uint64		reached;
	uint64		in_parallel;	/* of that, by parallel workers */
	char		unused[8];
} FaultPoint;

typedef struct FaultShared
{
	FaultArm	arms[FAULT_ARMS];
	FaultPoint	points[FAULT_POINTS];
} FaultShared;

StaticAssertDecl(sizeof(FaultArm) == 64 && sizeof(FaultPoint) == 64, "as the test has them");

/* The file, in memory; NULL: there is none. */
static FaultShared *
fault_map(void)
{
	static FaultShared *shared = NULL;
	static bool looked = false;
	int			fd;

	if (looked || DataDir == NULL)
		return shared;
	looked = true;
	fd = open(FAULT_FILE, O_RDWR);
	if (fd < 0)
		return NULL;
	shared = mmap(NULL, sizeof(FaultShared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shared == MAP_FAILED)
		elog(FATAL, "could not map %s: %m", FAULT_FILE);
	close(fd);
	return shared;
}

static int
fault_find(const FaultShared *shared, const char *name)
{
	for (int i = 0; i < FAULT_POINTS && shared->points[i].name[0] != '\0'; i++)
		if (strcmp(shared->points[i].name, name) == 0)
			return i;
	elog(FATAL, "fault point \"%s\" is not in %s", name, FAULT_FILE);
	return -1;
}

/* As ulimit -v: what is to be allocated from here on fails before long, in whatever code. */
static void
fault_limit_memory(uint32 bytes)
{
	struct rlimit limit;
	char		text[64] = "";
	int			fd = open("/proc/self/statm", O_RDONLY);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0 || getrlimit(RLIMIT_AS, &limit) != 0)
		elog(FATAL, "could not look at the memory of this process: %m");
	close(fd);
	limit.rlim_cur = strtoul(text, NULL, 10) * sysconf(_SC_PAGESIZE) + bytes;
	if (setrlimit(RLIMIT_AS, &limit) != 0)
		elog(FATAL, "could not limit the memory of this process: %m");
}

/*
 * A signal is left to the code that follows, as it would be had it come by itself.
 */
static void
fault_wait(FaultArm *arm)
{
	__atomic_store_n(&arm->state, FAULT_WAITING, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&arm->state, __ATOMIC_SEQ_CST) == FAULT_WAITING && !InterruptPending)
	{
		if (!PostmasterIsAlive())
			proc_exit(1);
		pg_usleep(1000L);
	}
	__atomic_store_n(&arm->state, FAULT_FIRED, __ATOMIC_SEQ_CST);
}

static void
fault_happen(FaultArm *arm)
{
	switch ((LdrFaultAction) arm->action)
	{
		case FAULT_KILL:
			kill(MyProcPid, SIGKILL);
			break;
		case FAULT_TERMINATE:
			kill(MyProcPid, SIGTERM);
			break;
		case FAULT_CANCEL:
			kill(MyProcPid, SIGINT);
			break;
		case FAULT_MEMORY:
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory: a fault of the test")));
			break;
		case FAULT_DISK:
			ereport(ERROR, (errcode(ERRCODE_DISK_FULL), errmsg("disk full: a fault of the test")));
			break;
		case FAULT_DEADLOCK:
			ereport(ERROR,
					(errcode(ERRCODE_T_R_DEADLOCK_DETECTED),
					 errmsg("deadlock: a fault of the test")));
			break;
		case FAULT_KILL_SERVER:
			kill(PostmasterPid, SIGKILL);
			break;
		case FAULT_STOP_SERVER:
			kill(PostmasterPid, SIGQUIT);
			break;
		case FAULT_WAIT:
			fault_wait(arm);
			break;
		case FAULT_LIMIT_MEMORY:
			fault_limit_memory(arm->bytes);
			break;
	}
}

void
ldr_fault(const char *name, int *slot)
{
	FaultShared *shared = fault_map();

	if (shared == NULL)
		return;
	if (*slot < 0)
		*slot = fault_find(shared, name);
	(void) __atomic_add_fetch(&shared->points[*slot].reached, 1, __ATOMIC_RELAXED);
	if (IsParallelWorker())
		(void) __atomic_add_fetch(&shared->points[*slot].in_parallel, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < FAULT_ARMS; i++)
	{
		FaultArm   *arm = &shared->arms[i];
		uint32		armed = FAULT_ARMED;

		if (__atomic_load_n(&arm->state, __ATOMIC_SEQ_CST) != FAULT_ARMED ||
			strcmp(arm->name, name) != 0 || (arm->only_parallel && !IsParallelWorker()) ||
			__atomic_sub_fetch(&arm->times, 1, __ATOMIC_SEQ_CST) > 0)
			continue;
		arm->pid = MyProcPid;
		arm->in_parallel = IsParallelWorker();
		if (__atomic_compare_exchange_n(&arm->state, &armed, FAULT_FIRED, false, __ATOMIC_SEQ_CST,
										__ATOMIC_SEQ_CST))
			fault_happen(arm);
	}
}

#endif							/* LDR_FAULTS */
