/*
 * guard.h: memory with an end.
 */
#ifndef GUARD_H
#define GUARD_H

#define GUARDED_SIZE 65536

/*
 * The end of GUARDED_SIZE bytes behind which there is none: a routine that reads beyond the end of a
 * value does not get away with it. Made once per session.
 */
extern char *guarded_end(void);

/* The same for what a routine writes. */
extern char *guarded_output_end(void);

#endif							/* GUARD_H */
