/*
 * source/path.c: from the path a caller names to an open directory. Owns the rule of who may read
 * what.
 *
 * A path is resolved first (no links left), then checked, then opened again element by element
 * without following links: what was checked is what is opened, whoever moves things meanwhile.
 */
#include "postgres.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/pg_authid.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

#include "loader.h"
#include "source/path.h"

/* The operating system's name of the user that the server runs as. */
static char *
path_server_user(void)
{
	struct passwd *pw = getpwuid(geteuid());

	return pw ? pstrdup(pw->pw_name) : psprintf("%d", (int) geteuid());
}

/*
 * The commonest mistake: the server's user cannot read what the caller's user wrote. Find the
 * element of the path that stops it; what to say of it, and what to do.
 */
void
ldr_path_explain(const char *path, char **detail, char **hint)
{
	char	   *element = pstrdup(path);
	char	   *user = path_server_user();
	struct stat st;
	bool		is_file;

	for (char *slash = strchr(element + 1, '/'); slash; slash = strchr(slash + 1, '/'))
	{
		bool		missing;

		*slash = '\0';
		missing = access(element, X_OK) != 0 && stat(element, &st) == 0;
		if (missing)
			break;
		*slash = '/';
	}
	is_file = stat(element, &st) == 0 && !S_ISDIR(st.st_mode);
	element = ldr_printable(element);
	*detail = psprintf("The server runs as operating system user \"%s\", which may not enter or "
					   "read \"%s\".", user, element);
	*hint = psprintf("Give that user access: chmod %s on \"%s\"%s, with a group that \"%s\" is in "
					 "(a running server sees new groups only after a restart), or setfacl -m "
					 "u:%s:%s.",
					 is_file ? "g+r" : "g+rx", element,
					 is_file ? "" : " and g+r on the files in it", user, user,
					 is_file ? "r" : "rx");
}

/* Turn errno of a failed look at path into the error a user can do something with. */
void
ldr_path_error(const char *path, int err)
{
	if (err == EACCES || err == EPERM)
	{
		char	   *detail;
		char	   *hint;

		ldr_path_explain(path, &detail, &hint);
		errno = err;
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("could not read \"%s\": %m", path),
				 errdetail("%s", detail),
				 errhint("%s", hint)));
	}
	errno = err;
	if (err == ENOENT || err == ENOTDIR)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FILE),
				 errmsg(err == ENOENT ? "\"%s\" does not exist" : "\"%s\" is not a directory",
						path),
				 errdetail("The path is looked up on the server's machine, as operating system "
						   "user \"%s\".", path_server_user()),
				 errhint("Name the absolute path of a package directory, such as "
						 "<pipelines_dir>/<pipeline>/load/normalized/<load_id>.")));
	if (err == ENAMETOOLONG || err == ELOOP)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("could not read \"%s\": %m", pnstrdup(path, pg_mbcliplen(path,
																				 strlen(path),
																				 64)))));
	ereport(ERROR,
			(errcode_for_file_access(),
			 errmsg("could not read \"%s\": %m", path)));
}

/* Is real under one of loader.package_directories? */
static bool
path_is_listed(const char *real)
{
	char	   *raw = pstrdup(ldr_package_directories ? ldr_package_directories : "");
	List	   *dirs;
	ListCell   *lc;

	if (!SplitDirectoriesString(raw, ',', &dirs))
		return false;
	foreach(lc, dirs)
	{
		char		resolved[PATH_MAX];
		size_t		len;

		if (realpath(lfirst(lc), resolved) == NULL)
			continue;
		len = strlen(resolved);
		if (strncmp(real, resolved, len) == 0 && (real[len] == '/' || real[len] == '\0' ||
												  len == 1))
			return true;
	}
	return false;
}

/*
 * Is the part of path that exists under one of them? What is not must stay unknown, and so must
 * where a link leads to that leads nowhere. *real is that part, resolved; returns what comes behind
 * it, NULL if it is not.
 */
static const char *
path_begins_listed(const char *path, char *real)
{
	char	   *begin = pstrdup(path);
	const char *rest;

	while (realpath(begin, real) == NULL)
	{
		char	   *slash = strrchr(begin, '/');
		struct stat st;

		if (slash == NULL || slash == begin || (lstat(begin, &st) == 0 && S_ISLNK(st.st_mode)))
			return NULL;
		*slash = '\0';
	}
	rest = path + strlen(begin);
	while (*rest == '/')
		rest++;
	return path_is_listed(real) ? rest : NULL;
}

/*
 * Say what is wrong with path, of which real is the part that exists, and rest what comes behind it.
 * Only the listed directory is looked into: the path may be another one by now, with a link in it.
 */
static void
__attribute__((noreturn))
path_error_listed(const char *path, const char *real, const char *rest)
{
	int			fd = ldr_directory_open(real);
	struct stat st;
	int			err = ENOENT;	/* not there a moment ago, should it be there now */

	if (*rest != '\0' && fstatat(fd, pnstrdup(rest, strcspn(rest, "/")), &st,
								 AT_SYMLINK_NOFOLLOW) != 0)
		err = errno;
	close(fd);
	if (err == EACCES)
		ldr_path_error(real, err);
	ldr_path_error(path, err);
}

void
ldr_path_check_text(const char *what, const char *name)
{
	if (!pg_verifymbstr(name, strlen(name), true))
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("%s \"%s\" is not valid in the database's encoding %s", what,
						ldr_printable(name), GetDatabaseEncodingName()),
				 errhint("Rename it.")));
}

/* Resolve path and check that the current role may read there. */
char *
ldr_directory_resolve(const char *path)
{
	char		real[PATH_MAX];
	bool		reader = has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES);
	const char *rest;

	/* one that a search has found need not be text, nor need what a link leads to */
	ldr_path_check_text("path", path);
	if (!is_absolute_path(path))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not an absolute path", path),
				 errhint("Name the directory from the root of the server's file system.")));

	if (realpath(path, real) != NULL && (reader || path_is_listed(real)))
	{
		ldr_path_check_text("path", real);
		return pstrdup(real);
	}

	/* not there a moment ago: ENOENT, should it be there now */
	if (reader)
		ldr_path_error(path, realpath(path, real) == NULL ? errno : ENOENT);

	/* who may not read there does not learn what exists there either */
	rest = path_begins_listed(path, real);
	if (rest == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to load from \"%s\"", path),
				 errdetail("Role \"%s\" is not a member of pg_read_server_files, and the "
						   "directory, links resolved, does not lie under "
						   "loader.package_directories.",
						   GetUserNameFromId(GetUserId(), false)),
				 errhint("Ask an administrator to GRANT pg_read_server_files, or to add the "
						 "directory to loader.package_directories.")));
	path_error_listed(path, real, rest);
}

/* Open a resolved directory, following no link. The caller owns the descriptor. */
int
ldr_directory_open(const char *real)
{
	int			fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char	   *copy = pstrdup(real);
	char	   *save = NULL;

	for (char *element = strtok_r(copy, "/", &save); fd >= 0 && element;
		 element = strtok_r(NULL, "/", &save))
	{
		int			next = openat(fd, element, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int			err = errno;

		close(fd);
		fd = next;
		errno = err;
	}
	if (fd < 0)
		ldr_path_error(real, errno);
	return fd;
}

int
ldr_file_open(const char *real)
{
	const char *name = strrchr(real, '/') + 1;
	int			dir = ldr_directory_open(name - real > 1 ? pnstrdup(real, name - real) : "/");
	int			fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int			err = errno;

	close(dir);
	errno = err;
	return fd;
}

/* Names in an open directory, without "." and ".."; NULL with errno if it cannot be listed. */
List *
ldr_directory_list(int fd, const char *real)
{
	int			again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR		   *dir = again >= 0 ? fdopendir(again) : NULL;
	List	   *names = NIL;
	struct dirent *de;
	int			err;

	if (dir == NULL)
	{
		err = errno;
		if (again >= 0)
			close(again);
		ldr_path_error(real, err);
	}
	while ((errno = 0, de = readdir(dir)) != NULL)
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
			names = lappend(names, pstrdup(de->d_name));
	err = errno;
	closedir(dir);
	if (err)
		ldr_path_error(real, err);
	return names;
}
