/*
 * catalog/owner.c: whose a package is, and who may see it or act on it.
 *
 * In the server that registered it the role's OID decides: a role may be renamed, and another one
 * may get its name. In any other server (a restored dump) OIDs mean nothing and the name decides.
 * To go on by itself a package needs both, see ldr_package_waiting.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "catalog/loader_catalog.h"

PG_FUNCTION_INFO_V1(loader_may_see);

/* The role that a package belongs to; InvalidOid if there is none any more. */
Oid
ldr_owner(Oid role, const char *role_name, int64 system_identifier)
{
	if (system_identifier != (int64) GetSystemIdentifier())
		return get_role_oid(role_name, true);
	return SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)) ? role : InvalidOid;
}

Oid
ldr_package_owner(const LdrPackage *package)
{
	return ldr_owner(package->role, package->role_name, package->system_identifier);
}

/* Members of the package's role may act on it; where there is none, superusers. */
bool
ldr_package_may_act(const LdrPackage *package)
{
	Oid			owner = ldr_package_owner(package);

	return OidIsValid(owner) ? has_privs_of_role(GetUserId(), owner) : superuser();
}

/* They also see it, and so do members of pg_monitor. */
bool
ldr_owner_may_see(Oid owner)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_MONITOR) ||
		(OidIsValid(owner) && has_privs_of_role(GetUserId(), owner));
}

/*
 * loader.may_see(role_oid, role_name, system_identifier): the filter of the views.
 */
Datum
loader_may_see(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(ldr_owner_may_see(ldr_owner(PG_GETARG_OID(0),
											   text_to_cstring(PG_GETARG_TEXT_PP(1)),
											   PG_GETARG_INT64(2))));
}
