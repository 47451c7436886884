/*
 * source/package.h: a package directory as dlt leaves it after normalize.
 */
#ifndef LDR_PACKAGE_H
#define LDR_PACKAGE_H

#include "nodes/pg_list.h"
#include "reader/reader.h"
#include "schema/schema.h"
#include "source/source.h"

typedef struct LdrPackageFile
{
	char	   *file_name;
	char	   *job_id;
	char	   *table;
	char	   *format_name;	/* of the bytes: that of the file which a reference is to */
	LdrFormat	format;
	int			retry;
	LdrFileStamp stamp;
} LdrPackageFile;

typedef struct LdrPackageDir
{
	char	   *source;			/* for the catalog: by what it is found again */
	char	   *path;			/* for messages; of a directory on the server it is the real one */
	char	   *load_id;		/* its last element */
	int			fd;				/* of the directory */
	int			jobs_fd;		/* of jobs_path */
	char	   *jobs_path;		/* new_jobs; in job mode, the directory that a job's file is in */
	int			reserved;		/* how many of them are counted with the server */
	LdrSchema  *schema;
	char	   *schema_text;	/* schema.json, byte for byte */
	size_t		schema_len;
	LdrPackageStamps stamps;
	LdrPackageState *state;
	List	   *files;			/* of LdrPackageFile, by name; only after ldr_package_read */
} LdrPackageDir;

/*
 * Open a package and read its documents; checks that the current role may read there. source is
 * one of origin.h. With expect, the documents must be those of these stamps. Everything lives in
 * the current context and is released with it, also descriptors. Raises an error that says which
 * element of the path, or which file and line, is at fault.
 */
extern LdrPackageDir *ldr_package_open(const char *source, const LdrPackageStamps *expect);

/* The same, and list and check the job files: what registration and loader_plan need. */
extern LdrPackageDir *ldr_package_read(const char *source);

/* A source of the plain bytes of a job file, which must still match its stamp. */
extern LdrSource *ldr_package_job_source(LdrPackageDir *dir, const char *file_name,
										 const LdrFileStamp *stamp);

/*
 * Raise LDR_FILE_CHANGED if the file does not match its stamp any more. For who handles an error:
 * does not look into catalogs, and so not at a file that is referred to. Nothing if it has gone.
 */
extern void ldr_package_job_check(LdrPackageDir *dir, const char *file_name,
								  const LdrFileStamp *stamp);

/* No compressor writes nothing: an empty file of such a name was cut short. LDR_CORRUPT if so. */
extern LdrStatus ldr_job_check_empty(const char *file_name, const LdrFileStamp *stamp,
									 LdrError *err);

/*
 * In job mode there is no directory, only the documents: schema.json, and load_package_state.json
 * if state is not NULL. Released with the current context.
 */
extern LdrPackageDir *ldr_package_of_documents(const char *load_id, const char *schema,
											   const char *state);

/* A sync's messages are one file, and there are no documents. Released with the current context. */
extern LdrPackageDir *ldr_package_of_file(void);

/*
 * The file at an address, which is a path on the server, or a URL of one, is the next job's: the
 * package's directory of jobs is the one it lies in. Checks that the current role may read there.
 * Returns the file's name and fills its stamp.
 */
extern char *ldr_package_point_at(LdrPackageDir *dir, const char *address, LdrFileStamp *stamp);

/*
 * A source over fd, which is counted with the server already (AcquireExternalFD) and taken over,
 * also if it fails. As ldr_file_source.
 */
extern LdrSource *ldr_counted_source(int fd, const LdrFileStamp *stamp, LdrError *err);

/* The format of that name; false if we do not load it. */
extern bool ldr_format_from_name(const char *name, LdrFormat *format);

/*
 * Paths of the complete packages under a directory, in order of load_id: directories, and archives
 * by their names, which say the load_id.
 */
extern List *ldr_package_find_all(const char *directory);

/* The load_id that the path of a package says. */
extern char *ldr_package_load_id(const char *path);

#endif							/* LDR_PACKAGE_H */
