/*
 * schema/postgis.h: PostGIS's type geometry, wherever that is.
 */
#ifndef LDR_POSTGIS_H
#define LDR_POSTGIS_H

/*
 * The type, and the name of its schema unless that is NULL; InvalidOid if the extension postgis is
 * not in this database.
 */
extern Oid	ldr_geometry_type(char **schema);

#endif							/* LDR_POSTGIS_H */
