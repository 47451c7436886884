/*
 * version.h: of the library and the connector; the SQL script must carry the same. Few files have it,
 * so that another version is quickly built.
 */
#ifndef LDR_VERSION_H
#define LDR_VERSION_H

#define LDR_VERSION "1.0"

#endif							/* LDR_VERSION_H */
