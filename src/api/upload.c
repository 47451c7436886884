/*
 * api/upload.c: loader_upload and loader_upload_drop: files of a client that the server's disk does
 * not have.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "api/api.h"
#include "compat.h"
#include "source/spool.h"

PG_FUNCTION_INFO_V1(loader_upload);
PG_FUNCTION_INFO_V1(loader_upload_drop);

/* The last two arguments: what the file has to be when it is complete. */
static void
upload_complete_args(FunctionCallInfo fcinfo, LdrSpoolChunk *chunk)
{
	bytea	   *hash = PG_ARGISNULL(5) ? NULL : PG_GETARG_BYTEA_PP(5);

	chunk->size = PG_ARGISNULL(4) ? -1 : PG_GETARG_INT64(4);
	if (!PG_ARGISNULL(4) && chunk->size < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("size " INT64_FORMAT " is negative", chunk->size)));
	if (hash == NULL)
		return;
	if (PG_ARGISNULL(4))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sha256 is given without size"),
				 errhint("Give both with the last chunk of the file.")));
	if (VARSIZE_ANY_EXHDR(hash) != LDR_SHA256)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sha256 has %d bytes, not %d", (int) VARSIZE_ANY_EXHDR(hash), LDR_SHA256),
				 errhint("Give the hash itself, not its hexadecimal digits as text.")));
	chunk->sha256 = (uint8 *) VARDATA_ANY(hash);
}

/*
 * loader_upload(upload_id, file, offset, data, size, sha256): one chunk of a file.
 */
Datum
loader_upload(PG_FUNCTION_ARGS)
{
	LdrSpoolChunk chunk = {0};

	ldr_api_writes("loader_upload()");
	chunk.upload_id = ldr_api_text(fcinfo, 0, "upload_id");
	chunk.file = ldr_api_text(fcinfo, 1, "file");
	if (!PG_ARGISNULL(3))
	{
		bytea	   *data = PG_GETARG_BYTEA_PP(3);

		if (PG_ARGISNULL(2))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"offset\" must not be null")));
		chunk.offset = PG_GETARG_INT64(2);
		chunk.data = VARDATA_ANY(data);
		chunk.len = VARSIZE_ANY_EXHDR(data);
	}
	upload_complete_args(fcinfo, &chunk);
	PG_RETURN_INT64(ldr_spool_write(&chunk));
}

/*
 * loader_upload_drop(upload_id): remove an upload, whatever is there of it.
 */
Datum
loader_upload_drop(PG_FUNCTION_ARGS)
{
	ldr_api_writes("loader_upload_drop()");
	PG_RETURN_BOOL(ldr_spool_drop(ldr_api_text(fcinfo, 0, "upload_id")));
}
