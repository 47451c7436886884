/*
 * source/package.c: a package directory as dlt leaves it after normalize.
 *
 *	<load_id>/schema.json, load_package_state.json, new_jobs/<table>.<file_id>.<retry>.<format>[.gz]
 *
 * It is read-only input: nothing in it is renamed, moved or written. Where the directory comes
 * from, a path, an archive or an upload, is origin.c's business.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "loader.h"
#include "source/job_name.h"
#include "source/origin.h"
#include "source/package.h"
#include "source/path.h"
#include "source/reference.h"
#include "source/spool_name.h"

#define MAX_REFERENCE	8192	/* bytes of the address in a reference job */
#define SCAN_DEPTH		8

bool
ldr_format_from_name(const char *name, LdrFormat *format)
{
	static const struct
	{
		const char *name;
		LdrFormat	format;
	}			formats[] = {
		{"insert_values", LDR_INSERT_VALUES}, {"csv", LDR_CSV}, {"jsonl", LDR_JSONL}
	};

	for (size_t i = 0; i < lengthof(formats); i++)
		if (strcmp(formats[i].name, name) == 0)
		{
			*format = formats[i].format;
			return true;
		}
	return false;
}

static void
package_release(void *arg)
{
	LdrPackageDir *dir = arg;

	if (dir->fd >= 0)
		close(dir->fd);
	if (dir->jobs_fd >= 0)
		close(dir->jobs_fd);
	for (int i = 0; i < dir->reserved; i++)
		ReleaseExternalFD();
	ldr_schema_free(dir->schema);
	ldr_package_state_free(dir->state);
}

/* Count a descriptor that the package is about to hold among those that the server may have. */
static void
package_reserve(LdrPackageDir *dir, const char *path)
{
	if (!AcquireExternalFD())
		ldr_path_error(path, errno);
	dir->reserved++;
}

static void
__attribute__((noreturn))
package_refuse(const LdrPackageDir *dir, const char *why, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" is not a package that can be loaded", dir->path),
			 errdetail("%s", why),
			 hint ? errhint("%s", hint) : 0));
}

/*
 * Read a whole small file of the package. NULL if it does not exist. Fills *stamp, and checks that
 * the file does not change meanwhile, and that it is the one of the stamp expect, if that is given.
 */
static char *
package_slurp(LdrPackageDir *dir, const char *name, LdrFileStamp *stamp,
			  const LdrFileStamp *expect, size_t *len)
{
	char	   *path = psprintf("%s/%s", dir->path, name);
	LdrError	err = {0};
	LdrFileStamp after;
	char	   *text;
	size_t		got = 0;
	LdrStatus	status;
	int			fd = openat(dir->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return NULL;
	if (fd < 0 && errno == ELOOP)
		package_refuse(dir, psprintf("File \"%s\" is a symbolic link.", name),
					   "Put the file itself into the package.");
	if (fd < 0)
		ldr_path_error(path, errno);
	status = ldr_file_stamp(fd, stamp, &err);
	if (status == LDR_OK && stamp->size > LDR_MAX_DOCUMENT)
		status = ldr_fail(&err, LDR_TOO_LONG, "document is larger than %d MB", LDR_MAX_DOCUMENT >> 20);
	if (status != LDR_OK)
	{
		close(fd);
		ldr_raise(&err, path);
	}
	text = MemoryContextAllocExtended(CurrentMemoryContext, stamp->size + 1,
									  MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
	while (text && got < stamp->size)
	{
		ssize_t		n = read(fd, text + got, stamp->size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		got += n;
	}
	status = text ? ldr_file_stamp(fd, &after, &err) : ldr_fail(&err, LDR_OUT_OF_MEMORY,
																"out of memory");
	close(fd);
	if (status == LDR_OK && expect && memcmp(expect, stamp, sizeof(*expect)) != 0)
		status = ldr_fail(&err, LDR_FILE_CHANGED, "file is not the one that was registered");
	if (status == LDR_OK && (got != stamp->size || memcmp(&after, stamp, sizeof(after)) != 0))
		status = ldr_fail(&err, LDR_FILE_CHANGED, "file changed while it was read");
	if (status != LDR_OK)
		ldr_raise(&err, path);
	text[got] = '\0';
	*len = got;
	return text;
}

static void
package_read_documents(LdrPackageDir *dir, const LdrPackageStamps *expect)
{
	LdrError	err = {0};
	size_t		len;
	char	   *text;

	dir->schema_text = package_slurp(dir, "schema.json", &dir->stamps.schema,
									 expect ? &expect->schema : NULL, &dir->schema_len);
	if (dir->schema_text == NULL)
		package_refuse(dir, "There is no \"schema.json\" in it.",
					   "Name a package directory of dlt after normalize: "
					   "<pipelines_dir>/<pipeline>/load/normalized/<load_id>. "
					   "loader_scan loads all packages below a directory.");
	if (!pg_verify_mbstr(PG_UTF8, dir->schema_text, dir->schema_len, true))
		package_refuse(dir, "File \"schema.json\" is not valid UTF-8.", NULL);
	if (ldr_schema_parse(dir->schema_text, dir->schema_len, &dir->schema, &err) != LDR_OK)
		ldr_raise(&err, psprintf("%s/schema.json", dir->path));

	text = package_slurp(dir, "load_package_state.json", &dir->stamps.state,
						 expect ? &expect->state : NULL, &len);
	if (text == NULL)
		package_refuse(dir, "There is no \"load_package_state.json\" in it.",
					   "A directory becomes a package when dlt's normalize has finished with it.");
	if (ldr_package_state_parse(text, len, &dir->state, &err) != LDR_OK)
		ldr_raise(&err, psprintf("%s/load_package_state.json", dir->path));
	pfree(text);
}

/* A package with nothing open yet, which is released with the current context. */
static LdrPackageDir *
package_begin(void)
{
	LdrPackageDir *dir = palloc0(sizeof(LdrPackageDir));
	MemoryContextCallback *cb = palloc0(sizeof(MemoryContextCallback));

	dir->fd = dir->jobs_fd = -1;
	cb->func = package_release;
	cb->arg = dir;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, cb);
	return dir;
}

LdrPackageDir *
ldr_package_open(const char *source, const LdrPackageStamps *expect)
{
	LdrPackageDir *dir = package_begin();
	LdrOrigin  *origin;

	origin = ldr_origin_find(source, expect ? LDR_ORIGIN_AGAIN : LDR_ORIGIN_FIRST);
	dir->source = origin->source;
	dir->path = origin->shown;
	dir->load_id = pstrdup(strrchr(dir->path, '/') + 1);
	package_reserve(dir, dir->path);
	dir->fd = ldr_directory_open(origin->real);
	package_read_documents(dir, expect);
	package_reserve(dir, dir->path);
	dir->jobs_path = psprintf("%s/new_jobs", dir->path);
	dir->jobs_fd = openat(dir->fd, "new_jobs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir->jobs_fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		package_refuse(dir, "There is no directory \"new_jobs\" in it.",
					   "Name a package directory of dlt after normalize: "
					   "<pipelines_dir>/<pipeline>/load/normalized/<load_id>.");
	if (dir->jobs_fd < 0)
		ldr_path_error(dir->jobs_path, errno);
	return dir;
}

/* A document that came as an argument of a call, as UTF-8. */
static const char *
package_document(const char *name, const char *text)
{
	if (strlen(text) > LDR_MAX_DOCUMENT)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("argument \"%s\" is larger than %d MB", name, LDR_MAX_DOCUMENT >> 20)));
	text = pg_server_to_any(text, strlen(text), PG_UTF8);
	if (!pg_verify_mbstr(PG_UTF8, text, strlen(text), true))
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("argument \"%s\" is not valid UTF-8", name)));
	return text;
}

LdrPackageDir *
ldr_package_of_documents(const char *load_id, const char *schema, const char *state)
{
	LdrPackageDir *dir = package_begin();
	LdrError	err = {0};

	schema = package_document("schema", schema);
	state = package_document("state", state ? state : "{}");
	dir->path = psprintf("load %s", load_id);
	dir->load_id = pstrdup(load_id);
	dir->schema_text = pstrdup(schema);
	dir->schema_len = strlen(schema);
	if (ldr_schema_parse(schema, dir->schema_len, &dir->schema, &err) != LDR_OK)
		ldr_raise(&err, "schema.json");
	if (ldr_package_state_parse(state, strlen(state), &dir->state, &err) != LDR_OK)
		ldr_raise(&err, "load_package_state.json");
	return dir;
}

LdrPackageDir *
ldr_package_of_file(void)
{
	return package_begin();
}

/* Names in a folder of the package; none if it does not exist. */
static pg_noinline List *
package_list(LdrPackageDir *dir, const char *folder)
{
	int			fd = openat(dir->fd, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	List	   *volatile names = NIL;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return NIL;
	if (fd < 0)
		ldr_path_error(psprintf("%s/%s", dir->path, folder), errno);
	PG_TRY();
	{
		names = ldr_directory_list(fd, psprintf("%s/%s", dir->path, folder));
	}
	PG_FINALLY();
	{
		close(fd);
	}
	PG_END_TRY();
	return names;
}

/* dlt's own loader must not have begun: what it finished would be loaded twice. */
static void
package_check_untouched(LdrPackageDir *dir)
{
	static const char *const folders[] = {"started_jobs", "completed_jobs", "failed_jobs",
	".pending_transitions"};
	const char *hint = "Let dlt finish it (pipeline.load() in Python), or drop it there (dlt "
		"pipeline <name> drop-pending-packages) and run the pipeline again.";
	struct stat st;

	for (size_t i = 0; i < lengthof(folders); i++)
	{
		if (package_list(dir, folders[i]) != NIL)
			package_refuse(dir, psprintf("dlt's own loader has begun with it: there are files in "
										 "\"%s\".", folders[i]), hint);
	}
	if (fstatat(dir->fd, "package_completed.json", &st, AT_SYMLINK_NOFOLLOW) == 0)
		package_refuse(dir, "dlt's own loader has finished it: there is a "
					   "\"package_completed.json\".", NULL);
}

/* Open a file by its address, following no link in the path; holder is who names it. */
static int
package_open_address(const char *address, const char *holder, char **path)
{
	LdrError	err = {0};
	char	   *named;
	char	   *slash;
	char	   *real;
	int			dir_fd,
				fd,
				error;

	if (ldr_reference_path(address, &named, &err) != LDR_OK)
		ldr_raise(&err, holder);
	*path = pstrdup(named);
	free(named);
	slash = strrchr(*path, '/');
	real = ldr_directory_resolve(slash == *path ? "/" : pnstrdup(*path, slash - *path));
	*path = psprintf("%s/%s", real, slash + 1);
	dir_fd = ldr_directory_open(real);
	fd = openat(dir_fd, slash + 1, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	error = errno;
	close(dir_fd);
	errno = error;
	return fd;
}

/* The address in an open reference job, whose descriptor is closed. */
static char *
package_read_address(int fd, const char *path)
{
	char		text[MAX_REFERENCE];
	LdrError	err = {0};
	ssize_t		n = pread(fd, text, sizeof(text), 0);
	char	   *url;
	char	   *address;

	close(fd);
	if (n < 0)
		ldr_path_error(path, errno);
	if (n == sizeof(text))
		ldr_fail(&err, LDR_TOO_LONG, "reference is longer than %d bytes", MAX_REFERENCE - 1);
	if (n == sizeof(text) || ldr_reference_parse(text, n, &url, &err) != LDR_OK)
		ldr_raise(&err, path);
	address = pstrdup(url);
	free(url);
	return address;
}

/* Open a job's file as it stands in the package. -1 with errno if it cannot be opened. */
static int
package_open_entry(const LdrPackageDir *dir, const char *file_name)
{
	return openat(dir->jobs_fd, file_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

/*
 * Open a job's file, or the one that it refers to: *path is whose bytes they are. -1 with errno if
 * it cannot be opened.
 */
static int
package_open_job(const LdrPackageDir *dir, const char *file_name, char **path)
{
	char		format[32];
	int			fd = package_open_entry(dir, file_name);

	*path = psprintf("%s/%s", dir->jobs_path, file_name);
	ldr_reference_format(file_name, format, sizeof(format));
	if (fd < 0 || strcmp(format, "reference") != 0)
		return fd;
	return package_open_address(package_read_address(fd, *path), *path, path);
}

/* Stamp an open file, which is closed. */
static void
package_stamp(int fd, const char *path, LdrFileStamp *stamp)
{
	LdrError	err = {0};
	LdrStatus	status = ldr_file_stamp(fd, stamp, &err);

	close(fd);
	if (status != LDR_OK)
		ldr_raise(&err, path);
}

/* Fill the stamp of one job file, following no link; *path is where its bytes are. */
static void
package_stamp_file(LdrPackageDir *dir, LdrPackageFile *file, char **path)
{
	int			fd = package_open_job(dir, file->file_name, path);

	if (fd < 0 && errno == ELOOP)
		package_refuse(dir, psprintf("Job file \"%s\" is a symbolic link.", file->file_name),
					   "Put the file itself into the package; links are not followed.");
	if (fd < 0)
		ldr_path_error(*path, errno);
	package_stamp(fd, *path, &file->stamp);
}

char *
ldr_package_point_at(LdrPackageDir *dir, const char *address, LdrFileStamp *stamp)
{
	bool		upload = ldr_origin_is_upload(address);
	char	   *path;
	char	   *name;
	char	   *real;
	int			fd;

	if (upload)
	{
		path = ldr_origin_file(address);
		fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	}
	else
		fd = package_open_address(address, NULL, &path);
	if (fd < 0)
		ldr_path_error(upload ? address : path, errno);
	package_stamp(fd, upload ? address : path, stamp);
	name = strrchr(path, '/');
	real = name == path ? "/" : pnstrdup(path, name - path);
	/* where the spool is on disk is nobody's business */
	dir->jobs_path = upload ? pnstrdup(address, strrchr(address, '/') - address) : real;
	if (dir->jobs_fd >= 0)		/* that of the job before */
		close(dir->jobs_fd);
	else
		package_reserve(dir, dir->jobs_path);
	dir->jobs_fd = -1;
	dir->jobs_fd = ldr_directory_open(real);
	return name + 1;
}

/* File names are stored; in an encoding other than UTF-8 that takes care of ASCII only. */
static void
package_check_name(const char *file_name)
{
	ldr_path_check_text("job file name", file_name);
	if (GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII)
		return;
	for (const char *p = file_name; *p; p++)
		if (IS_HIGHBIT_SET(*p))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("job file name \"%s\" has characters beyond ASCII and the database's "
							"encoding is %s", ldr_printable(file_name),
							GetDatabaseEncodingName()),
					 errhint("Rename it, or load it into a database with encoding UTF8.")));
}

/* The format of the bytes at path, by its name; a reference is to a file of another one. */
static void
package_check_format(LdrPackageFile *file, const char *format, const char *path)
{
	char		referred[32];

	if (strcmp(format, "reference") == 0)
	{
		ldr_reference_format(path, referred, sizeof(referred));
		format = referred;
	}
	file->format_name = pstrdup(format);
	if (!ldr_format_from_name(format, &file->format))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("file format \"%s\" is not supported", format),
				 errdetail("Job file \"%s\".", path),
				 errhint("Let dlt write insert_values, csv or jsonl (loader_file_format).")));
}

static LdrPackageFile *
package_check_file(LdrPackageDir *dir, const char *file_name)
{
	LdrPackageFile *file = palloc0(sizeof(LdrPackageFile));
	LdrJobName	name;
	LdrError	err = {0};
	char	   *path = psprintf("%s/%s", dir->jobs_path, file_name);

	package_check_name(file_name);
	if (!pg_verify_mbstr(PG_UTF8, file_name, strlen(file_name), true))
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("job file name \"%s\" is not valid UTF-8", ldr_printable(file_name)),
				 errhint("Rename it.")));
	if (ldr_job_name_parse(file_name, &name, &err) != LDR_OK)
		ldr_raise(&err, path);
	file->file_name = pstrdup(file_name);
	file->job_id = pstrdup(name.job_id);
	file->table = pstrdup(name.table);
	file->retry = name.retry;
	if (strcmp(name.format, "reference") != 0)
		package_check_format(file, name.format, path);
	if (ldr_schema_table(dir->schema, name.table) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("job \"%s\" is for table \"%s\", which is not in the package's schema",
						name.job_id, name.table),
				 errdetail("Job file \"%s\".", path),
				 errhint("Make the package anew: its files do not belong together.")));
	package_stamp_file(dir, file, &path);
	if (file->format_name == NULL)
		package_check_format(file, name.format, path);
	return file;
}

static int
package_compare_files(const ListCell *a, const ListCell *b)
{
	return strcmp(((LdrPackageFile *) lfirst(a))->job_id, ((LdrPackageFile *) lfirst(b))->job_id);
}

LdrPackageDir *
ldr_package_read(const char *source)
{
	LdrPackageDir *dir = ldr_package_open(source, NULL);
	ListCell   *lc;
	LdrPackageFile *previous = NULL;

	if (dir->load_id[0] == '\0' || strlen(dir->load_id) > 64)
		package_refuse(dir, "Its load_id, the last element of the path, is empty or longer than 64 "
					   "bytes.", NULL);
	package_check_untouched(dir);
	foreach(lc, ldr_directory_list(dir->jobs_fd, dir->jobs_path))
	{
		CHECK_FOR_INTERRUPTS();
		dir->files = lappend(dir->files, package_check_file(dir, lfirst(lc)));
	}
	list_sort(dir->files, package_compare_files);
	foreach(lc, dir->files)
	{
		LdrPackageFile *file = lfirst(lc);

		if (previous && strcmp(previous->job_id, file->job_id) == 0)
			package_refuse(dir, psprintf("Files \"%s\" and \"%s\" are the same job.",
										 previous->file_name, file->file_name),
						   "Remove the one that is a leftover of a retry.");
		previous = file;
	}
	return dir;
}

/* The source of a file whose descriptor is counted as long as it is open. */
typedef struct CountedSource
{
	LdrSource	pub;			/* first: callers hold a pointer to it */
	LdrSource  *inner;
} CountedSource;

static ssize_t
counted_read(LdrSource *self, char *buf, size_t n, LdrError *err)
{
	LdrSource  *inner = ((CountedSource *) self)->inner;

	return inner->read(inner, buf, n, err);
}

static uint64_t
counted_consumed(const LdrSource *self)
{
	const LdrSource *inner = ((const CountedSource *) self)->inner;

	return inner->consumed(inner);
}

static void
counted_close(LdrSource *self)
{
	LdrSource  *inner = ((CountedSource *) self)->inner;

	inner->close(inner);
	ReleaseExternalFD();
	free(self);
}

/* Not in a memory context: whoever closes it may do so when one is reset. */
LdrSource *
ldr_counted_source(int fd, const LdrFileStamp *stamp, LdrError *err)
{
	CountedSource *source = calloc(1, sizeof(CountedSource));
	LdrSource  *inner = ldr_file_source(fd, stamp, err);

	if (source == NULL || inner == NULL)
	{
		if (inner != NULL)
		{
			inner->close(inner);
			ldr_fail(err, LDR_OUT_OF_MEMORY, "out of memory");
		}
		free(source);
		ReleaseExternalFD();
		return NULL;
	}
	source->pub.read = counted_read;
	source->pub.close = counted_close;
	source->pub.consumed = counted_consumed;
	source->inner = inner;
	return &source->pub;
}

LdrStatus
ldr_job_check_empty(const char *file_name, const LdrFileStamp *stamp, LdrError *err)
{
	const char *end = strrchr(file_name, '.');

	if (stamp->size == 0 && end != NULL && strcmp(end, ".gz") == 0)
		return ldr_fail(err, LDR_CORRUPT, "file is empty, which no gzip file is");
	if (stamp->size == 0 && end != NULL && strcmp(end, ".zst") == 0)
		return ldr_fail(err, LDR_CORRUPT, "file is empty, which no zstd file is");
	return LDR_OK;
}

LdrSource *
ldr_package_job_source(LdrPackageDir *dir, const char *file_name, const LdrFileStamp *stamp)
{
	LdrError	err = {0};
	char	   *path;
	LdrSource  *source;
	int			fd = package_open_job(dir, file_name, &path);

	if (fd < 0)
	{
		int			error = errno;

		if (error != ENOENT)
			ldr_path_error(path, error);
		ldr_fail(&err, LDR_FILE_CHANGED, "file has gone since the package was registered");
		ldr_raise(&err, path);
	}
	if (!AcquireExternalFD())
	{
		int			error = errno;

		close(fd);
		ldr_path_error(path, error);
	}
	source = ldr_counted_source(fd, stamp, &err);
	if (source && ldr_job_check_empty(path, stamp, &err) != LDR_OK)
	{
		source->close(source);
		source = NULL;
	}
	if (source)
		source = ldr_codec_source(source, &err);
	if (source == NULL)
		ldr_raise(&err, path);
	return source;
}

void
ldr_package_job_check(LdrPackageDir *dir, const char *file_name, const LdrFileStamp *stamp)
{
	LdrError	err = {0};
	LdrStatus	status;
	char		format[32];
	int			fd;

	ldr_reference_format(file_name, format, sizeof(format));
	fd = strcmp(format, "reference") == 0 ? -1 : package_open_entry(dir, file_name);
	if (fd < 0)
		return;
	status = ldr_file_check(fd, stamp, &err);
	close(fd);
	if (status == LDR_FILE_CHANGED)
		ldr_raise(&err, psprintf("%s/%s", dir->jobs_path, file_name));
}

/* Does a directory look like a complete package, as ldr_package_read would want it? */
static bool
package_is_complete(int fd)
{
	struct stat st;

	return fstatat(fd, "schema.json", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
		fstatat(fd, "load_package_state.json", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		S_ISREG(st.st_mode) &&
		fstatat(fd, "new_jobs", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static void package_search(int fd, const char *path, int depth, List **found);

/* Is there something of that name? Nobody is to learn from a scan what a link in it leads to. */
static bool
package_has(int fd, const char *name)
{
	struct stat st;

	return fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A directory on the way: a package, or a place to search, or neither. Closes fd. */
static pg_noinline void
package_visit(int fd, const char *path, int depth, List **found)
{
	PG_TRY();
	{
		if (package_is_complete(fd))
			*found = lappend(*found, pstrdup(path));
		else if (depth < SCAN_DEPTH && !package_has(fd, "new_jobs"))
			package_search(fd, path, depth + 1, found);
	}
	PG_FINALLY();
	{
		close(fd);
	}
	PG_END_TRY();
}

static void
package_warn_closed(const char *path)
{
	char	   *detail;
	char	   *hint;

	ldr_path_explain(path, &detail, &hint);
	errno = EACCES;
	ereport(WARNING,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("could not look into \"%s\": %m", ldr_printable(path)),
			 errdetail("%s", detail),
			 errhint("%s", hint)));
}

/*
 * Packages below an open directory. In dlt's own working directories only load/normalized holds
 * packages that are complete: load/new is being written, load/loaded is done, normalize/ is what
 * extract left.
 */
static void
package_search(int fd, const char *path, int depth, List **found)
{
	struct stat st;
	bool		is_load_volume = fstatat(fd, "normalized", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		(S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode));
	bool		is_pipeline = package_has(fd, "load") && package_has(fd, "normalize");
	ListCell   *lc;

	foreach(lc, ldr_directory_list(fd, path))
	{
		char	   *name = lfirst(lc);
		char	   *below = psprintf("%s/%s", strcmp(path, "/") == 0 ? "" : path, name);
		int			sub;

		CHECK_FOR_INTERRUPTS();
		if (name[0] == '.' || (is_load_volume && strcmp(name, "normalized") != 0) ||
			(is_pipeline && strcmp(name, "load") != 0))
			continue;
		sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0)
			package_visit(sub, below, depth, found);
		else if (errno == ENOTDIR && ldr_archive_ending(name) > 0 &&
				 fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
			*found = lappend(*found, below);
		else if (errno == EACCES)
			package_warn_closed(below);
	}
}

char *
ldr_package_load_id(const char *path)
{
	const char *name = strrchr(path, '/') + 1;

	return pnstrdup(name, strlen(name) - ldr_archive_ending(name));
}

static int
package_compare_load_ids(const ListCell *a, const ListCell *b)
{
	const char *x = strrchr(lfirst(a), '/');
	const char *y = strrchr(lfirst(b), '/');
	double		dx = strtod(x + 1, NULL);
	double		dy = strtod(y + 1, NULL);

	/* dlt's load ids are seconds with a fraction of varying length */
	if (dx != dy)
		return dx < dy ? -1 : 1;
	return strcmp(x, y);
}

List *
ldr_package_find_all(const char *directory)
{
	char	   *real = ldr_directory_resolve(directory);
	List	   *found = NIL;

	package_visit(ldr_directory_open(real), real, -1, &found);
	list_sort(found, package_compare_load_ids);
	return found;
}
