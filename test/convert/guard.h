/*
 * guard.h: memory with an end.
 */
#ifndef GUARD_H
#define GUARD_H

#include "reader/reader.h"

#define GUARDED_SIZE 65536

/*
 * The end of GUARDED_SIZE bytes behind which there is none: a routine that reads beyond the end of a
 * value does not get away with it. Made once per session.
 */
extern char *guarded_end(void);

/* The same for what a routine writes. */
extern char *guarded_output_end(void);

/*
 * A copy of a field of up to GUARDED_SIZE - LDR_FIELD_SLACK bytes, as a routine that puts gets it:
 * with just the slack behind it, in which there is this and that.
 */
extern LdrField guarded_slack_field(const LdrField *f);

/* Is it ASCII without a zero byte? */
extern bool field_is_ascii(const LdrField *f);

#endif							/* GUARD_H */
