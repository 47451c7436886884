/*
 * worker/parallel_load.c: the description of a load in shared memory, in and out; and errors that
 * may have to wait.
 */
#include "postgres.h"

#include "storage/bufmgr.h"
#include "storage/lwlock.h"
#include "storage/proc.h"

#include "loader.h"
#include "worker/parallel_load.h"

Size
ldr_parallel_load_size(const LdrLoad *load)
{
	Size		size = offsetof(LdrParallelLoad, texts) + strlen(load->path) + 1;

	for (int i = 0; i < load->nnames; i++)
		size += strlen(load->names[i].name) + 1;
	return size;
}

void
ldr_parallel_load_fill(LdrParallelLoad *shared, const LdrLoad *load, const LdrPageKind *pages)
{
	char	   *text = shared->texts;

	shared->relid = RelationGetRelid(load->rel);
	shared->into = load->into ? RelationGetRelid(load->into) : InvalidOid;
	shared->pages = *pages;
	shared->format = load->format;
	shared->encoding = load->encoding;
	shared->delimiter = load->delimiter;
	shared->ncolumns = load->reader->ncolumns;
	memcpy(shared->columns, load->reader->columns, sizeof(int) * load->reader->ncolumns);
	memcpy(shared->attnums, load->attnums, sizeof(AttrNumber) * load->reader->ncolumns);
	strcpy(text, load->path);
	shared->nnames = load->nnames;
	for (int i = 0; i < load->nnames; i++)
	{
		text += strlen(text) + 1;
		strcpy(text, load->names[i].name);
		shared->raw_json[i] = load->names[i].raw_json;
	}
}

const char *
ldr_parallel_path(const LdrParallelLoad *shared)
{
	return shared->texts;
}

void
ldr_parallel_options(const LdrParallelLoad *shared, LdrReaderOptions *options)
{
	LdrColumnName *names = palloc(sizeof(LdrColumnName) * Max(shared->nnames, 1));
	const char *text = shared->texts + strlen(shared->texts) + 1;

	for (int i = 0; i < shared->nnames; i++)
	{
		names[i].name = text;
		names[i].raw_json = shared->raw_json[i];
		text += strlen(text) + 1;
	}
	*options = (LdrReaderOptions) {
		.columns = names, .ncolumns = shared->nnames, .delimiter = shared->delimiter
	};
}

LdrReader *
ldr_parallel_block_reader(const LdrParallelLoad *shared, const LdrReaderOptions *options)
{
	LdrError	err = {0};
	LdrReader  *reader = ldr_block_reader_open(shared->format, options, shared->columns,
											   shared->ncolumns, &err);

	if (reader == NULL)
		ldr_raise(&err, ldr_parallel_path(shared));
	return reader;
}

ErrorData *
ldr_parallel_catch(LdrLoad *load)
{
	ErrorData  *edata;

	MemoryContextSwitchTo(load->cxt);
	edata = CopyErrorData();
	FlushErrorState();
	LWLockReleaseAll();
	UnlockBuffers();
	LockErrorCleanup();			/* it may have waited for one */
	ldr_load_locate_error(load, edata);
	return edata;
}

bool
ldr_parallel_has_turn(const LdrLoad *load, const ErrorData *edata)
{
	return !load->sink->writing &&
		ERRCODE_TO_CATEGORY(edata->sqlerrcode) != ERRCODE_OPERATOR_INTERVENTION;
}
