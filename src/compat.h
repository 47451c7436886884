/*
 * compat.h: what differs between PostgreSQL 14 and 18. Every PG_VERSION_NUM test is here; code
 * elsewhere is written for the newest server. Include it after the server's headers.
 */
#ifndef LDR_COMPAT_H
#define LDR_COMPAT_H

#if PG_VERSION_NUM < 140000
#error "loader needs PostgreSQL 14 or later"
#endif

/* Was the storage of the relation created in this transaction? (16 renamed the field.) */
#if PG_VERSION_NUM >= 160000
#define ldr_relation_is_new(rel) \
	((rel)->rd_createSubid != InvalidSubTransactionId || \
	 (rel)->rd_firstRelfilelocatorSubid != InvalidSubTransactionId)
#else
#define ldr_relation_is_new(rel) \
	((rel)->rd_createSubid != InvalidSubTransactionId || \
	 (rel)->rd_firstRelfilenodeSubid != InvalidSubTransactionId)
#endif

/* Give an EState the range table of a ParseState that holds one relation. */
#if PG_VERSION_NUM >= 180000
#define ldr_init_range_table(estate, pstate) \
	ExecInitRangeTable(estate, (pstate)->p_rtable, (pstate)->p_rteperminfos, \
					   bms_make_singleton(1))
#elif PG_VERSION_NUM >= 160000
#define ldr_init_range_table(estate, pstate) \
	ExecInitRangeTable(estate, (pstate)->p_rtable, (pstate)->p_rteperminfos)
#else
#define ldr_init_range_table(estate, pstate) \
	ExecInitRangeTable(estate, (pstate)->p_rtable)
#endif

/* What holds requiredPerms and insertedCols of a ParseNamespaceItem. (16 moved them.) */
#if PG_VERSION_NUM >= 160000
#define ldr_nsitem_perms(nsitem) ((nsitem)->p_perminfo)
#else
#define ldr_nsitem_perms(nsitem) ((nsitem)->p_rte)
#endif

/* Index entries of a new row, with errors for duplicates. (16 added onlySummarizing.) */
#if PG_VERSION_NUM >= 160000
#define ldr_insert_index_tuples(rri, slot, estate) \
	ExecInsertIndexTuples(rri, slot, estate, false, false, NULL, NIL, false)
#else
#define ldr_insert_index_tuples(rri, slot, estate) \
	ExecInsertIndexTuples(rri, slot, estate, false, false, NULL, NIL)
#endif

/*
 * What an access method keeps from one insert to the next may hold pins of the subtransaction: let
 * it go before that ends; forget it after it was undone. (17 made them keep such things.)
 */
#if PG_VERSION_NUM >= 170000
#define ldr_index_forget_inserts(index, info) \
	((index)->rd_indam->aminsertcleanup != NULL ? (void) ((info)->ii_AmCache = NULL) : (void) 0)
#define ldr_index_end_inserts(index, info) \
	(index_insert_cleanup(index, info), ldr_index_forget_inserts(index, info))
#else
#define ldr_index_forget_inserts(index, info) ((void) (index), (void) (info))
#define ldr_index_end_inserts(index, info) ((void) (index), (void) (info))
#endif

/*
 * The leaf page of a btree where the key belongs, locked for writing, and the way to it. (16 asks
 * for the table; 17 no longer for a snapshot.) Include it after access/nbtree.h.
 */
#if PG_VERSION_NUM >= 170000
#define ldr_bt_search(index, heap, key, buffer) _bt_search(index, heap, key, buffer, BT_WRITE)
#elif PG_VERSION_NUM >= 160000
#define ldr_bt_search(index, heap, key, buffer) \
	_bt_search(index, heap, key, buffer, BT_WRITE, NULL)
#else
#define ldr_bt_search(index, heap, key, buffer) \
	((void) (heap), _bt_search(index, key, buffer, BT_WRITE, NULL))
#endif

/* Does the collation compare bytes? Include it after utils/pg_locale.h. (18.) */
#if PG_VERSION_NUM >= 180000
#define ldr_collate_is_c(collation) (pg_newlocale_from_collation(collation)->collate_is_c)
#else
#define ldr_collate_is_c(collation) lc_collate_is_c(collation)
#endif

/*
 * What orders a string by bytes as the collation, of libc, does; returns its length. (16 has a
 * function of its own.) Include it after utils/pg_locale.h.
 */
#if PG_VERSION_NUM >= 160000
#define ldr_strxfrm(dest, src, size, collation) \
	pg_strxfrm(dest, src, size, pg_newlocale_from_collation(collation))
#else
#define ldr_strxfrm(dest, src, size, collation) \
	(pg_newlocale_from_collation(collation) \
	 ? strxfrm_l(dest, src, size, pg_newlocale_from_collation(collation)->info.lt) \
	 : strxfrm(dest, src, size))
#endif

/* Send the parts as one message, without waiting, and at once. (15 may hold it back.) */
#if PG_VERSION_NUM >= 150000
#define ldr_shm_mq_sendv(mqh, parts, n) shm_mq_sendv(mqh, parts, n, true, true)
#else
#define ldr_shm_mq_sendv(mqh, parts, n) shm_mq_sendv(mqh, parts, n, true)
#endif

/* Has an INSERT, as it was parsed, RETURNING? (18 lets it name OLD and NEW.) */
#if PG_VERSION_NUM >= 180000
#define ldr_insert_returns(stmt) ((stmt)->returningClause != NULL)
#else
#define ldr_insert_returns(stmt) ((stmt)->returningList != NIL)
#endif

/* All settings of the server. (16 counts them itself.) */
#if PG_VERSION_NUM >= 160000
#define ldr_guc_variables(n) get_guc_variables(n)
#else
#define ldr_guc_variables(n) (*(n) = GetNumConfigOptions(), get_guc_variables())
#endif

/*
 * A worker's identity: from 17 on it can connect as a role without LOGIN; before, it connects as
 * the bootstrap superuser and becomes the role.
 */
#if PG_VERSION_NUM >= 170000
#define ldr_worker_connect(db, role) \
	BackgroundWorkerInitializeConnectionByOid(db, role, BGWORKER_BYPASS_ROLELOGINCHECK)
#define ldr_set_session_role(role, is_superuser) ((void) (is_superuser))
#else
#define ldr_worker_connect(db, role) \
	BackgroundWorkerInitializeConnectionByOid(db, ((void) (role), InvalidOid), 0)
#define ldr_set_session_role(role, is_superuser) SetSessionAuthorization(role, is_superuser)
#endif

/* What SPI says of a MERGE; 0: the server has none. (15.) */
#if PG_VERSION_NUM >= 150000
#define LDR_SPI_OK_MERGE SPI_OK_MERGE
#else
#define LDR_SPI_OK_MERGE 0
#endif

/* The i-th backend of the pgstat snapshot, from 1. (16 renamed it.) */
#if PG_VERSION_NUM >= 160000
#define ldr_local_beentry(i) pgstat_get_local_beentry_by_index(i)
#else
#define ldr_local_beentry(i) pgstat_fetch_stat_local_beentry(i)
#endif

/* Begin a set-returning function of rows, or of one type, that fills rsinfo->setResult. (15.) */
#if PG_VERSION_NUM >= 150000
#define ldr_srf_begin(fcinfo) InitMaterializedSRF(fcinfo, 0)
#define ldr_srf_begin_scalar(fcinfo) InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC)
#else
static inline void
ldr_srf_materialize(FunctionCallInfo fcinfo, bool scalar)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;

	if (rsinfo == NULL || !IsA(rsinfo, ReturnSetInfo) || !(rsinfo->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	old = MemoryContextSwitchTo(rsinfo->econtext->ecxt_per_query_memory);
	if (scalar)
		rsinfo->setDesc = CreateTupleDescCopy(rsinfo->expectedDesc);
	else if (get_call_result_type(fcinfo, NULL, &rsinfo->setDesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	else
		rsinfo->setDesc = CreateTupleDescCopy(rsinfo->setDesc);
	rsinfo->returnMode = SFRM_Materialize;
	rsinfo->setResult = tuplestore_begin_heap(true, false, work_mem);
	MemoryContextSwitchTo(old);
}
#define ldr_srf_begin(fcinfo) ldr_srf_materialize(fcinfo, false)
#define ldr_srf_begin_scalar(fcinfo) ldr_srf_materialize(fcinfo, true)
#endif

/* Reserve a prefix of settings. (15.) */
#if PG_VERSION_NUM >= 150000
#define ldr_reserve_settings(prefix) MarkGUCPrefixReserved(prefix)
#else
#define ldr_reserve_settings(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

/* SET_VARSIZE and its kin. (16 moved them out of postgres.h.) */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* Ownership and USAGE checks. (16 made them one function for all kinds of objects.) */
#if PG_VERSION_NUM >= 160000
#define ldr_is_owner(relid, role) object_ownercheck(RelationRelationId, relid, role)
#define ldr_namespace_aclcheck(nsp, role, mode) \
	object_aclcheck(NamespaceRelationId, nsp, role, mode)
#define ldr_database_aclcheck(db, role, mode) object_aclcheck(DatabaseRelationId, db, role, mode)
#else
#define ldr_is_owner(relid, role) pg_class_ownercheck(relid, role)
#define ldr_namespace_aclcheck(nsp, role, mode) pg_namespace_aclcheck(nsp, role, mode)
#define ldr_database_aclcheck(db, role, mode) pg_database_aclcheck(db, role, mode)
#endif

/* Does this process hold the lock in this very mode? (17 can also ask for stronger ones.) */
#if PG_VERSION_NUM >= 170000
#define ldr_lock_is_held(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define ldr_lock_is_held(tag, mode) LockHeldByMe(tag, mode)
#endif

/* Base64 of bytes. (18 has them unsigned.) */
#if PG_VERSION_NUM >= 180000
#define ldr_b64_encode(src, len, dst, dstlen) pg_b64_encode(src, len, dst, dstlen)
#else
#define ldr_b64_encode(src, len, dst, dstlen) \
	pg_b64_encode((const char *) (src), len, dst, dstlen)
#endif

/* Note in the relcache that the relation's storage is, or is not, of this transaction. (16.) */
#if PG_VERSION_NUM >= 160000
#define ldr_assume_new_storage(rel) RelationAssumeNewRelfilelocator(rel)
#define ldr_forget_new_storage(rel) \
	((rel)->rd_createSubid = (rel)->rd_newRelfilelocatorSubid = \
	 (rel)->rd_firstRelfilelocatorSubid = InvalidSubTransactionId)
#else
#define ldr_assume_new_storage(rel) RelationAssumeNewRelfilenode(rel)
#define ldr_forget_new_storage(rel) \
	((rel)->rd_createSubid = (rel)->rd_newRelfilenodeSubid = \
	 (rel)->rd_firstRelfilenodeSubid = InvalidSubTransactionId)
#endif

/*
 * Close the files of two relations whose storage was exchanged. (17 holds what it caches of files
 * in a way that needs no such care.)
 */
#if PG_VERSION_NUM >= 170000
#define ldr_close_storage(relid) ((void) (relid))
#else
#define ldr_close_storage(relid) RelationCloseSmgrByOid(relid)
#endif

/* pg_class.relallfrozen. (18 added it.) */
#if PG_VERSION_NUM >= 180000
#define ldr_exchange_all_frozen(a, b) \
	do { int32 pages_ = (a)->relallfrozen; (a)->relallfrozen = (b)->relallfrozen; \
		(b)->relallfrozen = pages_; } while (0)
#else
#define ldr_exchange_all_frozen(a, b) ((void) 0)
#endif

/* pg_index.indnullsnotdistinct. (15 added it.) */
#if PG_VERSION_NUM >= 150000
#define ldr_nulls_not_distinct(form) ((form)->indnullsnotdistinct)
#else
#define ldr_nulls_not_distinct(form) false
#endif

/* Publications of all tables of a schema. (15 added them.) */
#if PG_VERSION_NUM >= 150000
#define ldr_schema_publications(nsp) GetSchemaPublications(nsp)
#else
#define ldr_schema_publications(nsp) NIL
#endif

/* Do publications of the relation send updates or deletes? (15 made a struct of it.) */
#include "catalog/pg_publication.h"
#if PG_VERSION_NUM >= 150000
static inline bool
ldr_publishes_changes(Relation rel)
{
	PublicationDesc desc;

	RelationBuildPublicationDesc(rel, &desc);
	return desc.pubactions.pubupdate || desc.pubactions.pubdelete;
}
#else
static inline bool
ldr_publishes_changes(Relation rel)
{
	PublicationActions *actions = GetRelationPublicationActions(rel);

	return actions->pubupdate || actions->pubdelete;
}
#endif

/*
 * Make an index without building it, as no constraint and for no user command. (17 takes the
 * options of operator classes as an argument.)
 */
#if PG_VERSION_NUM >= 170000
#define ldr_index_create(heap, name, info, columns, am, tablespace, collations, classes, \
						 class_options, options, reloptions) \
	index_create(heap, name, InvalidOid, InvalidOid, InvalidOid, InvalidOid, info, columns, am, \
				 tablespace, collations, classes, class_options, options, NULL, reloptions, \
				 INDEX_CREATE_SKIP_BUILD, 0, true, true, NULL)
#else
#define ldr_index_create(heap, name, info, columns, am, tablespace, collations, classes, \
						 class_options, options, reloptions) \
	((info)->ii_OpclassOptions = (class_options), \
	 index_create(heap, name, InvalidOid, InvalidOid, InvalidOid, InvalidOid, info, columns, am, \
				  tablespace, collations, classes, options, reloptions, \
				  INDEX_CREATE_SKIP_BUILD, 0, true, true, NULL))
#endif

/*
 * Statistics targets of an index of this transaction, as the cache has them: the server does not
 * read its columns again when they change. (17 asks the catalog.)
 */
#if PG_VERSION_NUM >= 170000
#define ldr_cache_statistics_targets(index, like) ((void) (index), (void) (like))
#else
#define ldr_cache_statistics_targets(index, like) \
	do { \
		for (int i_ = 0; i_ < RelationGetNumberOfAttributes(index); i_++) \
			TupleDescAttr(RelationGetDescr(index), i_)->attstattarget = \
				TupleDescAttr(RelationGetDescr(like), i_)->attstattarget; \
	} while (0)
#endif

/* Tell pgstat what VACUUM and ANALYZE would have found. (18 also asks when they began.) */
#if PG_VERSION_NUM >= 180000
#define ldr_report_vacuum(rel, live) \
	pgstat_report_vacuum(RelationGetRelid(rel), false, live, 0, GetCurrentTimestamp())
#define ldr_report_analyze(rel, live) \
	pgstat_report_analyze(rel, live, 0, true, GetCurrentTimestamp())
#else
#define ldr_report_vacuum(rel, live) pgstat_report_vacuum(RelationGetRelid(rel), false, live, 0)
#define ldr_report_analyze(rel, live) pgstat_report_analyze(rel, live, 0, true)
#endif

/*
 * Call an input function; returns 0, or the SQLSTATE of an error that it gave back instead of
 * raising it. (16 has functions that do so; many still raise some of their errors.)
 */
#include "fmgr.h"
#if PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#define LDR_SOFT_INPUT true
static inline int
ldr_input_softly(FmgrInfo *function, char *text, Oid typioparam, int32 typmod, Datum *value)
{
	ErrorSaveContext escontext = {.type = T_ErrorSaveContext, .details_wanted = true};

	if (InputFunctionCallSafe(function, text, typioparam, typmod, (Node *) &escontext, value))
		return 0;
	return escontext.error_data->sqlerrcode;
}
#else
#define LDR_SOFT_INPUT false
static inline int
ldr_input_softly(FmgrInfo *function, char *text, Oid typioparam, int32 typmod, Datum *value)
{
	*value = InputFunctionCall(function, text, typioparam, typmod);
	return 0;
}
#endif

/*
 * The files of a relation: pages logged as full images; the storage manager's handle, valid until
 * the next invalidation; the path of the first one. (15 has a function for many pages; 16 renamed
 * relfilenode; 18 gives paths by value.)
 */
#include "access/xloginsert.h"
#include "storage/smgr.h"
#if PG_VERSION_NUM >= 160000
#define ldr_rel_files(rel) ((rel)->rd_locator)
#else
#define ldr_rel_files(rel) ((rel)->rd_node)
#endif
#define ldr_smgr(rel) smgropen(ldr_rel_files(rel), (rel)->rd_backend)
#include "common/relpath.h"
#if PG_VERSION_NUM >= 180000
#define ldr_rel_path(rel) pstrdup(relpathperm(ldr_rel_files(rel), MAIN_FORKNUM).str)
#else
#define ldr_rel_path(rel) relpathperm(ldr_rel_files(rel), MAIN_FORKNUM)
#endif
#if PG_VERSION_NUM >= 150000
#define ldr_log_pages(rel, n, blocks, pages) \
	log_newpages(&ldr_rel_files(rel), MAIN_FORKNUM, n, blocks, pages, true)
#else
#define ldr_log_pages(rel, n, blocks, pages) \
	do { \
		for (int i_ = 0; i_ < (n); i_++) \
			log_newpage(&ldr_rel_files(rel), MAIN_FORKNUM, (blocks)[i_], (pages)[i_], true); \
	} while (0)
#endif

/* No checkpoint takes its redo pointer and goes on to its writes meanwhile. (15 renamed it.) */
#include "storage/proc.h"
#if PG_VERSION_NUM >= 150000
#define ldr_delay_checkpoint(on) \
	((on) ? (void) (MyProc->delayChkptFlags |= DELAY_CHKPT_START) : \
	 (void) (MyProc->delayChkptFlags &= ~DELAY_CHKPT_START))
#else
#define ldr_delay_checkpoint(on) ((void) (MyProc->delayChkpt = (on)))
#endif

/* Build an index anew, with what it demands. (17 also takes the statement that asked for it.) */
#if PG_VERSION_NUM >= 170000
#define ldr_reindex_index(index, persistence, params) \
	reindex_index(NULL, index, false, persistence, params)
#else
#define ldr_reindex_index(index, persistence, params) \
	reindex_index(index, false, persistence, params)
#endif

#endif							/* LDR_COMPAT_H */
