/*
 * source/spool_name.c: names of uploads, of the files in them, and of what is in an archive. No
 * postgres.h.
 */
#include "source/spool_name.h"

#include <stdio.h>
#include <string.h>

#include "source/job_name.h"

static LdrStatus
spool_name_bad(const char *what, const char *name, LdrError *err, const char *why,
			   const char *hint)
{
	char		excerpt[160];

	ldr_excerpt(excerpt, sizeof(excerpt), name, strlen(name));
	for (char *p = excerpt; *p; p++)
		if ((unsigned char) *p < ' ' || *p == 0x7f)
			*p = '?';
	snprintf(err->hint, sizeof(err->hint), "%s", hint);
	return ldr_fail(err, LDR_BAD_NAME, "invalid %s \"%s\": %s", what, excerpt, why);
}

/* Letters, digits, dots, underscores and hyphens, with no dot first; what is wrong, or NULL. */
static const char *
spool_name_plain(const char *s, size_t len, size_t max)
{
	if (len == 0)
		return "it is empty";
	if (len > max)
		return "it is longer than 64 bytes";
	if (s[0] == '.')
		return "it begins with a dot";
	for (size_t i = 0; i < len; i++)
		if (!((s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= 'a' && s[i] <= 'z') ||
			  (s[i] >= '0' && s[i] <= '9') || s[i] == '.' || s[i] == '_' || s[i] == '-'))
			return "it has a character that is none of A-Z a-z 0-9 . _ -";
	return NULL;
}

LdrStatus
ldr_upload_id_check(const char *id, LdrError *err)
{
	const char *why = spool_name_plain(id, strlen(id), LDR_MAX_UPLOAD_ID);

	if (why)
		return spool_name_bad("upload_id", id, err, why,
							  "Choose 1 to 64 of A-Z a-z 0-9 . _ - that do not begin with a dot.");
	return LDR_OK;
}

size_t
ldr_archive_ending(const char *name)
{
	static const char *const endings[] = {".tar", ".tar.gz", ".tgz", ".tar.zst"};
	size_t		len = strlen(name);

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
	{
		size_t		n = strlen(endings[i]);

		/* there must be a name before it, of its own element of the path */
		if (len > n && name[len - n - 1] != '/' && strcmp(name + len - n, endings[i]) == 0)
			return n;
	}
	return 0;
}

/* Does a name have what no name of ours has? What is wrong, or NULL. */
static const char *
spool_name_odd(const char *s)
{
	for (; *s; s++)
		if ((unsigned char) *s < ' ' || *s == 0x7f || *s == '\\')
			return *s == '\\' ? "it has a backslash" : "it has a control character";
	return NULL;
}

LdrStatus
ldr_spool_name_check(const char *file, LdrSpoolKind *kind, LdrError *err)
{
	static const char *const hint = "Name <load_id>/schema.json, "
		"<load_id>/load_package_state.json, <load_id>/new_jobs/<job file>, or an archive: "
		"<name>.tar, .tar.gz, .tgz or .tar.zst.";
	const char *slash = strchr(file, '/');
	const char *why = spool_name_odd(file);
	char		load_id[LDR_MAX_LOAD_ID + 1];
	LdrJobName	job;

	if (why == NULL && slash == NULL)
	{
		*kind = LDR_SPOOL_ARCHIVE;
		if (ldr_archive_ending(file) == 0)
			why = "it is neither an archive nor a file of a package";
		else
			why = spool_name_plain(file, strlen(file), LDR_MAX_LOAD_ID);
	}
	else if (why == NULL)
		why = spool_name_plain(file, (size_t) (slash - file), LDR_MAX_LOAD_ID);
	if (why)
		return spool_name_bad("file name", file, err, why, hint);
	if (slash == NULL)
		return LDR_OK;
	snprintf(load_id, sizeof(load_id), "%.*s", (int) (slash - file), file);
	if (ldr_archive_ending(load_id) > 0)	/* the two lie side by side */
		return spool_name_bad("file name", file, err, "no load_id ends like an archive", hint);
	if (strncmp(slash + 1, "new_jobs/", 9) == 0)
	{
		*kind = LDR_SPOOL_JOB;
		return ldr_job_name_parse(slash + 10, &job, err);
	}
	*kind = LDR_SPOOL_DOCUMENT;
	if (strcmp(slash + 1, "schema.json") == 0 ||
		strcmp(slash + 1, "load_package_state.json") == 0)
		return LDR_OK;
	return spool_name_bad("file name", file, err, "no package has such a file", hint);
}

/* What dlt's own loader leaves in a package that it has begun with. */
static bool
member_is_of_a_load(const char *below)
{
	static const char *const folders[] = {"started_jobs/", "completed_jobs/", "failed_jobs/",
	".pending_transitions/"};

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		if (strncmp(below, folders[i], strlen(folders[i])) == 0)
			return true;
	return strcmp(below, "package_completed.json") == 0;
}

/*
 * What dlt keeps there for itself: what it has changed in the schema and, in directories with a dot,
 * what it would go back to and what went wrong. ("../" leads elsewhere.)
 */
static bool
member_is_of_dlt(const char *below)
{
	return (below[0] == '.' && below[1] >= 'a' && below[1] <= 'z' && strstr(below, "/.") == NULL) ||
		strcmp(below, "schema_updates.json") == 0 ||
		strcmp(below, "applied_schema_updates.json") == 0;
}

/* Directories that packages have; they are made as files need them. */
static bool
member_is_folder(const char *below)
{
	static const char *const folders[] = {"new_jobs", "started_jobs", "completed_jobs",
	"failed_jobs"};

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		if (strcmp(below, folders[i]) == 0)
			return true;
	return false;
}

LdrStatus
ldr_member_name_parse(const char *text, bool is_directory, char *name, LdrMemberKind *kind,
					  LdrError *err)
{
	static const char *const hint = "An archive holds one directory, named by its load_id, with "
		"schema.json, load_package_state.json and new_jobs in it.";
	const char *begin = strncmp(text, "./", 2) == 0 ? text + 2 : text;
	size_t		len = strlen(begin);
	char	   *slash;
	const char *why = NULL;
	LdrSpoolKind spool_kind;

	*kind = LDR_MEMBER_SKIPPED;
	if (is_directory && len > 1 && begin[len - 1] == '/')
		len--;
	if (is_directory && (len == 0 || (len == 1 && begin[0] == '.')))
	{
		name[0] = '\0';
		return LDR_OK;
	}
	if (len > LDR_MAX_SPOOL_NAME)
		return spool_name_bad("name in the archive", text, err, "it is too long", hint);
	memcpy(name, begin, len);
	name[len] = '\0';
	slash = strchr(name, '/');
	if ((why = spool_name_odd(name)) == NULL && name[0] == '/')
		why = "it is an absolute path";
	if (why == NULL && !is_directory && slash == NULL)
		why = "it is not in the package's directory";
	if (why == NULL && (why = spool_name_plain(name, slash ? (size_t) (slash - name) : len,
											   LDR_MAX_LOAD_ID)) != NULL &&
		strncmp(name, "..", 2) == 0 && (name[2] == '/' || name[2] == '\0'))
		why = "it leads out of the archive";
	if (why)
		return spool_name_bad("name in the archive", text, err, why, hint);
	if (is_directory)
	{
		if (slash == NULL || member_is_folder(slash + 1) || member_is_of_dlt(slash + 1))
			return LDR_OK;
		return spool_name_bad("name in the archive", text, err, "no package has such a directory",
							  hint);
	}
	if (member_is_of_a_load(slash + 1))
	{
		snprintf(err->hint, sizeof(err->hint), "Let dlt finish it, or pack the package before "
				 "dlt's own loader begins.");
		return ldr_fail(err, LDR_BAD_ARCHIVE, "dlt's own loader has begun with the package in the "
						"archive");
	}
	if (member_is_of_dlt(slash + 1))
		return LDR_OK;
	*kind = LDR_MEMBER_FILE;
	if (ldr_spool_name_check(name, &spool_kind, err) == LDR_OK)
		return LDR_OK;
	if (strncmp(slash + 1, "new_jobs/", 9) == 0)
		return err->status;		/* what is wrong with the name of a job file */
	return spool_name_bad("name in the archive", text, err, "no package has such a file", hint);
}
