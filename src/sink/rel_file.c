/*
 * sink/rel_file.c: pages -> the file of a relation, many with one call.
 *
 * The last page of a run goes by the storage manager: it asks for the file to be synced, after all
 * that we have written into it. So does the first page of a segment, which has to be made; and
 * everything if our own write does not succeed, as it knows what to say.
 */
#include "postgres.h"

#include "pgstat.h"
#include "storage/bufpage.h"
#include "storage/fd.h"

#include "compat.h"
#include "sink/rel_file.h"

struct LdrRelFile
{
	Relation	rel;
	File		file;			/* 0 or less: none is open */
	BlockNumber segment;		/* that it has */
	MemoryContextCallback gone;
};

static void
rel_file_close(void *arg)
{
	LdrRelFile *file = arg;

	if (file->file > 0)
		FileClose(file->file);
	file->file = 0;
}

LdrRelFile *
ldr_rel_file_open(Relation rel)
{
	LdrRelFile *file = palloc0(sizeof(LdrRelFile));

	file->rel = rel;
	file->gone.func = rel_file_close;
	file->gone.arg = file;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &file->gone);
	return file;
}

/* Have the segment at hand; false if it cannot be opened. */
static bool
rel_file_seek(LdrRelFile *file, BlockNumber segment)
{
	char	   *path;

	if (file->file > 0 && file->segment == segment)
		return true;
	rel_file_close(file);
	path = ldr_rel_path(file->rel);
	if (segment > 0)
		path = psprintf("%s.%u", path, segment);
	file->file = PathNameOpenFile(path, O_RDWR | PG_BINARY);
	file->segment = segment;
	return file->file > 0;
}

/* With one write. Says whether that was done. */
static bool
rel_file_write_many(LdrRelFile *file, BlockNumber block, char *pages, int n)
{
	int			bytes = n * BLCKSZ;
	off_t		offset = (off_t) BLCKSZ * (block % RELSEG_SIZE);

	return rel_file_seek(file, block / RELSEG_SIZE) &&
		FileWrite(file->file, pages, bytes, offset, WAIT_EVENT_DATA_FILE_EXTEND) == bytes;
}

void
ldr_rel_file_write(LdrRelFile *file, BlockNumber block, char *pages, int n)
{
	SMgrRelation smgr = ldr_smgr(file->rel);
	int			many = n - 1;

	Assert(block / RELSEG_SIZE == (block + n - 1) / RELSEG_SIZE);
	for (int i = 0; i < n; i++)
		PageSetChecksumInplace((Page) (pages + (Size) i * BLCKSZ), block + i);
	if (many == 0 || block % RELSEG_SIZE == 0 || !rel_file_write_many(file, block, pages, many))
		many = 0;
	for (int i = many; i < n; i++)
		smgrextend(smgr, MAIN_FORKNUM, block + i, pages + (Size) i * BLCKSZ, i < n - 1);
}
