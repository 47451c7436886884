/*
 * fault.h: places at which a test can make something go wrong. A normal build has none of it.
 *
 *	LDR_FAULT("publish swapped");
 *
 * With `make FAULTS=1` each place counts how often it was reached, and the test can have it do one
 * of LdrFaultAction, once; see fault.c. The code around it must stand an error, as of what it
 * calls; LDR_FAULT_MUTE is for where that is a library of others, and raises none. No postgres.h:
 * readers have places, too.
 */
#ifndef LDR_FAULT_H
#define LDR_FAULT_H

#ifdef LDR_FAULTS

extern void ldr_fault(const char *name, int *slot);

#define LDR_FAULT(name) \
	do { static int slot_ = -1; ldr_fault(name, &slot_); } while (0)

#define LDR_FAULT_MUTE(name) LDR_FAULT(name)

#else

#define LDR_FAULT(name) ((void) 0)
#define LDR_FAULT_MUTE(name) ((void) 0)

#endif

#endif							/* LDR_FAULT_H */
